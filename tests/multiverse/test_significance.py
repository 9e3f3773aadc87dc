"""Tests that the protocol does not use, against scipy, counts of all signs and the equation that defines them."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from replicate.multiverse.significance import sceptical_p, sign_test, signed_rank_test

SMALL = st.integers(-4, 4).map(float)
EFFECTS = st.floats(0.05, 6.0)
ERRORS = st.floats(0.05, 3.0)


def statistic(differences: np.ndarray) -> float:
    """Sum of the positive ranks, by scipy's ranks."""
    ranks = stats.rankdata(np.abs(differences))
    return float(ranks[differences > 0].sum())


@settings(deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=8))
def test_signed_ranks_with_ties_are_counts_of_all_signs(differences: list[float]) -> None:
    nonzero = np.array([value for value in differences if value])
    above, below = signed_rank_test(differences)
    if not nonzero.size:
        assert (above, below) == (1.0, 1.0)
        return
    observed = statistic(nonzero)
    signs = itertools.product((-1, 1), repeat=nonzero.size)
    all_sums = np.array([statistic(np.abs(nonzero) * each) for each in signs])
    assert above == pytest.approx(np.mean(all_sums >= observed - 1e-9))
    assert below == pytest.approx(np.mean(all_sums <= observed + 1e-9))


@pytest.mark.parametrize("count", [2, 6, 10, 20])
def test_signed_ranks_are_scipys(count: int) -> None:
    differences = list(np.random.default_rng(count).normal(0.3, 1.0, count))
    above, below = signed_rank_test(differences)
    for ours, alternative in ((above, "greater"), (below, "less")):
        reference = stats.wilcoxon(differences, alternative=alternative, method="exact")
        assert ours == pytest.approx(reference.pvalue)


@settings(deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=20))
def test_signs_are_scipys_binomial_test(differences: list[float]) -> None:
    above, below = sign_test(differences)
    positive = sum(value > 0 for value in differences)
    negative = sum(value < 0 for value in differences)
    if positive + negative == 0:
        assert (above, below) == (1.0, 1.0)
        return
    trials = positive + negative
    assert above == pytest.approx(stats.binomtest(positive, trials, 0.5, "greater").pvalue)
    assert below == pytest.approx(stats.binomtest(negative, trials, 0.5, "greater").pvalue)


@settings(deadline=None)
@given(EFFECTS, ERRORS, EFFECTS, ERRORS)
def test_the_sceptical_p_value_solves_its_equation(
    original: float, original_error: float, replication: float, replication_error: float
) -> None:
    z_o, z_r = original / original_error, replication / replication_error
    ratio = (original_error / replication_error) ** 2

    def excess(z: float) -> float:
        return (z_o**2 - z**2) * (z_r**2 - z**2) - ratio * z**4

    z_s = optimize.brentq(excess, 0.0, min(z_o, z_r), xtol=1e-14)
    p = sceptical_p(original, original_error, replication, replication_error)
    assert p == pytest.approx(stats.norm.sf(z_s), rel=1e-6)
    # It never convinces more than either study alone.
    assert p >= max(stats.norm.sf(z_o), stats.norm.sf(z_r)) * (1 - 1e-9)


@settings(deadline=None)
@given(EFFECTS, EFFECTS, ERRORS)
def test_for_equal_errors_it_is_half_the_harmonic_mean(
    original: float, replication: float, error: float
) -> None:
    """Held 2020, section 3: z_S^2 is half the harmonic mean of both squares where c = 1."""
    z_o, z_r = original / error, replication / error
    harmonic = 2 / (1 / z_o**2 + 1 / z_r**2)
    p = sceptical_p(original, error, replication, error)
    assert p == pytest.approx(stats.norm.sf(math.sqrt(harmonic / 2)), rel=1e-9)


def test_other_sides_give_the_complement_and_no_effect_gives_a_half() -> None:
    agreeing = sceptical_p(2.0, 0.5, 3.0, 0.7)
    assert sceptical_p(2.0, 0.5, -3.0, 0.7) == pytest.approx(1 - agreeing)
    assert sceptical_p(-2.0, 0.5, -3.0, 0.7) == agreeing
    assert sceptical_p(0.0, 0.5, 3.0, 0.7) == 0.5


def test_without_an_error_the_other_study_decides_and_without_both_nothing_is_left_to_doubt() -> (
    None
):
    # An original without error leaves the replication's own p-value.
    assert sceptical_p(2.0, 0.0, 1.5, 0.7) == pytest.approx(stats.norm.sf(1.5 / 0.7))
    assert sceptical_p(2.0, 0.5, 1.5, 0.0) == pytest.approx(
        sceptical_p(2.0, 0.5, 1.5, 1e-9), rel=1e-6
    )
    assert sceptical_p(2.0, 0.0, 1.5, 0.0) == 0.0
    assert sceptical_p(2.0, 0.0, -1.5, 0.0) == 1.0
