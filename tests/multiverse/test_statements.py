"""Statements under other analyses than the protocol's: each option against scipy or a closed form."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from replicate.multiverse.counting import analyses, counted, protocol_analysis
from replicate.multiverse.statements import StatementClaim, moved
from tests.multiverse.judging import (
    CHOICES,
    chosen,
    option_names,
    statement_claim,
    statement_rule,
    verdict_on,
)

EXACT = {"reads": "an error", "below": 1e-9, "exact": True}
ABOVE = {"reads": "a difference", "above": 1.0}
BELOW = {"reads": "a share", "below": 0.1}
VALUES = np.random.default_rng(7).normal(1.5, 0.8, 10)
#: One number a seed; equal ones too, which have no spread.
SEEDS = st.lists(st.one_of(st.just(0.1), st.floats(-2.0, 3.0)), min_size=1, max_size=10)


@settings(deadline=None)
@given(st.data(), SEEDS, st.sampled_from([1e-12, 1e-3, None]))
def test_the_protocols_own_analysis_gives_its_verdict(
    data: st.DataObject, first: list[float | None], exact: float | None
) -> None:
    count = len(first)
    second = data.draw(st.lists(st.floats(-1.0, 1.0), min_size=count, max_size=count))
    if data.draw(st.booleans()):
        first[0] = None
    rule = statement_rule(a=EXACT, b=ABOVE, c=BELOW)
    numbers: dict[str, Any] = {"a": exact, "b": first, "c": second}
    counts = counted(statement_claim(rule, numbers))
    assert counts["state"] == verdict_on(rule, numbers)["state"]
    assert sum(counts["states"].values()) == counts["analyses"]


@settings(deadline=None)
@given(st.data(), SEEDS, st.sampled_from(["all", "any"]))
def test_so_it_does_where_one_check_is_enough(
    data: st.DataObject, first: list[float | None], asks_for: str
) -> None:
    count = len(first)
    second = data.draw(st.lists(st.floats(-1.0, 1.0), min_size=count, max_size=count))
    if data.draw(st.booleans()):
        first[0] = None
    rule = statement_rule(asks_for, b=ABOVE, c=BELOW)
    numbers: dict[str, Any] = {"b": first, "c": second}
    counts = counted(statement_claim(rule, numbers))
    assert counts["state"] == verdict_on(rule, numbers)["state"]


def test_one_check_that_is_enough_is_tested_for_all_together() -> None:
    """A check at p = 0.02 passes alone at 2.5 %, and not as one of two that would do."""
    values = np.array([-1.0, 1.0, -0.5, 0.5, 0.2, -0.2])
    wanted = stats.t.ppf(0.98, 5) * values.std(ddof=1) / np.sqrt(6)
    numbers = {"b": list(1 + wanted + values), "c": [0.9 + 0.001 * k for k in range(6)]}
    claim = statement_claim(statement_rule("any", b=ABOVE, c=BELOW), numbers)
    assert claim.state(protocol_analysis(claim.alternatives)) == "inconclusive"
    assert claim.state(chosen(claim, checks=1)) == "replicated"
    assert claim.state(chosen(claim, checks=0)) == "not replicated"


@pytest.mark.parametrize("threshold", [0.5, 0.9, 1.1, 1.3, 1.9, 2.4])
@pytest.mark.parametrize(("level", "rate"), [("five", 0.05), ("one", 0.01), ("ten", 0.1)])
def test_tests_over_seeds_are_scipys(threshold: float, level: str, rate: float) -> None:
    rule = statement_rule(b={"reads": "a difference", "above": threshold})
    claim = statement_claim(rule, {"b": list(VALUES)})
    distances = VALUES - threshold
    above_of_one = VALUES.mean() - stats.t.ppf(1 - rate, 9) * VALUES.std(ddof=1) * np.sqrt(1.1)
    below_of_one = VALUES.mean() + stats.t.ppf(1 - rate / 2, 9) * VALUES.std(ddof=1) * np.sqrt(1.1)
    affirmed = {
        "student": stats.ttest_1samp(distances, 0, alternative="greater").pvalue <= rate,
        "signed_rank": stats.wilcoxon(distances, alternative="greater").pvalue <= rate,
        "sign": stats.binomtest(int((distances > 0).sum()), 10, 0.5, "greater").pvalue <= rate,
        "prediction": above_of_one > threshold,
    }
    denied = {
        "student": stats.ttest_1samp(distances, 0, alternative="less").pvalue <= rate / 2,
        "signed_rank": stats.wilcoxon(distances, alternative="less").pvalue <= rate / 2,
        "sign": stats.binomtest(int((distances < 0).sum()), 10, 0.5, "greater").pvalue <= rate / 2,
        "prediction": below_of_one < threshold,
    }
    for test in affirmed:
        state = claim.state(chosen(claim, test=test, level=level))
        assert (state == "replicated") == affirmed[test], test
        assert (state == "not replicated") == denied[test], test


@pytest.mark.parametrize(("factor", "state"), [(0.999, "inconclusive"), (1.001, "replicated")])
def test_one_more_seed_has_its_own_spread_beside_that_of_the_mean(
    factor: float, state: str
) -> None:
    """Of ten seeds: the bound lies sqrt(1 + 1/10) deviations times Student's quantile below the mean."""
    below = stats.t.ppf(0.95, 9) * VALUES.std(ddof=1) * np.sqrt(1 + 1 / 10)
    threshold = float(VALUES.mean() - factor * below)
    rule = statement_rule(b={"reads": "a difference", "above": threshold})
    claim = statement_claim(rule, {"b": list(VALUES)})
    assert claim.state(chosen(claim, test="prediction")) == state


