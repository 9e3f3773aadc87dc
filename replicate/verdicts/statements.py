"""Verdicts on what the paper states in words beside Table 1, by the rules of protocol.yaml.

A statement is decided by the checks that its entry names (docs/protocol.md, section 6): an exact
check by its number, any other by a one-sided test on its mean over seeds.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

from replicate.errors import ReplicateError
from replicate.records.schema import CheckVerdict, ExperimentResult, StatementVerdict, VerdictState
from replicate.verdicts.protocol import Check, Protocol, Statement
from replicate.verdicts.statistics import (
    Difference,
    fewest_seeds,
    mean_over_seeds,
    ordering_of,
    simultaneous,
    standard_deviation,
)
from replicate.verdicts.verdict_state import Decision, fewest_to_decide

#: Statement -> (name of the file, result of the stage `experiment`).
Results = Mapping[str, tuple[str, ExperimentResult]]


def _above_threshold(values: Sequence[float], check: Check) -> Difference:
    """The mean over seeds less the threshold, with the sign that makes the wanted side positive."""
    count = len(values)
    mean = mean_over_seeds(values)
    spread = standard_deviation(values) or 0.0
    # Turned so that large is good: one test serves `above` and `below`.
    distance = check.sign * (mean - check.threshold)
    error = spread / math.sqrt(count)
    # A threshold is a number without error, so these are Student's degrees of freedom.
    return Difference(distance, error, count - 1)


def _interval(values: Sequence[float], check: Check, level: float) -> list[float]:
    """Student's t interval of the mean over seeds."""
    gap = _above_threshold(values, check)
    # Back from distances to values; where small is good, that turns the bounds round.
    bounds = [check.threshold + check.sign * bound for bound in gap.interval(level)]
    return sorted(bounds)


#: The verdict on the opposite.
_OPPOSITE: Mapping[VerdictState, VerdictState] = {
    "replicated": "not replicated",
    "not replicated": "replicated",
    "inconclusive": "inconclusive",
}


def _state_of(gap: Difference, comparisons: int, asks_for: str) -> VerdictState:
    """The verdict on "it lies on its side", from the distance to the threshold.

    Args:
        gap: positive on the wanted side.
        comparisons: checks of the statement that are tested.
        asks_for: of the statement. Where one check is enough to affirm it, errors add up there and
            not where all deny: the mirror image of one that asks for all.
    """
    if asks_for == "all":
        return ordering_of(gap, comparisons)
    opposite = Difference(-gap.value, gap.error, gap.degrees)
    return _OPPOSITE[ordering_of(opposite, comparisons)]


def seeds_to_decide(
    values: Sequence[float], check: Check, comparisons: int, asks_for: str = "all"
) -> int | None:
    """The fewest seeds that would decide if mean and spread stayed; None if 1,000 are too few."""
    distance = _above_threshold(values, check).value
    spread = standard_deviation(values) or 0.0

    def state(count: int) -> VerdictState:
        error = spread / math.sqrt(count)
        gap = Difference(distance, error, count - 1)
        return _state_of(gap, comparisons, asks_for)

    return fewest_seeds(len(values), state)


def check_verdict(
    check: Check,
    value: float | Sequence[float | None] | None,
    comparisons: int,
    asks_for: str = "all",
) -> CheckVerdict:
    """One check with its number or numbers, intervals and state; null where it has none.

    Args:
        check: its rule.
        value: the number of an exact check, None where all seeds failed that it is of; otherwise
            one of each seed, None where it failed.
        comparisons: checks of the statement that are tested, for the simultaneous interval.
        asks_for: of the statement, `all` or `any`.

    Raises:
        ReplicateError: an exact check has several numbers, or another has one.
    """
    verdict: CheckVerdict = {
        "reads": check.reads,
        "exact": check.exact,
        "side": "below" if check.sign < 0 else "above",
        "threshold": check.threshold,
        "value": None,
        "per_seed": None,
        "sd_over_seeds": None,
        "ci90": None,
        "ci95": None,
        "ci95_simultaneous": None,
        "state": None,
        "seeds_needed": None,
    }
    is_single = not isinstance(value, Sequence)
    # A result of an earlier version may have measured another kind of check by this name.
    if check.exact != is_single:
        negation = "" if check.exact else "not "
        raise ReplicateError(
            f"the check {check.reads!r} is {negation}exact; run `experiment` again."
        )
    if isinstance(value, Sequence):
        _test_over_seeds(verdict, check, value, comparisons, asks_for)
        return verdict
    verdict["value"] = value
    if value is None:
        return verdict
    verdict["state"] = "not replicated"
    distance = check.sign * (value - check.threshold)
    # An exact number at its threshold does not pass: both sides are strict.
    if distance > 0:
        verdict["state"] = "replicated"
    return verdict


