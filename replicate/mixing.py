"""How many independent draws the images of Markov chains are worth: autocorrelation and effective sample size.

Images are projected onto their leading principal components, and each projection is a scalar that many chains
follow. Its effective sample size is that of Vehtari, Gelman, Simpson, Carpenter and Buerkner (2021,
"Rank-normalization, folding, and localization: an improved R-hat", section 3): every chain is split in two halves;
with m half-chains of length n, within-chain variance W, between-chain variance B / n and the chains'
autocovariances g_t,

    v = (n - 1) / n * W + B / n,    rho_t = 1 - (W - n / (n - 1) * mean g_t) / v,

summed over Geyer's initial monotone sequence (1992, "Practical Markov chain Monte Carlo", section 3.3): pairs
rho_2k + rho_2k+1 are counted while they are positive, none above the one before it. The projections have finite
variance, so ranks are not taken. Chains that never move count as one draw each.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

#: Leading principal components that are looked at; the worst one is reported.
COMPONENTS = 10
#: Lags of the autocorrelation that are kept.
LAGS = 20
#: Half-chains shorter than this say nothing of their autocorrelation.
SHORTEST = 4

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Mixing:
    """How well the chains of one draw of samples mix.

    Attributes:
        effective_samples: the smallest effective sample size of the projections, at most the number of images; None
            where the chains are too short to say, or every image is the same.
        autocorrelation: of that projection at the lags 1, 2, ... between kept images; None for independent draws.
    """

    effective_samples: float | None
    autocorrelation: list[float] | None


def mixing(images: Floats | NDArray[np.float32], chains: int | None) -> Mixing:
    """The mixing of one draw of samples.

    Args:
        images: (n, dimension); image i is the (i // chains)-th that was kept of chain i % chains.
        chains: Markov chains, or None where the images are independent, so that each counts as one.
    """
    count = len(images)
    if chains is None or chains >= count:
        return Mixing(float(count), None)
    length = count // chains  # a last incomplete round is left out
    if length // 2 < SHORTEST:
        return Mixing(None, None)
    scalars = projections(images[: length * chains].astype(np.float64), COMPONENTS, in_place=True)
    found = []
    for scalar in scalars.T:
        correlations = autocorrelation(split(scalar.reshape(length, chains).T))
        if correlations is not None:
            found.append((effective_sample_size(correlations, length // 2 * 2 * chains), correlations))
    if not found:
        return Mixing(None, None)
    smallest, correlations = min(found, key=lambda pair: pair[0])
    return Mixing(min(smallest, float(count)), correlations[1 : LAGS + 1].tolist())


def projections(rows: Floats, components: int, in_place: bool = False) -> Floats:
    """Rows projected onto their leading principal components, (n, at most `components`), in falling variance.

    By randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4) from a fixed start, so that
    the same rows give the same projections.

    Args:
        rows: (n, dimension).
        components: at most so many.
        in_place: whether the rows may be used up, which spares the memory of a copy.
    """
    centred = np.subtract(rows, rows.mean(0), out=rows if in_place else None)
    width = min(components + 10, *rows.shape)
    basis = np.random.default_rng(0).standard_normal((rows.shape[1], width))
    for _ in range(6):
        basis = np.linalg.qr(centred.T @ (centred @ basis))[0]
    left, sizes, _ = np.linalg.svd(centred @ basis, full_matrices=False)
    kept: Floats = (left * sizes)[:, :components]
    return kept


def split(chains: Floats) -> Floats:
    """Each chain as two half-chains, (chains, length) -> (2 * chains, length // 2); an odd middle is left out."""
    half = chains.shape[1] // 2
    return np.concatenate([chains[:, :half], chains[:, -half:]])


def autocorrelation(chains: Floats) -> Floats | None:
    """The combined autocorrelation rho_t of chains (m, n) at the lags 0 to n - 1; None where nothing varies."""
    length = chains.shape[1]
    means = chains.mean(1)
    centred = chains - means[:, None]
    spectrum = fft.rfft(centred, 2 * length, axis=1)  # padded: no lag wraps around
    covariances = fft.irfft((spectrum * spectrum.conj()).real, 2 * length, axis=1)[:, :length] / length
    within = covariances[:, 0].mean() * length / (length - 1)
    total = within * (length - 1) / length + means.var(ddof=1)
    if total <= np.finfo(np.float64).eps * float(np.square(chains).max()):
        return None
    rho: Floats = 1 - (within - covariances.mean(0) * length / (length - 1)) / total
    rho[0] = 1.0
    return rho


def effective_sample_size(rho: Floats, count: int) -> float:
    """Draws divided by the autocorrelation time -1 + 2 * (sum of Geyer's initial monotone sequence of pairs).

    Args:
        rho: autocorrelation at the lags 0, 1, ...
        count: draws in all chains. Chains that alternate may be worth more, up to count * log10(count).
    """
    pairs = rho[: len(rho) // 2 * 2].reshape(-1, 2).sum(1)
    negative = np.flatnonzero(pairs < 0)
    positive = pairs[: negative[0]] if len(negative) else pairs
    time = -1 + 2 * float(np.minimum.accumulate(positive).sum()) if len(positive) else 1.0
    return count / max(time, 1 / math.log10(count))
