"""Intervals against scipy's own tests, the verdict against cases worked out by hand, and its negative controls."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from replicate.statistics import (
    Difference,
    Published,
    difference,
    interquartile_mean,
    mean_interval,
    seeds_needed,
    standard_deviation,
    state_of,
)


def test_mean_interval_is_students() -> None:
    values = [3.0, 4.5, 7.25, 5.0, 4.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert mean_interval([3.0]) is None
    assert standard_deviation([3.0]) is None


def test_interquartile_mean_drops_the_outer_quarters() -> None:
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 1000]) == pytest.approx(4.5)


def test_difference_is_welchs_test_against_the_published_sample() -> None:
    """With 5 folds published, the interval is that of Welch's t-test from summary statistics."""
    ours = np.array([2040.0, 2075, 2061, 2050, 2066, 2071])
    theirs_mean, theirs_se, folds = 2057.0, 26.0, 5
    found = difference(ours.mean(), float(ours.std(ddof=1)), 6, Published(theirs_mean, theirs_se, folds - 1))
    ours_term, theirs_term = ours.var(ddof=1) / 6, theirs_se**2
    nu = (ours_term + theirs_term) ** 2 / (ours_term**2 / 5 + theirs_term**2 / 4)
    reference = stats.ttest_ind_from_stats(
        ours.mean(), ours.std(ddof=1), 6, theirs_mean, theirs_se * math.sqrt(folds), folds, equal_var=False
    )
    for level, interval in ((0.90, found.ci90), (0.95, found.ci95)):
        half = stats.t.ppf((1 + level) / 2, nu) * math.sqrt(ours_term + theirs_term)
        assert interval == pytest.approx((found.value - half, found.value + half), rel=1e-12)
    p = 2 * stats.t.sf(abs(found.value) / math.sqrt(ours_term + theirs_term), nu)
    assert p == pytest.approx(reference.pvalue, rel=1e-9)


def test_without_published_uncertainty_it_is_students_interval() -> None:
    values = [220.0, 228, 231, 219, 226, 224]
    found = difference(float(np.mean(values)), float(np.std(values, ddof=1)), 6, Published(225, 0.0))
    expected = stats.ttest_1samp(values, 225).confidence_interval(0.90)
    assert found.ci90 == pytest.approx((expected.low - 225, expected.high - 225), rel=1e-9)


def test_an_infinite_number_of_degrees_counts_the_published_error_as_known() -> None:
    found = difference(225.0, 1e-9, 10, Published(225, 2.0))
    assert found.ci90 == pytest.approx((-2 * 1.6448536, 2 * 1.6448536), rel=1e-6)


@pytest.mark.parametrize(
    ("ci90", "ci95", "state"),
    [
        ((-3, 4), (-4, 5), "replicated"),
        ((1, 5), (0.5, 6), "replicated"),  # within the margin, though above 0: the same number
        ((1, 14), (0, 15), "exceeds"),
        ((15, 20), (14, 21), "exceeds"),
        ((-5, 14), (-6, 15), "not inferior"),
        ((-30, -14), (-32, -12), "not replicated"),
        ((-14, -5), (-16, -3), "inconclusive"),
        ((-20, 20), (-25, 25), "inconclusive"),
        ((-13, -11.5), (-13.2, -10.9), "inconclusive"),  # the 95 % interval still reaches into the margin
    ],
)
def test_states(ci90: tuple[float, float], ci95: tuple[float, float], state: str) -> None:
    assert state_of(Difference(sum(ci90) / 2, ci90, ci95), 11.0) == state


def test_equivalence_equals_two_one_sided_t_tests() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.normal(225 + rng.uniform(-12, 12), rng.uniform(1, 12), 10)
        found = difference(float(values.mean()), float(values.std(ddof=1)), 10, Published(225, 0.0))
        above = stats.ttest_1samp(values, 225 - 11, alternative="greater").pvalue < 0.05
        below = stats.ttest_1samp(values, 225 + 11, alternative="less").pvalue < 0.05
        assert (state_of(found, 11.0) == "replicated") == (above and below)


def test_power_of_the_protocol() -> None:
    """Docs/protocol.md: seed spread 8, margin 10, published error 2: 10 seeds conclude in .83 of the runs, 5 in .46."""
    rng = np.random.default_rng(1)
    for seeds, expected in ((5, 0.46), (10, 0.83)):
        runs, published = rng.normal(225, 8, (2000, seeds)), rng.normal(225, 2, 2000)  # both studies have errors
        states = [
            state_of(difference(run.mean(), run.std(ddof=1), seeds, Published(value, 2)), 10.0)
            for run, value in zip(runs, published, strict=True)
        ]
        assert states.count("replicated") / 2000 == pytest.approx(expected, abs=0.035)


def test_negative_control_a_model_far_below_is_not_replicated() -> None:
    values = np.random.default_rng(2).normal(150, 5, 10)
    assert state_of(difference(values.mean(), values.std(ddof=1), 10, Published(225, 2)), 11.0) == "not replicated"


def test_seeds_needed() -> None:
    published = Published(225, 2.0)
    count = seeds_needed(223.0, 12.0, 6, published, 10.0)
    assert count is not None
    assert state_of(difference(223.0, 12.0, count, published), 10.0) == "replicated"
    assert state_of(difference(223.0, 12.0, count - 1, published), 10.0) == "inconclusive"
    assert seeds_needed(225.0 - 10.0, 5.0, 6, published, 10.0) is None  # exactly at the margin: never decided


@given(st.lists(st.floats(-300, 300), min_size=2, max_size=12), st.floats(0.5, 50))
def test_intervals_contain_the_difference_and_nest(values: list[float], error: float) -> None:
    found = difference(float(np.mean(values)), float(np.std(values, ddof=1)), len(values), Published(0.0, error))
    assert found.ci95[0] <= found.ci90[0] <= found.value <= found.ci90[1] <= found.ci95[1]


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        difference(225.0, 0.0, 1, Published(225, 2))
