"""Measures the test log-likelihood of every seed, with its standard error over test images.

Also kept: the log-likelihood of every single test image, and the spread over independent draws of samples,
which the published protocol hides.

  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --out evaluation.json
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import canonical_json, dump_tensors, replacing, sha256_file
from replicate.likelihood.parzen import log_densities, standard_error
from replicate.params import load_params
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.samples import Samples
from replicate.training.backend import configure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON (default: the paper's protocol)")
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--bandwidth", type=Path, required=True, help="result of the stage `bandwidth`")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument(
        "--out", type=Path, required=True, help="result (JSON); log-likelihoods of all images beside it"
    )


def _draw(images: Tensor, test: Tensor, choice: dict[str, Any]) -> tuple[dict[str, Any], Tensor]:
    """One draw of samples: its measured values, and the log-likelihood of every test image at the chosen sigma."""
    both = log_densities(images, test, [choice["sigma"], choice["fine_sigma"]])
    values = {
        **choice,
        "log_likelihood": float(both[0].mean()),
        "standard_error": standard_error(both[0]),
        "fine_log_likelihood": float(both[1].mean()),
    }
    return values, both[0].cpu()


def run(arguments: argparse.Namespace) -> None:
    """Writes the evaluation, the log-likelihood of every test image, and the run record."""
    record = RunRecord("evaluate")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    samples = Samples.read(arguments.samples)
    choices = read_result(arguments.bandwidth, "bandwidth")
    if choices["inputs"]["samples"] != sha256_file(arguments.samples):
        raise ReplicateError(f"{arguments.bandwidth} was chosen with other samples; run `bandwidth` again.")
    test = torch.from_numpy(Splits.read(arguments.data).flat("test")).to(backend.device)
    samples.fit(test, arguments.data)
    per_seed: list[dict[str, Any]] = []
    every_image = np.full((*samples.images.shape[:2], len(test)), np.nan)
    for place, (seed, images, failed) in enumerate(samples.per_seed()):
        entry: dict[str, Any] = {"seed": seed, "failed": failed, "log_likelihood": None, "draws": []}
        for number, draw in enumerate(images if images is not None else []):
            choice = {
                "sigma": choices["chosen"][place][number], "at_edge": choices["at_edge"][place][number],
                "fine_sigma": choices["fine"][place][number],
            }  # fmt: skip
            values, every_image[place, number] = _draw(draw.to(backend.device), test, choice)
            entry["draws"].append(values)
        if entry["draws"]:
            entry["log_likelihood"] = float(np.mean([values["log_likelihood"] for values in entry["draws"]]))
        per_seed.append(entry)
    _write(arguments, samples, choices, per_seed, every_image, params.compute.model_dump(mode="json"))
    record.write(arguments.out, **backend.facts)


def _write(
    arguments: argparse.Namespace, samples: Samples, choices: dict[str, Any], per_seed: list[dict[str, Any]],
    every_image: np.ndarray, compute: dict[str, Any],
) -> None:  # fmt: skip
    about = samples.about
    content = result(
        "evaluate", code_digest(["replicate.stages.evaluate"]), {"compute": compute},
        {"samples": arguments.samples, "bandwidth": arguments.bandwidth, "data": arguments.data},
        dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"], per_seed=per_seed,
        n_test=int(every_image.shape[2]), n_samples=int(samples.images.shape[2]), sigmas=choices["sigmas"],
        n_validation=choices["n_validation"], dimension=int(samples.images.shape[3]),
    )  # fmt: skip
    with replacing(arguments.out, arguments.out.with_suffix(".safetensors")) as (values, images):
        dump_tensors(images, {"log_likelihood": every_image})
        values.write_text(canonical_json(content), encoding="utf-8")
    for entry in per_seed:
        name = f"evaluate {about['dataset']} {about['model']} seed {entry['seed']}"
        if entry["failed"]:
            print(f"{name}: failed in epoch {entry['failed']['epoch']}: {entry['failed']['reason']}")
        else:
            error = entry["draws"][0]["standard_error"]
            print(f"{name}: {entry['log_likelihood']:.1f} nats, standard error {error:.1f} over test images")
