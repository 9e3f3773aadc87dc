"""Says what a classifier sees in a model's samples, and whether they repeat images or each other.

  python -m replicate recognise --data digits.safetensors --samples samples.safetensors \\
      --classifier classifier.safetensors --out recognition.json

How many samples the classifier is sure of, and how many of each class; whether the nearest image of
the data is a training image more often than by chance (caption of figure 2), and what a sample says
of the next one.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import CONFIDENCE_THRESHOLD, Classifier
from replicate.diagnostics.classifier_file import check_data, read_classifier
from replicate.diagnostics.sampler_draws import COMPARED, spacing_over_chains
from replicate.diagnostics.samples import Samples, correlation, held_out_images, memorisation
from replicate.errors import ReplicateError
from replicate.params import load_params
from replicate.progress.loops import each
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.frame import read_result
from replicate.records.parameters import compute_parameters
from replicate.records.schema import (
    ClassifierResult,
    OnDevice,
    Recognition,
    SeedRecognition,
)
from replicate.stages.device_job import DeviceJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--data", type=Path, required=True, help="prepared data (safetensors)")
    parser.add_argument("--samples", type=Path, required=True, help="samples (safetensors)")
    parser.add_argument(
        "--classifier",
        type=Path,
        required=True,
        help="classifier (safetensors), its .json beside it",
    )
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


def _recognised(classifier: Classifier, images: Tensor, classes: int) -> tuple[float, list[float]]:
    """The share of images (n, channels, height, width) of a clear class, and of every class."""
    probabilities = classifier.probabilities(images)
    # A class that a model never draws has the share 0: a sign of collapse.
    classes_of_images = probabilities.argmax(1)
    counts = torch.bincount(classes_of_images, minlength=classes)
    # In float32 a share such as 0.1 would be written with the digits of its rounding.
    shares = (counts.double() / len(images)).tolist()
    is_confident = probabilities.amax(1) >= CONFIDENCE_THRESHOLD
    confident_share = float(is_confident.double().mean())
    return confident_share, shares


def run(arguments: argparse.Namespace) -> None:
    """Writes what the samples of every seed show.

    The classifier sees all draws, memory and correlation are those of the first one.
    """
    params = load_params(arguments.params)
    job = DeviceJob("recognise", params.compute)
    device = job.backend.device
    known = read_result(arguments.classifier.with_suffix(".json"), ClassifierResult)
    samples = Samples.read(arguments.samples)
    about = samples.about
    if about.get("shape") != known["shape"]:
        raise ReplicateError(
            f"{arguments.classifier} was trained on another data set than the samples' model."
        )
    splits = Splits.read(arguments.data)
    train = torch.from_numpy(splits.flat("train")).to(device)
    samples.check_compatible(train, arguments.data)
    check_data(arguments.classifier, known, arguments.data)
    held_out = held_out_images(splits).to(device)
    classifier = read_classifier(arguments.classifier, known, device)
    per_seed: list[SeedRecognition] = []
    subject = f"recognise {about['dataset']} {about['model']}"
    with reporting(arguments.state, f"{subject} {about['block']}"):
        for seed, images, failure in each([*samples.per_seed()], "seed {0[0]}"):
            entry: SeedRecognition = {
                "seed": seed,
                "failed": failure,
                "sure": None,
                "classes": None,
                "rarest": None,
                "memorisation": None,
                "correlation": None,
            }
            per_seed.append(entry)
            if images is None:
                continue
            chains = samples.chains or 1
            # A part of them: distances to all training images take most of the time. Spread over
            # the draw: the first states of a chain are near its start.
            spacing = spacing_over_chains(len(images[0]), chains)
            compared = images[0, ::spacing][:COMPARED].to(device)
            entry["memorisation"] = memorisation(compared, train, held_out)
            # Chains take turns: the next image of one is as many rows on as there are chains.
            entry["correlation"] = correlation(images[0], chains)
            if known["reason"] is None:
                pictures = images.reshape(-1, *known["shape"]).to(device)
                confident_share, shares = _recognised(classifier, pictures, known["classes"])
                entry["sure"] = confident_share
                entry["classes"] = shares
                entry["rarest"] = min(shares)
    parameters: OnDevice = {"compute": compute_parameters(params.compute)}
    inputs = {
        "data": arguments.data,
        "samples": arguments.samples,
        "classifier": arguments.classifier,
    }
    content: Recognition = {
        **job.frame(parameters, inputs),
        "stage": "recognise",
        "parameters": parameters,
        "dataset": about["dataset"],
        "model": about["model"],
        "block": about["block"],
        "seeds": about["seeds"],
        "compared": min(COMPARED, samples.images.shape[2]),
        "sure_from": CONFIDENCE_THRESHOLD,
        "reason": known["reason"],
        "accuracy": known["accuracy"],
        "per_seed": per_seed,
    }
    job.write(arguments.out, content)
    for entry in per_seed:
        print(f"{subject} seed {entry['seed']}: {_summary(entry, known['reason'])}")


def _summary(entry: SeedRecognition, reason: str | None) -> str:
    """One seed in words; `reason` says why there is no classifier."""
    share = entry["sure"]
    rarest = entry["rarest"]
    copied = entry["memorisation"]
    summary = reason or "the seed failed"
    if share is not None:
        summary = f"sure of {share:.1%}, rarest class {rarest:.1%} of the samples"
    if copied is not None:
        summary += f", memorisation {copied:.2f}"
    return summary
