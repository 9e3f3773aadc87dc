"""Measures the test log-likelihood of every seed, with its standard error over images and folds.

The result also holds the spread over independent draws of samples, which the published protocol
hides, and how many independent images those of Markov chains are worth. The log-likelihood of every
test image lies beside it.

  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --out evaluation.json

Several machines can share the work, each with the same files. Each computes the sums over one part
of the samples, here the 2nd of 7, and any of them adds all parts up to the same result:

  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --shard 2/7 --out part-2.safetensors
  python -m replicate evaluate --params params.yaml --samples samples.safetensors \\
      --bandwidth bandwidth.json --data digits.safetensors --merge part-*.safetensors \\
      --out evaluation.json

Samples are cut at multiples of 2,048: of 10,000 samples at most 5 parts are not empty.
"""

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.effective_samples import mixing
from replicate.diagnostics.samples import Samples
from replicate.errors import ReplicateError, understanding
from replicate.likelihood.parzen import LARGEST, SMALLEST, KernelSums, kernel_sums, standard_error
from replicate.likelihood.shards import Shard, Sums, merged, on_cpu, write_part
from replicate.params import load_params
from replicate.progress.loops import each
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.frame import read_result
from replicate.records.parameters import compute_parameters
from replicate.records.schema import (
    BandwidthChoice,
    DrawEvaluation,
    Evaluation,
    FoldEvaluation,
    Frame,
    OnDevice,
    SeedEvaluation,
)
from replicate.stages.device_job import DeviceJob
from replicate.storage.files import atomic_write, canonical_json, dump_tensors, sha256_file

Array = NDArray[np.float64]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument(
        "--params",
        default="{}",
        help="parameter file, or inline JSON (default: the paper's protocol)",
    )
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument(
        "--bandwidth", type=Path, required=True, help="result of the stage `bandwidth`"
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--shard",
        metavar="K/N",
        help="compute the sums over the K-th of N parts of the samples alone",
    )
    part.add_argument(
        "--merge",
        type=Path,
        nargs="+",
        metavar="PART",
        help="add up these parts instead of computing",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="result (JSON), log-likelihoods of all images beside it; "
        "with --shard the part (safetensors)",
    )
    add_state_argument(parser)


def standard_error_over_folds(means: Sequence[float]) -> float | None:
    """Standard error of the mean over folds, ddof 1 (caption of the paper's Table 1).

    None for one fold.
    """
    if len(means) == 1:
        return None
    deviation = np.std(means, ddof=1)
    return float(deviation / np.sqrt(len(means)))


class _Choice(NamedTuple):
    """The bandwidths of one draw of samples on one fold.

    Attributes:
        sigma: chosen from the grid.
        at_edge: it is the smallest or the largest of the grid.
        fine_sigma: chosen from the fine grid around it.
    """

    sigma: float
    at_edge: bool
    fine_sigma: float


def _choices_of(
    sigmas: Sequence[float], at_edge: Sequence[bool], fine_sigmas: Sequence[float]
) -> list[_Choice]:
    """The choices of one draw by fold, from lists by fold."""
    choices = []
    by_fold = zip(sigmas, at_edge, fine_sigmas, strict=True)
    for sigma, is_at_edge, fine_sigma in by_fold:
        choice = _Choice(sigma, is_at_edge, fine_sigma)
        choices.append(choice)
    return choices


@dataclass(frozen=True)
class _Inputs:
    """What is evaluated.

    Attributes:
        samples: on the CPU.
        bandwidth: result of the stage `bandwidth` for these samples.
        tests: test images of every fold, (n, dimension), on the device.
    """

    samples: Samples
    bandwidth: BandwidthChoice
    tests: list[Tensor]

    @classmethod
    def read(cls, arguments: argparse.Namespace, device: torch.device) -> "_Inputs":
        """Reads the files; those that do not belong together are refused."""
        samples = Samples.read(arguments.samples)
        bandwidth = read_result(arguments.bandwidth, BandwidthChoice)
        # The bandwidth is fitted to the samples: with others it would be no maximum.
        digest = sha256_file(arguments.samples)
        if bandwidth["inputs"].get("samples") != digest:
            raise ReplicateError(
                f"{arguments.bandwidth} was chosen with other samples; run `bandwidth` again."
            )
        splits = Splits.read(arguments.data)
        tests: list[Tensor] = []
        for fold in range(splits.fold_count):
            images = torch.from_numpy(splits.flat("test", fold))
            tests.append(images.to(device))
        samples.check_compatible(tests[0], arguments.data)
        inputs = cls(samples, bandwidth, tests)
        with understanding(arguments.bandwidth):
            inputs.check_choices()
        return inputs

    @property
    def sample_count(self) -> int:
        """Samples of a draw."""
        return int(self.samples.images.shape[2])

    @property
    def subject(self) -> str:
        """Stage, data set and model, as messages begin."""
        about = self.samples.about
        return f"evaluate {about['dataset']} {about['model']}"

    def check_choices(self) -> None:
        """Refuses bandwidths that are not one of every draw and fold of every sound seed.

        Raises:
            ValueError: says which seed, or which counts.
        """
        fold_count = len(self.tests)
        counts = (self.bandwidth["n_validation"], self.bandwidth["validation_available"])
        if any(len(by_fold) != fold_count for by_fold in counts):
            raise ValueError("the counts of validation images are not of every fold")
        for seed_index, (seed, images, _) in enumerate(self.samples.per_seed()):
            choices = self.choices(seed_index)
            # A failed seed has no draws, and so no bandwidths.
            draw_count = 0 if images is None else len(images)
            folds_by_draw = [len(folds) for folds in choices]
            if folds_by_draw != [fold_count] * draw_count:
                raise ValueError(f"seed {seed} has no bandwidth for each of its draws and folds")
            for choice in itertools.chain.from_iterable(choices):
                # The file may have been edited: beyond these bounds float32 overflows.
                widths = (choice.sigma, choice.fine_sigma)
                if not all(SMALLEST <= width <= LARGEST for width in widths):
                    raise ValueError(f"seed {seed} has the bandwidths {widths}")

    def choices(self, seed_index: int) -> list[list[_Choice]]:
        """What `bandwidth` chose for a seed of the block, [draw][fold]; empty for a failed seed."""
        chosen = self.bandwidth
        sigmas = chosen["chosen"][seed_index] or []
        at_edge = chosen["at_edge"][seed_index] or []
        fine_sigmas = chosen["fine"][seed_index] or []
        by_draw = zip(sigmas, at_edge, fine_sigmas, strict=True)
        return [_choices_of(*by_fold) for by_fold in by_draw]


