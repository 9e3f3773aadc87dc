"""Means over seeds, their intervals, and the tests behind verdicts (docs/protocol.md, 3 to 5).

Of scipy only the quantile functions are used. `scipy.stats` has the same tests, but takes half a
second to load, which every stage that reads this module would pay, and says NaN where seeds do not
differ at all. `tests/test_statistics.py` holds the formulas here against it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from replicate.records.schema import VerdictState

Floats = NDArray[np.float64]
Interval = tuple[float, float]

#: Seeds beyond which "more seeds" is no longer advice that anyone can follow.
MOST_SEEDS = 1000
#: Bootstrap resamples, and the seed of their generator: the same values give the same interval.
RESAMPLES, BOOTSTRAP_SEED = 10_000, 2014


def as_list(interval: Interval | None) -> list[float] | None:
    """An interval as result files hold it; None where there is none."""
    if interval is None:
        return None
    return list(interval)


def _are_equal(values: Sequence[float]) -> bool:
    """Whether the seeds do not differ at all."""
    return min(values) == max(values)


def mean_over_seeds(values: Sequence[float]) -> float:
    """The mean over one seed or more; of equal values that value.

    A rounded sum misses it: ten times 0.3 has the mean 0.29999999999999993, which lies on a side of
    the threshold 0.3.
    """
    if _are_equal(values):
        return float(values[0])
    return float(np.mean(values))


def _variance(values: Sequence[float]) -> float:
    """Variance over two seeds or more, ddof 1; of equal values 0, which rounding misses."""
    if _are_equal(values):
        return 0.0
    return float(np.var(values, ddof=1))


def standard_deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds, ddof 1; None for fewer than two."""
    if len(values) < 2:
        return None
    return math.sqrt(_variance(values))


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half: the 25 % trimmed mean (Agarwal et al. 2021)."""
    in_double = np.asarray(values, dtype=np.float64)
    return float(_trimmed_mean(in_double))


def _trimmed_mean(values: Floats) -> Floats:
    """Means along the last axis, of n values without the n // 4 lowest and n // 4 highest."""
    count = values.shape[-1]
    # Rounded down, as `scipy.stats.trim_mean` does: with fewer than four seeds nothing is trimmed.
    cut = count // 4
    end = count - cut
    # The mean of the middle needs its members, not their order: no full sort of the resamples.
    partitioned = np.partition(values, (cut, end - 1), axis=-1)
    middle = partitioned[..., cut:end]
    return np.asarray(middle.mean(-1))


def _student(level: float, degrees: float) -> float:
    """Half the width of the two-sided t interval, in standard errors.

    For infinite degrees of freedom it is the normal one.
    """
    # Half of what lies outside the interval lies below it.
    probability = (1 + level) / 2
    quantile = special.stdtrit(degrees, probability)
    return float(quantile)


def simultaneous(level: float, claims: int) -> float:
    """The level of each of `claims` intervals that together hold with `level` (Bonferroni)."""
    error_rate = 1 - level
    # A run that attempted no published value still has one interval.
    intervals = max(claims, 1)
    # Bonferroni holds for any dependence, and the rows of a data set share their test images.
    return 1 - error_rate / intervals


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Student's t interval for the mean over seeds; None for fewer than two."""
    spread = standard_deviation(values)
    if spread is None:
        return None
    count = len(values)
    half = _student(level, count - 1) * spread / math.sqrt(count)
    mean = mean_over_seeds(values)
    return mean - half, mean + half


def _resampled(values: Sequence[float], generator: np.random.Generator) -> Floats:
    """`RESAMPLES` samples of n values with replacement, (RESAMPLES, n)."""
    count = len(values)
    # Written into docs/protocol.md, call and shape: whoever repeats it gets the same interval.
    indices = generator.integers(0, count, (RESAMPLES, count))
    in_double = np.asarray(values, dtype=np.float64)
    return in_double[indices]


