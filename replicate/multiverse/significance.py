"""Tests that the protocol does not use: by signs, by ranks, and the sceptical p-value.

Each is exact, or a closed form. `tests/multiverse/test_significance.py` holds them against scipy,
against counts of all signs, and against the equation that defines the last one.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy import special


def sign_test(differences: Sequence[float]) -> tuple[float, float]:
    """P-values of "more often above 0 than below" and of the reverse: binomial tails at 1/2.

    Differences of 0 say nothing and are left out.
    """
    above = sum(difference > 0 for difference in differences)
    below = sum(difference < 0 for difference in differences)
    return _upper_tail(above, above + below), _upper_tail(below, above + below)


def _upper_tail(successes: int, trials: int) -> float:
    """Probability of so many successes or more, each as likely as a failure."""
    if successes == 0:
        return 1.0
    return float(special.bdtrc(successes - 1, trials, 0.5))


def _mean_ranks(sizes: Sequence[float]) -> list[float]:
    """The ranks of some sizes, from 1; equal ones share the mean of their ranks."""
    ordered = np.sort(np.asarray(sizes))
    first = np.searchsorted(ordered, sizes, side="left")
    last = np.searchsorted(ordered, sizes, side="right")
    ranks = (first + 1 + last) / 2
    return [float(rank) for rank in ranks]


def signed_rank_test(differences: Sequence[float]) -> tuple[float, float]:
    """Exact p-values of "symmetric about more than 0" and of "less than 0" (Wilcoxon 1945).

    Differences of 0 are left out; equal sizes share their mean rank.
    """
    nonzero = [difference for difference in differences if difference != 0]
    if not nonzero:
        return 1.0, 1.0
    ranks = _mean_ranks([abs(difference) for difference in nonzero])
    # Twice a mean rank is whole, so that sums of ranks index an array.
    doubled = [round(2 * rank) for rank in ranks]
    observed = 0
    for rank, difference in zip(doubled, nonzero, strict=True):
        if difference > 0:
            observed += rank
    # Number of the 2^n assignments of signs whose positive ranks add up to each sum.
    assignments = np.zeros(sum(doubled) + 1)
    assignments[0] = 1
    for rank in doubled:
        with_positive_sign = np.zeros_like(assignments)
        with_positive_sign[rank:] = assignments[:-rank]
        assignments = assignments + with_positive_sign
    all_assignments = 2 ** len(nonzero)
    as_large = assignments[observed:].sum() / all_assignments
    as_small = assignments[: observed + 1].sum() / all_assignments
    return float(as_large), float(as_small)


def sceptical_p(
    original: float, original_error: float, replication: float, replication_error: float
) -> float:
    """Held's one-sided sceptical p-value of an effect on the side of the original (Held 2020).

    z_S solves (z_o^2 / z_S^2 - 1) (z_r^2 / z_S^2 - 1) = c with z = effect / error and c the
    variance of the original over that of the replication (his equation 9). p_S is 1 - Phi(z_S)
    where both effects are on the same side of 0, and Phi(z_S) where they are not.

    Args:
        original, original_error: effect of the first study and its standard error, in one unit.
        replication, replication_error: the same of the second study.
    """
    # In u = z_S^2, and without the divisions by errors, which may be 0: A u^2 - B u + C = 0.
    original_variance = original_error**2
    replication_variance = replication_error**2
    a = original_variance * (replication_variance - original_variance)
    b = original**2 * replication_variance + replication**2 * original_variance
    c = (original * replication) ** 2
    root = math.sqrt(max(b * b - 4 * a * c, 0.0))
    # Two effects without any error leave no sceptic.
    z = math.inf
    if b + root > 0:
        z = math.sqrt(2 * c / (b + root))
    elif c == 0:
        z = 0.0
    sides_agree = original * replication > 0
    if sides_agree:
        return float(special.ndtr(-z))
    return float(special.ndtr(z))