def _kernel_sums(inputs: _Inputs, shard: Shard) -> Sums:
    """The sums over a part of the samples, at the chosen and the fine bandwidth.

    There are none over a part without samples.
    """
    sums = Sums()
    rows = shard.rows(inputs.sample_count)
    # Of very few samples, the last of many parts has none.
    if rows.start == rows.stop:
        return sums
    device = inputs.tests[0].device
    # A list, since progress needs to know how many there are.
    seeds = [*enumerate(inputs.samples.per_seed())]
    for seed_index, (_, images, _) in each(seeds, "seed {0[1][0]}"):
        if images is None:
            continue
        for draw, choices_by_fold in enumerate(inputs.choices(seed_index)):
            samples = images[draw, rows].to(device)
            folds = zip(inputs.tests, choices_by_fold, strict=True)
            for fold, (test, choice) in enumerate(folds):
                # Both bandwidths at once: the distances, most of the work, are the same.
                sigmas = [choice.sigma, choice.fine_sigma]
                shard_sums = kernel_sums(samples, test, sigmas)
                sums[seed_index, draw, fold] = on_cpu(shard_sums)
    return sums


def _fold(sums: KernelSums, choice: _Choice) -> tuple[FoldEvaluation, Array]:
    """One draw of samples on one fold, and the log-likelihood of every test image, (n,)."""
    by_sigma = sums.log_densities()  # (2, n): by the chosen bandwidth and by the fine one
    log_likelihoods = by_sigma[0]
    evaluation: FoldEvaluation = {
        "sigma": choice.sigma,
        "at_edge": choice.at_edge,
        "fine_sigma": choice.fine_sigma,
        "log_likelihood": float(log_likelihoods.mean()),
        "standard_error": standard_error(log_likelihoods),
        "fine_log_likelihood": float(by_sigma[1].mean()),
        "n_test": by_sigma.shape[1],
    }
    return evaluation, log_likelihoods.numpy()


def _draw(
    samples: Tensor, sums: Sequence[KernelSums], choices: Sequence[_Choice], chains: int | None
) -> tuple[DrawEvaluation, list[Array]]:
    """One draw of samples, (n, dimension), and the log-likelihood of every test image by fold.

    Args:
        sums, choices: one of every fold.
        chains: Markov chains that the samples come from.
    """
    folds: list[FoldEvaluation] = []
    log_likelihoods: list[Array] = []
    for sums_of_fold, choice in zip(sums, choices, strict=True):
        evaluation, by_image = _fold(sums_of_fold, choice)
        folds.append(evaluation)
        log_likelihoods.append(by_image)
    means = [fold["log_likelihood"] for fold in folds]
    errors = [fold["standard_error"] for fold in folds]
    # Of the samples that the estimate used, and not of more: it says what they are worth.
    mixes = mixing(samples.numpy(), chains)
    draw: DrawEvaluation = {
        "log_likelihood": float(np.mean(means)),
        "standard_error": float(np.mean(errors)),
        "standard_error_folds": standard_error_over_folds(means),
        "effective_samples": mixes.effective_samples,
        "autocorrelation": mixes.autocorrelation,
        "folds": folds,
    }
    return draw, log_likelihoods