def _percentiles(estimates: Floats, level: float) -> Interval:
    """The interval that leaves out as many estimates below as above."""
    lower_tail = (1 - level) / 2
    upper_tail = (1 + level) / 2
    low, high = np.quantile(estimates, [lower_tail, upper_tail])
    return float(low), float(high)


def interquartile_mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Percentile bootstrap interval of the interquartile mean over seeds (Agarwal et al. 2021).

    None for fewer than two seeds.
    """
    if len(values) < 2:
        return None
    resampled = _resampled(values, np.random.default_rng(BOOTSTRAP_SEED))
    return _percentiles(_trimmed_mean(resampled), level)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share (1927); ValueError without a trial."""
    if trials < 1:
        raise ValueError("a share needs at least one trial")
    share = successes / trials
    # Wilson and not share +- z s: with all seeds ahead the latter is a point.
    z = float(special.ndtri((1 + level) / 2))
    shrinkage = 1 + z * z / trials
    centre = (share + z * z / (2 * trials)) / shrinkage
    variance = share * (1 - share) / trials + (z / (2 * trials)) ** 2
    half = z / shrinkage * math.sqrt(variance)
    # Exact arithmetic stays within [0, 1]; rounding may not.
    low = max(centre - half, 0.0)
    high = min(centre + half, 1.0)
    return low, high


def probability_of_improvement(ours: Sequence[float], rival: Sequence[float]) -> float:
    """Share of pairs of seeds in which ours is ahead; a tie counts half.

    It is Mann-Whitney's U, divided by the number of pairs.
    """
    differences = np.subtract.outer(np.asarray(ours), np.asarray(rival))
    # A sign is 1 ahead, 0 in a tie and -1 behind.
    mean_sign = np.sign(differences).mean()
    return float((mean_sign + 1) / 2)


def improvement_interval(
    ours: Sequence[float], rival: Sequence[float], level: float = 0.95
) -> Interval | None:
    """Percentile bootstrap interval of the probability of improvement.

    The seeds of both models are resampled. None where a model has fewer than two seeds. Where every
    seed of one is ahead of every seed of the other, the interval is a point: no resample mixes
    them.
    """
    fewest = min(len(ours), len(rival))
    if fewest < 2:
        return None
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    # One generator for both, one after the other: equal indices would pair seeds that are not
    # pairs.
    resampled_ours = _resampled(ours, generator)
    resampled_rival = _resampled(rival, generator)
    # (resamples, our seeds, the rival's seeds)
    differences = resampled_ours[:, :, None] - resampled_rival[:, None]
    mean_signs = np.sign(differences).mean((1, 2))
    probabilities = (mean_signs + 1) / 2
    return _percentiles(probabilities, level)


@dataclass(frozen=True)
class Components:
    """Variances that must not be mixed, nats squared; None where there are too few values.

    Attributes:
        seed: between training seeds alone, without what the draws add to it. The estimate is
            unbiased, so it may be negative.
        draw: between draws of samples from one trained model.
    """

    seed: float | None
    draw: float | None


def variance_components(draws: Sequence[Sequence[float]]) -> Components:
    """Separates the variance of training seeds from that of sample draws.

    One-way random effects, method of moments. With y_ir = mu + a_i + b_ir for seed i and draw r of
    R_i, the variance within seeds, pooled by its degrees of freedom, estimates var b; the variance
    of the seeds' means (ddof 1) estimates var a + var b * mean(1 / R_i).

    Args:
        draws: per seed, the log-likelihood of every draw of samples, nats.
    """
    # A seed with one draw says nothing of the spread between draws.
    repeated = [values for values in draws if len(values) > 1]
    if not repeated:
        return Components(None, None)
    degrees = 0
    squares = 0.0
    for values in repeated:
        # Pooled by degrees of freedom: a seed with more draws says more of their spread.
        degrees_of_seed = len(values) - 1
        degrees += degrees_of_seed
        squares += degrees_of_seed * float(np.var(values, ddof=1))
    draw_variance = squares / degrees
    if len(draws) < 2:
        return Components(None, draw_variance)
    seed_means = [np.mean(values) for values in draws]
    variance_of_means = float(np.var(seed_means, ddof=1))
    # Draws that are averaged over leave 1 / R of their variance in the mean of a seed.
    inverse_counts = [1 / len(values) for values in draws]
    share_of_draws = float(np.mean(inverse_counts))
    # Not cut at 0, which would bias it upwards; the page shows a dash for a negative one.
    seed_variance = variance_of_means - draw_variance * share_of_draws
    return Components(seed_variance, draw_variance)


