"""Draws the panels of a training job: samples, interpolations, learning and bandwidth curves.

The samples are random draws of the evaluation stream, never picked, for the block's first seed that
did not fail. Beside the last sample of every row stands the training image that is nearest to it.
Panels are always drawn on the CPU.

  python -m replicate panels --weights weights.safetensors --training training.json \\
      --bandwidth bandwidth.json --data digits.safetensors \\
      --out results/panels/digits/adversarial_nets/0-2
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from replicate import datasets, models
from replicate.datasets.base import Splits
from replicate.diagnostics.nearest import nearest_rows
from replicate.errors import ReplicateError, understanding
from replicate.figures import curves
from replicate.figures.grids import grid, png
from replicate.jobs.subject import Subject
from replicate.models.base import GenerativeModel
from replicate.models.parts.weights_file import read_model, sampling
from replicate.params import Compute
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.frame import read_result
from replicate.records.schema import BandwidthChoice, Panels, Training, WeightsAbout
from replicate.stages.device_job import DeviceJob
from replicate.storage.files import atomic_write, canonical_json

#: As figure 2 of the paper: rows, and random draws in each (goodfeli/adversarial@1720041,
#: show_samples_mnist_paper.py).
ROWS, COLUMNS = 4, 5
#: Points on the line between two codes, both ends included; the paper's figure 3 gives no number
#: for a pair.
STEPS = 9

Images = NDArray[np.float32]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--weights", type=Path, required=True, help="weights of the stage `train`")
    parser.add_argument(
        "--training", type=Path, required=True, help="result of the stage `train` (JSON)"
    )
    parser.add_argument(
        "--bandwidth", type=Path, required=True, help="result of the stage `bandwidth` (JSON)"
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the panels")
    add_state_argument(parser)


def first_sound_seed(about: WeightsAbout) -> int | None:
    """Index in the block of the first seed that did not fail; None if all failed."""
    for index, seed in enumerate(about["seeds"]):
        if str(seed) not in about["failed"]:
            return index
    return None


def draw_samples(
    model: GenerativeModel, seed_index: int, train: Images
) -> tuple[Images, NDArray[np.int64], NDArray[np.float64]]:
    """Figure 2: random draws, and the training image nearest to the last draw of every row.

    Returns:
        Images (ROWS, COLUMNS + 1, dimension), the nearest training rows and their L2 distances
        (ROWS,).
    """
    count = ROWS * COLUMNS
    # The first draw, unsorted and unchosen: a figure of the best ones would show what we like.
    images = model.sample(count, draw=0)[seed_index]
    samples = images.float().cpu().numpy()
    draws = samples.reshape(ROWS, COLUMNS, -1)
    # As in the paper's Figure 2, "in order to demonstrate that the model has not memorized the
    # training set".
    last_column = draws[:, -1]
    nearest, distances = nearest_rows(last_column, train)
    neighbours = train[nearest]
    rows = np.concatenate([draws, neighbours[:, None]], axis=1)
    return rows, nearest, distances


def draw_interpolation(model: GenerativeModel, seed_index: int) -> Images:
    """Figure 3: images on lines between random pairs of codes, (ROWS, STEPS, dimension)."""
    ends = model.latent(2 * ROWS, draw=0)  # (seeds, 2 * ROWS, code dimension)
    first = ends[:, :ROWS, None]
    last = ends[:, ROWS:, None]
    share = torch.linspace(0, 1, STEPS, dtype=ends.dtype, device=ends.device)[:, None]
    walks = torch.lerp(first, last, share)
    codes = walks.flatten(1, 2)  # (seeds, ROWS * STEPS, code dimension)
    with torch.no_grad():
        decoded = model.decode(codes)[seed_index]
    images = decoded.float().cpu().numpy()
    return images.reshape(ROWS, STEPS, -1)


@dataclass(frozen=True)
class _Pictures:
    """The grids of images, as PNG files by name, and what panels.json says of them.

    Attributes:
        nearest: row of the training image nearest to the last draw of every row.
        distances: L2, of both.
        has_interpolation: the model has a latent space to walk through.
    """

    files: dict[str, bytes]
    nearest: list[int] | None = None
    distances: list[float] | None = None
    has_interpolation: bool = False


def _pictures(model: GenerativeModel, seed_index: int | None, splits: Splits) -> _Pictures:
    """The grids of one seed; where all failed, one grid of blank images."""
    if seed_index is None:
        # The engines expect the file of every job; a blank one claims nothing.
        blank = np.zeros((ROWS, COLUMNS + 1, *splits.shape), dtype=np.float32)
        blank_grid = np.zeros_like(grid(blank))
        return _Pictures({"samples.png": png(blank_grid)})
    train = splits.flat("train")
    rows, nearest, distances = draw_samples(model, seed_index, train)
    images = rows.reshape(ROWS, COLUMNS + 1, *splits.shape)
    samples_grid = grid(images, splits.shown_range(images), marked=[COLUMNS])
    files = {"samples.png": png(samples_grid)}
    if model.has_latent:
        walks = draw_interpolation(model, seed_index)
        walk_images = walks.reshape(ROWS, STEPS, *splits.shape)
        walk_grid = grid(walk_images, splits.shown_range(walk_images))
        files["interpolation.png"] = png(walk_grid)
    return _Pictures(files, nearest.tolist(), distances.tolist(), model.has_latent)


def run(arguments: argparse.Namespace) -> None:
    """Writes the panels' pictures, `panels.json` and the run record into one folder."""
    # A few images each: not worth waiting for a GPU.
    job = DeviceJob("panels", Compute(device="cpu", threads=1))
    splits = Splits.read(arguments.data)
    model, about = read_model(arguments.weights, job.backend.device, splits)
    training = read_result(arguments.training, Training)
    bandwidth = read_result(arguments.bandwidth, BandwidthChoice)
    _check_job(about, training, arguments.training, arguments.weights)
    _check_job(about, bandwidth, arguments.bandwidth, arguments.weights)
    # Its title is drawn into the plots.
    if about["dataset"] not in datasets.REGISTRY:
        raise ReplicateError(
            f"{arguments.weights} is of the data set {about['dataset']!r}, which is not registered."
        )
    seed_index = first_sound_seed(about)
    dataset = about["dataset"]
    name_of_model = about["model"]
    block = about["block"]
    label = f"panels {dataset} {name_of_model} {block}"
    with reporting(arguments.state, label), sampling(model, arguments.weights):
        pictures = _pictures(model, seed_index, splits)
    model_title = models.REGISTRY[name_of_model][0]
    dataset_title = datasets.REGISTRY[dataset][0]
    title = f"{model_title} on {dataset_title}"
    name = f"{dataset}/{name_of_model}/{block}"
    files = dict(pictures.files)
    with understanding(arguments.training):
        files["learning.svg"] = curves.learning(training, title, f"{name}/learning")
    with understanding(arguments.bandwidth):
        files["bandwidth.svg"] = curves.bandwidth(bandwidth, title, f"{name}/bandwidth")
    inputs = {key: getattr(arguments, key) for key in ("weights", "training", "bandwidth", "data")}
    seed = None
    outcome = "every seed failed, nothing to draw"
    if seed_index is not None:
        seed = about["seeds"][seed_index]
        outcome = f"seed {seed} drawn"
    frame = job.frame({}, inputs, Subject(model=name_of_model))
    content: Panels = {
        **frame,
        "stage": "panels",
        "parameters": {},
        "dataset": dataset,
        "model": name_of_model,
        "block": block,
        "seed": seed,
        "rows": ROWS,
        "columns": COLUMNS,
        "nearest": pictures.nearest,
        "distance": pictures.distances,
        "interpolation": None,
    }
    if pictures.has_interpolation:
        content["interpolation"] = {"rows": ROWS, "steps": STEPS}
    files["panels.json"] = canonical_json(content).encode()
    _write(arguments.out, files)
    picture_count = len(files) - 1
    line = f"panels {dataset} {name_of_model} seeds {block}: {outcome}, {picture_count} pictures"
    job.close(arguments.out / "panels.json", line)


def _check_job(
    about: WeightsAbout, content: Training | BandwidthChoice, path: Path, weights: Path
) -> None:
    """Refuses a result of another training job than that of the weights."""
    trained = (about["dataset"], about["model"], about["block"])
    reported = (content["dataset"], content["model"], content["block"])
    if reported != trained:
        raise ReplicateError(
            f"{path} belongs to another training job than {weights}; give those of one job."
        )


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes all files of the panels together, and removes an interpolation of an earlier model."""
    targets = [folder / name for name in files]
    with atomic_write(*targets) as paths:
        pairs = zip(paths, files.values(), strict=True)
        for path, content in pairs:
            path.write_bytes(content)
    if "interpolation.png" not in files:
        interpolation = folder / "interpolation.png"
        # Else the page would show the picture of another model beside this one's.
        interpolation.unlink(missing_ok=True)
