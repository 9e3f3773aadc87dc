"""Puts published and measured log-likelihoods side by side, with the verdict on each published value.

  python -m replicate table --params params.yaml --protocol protocol.yaml \\
      --published results/published/table1.csv --context results/published/context.csv --out results/table1.json \\
      results/evaluation/digits/adversarial_nets/0-2.json
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replicate.codedigest import code_digest
from replicate.errors import ReplicateError, understanding
from replicate.files import canonical_json, read_json, replacing
from replicate.params import Params, load_params
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


def _by_row(paths: Mapping[str, Path]) -> dict[str, dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]]:
    """Stage -> (model, data set) -> (name, content) of every block, in the order given."""
    found: dict[str, dict[tuple[str, str], list[tuple[str, dict[str, Any]]]]] = {stage: {} for stage in STAGES}
    for name, path in paths.items():
        content = read_json(path)
        stage = content.get("stage") if isinstance(content, dict) else None
        if stage not in STAGES:
            raise ReplicateError(f"{path} is not a result of one of the stages {', '.join(STAGES)}.")
        read_result(path, stage)
        with understanding(path):
            found[stage].setdefault((content["model"], content["dataset"]), []).append((name, content))
    return found


def run(arguments: argparse.Namespace) -> None:
    """Writes the table as JSON and CSV, and the run record."""
    files = {"protocol": arguments.protocol, "published": arguments.published, "context": arguments.context}
    results = {str(path): path for path in arguments.results}
    write_table(load_params(arguments.params), results, files, arguments.absent, arguments.out)


def write_table(
    params: Params, results: Mapping[str, Path], files: Mapping[str, Path], absent: Mapping[str, str], out: Path
) -> None:
    """Writes the table of a run as JSON and CSV, and the run record.

    Args:
        params: of the run.
        results: name that the table gives to a result -> where it lies.
        files: `protocol`, `published` and `context`.
        absent: data set that was left out of the run -> the reason.
        out: of the JSON; the CSV and the record lie beside it.
    """
    record = RunRecord("table")
    found = _by_row(results)
    runs = list(dict.fromkeys((model, dataset) for dataset, model, _ in params.runs))
    published, context = read_published(files["published"]), read_context(files["context"])
    protocol = read_protocol(files["protocol"])
    with understanding(" or ".join(results)):
        table = build_table(
            params.preset, runs, found["evaluate"], published, context, protocol, absent, found["train"],
            found["samplers"],
        )  # fmt: skip
    content = result(
        "table",
        code_digest(["replicate.stages.table"]),
        {"preset": params.preset, "seeds": list(params.seeds), "absent": dict(absent)},
        {**files, **results},
        **table,
    )
    with replacing(out, out.with_suffix(".csv")) as (values, rows):
        values.write_text(canonical_json(content), encoding="utf-8")
        rows.write_text(table_csv(table), encoding="utf-8")
    record.write(out)
    cells = [cell for row in table["rows"] for cell in row["cells"].values() if cell["measured"]]
    print(f"table: {len(cells)} measured cell(s) -> {out}")
