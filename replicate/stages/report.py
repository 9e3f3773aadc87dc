"""Renders the report, one self-contained HTML file, from the result files.

  python -m replicate report --params params.yaml --table results/table1.json --results results --out report/index.html

The parameters name the data sets, models and blocks of seeds whose results are shown."""

import argparse
from pathlib import Path

from replicate.files import write_text
from replicate.params import load_params
from replicate.report import page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the stage."""
    parser.add_argument("--params", required=True, help="parameter file, or its content as a JSON object")
    parser.add_argument("--table", required=True, type=Path, help="table1.json")
    parser.add_argument("--results", required=True, type=Path, help="folder that holds the other result files")
    parser.add_argument("--out", required=True, type=Path, help="HTML file to write")


def run(arguments: argparse.Namespace) -> None:
    """Writes the page."""
    text = page(load_params(arguments.params), arguments.table, arguments.results)
    write_text(arguments.out, text)
    print(f"report: {arguments.out} ({len(text.encode()) / 1024:.0f} KiB)")
