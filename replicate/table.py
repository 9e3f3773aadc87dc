"""Table 1: published and measured log-likelihoods side by side, with the verdict on each (paper section 5).

A row is a model, or a reference row that no model was trained for; a cell is a data set. A cell holds `published`
(or null), `measured` (or null; see `replicate/measured.py`) and `verdict`: its state, the reason in words, and for
an equivalence claim the difference with its intervals, plain and simultaneous, both margins with the state that each
gives, the seeds needed where it is inconclusive, and the hash of the protocol's entry. Beside the rows stand
`orderings`, the verdicts on the order of the rows, and `context`, other published numbers. What a run cost is
measured anew each time and stands in the run records, not here.
"""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from types import MappingProxyType
from typing import Any

from replicate import datasets, models
from replicate.ending import rise_of
from replicate.measured import measured
from replicate.protocol import Protocol, Rising
from replicate.published import PublishedRows
from replicate.sampling.comparison import comparison
from replicate.statistics import mean_interval, simultaneous
from replicate.verdicts import equivalence_verdict, no_verdict, ordering_verdict, values_of

#: What a data set that no run names would need.
NEEDS = {"tfd": "needs TFD_48x48.mat, which its owners give on request"}
#: Rows without training, which say what the measure is worth (Theis et al. 2016).
REFERENCES = ("true_distribution", "k_means", "k_means_weighted")
MEASURED = (
    "mean", "sd_over_seeds", "standard_error_test", "standard_error_folds", "interquartile_mean", "effective_samples",
)  # fmt: skip
COLUMNS = (
    "claim", "model", "kind", "dataset", "published", "published_standard_error", *MEASURED,
    "seeds", "failed", "state", "reason",
)  # fmt: skip

#: (model, data set) -> (file, content) of every block of seeds.
Results = Mapping[tuple[str, str], Sequence[tuple[str, Mapping[str, Any]]]]


def _kind(model: str) -> str:
    return "reference" if model in REFERENCES else "model"


def _not_measured(model: str, dataset: str, preset: str, absent: Mapping[str, str]) -> dict[str, Any]:
    if dataset in datasets.UNBOUNDED and model in models.REGISTRY and model not in models.UNBOUNDED:
        return no_verdict("not applicable", "its pixels cannot leave [0, 1], and this data set's do")
    if dataset in absent:
        return no_verdict("not attempted", absent[dataset])
    if model not in models.REGISTRY:
        return no_verdict("not attempted", "this version has no such model")
    return no_verdict("not attempted", f"the preset {preset} does not train it on this data set")


class _Columns:
    """The measured cells of every data set, and how many of them an interval must hold for together."""

    def __init__(
        self, evaluations: Results, training: Results, samplers: Results, published: PublishedRows, rules: Rising
    ) -> None:
        self.found = {}
        for key, blocks in evaluations.items():
            cell = measured(blocks)
            if cell is not None:
                cell["ending"] = rise_of(training.get(key, []), rules)
                cell["samplers"] = comparison(samplers.get(key, []))
            self.found[key] = cell
        known = [key for key, cell in self.found.items() if cell is not None and cell["mean"] is not None]
        self._models = [dataset for model, dataset in known if _kind(model) == "model"]
        self._claims = [dataset for model, dataset in known if (model, dataset) in published]

    def claims(self, dataset: str) -> int:
        """Published values of the data set that the run attempted."""
        return self._claims.count(dataset)

    def cell(self, model: str, dataset: str) -> dict[str, Any] | None:
        """What was measured, with the interval that holds for all models of the data set together."""
        found = self.found.get((model, dataset))
        if found is None:
            return None
        together = max(self._models.count(dataset), 1)
        interval = mean_interval(values_of(found), simultaneous(0.95, together))
        return found | {"interval_simultaneous": interval, "simultaneous_models": together}

    def of_dataset(self, dataset: str) -> dict[str, dict[str, Any] | None]:
        """Model -> what was measured on the data set."""
        return {model: cell for (model, name), cell in self.found.items() if name == dataset}


