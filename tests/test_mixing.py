"""Effective sample sizes against closed forms, and against the formulas of the papers written out
in plain loops.
"""

import math

import numpy as np
import pytest

from replicate.diagnostics.effective_samples import (
    LAGS,
    autocorrelation,
    effective_sample_size,
    mixing,
    projections,
    split,
)


def ar1(rho: float, chains: int, length: int, seed: int = 0) -> np.ndarray:
    """Stationary first-order autoregressive chains of unit variance, (chains, length)."""
    noise = np.random.default_rng(seed)
    states = [noise.standard_normal(chains)]
    for _ in range(length - 1):
        states.append(rho * states[-1] + math.sqrt(1 - rho * rho) * noise.standard_normal(chains))
    return np.stack(states, axis=1)


def as_images(chains: np.ndarray, dimension: int = 6) -> np.ndarray:
    """Images whose leading direction, by far, is the chains' scalar; image i is of chain i %
    chains.
    """
    scalars = chains.T.reshape(-1)
    noise = np.random.default_rng(9).standard_normal((len(scalars), dimension)) * 1e-3
    direction = np.random.default_rng(8).standard_normal(dimension)
    return (scalars[:, None] * direction / np.linalg.norm(direction) + noise).astype(np.float32)


def plain_ess(chains: np.ndarray) -> float:
    """Vehtari et al. (2021), equations 1 to 3 and 10 to 14, for whole chains, in loops."""
    m, n = chains.shape
    means = [sum(chain) / n for chain in chains]
    grand = sum(means) / m
    between = n / (m - 1) * sum((mean - grand) ** 2 for mean in means)
    variances = [
        sum((x - mean) ** 2 for x in chain) / (n - 1)
        for chain, mean in zip(chains, means, strict=True)
    ]
    within = sum(variances) / m
    total = (n - 1) / n * within + between / n

    def rho(lag: int) -> float:
        shared = 0.0
        for chain, mean, variance in zip(chains, means, variances, strict=True):
            products = sum((chain[k] - mean) * (chain[k + lag] - mean) for k in range(n - lag))
            own = products / sum((x - mean) ** 2 for x in chain) if variance else 0.0
            shared += variance * own / m
        return 1 - (within - shared) / total

    time, least = -1.0, math.inf
    for k in range(n // 2):
        pair = (1.0 if k == 0 else rho(2 * k)) + rho(2 * k + 1)
        if pair < 0:
            break
        least = min(least, pair)
        time += 2 * least
    return m * n / max(time, 1 / math.log10(m * n))


@pytest.mark.parametrize("rho", [0.9, 0.3, 0.0, -0.4])
def test_against_the_formulas_in_loops(rho: float) -> None:
    chains = ar1(rho, 5, 41) + np.arange(5)[:, None] * 0.3
    halves = split(chains)
    correlations = autocorrelation(halves)
    assert correlations is not None
    assert effective_sample_size(correlations, halves.size) == pytest.approx(
        plain_ess(halves), rel=1e-10
    )


#: (rho, chains, length) -> `arviz.ess(chains, method="mean")` of ArviZ 0.23.4, for `ar1` and for
#: the same with means 0, 0.3, 0.6, ...
ARVIZ = {
    (0.9, 8, 500): (209.51867844090634, 27.417991196165573),
    (0.5, 4, 1000): (1180.7104095121517, 47.1829471779866),
    (0.0, 10, 200): (1944.6222484144575, 24.144425558714442),
    (-0.4, 6, 400): (5614.595731896293, 30.435499261329443),
    (0.99, 20, 300): (34.189214436014275, 22.299713837329982),
}


@pytest.mark.parametrize(("rho", "chains", "length"), ARVIZ)
def test_against_arviz(rho: float, chains: int, length: int) -> None:
    """Within 4 %: ArviZ ends Geyer's sequence by half a pair, as Stan does."""
    states = ar1(rho, chains, length)
    drifted = states + np.arange(chains)[:, None] * 0.3
    sizes = []
    for kind in (states, drifted):
        halves = split(kind)
        correlations = autocorrelation(halves)
        assert correlations is not None
        sizes.append(effective_sample_size(correlations, halves.size))
    assert sizes == pytest.approx(ARVIZ[rho, chains, length], rel=0.04)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_autoregressive_chains_have_the_closed_form(rho: float) -> None:
    """n (1 - rho) / (1 + rho); over 20 repetitions the estimate is within 5 % of it on average."""
    expected = 100 * 1000 * (1 - rho) / (1 + rho)
    found = []
    for seed in range(20):
        correlations = autocorrelation(split(ar1(rho, 100, 1000, seed)))
        assert correlations is not None
        found.append(effective_sample_size(correlations, 100 * 1000))
    assert np.mean(found) == pytest.approx(expected, rel=0.05)


def test_images_never_count_more_than_their_number() -> None:
    """Alternating chains are worth more for a mean, but 20,000 images that count as 60,000 would
    only puzzle.
    """
    chains = ar1(-0.5, 50, 400)
    correlations = autocorrelation(split(chains))
    assert correlations is not None
    assert effective_sample_size(correlations, chains.size) > 2 * chains.size
    assert mixing(chains.T.reshape(-1, 1), 50).effective_samples == chains.size


def test_images_of_slow_chains_count_less_and_show_their_autocorrelation() -> None:
    found = mixing(as_images(ar1(0.8, 100, 100)), 100)
    assert found.effective_samples == pytest.approx(10_000 / 9, rel=0.15)
    assert found.autocorrelation is not None
    assert len(found.autocorrelation) == LAGS
    assert found.autocorrelation[:3] == pytest.approx([0.8, 0.64, 0.512], abs=0.05)


def test_chains_that_never_move_count_as_one_draw_each() -> None:
    still = np.repeat(np.random.default_rng(1).standard_normal((100, 1)), 100, axis=1)
    found = mixing(as_images(still), 100)
    assert found.effective_samples == pytest.approx(100, rel=0.1)
    assert found.autocorrelation is not None
    assert min(found.autocorrelation) > 0.9


def test_independent_images_in_chains_count_almost_fully() -> None:
    """The worst of ten projections lies somewhat below their number, and no estimate above it."""
    images = np.random.default_rng(2).standard_normal((10_000, 30)).astype(np.float32)
    found = mixing(images, 100).effective_samples
    assert found is not None
    assert 8_000 < found <= 10_000


def test_independent_draws_are_their_number() -> None:
    images = np.random.default_rng(3).standard_normal((50, 4))
    assert mixing(images, None).effective_samples == 50
    assert mixing(images, 50).effective_samples == 50  # one image of each chain
    assert mixing(images, None).autocorrelation is None


@pytest.mark.parametrize(("count", "chains"), [(200, 100), (700, 100)])
def test_short_chains_say_nothing(count: int, chains: int) -> None:
    assert (
        mixing(np.random.default_rng(4).standard_normal((count, 4)), chains).effective_samples
        is None
    )


def test_images_that_are_all_the_same_say_nothing() -> None:
    assert mixing(np.ones((1000, 4)), 10).effective_samples is None


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [100, 1000])
def test_neither_do_those_whose_mean_is_rounded(count: int, dtype: type) -> None:
    """No float has their mean, so that their deviations from it are not 0."""
    one = np.random.default_rng(6).random((1, 7)).astype(dtype)
    assert mixing(np.repeat(one, count, axis=0), 2).effective_samples is None
    assert mixing(np.full((count, 3), 0.1, dtype), 2).effective_samples is None


