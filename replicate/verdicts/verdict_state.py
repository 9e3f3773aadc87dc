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


def fewest_to_decide(alone: Iterable[int | None], together: Iterable[int | None]) -> int | None:
    """The seeds that would decide a claim of several tests; None where no number does.

    Args:
        alone: seeds that each undecided test needs which decides the claim by itself.
        together: seeds that each undecided test needs, those of `alone` among them.
    """
    known = [count for count in alone if count is not None]
    # One of these is enough, however many seeds the others take.
    if known:
        return min(known)
    return _most_needed(together)


def _most_needed(counts: Iterable[int | None]) -> int | None:
    """The seeds that would decide all of several tests; None where one of them needs too many."""
    most = 0
    for count in counts:
        # One test that no number of seeds decides leaves them all undecided.
        if count is None:
            return None
        most = max(most, count)
    return most
