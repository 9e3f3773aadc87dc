"""Table 1: published and measured log-likelihoods side by side, with the verdict on each.

A row is a model, or a reference row that no model was trained for; a cell is a row on one data set
(paper, section 5). `replicate.records.schema.Table1` says what each holds. What a run cost is
measured anew each time and stands in the run records, not here.
"""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from types import MappingProxyType
from typing import Literal, TypedDict

from replicate import datasets, models
from replicate.records.schema import (
    CellVerdict,
    ContextValue,
    Evaluation,
    MeasuredCell,
    OrderingVerdict,
    PublishedValue,
    SamplerComparison,
    TableCell,
    TableDataset,
    TableRow,
    Training,
)
from replicate.verdicts.pooled_seeds import pool_seeds
from replicate.verdicts.protocol import Protocol, Rising
from replicate.verdicts.published import PublishedRow, PublishedRows
from replicate.verdicts.samplers import comparison
from replicate.verdicts.statistics import as_list, mean_interval, simultaneous
from replicate.verdicts.table1_verdicts import (
    equivalence_verdict,
    no_verdict,
    ordering_verdict,
    values_of,
)
from replicate.verdicts.training_end import rise_of
from replicate.verdicts.whole_runs import OtherRun, runs_of_other_lengths

#: What a data set that no run names would need.
NEEDS = {"tfd": "needs TFD_48x48.mat, which its owners give on request"}
#: Data set -> the only rows that a source gives a recipe for.
#: The other rows have no known recipe on TFD, and one of ours would not be theirs.
RECIPES = {
    "tfd": frozenset({"adversarial_nets", "true_distribution", "k_means", "k_means_weighted"})
}
#: Rows without training, which say what the measure is worth (Theis et al. 2016).
REFERENCES = ("true_distribution", "k_means", "k_means_weighted")
#: Measured numbers of a cell that the CSV has.
MEASURED = (
    "mean",
    "sd_over_seeds",
    "standard_error_test",
    "standard_error_folds",
    "interquartile_mean",
    "effective_samples",
)
COLUMNS = (
    "claim",
    "model",
    "kind",
    "dataset",
    "published",
    "published_standard_error",
    *MEASURED,
    "seeds",
    "failed",
    "state",
    "reason",
)

#: (model, data set)
CellKey = tuple[str, str]
#: Cell -> (file, content) of every block of seeds.
Evaluations = Mapping[CellKey, Sequence[tuple[str, Evaluation]]]
Trainings = Mapping[CellKey, Sequence[tuple[str, Training]]]
Samplers = Mapping[CellKey, Sequence[tuple[str, SamplerComparison]]]


class TableContent(TypedDict):
    """`table1.json` without the frame of a result file."""

    preset: str
    rows: list[TableRow]
    orderings: list[OrderingVerdict]
    datasets: list[TableDataset]
    context: list[ContextValue]


def _kind(model: str) -> Literal["model", "reference"]:
    return "reference" if model in REFERENCES else "model"


class _Columns:
    """The measured cells of every data set.

    Knows how many of them the simultaneous intervals of a data set hold for.
    """

    def __init__(
        self,
        evaluations: Evaluations,
        trainings: Trainings,
        samplers: Samplers,
        others: Mapping[CellKey, Sequence[OtherRun]],
        rules: Rising,
    ) -> None:
        self._cells: dict[CellKey, MeasuredCell | None] = {}
        for key, blocks in evaluations.items():
            cell = pool_seeds(blocks)
            if cell is not None:
                # Trainings and samplers are results of their own, which older kept runs lack.
                training_blocks = trainings.get(key, [])
                sampler_blocks = samplers.get(key, [])
                cell["ending"] = rise_of(training_blocks, cell["seeds"], rules)
                cell["samplers"] = comparison(sampler_blocks)
                whole_runs = runs_of_other_lengths(training_blocks, others.get(key, []))
                # Nothing rather than an empty list: most rows are not judged by such runs.
                if whole_runs:
                    cell["whole_runs"] = whole_runs
            self._cells[key] = cell

    def _known(self, dataset: str) -> list[str]:
        """The models that have a mean on a data set."""
        known = []
        for model, cell in self.of_dataset(dataset).items():
            if cell is not None and cell["mean"] is not None:
                known.append(model)
        return known

    def claims(self, dataset: str, published: PublishedRows) -> int:
        """Published values of the data set that the run attempted."""
        count = 0
        for model in self._known(dataset):
            # Attempted ones alone: intervals that nobody looks at need no correction.
            count += (model, dataset) in published
        return count

    def cell(self, model: str, dataset: str) -> MeasuredCell | None:
        """What was measured, with the interval for all models of the data set together."""
        cell = self._cells.get((model, dataset))
        if cell is None:
            return None
        # Reference rows are no models, and nobody reads a ranking from them.
        models_together = sum(_kind(known) == "model" for known in self._known(dataset))
        together = max(models_together, 1)
        level = simultaneous(0.95, together)
        interval = mean_interval(values_of(cell), level)
        # A copy: the cell itself also goes into orderings, which need nothing of this.
        cell = cell.copy()
        cell["interval_simultaneous"] = as_list(interval)
        cell["simultaneous_models"] = together
        return cell

    def of_dataset(self, dataset: str) -> dict[str, MeasuredCell | None]:
        """Model -> what was measured on the data set."""
        cells = {}
        for (model, cell_dataset), cell in self._cells.items():
            if cell_dataset == dataset:
                cells[model] = cell
        return cells