def test_directions_in_which_images_do_not_vary_have_no_part() -> None:
    """The worst of two principal components, which are found by another decomposition."""
    generator = np.random.default_rng(0)
    coordinates = generator.standard_normal((2000, 2))
    images = coordinates @ generator.random((2, 20)) + 0.3
    left, values, _ = np.linalg.svd(images - images.mean(0), full_matrices=False)
    sizes = []
    for scalar in (left[:, :2] * values[:2]).T:
        rho = autocorrelation(split(scalar.reshape(1000, 2).T))
        assert rho is not None
        sizes.append(effective_sample_size(rho, 2000))
    assert mixing(images, 2).effective_samples == pytest.approx(min(*sizes, 2000), rel=1e-9)


def test_the_order_of_images_decides_which_chain_they_are_of() -> None:
    """Read the other way round, the same images would look mixed."""
    images = as_images(ar1(0.95, 50, 200))
    straight, turned = (
        mixing(images, 50),
        mixing(images.reshape(200, 50, -1).swapaxes(0, 1).reshape(10_000, -1), 50),
    )
    assert straight.effective_samples is not None
    assert turned.effective_samples is not None
    assert straight.effective_samples < 600 < turned.effective_samples


def test_a_last_incomplete_round_is_left_out() -> None:
    images = as_images(ar1(0.5, 30, 40))
    more = np.concatenate([images, images[:7] + 100])
    assert mixing(more, 30) == mixing(images, 30)


def test_projections_are_the_leading_principal_components() -> None:
    """Against the eigenvectors of the covariance, up to sign."""
    noise = np.random.default_rng(5)
    rows = (
        noise.standard_normal((500, 40))
        * np.geomspace(10, 0.1, 40)
        @ np.linalg.qr(noise.standard_normal((40, 40)))[0]
    )
    values, vectors = np.linalg.eigh(np.cov(rows.T))
    expected = (rows - rows.mean(0)) @ vectors[:, ::-1][:, :10]
    found = projections(rows, 10)
    signs = np.sign((expected * found).sum(0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4 * math.sqrt(values[-1]))
