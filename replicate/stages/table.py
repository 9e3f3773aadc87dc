"""Puts published and measured log-likelihoods side by side, with a verdict on each published value.

  python -m replicate table --params params.yaml --protocol protocol.yaml \\
      --published results/published/table1.csv --context results/published/context.csv \\
      --out results/table1.json results/evaluation/digits/adversarial_nets/0-2.json
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from replicate.errors import ReplicateError, understanding
from replicate.params import Params, load_params
from replicate.records.frame import checked_result, is_result_of
from replicate.records.schema import (
    Evaluation,
    SamplerComparison,
    Table1,
    TableParameters,
    Training,
)
from replicate.stages.job import StageJob
from replicate.storage.documents import read_json_text
from replicate.storage.files import atomic_write, canonical_json, read_json
from replicate.verdicts.protocol import read_protocol
from replicate.verdicts.published import read_context, read_published
from replicate.verdicts.table1 import build_table, table_csv
from replicate.verdicts.whole_runs import OtherRun


def _reasons(text: str) -> dict[str, str]:
    """Data set -> why it was left out, from one line of JSON."""
    content = read_json_text(text, "reasons of --absent")
    is_mapping = isinstance(content, dict)
    if not is_mapping or not all(isinstance(reason, str) for reason in content.values()):
        raise ReplicateError(f"--absent {text}: a mapping of data sets to reasons is needed.")
    return dict(content)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", required=True, help="parameter file, or inline JSON")
    parser.add_argument("--protocol", type=Path, default=Path("protocol.yaml"))
    parser.add_argument("--published", type=Path, default=Path("results/published/table1.csv"))
    parser.add_argument("--context", type=Path, default=Path("results/published/context.csv"))
    parser.add_argument(
        "--absent",
        type=_reasons,
        default={},
        help="data sets left out of the run, with the reason (JSON object)",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="result (JSON); the same as .csv beside it"
    )
    parser.add_argument(
        "results",
        type=Path,
        nargs="*",
        help="results of the stages `evaluate`, `train` (whether training had ended) and "
        "`samplers`, in any order",
    )


Content = TypeVar("Content", Evaluation, Training, SamplerComparison)
#: (model, data set) -> (name, content) of every block, in the order of the files.
Blocks = dict[tuple[str, str], list[tuple[str, Content]]]


@dataclass(frozen=True)
class _Results:
    """The results that the table shows, by row and column."""

    evaluations: Blocks[Evaluation] = field(default_factory=dict)
    trainings: Blocks[Training] = field(default_factory=dict)
    samplers: Blocks[SamplerComparison] = field(default_factory=dict)


def _read(paths: Mapping[str, Path]) -> _Results:
    """Reads results of the three stages, name -> path, in any order."""
    results = _Results()
    for name, path in paths.items():
        # What a file is stands in it: the command line gives all results in one list.
        content = read_json(path)
        if is_result_of(content, "evaluate"):
            evaluation = checked_result(content, Evaluation, path)
            _add(results.evaluations, name, evaluation)
        elif is_result_of(content, "train"):
            _add(results.trainings, name, checked_result(content, Training, path))
        elif is_result_of(content, "samplers"):
            _add(results.samplers, name, checked_result(content, SamplerComparison, path))
        else:
            raise ReplicateError(
                f"{path} is not a result of one of the stages evaluate, train, samplers."
            )
    return results


def _add(blocks: Blocks[Content], name: str, content: Content) -> None:
    cell = (content["model"], content["dataset"])
    blocks.setdefault(cell, []).append((name, content))


def run(arguments: argparse.Namespace) -> None:
    """Writes the table as JSON and CSV, and the run record."""
    files = {
        "protocol": arguments.protocol,
        "published": arguments.published,
        "context": arguments.context,
    }
    results = {str(path): path for path in arguments.results}
    write_table(load_params(arguments.params), results, files, arguments.absent, arguments.out)


def write_table(
    params: Params,
    results: Mapping[str, Path],
    files: Mapping[str, Path],
    absent: Mapping[str, str],
    out: Path,
    others: Sequence[Mapping[str, Path]] = (),
) -> None:
    """Writes the table of a run as JSON and CSV, and the run record.

    Args:
        params: of the run.
        results: name that the table gives to a result -> where it lies.
        files: `protocol`, `published` and `context`.
        absent: data set that was left out of the run -> the reason.
        out: of the JSON; the CSV and the record lie beside it.
        others: evaluations and trainings of runs of the same recipes with other numbers of epochs,
            by name, one mapping a run.
    """
    job = StageJob("table")
    read = _read(results)
    # Blocks of seeds share a cell; the order is that of the parameters.
    cells = list(dict.fromkeys((model, dataset) for dataset, model, _ in params.runs))
    published = read_published(files["published"])
    context = read_context(files["context"])
    protocol = read_protocol(files["protocol"])
    other_runs = _other_runs(others)
    files_of_others: dict[str, Path] = {}
    for run in others:
        files_of_others |= run
    with understanding(" or ".join([*results, *files_of_others])):
        table = build_table(
            params.preset,
            cells,
            read.evaluations,
            published,
            context,
            protocol,
            absent,
            read.trainings,
            read.samplers,
            other_runs,
        )
    parameters: TableParameters = {
        "preset": params.preset,
        "seeds": list(params.seeds),
        "absent": dict(absent),
    }
    content: Table1 = {
        **job.frame(parameters, {**files, **results, **files_of_others}),
        "stage": "table",
        "parameters": parameters,
        **table,
    }
    # Both or none: a CSV of another table beside the JSON would look right.
    with atomic_write(out, out.with_suffix(".csv")) as (values, rows):
        values.write_text(canonical_json(content), encoding="utf-8")
        rows.write_text(table_csv(table), encoding="utf-8")
    job.close(out, f"table: {_measured_cells(content)} measured cell(s) -> {out}")


def _other_runs(
    others: Sequence[Mapping[str, Path]],
) -> dict[tuple[str, str], list[OtherRun]]:
    """(model, data set) -> its blocks in every other run."""
    runs: dict[tuple[str, str], list[OtherRun]] = {}
    for paths in others:
        read = _read(paths)
        for cell, evaluations in read.evaluations.items():
            trainings = read.trainings.get(cell, [])
            runs.setdefault(cell, []).append(OtherRun(evaluations, trainings))
    return runs


def _measured_cells(table: Table1) -> int:
    count = 0
    for row in table["rows"]:
        for cell in row["cells"].values():
            count += cell["measured"] is not None
    return count
