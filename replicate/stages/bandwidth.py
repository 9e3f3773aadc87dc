"""Chooses the bandwidth of the Parzen window on validation images, for every seed and draw of samples.

Test images are never read here: only `valid` of the prepared data set.

  python -m replicate bandwidth --params params.yaml --samples samples.safetensors \\
      --data digits.safetensors --out bandwidth.json
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import write_json
from replicate.likelihood.parzen import choose_bandwidth
from replicate.params import load_params
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.samples import Samples
from replicate.training.backend import configure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON (default: the paper's protocol)")
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Writes the validation curve and the chosen bandwidth of every seed and draw."""
    record = RunRecord("bandwidth")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    samples = Samples.read(arguments.samples)
    sigmas, limit = params.likelihood.sigmas, params.likelihood.validation_limit
    valid = torch.from_numpy(Splits.read(arguments.data).flat("valid")[:limit]).to(backend.device)
    samples.fit(valid, arguments.data)
    names = ("curve", "chosen", "at_edge", "fine", "fine_log_likelihood")
    found: dict[str, list[Any]] = {name: [] for name in names}
    for seed, images, _ in samples.per_seed():
        choices = None
        if images is not None:
            choices = [choose_bandwidth(draw.to(backend.device), valid, sigmas) for draw in images]
            if not all(math.isfinite(value) for choice in choices for value in choice.curve):
                raise ReplicateError(
                    f"the log-likelihood of seed {seed} is not finite: its samples lie too far from the images."
                )
        for name, attribute in zip(
            names, ("curve", "sigma", "at_edge", "fine_sigma", "fine_log_likelihood"), strict=True
        ):
            found[name].append(None if choices is None else [getattr(choice, attribute) for choice in choices])
    about = samples.about
    content = result(
        "bandwidth", code_digest(["replicate.stages.bandwidth"]),
        {"sigmas": list(sigmas), "validation_limit": limit, "compute": params.compute.model_dump(mode="json")},
        {"samples": arguments.samples, "data": arguments.data},
        dataset=about["dataset"], model=about["model"], block=about["block"], seeds=about["seeds"],
        sigmas=list(sigmas), n_validation=len(valid), **found,
    )  # fmt: skip
    write_json(arguments.out, content)
    record.write(arguments.out, **backend.facts)
    chosen = sorted({sigma for choice in found["chosen"] if choice for sigma in choice})
    edge = any(any(flags) for flags in found["at_edge"] if flags)
    warning = " (at the edge of the grid: the optimum may lie outside)" if edge else ""
    print(f"bandwidth {about['dataset']} {about['model']} seeds {about['block']}: sigma {chosen}{warning}")
