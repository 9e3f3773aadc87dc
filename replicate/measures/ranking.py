"""Rows ranked by every measure, and how far the measures agree; without torch.

Rank 1 is the best. Equally good rows share the mean of their ranks.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from replicate.measures import goodness
from replicate.records.schema import Measured

Floats = NDArray[np.float64]
#: Resamples of seeds and images, and the seed of their generator.
RESAMPLES, SEED = 2000, 2014
#: Half the width of a 95 % interval of a normal distribution, in standard errors.
NORMAL_QUANTILE = 1.959964


def label(entry: Measured) -> str:
    """A measure with its space, if it has one: `precision/pixels`, `parzen`."""
    space = entry["space"]
    return f"{entry['measure']}/{space}" if space else entry["measure"]


def ranks(goods: Floats) -> Floats:
    """The ranks of numbers of which higher ones are better, along the last axis."""
    # (..., rows, rows): who is better than whom; equal ones share the mean of their ranks.
    better = goods[..., None, :] > goods[..., :, None]
    equal = goods[..., None, :] == goods[..., :, None]
    mean_ranks: Floats = 1 + better.sum(-1) + (equal.sum(-1) - 1) / 2
    return mean_ranks


def kendall_w(rank_rows: Floats) -> Floats:
    """Kendall's coefficient of concordance, with ties (Kendall and Babington Smith 1939).

    Args:
        rank_rows: (..., measures, rows) ranks.

    Returns:
        (...,): 1 where all measures order the rows alike; not-a-number where nothing varies.
    """
    measures, rows = rank_rows.shape[-2:]
    totals = rank_rows.sum(-2)
    spread = np.square(totals - totals.mean(-1, keepdims=True)).sum(-1)
    # Without ties the ranks of a measure have the sum of squares (n^3 - n) / 12.
    deviations = rank_rows - (rows + 1) / 2
    # From the ranks themselves, not from (n^3 - n) / 12: ties make it smaller.
    largest = measures * np.square(deviations).sum((-2, -1))
    # 0 / 0 where every measure has only ties: NaN says that there is nothing to agree on.
    with np.errstate(invalid="ignore"):
        concordance: Floats = spread / largest
    return concordance


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's tau b of two rankings; None where one of them is all ties."""
    one, two = np.asarray(first), np.asarray(second)
    signs = np.sign(one[:, None] - one[None])
    second_signs = np.sign(two[:, None] - two[None])
    # tau b: pairs that one ranking ties count in neither of the two sums.
    norm = float(np.sqrt(np.square(signs).sum() * np.square(second_signs).sum()))
    return float((signs * second_signs).sum()) / norm if norm else None


def resampled_means(seeds: Sequence[Measured], stream: Sequence[int]) -> Floats:
    """Means over seeds drawn with replacement, each with the noise of its images, (RESAMPLES,).

    Args:
        seeds: what a measure says of every seed, all with values.
        stream: of the random numbers; another one is independent.
    """
    generator = np.random.default_rng((SEED, *stream))
    # By a normal error and not by the images themselves, which stand in no result.
    values = np.array([seed["value"] for seed in seeds], dtype=np.float64)
    errors = np.array([_standard_error(seed) for seed in seeds])
    # Seeds with replacement and images by their error: both uncertainties, each once.
    drawn = generator.integers(0, len(seeds), (RESAMPLES, len(seeds)))
    noise = generator.standard_normal((RESAMPLES, len(seeds)))
    means: Floats = (values[drawn] + errors[drawn] * noise).mean(1)
    return means


def _standard_error(entry: Measured) -> float:
    """Over images, from the interval; 0 where there is none."""
    if entry["interval"] is None:
        return 0.0
    # Intervals are of 95 % (`resampling`), so that half their width is 1.96 standard errors.
    low, high = entry["interval"]
    return (high - low) / (2 * NORMAL_QUANTILE)


def interval_of(resampled: Floats) -> list[float]:
    """The middle 95 % of resampled numbers."""
    low, high = np.quantile(resampled, (0.025, 0.975))
    return [float(low), float(high)]


def agreement_of_seed(
    values: Mapping[str, Mapping[str, float]], reference: str, labels: Sequence[str]
) -> dict[str, float | None]:
    """Kendall's tau of a reference measure with others over rows, within one seed.

    Args:
        values: row -> measure with its space -> value.
        reference: measure that the others are compared with.
        labels: the others.
    """
    taus = {}
    orders = {}
    for name in (reference, *labels):
        measure = name.split("/")[0]
        # As goodness, so that tau is 1 where both agree, on whichever side better values lie.
        orders[name] = [goodness(measure, of_row[name]) for of_row in values.values()]
    for name in labels:
        taus[name] = kendall_tau(orders[reference], orders[name])
    return taus
