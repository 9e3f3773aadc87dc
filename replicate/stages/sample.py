"""Draws images from a trained model, for every seed of its block.

The draws come from the evaluation stream, which training never touches. A failed seed gets no
images. Weights may also come from `export`; then the difference that its rounding makes is said.

Where a model is sampled by Markov chains, many run side by side, and image i is of chain i modulo
their number.

  python -m replicate sample --params params.yaml --weights weights.safetensors \\
      --data digits.safetensors --out samples.safetensors
"""

import argparse
import json
import time
from pathlib import Path

import torch

from replicate.datasets.base import Splits
from replicate.jobs.subject import Subject, source_digest
from replicate.models.parts.chains import ChainModel
from replicate.models.parts.weights_file import read_model, sampling
from replicate.params import load_params
from replicate.progress.loops import each
from replicate.progress.reporting import add_state_argument, reporting
from replicate.stages.device_job import DeviceJob
from replicate.storage.files import write_tensors


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument(
        "--params",
        default="{}",
        help="parameter file, or inline JSON (default: the paper's protocol)",
    )
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument(
        "--data",
        type=Path,
        help="prepared data set (safetensors), where chains begin at its images",
    )
    parser.add_argument("--out", type=Path, required=True, help="samples (safetensors)")
    add_state_argument(parser)


def run(arguments: argparse.Namespace) -> None:
    """Writes `samples`, (seeds, draws, n, dimension) float32, and the run record."""
    params = load_params(arguments.params)
    job = DeviceJob("sample", params.compute)
    # Only models that begin at training images need them; exported weights may travel without.
    data = Splits.read(arguments.data) if arguments.data is not None else None
    model, weights = read_model(arguments.weights, job.backend.device, data)
    draws = params.likelihood.draws
    count = params.likelihood.samples
    subject = f"sample {weights['dataset']} {weights['model']}"
    started = time.monotonic()
    label = f"{subject} {weights['block']}"
    with reporting(arguments.state, label), sampling(model, arguments.weights):
        by_draw = []
        for draw in each(range(draws), "draw"):
            images = model.sample(count, draw)
            # Off the device at once: it need not hold more than one draw.
            by_draw.append(images.cpu())
        samples = torch.stack(by_draw, dim=1)
    seconds = time.monotonic() - started
    for seed_index, seed in enumerate(weights["seeds"]):
        # What a failed seed has are the weights of an epoch before it failed: no trained model.
        if str(seed) in weights["failed"]:
            samples[seed_index] = torch.nan
    about: dict[str, object] = {**weights, "chains": model.chains}
    # What chains do is part of the estimate: the samples say how they were drawn.
    if isinstance(model, ChainModel):
        about["sampler"] = model.used_sampler.model_dump()
    # Samples are no result file with a frame, so their metadata say which code drew them.
    code = source_digest("sample", Subject(model=weights["model"]))
    metadata = {"about": json.dumps(about, sort_keys=True), "code": code}
    write_tensors(arguments.out, {"samples": samples.numpy()}, metadata)
    image_count = samples.shape[0] * draws * count
    seconds_per_10000 = seconds * 10_000 / image_count
    # In the run record and not among the samples: seconds differ from run to run.
    job.facts["images"] = image_count
    job.facts["seconds_per_10000"] = round(seconds_per_10000, 3)
    line = f"{subject} seeds {weights['block']}: {draws} x {count} images of each seed"
    job.close(arguments.out, line)
    rounding = weights.get("rounded")
    if rounding:
        difference = rounding["largest_difference"]
        print(
            f"sample: these weights are rounded to {rounding['to']}, which moves a pixel by "
            f"{difference:.2g} at most ({rounding['images']} images); "
            "what is measured of these samples differs from that of the weights as trained"
        )
