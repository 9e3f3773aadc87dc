"""Table 1: published and measured log-likelihoods side by side, with the verdict on each (paper section 5).

A row is a model, a cell a data set. A cell holds `published` (or null), `measured` (or null) and `verdict`:
its state, the reason in words, and for an equivalence claim the difference with both intervals, both margins
with the state that each gives, the seeds needed where it is inconclusive, and the hash of the protocol's entry.
"""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from replicate import datasets, models
from replicate.errors import ReplicateError
from replicate.protocol import Protocol
from replicate.statistics import interquartile_mean, mean_interval, standard_deviation
from replicate.verdicts import equivalence_verdict, no_verdict

PublishedRows = dict[tuple[str, str], dict[str, Any]]
NEEDS = {"tfd": "needs TFD_48x48.mat, which its owners give on request; this version does not read it"}
MEASURED = ("mean", "sd_over_seeds", "standard_error_test", "sd_over_draws")
#: What all blocks of a model must have in common.
SHARED = ("n_test", "n_samples", "n_validation", "dimension", "sigmas")
COLUMNS = (
    "claim", "model", "dataset", "published", "published_standard_error", *MEASURED,
    "seeds", "failed", "state", "reason",
)  # fmt: skip


def read_published(path: Path) -> PublishedRows:
    """The published rows, (model, data set) -> row, in the paper's order."""
    rows: PublishedRows = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                rows[row["model"], row["dataset"]] = {
                    "claim": row["claim"], "title": row["title"],
                    "log_likelihood": float(row["log_likelihood"]), "standard_error": float(row["standard_error"]),
                    "uncertainty_over": row["uncertainty_over"], "samples": int(row["samples"]),
                    "source": row["source"],
                }  # fmt: skip
    except (OSError, KeyError, ValueError) as error:
        raise ReplicateError(f"{path} is not a readable table of published values ({error}).") from None
    if not rows:
        raise ReplicateError(f"{path} holds no published values; restore it from the repository.")
    return rows


def _pooled_draw_spread(seeds: Sequence[Mapping[str, Any]]) -> float | None:
    """Standard deviation between draws of samples from the same trained model, pooled over seeds, ddof 1 each."""
    groups = [[draw["log_likelihood"] for draw in seed["draws"]] for seed in seeds]
    variances = [float(np.var(group, ddof=1)) for group in groups if len(group) > 1]
    return float(np.sqrt(np.mean(variances))) if variances else None


def measured(evaluations: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """Puts the blocks of one model on one data set together.

    Args:
        evaluations: (file, content) of every block.

    Returns:
        None if there is no evaluation; means are over the seeds that did not fail, which are counted beside them.
    """
    if not evaluations:
        return None
    every = sorted((seed for _, content in evaluations for seed in content["per_seed"]), key=lambda s: s["seed"])
    good = [seed for seed in every if not seed["failed"]]
    values = [seed["log_likelihood"] for seed in good]
    errors = [float(np.mean([draw["standard_error"] for draw in seed["draws"]])) for seed in good]
    seeds = [seed["seed"] for seed in every]
    if len(seeds) != len(set(seeds)):
        again = next(seed for seed in seeds if seeds.count(seed) > 1)
        raise ReplicateError(
            f"seed {again} stands in more than one of {', '.join(file for file, _ in evaluations)}; a seed counts "
            "once: leave out the results of blocks that are no longer in the parameters."
        )
    shared = {name: evaluations[0][1][name] for name in SHARED}
    for file, content in evaluations:
        other = next((name for name in SHARED if content[name] != shared[name]), None)
        if other:
            raise ReplicateError(f"{file} has another {other} than {evaluations[0][0]}; evaluate both alike.")
    return {
        "mean": float(np.mean(values)) if values else None,
        "sd_over_seeds": standard_deviation(values),
        "standard_error_test": float(np.mean(errors)) if errors else None,
        "sd_over_draws": _pooled_draw_spread(good),
        "interquartile_mean": interquartile_mean(values) if values else None,
        "interval": mean_interval(values),
        "at_edge": [s["seed"] for s in good if any(draw["at_edge"] for draw in s["draws"])],
        "fine_mean": float(np.mean([d["fine_log_likelihood"] for s in good for d in s["draws"]])) if good else None,
        "seeds": seeds,
        "failed": [{"seed": seed["seed"], **seed["failed"]} for seed in every if seed["failed"]],
        "per_seed": [
            {"seed": seed["seed"], "log_likelihood": value, "standard_error": error}
            for seed, value, error in zip(good, values, errors, strict=True)
        ],
        **shared,
        "files": [file for file, _ in evaluations],
    }


def _absent(model: str, dataset: str, preset: str) -> dict[str, Any]:
    if dataset in NEEDS and dataset not in datasets.REGISTRY:
        return no_verdict("not attempted", NEEDS[dataset])
    if model not in models.REGISTRY:
        return no_verdict("not attempted", "this version has no such model")
    return no_verdict("not attempted", f"the preset {preset} does not train it on this data set")


def _cell(
    model: str, dataset: str, published: PublishedRows, found: dict[str, Any] | None, protocol: Protocol, preset: str
) -> dict[str, Any]:
    row = published.get((model, dataset))
    claim = row["claim"] if row else None
    if found is None:
        verdict = _absent(model, dataset, preset)
    elif row is None:
        verdict = no_verdict("no published value", "the paper gives no number for this model and data set")
    elif claim not in protocol.claims:
        raise ReplicateError(f"protocol.yaml has no entry {claim}; add its rule before the run.")
    else:
        verdict = equivalence_verdict(found, row, protocol)
    shown = {key: value for key, value in row.items() if key not in ("claim", "title")} if row else None
    return {"claim": claim, "published": shown, "measured": found, "verdict": verdict}


def build_table(
    preset: str,
    runs: Sequence[tuple[str, str]],
    evaluations: Mapping[tuple[str, str], Sequence[tuple[str, Mapping[str, Any]]]],
    published: PublishedRows,
    protocol: Protocol,
) -> dict[str, Any]:
    """The rows and columns of Table 1, without the frame of a result file.

    Args:
        runs: (model, data set) of this run, in its order.
        evaluations: (model, data set) -> (file, content) of every block.
    """
    titles = {model: row["title"] for (model, _), row in published.items()}
    titles |= {model: models.REGISTRY[model][0] for model, _ in runs}
    columns = dict.fromkeys([dataset for _, dataset in published] + [dataset for _, dataset in runs])
    with_numbers = {dataset for _, dataset in published}
    wanted = set(published) | set(runs)
    rows = []
    for model, title in titles.items():
        cells = {
            dataset: _cell(model, dataset, published, measured(evaluations.get((model, dataset), ())), protocol, preset)
            for dataset in columns
            if (model, dataset) in wanted
        }
        rows.append({"model": model, "title": title, "cells": cells})
    named = {"tfd": "Toronto Face Database"} | {name: title for name, (title, _) in datasets.REGISTRY.items()}
    return {
        "preset": preset,
        "rows": rows,
        "datasets": [{"name": name, "title": named[name], "published": name in with_numbers} for name in columns],
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
                    "claim": cell["claim"], "model": row["model"], "dataset": dataset,
                    "published": shown.get("log_likelihood"), "published_standard_error": shown.get("standard_error"),
                    **{name: found.get(name) for name in MEASURED},
                    "seeds": len(found["seeds"]) if found else 0, "failed": len(found["failed"]) if found else 0,
                    "state": verdict["state"], "reason": verdict["reason"],
                }
            )  # fmt: skip
    return stream.getvalue()
