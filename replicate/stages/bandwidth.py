"""Chooses the bandwidth of the Parzen window on validation images, for every seed, draw and fold.

Test images are never read here: only `valid` of the prepared data set. Where the set has folds,
each one's validation images choose its own bandwidth (caption of the paper's Table 1); a set with
one cut is one fold.

  python -m replicate bandwidth --params params.yaml --samples samples.safetensors \\
      --data digits.safetensors --out bandwidth.json
"""

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.samples import Samples
from replicate.errors import ReplicateError
from replicate.likelihood.parzen import Bandwidth, choose_bandwidth
from replicate.params import load_params
from replicate.progress.loops import each
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.parameters import compute_parameters
from replicate.records.schema import BandwidthChoice, BandwidthParameters
from replicate.stages.device_job import DeviceJob

Value = TypeVar("Value", list[float], float, bool)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument(
        "--params",
        default="{}",
        help="parameter file, or inline JSON (default: the paper's protocol)",
    )
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


def _choices(
    seed: int, draws: Tensor, valid: Sequence[Tensor], sigmas: tuple[float, ...]
) -> list[list[Bandwidth]]:
    """The choice for every draw of one seed on every fold's validation images, [draw][fold]."""
    choices = []
    for draw in draws:
        # One draw at a time: the samples of a whole block need not fit on the device.
        choices_of_draw = [
            choose_bandwidth(draw.to(images.device), images, sigmas) for images in valid
        ]
        choices.append(choices_of_draw)
        for choice in choices_of_draw:
            # JSON has no infinity, and a table no use for one.
            if not all(map(math.isfinite, choice.curve)):
                raise ReplicateError(
                    f"the log-likelihood of seed {seed} is not finite: "
                    "its samples lie too far from the images."
                )
    return choices


def _by_seed(
    choices: list[list[list[Bandwidth]] | None], value_of: Callable[[Bandwidth], Value]
) -> list[list[list[Value]] | None]:
    """One value of every choice, [seed][draw][fold]; None for a failed seed."""
    values: list[list[list[Value]] | None] = []
    for draws in choices:
        if draws is None:
            values.append(None)
            continue
        of_seed = []
        for folds in draws:
            of_draw = [value_of(choice) for choice in folds]
            of_seed.append(of_draw)
        values.append(of_seed)
    return values


def _distinct(by_seed: list[list[list[Value]] | None]) -> list[Value]:
    """The values of all seeds, draws and folds, each once and ascending."""
    values: set[Value] = set()
    for draws in by_seed:
        # A failed seed chose nothing.
        for folds in draws or []:
            values.update(folds)
    return sorted(values)


def run(arguments: argparse.Namespace) -> None:
    """Writes the validation curve and the chosen bandwidth of every seed, draw and fold."""
    params = load_params(arguments.params)
    job = DeviceJob("bandwidth", params.compute)
    samples = Samples.read(arguments.samples)
    sigmas = params.likelihood.sigmas
    limit = params.likelihood.validation_limit
    splits = Splits.read(arguments.data)
    valid: list[torch.Tensor] = []
    available: list[int] = []
    for fold in range(splits.fold_count):
        images = torch.from_numpy(splits.validation(limit, fold))
        valid.append(images.to(job.backend.device))
        # The table says of how many there are those that choose were taken.
        available.append(splits.count("valid", fold))
    # All folds have images of one shape, so the first speaks for them.
    samples.check_compatible(valid[0], arguments.data)
    choices: list[list[list[Bandwidth]] | None] = []
    about = samples.about
    subject = f"bandwidth {about['dataset']} {about['model']}"
    with reporting(arguments.state, f"{subject} {about['block']}"):
        for seed, draws, _ in each([*samples.per_seed()], "seed {0[0]}"):
            # A seed that failed keeps its row, so that no mean is silently one of fewer seeds.
            choice = None if draws is None else _choices(seed, draws, valid, sigmas)
            choices.append(choice)
    chosen = _by_seed(choices, lambda choice: choice.sigma)
    at_edge = _by_seed(choices, lambda choice: choice.at_edge)
    parameters: BandwidthParameters = {
        "sigmas": list(sigmas),
        "validation_limit": limit,
        "compute": compute_parameters(params.compute),
    }
    inputs = {"samples": arguments.samples, "data": arguments.data}
    content: BandwidthChoice = {
        **job.frame(parameters, inputs),
        "stage": "bandwidth",
        "parameters": parameters,
        "dataset": about["dataset"],
        "model": about["model"],
        "block": about["block"],
        "seeds": about["seeds"],
        "sigmas": list(sigmas),
        "n_validation": [len(images) for images in valid],
        "validation_available": available,
        "curve": _by_seed(choices, lambda choice: list(choice.curve)),
        "chosen": chosen,
        "at_edge": at_edge,
        "fine": _by_seed(choices, lambda choice: choice.fine_sigma),
        "fine_log_likelihood": _by_seed(choices, lambda choice: choice.fine_log_likelihood),
        **samples.rounding,
    }
    distinct_sigmas = _distinct(chosen)
    line = f"{subject} seeds {about['block']}: sigma {distinct_sigmas}"
    if True in _distinct(at_edge):
        line += " (at the edge of the grid: the optimum may lie outside)"
    job.write(arguments.out, content, line)