@dataclass(frozen=True)
class Published:
    """A published mean log-likelihood: its value and standard error, nats.

    `degrees` are the degrees of freedom of the standard error; None, for 10,000 test images, counts
    as infinitely many.
    """

    value: float
    standard_error: float
    degrees: float | None = None


@dataclass(frozen=True)
class Difference:
    """A mean less a value or another mean, with its standard error, nats.

    `degrees` are the degrees of freedom by Welch and Satterthwaite.
    """

    value: float
    error: float
    degrees: float

    def interval(self, level: float) -> Interval:
        """The two-sided t interval of that level."""
        quantile = _student(level, self.degrees)
        half = quantile * self.error
        return self.value - half, self.value + half

    @property
    def ci90(self) -> Interval:
        """The interval of two one-sided tests at 5 %."""
        return self.interval(0.90)

    @property
    def ci95(self) -> Interval:
        """The interval of one two-sided test at 5 %."""
        return self.interval(0.95)


def welch(value: float, terms: Sequence[tuple[float, float | None]]) -> Difference:
    """The difference `value`, with the errors of its terms added up (Welch, Satterthwaite).

    Args:
        value: nats.
        terms: (squared standard error, its degrees of freedom), None for infinitely many.
    """
    total = sum(square for square, _ in terms)
    # A term of infinitely many degrees adds nothing to the denominator.
    estimated = [(square, degrees) for square, degrees in terms if degrees]
    denominator = sum(square**2 / degrees for square, degrees in estimated)
    # Where no term is estimated the sum is known, and its interval normal.
    degrees_of_sum = math.inf
    # Seeds that do not differ have no variance, and 0 / 0 would be NaN.
    if denominator > 0:
        degrees_of_sum = total**2 / denominator
    return Difference(value, math.sqrt(total), degrees_of_sum)


def difference(mean: float, spread: float, seeds: int, published: Published) -> Difference:
    """Measured mean less published value.

    The published standard error is counted although both studies share their test images, which is
    conservative.

    Args:
        mean: over seeds, nats.
        spread: standard deviation over seeds (ddof 1), nats.
        seeds: how many.
        published: value of the paper.

    Raises:
        ValueError: there are fewer than two seeds, for which no interval exists.
    """
    if seeds < 2:
        raise ValueError("an interval over seeds needs at least two")
    squared_error = spread**2 / seeds
    published_square = published.standard_error**2
    over_seeds = (squared_error, seeds - 1)
    # The paper's error is over test images (or folds), ours over seeds: two sources, so both count.
    over_images = (published_square, published.degrees)
    return welch(mean - published.value, [over_seeds, over_images])


def difference_of_means(ours: Sequence[float], rival: Sequence[float]) -> Difference:
    """Mean over our seeds less the mean over a rival's, for Welch's test.

    Raises:
        ValueError: a side has fewer than two seeds.
    """
    fewest = min(len(ours), len(rival))
    if fewest < 2:
        raise ValueError("an interval over seeds needs at least two")
    terms = []
    for values in (ours, rival):
        count = len(values)
        terms.append((_variance(values) / count, count - 1))
    value = mean_over_seeds(ours) - mean_over_seeds(rival)
    return welch(value, terms)


