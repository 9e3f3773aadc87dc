"""Puts published and measured log-likelihoods side by side, with the verdict on each published value.

  python -m replicate table --params params.yaml --protocol protocol.yaml \\
      --published results/published/table1.csv --context results/published/context.csv --out results/table1.json \\
      results/evaluation/digits/adversarial_nets/0-2.json
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from replicate.codedigest import code_digest
from replicate.errors import understanding
from replicate.files import canonical_json, replacing
from replicate.params import load_params
from replicate.protocol import read_protocol
from replicate.published import read_context, read_published
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.table import build_table, table_csv


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
    parser.add_argument("evaluations", type=Path, nargs="*", help="results of the stage `evaluate`")


def run(arguments: argparse.Namespace) -> None:
    """Writes the table as JSON and CSV, and the run record."""
    record = RunRecord("table")
    params = load_params(arguments.params)
    found: dict[tuple[str, str], list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for path in arguments.evaluations:
        content = read_result(path, "evaluate")
        with understanding(path):
            found[content["model"], content["dataset"]].append((str(path), content))
    runs = list(dict.fromkeys((model, dataset) for dataset, model, _ in params.runs))
    published, context = read_published(arguments.published), read_context(arguments.context)
    protocol = read_protocol(arguments.protocol)
    with understanding(" or ".join(map(str, arguments.evaluations))):
        table = build_table(params.preset, runs, found, published, context, protocol, arguments.absent)
    inputs = {"protocol": arguments.protocol, "published": arguments.published, "context": arguments.context}
    inputs |= {file: Path(file) for blocks in found.values() for file, _ in blocks}
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