def test_all_together_divides_the_level_by_the_tested_checks() -> None:
    """A check at p = 0.03 passes alone and not beside another one (0.05 / 2)."""
    values = np.array([-1.0, 1.0, -0.5, 0.5, 0.2, -0.2])
    wanted = stats.t.ppf(0.97, 5) * values.std(ddof=1) / np.sqrt(6)
    numbers = {"b": list(1 + wanted + values), "c": [0.001 * k for k in range(6)]}
    claim = statement_claim(statement_rule(b=ABOVE, c=BELOW), numbers)
    assert claim.state(protocol_analysis(claim.alternatives)) == "replicated"
    assert claim.state(chosen(claim, level="together")) == "inconclusive"
    # Without the other check there is one test again, and "together" another name of 5 %.
    assert claim.state(chosen(claim, checks=1)) == "replicated"
    assert claim.state(chosen(claim, level="together", checks=1)) is None


@pytest.mark.parametrize("asks_for", ["all", "any"])
@pytest.mark.parametrize(
    "rules",
    [
        {"b": ABOVE},
        {"b": ABOVE, "c": BELOW},
        {"b": ABOVE, "c": {"reads": "a gain", "above": 0.0}},
        {"a": EXACT, "b": ABOVE},
        {"a": EXACT, "b": {"reads": "a gain", "above": 0.0}, "c": BELOW},
    ],
)
def test_no_analysis_is_counted_twice_by_other_names_and_none_is_lost(
    rules: dict[str, Any], asks_for: str
) -> None:
    """Each analysis by what it does: the numbers that it compares, with which test and how surely."""
    if asks_for == "any":
        rules = {name: rule for name, rule in rules.items() if name != "a"}
    numbers = {name: 0.0 if name == "a" else [0.1 * k for k in range(10)] for name in rules}
    claim = statement_claim(statement_rule(asks_for, **rules), numbers)

    def meaning(analysis: Any) -> tuple[Any, ...]:
        left_out = analysis["checks"].value if "checks" in analysis else None
        kept = [rule for place, rule in enumerate(rules.values()) if place != left_out]
        factor = analysis["thresholds"].value
        thresholds = [(rule["reads"], factor if _bound(rule) else 1) for rule in kept]
        tested = sum("exact" not in rule for rule in kept)
        if not tested:
            return (*thresholds, "exact alone")
        level = analysis["level"]
        rate = level.value / tested if level.name == "together" else level.value
        return (*thresholds, analysis["test"].name, rate, analysis["seeds"])

    every, counted_ones = set(), []
    for analysis in analyses(claim.alternatives):
        if analysis["test"].name in ("student", "prediction"):
            every.add(meaning(analysis))
            if claim.state(analysis) is not None:
                counted_ones.append(meaning(analysis))
    assert len(counted_ones) == len(set(counted_ones))
    assert set(counted_ones) == every


def _bound(rule: dict[str, Any]) -> float:
    return float(rule.get("above", rule.get("below")))


def test_a_check_that_is_left_out_decides_no_more() -> None:
    numbers = {"a": 1e-3, "b": [2.0, 2.1] * 5, "c": [0.5, 0.6] * 5}
    claim = statement_claim(statement_rule(a=EXACT, b=ABOVE, c=BELOW), numbers)
    assert claim.state(protocol_analysis(claim.alternatives)) == "not replicated"
    assert claim.state(chosen(claim, checks=0)) == "not replicated"
    sound = statement_claim(statement_rule(a=EXACT, b=ABOVE, c=BELOW), {**numbers, "a": 0.0})
    assert sound.state(chosen(sound, checks=2)) == "replicated"
    flips = counted(sound)["flips"]
    assert {
        "choice": "checks",
        "option": "without the check “a share”",
        "state": "replicated",
    } in flips


