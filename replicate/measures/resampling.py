"""Intervals by the bootstrap over images (Efron 1979).

Images are drawn anew with replacement; what is not drawn again is the training of the model, so
these intervals say nothing of another seed. All intervals are at 95 %.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

#: Of the generator; the second number keeps samples and true images apart.
SEED = 2014
#: Ends of the percentile interval, and the normal quantile of the same level.
QUANTILES = (0.025, 0.975)
NORMAL_QUANTILE = 1.959964


@dataclass(frozen=True)
class Estimate:
    """A measured value.

    Attributes:
        value: in the measure's unit.
        interval: 95 % interval over images; None where there is none.
        images: images of which it is a mean, or which it compares.
        details: numbers beside it, by name.
    """

    value: float
    interval: tuple[float, float] | None
    images: int
    details: dict[str, float] = field(default_factory=dict)


def weights(count: int, resamples: int, stream: int = 0) -> Tensor:
    """How often each of `count` images is drawn in each resample, (resamples, count) float64.

    Args:
        count: images.
        resamples: bootstrap samples, each of `count` images.
        stream: another one is independent of it.
    """
    # The same resamples for all measures of as many images.
    generator = np.random.default_rng((SEED, stream))
    counts = np.empty((resamples, count))
    for row in counts:
        drawn = generator.integers(0, count, count)
        # As counts: a mean over a resample is a product with them, whatever the statistic.
        row[:] = np.bincount(drawn, minlength=count)
    return torch.from_numpy(counts)


def mean_of(values: Tensor, resamples: int) -> Estimate:
    """The mean of one number an image, with its percentile interval.

    Args:
        values: (n,).
        resamples: bootstrap samples.
    """
    return mean_of_halves([values], resamples)


def mean_of_halves(parts: Sequence[Tensor], resamples: int) -> Estimate:
    """The mean of the means of several sets, each resampled on its own.

    Args:
        parts: (n,) each.
        resamples: bootstrap samples.
    """
    means = torch.zeros(resamples, dtype=torch.float64)
    value = 0.0
    for stream, values in enumerate(parts):
        numbers = values.double().cpu()
        count = len(numbers)
        # Another stream for each set: equal ones would make the errors of both halves move
        # together.
        resampled = weights(count, resamples, stream) @ numbers / count
        means += resampled / len(parts)
        value += float(numbers.mean()) / len(parts)
    low, high = np.quantile(means.numpy(), QUANTILES)
    return Estimate(value, (float(low), float(high)), sum(map(len, parts)))


def normal_interval(value: float, resampled: Sequence[float]) -> tuple[float, float]:
    """The value plus and minus two standard deviations over resamples.

    For statistics that are biased upwards in resamples, because these hold images twice.
    """
    # About the value and not about the mean of the resamples, which has their bias.
    half_width = NORMAL_QUANTILE * float(np.std(resampled, ddof=1))
    return value - half_width, value + half_width
