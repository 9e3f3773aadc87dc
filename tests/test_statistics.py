"""Intervals against scipy's own tests, the verdict against cases worked out by hand, and its
negative controls.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from replicate.records.schema import VerdictState
from replicate.verdicts.statistics import (
    BOOTSTRAP_SEED,
    MOST_SEEDS,
    Difference,
    Published,
    difference,
    difference_of_means,
    fewest_seeds,
    improvement_interval,
    interquartile_mean,
    interquartile_mean_interval,
    mean_interval,
    mean_over_seeds,
    naive_z,
    ordering_of,
    prediction_interval,
    probability_of_improvement,
    seeds_needed,
    seeds_to_order,
    simultaneous,
    standard_deviation,
    state_of,
    variance_components,
    wilson_interval,
)


def equivalent(found: Difference, margin: float) -> VerdictState:
    return state_of(found.ci90, found.ci95, margin)


def test_mean_interval_is_students() -> None:
    values = [3.0, 4.5, 7.25, 5.0, 4.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert mean_interval([3.0]) is None
    assert standard_deviation([3.0]) is None


def test_interquartile_mean_drops_the_outer_quarters() -> None:
    assert interquartile_mean([1, 2, 3, 4, 5, 6, 7, 1000]) == pytest.approx(4.5)


@pytest.mark.parametrize("count", range(1, 14))
def test_interquartile_mean_is_scipys_trimmed_mean_to_the_bit(count: int) -> None:
    values = np.random.default_rng(count).normal(220, 6, count).tolist()
    assert interquartile_mean(values) == stats.trim_mean(values, 0.25)


def test_difference_is_welchs_test_against_the_published_sample() -> None:
    """With 5 folds published, the interval is that of Welch's t-test from summary statistics."""
    ours = np.array([2040.0, 2075, 2061, 2050, 2066, 2071])
    theirs_mean, theirs_se, folds = 2057.0, 26.0, 5
    found = difference(
        ours.mean(), float(ours.std(ddof=1)), 6, Published(theirs_mean, theirs_se, folds - 1)
    )
    ours_term, theirs_term = ours.var(ddof=1) / 6, theirs_se**2
    nu = (ours_term + theirs_term) ** 2 / (ours_term**2 / 5 + theirs_term**2 / 4)
    reference = stats.ttest_ind_from_stats(
        ours.mean(),
        ours.std(ddof=1),
        6,
        theirs_mean,
        theirs_se * math.sqrt(folds),
        folds,
        equal_var=False,
    )
    for level, interval in ((0.90, found.ci90), (0.95, found.ci95)):
        half = stats.t.ppf((1 + level) / 2, nu) * math.sqrt(ours_term + theirs_term)
        assert interval == pytest.approx((found.value - half, found.value + half), rel=1e-12)
    p = 2 * stats.t.sf(abs(found.value) / math.sqrt(ours_term + theirs_term), nu)
    assert p == pytest.approx(reference.pvalue, rel=1e-9)


def test_without_published_uncertainty_it_is_students_interval() -> None:
    values = [220.0, 228, 231, 219, 226, 224]
    found = difference(
        float(np.mean(values)), float(np.std(values, ddof=1)), 6, Published(225, 0.0)
    )
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
        (
            (-13, -11.5),
            (-13.2, -10.9),
            "inconclusive",
        ),  # the 95 % interval still reaches into the margin
    ],
)
def test_states(ci90: tuple[float, float], ci95: tuple[float, float], state: str) -> None:
    assert state_of(ci90, ci95, 11.0) == state


def test_equivalence_equals_two_one_sided_t_tests() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = rng.normal(225 + rng.uniform(-12, 12), rng.uniform(1, 12), 10)
        found = difference(float(values.mean()), float(values.std(ddof=1)), 10, Published(225, 0.0))
        above = stats.ttest_1samp(values, 225 - 11, alternative="greater").pvalue < 0.05
        below = stats.ttest_1samp(values, 225 + 11, alternative="less").pvalue < 0.05
        assert (equivalent(found, 11.0) == "replicated") == (above and below)


