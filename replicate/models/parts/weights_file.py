"""Reads a trained block back from its weights file, which holds its own description."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.models import load_model
from replicate.models.base import GenerativeModel
from replicate.models.parts.chains import ChainModel
from replicate.params import checked
from replicate.records.schema import WeightsAbout
from replicate.records.tensor_about import weights_about
from replicate.storage.files import read_tensors
from replicate.training.streams import Streams


def read_weights(path: Path) -> tuple[dict[str, np.ndarray], WeightsAbout]:
    """The tensors of a weights file, each (seeds, ...), and its description.

    Returns:
        The tensors, and `about`: dataset, model, block, seeds, shape, failed, parameters; of an
        exported file also `rounded` (`replicate/models/parts/export.py`).

    Raises:
        ReplicateError: the file is missing, damaged or not a weights file.
    """
    tensors, metadata = read_tensors(path, "train")
    about = weights_about(path, metadata)
    seed_count = len(about["seeds"])
    for name, tensor in tensors.items():
        leading = tensor.shape[:1]
        if leading != (seed_count,):
            raise ReplicateError(f"{path}: {name} is not of {seed_count} seeds; run `train` again.")
    return tensors, about


def model_of(
    tensors: Mapping[str, np.ndarray], about: WeightsAbout, device: torch.device
) -> GenerativeModel:
    """The model that `about` describes, with these weights on `device`.

    float16 weights become float32.
    """
    kind = load_model(about["model"])
    channels, height, width = about["shape"]
    settings = about["parameters"].get("config")
    if not isinstance(settings, dict):
        raise ReplicateError(
            "the weights file does not hold its model's config; run `train` again."
        )
    # Checked as a user's parameters are: the file may be an older version's, or a damaged one.
    config = checked(kind.Config, settings, "the weights file", "parameters.config")
    streams = Streams(about["seeds"], device)
    model = kind(config, (channels, height, width), streams)
    for name, value in tensors.items():
        tensor = torch.from_numpy(value).to(device)
        # An exported file is rounded; models compute in float32.
        if tensor.dtype == torch.float16:
            tensor = tensor.float()
        model.parameters[name] = tensor
    return model


def _difference_from_new(model: GenerativeModel) -> str | None:
    """How a model's parameters differ in name or shape from a new one's; None: not at all."""
    new = type(model)(model.config, model.shape, model.streams)
    rows = 2 * model.config.batch_size
    try:
        # As many classes as the weights are of: no blank image says how many there were.
        width = model.dimension + model.class_count
        blank_images = torch.zeros(rows, width, device=model.streams.device)
        new.initialise(blank_images)
    except Exception:  # the model cannot start from blank images
        return None
    for name, tensor in new.parameters.items():
        if name not in model.parameters:
            return f"{name} is missing"
        shape = tuple(model.parameters[name].shape)
        expected = tuple(tensor.shape)
        if shape != expected:
            return f"{name} has the shape {shape} instead of {expected}"
    return None


@contextlib.contextmanager
def sampling(model: GenerativeModel, path: Path) -> Iterator[None]:
    """Surrounds sampling with weights that were read from `path`.

    Raises:
        ReplicateError: sampling failed and the weights do not fit the model; any other error passes
            unchanged.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        # Only after a failure: building a second model would slow every reading down.
        difference = _difference_from_new(model)
        if difference:
            raise ReplicateError(
                f"{path} holds no weights of this model: {difference}; run `train` again."
            ) from error
        raise


def read_model(
    path: Path, device: torch.device, data: Splits | None
) -> tuple[GenerativeModel, WeightsAbout]:
    """The model of a weights file on `device`, and the file's description.

    Args:
        path: of the weights file.
        device: where to put the model.
        data: the data set it was trained on; may be None where sampling needs no training images.

    Returns:
        The model with its chosen weights, and `about` (`read_weights`).

    Raises:
        ReplicateError: the file is missing, damaged or not a weights file, or of images of another
            shape than `data`; or its model needs `data` and there are none.
    """
    tensors, about = read_weights(path)
    shape = tuple(about["shape"])
    if data is not None and shape != data.shape:
        raise ReplicateError(
            f"the images of {path} have shape {shape}, those of the data set "
            f"{data.shape}; they are of different data sets."
        )
    model = model_of(tensors, about, device)
    starts_at_images = False
    if isinstance(model, ChainModel):
        starts_at_images = model.used_sampler.start == "images"
    if model.samples_from_train or starts_at_images:
        if data is None:
            raise ReplicateError(
                f"{about['model']} is sampled from training images; give the prepared data set "
                "with --data."
            )
        train = torch.from_numpy(data.flat("train"))
        model.train = train.to(device)
    return model, about