def _evaluated(inputs: _Inputs, sums: Sums) -> tuple[list[SeedEvaluation], list[Array]]:
    """Every seed, and the log-likelihood of every test image by fold, (seeds, draws, n).

    The log-likelihoods of a failed seed are NaN.
    """
    all_samples = inputs.samples
    seed_count, draw_count, _, _ = all_samples.images.shape
    folds = range(len(inputs.tests))
    # NaN stays where a seed failed.
    by_image = [np.full((seed_count, draw_count, len(test)), np.nan) for test in inputs.tests]
    seeds: list[SeedEvaluation] = []
    for seed_index, (seed, images, failure) in enumerate(all_samples.per_seed()):
        draws: list[DrawEvaluation] = []
        choices_by_draw = inputs.choices(seed_index)
        for draw_index, choices in enumerate(choices_by_draw):
            assert images is not None  # `check_choices`: a failed seed has no choices
            samples = images[draw_index]
            sums_by_fold = [sums[seed_index, draw_index, fold] for fold in folds]
            draw, log_likelihoods = _draw(samples, sums_by_fold, choices, all_samples.chains)
            draws.append(draw)
            for fold, values in enumerate(log_likelihoods):
                by_image[fold][seed_index, draw_index] = values
        means = [draw["log_likelihood"] for draw in draws]
        # One number: verdicts count seeds, and further draws of one are no further runs.
        mean = float(np.mean(means)) if means else None
        seeds.append({"seed": seed, "failed": failure, "log_likelihood": mean, "draws": draws})
    return seeds, by_image


def run(arguments: argparse.Namespace) -> None:
    """Writes the evaluation with all images' log-likelihoods, or a part, and the run record."""
    out = arguments.out
    shard = None
    if arguments.shard is not None:
        shard = Shard.parse(arguments.shard)
    # Before the work: a part that is called .json would be taken for a result.
    if shard and out.suffix != ".safetensors":
        raise ReplicateError(f"--out {out}: the name of a part must end in .safetensors.")
    params = load_params(arguments.params)
    job = DeviceJob("evaluate", params.compute)
    inputs = _Inputs.read(arguments, job.backend.device)
    parameters: OnDevice = {"compute": compute_parameters(params.compute)}
    files = {
        "samples": arguments.samples,
        "bandwidth": arguments.bandwidth,
        "data": arguments.data,
    }
    frame = job.frame(parameters, files)
    sums = None
    if arguments.merge:
        # The frame tells parts of other samples, data or code, which must not be added up.
        sums = merged(arguments.merge, frame)
    if sums is None:
        block = inputs.samples.about["block"]
        label = f"{inputs.subject} {block}"
        if shard:
            label += f" part {shard}"
        with reporting(arguments.state, label):
            sums = _kernel_sums(inputs, shard or Shard(1, 1))
    if shard:
        _write_part(out, shard, inputs, sums, frame, parameters)
    else:
        _write(out, inputs, sums, frame, parameters)
    job.close(out)


def _write_part(
    out: Path, shard: Shard, inputs: _Inputs, sums: Sums, frame: Frame, parameters: OnDevice
) -> None:
    rows = shard.rows(inputs.sample_count)
    count = rows.stop - rows.start
    about: dict[str, object] = {**frame, "stage": "evaluate", "parameters": parameters}
    write_part(out, shard, count, sums, about)
    block = inputs.samples.about["block"]
    print(
        f"{inputs.subject} seeds {block}: part {shard}, "
        f"{count} of {inputs.sample_count} samples -> {out}"
    )


def _write(out: Path, inputs: _Inputs, sums: Sums, frame: Frame, parameters: OnDevice) -> None:
    samples = inputs.samples
    bandwidth = inputs.bandwidth
    about = inputs.samples.about
    seeds, by_image = _evaluated(inputs, sums)
    content: Evaluation = {
        **frame,
        "stage": "evaluate",
        "parameters": parameters,
        "dataset": about["dataset"],
        "model": about["model"],
        "block": about["block"],
        "seeds": about["seeds"],
        "per_seed": seeds,
        "n_test": [len(test) for test in inputs.tests],
        "n_samples": inputs.sample_count,
        "chains": samples.chains,
        "sigmas": bandwidth["sigmas"],
        "n_validation": bandwidth["n_validation"],
        "validation_available": bandwidth["validation_available"],
        "dimension": int(samples.images.shape[3]),
        **samples.sampling,
        **samples.rounding,
    }
    tensors = {f"fold{fold}": values for fold, values in enumerate(by_image)}
    # Both or none: means beside the images of another run could not be computed again.
    with atomic_write(out, out.with_suffix(".safetensors")) as (evaluation, images):
        dump_tensors(images, tensors)
        evaluation.write_text(canonical_json(content), encoding="utf-8")
    for seed in seeds:
        print(f"{inputs.subject} seed {seed['seed']}: {_outcome(seed)}")


def _outcome(seed: SeedEvaluation) -> str:
    """A seed in words: its mean with the errors of its first draw, or why it failed."""
    failure = seed["failed"]
    if failure is not None:
        return f"failed in epoch {failure['epoch']}: {failure['reason']}"
    draw = seed["draws"][0]
    mean = seed["log_likelihood"]
    over_images = draw["standard_error"]
    over_folds = draw["standard_error_folds"]
    error = f"standard error {over_images:.1f} over test images"
    if over_folds is not None:
        fold_count = len(draw["folds"])
        error += f", {over_folds:.1f} over {fold_count} folds"
    return f"{mean:.1f} nats, {error}"
