"""A trained block read back from its weights file, which says itself what it holds."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from replicate.about import AboutWeights, read_about
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import read_tensors
from replicate.models import load_model
from replicate.models.base import GenerativeModel
from replicate.models.chains import ChainModel
from replicate.params import checked
from replicate.training.streams import Streams


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The tensors of a weights file, each (seeds, ...), and what the file says of itself.

    Returns:
        The tensors, and `about`: dataset, model, block, seeds, shape, failed, parameters; of an exported file also
        `rounded` (`replicate/models/export.py`).

    Raises:
        ReplicateError: the file is missing, damaged or not a weights file.
    """
    tensors, metadata = read_tensors(path, "train")
    about = read_about(AboutWeights, path, metadata, "train")
    for name, tensor in tensors.items():
        if tensor.shape[:1] != (len(about["seeds"]),):
            raise ReplicateError(f"{path}: {name} is not of {len(about['seeds'])} seeds; run `train` again.")
    return tensors, about


def model_of(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any], device: torch.device) -> GenerativeModel:
    """The model that `about` describes, with these weights on `device`; float16 is computed with as float32."""
    kind = load_model(about["model"])
    channels, height, width = about["shape"]
    given = about["parameters"].get("config")
    if not isinstance(given, dict):
        raise ReplicateError("the weights file does not hold its model's config; run `train` again.")
    config = checked(kind.Config, given, "the weights file", "parameters.config")
    model = kind(config, (channels, height, width), Streams(about["seeds"], device))
    for name, value in tensors.items():
        tensor = torch.from_numpy(value).to(device)
        model.parameters[name] = tensor.float() if tensor.dtype == torch.float16 else tensor
    return model


def _differs_from_new(model: GenerativeModel) -> str | None:
    """How a model's parameters differ in name or shape from those of a new one; None where they do not."""
    new = type(model)(model.config, model.shape, model.streams)
    try:
        new.initialise(torch.zeros(2 * model.config.batch_size, model.dimension, device=model.streams.device))
    except Exception:  # it needs other images to begin with
        return None
    for name, tensor in new.parameters.items():
        if name not in model.parameters:
            return f"{name} is missing"
        if model.parameters[name].shape != tensor.shape:
            return f"{name} has the shape {tuple(model.parameters[name].shape)} instead of {tuple(tensor.shape)}"
    return None


@contextlib.contextmanager
def sampling(model: GenerativeModel, path: Path) -> Iterator[None]:
    """Around the use of weights that were read from `path`: an error is theirs if they are not of this model.

    Raises ReplicateError then; any other error goes on as it is.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        if fault := _differs_from_new(model):
            raise ReplicateError(f"{path} holds no weights of this model: {fault}; run `train` again.") from error
        raise


def read_model(path: Path, device: torch.device, data: Splits | None) -> tuple[GenerativeModel, dict[str, Any]]:
    """The model of a weights file on `device`, and what the file says of itself.

    Args:
        data: the data set it was trained on; None will do where sampling needs no training images.

    Returns:
        The model with its chosen weights, and `about` (`read_weights`).

    Raises:
        ReplicateError: the file is missing, damaged or not a weights file, or of images of another shape than `data`;
            or its model needs `data` and there are none.
    """
    tensors, about = read_weights(path)
    if data is not None and tuple(about["shape"]) != data.shape:
        raise ReplicateError(
            f"the images of {path} have shape {tuple(about['shape'])}, those of the data set {data.shape}; "
            "they are of different data sets."
        )
    model = model_of(tensors, about, device)
    at_images = isinstance(model, ChainModel) and model.used_sampler.start == "images"
    if model.samples_from_train or at_images:
        if data is None:
            raise ReplicateError(
                f"{about['model']} is sampled from training images; give the prepared data set with --data."
            )
        model.train = torch.from_numpy(data.flat("train")).to(device)
    return model, about
