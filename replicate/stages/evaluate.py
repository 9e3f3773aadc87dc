"""Measures the test log-likelihood of every seed, with its standard error over test images and over folds.

Also kept: the log-likelihood of every single test image; the spread over independent draws of samples, which the
published protocol hides; and how many independent draws the images of Markov chains are worth.

  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --out evaluation.json

Many samples can be shared out among machines, which are given the same files. Each computes the sums over one part of
the samples, here the 2nd of 7, and any one of them adds all parts up to the same result:

  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --shard 2/7 --out part-2.safetensors
  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --merge part-*.safetensors --out evaluation.json

Samples are cut at multiples of 2,048: of 10,000 samples at most 5 parts are not empty.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError, understanding
from replicate.files import canonical_json, dump_tensors, replacing, sha256_file
from replicate.likelihood.parzen import LARGEST, SMALLEST, KernelSums, kernel_sums, standard_error
from replicate.likelihood.shards import Shard, Sums, merged, on_cpu, write_part
from replicate.loops import each
from replicate.mixing import mixing
from replicate.params import load_params
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.samples import Samples
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting

Array = NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON (default: the paper's protocol)")
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--bandwidth", type=Path, required=True, help="result of the stage `bandwidth`")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--shard", metavar="K/N", help="compute the sums over the K-th of N parts of the samples alone")
    part.add_argument("--merge", type=Path, nargs="+", metavar="PART", help="add up these parts instead of computing")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="result (JSON), log-likelihoods of all images beside it; with --shard the part (safetensors)",
    )
    add_state_argument(parser)


def standard_error_over_folds(means: Sequence[float]) -> float | None:
    """Standard error of the mean over folds, ddof 1 (caption of the paper's Table 1); None for one fold."""
    return float(np.std(means, ddof=1) / np.sqrt(len(means))) if len(means) > 1 else None


@dataclass(frozen=True)
class _Inputs:
    """What is evaluated.

    Attributes:
        samples: on the CPU.
        bandwidth: result of the stage `bandwidth` for these samples.
        tests: test images of every fold, (n, dimension), on the device.
    """

    samples: Samples
    bandwidth: dict[str, Any]
    tests: list[Tensor]

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: torch.device) -> "_Inputs":
        """Reads the files; those that do not belong together are refused."""
        samples = Samples.read(arguments.samples)
        bandwidth = read_result(arguments.bandwidth, "bandwidth")
        with understanding(arguments.bandwidth):
            chosen_with = bandwidth["inputs"]["samples"]
        if chosen_with != sha256_file(arguments.samples):
            raise ReplicateError(f"{arguments.bandwidth} was chosen with other samples; run `bandwidth` again.")
        splits = Splits.read(arguments.data)
        tests = [torch.from_numpy(splits.flat("test", fold)).to(device) for fold in range(splits.fold_count)]
        samples.fit(tests[0], arguments.data)
        read = cls(samples, bandwidth, tests)
        with understanding(arguments.bandwidth):
            read.check_choices()
        return read

    @property
    def count(self) -> int:
        """Samples of a draw."""
        return int(self.samples.images.shape[2])

    def check_choices(self) -> None:
        """Refuses bandwidths that are not one of every draw and fold of every seed that did not fail; ValueError."""
        lists = (self.bandwidth["n_validation"], self.bandwidth["validation_available"])
        if not all(len(counts) == len(self.tests) for counts in lists):
            raise ValueError("the counts of validation images are not of every fold")
        for place, (seed, images, _) in enumerate(self.samples.per_seed()):
            draws = self.choices(place)
            expected = [] if images is None else [len(self.tests)] * len(images)
            if [len(folds) for folds in draws] != expected:
                raise ValueError(f"seed {seed} has no bandwidth for each of its draws and folds")
            for choice in (choice for folds in draws for choice in folds):
                widths = choice["sigma"], choice["fine_sigma"]
                if not all(type(width) is float and SMALLEST <= width <= LARGEST for width in widths):
                    raise ValueError(f"seed {seed} has the bandwidths {widths}")

    def choices(self, place: int) -> list[list[dict[str, Any]]]:
        """What `bandwidth` chose for the seed at `place`, [draw][fold]; empty for a failed seed."""
        names = {"sigma": "chosen", "at_edge": "at_edge", "fine_sigma": "fine"}
        kept = [self.bandwidth[name][place] or [] for name in names.values()]
        return [
            [dict(zip(names, fold, strict=True)) for fold in zip(*draw, strict=True)]
            for draw in zip(*kept, strict=True)
        ]


def _sums(inputs: _Inputs, shard: Shard) -> Sums:
    """The sums over a part of the samples, at the chosen and the fine bandwidth; none over a part without samples."""
    part, found = shard.rows(inputs.count), Sums()
    if part.start == part.stop:
        return found
    for place, (_, images, _) in each([*enumerate(inputs.samples.per_seed())], "seed {0[1][0]}"):
        draws = () if images is None else images[:, part]
        for number, (draw, choices) in enumerate(zip(draws, inputs.choices(place), strict=True)):
            on_device = draw.to(inputs.tests[0].device)
            for fold, (test, choice) in enumerate(zip(inputs.tests, choices, strict=True)):
                sigmas = [choice["sigma"], choice["fine_sigma"]]
                found[place, number, fold] = on_cpu(kernel_sums(on_device, test, sigmas))
    return found


