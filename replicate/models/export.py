"""One seed of a trained block in the few bytes that sampling needs, for others to sample and evaluate again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models.base import GenerativeModel
from replicate.models.weights import model_of, read_weights, sampling

#: Images over which the effect of rounding is measured.
COMPARED = 100


class _Opened(dict[str, Tensor]):
    """Begins empty and takes a tensor over when it is asked for: in the end it holds what was read."""

    def __init__(self, closed: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._closed = closed

    def __missing__(self, name: str) -> Tensor:
        self[name] = self._closed[name]
        return self[name]


def read_in_sampling(model: GenerativeModel) -> dict[str, Tensor]:
    """The parameters that `sample` reads, found by sampling; with only these it gives the same images.

    Raises:
        ReplicateError: the model goes through its parameters instead of asking for them by name.
    """
    whole = model.parameters
    expected = model.sample(2, 0)
    opened = _Opened(whole)
    model.parameters = opened
    try:
        same = torch.equal(model.sample(2, 0), expected)
    finally:
        model.parameters = whole
    if not same:
        raise ReplicateError(
            f"{type(model).__name__} does not ask for its parameters by name when it samples, so what it needs cannot "
            'be told; read them as self.parameters["name"].'
        )
    return dict(opened)


def _rounded(name: str, value: np.ndarray) -> np.ndarray:
    """Floating-point numbers as float16, others as they are; a number beyond its range is refused."""
    if not np.issubdtype(value.dtype, np.floating):
        return value
    if not (np.abs(value) <= np.finfo(np.float16).max).all():
        raise ReplicateError(f"{name} holds numbers that float16 does not have; this seed cannot be exported.")
    return value.astype(np.float16)


def _model(tensors: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> GenerativeModel:
    """The model on the CPU; a blank training image stands in where chains begin at one."""
    model = model_of(tensors, about, torch.device("cpu"))
    if model.samples_from_train:
        model.train = torch.zeros(1, model.dimension)
    return model


def exported(weights: Path, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What sampling reads of one seed, rounded to float16, and what the new file is to say of itself.

    Args:
        weights: written by the stage `train`.

    Returns:
        The tensors, each (1, ...), and `about` of the weights file for this seed alone, with `rounded`: `to` what,
        and `largest_difference` of a pixel from unrounded weights over so many `images`.

    Raises:
        ReplicateError: the file is no weights file, has not the seed, or the seed failed; or nothing of it was trained.
    """
    tensors, about = read_weights(weights)
    if seed not in about["seeds"]:
        raise ReplicateError(f"{weights} has no seed {seed}; its seeds are {', '.join(map(str, about['seeds']))}.")
    if failed := about["failed"].get(str(seed)):
        raise ReplicateError(f"seed {seed} of {weights} failed in epoch {failed['epoch']}; export another one.")
    place = about["seeds"].index(seed)
    about |= {"block": str(seed), "seeds": [seed], "failed": {}}
    model = _model({name: value[place : place + 1] for name, value in tensors.items()}, about)
    with sampling(model, weights):
        opened = read_in_sampling(model)
    kept = {name: _rounded(name, value.numpy()) for name, value in opened.items()}
    if not kept:
        raise ReplicateError(f"{about['model']} is sampled without trained numbers; there is nothing to export.")
    difference = (_model(kept, about).sample(COMPARED, 0) - model.sample(COMPARED, 0)).abs().max()
    rounded = {"to": "float16", "largest_difference": float(difference), "images": COMPARED}
    return kept, about | {"rounded": rounded}
