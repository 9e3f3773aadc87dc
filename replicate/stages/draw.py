"""Draws the figures of an experiment from its result.

python -m replicate draw --result results/experiments/theory.json --out results/figures/theory
"""

import argparse
from pathlib import Path

from replicate.codedigest import code_digest
from replicate.errors import understanding
from replicate.experiments import drawing_module, load_drawing
from replicate.files import canonical_json, replacing
from replicate.result import read_result, result
from replicate.runrecord import RunRecord


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--result", type=Path, required=True, help="result of the stage `experiment` (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the figures")


def run(arguments: argparse.Namespace) -> None:
    """Writes the figures as SVG, `figures.json` with their captions, and the run record; all of them or none."""
    record = RunRecord("draw")
    content = read_result(arguments.result, "experiment")
    with understanding(arguments.result):
        name = content["experiment"]
        drawn = {} if content["not_applicable"] else load_drawing(name)(content)
    description = result(
        "draw", code_digest(["replicate.stages.draw", drawing_module(name)]), {}, {"result": arguments.result},
        experiment=name, figures=[{"name": key, "caption": one.caption} for key, one in drawn.items()],
    )  # fmt: skip
    files = {f"{key}.svg": one.svg for key, one in drawn.items()}
    files["figures.json"] = canonical_json(description).encode()
    with replacing(*(arguments.out / file for file in files)) as parts:
        for part, written in zip(parts, files.values(), strict=True):
            part.write_bytes(written)
    for old in arguments.out.glob("*.svg"):  # figures that are no longer drawn
        if old.stem not in drawn:
            old.unlink()
    record.write(arguments.out / "figures.json")
    print(f"draw {name}: {len(drawn)} figure(s) -> {arguments.out}")
