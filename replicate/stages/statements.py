"""Puts every statement of the paper beside what was measured, with its verdict by protocol.yaml.

  python -m replicate statements --params params.yaml --protocol protocol.yaml \\
      --out results/statements.json results/experiments/theory.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from replicate.errors import ReplicateError, understanding
from replicate.params import load_params
from replicate.records.frame import read_result
from replicate.records.schema import ExperimentResult, PresetParameters, Statements
from replicate.stages.job import StageJob
from replicate.verdicts.protocol import read_protocol
from replicate.verdicts.statements import counts, statement_verdicts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", required=True, help="parameter file, or inline JSON")
    parser.add_argument("--protocol", type=Path, default=Path("protocol.yaml"))
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    parser.add_argument(
        "experiments", type=Path, nargs="*", help="results of the stage `experiment`"
    )


def _results_by_statement(paths: Sequence[Path]) -> dict[str, tuple[str, ExperimentResult]]:
    """Statement -> the file that decides it, and its content; two files for one are refused."""
    results: dict[str, tuple[str, ExperimentResult]] = {}
    for path in paths:
        content = read_result(path, ExperimentResult)
        for statement in content["checks"]:
            # Which of the two counted would hang on their order.
            if statement in results:
                other, _ = results[statement]
                raise ReplicateError(
                    f"{path} and {other} both decide {statement}; give one of them."
                )
            results[statement] = (str(path), content)
    return results


def run(arguments: argparse.Namespace) -> None:
    """Writes the statements and the run record."""
    job = StageJob("statements")
    params = load_params(arguments.params)
    protocol = read_protocol(arguments.protocol)
    paths = arguments.experiments
    results = _results_by_statement(paths)
    files = " or ".join(map(str, paths))
    with understanding(files):
        statements = statement_verdicts(protocol, results)
    parameters: PresetParameters = {"preset": params.preset}
    inputs = {"protocol": arguments.protocol}
    inputs |= {str(path): path for path in paths}
    content: Statements = {
        **job.frame(parameters, inputs),
        "stage": "statements",
        "parameters": parameters,
        "preset": params.preset,
        "statements": statements,
        "counts": counts(statements),
    }
    clauses = [f"{count} {state}" for state, count in content["counts"].items()]
    states = ", ".join(clauses)
    job.write(arguments.out, content, f"statements: {states} -> {arguments.out}")
