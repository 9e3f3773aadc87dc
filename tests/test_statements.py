"""Verdicts on what the paper states beside Table 1: exact numbers, tests over seeds, and every way
not to decide.
"""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from replicate.errors import ReplicateError
from replicate.experiments import REGISTRY, load_experiment
from replicate.records.frame import checked_content
from replicate.records.schema import StatementVerdict
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import Check, Protocol, Statement, read_protocol
from replicate.verdicts.statements import check_verdict, statement_verdict, statement_verdicts
from tests.result_kinds import undeclared

PROTOCOL = read_protocol(package_root() / "protocol.yaml")
EXACT = {"reads": "an error", "below": 1e-9, "exact": True}
TESTED = {"reads": "a difference", "above": 0.0}


def protocol(**checks: dict[str, Any]) -> Protocol:
    statement = {"section": "6", "says": "it holds", "checks": checks}
    rules = PROTOCOL.model_dump(mode="json", include={"version", "samplers", "rising"})
    return Protocol.model_validate_json(
        json.dumps({**rules, "estimates": {}, "claims": {}, "statements": {"X": statement}})
    )


def any_of(**checks: dict[str, Any]) -> Protocol:
    """The same statement where one of its checks is enough."""
    document = protocol(**checks).model_dump(mode="json")
    document["statements"]["X"]["asks_for"] = "any"
    return Protocol.model_validate_json(json.dumps(document))


def found(**checks: Any) -> dict[str, Any]:
    content = {
        "experiment": "toy",
        "not_applicable": None,
        "parameters": {"config": {"dataset": "digits"}},
        "changed": [],
        "checks": {"X": checks},
    }
    return {"X": ("results/experiments/toy.json", content)}


def state(rule: Protocol, results: dict[str, Any]) -> tuple[str, str]:
    entry = statement_verdict("X", rule, results)
    return entry["state"], entry["reason"]


def test_an_exact_check_is_its_number() -> None:
    assert state(protocol(a=EXACT), found(a=1e-12))[0] == "replicated"
    assert state(protocol(a=EXACT), found(a=1e-3)) == ("not replicated", "not so: an error")
    assert state(protocol(a=EXACT), found(a=1e-9))[0] == "not replicated"  # below, not at


def test_intervals_are_students() -> None:
    values = np.random.default_rng(4).normal(1.0, 2.0, 9)
    entry = check_verdict(Check.model_validate(TESTED), list(values), comparisons=3)
    for level, name in ((0.90, "ci90"), (0.95, "ci95"), (1 - 0.05 / 3, "ci95_simultaneous")):
        expected = stats.t.interval(level, 8, values.mean(), stats.sem(values))
        assert entry[name] == pytest.approx(expected, abs=1e-12)
    assert entry["sd_over_seeds"] == pytest.approx(values.std(ddof=1))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("mean", "expected"), [(3.0, "replicated"), (0.1, "inconclusive"), (-3.0, "not replicated")]
)
def test_the_one_sided_test_over_seeds(mean: float, expected: str, sign: int) -> None:
    values = [mean + offset for offset in (-1.0, -0.5, 0.0, 0.0, 0.5, 1.0)]
    side = {"above": 5.0} if sign > 0 else {"below": 5.0}
    check = {"reads": "a difference", **side}
    results = found(a=[5.0 + sign * value for value in values])
    assert state(protocol(a=check), results)[0] == expected
    one_sided = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    assert (one_sided < 0.05) == (expected == "replicated")


