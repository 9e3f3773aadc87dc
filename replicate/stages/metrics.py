"""Writes the measured means of Table 1 as a nested mapping of numbers, the form that `dvc metrics` compares.

python -m replicate metrics --table results/table1.json --out results/metrics.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

from replicate.errors import understanding
from replicate.files import write_json
from replicate.result import read_result
from replicate.runrecord import RunRecord

KEPT = {"mean": "log_likelihood", "sd_over_seeds": "sd_over_seeds", "standard_error_test": "standard_error_test"}


def metrics(table: dict[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """Data set -> model -> name -> value in nats, of every cell that was measured."""
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in table["rows"]:
        for dataset, cell in row["cells"].items():
            if measured := cell["measured"]:
                values = {name: measured[key] for key, name in KEPT.items() if measured.get(key) is not None}
                found.setdefault(dataset, {})[row["model"]] = values
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--table", type=Path, required=True, help="result of the stage `table` (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="metrics (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Reads the table and writes its metrics."""
    record = RunRecord("metrics")
    table = read_result(arguments.table, "table")
    with understanding(arguments.table):
        found = metrics(table)
    write_json(arguments.out, found)
    record.write(arguments.out)
    print(f"metrics: {json.dumps(found)}")
