"""The first screen of the page: every claim of the paper in the paper's order, with its verdict in this run and in the
kept runs. Computes no verdict itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from replicate.traced import ResultFolder, Traced, plain

#: Statements in the paper's order: the part of the paper, then claim and a name short enough for the picture.
BEFORE_TABLE_1: Mapping[str, Mapping[str, str]] = {
    "Related work": {"M1": "Slow noise contrast"},
    "The game and its theory": {
        "G1": "Stronger gradients",
        "F1": "Four stages",
        "A1": "Alternating updates",
        "P1": "The optimal D",
        "TH1": "A divergence for G",
        "P2": "Convergence of p_g",
    },
}
AFTER_TABLE_1: Mapping[str, Mapping[str, str]] = {
    "Experiments beside the table": {
        "E1": "Limits of the estimate",
        "F2": "Not memorised",
        "F3": "Straight lines in z",
    },
    "Advantages and disadvantages": {
        "H1": "Helvetica scenario",
        "H1-images": "Helvetica, on images",
        "S1": "No Markov chains",
        "S2": "Sharp distributions",
        "T2": "Ease of sampling",
    },
    "Extensions": {
        "X1": "Conditional nets",
        "X2": "z from x",
        "X3": "Any part from the rest",
        "X4": "Features for few labels",
        "X5": "Quicker training",
    },
    "A lecture on the limits": {
        "L1": "Vanishing gradient",
        "L2": "Need of large data",
        "L3": "Hard to train",
        "L3-mnist": "Hard to train, MNIST",
        "L4": "Hard on text",
        "L5": "No other measure",
    },
}


@dataclass(frozen=True)
class Mark:
    """One claim of the picture.

    Attributes:
        name: in a few words.
        anchor: id of the place that says more.
        state: the verdict of this run.
        kept: (folder of a kept run, its verdict), for those that judged the claim in its full form by the same rule.
        published, ours: numbers of a row of Table 1; `ours` as the table holds it.
        reference: what the kept run with the most seeds, and of these the longest, measured for that row.
        epochs: for how many epochs that run trained, where its training is kept.
    """

    name: str
    anchor: str
    state: str
    kept: Sequence[tuple[str, str]] = ()
    published: Traced | None = None
    ours: Traced | None = None
    reference: Traced | None = None
    epochs: Traced | None = None

    @property
    def kept_states(self) -> Iterator[tuple[str, list[str]]]:
        """The verdicts of the kept runs, each once, with the folders of the runs that came to it."""
        for state in dict.fromkeys(state for _, state in self.kept):
            yield state, [folder for folder, other in self.kept if other == state]


@dataclass(frozen=True)
class Group:
    """A part of the paper, with its claims."""

    title: str
    marks: Sequence[Mark]


def _folder(name: str) -> str:
    return f"results/reference/{name}"


def _epochs(results: ResultFolder, folder: str, model: str, dataset: str) -> Traced | None:
    """How long a kept run trained a model."""
    relative = f"reference/{folder}/{model}/train.json"
    if not (results.folder / relative).is_file():
        return None
    training = results.read(relative)
    return training["epochs"] if training["dataset"] == dataset else None


def _row_marks(
    table: Traced, dataset: Traced, references: Mapping[str, Traced], results: ResultFolder
) -> Iterator[Mark]:
    """The rows of one column of Table 1 that the paper gives a number for."""
    name = dataset["name"]
    for row in table["rows"]:
        if name not in row["cells"] or row["cells"][name]["claim"] is None:
            continue
        cell = row["cells"][name]
        found = {
            folder: other["cells"][name]
            for folder, kept in references.items()
            for other in kept["rows"]
            if other["model"] == row["model"] and name in other["cells"]
        }
        found = {folder: other for folder, other in found.items() if other["measured"] is not None}
        epochs = {folder: _epochs(results, folder, row["model"], name) for folder in found}
        most = max(
            found,
            key=lambda folder: (len(found[folder]["measured"]["seeds"]), plain(epochs[folder]) or 0),
            default=None,
        )
        yield Mark(
            name=row["title"],
            anchor=row_anchor(name, row["model"]),
            state=cell["verdict"]["state"],
            kept=[(_folder(folder), other["verdict"]["state"]) for folder, other in found.items()],
            published=cell["published"],
            ours=cell["measured"],
            reference=None if most is None else found[most]["measured"],
            epochs=None if most is None else epochs[most],
        )


def row_anchor(dataset: str, model: str) -> str:
    """Id of a row of Table 1, in the column of a data set."""
    return f"row-{dataset}-{model}"


def _order_marks(table: Traced, dataset: Traced, references: Mapping[str, Traced]) -> Iterator[Mark]:
    """The order of the rows of one column."""
    for ordering in table["orderings"]:
        if ordering["dataset"] == dataset["name"]:
            kept = [
                (_folder(folder), other["verdict"]["state"])
                for folder, reference in references.items()
                for other in reference["orderings"]
                if other["claim"] == ordering["claim"] and other["verdict"]["state"] != "not attempted"
            ]
            yield Mark("Order of the rows", f"order-{dataset['name']}", ordering["verdict"]["state"], kept)


def _statement_mark(name: str, statement: Mapping[str, Any]) -> Mark:
    claim = statement["claim"]
    kept = [
        (_folder(f"statements/{reference['name']}"), reference["claim"]["state"])
        for reference in statement["references"]
        if reference["claim"]["changed"] is None and reference["same_rule"]
    ]
    return Mark(name, f"statement-{claim['claim']}", claim["state"], kept)


def picture(
    table: Traced, statements: Sequence[Mapping[str, Any]], references: Mapping[str, Traced], results: ResultFolder
) -> list[Group]:
    """Every claim, in the paper's order.

    Args:
        table: `table1.json` of this run.
        statements: as `replicate.report` gathers them; one without a name here comes last, under its own id.
        references: folder below `results/reference` -> the `table1.json` that is kept there.
        results: the folder of all results.
    """
    left = {statement["claim"]["claim"]: statement for statement in statements}

    def named(parts: Mapping[str, Mapping[str, str]]) -> Iterator[Group]:
        for title, names in parts.items():
            yield Group(
                title, [_statement_mark(name, left.pop(claim)) for claim, name in names.items() if claim in left]
            )

    groups = list(named(BEFORE_TABLE_1))
    for dataset in table["datasets"]:
        marks = [*_row_marks(table, dataset, references, results), *_order_marks(table, dataset, references)]
        groups.append(Group(f"Table 1: {dataset['title']}", marks))
    groups += named(AFTER_TABLE_1)
    groups.append(Group("Others", [_statement_mark(claim, statement) for claim, statement in left.items()]))
    return [group for group in groups if group.marks]
