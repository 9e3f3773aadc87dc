"""A trained block read back from its weights file, which says itself what it holds."""

import json
from pathlib import Path
from typing import Any

import torch

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import read_tensors
from replicate.models import load_model
from replicate.models.base import GenerativeModel
from replicate.training.streams import Streams


def read_model(path: Path, device: torch.device, data: Splits) -> tuple[GenerativeModel, dict[str, Any]]:
    """The model of a weights file on `device`, and what the file says of itself.

    Args:
        data: the data set it was trained on.

    Returns:
        The model with its chosen weights, and `about`: dataset, model, block, seeds, shape, failed, parameters.

    Raises:
        ReplicateError: the file is missing, damaged or not a weights file, or of images of another shape than `data`.
    """
    tensors, metadata = read_tensors(path)
    if "about" not in metadata:
        raise ReplicateError(f"{path} is not a weights file of this project; run `train` again.")
    about: dict[str, Any] = json.loads(metadata["about"])
    kind = load_model(about["model"])
    config = kind.Config.model_validate(about["parameters"]["config"])
    if tuple(about["shape"]) != data.shape:
        raise ReplicateError(
            f"the images of {path} have shape {tuple(about['shape'])}, those of the data set {data.shape}; "
            "they are of different data sets."
        )
    channels, height, width = about["shape"]
    model = kind(config, (channels, height, width), Streams(about["seeds"], device))
    model.parameters = {name: torch.from_numpy(value).to(device) for name, value in tensors.items()}
    if model.samples_from_train:
        model.train = torch.from_numpy(data.flat("train")).to(device)
    return model, about
