"""A published value of Table 1 under every analysis that its kept numbers allow.

The protocol's own analysis is the first: by the same tests as `replicate.verdicts` it gives the
verdict that the table has.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from replicate.multiverse.choices import (
    Alternative,
    Alternatives,
    Analysis,
    Options,
    alternatives,
    chosen_seeds,
    subsets_of_seeds,
)
from replicate.multiverse.significance import sceptical_p
from replicate.records.schema import MeasuredCell, PublishedValue, VerdictState
from replicate.verdicts.protocol import Equivalence, Protocol
from replicate.verdicts.statistics import (
    Difference,
    Published,
    simultaneous,
    standard_deviation,
    state_of,
    welch,
)
from replicate.verdicts.table1_verdicts import (
    estimate_deviation,
    sampler_deviation,
    unsettled,
)

#: Names of the options of epoch, bandwidth and sampler -> log-likelihood of every seed, nats.
Values = Mapping[tuple[str, str, str], Sequence[float]]
#: A squared standard error, nats squared, and its degrees of freedom; None for infinitely many.
Error = tuple[float, float | None]


@dataclass(frozen=True)
class NumberContext:
    """What a published value is judged by, beside the values of its seeds.

    Attributes:
        claim: its name.
        rule: its entry in the protocol.
        protocol: all rules.
        published: its row of Table 1.
        nearest: published value of the nearest other row of its column, nats.
        together: published values of the data set that the run measured.
        pooled: variance over seeds pooled over the rows of the data set, and its degrees of
            freedom; None where no row has two seeds.
    """

    claim: str
    rule: Equivalence
    protocol: Protocol
    published: PublishedValue
    nearest: float
    together: int
    pooled: tuple[float, int] | None


class NumberClaim:
    """A published value, and what a run measured for it.

    Args:
        cell: of the run's table.
        values: of every seed that did not fail, by what the kept files hold.
        context: what it is judged by.
        options: `number` of choices.yaml.
    """

    def __init__(
        self,
        cell: MeasuredCell,
        values: Values,
        context: NumberContext,
        options: Mapping[str, Options],
    ) -> None:
        self._cell = cell
        self._values = values
        self._context = context
        rule = context.rule
        _, _, model = context.claim.rpartition("/")
        protocol = context.protocol
        self._deviation = estimate_deviation(cell, protocol.estimates[rule.dataset])
        self._deviation = self._deviation or sampler_deviation(cell, model, protocol.samplers)
        # By the protocol's own tests, whatever else is chosen.
        self._unsettled = unsettled(cell, context.claim, context.published, protocol)
        self._is_small = len(cell["per_seed"]) < max(rule.minimum_seeds, 2)
        self.alternatives = self._alternatives(options)
        # What decides whether a test may speak does not change what it says.
        self._tested = functools.cache(self._test)

    def _alternatives(self, options: Mapping[str, Options]) -> Alternatives:
        """The options that apply to the row: those that its kept files hold, and lead elsewhere."""
        labels = [f"seed {seed['seed']}" for seed in self._cell["per_seed"]]
        chosen = {choice: alternatives(named) for choice, named in options.items()}
        chosen["seeds"] = subsets_of_seeds(options["seeds"], labels)
        for place, choice in enumerate(("epoch", "bandwidth", "sampler")):
            names = {key[place] for key in self._values}
            chosen[choice] = [option for option in chosen[choice] if option.name in names]
        absent_errors = set()
        if self._context.pooled is None:
            # Where no row has two seeds there is nothing to pool.
            absent_errors.add("pooled")
        if self._context.published["uncertainty_over"] != "test images":
            # Of several folds ours is that of one fold's mean, and the paper prints another one.
            absent_errors.add("test_images")
        chosen["error"] = [error for error in chosen["error"] if error.name not in absent_errors]
        # A choice that changes nothing would count every analysis twice.
        if self._unsettled is None:
            del chosen["rising"]
        if self._deviation is None:
            del chosen["deviation"]
        if not self._is_small:
            del chosen["minimum"]
        return {choice: named for choice, named in chosen.items() if len(named) > 1}

    def state(self, analysis: Analysis) -> VerdictState | None:
        """The verdict of one analysis; None where its choices do not go together."""
        if not self._is_possible(analysis):
            return None
        if self._deviation and _name(analysis, "deviation") == "withheld":
            return "withheld"
        # As in the protocol: the seeds that survived are no fair sample, whatever the test.
        if self._cell["failed"]:
            return "inconclusive"
        values = self._seeds(analysis)
        if len(values) < self._fewest(analysis):
            return "withheld"
        tested = self._tested(
            values,
            _name(analysis, "error"),
            _name(analysis, "rule"),
            analysis["margin"],
            analysis["level"],
        )
        held_back = self._unsettled
        if held_back is None or _name(analysis, "rising") != "withheld":
            return tested
        if held_back.exceeds_stands and tested == "exceeds":
            return tested
        return "withheld"

    def _is_possible(self, analysis: Analysis) -> bool:
        """Whether the choices go together, and are not another analysis by other names."""
        if self._key(analysis) not in self._values:
            return False
        # Of one value there is no "all together" that differs from it alone.
        if _name(analysis, "level") == "together" and self._context.together == 1:
            return False
        rule, error = _name(analysis, "rule"), _name(analysis, "error")
        # Only the equivalence test has a margin.
        if rule != "equivalence" and _name(analysis, "margin") != "claim":
            return False
        # One more run has no interval without a spread over runs.
        if rule == "prediction" and error == "test_images":
            return False
        # The published error is the original's alone there.
        return not (rule == "sceptical" and error == "ours_alone")

    @staticmethod
    def _key(analysis: Analysis) -> tuple[str, str, str]:
        return (
            _name(analysis, "epoch", "chosen"),
            _name(analysis, "bandwidth", "coarse"),
            _name(analysis, "sampler", "published"),
        )

    def _seeds(self, analysis: Analysis) -> tuple[float, ...]:
        """The log-likelihood of the seeds that an analysis counts, nats."""
        values = self._values[self._key(analysis)]
        if "seeds" not in analysis:
            return tuple(values)
        return tuple(chosen_seeds(values, analysis["seeds"]))

    def _fewest(self, analysis: Analysis) -> int:
        """Seeds without which there is no verdict."""
        # The protocol asks how many a run has; another analyst may still look at some of them.
        if self._is_small and _name(analysis, "minimum") == "protocol":
            return self._context.rule.minimum_seeds
        # These errors do not come from the spread of the seeds that are counted.
        if _name(analysis, "error") in ("pooled", "test_images"):
            return 1
        return 2

    def _error(self, values: Sequence[float], name: str) -> Error:
        """Our squared standard error."""
        count = len(values)
        if name == "test_images":
            # All seeds share the test images, so that more seeds do not lower it.
            errors = [seed["standard_error"] for seed in self._cell["per_seed"]]
            known = [error for error in errors if error is not None]
            return float(np.mean(known)) ** 2, None
        if name == "pooled":
            assert self._context.pooled is not None
            variance, degrees = self._context.pooled
            return variance / count, degrees
        spread = standard_deviation(values)
        assert spread is not None
        return spread**2 / count, count - 1

    def _test(
        self,
        values: tuple[float, ...],
        error: str,
        rule: str,
        margin: Alternative,
        level: Alternative,
    ) -> VerdictState:
        """What a rule says of the values of some seeds."""
        ours = self._error(values, error)
        row = self._context.published
        mean = float(np.mean(values))
        assert level.value is not None
        rate = level.value
        if level.name == "together":
            rate = 1 - simultaneous(1 - rate, self._context.together)
        if rule == "sceptical":
            return self._sceptical(mean, math.sqrt(ours[0]), rate)
        published = Published(
            row["log_likelihood"], row["standard_error"], self._context.rule.original_df
        )
        terms = [ours]
        if error != "ours_alone":
            terms.append((published.standard_error**2, published.degrees))
        gap = welch(mean - published.value, terms)
        if rule == "equivalence":
            width = self._margin(margin)
            return state_of(gap.interval(1 - 2 * rate), gap.interval(1 - rate), width)
        if rule == "prediction":
            gap = _of_one_run(gap, ours, len(values))
        return _state_by_interval(gap, 1 - rate)

    def _margin(self, margin: Alternative) -> float:
        """An equivalence margin, nats."""
        rule = self._context.rule
        if margin.value is None:
            return rule.number_margin
        return margin.value * rule.claim_margin

    def _sceptical(self, mean: float, error: float, rate: float) -> VerdictState:
        """Whether both studies show the gap to the nearest other row."""
        row = self._context.published
        nearest = self._context.nearest
        # The gap to the nearest row, because that is what the paper's table claims to show.
        p = sceptical_p(
            row["log_likelihood"] - nearest, row["standard_error"], mean - nearest, error
        )
        if p <= rate:
            return "replicated"
        # Half of it for the other side, as denying is two-sided in the protocol.
        if p >= 1 - rate / 2:
            return "not replicated"
        return "inconclusive"


def _name(analysis: Analysis, choice: str, otherwise: str = "") -> str:
    """The name of what an analysis chooses."""
    if choice not in analysis:
        return otherwise
    return analysis[choice].name


def _of_one_run(gap: Difference, ours: Error, count: int) -> Difference:
    """The difference with the error of one more run instead of that of the mean.

    Protocol, section 5: the spread of one more seed joins that of the mean which predicts it.
    """
    squared_error, degrees = ours
    variance = gap.error**2 + squared_error * count
    return Difference(gap.value, math.sqrt(variance), degrees or math.inf)


def _state_by_interval(gap: Difference, level: float) -> VerdictState:
    """Replicated where the interval of the difference has 0 in it; else by its side."""
    low, high = gap.interval(level)
    if low > 0:
        return "exceeds"
    if high < 0:
        return "not replicated"
    return "replicated"
