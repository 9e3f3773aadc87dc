"""Writes the learning and bandwidth curves of all training jobs as tables that `dvc plots` reads.

  python -m replicate curves --out curves training.json bandwidth.json

`learning.csv` has one row for every seed and look at the validation images, `bandwidth.csv` one for
every seed, draw, fold and sigma of the grid; log-likelihoods are validation means in nats. A failed
seed has rows as far as it came.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from replicate.errors import understanding
from replicate.records.frame import checked_result, is_result_of
from replicate.records.schema import BandwidthChoice, Training
from replicate.stages.job import StageJob
from replicate.storage.files import atomic_write, read_json

Row = dict[str, str | int | float]

LEARNING_COLUMNS = ("dataset", "model", "seed", "epoch", "log_likelihood")
BANDWIDTH_COLUMNS = ("dataset", "model", "seed", "draw", "fold", "sigma", "log_likelihood")


def learning(training: Training) -> Iterator[Row]:
    """Rows of a result of the stage `train`."""
    curve = training["curve"]
    for epoch, values in zip(curve["epoch"], curve["log_likelihood"], strict=True):
        for seed, value in zip(training["seeds"], values, strict=True):
            # A seed that failed has no value from that epoch on: a gap, and no zero.
            if value is not None:
                yield {
                    "dataset": training["dataset"],
                    "model": training["model"],
                    "seed": seed,
                    "epoch": epoch,
                    "log_likelihood": value,
                }


def bandwidth(choice: BandwidthChoice) -> Iterator[Row]:
    """Rows of a result of the stage `bandwidth`."""
    for seed, draws in zip(choice["seeds"], choice["curve"], strict=True):
        # A failed seed has no draws.
        for (draw, fold), values in _by_draw_and_fold(draws or []):
            for sigma, value in zip(choice["sigmas"], values, strict=True):
                yield {
                    "dataset": choice["dataset"],
                    "model": choice["model"],
                    "seed": seed,
                    "draw": draw,
                    "fold": fold,
                    "sigma": sigma,
                    "log_likelihood": value,
                }


def _by_draw_and_fold(
    draws: Sequence[Sequence[Sequence[float]]],
) -> Iterator[tuple[tuple[int, int], Sequence[float]]]:
    """(draw, fold) and the curve of each, from [draw][fold][sigma]."""
    for draw, folds in enumerate(draws):
        for fold, values in enumerate(folds):
            yield (draw, fold), values


def write(folder: Path, paths: Sequence[Path]) -> str:
    """Writes both tables, or none, from results of the stages; says what is in them."""
    learning_rows: list[Row] = []
    bandwidth_rows: list[Row] = []
    # In the order of the command line, which is that of the parameters.
    for path in paths:
        content = read_json(path)
        with understanding(path):
            if is_result_of(content, "train"):
                training = checked_result(content, Training, path)
                learning_rows += learning(training)
            else:
                choice = checked_result(content, BandwidthChoice, path)
                bandwidth_rows += bandwidth(choice)
    learning_path = folder / "learning.csv"
    bandwidth_path = folder / "bandwidth.csv"
    with atomic_write(learning_path, bandwidth_path) as (first, second):
        _write_table(first, LEARNING_COLUMNS, learning_rows)
        _write_table(second, BANDWIDTH_COLUMNS, bandwidth_rows)
    return f"{len(learning_rows)} rows in learning.csv, {len(bandwidth_rows)} rows in bandwidth.csv"


def _write_table(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        # csv ends lines by CRLF of itself.
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument(
        "results", type=Path, nargs="+", help="results of the stages `train` and `bandwidth` (JSON)"
    )


def run(arguments: argparse.Namespace) -> None:
    """Reads the results and writes the tables."""
    job = StageJob("curves")
    folder = arguments.out
    summary = write(folder, arguments.results)
    job.close(folder / "curves.json", f"curves: {summary}")