def test_thresholds_move_by_size_or_by_odds_on_the_right_side() -> None:
    assert moved(7.0, 1, 1.1) == pytest.approx(7.7)
    assert moved(-11.0, -1, 1.1) == pytest.approx(-12.1)  # below -11: harder is further down
    assert moved(-2.0, 1, 1.1) == pytest.approx(-2 / 1.1)  # above -2: harder is further up
    assert moved(0.0, 1, 1.1) == 0.0
    # Between 0 and 1 the odds are multiplied, so that a share stays one.
    for share in (0.05, 0.5, 0.99):
        harder = moved(share, 1, 1.1)
        assert harder / (1 - harder) == pytest.approx(1.1 * share / (1 - share))
        easier = moved(share, -1, 1 / 1.1)  # below a share: easier is further up
        assert easier == pytest.approx(harder)


def test_a_looser_threshold_lets_through_what_lies_just_on_the_wrong_side() -> None:
    claim = statement_claim(statement_rule(b=ABOVE), {"b": [0.95, 0.951] * 5})
    assert claim.state(protocol_analysis(claim.alternatives)) == "not replicated"
    assert claim.state(chosen(claim, thresholds="looser")) == "replicated"
    # Thresholds of 0 do not move, so that there is nothing to choose.
    zero = statement_claim(
        statement_rule(b={"reads": "a gain", "above": 0.0}), {"b": [0.1, 0.2] * 5}
    )
    assert "thresholds" not in zero.alternatives


def test_the_run_with_other_seeds_is_pooled_or_makes_the_sceptics_original() -> None:
    rule = statement_rule(b=ABOVE)
    here, there = {"b": [1.0, 1.3] * 4}, {"b": [1.1, 1.4] * 4}
    alone = statement_claim(rule, here)
    assert "sceptical" not in option_names(alone, "test")
    assert "both_runs" not in option_names(alone, "seeds")
    claim = statement_claim(rule, here, there)
    # z of 2.6 and 4.4 alone convince; together they leave a sceptic with z_S = 1.9.
    assert claim.state(chosen(claim, test="sceptical")) == "replicated"
    assert claim.state(chosen(claim, test="sceptical", level="one")) == "inconclusive"
    assert claim.state(chosen(claim, test="sceptical", seeds="both_runs")) is None
    opposed = statement_claim(rule, here, {"b": [0.1, 0.4] * 4})
    assert opposed.state(chosen(opposed, test="sceptical")) == "inconclusive"
    assert opposed.state(chosen(opposed, seeds="both_runs")) == "not replicated"


def test_the_checks_of_both_runs_are_those_that_measure_the_same() -> None:
    """Also where the other run's rule has them in another order, which leaves its hash as it is."""
    ours = {"b": [3.0, 3.1, 2.9, 3.0, 3.2, 3.0], "c": [0.0, 0.01, 0.02, 0.0, 0.01, 0.0]}
    theirs = {"c": [0.01, 0.0, 0.02, 0.0, 0.02, 0.0], "b": [3.1, 3.0, 2.9, 3.2, 3.0, 3.0]}
    rule, turned = statement_rule(b=ABOVE, c=BELOW), statement_rule(c=BELOW, b=ABOVE)
    assert rule.statement_sha256("X") == turned.statement_sha256("X")
    partner = verdict_on(turned, theirs)
    claim = StatementClaim(verdict_on(rule, ours), partner, 6, CHOICES.statement)
    # All numbers of both runs lie on their sides; 3 in the place of a share would not.
    assert claim.state(chosen(claim, seeds="both_runs")) == "replicated"
    assert claim.state(chosen(claim, test="sceptical")) == "replicated"


def test_few_seeds_are_withheld_unless_that_rule_is_set_aside() -> None:
    claim = statement_claim(statement_rule(b=ABOVE), {"b": [2.0, 2.1, 2.05]})
    assert claim.state(protocol_analysis(claim.alternatives)) == "withheld"
    assert claim.state(chosen(claim, minimum="any")) == "replicated"
    many = statement_claim(statement_rule(b=ABOVE), {"b": [2.0, 2.1] * 3})
    assert "minimum" not in many.alternatives
    # A half of six seeds may be looked at all the same.
    assert many.state(chosen(many, seeds="first_half")) == "replicated"


def test_a_test_by_signs_that_so_few_seeds_cannot_decide_is_no_analysis() -> None:
    """The smallest p-value of n seeds is 2^-n: of six 0.016, which the level of denial, 0.025, allows."""
    six = statement_claim(statement_rule(b=ABOVE), {"b": [2.0, 2.1] * 3})
    for test in ("sign", "signed_rank"):
        assert six.state(chosen(six, test=test)) == "replicated"
        assert six.state(chosen(six, test=test, seeds=0)) is None
        assert six.state(chosen(six, test=test, level="one")) is None
    assert six.state(chosen(six, level="one")) == "replicated"


def test_exact_checks_leave_no_choice_of_seeds_or_level() -> None:
    claim = statement_claim(
        statement_rule(a=EXACT, b={**EXACT, "reads": "x"}), {"a": 0.0, "b": 0.0}
    )
    assert set(claim.alternatives) == {"thresholds", "checks"}
    assert counted(claim)["analyses"] == 4 * 3
