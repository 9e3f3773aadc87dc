"""Chooses the bandwidth of the Parzen window on validation images, for every seed, draw of samples and fold.

Test images are never read here: only `valid` of the prepared data set. Where the set has folds, each one's validation
images choose its own bandwidth (caption of the paper's Table 1); a set with one cut is one fold.

  python -m replicate bandwidth --params params.yaml --samples samples.safetensors \\
      --data digits.safetensors --out bandwidth.json
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import write_json
from replicate.likelihood.parzen import Bandwidth, choose_bandwidth
from replicate.loops import each
from replicate.params import load_params
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.samples import Samples
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting

#: What the result keeps of every choice, as [seed][draw][fold]: its name there -> its name in `Bandwidth`.
KEPT = {
    "curve": "curve", "chosen": "sigma", "at_edge": "at_edge", "fine": "fine_sigma",
    "fine_log_likelihood": "fine_log_likelihood",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON (default: the paper's protocol)")
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


def _choices(seed: int, draws: Tensor, valid: Sequence[Tensor], sigmas: tuple[float, ...]) -> list[list[Bandwidth]]:
    """The choice for every draw of one seed on every fold's validation images, [draw][fold]."""
    choices = [[choose_bandwidth(draw.to(rows.device), rows, sigmas) for rows in valid] for draw in draws]
    if not all(math.isfinite(value) for folds in choices for choice in folds for value in choice.curve):
        raise ReplicateError(
            f"the log-likelihood of seed {seed} is not finite: its samples lie too far from the images."
        )
    return choices


def run(arguments: argparse.Namespace) -> None:
    """Writes the validation curve and the chosen bandwidth of every seed, draw and fold."""
    record = RunRecord("bandwidth")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    samples = Samples.read(arguments.samples)
    sigmas, limit = params.likelihood.sigmas, params.likelihood.validation_limit
    splits = Splits.read(arguments.data)
    folds = range(splits.fold_count)
    valid = [torch.from_numpy(splits.validation(limit, fold)).to(backend.device) for fold in folds]
    samples.fit(valid[0], arguments.data)
    found: dict[str, list[Any]] = {name: [] for name in KEPT}
    about = samples.about
    with reporting(arguments.state, f"bandwidth {about['dataset']} {about['model']} {about['block']}"):
        for seed, images, _ in each([*samples.per_seed()], "seed {0[0]}"):
            choices = None if images is None else _choices(seed, images, valid, sigmas)
            for name, attribute in KEPT.items():
                found[name].append(choices and [[getattr(choice, attribute) for choice in draw] for draw in choices])
    content = result(
        "bandwidth", code_digest(["replicate.stages.bandwidth"]),
        {"sigmas": list(sigmas), "validation_limit": limit, "compute": params.compute.model_dump(mode="json")},
        {"samples": arguments.samples, "data": arguments.data},
        dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"],
        sigmas=list(sigmas), n_validation=[len(rows) for rows in valid],
        validation_available=[splits.count("valid", fold) for fold in folds], **found, **samples.rounding,
    )  # fmt: skip
    write_json(arguments.out, content)
    record.write(arguments.out, **backend.facts)
    chosen = sorted({sigma for seed in found["chosen"] if seed for draw in seed for sigma in draw})
    edge = any(flag for seed in found["at_edge"] if seed for draw in seed for flag in draw)
    warning = " (at the edge of the grid: the optimum may lie outside)" if edge else ""
    print(f"bandwidth {about['dataset']} {about['model']} seeds {about['block']}: sigma {chosen}{warning}")
