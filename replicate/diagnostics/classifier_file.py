"""Reads the classifier of a data set back from its weights file."""

from pathlib import Path

import torch

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import Classifier, fits
from replicate.errors import ReplicateError, understanding
from replicate.records.frame import read_result
from replicate.records.schema import ClassifierResult
from replicate.storage.files import read_tensors, sha256_file


def read_classifier(path: Path, content: ClassifierResult, device: torch.device) -> Classifier:
    """The classifier whose result is `content`; other weights are refused."""
    tensors, _ = read_tensors(path, "classifier")
    weights = {}
    for name, value in tensors.items():
        weights[name] = torch.from_numpy(value).to(device)
    # A data set that no classifier can be fitted to has a file without weights.
    if content["reason"] is None:
        shape = tuple(content["shape"])
        with understanding(path):
            if not fits(weights, shape, content["classes"]):
                raise ValueError("its weights are not those of the classifier of its .json")
    return Classifier(weights)


def check_data(path: Path, known: ClassifierResult, data: Path) -> None:
    """Refuses a classifier of other images, which would judge these like any others.

    Args:
        path: of its weights.
        known: its result.
        data: the prepared data set that it should be of.

    Raises:
        ReplicateError: it was trained on another data set, or on another cut of it.
    """
    # By the bytes: cuts of one data set have the same shape and the same classes.
    if known["inputs"].get("data") != sha256_file(data):
        raise ReplicateError(
            f"{path} was trained on other data than {data}; run `classifier` on these."
        )


def known_classifier(
    path: Path, splits: Splits, data: Path, device: torch.device
) -> Classifier | None:
    """The classifier of a data set; None where it says that there can be none.

    Args:
        path: of its weights, with its result (JSON) beside it.
        splits: the data set.
        data: its file.
        device: where to put it.

    Raises:
        ReplicateError: it was trained on another data set.
    """
    known = read_result(path.with_suffix(".json"), ClassifierResult)
    if tuple(known["shape"]) != splits.shape:
        raise ReplicateError(f"{path} was trained on another data set than the one to measure on.")
    check_data(path, known, data)
    if known["reason"] is not None:
        return None
    return read_classifier(path, known, device)