@pytest.mark.parametrize("seed", range(20))
def test_one_that_asks_for_any_is_the_denial_of_one_that_asks_for_all_of_the_opposite(
    seed: int,
) -> None:
    """De Morgan: "one lies above" is "not all lie below", with the same error rates."""
    generator = np.random.default_rng(seed)
    values = generator.normal(generator.normal(0, 1, (3, 1)), 1, (3, 8)).tolist()
    numbers = dict(zip("abc", values, strict=True))
    above = {name: {"reads": name, "above": 0.0} for name in numbers}
    below = {name: {"reads": name, "below": 0.0} for name in numbers}
    ours = statement_verdict("X", any_of(**above), found(**numbers))
    theirs = statement_verdict("X", protocol(**below), found(**numbers))
    opposite = {"replicated": "not replicated", "not replicated": "replicated"}
    assert ours["state"] == opposite.get(theirs["state"], "inconclusive")
    for check, denied in zip(ours["checks"], theirs["checks"], strict=True):
        assert check["state"] == opposite.get(str(denied["state"]), "inconclusive")
        assert check["ci95_simultaneous"] == denied["ci95_simultaneous"]


def test_any_says_which_check_held_and_how_many_seeds_would_decide() -> None:
    spread = [-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]
    high, near = [3 + value for value in spread], [0.3 + value for value in spread]
    low = [-3 + value for value in spread]
    rule = any_of(a={"reads": "first", "above": 0.0}, b={"reads": "second", "above": 0.0})
    assert state(rule, found(a=low, b=high))[0] == "replicated"
    assert state(rule, found(a=low, b=high))[1].endswith(": second")
    assert state(rule, found(a=low, b=low))[0] == "not replicated"
    entry = statement_verdict("X", rule, found(a=low, b=near))
    assert entry["state"] == "inconclusive"
    assert entry["asks_for"] == "any"
    needed, error = entry["seeds_needed"], np.std(near, ddof=1)

    def lower(count: int) -> float:
        """Of the simultaneous 95 % interval of two checks."""
        return float(0.3 - stats.t.ppf(1 - 0.025 / 2, count - 1) * error / math.sqrt(count))

    assert lower(needed) > 0 > lower(needed - 1)
    # Where none lies on its side, all must be denied.
    below = [-0.3 + value for value in spread]
    both = statement_verdict("X", rule, found(a=below, b=[value - 0.2 for value in spread]))
    assert both["seeds_needed"] == max(check["seeds_needed"] for check in both["checks"])


def test_any_takes_no_exact_check() -> None:
    with pytest.raises(ValueError, match="takes no exact checks: a"):
        any_of(a=EXACT, b=TESTED)


def test_the_seeds_that_would_decide_do_if_mean_and_spread_stay() -> None:
    values = [0.3 + offset for offset in (-1.0, -0.5, 0.0, 0.0, 0.5, 1.0)]
    entry = statement_verdict("X", protocol(a=TESTED), found(a=values))
    needed, spread = entry["seeds_needed"], np.std(values, ddof=1)
    assert f"{needed} seeds would decide" in entry["reason"]

    def lower(count: int) -> float:
        return float(0.3 - stats.t.ppf(0.95, count - 1) * spread / math.sqrt(count))

    assert lower(needed) > 0 > lower(needed - 1)


def spread_around(mean: float, count: int) -> list[float]:
    """Values with this mean and the standard deviation 1."""
    steps = np.arange(count) - (count - 1) / 2
    return [float(value) for value in mean + steps / np.std(steps, ddof=1)]


@pytest.mark.parametrize("asks_for", ["all", "any"])
@pytest.mark.parametrize("means", [(-0.5, 0.0), (-0.5, 0.2), (0.5, -0.2), (0.5, 0.3), (0.5, 0.0)])
def test_the_seeds_that_would_decide_a_statement_are_the_fewest_that_do(
    asks_for: str, means: tuple[float, float]
) -> None:
    """By judging as many seeds with the same means and spreads, one number after the other.

    Among them statements that one check decides although the other stays open with any number.
    """
    rule = (protocol if asks_for == "all" else any_of)(a=TESTED, b={**TESTED, "reads": "another"})

    def judged(count: int) -> StatementVerdict:
        numbers = {name: spread_around(mean, count) for name, mean in zip("ab", means, strict=True)}
        return statement_verdict("X", rule, found(**numbers))

    entry = judged(8)
    assert entry["state"] == "inconclusive"
    # The most that is needed here are 135 seeds.
    decided = (count for count in range(9, 200) if judged(count)["state"] != "inconclusive")
    fewest = next(decided, None)
    assert entry["seeds_needed"] == fewest
    advice = "no number of seeds up to 1,000 would"
    if fewest is not None:
        advice = f"{fewest} seeds would decide"
    assert entry["reason"].endswith(f"; {advice}")