def _test_over_seeds(
    verdict: CheckVerdict,
    check: Check,
    per_seed: Sequence[float | None],
    comparisons: int,
    asks_for: str,
) -> None:
    """Fills in what the seeds say: their mean, and from two seeds on intervals and the state."""
    values = [value for value in per_seed if value is not None]
    verdict["per_seed"] = list(per_seed)
    if values:
        verdict["value"] = mean_over_seeds(values)
    # One seed has no spread, and so neither interval nor test.
    if len(values) < 2:
        return
    gap = _above_threshold(values, check)
    state = _state_of(gap, comparisons, asks_for)
    verdict["sd_over_seeds"] = standard_deviation(values)
    verdict["ci90"] = _interval(values, check, 0.90)
    verdict["ci95"] = _interval(values, check, 0.95)
    verdict["ci95_simultaneous"] = _interval(values, check, simultaneous(0.95, comparisons))
    verdict["state"] = state
    if state == "inconclusive":
        verdict["seeds_needed"] = seeds_to_decide(values, check, comparisons, asks_for)


def _decision(rule: Statement, checks: Sequence[CheckVerdict]) -> Decision:
    """The decision on a statement, from its checks together."""
    exact = [check for check in checks if check["exact"]]
    tested = [check for check in checks if not check["exact"]]
    # An identity that does not hold is wrong whatever the seeds say, so it comes first.
    wrong = [check for check in exact if check["state"] == "not replicated"]
    if wrong:
        return Decision("not replicated", f"not so: {_readings(wrong)}")
    unknown = [check for check in exact if check["state"] is None]
    if unknown:
        return Decision(
            "inconclusive", f"every seed failed that is needed for: {_readings(unknown)}"
        )
    if not tested:
        return Decision("replicated", "exact: every number lies where the protocol asks for it")
    obstacle = _lack_of_seeds(rule, tested)
    if obstacle is not None:
        return obstacle
    if rule.asks_for == "any":
        return _any_test(rule, tested)
    return _tests_together(rule, tested)


def _readings(checks: Sequence[CheckVerdict]) -> str:
    """What some checks measure, in words."""
    readings = [check["reads"] for check in checks]
    return "; ".join(readings)


def _lack_of_seeds(rule: Statement, tested: Sequence[CheckVerdict]) -> Decision | None:
    """Why no test may decide: a seed failed, or there are too few; None where one may."""
    seeds = _seeds(tested[0])
    failed = _failed_seeds(tested)
    if failed:
        return Decision(
            "inconclusive",
            f"{failed} of {seeds} {rule.over} failed; "
            f"averaging only surviving {rule.over} would bias the mean",
        )
    # One seed has no spread to test with.
    if seeds < max(rule.minimum_seeds, 2):
        # "seeds" or "trials", less their plural's s.
        unit = rule.over if seeds != 1 else rule.over[:-1]
        return Decision(
            "withheld",
            f"{seeds} {unit}; the protocol asks for {rule.seeds} and decides nothing "
            f"with fewer than {rule.minimum_seeds}",
        )
    return None


def _seeds(check: CheckVerdict) -> int:
    """Seeds of a check that is not exact, with those that failed."""
    per_seed = check["per_seed"] or []
    return len(per_seed)


def _failed_seeds(checks: Sequence[CheckVerdict]) -> int:
    """Seeds without a value in some check: one may fail in one check and not in another."""
    lists = [check["per_seed"] or [] for check in checks]
    # A seed that one check lacks at the end of its list has no value there either.
    of_seeds = itertools.zip_longest(*lists)
    return sum(None in values for values in of_seeds)


def _tests_together(rule: Statement, tested: Sequence[CheckVerdict]) -> Decision:
    """The decision of the tests over seeds, where all seeds are there."""
    # One check that is clearly on the other side denies the statement, however the others lie.
    reversed_checks = [check for check in tested if check["state"] == "not replicated"]
    if reversed_checks:
        return Decision("not replicated", f"the other way round: {_readings(reversed_checks)}")
    undecided = [check for check in tested if check["state"] != "replicated"]
    # All checks must hold, so that the statement as a whole has at most the 5 % of each.
    if not undecided:
        seeds = _seeds(tested[0])
        reason = f"one-sided tests over {seeds} {rule.over}, {len(tested)} at 5 % each"
        return Decision("replicated", reason)
    return _undecided(rule, undecided)