def test_power_of_the_protocol() -> None:
    """Docs/protocol.md: seed spread 8, margin 10, published error 2: 10 seeds conclude in .83 of
    the runs, 5 in .46.
    """
    rng = np.random.default_rng(1)
    for seeds, expected in ((5, 0.46), (10, 0.83)):
        runs, published = (
            rng.normal(225, 8, (2000, seeds)),
            rng.normal(225, 2, 2000),
        )  # both studies have errors
        states = [
            equivalent(difference(run.mean(), run.std(ddof=1), seeds, Published(value, 2)), 10.0)
            for run, value in zip(runs, published, strict=True)
        ]
        assert states.count("replicated") / 2000 == pytest.approx(expected, abs=0.035)


def test_negative_control_a_model_far_below_is_not_replicated() -> None:
    values = np.random.default_rng(2).normal(150, 5, 10)
    assert (
        equivalent(difference(values.mean(), values.std(ddof=1), 10, Published(225, 2)), 11.0)
        == "not replicated"
    )


def test_seeds_needed() -> None:
    published = Published(225, 2.0)
    count = seeds_needed(223.0, 12.0, 6, published, 10.0)
    assert count is not None
    assert equivalent(difference(223.0, 12.0, count, published), 10.0) == "replicated"
    assert equivalent(difference(223.0, 12.0, count - 1, published), 10.0) == "inconclusive"
    assert (
        seeds_needed(225.0 - 10.0, 5.0, 6, published, 10.0) is None
    )  # exactly at the margin: never decided


@given(st.lists(st.floats(-300, 300), min_size=2, max_size=12), st.floats(0.5, 50))
def test_intervals_contain_the_difference_and_nest(values: list[float], error: float) -> None:
    found = difference(
        float(np.mean(values)), float(np.std(values, ddof=1)), len(values), Published(0.0, error)
    )
    assert found.ci95[0] <= found.ci90[0] <= found.value <= found.ci90[1] <= found.ci95[1]


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(ValueError, match="at least two"):
        difference(225.0, 0.0, 1, Published(225, 2))


def test_simultaneous_intervals_are_bonferronis() -> None:
    assert simultaneous(0.95, 1) == pytest.approx(0.95)
    assert simultaneous(0.95, 4) == pytest.approx(1 - 0.05 / 4)
    assert simultaneous(0.90, 0) == pytest.approx(0.90)
    values = [3.0, 4.5, 7.25, 5.0, 4.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.9875)
    assert mean_interval(values, simultaneous(0.95, 4)) == pytest.approx(
        (expected.low, expected.high), rel=1e-12
    )


def test_bootstrap_interval_of_the_interquartile_mean() -> None:
    """Against scipy's percentile bootstrap with other resamples: bounds agree to the resampling
    noise.
    """
    values = np.random.default_rng(3).normal(220, 6, 12)
    expected = stats.bootstrap(
        (values,), lambda x, axis: stats.trim_mean(x, 0.25, axis=axis), n_resamples=20_000, method="percentile",
        rng=np.random.default_rng(4),
    ).confidence_interval  # fmt: skip
    found = interquartile_mean_interval(list(values))
    assert found == pytest.approx((expected.low, expected.high), abs=0.1)
    assert interquartile_mean_interval(list(values)) == found
    assert interquartile_mean_interval([3.0]) is None
    assert interquartile_mean_interval([3.0, 3.0]) == (3.0, 3.0)


