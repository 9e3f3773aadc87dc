"""Measures the test log-likelihood of every seed, with its standard error over test images and over folds.

Also kept: the log-likelihood of every single test image; the spread over independent draws of samples, which the
published protocol hides; and how many independent draws the images of Markov chains are worth.

  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --out evaluation.json
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import canonical_json, dump_tensors, replacing, sha256_file
from replicate.likelihood.parzen import log_densities, standard_error
from replicate.mixing import mixing
from replicate.params import load_params
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.samples import Samples
from replicate.training.backend import configure

Array = NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON (default: the paper's protocol)")
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--bandwidth", type=Path, required=True, help="result of the stage `bandwidth`")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument(
        "--out", type=Path, required=True, help="result (JSON); log-likelihoods of all images beside it"
    )


def standard_error_over_folds(means: Sequence[float]) -> float | None:
    """Standard error of the mean over folds, ddof 1 (caption of the paper's Table 1); None for one fold."""
    return float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None


def _fold(images: Tensor, test: Tensor, choice: dict[str, Any]) -> tuple[dict[str, Any], Array]:
    """One draw of samples on one fold: the measured values, and the log-likelihood of every test image, (n,)."""
    both = log_densities(images, test, [choice["sigma"], choice["fine_sigma"]])
    values = {
        **choice,
        "log_likelihood": float(both[0].mean()),
        "standard_error": standard_error(both[0]),
        "fine_log_likelihood": float(both[1].mean()),
        "n_test": len(test),
    }
    return values, both[0].cpu().numpy()


def _draw(
    images: Tensor, tests: Sequence[Tensor], choices: Sequence[dict[str, Any]], chains: int | None
) -> tuple[dict[str, Any], list[Array]]:
    """One draw of samples: means over folds, what each fold measured, how the chains mix; and all test images."""
    on_device = images.to(tests[0].device)
    pairs = [_fold(on_device, test, choice) for test, choice in zip(tests, choices, strict=True)]
    folds = [values for values, _ in pairs]
    means = [fold["log_likelihood"] for fold in folds]
    values = {
        "log_likelihood": float(np.mean(means)),
        "standard_error": float(np.mean([fold["standard_error"] for fold in folds])),
        "standard_error_folds": standard_error_over_folds(means),
        **dataclasses.asdict(mixing(images.numpy(), chains)),
        "folds": folds,
    }
    return values, [images for _, images in pairs]


def _seed(
    images: Tensor | None, tests: Sequence[Tensor], choices: list[list[dict[str, Any]]], chains: int | None
) -> tuple[dict[str, Any], list[list[Array]]]:
    """The mean over draws and every draw of one seed; test images as [draw][fold]. A failed seed has neither."""
    every = () if images is None else images
    pairs = [_draw(draw, tests, choice, chains) for draw, choice in zip(every, choices, strict=True)]
    draws = [values for values, _ in pairs]
    mean = float(np.mean([draw["log_likelihood"] for draw in draws])) if draws else None
    return {"log_likelihood": mean, "draws": draws}, [values for _, values in pairs]


def _chosen(bandwidth: dict[str, Any], place: int) -> list[list[dict[str, Any]]]:
    """What `bandwidth` chose for the seed at `place`, [draw][fold]; empty for a failed seed."""
    names = {"sigma": "chosen", "at_edge": "at_edge", "fine_sigma": "fine"}
    kept = [bandwidth[name][place] or [] for name in names.values()]
    return [
        [dict(zip(names, fold, strict=True)) for fold in zip(*draw, strict=True)] for draw in zip(*kept, strict=True)
    ]


def run(arguments: argparse.Namespace) -> None:
    """Writes the evaluation, the log-likelihood of every test image, and the run record."""
    record = RunRecord("evaluate")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    samples = Samples.read(arguments.samples)
    bandwidth = read_result(arguments.bandwidth, "bandwidth")
    if bandwidth["inputs"]["samples"] != sha256_file(arguments.samples):
        raise ReplicateError(f"{arguments.bandwidth} was chosen with other samples; run `bandwidth` again.")
    splits = Splits.read(arguments.data)
    tests = [torch.from_numpy(splits.flat("test", fold)).to(backend.device) for fold in range(splits.fold_count)]
    samples.fit(tests[0], arguments.data)
    seeds, draws = samples.images.shape[:2]
    every_image = [np.full((seeds, draws, len(test)), np.nan) for test in tests]
    per_seed: list[dict[str, Any]] = []
    for place, (seed, images, failed) in enumerate(samples.per_seed()):
        values, of_images = _seed(images, tests, _chosen(bandwidth, place), samples.chains)
        per_seed.append({"seed": seed, "failed": failed, **values})
        for draw, of_folds in enumerate(of_images):
            for fold, of_test in enumerate(of_folds):
                every_image[fold][place, draw] = of_test
    _write(arguments, samples, bandwidth, per_seed, every_image, params.compute.model_dump(mode="json"))
    record.write(arguments.out, **backend.facts)


def _write(
    arguments: argparse.Namespace, samples: Samples, bandwidth: dict[str, Any], per_seed: list[dict[str, Any]],
    every_image: list[Array], compute: dict[str, Any],
) -> None:  # fmt: skip
    about = samples.about
    content = result(
        "evaluate", code_digest(["replicate.stages.evaluate"]), {"compute": compute},
        {"samples": arguments.samples, "bandwidth": arguments.bandwidth, "data": arguments.data},
        dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"], per_seed=per_seed,
        n_test=[int(fold.shape[2]) for fold in every_image], n_samples=int(samples.images.shape[2]),
        chains=samples.chains, sigmas=bandwidth["sigmas"], n_validation=bandwidth["n_validation"],
        validation_available=bandwidth["validation_available"], dimension=int(samples.images.shape[3]),
    )  # fmt: skip
    with replacing(arguments.out, arguments.out.with_suffix(".safetensors")) as (values, images):
        dump_tensors(images, {f"fold{number}": fold for number, fold in enumerate(every_image)})
        values.write_text(canonical_json(content), encoding="utf-8")
    for entry in per_seed:
        name = f"evaluate {about['dataset']} {about['model']} seed {entry['seed']}"
        if entry["failed"]:
            print(f"{name}: failed in epoch {entry['failed']['epoch']}: {entry['failed']['reason']}")
        else:
            draw = entry["draws"][0]
            error = f"standard error {draw['standard_error']:.1f} over test images"
            if draw["standard_error_folds"] is not None:
                error += f", {draw['standard_error_folds']:.1f} over {len(draw['folds'])} folds"
            print(f"{name}: {entry['log_likelihood']:.1f} nats, {error}")