class _Table:
    """One run's Table 1 while it is built; the attributes are those of `build_table`."""

    def __init__(
        self,
        preset: str,
        runs: Sequence[CellKey],
        published: PublishedRows,
        context: Sequence[ContextValue],
        protocol: Protocol,
        absent: Mapping[str, str],
        columns: _Columns,
    ) -> None:
        self._preset = preset
        self._runs = runs
        self._published = published
        self._context = context
        self._protocol = protocol
        self._absent = absent
        self._columns = columns
        published_datasets = [dataset for _, dataset in published]
        run_datasets = [dataset for _, dataset in runs]
        # The paper's first, each once, in the order of appearance.
        self._datasets = list(dict.fromkeys(published_datasets + run_datasets))

    def rows(self) -> list[TableRow]:
        """Every row: the paper's, the run's other models, and reference rows last."""
        cells = self._cells()
        rows: list[TableRow] = []
        for model, title in self._titles().items():
            of_row = {
                dataset: self._cell(model, dataset)
                for dataset in self._datasets
                if (model, dataset) in cells
            }
            rows.append({"model": model, "title": title, "kind": _kind(model), "cells": of_row})
        return rows

    def _titles(self) -> dict[str, str]:
        """Model -> title, in the order of the rows."""
        titles = {model: row["title"] for (model, _), row in self._published.items()}
        for model, _ in self._runs:
            if model not in titles:
                title, _ = models.REGISTRY[model]
                titles[model] = title
        # The sort is stable: rows of a kind keep the paper's order.
        order = sorted(titles, key=lambda model: _kind(model) == "reference")
        return {model: titles[model] for model in order}

    def _cells(self) -> set[CellKey]:
        """The cells of the table: the paper's, the run's, and those that the run rules out."""
        cells = {*self._published, *self._runs}
        run_models = [model for model, _ in self._runs]
        unbounded = [dataset for _, dataset in self._runs if dataset in datasets.UNBOUNDED]
        # A model that cannot live in a data set's space is shown as not applicable, not left out.
        for model in run_models:
            if model not in models.UNBOUNDED:
                cells |= {(model, dataset) for dataset in unbounded}
        return cells

    def _cell(self, model: str, dataset: str) -> TableCell:
        row = self._published.get((model, dataset))
        measured = self._columns.cell(model, dataset)
        return {
            "claim": row["claim"] if row else None,
            "published": _published_value(row) if row else None,
            "measured": measured,
            "verdict": self._verdict(model, dataset, row, measured),
        }

    def _verdict(
        self, model: str, dataset: str, row: PublishedRow | None, measured: MeasuredCell | None
    ) -> CellVerdict:
        if measured is None:
            return self._not_measured(model, dataset)
        if row is not None:
            claims = self._columns.claims(dataset, self._published)
            return equivalence_verdict(measured, row, self._protocol, claims)
        reason = "the paper gives no number for this model and data set"
        if _kind(model) == "reference":
            reason = "a reference row, for which nothing is trained"
        elsewhere = _elsewhere(self._context, model, dataset)
        if elsewhere:
            reason = f"{reason}; elsewhere: {elsewhere}"
        return no_verdict("no published value", reason)

    def _not_measured(self, model: str, dataset: str) -> CellVerdict:
        """The verdict on a cell that has no result: why it has none."""
        # What no run could change comes before what this run did not ask for.
        is_known = model in models.REGISTRY
        if dataset in datasets.UNBOUNDED and is_known and model not in models.UNBOUNDED:
            reason = "its pixels cannot leave [0, 1], and this data set's do"
            return no_verdict("not applicable", reason)
        if dataset in RECIPES and model not in RECIPES[dataset]:
            return no_verdict("not attempted", "no recipe for it on this data set is known")
        if dataset in self._absent:
            return no_verdict("not attempted", self._absent[dataset])
        if not is_known:
            return no_verdict("not attempted", "this version has no such model")
        reason = f"the preset {self._preset} does not train it on this data set"
        return no_verdict("not attempted", reason)

    def orderings(self) -> list[OrderingVerdict]:
        """The verdicts on the orders of rows that the paper claims."""
        verdicts = []
        for claim, rule in self._protocol.directional.items():
            cells = self._columns.of_dataset(rule.dataset)
            verdicts.append(ordering_verdict(claim, cells, self._published, self._protocol))
        return verdicts

    def datasets(self) -> list[TableDataset]:
        """The columns: those of the paper, then the run's others."""
        titles = {"tfd": "Toronto Face Database"}
        # The project's own titles win over the one that is known without a data set.
        titles |= {name: title for name, (title, _) in datasets.REGISTRY.items()}
        published = {dataset for _, dataset in self._published}
        columns: list[TableDataset] = []
        for name in self._datasets:
            is_published = name in published
            columns.append({"name": name, "title": titles[name], "published": is_published})
        return columns