def _fold(sums: KernelSums, choice: dict[str, Any]) -> tuple[dict[str, Any], Array]:
    """One draw of samples on one fold: the measured values, and the log-likelihood of every test image, (n,)."""
    both = sums.log_densities()
    values = {
        **choice,
        "log_likelihood": float(both[0].mean()),
        "standard_error": standard_error(both[0]),
        "fine_log_likelihood": float(both[1].mean()),
        "n_test": both.shape[1],
    }
    return values, both[0].numpy()


def _draw(
    images: Tensor, sums: Sequence[KernelSums], choices: Sequence[dict[str, Any]], chains: int | None
) -> tuple[dict[str, Any], list[Array]]:
    """One draw of samples: means over folds, what each fold measured, how the chains mix; and all test images."""
    pairs = [_fold(of_fold, choice) for of_fold, choice in zip(sums, choices, strict=True)]
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


def _seed(inputs: _Inputs, place: int, images: Tensor | None, sums: Sums) -> tuple[dict[str, Any], list[list[Array]]]:
    """The mean over draws and every draw of one seed; test images as [draw][fold]. A failed seed has neither."""
    pairs = []
    for number, draw in enumerate(() if images is None else images):
        of_folds = [sums[place, number, fold] for fold in range(len(inputs.tests))]
        pairs.append(_draw(draw, of_folds, inputs.choices(place)[number], inputs.samples.chains))
    draws = [values for values, _ in pairs]
    mean = float(np.mean([draw["log_likelihood"] for draw in draws])) if draws else None
    return {"log_likelihood": mean, "draws": draws}, [values for _, values in pairs]


def _measured(inputs: _Inputs, sums: Sums) -> tuple[list[dict[str, Any]], list[Array]]:
    """What every seed measured; and all test images of every fold, (seeds, draws, n), NaN for a failed seed."""
    seeds, draws = inputs.samples.images.shape[:2]
    every_image = [np.full((seeds, draws, len(test)), np.nan) for test in inputs.tests]
    per_seed: list[dict[str, Any]] = []
    for place, (seed, images, failed) in enumerate(inputs.samples.per_seed()):
        values, of_images = _seed(inputs, place, images, sums)
        per_seed.append({"seed": seed, "failed": failed, **values})
        for draw, of_folds in enumerate(of_images):
            for fold, of_test in enumerate(of_folds):
                every_image[fold][place, draw] = of_test
    return per_seed, every_image


def run(arguments: argparse.Namespace) -> None:
    """Writes the evaluation, the log-likelihood of every test image, and the run record; or a part and its record."""
    record = RunRecord("evaluate")
    shard = Shard.parse(arguments.shard) if arguments.shard is not None else None
    if shard and arguments.out.suffix != ".safetensors":
        raise ReplicateError(f"--out {arguments.out}: the name of a part must end in .safetensors.")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    inputs = _Inputs.read(arguments, backend.device)
    frame = result(
        "evaluate", code_digest(["replicate.stages.evaluate"]), {"compute": params.compute.model_dump(mode="json")},
        {"samples": arguments.samples, "bandwidth": arguments.bandwidth, "data": arguments.data},
    )  # fmt: skip
    sums = merged(arguments.merge, frame) if arguments.merge else None
    if sums is None:
        about = inputs.samples.about
        label = f"evaluate {about['dataset']} {about['model']} {about['block']}" + (f" part {shard}" if shard else "")
        with reporting(arguments.state, label):
            sums = _sums(inputs, shard or Shard(1, 1))
    if shard:
        _write_part(arguments.out, shard, inputs, sums, frame)
    else:
        _write(arguments.out, inputs, sums, frame)
    record.write(arguments.out, **backend.facts)


def _write_part(out: Path, shard: Shard, inputs: _Inputs, sums: Sums, frame: Mapping[str, Any]) -> None:
    part, about = shard.rows(inputs.count), inputs.samples.about
    count = part.stop - part.start
    write_part(out, shard, count, sums, frame)
    name = f"evaluate {about['dataset']} {about['model']} seeds {about['block']}"
    print(f"{name}: part {shard}, {count} of {inputs.count} samples -> {out}")


def _write(out: Path, inputs: _Inputs, sums: Sums, frame: Mapping[str, Any]) -> None:
    samples, bandwidth, about = inputs.samples, inputs.bandwidth, inputs.samples.about
    per_seed, every_image = _measured(inputs, sums)
    content = dict(
        frame, dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"],
        per_seed=per_seed, n_test=[int(fold.shape[2]) for fold in every_image], n_samples=inputs.count,
        chains=samples.chains, sigmas=bandwidth["sigmas"], n_validation=bandwidth["n_validation"],
        validation_available=bandwidth["validation_available"], dimension=int(samples.images.shape[3]),
        **({"sampler": about["sampler"]} if "sampler" in about else {}), **samples.rounding,
    )  # fmt: skip
    with replacing(out, out.with_suffix(".safetensors")) as (values, images):
        dump_tensors(images, {f"fold{number}": fold for number, fold in enumerate(every_image)})
        values.write_text(canonical_json(content), encoding="utf-8")
    for entry in per_seed:
        _print_seed(f"evaluate {about['dataset']} {about['model']} seed {entry['seed']}", entry)


def _print_seed(name: str, entry: Mapping[str, Any]) -> None:
    if entry["failed"]:
        print(f"{name}: failed in epoch {entry['failed']['epoch']}: {entry['failed']['reason']}")
        return
    draw = entry["draws"][0]
    error = f"standard error {draw['standard_error']:.1f} over test images"
    if draw["standard_error_folds"] is not None:
        error += f", {draw['standard_error_folds']:.1f} over {len(draw['folds'])} folds"
    print(f"{name}: {entry['log_likelihood']:.1f} nats, {error}")
