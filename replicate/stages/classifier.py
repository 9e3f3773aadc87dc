"""Trains a small classifier on a data set's labelled training images, and states its test accuracy.

It recognises generated images (stage `recognise`). A data set without labels gets an empty classifier and a reason.

  python -m replicate classifier --data digits.safetensors --out classifier.safetensors
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from replicate.classifier import SURE, fit
from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import canonical_json, dump_tensors, replacing
from replicate.params import load_params
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting

#: Images must survive two poolings.
SMALLEST_SIDE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="classifier (safetensors); its result is the .json")
    add_state_argument(parser)


def _obstacle(splits: Splits) -> str | None:
    """Why no classifier can be trained, or None."""
    if not splits.labels:
        return "the data set has no labels"
    if min(splits.shape[1:]) < SMALLEST_SIDE:
        return f"images of {splits.shape[1]}x{splits.shape[2]} pixels are too small"
    return None


def _labelled(splits: Splits, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The labelled images of a split (of the first fold, where there are folds) and their classes."""
    rows = splits.flat("labelled")[splits.folds[0][split]] if splits.folds else splits.flat(split)
    images = torch.from_numpy(rows.reshape(-1, *splits.shape)).to(device)
    return images, torch.from_numpy(splits.labels_of(split)).to(device)


def run(arguments: argparse.Namespace) -> None:
    """Writes the classifier, its accuracy and the run record."""
    record = RunRecord("classifier")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    splits = Splits.read(arguments.data)
    reason = _obstacle(splits)
    found: dict[str, Any] = {"reason": reason, "classes": 0, "accuracy": None, "n_test": 0, "sure": None}
    weights: dict[str, np.ndarray] = {}
    if reason is None:
        images, labels = _labelled(splits, "train", backend.device)
        if int(labels.min()) < 0:
            raise ReplicateError(f"{arguments.data} has labels below 0 among its labelled training images.")
        classes = int(labels.max()) + 1
        with reporting(arguments.state, f"classifier {arguments.out.stem}"):
            classifier = fit(images, labels, classes)
        weights = {name: value.cpu().numpy() for name, value in classifier.weights.items()}
        images, labels = _labelled(splits, "test", backend.device)
        probabilities = classifier.probabilities(images)
        found |= {
            "classes": classes, "n_test": len(labels),
            "accuracy": float((probabilities.argmax(1) == labels).double().mean()),
            "sure": float((probabilities.amax(1) >= SURE).double().mean()),
        }  # fmt: skip
    content = result(
        "classifier", code_digest(["replicate.stages.classifier"]), {"compute": params.compute.model_dump(mode="json")},
        {"data": arguments.data}, shape=list(splits.shape), **found,
    )  # fmt: skip
    with replacing(arguments.out, arguments.out.with_suffix(".json")) as (tensors, text):
        dump_tensors(tensors, weights)
        text.write_text(canonical_json(content), encoding="utf-8")
    record.write(arguments.out, **backend.facts)
    outcome = f"{found['accuracy']:.4f} of {found['n_test']} test images right" if reason is None else reason
    print(f"classifier: {outcome} -> {arguments.out}")
