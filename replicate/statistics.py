"""Means over seeds, their intervals, and the tests behind the verdicts (docs/protocol.md, sections 3 to 5)."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Interval = tuple[float, float]

State = Literal[
    "replicated", "exceeds", "not inferior", "not replicated", "inconclusive",
    "withheld", "not applicable", "no published value", "not attempted",
]  # fmt: skip
#: Seeds beyond which "more seeds" is no longer advice that anyone can follow.
MOST_SEEDS = 1000
#: Bootstrap resamples, and the seed of their generator: the same values give the same interval.
RESAMPLES, BOOTSTRAP_SEED = 10_000, 2014


def standard_deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds, ddof 1; None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half: the 25 % trimmed mean (Agarwal et al. 2021)."""
    return float(_trimmed_mean(np.asarray(values, dtype=np.float64)))


def _trimmed_mean(values: Floats) -> Floats:
    """The mean along the last axis without the lowest and the highest quarter of n values, n // 4 of each."""
    count = values.shape[-1]
    cut = count // 4
    kept = np.partition(values, (cut, count - cut - 1), axis=-1)[..., cut : count - cut]
    return np.asarray(kept.mean(-1))


def _student(level: float, degrees: float) -> float:
    """Half the width, in standard errors, of the two-sided t interval; of the normal one for infinite degrees."""
    return float(special.stdtrit(degrees, (1 + level) / 2))


def simultaneous(level: float, claims: int) -> float:
    """The level of each of `claims` intervals that hold together with at least `level` (Bonferroni)."""
    return 1 - (1 - level) / max(claims, 1)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Student's t interval for the mean over seeds; None for fewer than two."""
    spread = standard_deviation(values)
    if spread is None:
        return None
    half = _student(level, len(values) - 1) * spread / math.sqrt(len(values))
    centre = float(np.mean(values))
    return centre - half, centre + half


def _resampled(values: Sequence[float], generator: np.random.Generator) -> Floats:
    """`RESAMPLES` samples with replacement, (RESAMPLES, n)."""
    return np.asarray(values, dtype=np.float64)[generator.integers(0, len(values), (RESAMPLES, len(values)))]