def _elsewhere(context: Sequence[ContextValue], model: str, dataset: str) -> str:
    """What others have published for a row of the same title on a data set; empty if nothing."""
    title, _ = models.REGISTRY[model]
    values = []
    for value in context:
        # Of the same title only: a relative of the model is another one.
        if value["model"] == title and value["dataset"].lower() == dataset:
            number = f"{value['log_likelihood']:g}"
            if value["standard_error"] is not None:
                number = f"{number} \N{PLUS-MINUS SIGN} {value['standard_error']:g}"
            status = "" if value["status"] == "verified" else ", unverified"
            values.append(f"{number} ({value['source']}, {value['year']}{status})")
    return "; ".join(values)


def _published_value(row: PublishedRow) -> PublishedValue:
    return {
        "log_likelihood": row["log_likelihood"],
        "standard_error": row["standard_error"],
        "uncertainty_over": row["uncertainty_over"],
        "samples": row["samples"],
        "source": row["source"],
    }


def build_table(
    preset: str,
    runs: Sequence[CellKey],
    evaluations: Evaluations,
    published: PublishedRows,
    context: Sequence[ContextValue],
    protocol: Protocol,
    absent: Mapping[str, str] = MappingProxyType({}),
    training: Trainings = MappingProxyType({}),
    samplers: Samplers = MappingProxyType({}),
    others: Mapping[CellKey, Sequence[OtherRun]] = MappingProxyType({}),
) -> TableContent:
    """The rows and columns of Table 1, without the frame of a result file.

    Args:
        preset: the run's name.
        runs: (model, data set) of this run, in its order.
        evaluations: every block's result of the stage `evaluate`.
        published: the rows of Table 1.
        context: other published numbers: passed on, and named in the row of the same title.
        protocol: the rules of the verdicts.
        absent: data set that was left out of the run -> the reason.
        training: every block's result of the stage `train`, whose curves say whether training had
            ended.
        samplers: every block's result of the stage `samplers`.
        others: kept runs of the same recipes with other numbers of epochs.
    """
    attempted = {dataset for _, dataset in runs}
    reasons = {name: reason for name, reason in NEEDS.items() if name not in attempted}
    # What the run says of itself overrides what is known in general.
    reasons |= absent
    columns = _Columns(evaluations, training, samplers, others, protocol.rising)
    table = _Table(preset, runs, published, context, protocol, reasons, columns)
    return {
        "preset": preset,
        "rows": table.rows(),
        "orderings": table.orderings(),
        "datasets": table.datasets(),
        "context": list(context),
    }


def table_csv(table: TableContent) -> str:
    """The same cells as comma-separated values, one line per model and data set."""
    stream = StringIO()
    # Not the module's "\r\n": git and `diff` would show it in every line.
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table["rows"]:
        for dataset, cell in row["cells"].items():
            writer.writerow(_csv_line(row, dataset, cell))
    return stream.getvalue()


def _csv_line(row: TableRow, dataset: str, cell: TableCell) -> dict[str, object]:
    """Column -> value of one cell; None for an empty one."""
    published = cell["published"]
    measured = cell["measured"]
    line: dict[str, object] = {
        "claim": cell["claim"],
        "model": row["model"],
        "kind": row["kind"],
        "dataset": dataset,
        "published": published["log_likelihood"] if published else None,
        "published_standard_error": published["standard_error"] if published else None,
        "seeds": len(measured["seeds"]) if measured else 0,
        "failed": len(measured["failed"]) if measured else 0,
        "state": cell["verdict"]["state"],
        "reason": cell["verdict"]["reason"],
    }
    for name in MEASURED:
        # By `get`: kept results of earlier versions lack the later columns.
        line[name] = measured.get(name) if measured else None
    return line