@pytest.mark.parametrize("asks_for", ["all", "any"])
@pytest.mark.parametrize("side", ["above", "below"])
def test_seeds_that_all_lie_on_the_threshold_lie_on_neither_side(side: str, asks_for: str) -> None:
    """In decimals whose sums are rounded, so that a mean of equal numbers is another number."""
    rounded = 0
    for count, threshold in itertools.product(range(6, 31), (0.02, 0.1, 0.3, 0.55, 0.95, 1.1)):
        values = [threshold] * count
        rounded += float(np.mean(values)) != threshold
        rule = (protocol if asks_for == "all" else any_of)(a={"reads": "a", side: threshold})
        entry = statement_verdict("X", rule, found(a=values))
        assert entry["state"] == "inconclusive"
        (check,) = entry["checks"]
        assert check["value"] == threshold
        assert check["sd_over_seeds"] == 0
        assert check["ci90"] == check["ci95_simultaneous"] == [threshold, threshold]
    assert rounded > 0


def test_all_checks_must_hold() -> None:
    good, bad = [1.0, 1.1, 1.2, 1.0, 1.1, 1.2], [-1.0, -1.1, -1.2, -1.0, -1.1, -1.2]
    rule = protocol(a=TESTED, b={**TESTED, "reads": "another"}, c=EXACT)
    assert state(rule, found(a=good, b=good, c=0.0))[0] == "replicated"
    assert state(rule, found(a=good, b=bad, c=0.0)) == (
        "not replicated",
        "the other way round: another",
    )
    assert state(rule, found(a=good, b=good, c=1.0))[0] == "not replicated"


def test_few_or_failed_seeds_decide_nothing_but_are_shown() -> None:
    entry = statement_verdict("X", protocol(a=TESTED), found(a=[1.0, 1.1, 1.2, 1.0, 1.1]))
    assert (entry["state"], entry["checks"][0]["value"]) == ("withheld", pytest.approx(1.08))
    assert (
        "5 seeds; the protocol asks for 10 and decides nothing with fewer than 6" in entry["reason"]
    )
    word, reason = state(protocol(a=TESTED), found(a=[1.0, 1.1, None, 1.0, 1.1, 1.0, 1.2]))
    assert (word, reason[:20]) == ("inconclusive", "1 of 7 seeds failed;")
    assert state(protocol(a=TESTED), found(a=[None] * 7))[0] == "inconclusive"
    other = protocol(a=TESTED, b={**TESTED, "reads": "another"})
    word, reason = state(other, found(a=[None] + [1.0] * 6, b=[1.0, None] + [1.0] * 5))
    assert (word, reason[:20]) == ("inconclusive", "2 of 7 seeds failed;")
    word, reason = state(other, found(a=[1.0] * 7, b=[1.0] * 6))
    assert (word, reason[:20]) == ("inconclusive", "1 of 7 seeds failed;")


def test_an_exact_number_that_no_seed_could_give_leaves_the_statement_undecided() -> None:
    """Section 6: a failed seed leaves it inconclusive; what is known to be wrong comes first."""
    good = [1.0, 1.1, 1.2, 1.0, 1.1, 1.2]
    rule = protocol(a=TESTED, b={**EXACT, "reads": "a bound"}, c=EXACT)
    entry = statement_verdict("X", rule, found(a=good, b=None, c=0.0))
    assert entry["state"] == "inconclusive"
    assert entry["reason"].endswith(": a bound")
    assert (entry["checks"][1]["value"], entry["checks"][1]["state"]) == (None, None)
    assert state(rule, found(a=good, b=None, c=1.0)) == ("not replicated", "not so: an error")