def naive_z(mean: float, spread: float, seeds: int, published: Published) -> float | None:
    """The difference in standard errors, for information; None where there is no error.

    It decides nothing: few seeds make it small.
    """
    gap = difference(mean, spread, seeds, published)
    # So written, NaN has no z either.
    if not gap.error > 0:
        return None
    return gap.value / gap.error


def prediction_interval(
    mean: float, spread: float, seeds: int, published: Published, level: float = 0.95
) -> Interval:
    """Where one run like the paper's would fall, by both uncertainties (Spence and Stanley 2016).

    It informs and never decides: a noisy replication has a wide interval, in which anything falls.
    """
    # That of one more seed, and that of the mean which predicts it.
    seed_variance = spread**2 * (1 + 1 / seeds)
    variance = seed_variance + published.standard_error**2
    # The degrees of freedom of our spread alone: the published error counts as known.
    half = _student(level, seeds - 1) * math.sqrt(variance)
    return mean - half, mean + half


def state_of(ci90: Interval, ci95: Interval, margin: float) -> VerdictState:
    """The verdict of two one-sided tests at 5 % with an equivalence margin; higher is better.

    - replicated: the 90 % interval of the difference lies within +- margin.
    - exceeds: otherwise, if it lies above 0.
    - not inferior: otherwise, if it lies above -margin.
    - not replicated: otherwise, if the 95 % interval lies below -margin.
    - inconclusive: otherwise.
    """
    low, high = ci90
    # First: a value that is equivalent is replicated also where it lies above the published one.
    if -margin < low and high < margin:
        return "replicated"
    if low > 0:
        return "exceeds"
    if low > -margin:
        return "not inferior"
    # To deny takes more than to affirm: the two-sided test.
    _, highest = ci95
    if highest < -margin:
        return "not replicated"
    return "inconclusive"


def ordering_of(gap: Difference, comparisons: int = 1) -> VerdictState:
    """The verdict on "the first mean is the higher one", from its difference to the second.

    replicated: the 90 % interval lies above 0, a one-sided test at 5 %. not replicated: the 95 %
    interval, simultaneous over the claim's `comparisons`, lies below 0.
    """
    lowest, _ = gap.ci90
    if lowest > 0:
        return "replicated"
    # All comparisons must hold, but one that fails is enough to deny: only there errors add up.
    level = simultaneous(0.95, comparisons)
    _, highest = gap.interval(level)
    if highest < 0:
        return "not replicated"
    return "inconclusive"


def fewest_seeds(seeds: int, state: Callable[[int], VerdictState]) -> int | None:
    """The fewest seeds beyond `seeds` with which `state` decides; None if 1,000 are too few."""
    # At least two: one seed has no spread.
    first = max(seeds, 1) + 1
    for count in range(first, MOST_SEEDS + 1):
        if state(count) != "inconclusive":
            return count
    return None


def seeds_needed(
    mean: float, spread: float, seeds: int, published: Published, margin: float
) -> int | None:
    """The fewest seeds that would decide equivalence if mean and spread stayed as they are.

    None if 1,000 are too few.
    """

    def state(count: int) -> VerdictState:
        gap = difference(mean, spread, count, published)
        return state_of(gap.ci90, gap.ci95, margin)

    return fewest_seeds(seeds, state)


def seeds_to_order(
    ours: Sequence[float], rival: Sequence[float], comparisons: int = 1
) -> int | None:
    """The fewest seeds of each model that would order two if means and spreads stayed.

    None if 1,000 are too few.
    """
    value = mean_over_seeds(ours) - mean_over_seeds(rival)
    variances = [_variance(values) for values in (ours, rival)]

    def state(count: int) -> VerdictState:
        # Both models with as many seeds each, as a new run would have them.
        degrees = count - 1
        terms = [(variance / count, degrees) for variance in variances]
        gap = welch(value, terms)
        return ordering_of(gap, comparisons)

    fewest = min(len(ours), len(rival))
    return fewest_seeds(fewest, state)