def _any_test(rule: Statement, tested: Sequence[CheckVerdict]) -> Decision:
    """The decision of tests over seeds of which one is enough, where all seeds are there."""
    seeds = f"{_seeds(tested[0])} {rule.over}"
    held = [check for check in tested if check["state"] == "replicated"]
    if held:
        reason = f"so in one check at least, tests over {seeds}, {len(tested)} together at 5 %"
        return Decision("replicated", f"{reason}: {_readings(held)}")
    undecided = [check for check in tested if check["state"] == "inconclusive"]
    if not undecided:
        reason = f"the other way round in every check, one-sided tests over {seeds} at 5 % each"
        return Decision("not replicated", reason)
    return _undecided(rule, undecided)


def _undecided(rule: Statement, undecided: Sequence[CheckVerdict]) -> Decision:
    """The decision where some checks are undecided, with the seeds that would decide.

    Where all checks must hold, one on the other side denies the statement by itself; where one is
    enough, one on its side affirms it.
    """
    decisive_side = 1 if rule.asks_for == "any" else -1
    decisive = [check for check in undecided if decisive_side * _distance(check) > 0]
    alone = [check["seeds_needed"] for check in decisive]
    together = [check["seeds_needed"] for check in undecided]
    needed = fewest_to_decide(alone, together)
    advice = f"no number of {rule.over} up to 1,000 would"
    if needed:
        advice = f"{needed} {rule.over} would decide"
    return Decision("inconclusive", f"undecided: {_readings(undecided)}; {advice}", needed)


def _distance(check: CheckVerdict) -> float:
    """How far the number of a check lies from its threshold; positive on its side."""
    assert check["value"] is not None
    side = 1 if check["side"] == "above" else -1
    return side * (check["value"] - check["threshold"])


def statement_verdict(statement: str, protocol: Protocol, results: Results) -> StatementVerdict:
    """A statement of the paper with its checks and its verdict.

    Args:
        statement: identifier of the statement in the protocol.
        protocol: the rules.
        results: of the experiments that ran.

    Raises:
        ReplicateError: a result has other checks than the protocol.
    """
    rule = protocol.statements[statement]
    verdict: StatementVerdict = {
        "statement": statement,
        "section": rule.section,
        "says": rule.says,
        "kind": "statement",
        "experiment": None,
        "dataset": None,
        "result": None,
        "changed": None,
        "seeds": rule.seeds,
        "over": rule.over,
        "asks_for": rule.asks_for,
        "seeds_needed": None,
        "checks": [],
        "protocol_sha256": protocol.statement_sha256(statement),
        "state": "not attempted",
        "reason": rule.awaits or "the preset does not run its experiment",
    }
    if statement not in results:
        return verdict
    file, content = results[statement]
    verdict["experiment"] = content["experiment"]
    # Experiments that make their own data have no such setting.
    verdict["dataset"] = content["parameters"]["config"].get("dataset")
    verdict["result"] = file
    # A reduced form answers for a smaller game; the page says so beside the verdict.
    verdict["changed"] = ", ".join(content["changed"]) or None
    # Before the checks: such a result has none.
    if content["not_applicable"]:
        verdict["state"] = "not applicable"
        verdict["reason"] = content["not_applicable"]
        return verdict
    numbers = content["checks"][statement]
    _require_checks(statement, file, set(numbers), set(rule.checks))
    # Exact checks involve no chance, so intervals need not hold together with theirs.
    comparisons = sum(not check.exact for check in rule.checks.values())
    for name, check in rule.checks.items():
        entry = check_verdict(check, numbers[name], comparisons, rule.asks_for)
        verdict["checks"].append(entry)
    decision = _decision(rule, verdict["checks"])
    verdict["state"] = decision.state
    verdict["reason"] = decision.reason
    verdict["seeds_needed"] = decision.seeds_needed
    return verdict


def _require_checks(statement: str, file: str, measured: set[str], required: set[str]) -> None:
    """Refuses a result that has other checks than the protocol."""
    if measured == required:
        return
    measured_names = ", ".join(sorted(measured))
    required_names = ", ".join(sorted(required))
    raise ReplicateError(
        f"{file} has the checks {measured_names} of {statement}, protocol.yaml "
        f"{required_names}; run the experiment again with this version."
    )


def statement_verdicts(protocol: Protocol, results: Results) -> list[StatementVerdict]:
    """Every statement of the protocol with its verdict, in its order."""
    verdicts = []
    for statement in protocol.statements:
        verdict = statement_verdict(statement, protocol, results)
        verdicts.append(verdict)
    return verdicts


def counts(statements: Sequence[StatementVerdict]) -> dict[str, int]:
    """How many statements have each verdict state."""
    states = [statement["state"] for statement in statements]
    return dict(Counter(states))
