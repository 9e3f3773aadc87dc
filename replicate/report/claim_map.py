"""The first screen of the page: every claim of the paper in order, with its verdicts.

They are those of this run and of the kept runs; none is computed here.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from replicate.records.sourced import ResultFolder, Traced
from replicate.report.answer import measurements
from replicate.report.statement_cards import StatementCard

#: Statements in the paper's order: the section of the page -> statement -> a name in a few words.
BEFORE_TABLE_1: Mapping[str, Mapping[str, str]] = {
    "Related work": {"M1": "Fixed noise slows learning"},
    "The game and its theory": {
        "G1": "Stronger gradients",
        "F1": "Stages of a game",
        "A1": "One step of D is enough",
        "P1": "The best D",
        "TH1": "What G minimises",
        "P2": "Convergence in theory",
    },
}
AFTER_TABLE_1: Mapping[str, Mapping[str, str]] = {
    "Experiments beside the table": {
        "E1": "Limits of the estimate",
        "F2": "No copied images",
        "F3": "Digits along lines in z",
    },
    "Advantages and disadvantages": {
        "H1": "Collapse on toy data",
        "H1-images": "Collapse on images",
        "S1": "No Markov chains",
        "S2": "Sharp distributions",
        "T2": "Ease of sampling",
    },
    "Extensions": {
        "X1": "Images of a chosen class",
        "X2": "The z behind an image",
        "X3": "Filling in parts",
        "X4": "Features for few labels",
        "X5": "Faster training",
    },
    "A lecture on the limits": {
        "L1": "Vanishing gradient",
        "L2": "Need of large data",
        "L3": "Difficult training",
        "L3-mnist": "Difficult training, MNIST",
        "L4": "Trouble with symbols",
        "L5": "Measures that disagree",
    },
    "Later work": {"W1": "Another order by AIS"},
}
#: Statement -> its name in a few words.
NAMES: Mapping[str, str] = dict(
    itertools.chain.from_iterable(
        names.items() for names in (*BEFORE_TABLE_1.values(), *AFTER_TABLE_1.values())
    )
)


@dataclass(frozen=True)
class ClaimBadge:
    """One claim of the map.

    Attributes:
        name: in a few words.
        anchor: id of the place that says more.
        state: the verdict of this run.
        kept_verdicts: (folder of a kept run, its verdict), for those that decided the claim in its
            full form by the same rule.
    """

    name: str
    anchor: str
    state: str
    kept_verdicts: Sequence[tuple[str, str]] = ()

    @property
    def kept_states(self) -> Iterator[tuple[str, list[str]]]:
        """The verdicts of the kept runs, each once, with the folders of the runs that have it."""
        folders: dict[str, list[str]] = {}
        for folder, state in self.kept_verdicts:
            folders.setdefault(state, []).append(folder)
        yield from folders.items()


@dataclass(frozen=True)
class Group:
    """A part of the paper, with its claims."""

    title: str
    badges: Sequence[ClaimBadge]


def _kept_folder(name: str) -> str:
    return f"results/reference/{name}"


def _cell_badges(
    table: Traced, dataset: str, references: Mapping[str, Traced], results: ResultFolder
) -> Iterator[ClaimBadge]:
    """The cells of one data set that the paper gives a number for."""
    for row in table["rows"]:
        model = row["model"]
        if dataset not in row["cells"] or row["cells"][dataset]["claim"] is None:
            continue
        cell = row["cells"][dataset]
        kept_verdicts = []
        for kept in measurements(references, results, dataset, model):
            state = kept.cell["verdict"]["state"]
            kept_verdicts.append((_kept_folder(kept.run), state))
        yield ClaimBadge(
            name=row["title"],
            anchor=row_anchor(dataset, model),
            state=cell["verdict"]["state"],
            kept_verdicts=kept_verdicts,
        )


def row_anchor(dataset: str, model: str) -> str:
    """Id of a row of Table 1, in the column of a data set."""
    return f"row-{dataset}-{model}"


def _ordering_badges(
    table: Traced, dataset: str, references: Mapping[str, Traced]
) -> Iterator[ClaimBadge]:
    """The orders of the rows of one data set."""
    for ordering in table["orderings"]:
        if ordering["dataset"] == dataset:
            kept_verdicts = _kept_orderings(references, ordering["claim"])
            yield ClaimBadge(
                name="Order of the rows",
                anchor=f"order-{dataset}",
                state=ordering["verdict"]["state"],
                kept_verdicts=list(kept_verdicts),
            )


def _kept_orderings(references: Mapping[str, Traced], claim: str) -> Iterator[tuple[str, str]]:
    """The kept runs that attempted an ordering: folder and state."""
    for folder, table in references.items():
        for ordering in table["orderings"]:
            state = ordering["verdict"]["state"]
            # A kept run of some rows alone has the orders of all, most of them not attempted.
            if ordering["claim"] == claim and state != "not attempted":
                yield _kept_folder(folder), state


def _statement_badge(name: str, card: StatementCard) -> ClaimBadge:
    kept_verdicts = []
    for reference in card.full_forms:
        folder = _kept_folder(f"statements/{reference.name}")
        kept_verdicts.append((folder, reference.statement["state"]))
    statement = card.statement
    anchor = f"statement-{statement['statement']}"
    return ClaimBadge(name, anchor, statement["state"], kept_verdicts)


def claim_map(
    table: Traced,
    cards: Sequence[StatementCard],
    references: Mapping[str, Traced],
    results: ResultFolder,
) -> list[Group]:
    """Every claim, in the paper's order.

    Args:
        table: `table1.json` of this run.
        cards: the statements; one without a name here comes last, under its own id.
        references: folder below `results/reference` -> the `table1.json` that is kept there.
        results: the folder of all results.
    """
    unplaced = {card.statement["statement"]: card for card in cards}

    def statement_groups(parts: Mapping[str, Mapping[str, str]]) -> Iterator[Group]:
        for title, names in parts.items():
            badges = []
            for statement, name in names.items():
                # A protocol of another version may not have it.
                if statement in unplaced:
                    badges.append(_statement_badge(name, unplaced.pop(statement)))
            yield Group(title, badges)

    groups = list(statement_groups(BEFORE_TABLE_1))
    for dataset in table["datasets"]:
        name = dataset["name"]
        badges = list(_cell_badges(table, name, references, results))
        badges += _ordering_badges(table, name, references)
        groups.append(Group(f"Table 1: {dataset['title']}", badges))
    groups += statement_groups(AFTER_TABLE_1)
    unnamed = [_statement_badge(statement, card) for statement, card in unplaced.items()]
    # A statement that a new protocol adds is shown before anybody has named it here.
    groups.append(Group("Others", unnamed))
    # The paper has no number on digits, so their column has no claim.
    return [group for group in groups if group.badges]
