"""Says what a model's samples show: what a classifier sees in them, and whether they repeat images or each other.

  python -m replicate recognise --data digits.safetensors --samples samples.safetensors \\
      --classifier classifier.safetensors --out recognition.json

How many samples the classifier is sure of, and how many of each class; whether the nearest image of the data is a
training image more often than by chance (caption of figure 2), and what a sample says of the next one."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from replicate.classifier import SURE, Classifier, fits
from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError, understanding
from replicate.files import read_tensors, write_json
from replicate.loops import each
from replicate.params import load_params
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.samples import Samples, correlation, held_out_images, memorisation
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting

#: Samples of a seed's first draw whose nearest image is looked for.
COMPARED = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--data", type=Path, required=True, help="prepared data (safetensors)")
    parser.add_argument("--samples", type=Path, required=True, help="samples (safetensors)")
    parser.add_argument("--classifier", type=Path, required=True, help="classifier (safetensors), its .json beside it")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


def _recognised(classifier: Classifier, images: Tensor, judge: Mapping[str, Any]) -> dict[str, Any]:
    """What the classifier sees in images (n, channels, height, width)."""
    probabilities = classifier.probabilities(images)
    counts = torch.bincount(probabilities.argmax(1), minlength=judge["classes"])
    classes = (counts.double() / len(images)).tolist()
    sure = float((probabilities.amax(1) >= SURE).double().mean())
    return {"sure": sure, "classes": classes, "rarest": min(classes)}


def run(arguments: argparse.Namespace) -> None:
    """Writes the shares of recognised images and of the classes, over all draws, memory and correlation, per seed."""
    record = RunRecord("recognise")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    judge = read_result(arguments.classifier.with_suffix(".json"), "classifier")
    with understanding(arguments.classifier.with_suffix(".json")):
        judge = {name: judge[name] for name in ("shape", "reason", "classes", "accuracy")}
        if not isinstance(judge["reason"], str | None) or not isinstance(judge["accuracy"], float | None):
            raise TypeError("its reason is no text, or its accuracy no number")
    samples = Samples.read(arguments.samples)
    if samples.about.get("shape") != judge["shape"]:
        raise ReplicateError(f"{arguments.classifier} was trained on another data set than the samples' model.")
    splits = Splits.read(arguments.data)
    train = torch.from_numpy(splits.flat("train")).to(backend.device)
    samples.fit(train, arguments.data)
    held_out = held_out_images(splits).to(backend.device)
    tensors, _ = read_tensors(arguments.classifier, "classifier")
    classifier = Classifier({name: torch.from_numpy(value).to(backend.device) for name, value in tensors.items()})
    with understanding(arguments.classifier):
        if judge["reason"] is None and not fits(classifier.weights, tuple(judge["shape"]), judge["classes"]):
            raise ValueError("its weights are not those of the classifier that its .json tells of")
    per_seed: list[dict[str, Any]] = []
    about = samples.about
    with reporting(arguments.state, f"recognise {about['dataset']} {about['model']} {about['block']}"):
        for seed, images, failed in each([*samples.per_seed()], "seed {0[0]}"):
            entry = dict.fromkeys(("sure", "rarest", "classes", "memorisation", "correlation"))
            entry |= {"seed": seed, "failed": failed}
            if images is not None:
                entry["memorisation"] = memorisation(images[0, :COMPARED].to(backend.device), train, held_out)
                entry["correlation"] = correlation(images[0], samples.chains or 1)
            if images is not None and judge["reason"] is None:
                entry |= _recognised(classifier, images.reshape(-1, *judge["shape"]).to(backend.device), judge)
            per_seed.append(entry)
    content = result(
        "recognise", code_digest(["replicate.stages.recognise"]), {"compute": params.compute.model_dump(mode="json")},
        {"data": arguments.data, "samples": arguments.samples, "classifier": arguments.classifier},
        dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"],
        compared=min(COMPARED, samples.images.shape[2]), sure_from=SURE, reason=judge["reason"],
        accuracy=judge["accuracy"], per_seed=per_seed,
    )  # fmt: skip
    write_json(arguments.out, content)
    record.write(arguments.out, **backend.facts)
    for entry in per_seed:
        seen = judge["reason"] or "the seed failed"
        if entry["sure"] is not None:
            seen = f"sure of {entry['sure']:.1%}, rarest class {entry['rarest']:.1%} of the samples"
        if entry["memorisation"] is not None:
            seen += f", memorisation {entry['memorisation']:.2f}"
        print(f"recognise {about['dataset']} {about['model']} seed {entry['seed']}: {seen}")