def _cell(
    model: str, dataset: str, published: PublishedRows, columns: _Columns, protocol: Protocol, preset: str,
    absent: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    row, found = published.get((model, dataset)), columns.cell(model, dataset)
    if found is None:
        verdict = _not_measured(model, dataset, preset, absent)
    elif row is None:
        lacking = "a reference row, for which nothing is trained" if _kind(model) == "reference" else None
        verdict = no_verdict("no published value", lacking or "the paper gives no number for this model and data set")
    else:
        verdict = equivalence_verdict(found, row, protocol, columns.claims(dataset))
    shown = {key: value for key, value in row.items() if key not in ("claim", "title")} if row else None
    return {"claim": row["claim"] if row else None, "published": shown, "measured": found, "verdict": verdict}


def _titles(runs: Sequence[tuple[str, str]], published: PublishedRows) -> dict[str, str]:
    """Model -> title: the paper's rows, the run's other models, and the reference rows last."""
    titles = {model: row["title"] for (model, _), row in published.items()}
    titles |= {model: models.REGISTRY[model][0] for model, _ in runs if model not in titles}
    return dict(sorted(titles.items(), key=lambda item: _kind(item[0]) == "reference"))


def _wanted(runs: Sequence[tuple[str, str]], published: PublishedRows) -> set[tuple[str, str]]:
    """The cells that the table shows: published ones, the run's own, and where a model of the run cannot live."""
    impossible = {
        (model, dataset)
        for model, _ in runs
        for _, dataset in runs
        if dataset in datasets.UNBOUNDED and model not in models.UNBOUNDED
    }
    return set(published) | set(runs) | impossible


def build_table(
    preset: str, runs: Sequence[tuple[str, str]], evaluations: Results, published: PublishedRows,
    context: Sequence[Mapping[str, Any]], protocol: Protocol, absent: Mapping[str, str] = MappingProxyType({}),
    training: Results = MappingProxyType({}), samplers: Results = MappingProxyType({}),
) -> dict[str, Any]:  # fmt: skip
    """The rows and columns of Table 1, without the frame of a result file.

    Args:
        preset: the run's name.
        runs: (model, data set) of this run, in its order.
        evaluations: (model, data set) -> (file, content) of every block.
        published: the rows of Table 1.
        context: other published numbers, passed on.
        protocol: the rules of the verdicts.
        absent: data set that was left out of the run -> the reason.
        training: (model, data set) -> (file, content) of every block, whose curves say whether training had ended.
        samplers: the same of the stage `samplers`.
    """
    named = {dataset for _, dataset in runs}
    absent = {name: reason for name, reason in NEEDS.items() if name not in named} | dict(absent)
    columns = _Columns(evaluations, training, samplers, published, protocol.rising)
    wanted = _wanted(runs, published)
    names = dict.fromkeys([dataset for _, dataset in published] + [dataset for _, dataset in runs])
    with_numbers = {dataset for _, dataset in published}
    rows = [
        {
            "model": model,
            "title": title,
            "kind": _kind(model),
            "cells": {
                dataset: _cell(model, dataset, published, columns, protocol, preset, absent)
                for dataset in names
                if (model, dataset) in wanted
            },
        }
        for model, title in _titles(runs, published).items()
    ]
    titles = {"tfd": "Toronto Face Database"} | {name: title for name, (title, _) in datasets.REGISTRY.items()}
    return {
        "preset": preset,
        "rows": rows,
        "orderings": [
            ordering_verdict(claim, columns.of_dataset(rule.dataset), published, protocol)
            for claim, rule in protocol.directional.items()
        ],
        "datasets": [{"name": name, "title": titles[name], "published": name in with_numbers} for name in names],
        "context": list(context),
    }


def table_csv(table: Mapping[str, Any]) -> str:
    """The same cells as comma-separated values, one line per model and data set."""
    stream = StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in table["rows"]:
        for dataset, cell in row["cells"].items():
            shown, found, verdict = cell["published"] or {}, cell["measured"] or {}, cell["verdict"]
            writer.writerow(
                {
                    "claim": cell["claim"], "model": row["model"], "kind": row["kind"], "dataset": dataset,
                    "published": shown.get("log_likelihood"), "published_standard_error": shown.get("standard_error"),
                    **{name: found.get(name) for name in MEASURED},
                    "seeds": len(found["seeds"]) if found else 0, "failed": len(found["failed"]) if found else 0,
                    "state": verdict["state"], "reason": verdict["reason"],
                }
            )  # fmt: skip
    return stream.getvalue()
