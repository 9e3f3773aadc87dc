"""Counts the verdicts of one claim over all analyses, and what a single choice changes."""

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from replicate.multiverse.choices import Alternatives, Analysis
from replicate.records.schema import MultiverseCounts, MultiverseFlip, VerdictState


class Claim(Protocol):
    """What can be judged under many analyses.

    Attributes:
        alternatives: choice -> what may be chosen, the protocol's first.
    """

    alternatives: Alternatives

    def state(self, analysis: Analysis) -> VerdictState | None:
        """The verdict of one analysis; None where its choices do not go together."""


def analyses(alternatives: Alternatives) -> Iterator[Analysis]:
    """Every combination of choices; the first one is the protocol's own analysis."""
    for chosen in itertools.product(*alternatives.values()):
        yield dict(zip(alternatives, chosen, strict=True))


def protocol_analysis(alternatives: Alternatives) -> Analysis:
    """The protocol's own analysis."""
    return {choice: named[0] for choice, named in alternatives.items()}


def counted(claim: Claim) -> MultiverseCounts:
    """How many analyses end in each verdict, and which single choice leads to another one."""
    counts: Counter[VerdictState] = Counter()
    for analysis in analyses(claim.alternatives):
        state = claim.state(analysis)
        # Combinations that do not go together are no analyses, and no share is of them.
        if state is not None:
            counts[state] += 1
    # Judged anew and not read from the file, so that all verdicts come from one piece of code.
    own_state = claim.state(protocol_analysis(claim.alternatives))
    assert own_state is not None
    return {
        "state": own_state,
        "analyses": counts.total(),
        "agreeing": counts[own_state],
        "states": {str(state): count for state, count in counts.most_common()},
        "flips": list(_flips(claim, own_state)),
    }


def _flips(claim: Claim, own_state: VerdictState) -> Iterator[MultiverseFlip]:
    """The single choices that lead away from the verdict of the protocol's own analysis."""
    protocol = protocol_analysis(claim.alternatives)
    for choice, named in claim.alternatives.items():
        # The first one is the protocol's own, which leads away from nothing.
        for alternative in named[1:]:
            state = claim.state({**protocol, choice: alternative})
            if state is not None and state != own_state:
                yield {"choice": choice, "option": alternative.title, "state": state}
