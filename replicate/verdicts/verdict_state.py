"""What a rule of the protocol decides: a state, the reason in words, and the seeds needed."""

from collections.abc import Iterable
from typing import NamedTuple

from replicate.records.schema import VerdictState


class Decision(NamedTuple):
    """The state of a verdict, and why.

    `seeds_needed` is the fewest seeds that would decide, where it is inconclusive and enough seeds
    would.
    """

    state: VerdictState
    reason: str
    seeds_needed: int | None = None


def most_needed(counts: Iterable[int | None]) -> int | None:
    """The seeds that would decide all of several tests; None where one of them needs too many."""
    most = 0
    for count in counts:
        # One test that no number of seeds decides leaves them all undecided.
        if count is None:
            return None
        most = max(most, count)
    return most
