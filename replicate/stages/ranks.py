"""Puts all rows, measures and controls side by side, and ranks the models by each measure.

  python -m replicate ranks --out ranks.json results/measures/digits/vae/0-2.json \\
      results/controls/digits.json

Models are ranked by the measures that speak of all samples and have a value for each of them; how
far these agree is Kendall's W. Intervals are over seeds and images (`replicate.measures.ranking`).
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replicate.errors import ReplicateError, understanding
from replicate.measures import REGISTRY, goodness
from replicate.measures.ranking import (
    interval_of,
    kendall_tau,
    kendall_w,
    label,
    ranks,
    resampled_means,
)
from replicate.records.frame import checked_result, is_result_of
from replicate.records.schema import (
    Agreement,
    ControlMeasures,
    ControlResult,
    Measured,
    MeasuresOfBlock,
    RankColumn,
    RankedValue,
    RankRow,
    Ranks,
    RanksOfDataset,
)
from replicate.stages.job import StageJob
from replicate.storage.files import read_json
from replicate.verdicts.table1 import REFERENCES

Floats = NDArray[np.float64]
#: Fewer models, or measures, than this have no order to speak of.
FEWEST = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    parser.add_argument(
        "results",
        type=Path,
        nargs="*",
        help="results of the stages `measures` and `controls`, in any order",
    )


@dataclass
class _Rows:
    """What was measured on one data set.

    Attributes:
        models: name -> measure with its space -> what it says of every seed that did not fail.
        controls: in their order.
    """

    models: dict[str, dict[str, list[Measured]]] = field(default_factory=dict)
    controls: list[ControlMeasures] = field(default_factory=list)

    @property
    def columns(self) -> list[Measured]:
        """An entry of every measure in every space, in the order of the registry."""
        columns: dict[str, Measured] = {}
        for of_model in self.models.values():
            for name, seeds in of_model.items():
                # The first seed's entry stands for the column: measure and space are the same in
                # all.
                columns.setdefault(name, seeds[0])
        for control in self.controls:
            for entry in control["measures"]:
                columns.setdefault(label(entry), entry)
        # Not that of the files: columns stay where they are when a model is added.
        order = list(REGISTRY)
        return sorted(columns.values(), key=lambda entry: order.index(entry["measure"]))


def _read(paths: Sequence[Path]) -> dict[str, _Rows]:
    """Data set -> its rows, from results of both stages."""
    datasets: dict[str, _Rows] = {}
    for path in paths:
        content = read_json(path)
        if is_result_of(content, "measures"):
            block = checked_result(content, MeasuresOfBlock, path)
            rows = datasets.setdefault(block["dataset"], _Rows())
            _add(rows.models.setdefault(block["model"], {}), block)
        elif is_result_of(content, "controls"):
            result = checked_result(content, ControlResult, path)
            datasets.setdefault(result["dataset"], _Rows()).controls = result["controls"]
        else:
            raise ReplicateError(f"{path} is not a result of one of the stages measures, controls.")
    return datasets


def _add(of_model: dict[str, list[Measured]], block: MeasuresOfBlock) -> None:
    for seed in block["per_seed"]:
        for entry in seed["measures"]:
            # A measure of another version has no better side by which to rank.
            if entry["measure"] not in REGISTRY:
                raise ValueError(f"there is no measure {entry['measure']!r}")
            if entry["value"] is not None:
                of_model.setdefault(label(entry), []).append(entry)


@dataclass(frozen=True)
class _Column:
    """One measure over the models that are ranked.

    Attributes:
        goods: (resamples, models) values that are higher where samples are better.
        means: (models,) the same of the values themselves.
    """

    goods: Floats
    means: Floats


def _column(entry: Measured, number: int, models: Sequence[str], rows: _Rows) -> _Column | None:
    """A measure over models; None where it does not rank, or lacks a value of one of them."""
    name = label(entry)
    complete = all(name in rows.models[model] for model in models)
    # Ranks among some models alone could not be set beside ranks among all.
    if not (REGISTRY[entry["measure"]].ranked and complete and len(models) >= FEWEST):
        return None
    goods, means = [], []
    for position, model in enumerate(models):
        seeds = rows.models[model][name]
        # By the place of the cell: `_value_of_model` draws the same numbers again.
        resampled = resampled_means(seeds, (number, position))
        # Resampled first and turned then: "near to one half" of a mean is not the mean of "near".
        goods.append([goodness(entry["measure"], value) for value in resampled.tolist()])
        means.append(goodness(entry["measure"], _mean(seeds)))
    return _Column(np.array(goods).T, np.array(means))


def _mean(seeds: Sequence[Measured]) -> float:
    return float(np.mean([entry["value"] for entry in seeds]))


def _ranks_of(dataset: str, rows: _Rows) -> RanksOfDataset:
    """All rows of a data set."""
    # A model of which every seed failed has no place in any order.
    models = [name for name, of in rows.models.items() if of and name not in REFERENCES]
    references = [name for name, of in rows.models.items() if of and name in REFERENCES]
    entries = rows.columns
    columns = [_column(entry, n, models, rows) for n, entry in enumerate(entries)]
    table: list[RankRow] = []
    for name in models:
        position = models.index(name)
        values = [
            _value_of_model(rows.models[name].get(label(entry)), (n, position), column)
            for n, (entry, column) in enumerate(zip(entries, columns, strict=True))
        ]
        table.append({"name": name, "kind": "model", "values": values})
    # Numbered after the models, so that no two rows share random numbers.
    for position, name in enumerate(references, len(models)):
        values = [
            _value_of_model(rows.models[name].get(label(entry)), (n, position), None)
            for n, entry in enumerate(entries)
        ]
        table.append({"name": name, "kind": "reference", "values": values})
    for control in rows.controls:
        by_label = {label(entry): entry for entry in control["measures"]}
        values = [_value_of_control(by_label.get(label(entry)), control) for entry in entries]
        table.append({"name": control["control"], "kind": "control", "values": values})
    heads: list[RankColumn] = []
    for entry, column in zip(entries, columns, strict=True):
        head: RankColumn = {
            "measure": entry["measure"],
            "space": entry["space"],
            "ranked": column is not None,
        }
        heads.append(head)
    return {
        "dataset": dataset,
        "columns": heads,
        "rows": table,
        "agreement": _agreement(heads, columns, len(models)),
    }


def _value_of_model(
    seeds: Sequence[Measured] | None, stream: tuple[int, int], column: _Column | None
) -> RankedValue | None:
    """What a measure says of a model, with its rank where it has one.

    Args:
        seeds: of the model; None where the measure says nothing.
        stream: number of the column and of the row.
        column: of the models that are ranked; None where these are not, or this row is not among
            them.
    """
    if not seeds:
        return None
    resampled = resampled_means(seeds, stream)
    value: RankedValue = {
        "value": _mean(seeds),
        "interval": interval_of(resampled),
        "seeds": len(seeds),
        "rank": None,
        "rank_interval": None,
        "above_truth": False,
        "gap": None,
    }
    gaps = [entry["details"]["gap"] for entry in seeds if "gap" in entry["details"]]
    if gaps:
        value["gap"] = float(np.mean(gaps))
    if column is not None:
        ranks_of_row = ranks(column.goods)[:, stream[1]]
        value["rank"] = float(ranks_of_row.mean())
        value["rank_interval"] = interval_of(ranks_of_row)
    return value


def _value_of_control(entry: Measured | None, control: ControlMeasures) -> RankedValue | None:
    if entry is None or entry["value"] is None:
        return None
    return {
        "value": entry["value"],
        "interval": entry["interval"],
        "seeds": 1,
        "rank": None,
        "rank_interval": None,
        "above_truth": label(entry) in control["above_truth"],
        "gap": None,
    }


def _agreement(
    heads: Sequence[RankColumn], columns: Sequence[_Column | None], models: int
) -> Agreement:
    """Kendall's W of all measures that rank, and the tau of each with the Parzen estimate."""
    ranking = [column for column in columns if column is not None]
    agreement: Agreement = {
        "measures": len(ranking),
        "models": models,
        "kendall_w": None,
        "interval": None,
        "tau_with_parzen": [None] * len(columns),
    }
    if len(ranking) < FEWEST:
        return agreement
    concordance = float(kendall_w(np.stack([ranks(column.means) for column in ranking])))
    resampled = kendall_w(np.stack([ranks(column.goods) for column in ranking], axis=1))
    # Where all models tie in every measure, W is 0 / 0.
    if np.isfinite(concordance) and np.isfinite(resampled).all():
        agreement["kendall_w"] = concordance
        agreement["interval"] = interval_of(resampled)
    # The Parzen estimate has no space, so one entry by its name is enough.
    by_measure = {head["measure"]: column for head, column in zip(heads, columns, strict=True)}
    parzen = by_measure.get("parzen")
    for number, column in enumerate(columns):
        if column is not None and parzen is not None:
            tau = kendall_tau(parzen.means.tolist(), column.means.tolist())
            agreement["tau_with_parzen"][number] = tau
    return agreement


def write_ranks(files: Mapping[str, Path], out: Path) -> Ranks:
    """Writes the ranks and the run record.

    Args:
        files: name that the ranks give to a result of `measures` or `controls` -> where it lies.
        out: of the JSON; the record lies beside it.

    Raises:
        ReplicateError: a file is not such a result.
    """
    job = StageJob("ranks")
    datasets = _read(list(files.values()))
    with understanding(" or ".join(files)):
        content: Ranks = {
            **job.frame({}, files),
            "stage": "ranks",
            "parameters": {},
            "datasets": [_ranks_of(name, rows) for name, rows in datasets.items()],
        }
    job.write(out, content)
    return content


def run(arguments: argparse.Namespace) -> None:
    """Writes the ranks and the run record."""
    content = write_ranks({str(path): path for path in arguments.results}, arguments.out)
    for ranked in content["datasets"]:
        agreement = ranked["agreement"]
        concordance = agreement["kendall_w"]
        says = "too few to rank" if concordance is None else f"Kendall's W {concordance:.2f}"
        print(
            f"ranks {ranked['dataset']}: {agreement['models']} models by "
            f"{agreement['measures']} measures, {says}"
        )
