"""What the run found of Table 1, in words for the first sentence of the page."""

from collections.abc import Iterator
from typing import Any

from replicate.traced import Traced

#: Verdict states in the order in which the summary tells them, with the words that lead to the claims.
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
DENIALS = frozenset({"not replicated", "inconclusive", "not applicable", "no published value", "not attempted"})


def claims(table: Traced) -> Iterator[dict[str, Any]]:
    """Every claim of Table 1 in the paper's order: data set by data set, row by row."""
    for dataset in table["datasets"]:
        for row in table["rows"]:
            if dataset["name"] in row["cells"] and row["cells"][dataset["name"]]["claim"] is not None:
                yield {"dataset": dataset, "row": row, "verdict": row["cells"][dataset["name"]]["verdict"]}


def outcome(table: Traced) -> list[dict[str, Any]]:
    """What the run found, one entry a verdict state: the words, and the claims with that state.

    A data set whose rows all have the same state is told as one.
    """
    by_state: dict[str, list[str]] = {}
    for dataset in table["datasets"]:
        of_set = [claim for claim in claims(table) if claim["dataset"]["name"] == dataset["name"]]
        states = {claim["verdict"]["state"] for claim in of_set}
        if len(of_set) > 1 and len(states) == 1:
            state = states.pop()
            extent = "any" if state in DENIALS else "every"
            by_state.setdefault(state, []).append(f"{extent} row on {dataset['title']}")
        else:
            for claim in of_set:
                name = f"{claim['row']['title']} on {dataset['title']}"
                by_state.setdefault(claim["verdict"]["state"], []).append(name)
    return [
        {"state": state, "opening": words, "names": by_state[state], "last": "or" if state in DENIALS else "and"}
        for state, words in OPENINGS.items()
        if state in by_state
    ]


def rank(state: str) -> int:
    """The place of a verdict among all, for sorting."""
    return list(OPENINGS).index(state)
