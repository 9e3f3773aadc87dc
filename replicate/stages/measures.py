"""Measures the samples of a block, and the model itself, by every registered measure.

  python -m replicate measures --params params.yaml --weights weights.safetensors \\
      --data digits.safetensors --samples samples.safetensors \\
      --classifier classifier.safetensors --out measures.json

What each measure is, its unit, its better side and its source: `replicate/measures/__init__.py`.
Those that need samples read the first draw.
"""

import argparse
from pathlib import Path

import torch

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import Classifier
from replicate.diagnostics.classifier_file import known_classifier
from replicate.diagnostics.samples import Samples
from replicate.errors import ReplicateError
from replicate.jobs.subject import Subject
from replicate.measures.model_set import ModelSet
from replicate.measures.run_measures import measure_model, measure_samples
from replicate.models.base import GenerativeModel
from replicate.models.parts.weights_file import read_model, sampling
from replicate.params import Params, load_params
from replicate.progress.loops import each, task
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.parameters import measures_parameters
from replicate.records.schema import (
    Measured,
    MeasuresOfBlock,
    SeedMeasures,
)
from replicate.stages.device_job import DeviceJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--weights", type=Path, required=True, help="weights of the stage `train`")
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


def _of_samples(
    samples: Samples,
    splits: Splits,
    classifier: Classifier | None,
    params: Params,
    device: torch.device,
) -> dict[int, list[Measured]]:
    """Seed -> the measures of its first draw; failed seeds are left out."""
    per_seed: dict[int, list[Measured]] = {}
    sound = [(seed, draws) for seed, draws, _ in samples.per_seed() if draws is not None]
    for seed, draws in each(sound, "seed {0[0]}"):
        images = draws[0].to(device)
        per_seed[seed] = measure_samples(
            images, splits, classifier, params.measures, params.likelihood
        )
    return per_seed


def _of_model(
    model: GenerativeModel, path: Path, splits: Splits, params: Params
) -> list[list[Measured]]:
    """The measures of the model itself, of each seed."""
    with sampling(model, path):
        return measure_model(ModelSet(model, splits, params.measures, params.likelihood))


def run(arguments: argparse.Namespace) -> None:
    """Writes what every measure says of every seed, and the run record."""
    params = load_params(arguments.params)
    job = DeviceJob("measures", params.compute)
    device = job.backend.device
    splits = Splits.read(arguments.data)
    model, about = read_model(arguments.weights, device, splits)
    samples = Samples.read(arguments.samples)
    samples.check_compatible(torch.from_numpy(splits.flat("valid")), arguments.data)
    # Samples of one job beside the weights of another would give numbers like any other.
    names = ("dataset", "model", "block")
    if any(samples.about[name] != about[name] for name in names):  # type: ignore[literal-required]
        raise ReplicateError(
            f"{arguments.samples} belongs to another training job than {arguments.weights}; "
            "give those of one job."
        )
    classifier = known_classifier(arguments.classifier, splits, arguments.data, device)
    subject = f"measures {about['dataset']} {about['model']}"
    with reporting(arguments.state, f"{subject} {about['block']}"):
        with task("samples", 0.5):
            of_samples = _of_samples(samples, splits, classifier, params, device)
        with task("the model", 0.5):
            of_model = _of_model(model, arguments.weights, splits, params)
    per_seed: list[SeedMeasures] = []
    for (seed, _, failure), entries in zip(samples.per_seed(), of_model, strict=True):
        measured = [] if failure else of_samples[seed] + entries
        per_seed.append({"seed": seed, "failed": failure, "measures": measured})
    parameters = measures_parameters(params)
    inputs = {
        name: getattr(arguments, name) for name in ("weights", "data", "samples", "classifier")
    }
    # Models without Markov chains have no sampler among their settings.
    settings = about["parameters"].get("config") or {}
    content: MeasuresOfBlock = {
        **job.frame(parameters, inputs, Subject(model=about["model"])),
        "stage": "measures",
        "parameters": parameters,
        "dataset": about["dataset"],
        "model": about["model"],
        "block": about["block"],
        "seeds": about["seeds"],
        "n_samples": int(samples.images.shape[2]),
        "sampler_name": settings.get("sampler"),
        "per_seed": per_seed,
        **samples.sampling,
        **samples.rounding,
    }
    job.write(arguments.out, content)
    for entry in per_seed:
        print(f"{subject} seed {entry['seed']}: {_summary(entry)}")


def _summary(entry: SeedMeasures) -> str:
    """One seed in words."""
    if entry["failed"]:
        return "the seed failed"
    known = [measured for measured in entry["measures"] if measured["value"] is not None]
    return f"{len(known)} of {len(entry['measures'])} measures have a value"
