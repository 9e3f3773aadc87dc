"""Trains a small classifier on a data set's labelled training images, and states its test accuracy.

It recognises generated images (stage `recognise`). A data set without labels gets an empty
classifier and a reason.

  python -m replicate classifier --data digits.safetensors --out classifier.safetensors
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import CONFIDENCE_THRESHOLD, Classifier, fit
from replicate.errors import ReplicateError
from replicate.params import load_params
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.parameters import compute_parameters
from replicate.records.schema import ClassifierResult, OnDevice
from replicate.stages.device_job import DeviceJob
from replicate.storage.files import atomic_write, canonical_json, dump_tensors

#: Images must survive two poolings.
SMALLEST_SIDE = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument(
        "--out", type=Path, required=True, help="classifier (safetensors); its result is the .json"
    )
    add_state_argument(parser)


def _obstacle(splits: Splits) -> str | None:
    """Why no classifier can be trained, or None."""
    if not splits.labels:
        return "the data set has no labels"
    if min(splits.shape[1:]) < SMALLEST_SIDE:
        return f"images of {splits.shape[1]}x{splits.shape[2]} pixels are too small"
    return None


def _labelled(splits: Splits, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The labelled images of a split and their classes; with folds, of the first fold."""
    if splits.folds:
        # A fold names the rows of its splits among the labelled images.
        fold = splits.folds[0]
        rows = splits.flat("labelled")[fold[split]]
    else:
        rows = splits.flat(split)
    pixels = rows.reshape(-1, *splits.shape)
    images = torch.from_numpy(pixels).to(device)
    classes = splits.labels_of(split)
    labels = torch.from_numpy(classes).to(device)
    return images, labels


def _trained(arguments: argparse.Namespace, splits: Splits, device: torch.device) -> Classifier:
    """A classifier of as many classes as the training images have."""
    images, labels = _labelled(splits, "train", device)
    least = int(labels.min())
    if least < 0:
        raise ReplicateError(
            f"{arguments.data} has labels below 0 among its labelled training images."
        )
    # Counted from the labels: a user's folder of images may have any number of classes.
    classes = int(labels.max()) + 1
    label = f"classifier {arguments.out.stem}"
    with reporting(arguments.state, label):
        return fit(images, labels, classes)


def run(arguments: argparse.Namespace) -> None:
    """Writes the classifier, its accuracy and the run record."""
    params = load_params(arguments.params)
    job = DeviceJob("classifier", params.compute)
    splits = Splits.read(arguments.data)
    parameters: OnDevice = {"compute": compute_parameters(params.compute)}
    content: ClassifierResult = {
        **job.frame(parameters, {"data": arguments.data}),
        "stage": "classifier",
        "parameters": parameters,
        "shape": list(splits.shape),
        "reason": _obstacle(splits),
        "classes": 0,
        "accuracy": None,
        "n_test": 0,
        "sure": None,
    }
    device = job.backend.device
    # Without labels the file is empty, since the engines expect one of every data set.
    weights: dict[str, np.ndarray] = {}
    outcome = content["reason"]
    if outcome is None:
        classifier = _trained(arguments, splits, device)
        for name, value in classifier.weights.items():
            weights[name] = value.cpu().numpy()
        images, labels = _labelled(splits, "test", device)
        probabilities = classifier.probabilities(images)
        is_right = probabilities.argmax(1) == labels
        is_confident = probabilities.amax(1) >= CONFIDENCE_THRESHOLD
        accuracy = float(is_right.double().mean())
        content["classes"] = probabilities.shape[1]
        content["accuracy"] = accuracy
        content["n_test"] = len(labels)
        # The share of real images, beside which that of a model's samples is read.
        content["sure"] = float(is_confident.double().mean())
        outcome = f"{accuracy:.4f} of {len(labels)} test images right"
    result = arguments.out.with_suffix(".json")
    # Together: the weights say nothing without their accuracy, nor it without them.
    with atomic_write(arguments.out, result) as (tensors, text):
        dump_tensors(tensors, weights)
        text.write_text(canonical_json(content), encoding="utf-8")
    job.close(arguments.out, f"classifier: {outcome} -> {arguments.out}")
