"""Effective sample size and autocorrelation of images from Markov chains.

Images are projected onto their leading principal components; each projection is a scalar quantity
of the chains. Its effective sample size is that of Vehtari, Gelman, Simpson, Carpenter and Buerkner
(2021, "Rank-normalization, folding, and localization: an improved R-hat", section 3): every chain
is split in two halves; with m half-chains of length n, within-chain variance W, between-chain
variance B / n and the chains' autocovariances g_t,

    v = (n - 1) / n * W + B / n,    rho_t = 1 - (W - n / (n - 1) * mean g_t) / v,

summed over Geyer's initial monotone sequence (1992, "Practical Markov chain Monte Carlo", section
3.3): pairs rho_2k + rho_2k+1 are counted while they are positive, none above the one before it. The
projections have finite variance, so ranks are not taken. Chains that never move count as one draw
each.
"""

# Why not ArviZ: users do not have it (it brings xarray and others), and a result must keep its last
# digit whatever version is installed. Tests compare with values of ArviZ, which ends the sequence
# by half a pair more.

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

#: Leading principal components that are examined; the worst one is reported.
COMPONENTS = 10
#: Lags of the autocorrelation that are reported.
LAGS = 20
#: Half-chains shorter than this are too short to estimate an autocorrelation.
MIN_HALF_CHAIN = 4
#: Share of the largest pixel up to which a projection is rounding: the sums of float64 that it
#: comes from lose less, and float32 images that differ at all differ by more.
ROUNDING = 1e-12

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mixing:
    """How well the chains of one draw of samples mix.

    Attributes:
        effective_samples: the smallest effective sample size of the projections, at most the number
            of images; None where the chains are too short, or all images are the same.
        autocorrelation: of that projection at the lags 1, 2, ... between images of a chain; None
            for independent draws.
    """

    effective_samples: float | None
    autocorrelation: list[float] | None


def mixing(images: Floats | NDArray[np.float32], chains: int | None) -> Mixing:
    """The mixing of one draw of samples.

    Args:
        images: (n, dimension); image i is the (i // chains)-th of chain i % chains.
        chains: number of Markov chains; None: the images are independent, so each counts as one.
    """
    count = len(images)
    if chains is None or chains >= count:
        return Mixing(float(count), None)
    length = count // chains  # a last incomplete round is left out
    half_length = length // 2
    if half_length < MIN_HALF_CHAIN:
        return Mixing(None, None)
    # `astype` copies, so `projections` may write over it.
    complete_rounds = images[: length * chains].astype(np.float64)
    draws = 2 * half_length * chains
    # Not of the absolute values of all, which would be a copy.
    largest = max(complete_rounds.max(), -complete_rounds.min())
    rounding = ROUNDING * float(largest)
    smallest = math.inf
    rho_of_smallest: Floats | None = None
    for scalar in projections(complete_rounds, COMPONENTS, in_place=True).T:
        # Images that vary in fewer directions, or not at all, have only rounding in the others.
        if float(np.abs(scalar).max()) <= rounding:
            continue
        scalar_of_chains = scalar.reshape(length, chains).T
        rho = autocorrelation(split(scalar_of_chains))
        if rho is None:
            continue
        size = effective_sample_size(rho, draws)
        if size < smallest:
            smallest = size
            rho_of_smallest = rho
    if rho_of_smallest is None:
        return Mixing(None, None)
    return Mixing(min(smallest, float(count)), rho_of_smallest[1 : LAGS + 1].tolist())


def projections(rows: Floats, components: int, in_place: bool = False) -> Floats:
    """Rows projected onto their leading principal components, in descending order of variance.

    By randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4) from a fixed
    start, so that the same rows give the same projections.

    Args:
        rows: (n, dimension).
        components: number of components; fewer where the rows have fewer.
        in_place: whether the rows may be overwritten, which saves the memory of a copy.

    Returns:
        (n, components).
    """
    means = rows.mean(0)
    centred = np.subtract(rows, means, out=rows if in_place else None)
    # Some more than are asked for, as the last ones of a subspace are the least accurate.
    width = min(components + 10, *rows.shape)
    generator = np.random.default_rng(0)
    basis = generator.standard_normal((rows.shape[1], width))
    for _ in range(6):
        projected = centred @ basis
        basis, _ = np.linalg.qr(centred.T @ projected)
    projected = centred @ basis
    left, singular_values, _ = np.linalg.svd(projected, full_matrices=False)
    scores: Floats = left * singular_values
    return scores[:, :components]


def split(chains: Floats) -> Floats:
    """Each chain (chains, length) as two half-chains (2 * chains, length // 2).

    The middle state of an odd length is left out.
    """
    half = chains.shape[1] // 2
    # A middle draw of an odd number is in neither half.
    first = chains[:, :half]
    second = chains[:, -half:]
    return np.concatenate([first, second])


def autocorrelation(chains: Floats) -> Floats | None:
    """The combined autocorrelation rho_t of chains (m, n) at the lags 0 to n - 1.

    None where the chains do not vary.
    """
    length = chains.shape[1]
    means = chains.mean(1)
    centred = chains - means[:, None]
    # Autocovariances by the Wiener-Khinchin theorem; zero padding, so that no lag wraps around.
    spectrum = fft.rfft(centred, 2 * length, axis=1)
    power = (spectrum * spectrum.conj()).real
    covariances = fft.irfft(power, 2 * length, axis=1)[:, :length] / length
    # W, and v = (n - 1) / n * W + B / n
    within = covariances[:, 0].mean() * length / (length - 1)
    total = within * (length - 1) / length + means.var(ddof=1)
    # Chains that all stand at one number vary by the rounding of their means, not by exactly 0.
    rounding = np.finfo(np.float64).eps * float(np.square(chains).max())
    if total <= rounding:
        return None
    # rho_t = 1 - (W - n / (n - 1) * mean g_t) / v
    unbiased_covariances = covariances.mean(0) * length / (length - 1)
    rho: Floats = 1 - (within - unbiased_covariances) / total
    # By definition; the line above has it but for rounding.
    rho[0] = 1.0
    return rho


def effective_sample_size(rho: Floats, count: int) -> float:
    """Draws divided by the autocorrelation time -1 + 2 * sum_k (rho_2k + rho_2k+1).

    The sum is over Geyer's initial monotone sequence of pairs.

    Args:
        rho: autocorrelation at the lags 0, 1, ...
        count: draws of all chains. Anticorrelated draws may be worth more, up to count *
            log10(count).
    """
    pair_count = len(rho) // 2
    in_pairs = rho[: 2 * pair_count].reshape(-1, 2)
    pairs = in_pairs.sum(1)
    negative = np.flatnonzero(pairs < 0)
    # Initial positive sequence: up to the first negative pair.
    if len(negative):
        pairs = pairs[: negative[0]]
    time = 1.0
    if len(pairs):
        # Initial monotone sequence: no pair above the one before it.
        monotone = np.minimum.accumulate(pairs)
        time = -1 + 2 * float(monotone.sum())
    shortest_time = 1 / math.log10(count)
    return count / max(time, shortest_time)
