"""Exports one seed of a trained block: the parameters that sampling needs, rounded to float16."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models.base import GenerativeModel
from replicate.models.parts.weights_file import model_of, read_weights, sampling
from replicate.records.schema import Rounding, WeightsAbout
from replicate.records.tensor_about import about_one_seed

#: Images over which the effect of rounding is measured.
COMPARED = 100


class _AccessedTensors(dict[str, Tensor]):
    """Starts empty and copies a tensor from `source` at its first access."""

    def __init__(self, source: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, name: str) -> Tensor:
        self[name] = self._source[name]
        return self[name]


def read_in_sampling(model: GenerativeModel) -> dict[str, Tensor]:
    """The parameters that `sample` reads, recorded while it samples.

    With only these it gives the same images.

    Raises:
        ReplicateError: the model iterates over its parameters instead of reading them by name.
    """
    all_parameters = model.parameters
    expected = model.sample(2, 0)
    # Recorded and not listed by each model: a list could forget one, a record cannot.
    accessed = _AccessedTensors(all_parameters)
    model.parameters = accessed
    try:
        # Iterating over an empty dictionary raises nothing; other images are what betrays it.
        same = torch.equal(model.sample(2, 0), expected)
    finally:
        # The caller samples with the model once more.
        model.parameters = all_parameters
    if not same:
        raise ReplicateError(
            f"{type(model).__name__} does not read its parameters by name when it samples, so it "
            'is unknown which ones it needs; read them as self.parameters["name"].'
        )
    return dict(accessed)


def _rounded(name: str, value: np.ndarray) -> np.ndarray:
    """Floating-point numbers as float16, integers unchanged.

    Raises:
        ReplicateError: a number beyond the range of float16.
    """
    if not np.issubdtype(value.dtype, np.floating):
        return value
    largest = np.finfo(np.float16).max
    # The comparison is false of numbers that are not finite, too.
    if not (np.abs(value) <= largest).all():
        raise ReplicateError(
            f"{name} holds numbers that float16 does not have; this seed cannot be exported."
        )
    return value.astype(np.float16)


def _model(tensors: Mapping[str, np.ndarray], about: WeightsAbout) -> GenerativeModel:
    """The model on the CPU; a blank training image stands in where chains begin at one."""
    model = model_of(tensors, about, torch.device("cpu"))
    if model.samples_from_train:
        model.train = torch.zeros(1, model.dimension)
    return model


def exported(weights: Path, seed: int) -> tuple[dict[str, np.ndarray], WeightsAbout]:
    """The parameters of one seed that sampling reads, rounded to float16, and their metadata.

    Args:
        weights: a file written by the stage `train`.
        seed: one of its seeds.

    Returns:
        The tensors, each (1, ...), and `about` of the weights file for this seed alone, with
        `rounded`: the type (`to`) and the `largest_difference` of a pixel from those of the
        unrounded weights over `images` samples.

    Raises:
        ReplicateError: the file is no weights file, does not hold the seed, or the seed failed; or
            sampling reads no trained parameter.
    """
    tensors, about_block = read_weights(weights)
    about = about_one_seed(weights, about_block, seed)
    row = about_block["seeds"].index(seed)
    # A slice and not an index: a model of one seed is a block of one, and keeps that axis.
    of_seed = {name: value[row : row + 1] for name, value in tensors.items()}
    model = _model(of_seed, about)
    with sampling(model, weights):
        needed = read_in_sampling(model)
    rounded = {name: _rounded(name, value.numpy()) for name, value in needed.items()}
    if not rounded:
        raise ReplicateError(
            f"{about['model']} is sampled without trained numbers; there is nothing to export."
        )
    # The same draw by both: what differs is rounding alone.
    images_of_rounded = _model(rounded, about).sample(COMPARED, 0)
    images_as_trained = model.sample(COMPARED, 0)
    differences = (images_of_rounded - images_as_trained).abs()
    rounding: Rounding = {
        "to": "float16",
        "largest_difference": float(differences.max()),
        "images": COMPARED,
    }
    return rounded, {**about, "rounded": rounding}
