"""Draws images from a trained model, for every seed of its block.

The draws come from the evaluation stream, which training never touches. A failed seed gets no images. Weights may also
come from `export`; then the difference that its rounding makes is said.

Where a model is sampled by Markov chains, many run side by side, and image i is of chain i modulo their number.

  python -m replicate sample --params params.yaml --weights weights.safetensors --data digits.safetensors \\
      --out samples.safetensors
"""

import argparse
import json
import time
from pathlib import Path

import torch

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.files import write_tensors
from replicate.loops import each
from replicate.models import REGISTRY
from replicate.models.chains import ChainModel
from replicate.models.weights import read_model, sampling
from replicate.params import load_params
from replicate.runrecord import RunRecord
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON (default: the paper's protocol)")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, help="prepared data set (safetensors), where chains begin at its images")
    parser.add_argument("--out", type=Path, required=True, help="samples (safetensors)")
    add_state_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes `samples`, (seeds, draws, n, dimension) float32, and the run record."""
    record = RunRecord("sample")
    params = load_params(arguments.params)
    backend = configure(params.compute)
    data = Splits.read(arguments.data) if arguments.data is not None else None
    model, about = read_model(arguments.weights, backend.device, data)
    draws, count = params.likelihood.draws, params.likelihood.samples
    started = time.monotonic()
    label = f"sample {about['dataset']} {about['model']} {about['block']}"
    with reporting(arguments.state, label), sampling(model, arguments.weights):
        samples = torch.stack([model.sample(count, draw).cpu() for draw in each(range(draws), "draw")], dim=1)
    seconds = time.monotonic() - started
    for place, seed in enumerate(about["seeds"]):
        if str(seed) in about["failed"]:
            samples[place] = torch.nan
    code = code_digest(["replicate.stages.sample", REGISTRY[about["model"]][1]])
    about["chains"] = model.chains
    if isinstance(model, ChainModel):
        about["sampler"] = model.used_sampler.model_dump()
    metadata = {"about": json.dumps(about, sort_keys=True), "code": code}
    write_tensors(arguments.out, {"samples": samples.numpy()}, metadata)
    images = int(samples.shape[0] * draws * count)
    record.write(arguments.out, **backend.facts, images=images, seconds_per_10000=round(seconds * 10_000 / images, 3))
    print(f"sample {about['dataset']} {about['model']} seeds {about['block']}: {draws} x {count} images of each seed")
    if rounded := about.get("rounded"):
        print(
            f"sample: these weights are rounded to {rounded['to']}, which moves a pixel by "
            f"{rounded['largest_difference']:.2g} at most ({rounded['images']} images); what is measured of these "
            "samples differs from that of the weights as trained"
        )
