"""Says what a classifier sees in a model's samples: how many it is sure of, and how many of each class.

python -m replicate recognise --samples samples.safetensors --classifier classifier.safetensors --out recognition.json
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from replicate.classifier import SURE, Classifier
from replicate.codedigest import code_digest
from replicate.errors import ReplicateError
from replicate.files import read_tensors, write_json
from replicate.params import load_params
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.samples import Samples
from replicate.training.backend import configure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--samples", type=Path, required=True, help="samples (safetensors)")
    parser.add_argument("--classifier", type=Path, required=True, help="classifier (safetensors), its .json beside it")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Writes the shares of recognised images and of the classes, per seed over all draws."""
    record = RunRecord("recognise")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    judge = read_result(arguments.classifier.with_suffix(".json"), "classifier")
    samples = Samples.read(arguments.samples)
    if samples.about["shape"] != judge["shape"]:
        raise ReplicateError(f"{arguments.classifier} was trained on another data set than the samples' model.")
    tensors, _ = read_tensors(arguments.classifier)
    classifier = Classifier({name: torch.from_numpy(value).to(backend.device) for name, value in tensors.items()})
    per_seed: list[dict[str, Any]] = []
    for seed, images, failed in samples.per_seed():
        entry: dict[str, Any] = {"seed": seed, "failed": failed, "sure": None, "rarest": None, "classes": None}
        if images is not None and judge["reason"] is None:
            rows = images.reshape(-1, *judge["shape"]).to(backend.device)
            probabilities = classifier.probabilities(rows)
            counts = torch.bincount(probabilities.argmax(1), minlength=judge["classes"])
            entry["sure"] = float((probabilities.amax(1) >= SURE).double().mean())
            entry["classes"] = (counts.double() / len(rows)).tolist()
            entry["rarest"] = min(entry["classes"])
        per_seed.append(entry)
    about = samples.about
    content = result(
        "recognise", code_digest(["replicate.stages.recognise"]), {"compute": params.compute.model_dump(mode="json")},
        {"samples": arguments.samples, "classifier": arguments.classifier},
        dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"],
        sure_from=SURE, reason=judge["reason"], accuracy=judge["accuracy"], per_seed=per_seed,
    )  # fmt: skip
    write_json(arguments.out, content)
    record.write(arguments.out, **backend.facts)
    for entry in per_seed:
        name = f"recognise {about['dataset']} {about['model']} seed {entry['seed']}"
        if entry["sure"] is None:
            print(f"{name}: {judge['reason'] or 'the seed failed'}")
        else:
            print(f"{name}: sure of {entry['sure']:.1%}, rarest class {entry['rarest']:.1%} of the samples")
