"""Draws the figures of an experiment from its result.

python -m replicate draw --result results/experiments/theory.json --out results/figures/theory
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from replicate.errors import understanding
from replicate.experiments import load_drawing
from replicate.jobs.subject import Subject
from replicate.records.frame import read_result
from replicate.records.schema import ExperimentResult, Figure, FigureList
from replicate.stages.job import StageJob
from replicate.storage.files import atomic_write, canonical_json

if TYPE_CHECKING:
    from replicate.figures.drawing import Drawing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument(
        "--result", type=Path, required=True, help="result of the stage `experiment` (JSON)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")


def run(arguments: argparse.Namespace) -> None:
    """Writes all figures (SVG), `figures.json` with their captions and the run record, or none."""
    job = StageJob("draw")
    result = read_result(arguments.result, ExperimentResult)
    experiment = result["experiment"]
    drawings: dict[str, Drawing] = {}
    with understanding(arguments.result):
        # A study that the data set could not answer has nothing to draw, and still has its
        # figures.json.
        if not result["not_applicable"]:
            drawings = load_drawing(experiment)(result)
    figures: list[Figure] = []
    files: dict[str, bytes] = {}
    for name, drawing in drawings.items():
        figures.append({"name": name, "caption": drawing.caption})
        files[f"{name}.svg"] = drawing.svg
    frame = job.frame({}, {"result": arguments.result}, Subject(experiment=experiment))
    content: FigureList = {
        **frame,
        "stage": "draw",
        "parameters": {},
        "experiment": experiment,
        "figures": figures,
    }
    files["figures.json"] = canonical_json(content).encode()
    folder = arguments.out
    targets = [folder / name for name in files]
    with atomic_write(*targets) as paths:
        for path, file in zip(paths, files.values(), strict=True):
            path.write_bytes(file)
    for path in folder.glob("*.svg"):
        # A figure that an earlier version of the study drew, and this one does not.
        if path.stem not in drawings:
            path.unlink()
    line = f"draw {experiment}: {len(drawings)} figure(s) -> {folder}"
    job.close(folder / "figures.json", line)
