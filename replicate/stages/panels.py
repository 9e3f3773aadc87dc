"""Draws the panels of a training job: samples, a walk through the latent space, learning and bandwidth curves.

The samples are random draws of the evaluation stream, never picked, for the block's first seed that did not fail.
Beside the last sample of every row stands the training image that is nearest to it. Always drawn on the CPU.

  python -m replicate panels --weights weights.safetensors --training training.json --bandwidth bandwidth.json \\
      --data digits.safetensors --out results/panels/digits/adversarial_nets/0-2
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from replicate import datasets, models
from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError, understanding
from replicate.figures import curves
from replicate.figures.grids import grid, png
from replicate.figures.neighbours import nearest_rows
from replicate.files import canonical_json, replacing
from replicate.models.base import GenerativeModel
from replicate.models.weights import read_model, sampling
from replicate.params import Compute
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting

#: As figure 2 of the paper: rows, and random draws in each (goodfeli/adversarial@1720041, show_samples_mnist_paper.py).
ROWS, COLUMNS = 4, 5
#: Points on the line between two codes, both ends included; the paper's figure 3 gives no number for a pair.
STEPS = 9

Images = NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--weights", type=Path, required=True, help="weights of the stage `train`")
    parser.add_argument("--training", type=Path, required=True, help="result of the stage `train` (JSON)")
    parser.add_argument("--bandwidth", type=Path, required=True, help="result of the stage `bandwidth` (JSON)")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the panels")
    add_state_argument(parser)


def first_sound_seed(about: Mapping[str, Any]) -> int | None:
    """Place in the block of the first seed that did not fail, or None if all failed."""
    places = [place for place, seed in enumerate(about["seeds"]) if str(seed) not in about["failed"]]
    return places[0] if places else None


def draw_samples(
    model: GenerativeModel, place: int, train: Images
) -> tuple[Images, NDArray[np.int64], NDArray[np.float64]]:
    """Figure 2: random draws, and the training image nearest to the last draw of every row.

    Returns:
        Images (ROWS, COLUMNS + 1, dimension), the nearest training rows and their L2 distances (ROWS,).
    """
    drawn = model.sample(ROWS * COLUMNS, draw=0)[place].float().cpu().numpy().reshape(ROWS, COLUMNS, -1)
    rows, distances = nearest_rows(drawn[:, -1], train)
    return np.concatenate([drawn, train[rows][:, None]], axis=1), rows, distances


def draw_interpolation(model: GenerativeModel, place: int) -> Images:
    """Figure 3: images along straight lines between random pairs of codes, (ROWS, STEPS, dimension)."""
    ends = model.latent(2 * ROWS, draw=0)
    first, last = ends[:, :ROWS, None], ends[:, ROWS:, None]
    share = torch.linspace(0, 1, STEPS, dtype=ends.dtype, device=ends.device)[:, None]
    codes = torch.lerp(first, last, share).flatten(1, 2)  # (seeds, ROWS * STEPS, code dimension)
    with torch.no_grad():
        return model.decode(codes)[place].float().cpu().numpy().reshape(ROWS, STEPS, -1)


def _pictures(model: GenerativeModel, place: int | None, splits: Splits) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The image grids as PNG files by name, and what panels.json says of them."""
    facts: dict[str, Any] = {"rows": ROWS, "columns": COLUMNS, "nearest": None, "distance": None, "interpolation": None}
    if place is None:  # nothing to draw: a grid of empty places, and null in panels.json
        blank = np.zeros((ROWS, COLUMNS + 1, *splits.shape), dtype=np.float32)
        return {"samples.png": png(np.zeros_like(grid(blank)))}, facts
    images, nearest, distances = draw_samples(model, place, splits.flat("train"))
    shaped = images.reshape(*images.shape[:2], *splits.shape)
    pictures = {"samples.png": png(grid(shaped, splits.shown_range(shaped), marked=[COLUMNS]))}
    facts |= {"nearest": nearest.tolist(), "distance": distances.tolist()}
    if model.has_latent:
        walk = draw_interpolation(model, place).reshape(ROWS, STEPS, *splits.shape)
        pictures["interpolation.png"] = png(grid(walk, splits.shown_range(walk)))
        facts["interpolation"] = {"rows": ROWS, "steps": STEPS}
    return pictures, facts


def run(arguments: argparse.Namespace) -> None:
    """Writes the panels' pictures, `panels.json` and the run record into one folder."""
    record = RunRecord("panels")
    backend = configure(Compute(device="cpu", threads=1))
    splits = Splits.read(arguments.data)
    model, about = read_model(arguments.weights, backend.device, splits)
    training, bandwidth = read_result(arguments.training, "train"), read_result(arguments.bandwidth, "bandwidth")
    _belong_together(about, arguments, training, bandwidth)
    place = first_sound_seed(about)
    label = f"panels {about['dataset']} {about['model']} {about['block']}"
    with reporting(arguments.state, label), sampling(model, arguments.weights):
        files, facts = _pictures(model, place, splits)
    if about["dataset"] not in datasets.REGISTRY:
        raise ReplicateError(f"{arguments.weights} is of the data set {about['dataset']!r}, which is not registered.")
    title = f"{models.REGISTRY[about['model']][0]} on {datasets.REGISTRY[about['dataset']][0]}"
    name = f"{about['dataset']}/{about['model']}/{about['block']}"
    with understanding(arguments.training):
        files["learning.svg"] = curves.learning(training, title, f"{name}/learning")
    with understanding(arguments.bandwidth):
        files["bandwidth.svg"] = curves.bandwidth(bandwidth, title, f"{name}/bandwidth")
    inputs = {key: getattr(arguments, key) for key in ("weights", "training", "bandwidth", "data")}
    content = result(
        "panels", code_digest(["replicate.stages.panels", models.REGISTRY[about["model"]][1]]), {}, inputs,
        dataset=about["dataset"], model=about["model"], block=about["block"],
        seed=None if place is None else about["seeds"][place], **facts,
    )  # fmt: skip
    files["panels.json"] = canonical_json(content).encode()
    _write(arguments.out, files)
    record.write(arguments.out / "panels.json", **backend.facts)
    drawn = "every seed failed, nothing to draw" if place is None else f"seed {about['seeds'][place]} drawn"
    print(f"panels {about['dataset']} {about['model']} seeds {about['block']}: {drawn}, {len(files) - 1} pictures")


def _belong_together(about: Mapping[str, Any], arguments: argparse.Namespace, *results: Mapping[str, Any]) -> None:
    for path, content in zip((arguments.training, arguments.bandwidth), results, strict=True):
        if any(content.get(key) != about[key] for key in ("dataset", "model", "block")):
            raise ReplicateError(
                f"{path} belongs to another training job than {arguments.weights}; give those of one job."
            )


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """All files of the panels, together; a walk through a latent space that is no longer drawn is taken away."""
    with replacing(*(folder / name for name in files)) as parts:
        for part, content in zip(parts, files.values(), strict=True):
            part.write_bytes(content)
    if "interpolation.png" not in files:
        (folder / "interpolation.png").unlink(missing_ok=True)