def test_one_seed_decides_nothing_however_few_a_rule_asks_for() -> None:
    one = protocol(a=TESTED).model_copy(update={"minimum_seeds": 1})
    for value in (5.0, -5.0):
        assert state(one, found(a=[value]))[0] == "withheld"


def test_a_check_that_does_not_fit_its_rule_is_refused() -> None:
    with pytest.raises(
        ReplicateError, match=r"has the checks b of X, protocol\.yaml a; run the experiment again"
    ):
        state(protocol(a=EXACT), found(b=1.0))
    with pytest.raises(ReplicateError, match="'an error' is exact"):
        state(protocol(a=EXACT), found(a=[1.0, 2.0]))


def test_what_was_not_measured_says_why() -> None:
    assert state(protocol(a=EXACT), {}) == (
        "not attempted",
        "the preset does not run its experiment",
    )
    results = found()
    results["X"][1]["not_applicable"] = "the data set has no labels"
    assert state(protocol(a=EXACT), results) == ("not applicable", "the data set has no labels")


def test_a_check_has_one_threshold() -> None:
    for sides in ({}, {"below": 1.0, "above": 0.0}):
        with pytest.raises(ValueError, match="either `below` or `above`"):
            Check.model_validate({"reads": "x", **sides})


def test_every_experiment_has_its_rules_and_every_rule_its_experiment() -> None:
    rules = read_protocol(package_root() / "protocol.yaml").statements
    decided = [statement for name in REGISTRY for statement in load_experiment(name).statements]
    assert len(decided) == len(set(decided))
    # One that awaits something may have its experiment already: it is judged once a run has all.
    needed = {statement for statement, rule in rules.items() if rule.awaits is None}
    assert needed <= set(decided) <= set(rules)
    assert all(
        isinstance(rule, Statement) and rule.seeds >= rule.minimum_seeds >= 6
        for rule in rules.values()
    )


def test_the_statements_stand_in_the_order_of_the_protocol() -> None:
    rules = read_protocol(package_root() / "protocol.yaml")
    assert [entry["statement"] for entry in statement_verdicts(rules, {})] == list(rules.statements)


def test_settings_that_are_not_the_full_form_stand_beside_the_verdict() -> None:
    results = found(a=0.0)
    assert statement_verdict("X", protocol(a=EXACT), results)["changed"] is None
    results["X"][1]["changed"] = ["updates", "hidden"]
    assert statement_verdict("X", protocol(a=EXACT), results)["changed"] == "updates, hidden"


def test_a_verdict_has_the_fields_of_its_type_and_no_other() -> None:
    undecided = [0.3 + offset for offset in (-1.0, -0.5, 0.0, 0.0, 0.5, 1.0)]
    rule = protocol(a=TESTED, b=EXACT)
    not_applicable = found(a=undecided, b=0.0)
    not_applicable["X"][1]["not_applicable"] = "the data set has no labels"
    for results in ({}, found(a=undecided, b=0.0), found(a=[1.0], b=1.0), not_applicable):
        verdict = statement_verdict("X", rule, results)
        checked_content(verdict, StatementVerdict, Path("statements.json"), "judge it again")
        assert not undeclared(verdict, StatementVerdict)


@pytest.mark.parametrize("comparisons", [1, 5])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_seeds_needed_decide_one_way_or_the_other(comparisons: int, sign: int) -> None:
    """By scipy's quantiles: above by a one-sided test at 5 %, or below by the interval that holds
    for all comparisons together.
    """
    values = [sign * 0.3 + offset for offset in (-1.0, -0.5, 0.0, 0.0, 0.5, 1.0)]
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    needed = check_verdict(Check.model_validate(TESTED), values, comparisons)["seeds_needed"]

    def decides(count: int) -> bool:
        error = spread / math.sqrt(count)
        level_of_each = 1 - 0.05 / comparisons
        is_above = mean > stats.t.ppf(0.95, count - 1) * error
        is_below = mean < -stats.t.ppf((1 + level_of_each) / 2, count - 1) * error
        return bool(is_above or is_below)

    assert needed == next(count for count in range(7, 1001) if decides(count))
