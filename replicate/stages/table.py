"""Puts published and measured log-likelihoods side by side, with the verdict on each published value.

  python -m replicate table --params params.yaml --protocol protocol.yaml \\
      --published results/published/table1.csv --context results/published/context.csv --out results/table1.json \\
      results/evaluation/digits/adversarial_nets/0-2.json
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from replicate.codedigest import code_digest
from replicate.errors import ReplicateError, understanding
from replicate.files import canonical_json, read_json, replacing
from replicate.params import load_params
from replicate.protocol import read_protocol
from replicate.published import read_context, read_published
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.table import build_table, table_csv

#: The stages whose results the table reads.
STAGES = ("evaluate", "train", "samplers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", required=True, help="parameter file, or inline JSON")
    parser.add_argument("--protocol", type=Path, default=Path("protocol.yaml"))
    parser.add_argument("--published", type=Path, default=Path("results/published/table1.csv"))
    parser.add_argument("--context", type=Path, default=Path("results/published/context.csv"))
    parser.add_argument(
        "--absent", type=json.loads, default={}, help="data sets left out of the run, with the reason (JSON object)"
    )
    parser.add_argument("--out", type=Path, required=True, help="result (JSON); the same as .csv beside it")
    parser.add_argument(
        "results",
        type=Path,
        nargs="*",
        help="results of the stages `evaluate`, `train` (whether training had ended) and `samplers`, in any order",
    )


def _by_row(paths: Sequence[Path]) -> dict[str, dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]]:
    """Stage -> (model, data set) -> (file, content) of every block, in the order given."""
    found: dict[str, dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]] = {stage: {} for stage in STAGES}
    for path in paths:
        content = read_json(path)
        stage = content.get("stage") if isinstance(content, dict) else None
        if stage not in STAGES:
            raise ReplicateError(f"{path} is not a result of one of the stages {', '.join(STAGES)}.")
        read_result(path, stage)
        with understanding(path):
            found[stage].setdefault((content["model"], content["dataset"]), []).append((str(path), content))
    return found


def run(arguments: argparse.Namespace) -> None:
    """Writes the table as JSON and CSV, and the run record."""
    record = RunRecord("table")
    params = load_params(arguments.params)
    found = _by_row(arguments.results)
    runs = list(dict.fromkeys((model, dataset) for dataset, model, _ in params.runs))
    published, context = read_published(arguments.published), read_context(arguments.context)
    protocol = read_protocol(arguments.protocol)
    with understanding(" or ".join(map(str, arguments.results))):
        table = build_table(
            params.preset, runs, found["evaluate"], published, context, protocol, arguments.absent,
            found["train"], found["samplers"],
        )  # fmt: skip
    inputs = {"protocol": arguments.protocol, "published": arguments.published, "context": arguments.context}
    inputs |= {str(path): path for path in arguments.results}
    content = result(
        "table",
        code_digest(["replicate.stages.table"]),
        {"preset": params.preset, "seeds": list(params.seeds), "absent": arguments.absent},
        inputs,
        **table,
    )
    with replacing(arguments.out, arguments.out.with_suffix(".csv")) as (values, rows):
        values.write_text(canonical_json(content), encoding="utf-8")
        rows.write_text(table_csv(table), encoding="utf-8")
    record.write(arguments.out)
    cells = [cell for row in table["rows"] for cell in row["cells"].values() if cell["measured"]]
    print(f"table: {len(cells)} measured cell(s) -> {arguments.out}")
