"""Writes the measured means of Table 1 as nested numbers, the form that `dvc metrics` compares.

python -m replicate metrics --table results/table1.json --out results/metrics.json
"""

import argparse
import json
from pathlib import Path

from replicate.records.frame import read_result
from replicate.records.schema import CellMetrics, MeasuredCell, Metrics, Table1
from replicate.stages.job import StageJob


def _of_cell(measured: MeasuredCell) -> CellMetrics:
    """The numbers of a cell that are not null."""
    numbers: CellMetrics = {}
    if measured["mean"] is not None:
        numbers["log_likelihood"] = measured["mean"]
    if measured["sd_over_seeds"] is not None:
        numbers["sd_over_seeds"] = measured["sd_over_seeds"]
    if measured["standard_error_test"] is not None:
        numbers["standard_error_test"] = measured["standard_error_test"]
    return numbers


def metrics(table: Table1) -> Metrics:
    """Data set -> model -> numbers of every cell that was measured, in nats."""
    numbers: Metrics = {}
    for row in table["rows"]:
        for dataset, cell in row["cells"].items():
            measured = cell["measured"]
            if measured is not None:
                # By data set first: `dvc metrics diff` then shows the rows of a column together.
                by_model = numbers.setdefault(dataset, {})
                by_model[row["model"]] = _of_cell(measured)
    return numbers


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument(
        "--table", type=Path, required=True, help="result of the stage `table` (JSON)"
    )
    parser.add_argument("--out", type=Path, required=True, help="metrics (JSON)")


def run(arguments: argparse.Namespace) -> None:
    """Reads the table and writes its metrics."""
    job = StageJob("metrics")
    table = read_result(arguments.table, Table1)
    numbers = metrics(table)
    job.write(arguments.out, numbers, f"metrics: {json.dumps(numbers)}")