def _percentiles(estimates: Floats, level: float) -> Interval:
    low, high = np.quantile(estimates, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interquartile_mean_interval(values: Sequence[float], level: float = 0.95) -> Interval | None:
    """Percentile bootstrap interval of the interquartile mean over seeds (Agarwal et al. 2021); None for one seed."""
    if len(values) < 2:
        return None
    resampled = _resampled(values, np.random.default_rng(BOOTSTRAP_SEED))
    return _percentiles(_trimmed_mean(resampled), level)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Wilson's score interval for a share (1927); ValueError without a trial."""
    if trials < 1:
        raise ValueError("a share needs at least one trial")
    z, share = float(special.ndtri((1 + level) / 2)), successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def probability_of_improvement(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Share of pairs of seeds in which ours is ahead, a tie counting half: Mann-Whitney's U / (n m)."""
    pairs = np.sign(np.subtract.outer(np.asarray(ours), np.asarray(theirs)))
    return float((pairs.mean() + 1) / 2)


def improvement_interval(ours: Sequence[float], theirs: Sequence[float], level: float = 0.95) -> Interval | None:
    """Percentile bootstrap interval of the probability of improvement, seeds of both sides resampled.

    None where a side has fewer than two seeds. Where one side is wholly ahead it is a point: no resample mixes them.
    """
    if min(len(ours), len(theirs)) < 2:
        return None
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    one, other = _resampled(ours, generator), _resampled(theirs, generator)
    return _percentiles((np.sign(one[:, :, None] - other[:, None]).mean((1, 2)) + 1) / 2, level)


@dataclass(frozen=True)
class Components:
    """Variances that must not be mixed, nats squared; None where they cannot be told.

    Attributes:
        seed: between training seeds, with the draws' part taken off. Unbiased, so it may come out negative.
        draw: between draws of samples from one trained model.
    """

    seed: float | None
    draw: float | None


def variance_components(draws: Sequence[Sequence[float]]) -> Components:
    """Takes the variances of training seed and sample draw apart (one-way random effects, method of moments).

    With y_ir = mu + a_i + b_ir for seed i and draw r of R_i, the variance within seeds, pooled by its degrees of
    freedom, estimates var b; the variance of the seeds' means (ddof 1) estimates var a + var b * mean(1 / R_i).

    Args:
        draws: per seed, the log-likelihood of every draw of samples.
    """
    within = [(len(values) - 1, float(np.var(values, ddof=1))) for values in draws if len(values) > 1]
    of_draw = sum(n * variance for n, variance in within) / sum(n for n, _ in within) if within else None
    if of_draw is None or len(draws) < 2:
        return Components(None, of_draw)
    of_means = float(np.var([np.mean(values) for values in draws], ddof=1))
    return Components(of_means - of_draw * float(np.mean([1 / len(values) for values in draws])), of_draw)


@dataclass(frozen=True)
class Published:
    """A published mean log-likelihood: its value and standard error, nats.

    `degrees` are the degrees of freedom of the standard error; None (10,000 test images) counts as infinite.
    """

    value: float
    standard_error: float
    degrees: float | None = None


@dataclass(frozen=True)
class Difference:
    """One mean minus another value or mean, nats: its standard error and Welch-Satterthwaite's degrees of freedom."""

    value: float
    error: float
    degrees: float

    def interval(self, level: float) -> Interval:
        """The two-sided t interval of that level."""
        half = _student(level, self.degrees) * self.error
        return self.value - half, self.value + half

    @property
    def ci90(self) -> Interval:
        """The interval of two one-sided tests at 5 %."""
        return self.interval(0.90)

    @property
    def ci95(self) -> Interval:
        """The interval of one two-sided test at 5 %."""
        return self.interval(0.95)


def _welch(value: float, terms: Sequence[tuple[float, float | None]]) -> Difference:
    """`terms` are (squared standard error, its degrees of freedom), None for infinitely many."""
    total = sum(square for square, _ in terms)
    denominator = sum(square**2 / degrees for square, degrees in terms if degrees)
    return Difference(value, math.sqrt(total), total**2 / denominator if denominator > 0 else math.inf)


def difference(mean: float, spread: float, seeds: int, published: Published) -> Difference:
    """Measured mean minus published value, for `seeds` values of mean `mean` and standard deviation `spread` (ddof 1).

    The published standard error is counted although both studies share their test images, which is conservative.
    Raises ValueError if there are fewer than two seeds, for which no interval exists.
    """
    if seeds < 2:
        raise ValueError("an interval over seeds needs at least two")
    return _welch(
        mean - published.value, [(spread**2 / seeds, seeds - 1), (published.standard_error**2, published.degrees)]
    )


def difference_of_means(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """Mean over our seeds minus the mean over a rival's, Welch's test; ValueError for fewer than two seeds."""
    if min(len(ours), len(theirs)) < 2:
        raise ValueError("an interval over seeds needs at least two")
    terms = [(float(np.var(values, ddof=1)) / len(values), len(values) - 1) for values in (ours, theirs)]
    return _welch(float(np.mean(ours) - np.mean(theirs)), terms)


def naive_z(mean: float, spread: float, seeds: int, published: Published) -> float | None:
    """The difference in standard errors; never a verdict, since few seeds make it small. None without any error."""
    error = difference(mean, spread, seeds, published).error
    return (mean - published.value) / error if error > 0 else None


def prediction_interval(mean: float, spread: float, seeds: int, published: Published, level: float = 0.95) -> Interval:
    """Where one run like the paper's would fall, given both uncertainties (Spence and Stanley 2016).

    A noisy replication has a wide one, in which anything falls; so it informs and never decides.
    """
    half = _student(level, seeds - 1) * math.sqrt(spread**2 * (1 + 1 / seeds) + published.standard_error**2)
    return mean - half, mean + half


def state_of(ci90: Interval, ci95: Interval, margin: float) -> State:
    """The verdict of two one-sided tests at 5 % with the equivalence margin `margin` (higher is better).

    replicated: the 90 % interval of the difference lies within +- margin. exceeds: it lies wholly above 0, and not
    within. not inferior: it lies above -margin, and neither holds. not replicated: the 95 % interval lies wholly
    below -margin.
    """
    low, high = ci90
    if -margin < low and high < margin:
        return "replicated"
    if low > 0:
        return "exceeds"
    if low > -margin:
        return "not inferior"
    return "not replicated" if ci95[1] < -margin else "inconclusive"


def ordering_of(found: Difference, comparisons: int = 1) -> State:
    """The verdict on "the first mean is the higher one".

    replicated: the 90 % interval lies above 0, a one-sided test at 5 %. not replicated: the 95 % interval, simultaneous
    over the claim's `comparisons`, lies below 0.
    """
    if found.ci90[0] > 0:
        return "replicated"
    return "not replicated" if found.interval(simultaneous(0.95, comparisons))[1] < 0 else "inconclusive"


def fewest_seeds(seeds: int, state: Callable[[int], State]) -> int | None:
    """The fewest seeds, more than `seeds`, that decide; None if none up to 1000 does."""
    return next((k for k in range(max(seeds, 1) + 1, MOST_SEEDS + 1) if state(k) != "inconclusive"), None)


def seeds_needed(mean: float, spread: float, seeds: int, published: Published, margin: float) -> int | None:
    """The fewest seeds that would decide if mean and spread stayed as they are; None if none up to 1000 would."""

    def state(count: int) -> State:
        found = difference(mean, spread, count, published)
        return state_of(found.ci90, found.ci95, margin)

    return fewest_seeds(seeds, state)


def seeds_to_order(ours: Sequence[float], theirs: Sequence[float], comparisons: int = 1) -> int | None:
    """The fewest seeds of each side that would order them if means and spreads stayed; None if none up to 1000."""
    value = float(np.mean(ours) - np.mean(theirs))
    variances = [float(np.var(values, ddof=1)) for values in (ours, theirs)]

    def state(count: int) -> State:
        return ordering_of(_welch(value, [(variance / count, count - 1) for variance in variances]), comparisons)

    return fewest_seeds(min(len(ours), len(theirs)), state)
