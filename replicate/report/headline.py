"""What became of the values of Table 1, in words for the beginning of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from replicate.report.answer import TableColumn

#: Verdict states in the order in which the summary tells them, with the words that lead to the
#: claims.
OPENINGS = {
    "replicated": "replicated",
    "exceeds": "exceeds the published value of",
    "not inferior": "does not fall short of the published value of",
    "not replicated": "did not replicate",
    "inconclusive": "could not decide on",
    "withheld": "withholds its verdict on",
    "not applicable": "cannot be applied to",
    "no published value": "has no published value for",
    "not attempted": "did not attempt",
}
#: States whose words deny something: "did not attempt any row on X or on Y".
DENIALS = frozenset(
    {"not replicated", "inconclusive", "not applicable", "no published value", "not attempted"}
)


@dataclass(frozen=True)
class Clause:
    """What the headline says of the cells with one verdict state.

    Attributes:
        state: of the verdict.
        opening: the words that lead to the names.
        names: of the cells.
        last: the word before the last name.
    """

    state: str
    opening: str
    names: list[str]
    last: str


def headline(columns: Sequence[TableColumn]) -> list[Clause]:
    """What became of the published values, one clause a verdict state.

    A data set whose rows all have the same state is named as one.
    """
    names: dict[str, list[str]] = {}
    for column in columns:
        titles: dict[str, list[str]] = {}
        for row in column.rows:
            titles.setdefault(row.verdict["state"], []).append(row.title)
        for state, of_state in titles.items():
            is_whole_column = len(of_state) == len(column.rows) > 1
            # One row alone is named by its title.
            extent = _of_all_rows(state) if is_whole_column else _together(of_state, state)
            place = "of" if is_whole_column else "on"
            names.setdefault(state, []).append(f"{extent} {place} {column.title}")
    clauses = []
    # By the order of the openings: what replicated comes before what did not.
    for state, opening in OPENINGS.items():
        if state in names:
            clauses.append(Clause(state, opening, names[state], _last_word(state)))
    return clauses


def _last_word(state: str) -> str:
    """The word before the last of several names."""
    return "or" if state in DENIALS else "and"


def _of_all_rows(state: str) -> str:
    # "did not attempt every row" would mean that it attempted some.
    return "any row" if state in DENIALS else "every row"


def _together(titles: Sequence[str], state: str) -> str:
    """Titles of one data set, which is named once after them."""
    *others, last = titles
    if not others:
        return last
    return f"{', '.join(others)} {_last_word(state)} {last}"


def rank(state: str) -> int:
    """The place of a verdict among all, for sorting."""
    order = list(OPENINGS)
    return order.index(state)
