"""What the paper says in words under every analysis that its kept numbers allow.

A statement is judged again from the checks that a run's `statements.json` has, with the thresholds
that stand there: those of the rule that judged the run.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from replicate.multiverse.choices import (
    Alternative,
    Alternatives,
    Analysis,
    Options,
    alternatives,
    chosen_seeds,
    subsets_of_seeds,
    without_each,
)
from replicate.multiverse.significance import sceptical_p, sign_test, signed_rank_test
from replicate.records.schema import CheckVerdict, StatementVerdict, VerdictState
from replicate.verdicts.statistics import simultaneous, standard_deviation

#: States of checks from the best to the worst: the worst one is the statement's, or the best where
#: one check is enough.
STATES: tuple[VerdictState, ...] = ("replicated", "inconclusive", "not replicated")
#: One-sided p-values of "it lies on its side" and of "it lies on the other side".
PValues = tuple[float, float]
ALL_SEEDS = Alternative("all", "all seeds")


@dataclass(frozen=True)
class Level:
    """How sure a test has to be.

    Attributes:
        affirming: one-sided error rate of "it lies on its side".
        denying: that of "it lies on the other side", for all checks together (two-sided in the
            protocol, so half of what it names). Where one check is enough, it is the other way
            round.
    """

    affirming: float
    denying: float

    @classmethod
    def of(cls, level: Alternative | None, comparisons: int, asks_for: str) -> "Level":
        """The rates of an option, for a statement with some checks over seeds.

        None is for exact checks alone, which have no chance in them.
        """
        if level is None:
            return cls(0.0, 0.0)
        assert level.value is not None
        rate = level.value
        # Denying takes one check of several, so each has to be surer; affirming takes all of them.
        each = 1 - simultaneous(1 - rate, comparisons)
        of_one = each if level.name == "together" else rate
        if asks_for == "any":
            return cls(affirming=each / 2, denying=of_one)
        return cls(affirming=of_one, denying=each / 2)


@dataclass(frozen=True)
class CheckValues:
    """One check: its rule, and its numbers.

    Attributes:
        sign: 1 if they must be large, -1 if small.
        threshold: of the rule.
        is_exact: whether it is one number, and not one a seed.
        exact: that number; None where it is not known.
        seeds: one number a seed.
        earlier: the numbers of a run with other seeds; None without one.
    """

    sign: int
    threshold: float
    is_exact: bool
    exact: float | None
    seeds: tuple[float, ...]
    earlier: tuple[float, ...] | None

    @classmethod
    def of(cls, check: CheckVerdict, partner: CheckVerdict | None) -> "CheckValues":
        """A check of a run, and the same of another run by the same rule."""
        # With the sign every test asks for numbers above the threshold, whatever the rule's side.
        sign = -1 if check["side"] == "below" else 1
        is_exact = check["exact"]
        exact = check["value"] if is_exact else None
        earlier = _numbers(partner) if partner is not None else None
        return cls(sign, check["threshold"], is_exact, exact, _numbers(check), earlier)

    def chosen(self, subset: Alternative) -> list[float]:
        """The numbers of some seeds."""
        if subset.name == "both_runs":
            return [*self.seeds, *(self.earlier or ())]
        return chosen_seeds(self.seeds, subset)

    def p_values(self, test: str, subset: Alternative, difficulty: float) -> PValues:
        """What a test says of some seeds; of an exact check 0 and 1, by its number."""
        threshold = moved(self.threshold, self.sign, difficulty)
        if self.is_exact and self.exact is None:
            # Neither side is shown.
            return 1.0, 1.0
        if self.exact is not None:
            passes = self.sign * (self.exact - threshold) > 0
            return (0.0, 1.0) if passes else (1.0, 0.0)
        distances = [self.sign * (value - threshold) for value in self.chosen(subset)]
        if test == "sceptical":
            assert self.earlier is not None
            earlier = [self.sign * (value - threshold) for value in self.earlier]
            return _sceptical(earlier, distances)
        return TESTS[test](distances)


def _numbers(check: CheckVerdict) -> tuple[float, ...]:
    """The values of the seeds that did not fail."""
    values = check["per_seed"] or []
    return tuple(value for value in values if value is not None)


def moved(threshold: float, sign: int, difficulty: float) -> float:
    """A threshold that is harder to pass by a factor, or easier where it is below 1.

    The size changes by the factor; between 0 and 1 the odds do, so that a share stays a share. A
    threshold of 0 stays.
    """
    size = abs(threshold)
    # Above -11 is the easier, the larger the size; above 11 the harder.
    factor = difficulty if sign * threshold > 0 else 1 / difficulty
    if size < 1:
        odds = factor * size
        return math.copysign(odds / (1 - size + odds), threshold)
    return factor * threshold


def _state(p_values: PValues, level: Level) -> int:
    """Index in `STATES`."""
    above, below = p_values
    if above <= level.affirming:
        return 0
    if below <= level.denying:
        return 2
    return 1


def _mean_and_error(distances: Sequence[float]) -> tuple[float, float]:
    spread = standard_deviation(distances) or 0.0
    return float(np.mean(distances)), spread / math.sqrt(len(distances))


def _by_student(value: float, error: float, degrees: int) -> PValues:
    """P-values of Student's t; where nothing varies, the sign decides."""
    # Student's t has no value there: the distance itself says on which side all seeds lie.
    if error == 0:
        return float(value <= 0), float(value >= 0)
    above = float(special.stdtr(degrees, -value / error))
    return above, 1 - above


