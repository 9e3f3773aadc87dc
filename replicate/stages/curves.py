"""Writes the learning and the bandwidth curves of all training jobs as tidy tables, the form that `dvc plots` reads.

  python -m replicate curves --out curves training.json bandwidth.json

`learning.csv` has one row for every seed and look at the validation images, `bandwidth.csv` one for every seed, draw,
fold and sigma of the grid; log-likelihoods are validation means in nats. A failed seed has rows as far as it came.
"""

import argparse
import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from replicate.errors import understanding
from replicate.files import read_json, replacing
from replicate.runrecord import RunRecord

Row = dict[str, str | int | float]


def learning(training: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of a result of the stage `train`."""
    curve = training["curve"]
    for epoch, values in zip(curve["epoch"], curve["log_likelihood"], strict=True):
        for seed, value in zip(training["seeds"], values, strict=True):
            if value is not None:
                yield {"dataset": training["dataset"], "model": training["model"], "seed": seed, "epoch": epoch,
                       "log_likelihood": value}  # fmt: skip


def bandwidth(chosen: Mapping[str, Any]) -> Iterator[Row]:
    """Rows of a result of the stage `bandwidth`."""
    for seed, draws in zip(chosen["seeds"], chosen["curve"], strict=True):
        for draw, folds in enumerate(draws or []):
            for fold, values in enumerate(folds):
                for sigma, value in zip(chosen["sigmas"], values, strict=True):
                    yield {"dataset": chosen["dataset"], "model": chosen["model"], "seed": seed, "draw": draw,
                           "fold": fold, "sigma": sigma, "log_likelihood": value}  # fmt: skip


#: File -> stage of the results that it shows, their rows, and its columns.
TABLES = {
    "learning.csv": ("train", learning, ("dataset", "model", "seed", "epoch", "log_likelihood")),
    "bandwidth.csv": (
        "bandwidth", bandwidth, ("dataset", "model", "seed", "draw", "fold", "sigma", "log_likelihood"),
    ),
}  # fmt: skip


def write(folder: Path, results: Sequence[Mapping[str, Any]]) -> str:
    """Writes both tables, or none; says what is in them."""
    counts = []
    with understanding("the results"):
        rows_in = {
            name: [row for found in results if found["stage"] == stage for row in rows_of(found)]
            for name, (stage, rows_of, _) in TABLES.items()
        }
    with replacing(*(folder / name for name in TABLES)) as parts:
        for part, (name, (_, _, columns)) in zip(parts, TABLES.items(), strict=True):
            rows = rows_in[name]
            with part.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.DictWriter(stream, columns, lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
            counts.append(f"{len(rows)} rows in {name}")
    return ", ".join(counts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("results", type=Path, nargs="+", help="results of the stages `train` and `bandwidth` (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Reads the results and writes the tables."""
    record = RunRecord("curves")
    print(f"curves: {write(arguments.out, [read_json(path) for path in arguments.results])}")
    record.write(arguments.out / "curves.json")
