"""Means over seeds, their intervals, and the verdict on a published value (docs/protocol.md, section 3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

State = Literal[
    "replicated", "exceeds", "not inferior", "not replicated", "inconclusive",
    "withheld", "not applicable", "no published value", "not attempted",
]  # fmt: skip
#: Seeds beyond which "more seeds" is no longer advice that anyone can follow.
MOST_SEEDS = 1000


def standard_deviation(values: Sequence[float]) -> float | None:
    """Standard deviation over seeds, ddof 1; None for fewer than two."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def interquartile_mean(values: Sequence[float]) -> float:
    """Mean of the middle half: the 25 % trimmed mean (Agarwal et al. 2021)."""
    return float(stats.trim_mean(values, 0.25))


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's t interval for the mean over seeds; None for fewer than two."""
    spread = standard_deviation(values)
    if spread is None:
        return None
    half = float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
    centre = float(np.mean(values))
    return centre - half, centre + half


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
    """Measured mean minus published value, nats, with Welch-Satterthwaite intervals.

    The published standard error is counted although both studies share their test images, which is conservative.
    """

    value: float
    ci90: tuple[float, float]
    ci95: tuple[float, float]


def difference(mean: float, spread: float, seeds: int, published: Published) -> Difference:
    """The difference for `seeds` values of mean `mean` and standard deviation `spread` (ddof 1).

    Raises ValueError if there are fewer than two seeds, for which no interval exists.
    """
    if seeds < 2:
        raise ValueError("an interval over seeds needs at least two")
    ours, theirs = spread**2 / seeds, published.standard_error**2
    total = ours + theirs
    denominator = ours**2 / (seeds - 1) + (theirs**2 / published.degrees if published.degrees else 0.0)
    degrees = total**2 / denominator if denominator > 0 else math.inf
    value, error = mean - published.value, math.sqrt(total)

    def interval(level: float) -> tuple[float, float]:
        half = float(stats.t.ppf((1 + level) / 2, degrees)) * error
        return value - half, value + half

    return Difference(value, interval(0.90), interval(0.95))


def state_of(found: Difference, margin: float) -> State:
    """The verdict of two one-sided tests at 5 % with the equivalence margin `margin` (higher is better).

    replicated: the 90 % interval lies within +- margin. exceeds: it lies wholly above 0, and not within.
    not inferior: it lies above -margin, and neither holds. not replicated: the 95 % interval lies below -margin.
    """
    low, high = found.ci90
    if -margin < low and high < margin:
        return "replicated"
    if low > 0:
        return "exceeds"
    if low > -margin:
        return "not inferior"
    return "not replicated" if found.ci95[1] < -margin else "inconclusive"


def seeds_needed(mean: float, spread: float, seeds: int, published: Published, margin: float) -> int | None:
    """The fewest seeds that would decide if mean and spread stayed as they are; None if none up to 1000 would."""
    for count in range(max(seeds, 1) + 1, MOST_SEEDS + 1):
        if state_of(difference(mean, spread, count, published), margin) != "inconclusive":
            return count
    return None