def test_bootstrap_recipe_of_the_documentation() -> None:
    """Docs/protocol.md, section 5: whoever follows it gets the same digits."""
    values = np.array([1.0, 4.0, 2.0, 9.0, 7.0])
    resampled = np.sort(
        values[np.random.default_rng(BOOTSTRAP_SEED).integers(0, 5, (10_000, 5))], axis=1
    )
    expected = np.quantile(resampled[:, 1:4].mean(1), [0.025, 0.975])
    assert interquartile_mean_interval(values.tolist()) == pytest.approx(tuple(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("successes", "trials"), [(0, 6), (6, 6), (7, 10), (1, 3), (10, 10), (1, 1), (0, 1)]
)
def test_wilson_interval_is_scipys(successes: int, trials: int) -> None:
    expected = stats.binomtest(successes, trials).proportion_ci(0.95, method="wilson")
    assert wilson_interval(successes, trials) == pytest.approx(
        (expected.low, expected.high), abs=1e-12
    )


def test_wilson_interval_of_newcombes_example() -> None:
    """Newcombe (1998), Statistics in Medicine 17, Table I, method 3: 81 of 263 gives .2553 to
    .3662.
    """
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    with pytest.raises(ValueError, match="at least one"):
        wilson_interval(0, 0)


def test_probability_of_improvement_is_mann_whitneys_u() -> None:
    noise = np.random.default_rng(5)
    ours, theirs = noise.integers(0, 8, 9).tolist(), noise.integers(0, 8, 7).tolist()  # with ties
    expected = stats.mannwhitneyu(ours, theirs).statistic / 63
    assert probability_of_improvement(ours, theirs) == pytest.approx(expected, rel=1e-12)
    assert probability_of_improvement(theirs, ours) == pytest.approx(1 - expected, rel=1e-12)
    interval = improvement_interval(ours, theirs)
    assert interval is not None
    assert interval[0] < expected < interval[1]


def test_interval_of_the_probability_of_improvement_covers_it() -> None:
    """With 10 seeds a side, one standard deviation apart: P = Phi(1 / sqrt 2); 95 % intervals cover
    .9 or more.
    """
    truth, noise, covered = stats.norm.cdf(math.sqrt(0.5)), np.random.default_rng(6), 0
    for _ in range(60):
        interval = improvement_interval(
            noise.normal(1, 1, 10).tolist(), noise.normal(0, 1, 10).tolist()
        )
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert covered >= 50


def test_sides_that_do_not_overlap_have_a_point() -> None:
    assert improvement_interval([5.0, 6.0, 7.0], [1.0, 2.0]) == (1.0, 1.0)
    assert improvement_interval([5.0], [1.0, 2.0]) is None


def test_variance_components_of_a_worked_example() -> None:
    """Three seeds of two draws. Means 11, 15, 19: variance 16; within 2: seed 16 - 2 / 2, draw
    2.
    """
    found = variance_components([[10.0, 12.0], [14.0, 16.0], [18.0, 20.0]])
    assert found.draw == pytest.approx(2.0)
    assert found.seed == pytest.approx(15.0)


def test_variance_components_are_unbiased() -> None:
    """Seed spread 3, draw spread 4, two draws: the means over many repetitions are 9 and 16,
    negative ones included.
    """
    noise, found = np.random.default_rng(7), []
    for _ in range(4000):
        draws = noise.normal(0, 3, (6, 1)) + noise.normal(0, 4, (6, 2))
        found.append(variance_components(draws.tolist()))
    seeds = [one.seed for one in found if one.seed is not None]
    assert min(seeds) < 0
    assert np.mean(seeds) == pytest.approx(9, abs=0.7)
    assert np.mean([one.draw for one in found if one.draw is not None]) == pytest.approx(
        16, abs=0.5
    )


def test_variance_components_with_unequal_draws_and_too_few() -> None:
    assert variance_components([[1.0], [2.0]]).seed is None
    assert variance_components([[1.0, 3.0]]).draw == pytest.approx(2.0)
    assert variance_components([[1.0, 3.0]]).seed is None
    found = variance_components(
        [[0.0, 2.0], [5.0]]
    )  # draw 2; means 1 and 5, variance 8; mean of 1 / R is 3 / 4
    assert found.seed == pytest.approx(8 - 2 * 0.75)


def test_difference_of_means_is_welchs_test() -> None:
    ours, theirs = [225.0, 228, 221, 230, 219, 226], [214.0, 209, 220, 216, 211, 213, 218]
    found, expected = (
        difference_of_means(ours, theirs),
        stats.ttest_ind(ours, theirs, equal_var=False),
    )
    for level in (0.90, 0.95, 0.99):
        interval = expected.confidence_interval(level)
        assert found.interval(level) == pytest.approx((interval.low, interval.high), rel=1e-9)
    with pytest.raises(ValueError, match="at least two"):
        difference_of_means(ours, [1.0])


def test_ordering_is_a_one_sided_welch_test() -> None:
    noise, states = np.random.default_rng(8), []
    for _ in range(300):
        ours, theirs = noise.normal(noise.uniform(-3, 3), 2, 8), noise.normal(0, 3, 8)
        state = ordering_of(difference_of_means(ours.tolist(), theirs.tolist()), comparisons=3)
        ahead = stats.ttest_ind(ours, theirs, equal_var=False, alternative="greater").pvalue < 0.05
        behind = (
            stats.ttest_ind(ours, theirs, equal_var=False).pvalue < 0.05 / 3
            and ours.mean() < theirs.mean()
        )
        assert state == ("replicated" if ahead else "not replicated" if behind else "inconclusive")
        states.append(state)
    assert set(states) == {"replicated", "not replicated", "inconclusive"}


def test_equal_means_without_any_spread_are_in_no_order() -> None:
    """The interval is the one number 0, which lies neither above 0 nor below."""
    gap = difference_of_means([3.0, 3.0], [3.0, 3.0])
    assert gap.ci90 == (0.0, 0.0)
    assert ordering_of(gap) == "inconclusive"
    # Sums of ten, whose rounding is another than that of sums of six.
    gap = difference_of_means([0.3] * 6, [0.3] * 10)
    assert gap.ci90 == (0.0, 0.0)
    assert ordering_of(gap) == "inconclusive"
    assert seeds_to_order([0.3] * 6, [0.3] * 10) is None


@given(value=st.floats(-1e6, 1e6), count=st.integers(2, 40))
def test_values_that_do_not_differ_have_their_own_mean_and_no_spread(
    value: float, count: int
) -> None:
    values = [value] * count
    assert mean_over_seeds(values) == value
    assert standard_deviation(values) == 0
    assert mean_interval(values) == (value, value)


def test_negative_control_a_worse_model_is_not_ahead() -> None:
    noise = np.random.default_rng(9)
    worse, better = noise.normal(150, 5, 10).tolist(), noise.normal(214, 5, 10).tolist()
    assert ordering_of(difference_of_means(worse, better), 3) == "not replicated"
    assert ordering_of(difference_of_means(better, worse), 3) == "replicated"


def test_seeds_to_order() -> None:
    ours, theirs = [10.0, 14.0, 12.0, 16.0, 8.0, 13.0], [9.0, 13.0, 11.0, 15.0, 8.0, 11.0]
    needed = seeds_to_order(ours, theirs)
    assert needed is not None
    gap, spread = np.mean(ours) - np.mean(theirs), [np.var(side, ddof=1) for side in (ours, theirs)]

    def lower(count: int) -> float:
        terms = [variance / count for variance in spread]
        degrees = sum(terms) ** 2 / sum(term**2 / (count - 1) for term in terms)
        return float(gap - stats.t.ppf(0.95, degrees) * math.sqrt(sum(terms)))

    assert lower(needed) > 0 >= lower(needed - 1)
    assert seeds_to_order(ours, ours) is None


def test_prediction_interval_of_one_run() -> None:
    """Half widths in standard deviations, without a published error: 4.97, 3.04 and 2.37 for 3, 5
    and 10 seeds.
    """
    for seeds, half in ((3, 4.97), (5, 3.04), (10, 2.37)):
        low, high = prediction_interval(220.0, 1.0, seeds, Published(225, 0.0))
        assert (high - low) / 2 == pytest.approx(half, abs=0.005)
        assert (high + low) / 2 == pytest.approx(220.0)
    wider = prediction_interval(220.0, 1.0, 10, Published(225, 2.0))
    assert wider[1] - 220 == pytest.approx(stats.t.ppf(0.975, 9) * math.sqrt(1.1 + 4))


def test_naive_z() -> None:
    assert naive_z(219.0, 6.0, 9, Published(225, 2.0)) == pytest.approx(-6 / math.sqrt(4 + 4))
    assert naive_z(219.0, 0.0, 9, Published(225, 0.0)) is None


@pytest.mark.parametrize("seeds", [0, 1, 2, 7, MOST_SEEDS - 1])
def test_the_fewest_seeds_are_more_than_there_are_and_at_least_two(seeds: int) -> None:
    counts: list[int] = []

    def state(count: int) -> VerdictState:
        counts.append(count)
        return "replicated"

    assert fewest_seeds(seeds, state) == max(seeds, 1) + 1
    assert counts == [max(seeds, 1) + 1]


def test_no_more_seeds_are_asked_for_than_anyone_can_train() -> None:
    def state(count: int) -> VerdictState:
        return "inconclusive" if count < needed else "not replicated"

    needed = MOST_SEEDS
    assert fewest_seeds(3, state) == MOST_SEEDS
    needed = MOST_SEEDS + 1
    assert fewest_seeds(3, state) is None
    assert fewest_seeds(MOST_SEEDS, state) is None