def _student(distances: Sequence[float]) -> PValues:
    """The protocol's own test."""
    value, error = _mean_and_error(distances)
    return _by_student(value, error, len(distances) - 1)


def _prediction(distances: Sequence[float]) -> PValues:
    """Of one more seed: the t test with the spread of a seed added."""
    value, error = _mean_and_error(distances)
    # The error of a mean is s / sqrt n, that of one more seed s sqrt(1 + 1/n).
    error_of_one = error * math.sqrt(len(distances) + 1)
    return _by_student(value, error_of_one, len(distances) - 1)


def _sceptical(earlier: Sequence[float], distances: Sequence[float]) -> PValues:
    """The sceptical p-value of two runs, the one with other seeds as the original."""
    original = _mean_and_error(earlier)
    replication = _mean_and_error(distances)
    p = sceptical_p(*original, *replication)
    original_value, _ = original
    # A success on the other side denies; a failure there affirms nothing.
    if original_value < 0:
        return 1.0, p
    return p, 1 - p


TESTS = {
    "student": _student,
    "signed_rank": signed_rank_test,
    "sign": sign_test,
    "prediction": _prediction,
}


class StatementClaim:
    """A statement, and what a run measured for it.

    Args:
        statement: its entry in the run's `statements.json`.
        partner: the same of a run with other seeds, by the same rule and the same settings.
        minimum_seeds: of the protocol.
        options: `statement` of choices.yaml.
    """

    def __init__(
        self,
        statement: StatementVerdict,
        partner: StatementVerdict | None,
        minimum_seeds: int,
        options: Mapping[str, Options],
    ) -> None:
        checks = statement["checks"]
        partners: dict[str, CheckVerdict] = {}
        if partner is not None:
            # By what they measure: a rule whose checks stand in another order is the same rule.
            partners = {check["reads"]: check for check in partner["checks"]}
        self._checks = [CheckValues.of(check, partners.get(check["reads"])) for check in checks]
        self._comparisons = sum(not check["exact"] for check in checks)
        self._asks_for = statement.get("asks_for", "all")
        counts = [len(check.seeds) for check in self._checks if not check.is_exact]
        self._seed_count = max(counts, default=0)
        # Below two seeds there is no spread, whatever the protocol asks for.
        self._is_small = self._seed_count < max(minimum_seeds, 2)
        self._failed = any(None in (check["per_seed"] or []) for check in checks)
        self.alternatives = self._alternatives(options, statement, partner is not None)
        self._asked_for: dict[int | None, tuple[list[int], list[int]]] = {None: self._indices(None)}
        for index in range(len(checks)):
            self._asked_for[index] = self._indices(index)
        # Most analyses share their tests: what differs is the level, or which checks count.
        self._p_values = functools.cache(self._p_values_of)
        self._level = functools.cache(Level.of)
        self._count = functools.cache(self._count_of)

    def _alternatives(
        self, options: Mapping[str, Options], statement: StatementVerdict, has_partner: bool
    ) -> Alternatives:
        """The options that apply: exact checks have no seeds, and thresholds of 0 do not move."""
        chosen = {choice: alternatives(named) for choice, named in options.items()}
        labels = [f"the check “{check['reads']}”" for check in statement["checks"]]
        chosen["checks"] = alternatives(options["checks"], ["all"])
        if len(labels) > 1:
            chosen["checks"] += without_each(labels)
        unit = statement.get("over", "seeds").removesuffix("s")
        count = self._seed_count
        numbered = [f"{unit} {k + 1} of {count}" for k in range(count)]
        chosen["seeds"] = subsets_of_seeds(options["seeds"], numbered)
        if has_partner and self._comparisons:
            chosen["seeds"] += alternatives(options["seeds"], ["both_runs"])
        else:
            # The sceptic weighs a replication against an original: without a second run there is
            # none.
            chosen["test"] = [test for test in chosen["test"] if test.name != "sceptical"]
        # An exact check has one number: tests, levels and seeds mean nothing for it.
        if not self._comparisons:
            for choice in ("test", "level", "seeds", "minimum"):
                del chosen[choice]
        elif not self._is_small:
            del chosen["minimum"]
        if all(check.threshold == 0 for check in self._checks):
            del chosen["thresholds"]
        # A choice with one option is none, and would multiply nothing but the listing.
        return {choice: named for choice, named in chosen.items() if len(named) > 1}

    def state(self, analysis: Analysis) -> VerdictState | None:
        """The verdict of one analysis; None where its choices do not go together."""
        test = analysis["test"].name if "test" in analysis else "student"
        subset = analysis.get("seeds", ALL_SEEDS)
        # Both runs as one set leave no second run for the sceptic.
        if test == "sceptical" and subset.name == "both_runs":
            return None
        exact, tested = self._asked_for[_index(analysis, "checks")]
        if self._repeats_another(analysis, exact, tested):
            return None
        level = self._level(analysis.get("level"), len(tested), self._asks_for)
        # Nobody takes a test by which so few seeds can decide in one direction at most.
        if test in ("signed_rank", "sign") and tested:
            # All n on one side: the smallest p-value that a test by signs or ranks can give.
            smallest_p = 0.5 ** self._count(subset)
            if smallest_p > min(level.affirming, level.denying):
                return None
        difficulty = _value(analysis, "thresholds")

        def states(checks: Sequence[int]) -> list[int]:
            """Indices of the states of some checks."""
            found = []
            for index in checks:
                p_values = self._p_values(index, test, subset, difficulty)
                found.append(_state(p_values, level))
            return found

        # An identity that does not hold is wrong whatever the seeds say.
        worst = STATES[max(states(exact), default=0)]
        if worst != "replicated":
            return worst
        if not tested:
            return "replicated"
        obstacle = self._obstacle(analysis)
        if obstacle is not None:
            return obstacle
        decisive = min if self._asks_for == "any" else max
        return STATES[decisive(states(tested))]

    def _repeats_another(
        self, analysis: Analysis, exact: Sequence[int], tested: Sequence[int]
    ) -> bool:
        """Whether an option other than the protocol's changes nothing for the checks that count.

        It would count one analysis several times, by other names.
        """
        idle_choices: set[str] = set()
        if not tested:
            idle_choices |= {"test", "level", "seeds", "minimum"}
        # Of one check there is no "all together" that differs from it alone.
        if len(tested) == 1 and "level" in analysis and analysis["level"].name == "together":
            idle_choices.add("level")
        if all(self._checks[index].threshold == 0 for index in (*exact, *tested)):
            idle_choices.add("thresholds")
        for choice in idle_choices & analysis.keys():
            if analysis[choice] != self.alternatives[choice][0]:
                return True
        return False

    def _indices(self, left_out: int | None) -> tuple[list[int], list[int]]:
        """The exact checks and those over seeds, without one that is left out."""
        exact: list[int] = []
        tested: list[int] = []
        for index, check in enumerate(self._checks):
            if index == left_out:
                continue
            kind = exact if check.is_exact else tested
            kind.append(index)
        return exact, tested

    def _obstacle(self, analysis: Analysis) -> VerdictState | None:
        """Why no test may decide; None where one may."""
        # A failed seed stands for values that nobody knows, as in the protocol (section 6).
        if self._failed:
            return "inconclusive"
        # The protocol asks how many seeds a run has; another analyst may look at some of them.
        if self._is_small and analysis["minimum"].name == "protocol":
            return "withheld"
        if self._seed_count < 2:
            return "withheld"
        return None

    def _count_of(self, subset: Alternative) -> int:
        """How many seeds a subset has."""
        (check, *_) = [check for check in self._checks if not check.is_exact]
        return len(check.chosen(subset))

    def _p_values_of(
        self, index: int, test: str, subset: Alternative, difficulty: float
    ) -> PValues:
        return self._checks[index].p_values(test, subset, difficulty)


def _index(analysis: Analysis, choice: str) -> int | None:
    """The index of what an analysis leaves out; None where it leaves out nothing."""
    option = analysis.get(choice)
    if option is None or option.value is None:
        return None
    return int(option.value)


def _value(analysis: Analysis, choice: str) -> float:
    """The factor that an analysis chooses; 1 where there is nothing to choose."""
    option = analysis.get(choice)
    if option is None or option.value is None:
        return 1.0
    return option.value
