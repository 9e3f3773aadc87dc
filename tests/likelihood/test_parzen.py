"""The Parzen window against a closed form, a direct float64 sum, and properties that hold for any
kernel density.
"""

import itertools
import math
import operator
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from replicate.likelihood import parzen
from replicate.likelihood.parzen import (
    choose_bandwidth,
    kernel_sums,
    log_densities,
    log_density,
    standard_error,
)

GRID = tuple(10 ** (-1 + k / 9) for k in range(10))


def direct(samples: np.ndarray, x: np.ndarray, sigma: float) -> np.ndarray:
    """The definition, summed in float64 without any matrix product."""
    samples, x = samples.astype(np.float64), x.astype(np.float64)
    result = np.empty(len(x))
    for row, point in enumerate(x):
        exponents = -((samples - point) ** 2).sum(1) / (2 * sigma**2)
        result[row] = np.logaddexp.reduce(exponents)
    return (
        result
        - math.log(len(samples))
        - samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))
    )


def images(count: int, dimension: int, seed: int) -> torch.Tensor:
    """Pixels in [0, 1], half of them zero, like handwriting."""
    drawn = np.random.default_rng(seed).random((count, dimension), dtype=np.float32)
    return torch.from_numpy(np.where(drawn < 0.5, 0, drawn).astype(np.float32))


def test_one_sample_is_a_gaussian() -> None:
    mean = torch.tensor([[0.3, -1.0, 2.0]], dtype=torch.float64)
    x = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = stats.multivariate_normal(mean[0].numpy(), 0.7**2 * np.eye(3)).logpdf(x.numpy())
    np.testing.assert_allclose(log_density(mean, x, 0.7).numpy(), expected, atol=1e-12)


def test_many_samples_of_a_gaussian_approach_the_convolution() -> None:
    """Samples of N(0, 1) under a window of width s estimate N(0, 1 + s^2): the closed form for any
    dimension.
    """
    samples = torch.from_numpy(np.random.default_rng(0).standard_normal((200_000, 2)))
    x = torch.tensor([[0.0, 0.0], [1.0, -0.5], [0.2, 1.5]], dtype=torch.float64)
    expected = stats.multivariate_normal([0, 0], (1 + 0.5**2) * np.eye(2)).logpdf(x.numpy())
    np.testing.assert_allclose(log_density(samples, x, 0.5).numpy(), expected, atol=0.02)


@pytest.mark.parametrize("sigma", GRID)
def test_float32_against_float64_brute_force(sigma: float) -> None:
    samples, x = images(700, 784, 2), images(60, 784, 3)
    x[:20] = (x[:20] + 9 * samples[:20]) / 10  # near neighbours, where cancellation would show
    error = log_density(samples, x, sigma).numpy() - direct(samples.numpy(), x.numpy(), sigma)
    assert np.abs(error).mean() < 1e-4
    assert np.abs(error).max() < 1e-3


def test_float64_is_really_float64() -> None:
    samples, x = images(300, 50, 4).double(), images(40, 50, 5).double()
    for sigma in (
        0.01,
        0.1,
        1.0,
    ):  # at .01 nearly every exponential is far below what a float can hold
        np.testing.assert_allclose(
            log_density(samples, x, sigma).numpy(),
            direct(samples.numpy(), x.numpy(), sigma),
            rtol=1e-12,
        )


@pytest.mark.parametrize(("rows", "block"), [(1, 1), (3, 7), (64, 5), (1000, 1000)])
def test_tiles_do_not_show(monkeypatch: pytest.MonkeyPatch, rows: int, block: int) -> None:
    samples, x = images(101, 30, 6).double(), images(23, 30, 7).double()
    whole = log_densities(samples, x, GRID)
    monkeypatch.setattr(parzen, "ROWS", rows)
    monkeypatch.setattr(parzen, "SAMPLES", block)
    np.testing.assert_allclose(log_densities(samples, x, GRID).numpy(), whole.numpy(), rtol=1e-12)


def test_all_bandwidths_together_equal_one_by_one() -> None:
    samples, x = images(2500, 64, 8), images(30, 64, 9)
    together = log_densities(samples, x, GRID)
    for row, sigma in zip(together, GRID, strict=True):
        np.testing.assert_allclose(row.numpy(), log_density(samples, x, sigma).numpy(), atol=2e-4)
    doubles = [rows.double() for rows in (samples, x)]
    for row, sigma in zip(log_densities(*doubles, GRID), GRID, strict=True):
        np.testing.assert_allclose(row.numpy(), log_density(*doubles, sigma).numpy(), rtol=1e-13)


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.2, 0.4, 1.0])
def test_what_is_passed_over_changes_nothing(monkeypatch: pytest.MonkeyPatch, sigma: float) -> None:
    """Every term summed, or those of columns that matter alone: the same to the last places of
    float64.
    """
    samples, x = images(1500, 196, 6).double(), images(200, 196, 7).double()
    x[:100] = (x[:100] + 3 * samples[:100]) / 4
    monkeypatch.setattr(parzen, "SAMPLES", 512)
    found = []
    for sparse_share in (-1.0, 0.1, 1.0):
        monkeypatch.setattr(parzen, "SPARSE_SHARE", sparse_share)
        found.append(log_density(samples, x, sigma).numpy())
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-14)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("cuts", [[4], [1, 2, 3, 4, 5, 6], [0, 0, 6]])
def test_sums_over_parts_add_up(
    monkeypatch: pytest.MonkeyPatch, kind: torch.dtype, cuts: list[int]
) -> None:
    """Parts that are cut at multiples of `SAMPLES`, in any number; in groups of two; all samples at
    once.
    """
    monkeypatch.setattr(parzen, "SAMPLES", 100)
    monkeypatch.setattr(parzen, "ROWS", 16)
    samples, x = images(650, 196, 6).to(kind), images(50, 196, 7).to(kind)
    whole = kernel_sums(samples, x, GRID)
    ends = [0, *(100 * cut for cut in cuts), 650]
    parts = [kernel_sums(samples[a:b], x, GRID) for a, b in itertools.pairwise(ends) if b > a]
    monkeypatch.setattr(parzen, "GROUP", 2)
    for found in (reduce(operator.add, parts), kernel_sums(samples, x, GRID)):
        assert found.count == 650
        together, apart = (sums.log_densities().numpy() for sums in (whole, found))
        # A row near to what rounding may show is summed in float64 in one of the two.
        np.testing.assert_allclose(
            apart, together, rtol=1e-13, atol=parzen.MAX_ERROR if kind == torch.float32 else 0
        )
        assert np.isclose(apart, together, rtol=1e-13, atol=0).mean() > 0.99


@pytest.mark.parametrize("sigma", [0.13, 0.14, 0.15, 0.2])
def test_a_tile_comes_out_the_same_whatever_went_before_it(
    monkeypatch: pytest.MonkeyPatch, sigma: float
) -> None:
    """Most rows have a near sample in one block: of other blocks few columns matter, if what went
    before counts.
    """
    monkeypatch.setattr(parzen, "SAMPLES", 512)
    samples, x = images(2048, 196, 6), images(200, 196, 7)
    x[:150] = (x[:150] + 2 * samples[:150]) / 3
    parts = reduce(operator.add, [kernel_sums(part, x, [sigma]) for part in samples.split(512)])
    found, whole = parts.log_densities().numpy(), log_densities(samples, x, [sigma]).numpy()
    np.testing.assert_allclose(found, whole, rtol=0, atol=1e-9)


def test_sums_of_other_rows_or_bandwidths_are_refused() -> None:
    samples, x = images(20, 4, 1), images(5, 4, 2)
    with pytest.raises(ValueError, match="cannot be added"):
        kernel_sums(samples, x, GRID) + kernel_sums(samples, x, GRID[1:])
    with pytest.raises(ValueError, match="cannot be added"):
        kernel_sums(samples, x, GRID) + kernel_sums(samples, x[1:], GRID)


points = hnp.arrays(np.float64, (6, 3), elements=st.floats(-5, 5, width=32))


@settings(max_examples=60, deadline=None)
@given(
    samples=points,
    x=points,
    sigma=st.floats(0.05, 3),
    shift=st.floats(-100, 100),
    scale=st.floats(0.1, 10),
)
def test_properties(
    samples: np.ndarray, x: np.ndarray, sigma: float, shift: float, scale: float
) -> None:
    s, rows = torch.from_numpy(samples), torch.from_numpy(x)
    base = log_density(s, rows, sigma).numpy()
    np.testing.assert_allclose(
        log_density(s.flip(0), rows, sigma).numpy(), base, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        log_density(s.repeat(3, 1), rows, sigma).numpy(), base, rtol=1e-9, atol=1e-9
    )
    np.testing.assert_allclose(
        log_density(s + shift, rows + shift, sigma).numpy(), base, rtol=1e-6, atol=1e-6
    )
    scaled = log_density(s * scale, rows * scale, sigma * scale).numpy()
    np.testing.assert_allclose(scaled, base - 3 * math.log(scale), rtol=1e-6, atol=1e-6)
    assert (
        base <= -3 * math.log(sigma * math.sqrt(2 * math.pi)) + 1e-9
    ).all()  # the peak of one window


def test_it_integrates_to_one() -> None:
    samples = torch.tensor([[-1.0], [0.5], [0.6]], dtype=torch.float64)
    grid = torch.linspace(-8, 8, 20_001, dtype=torch.float64)[:, None]
    density = log_density(samples, grid, 0.3).exp()
    assert float(torch.trapezoid(density, grid[:, 0])) == pytest.approx(1, abs=1e-9)


def test_not_a_number_shows() -> None:
    samples, x = images(10, 4, 1), images(5, 4, 2)
    x[2, 1] = torch.nan
    found = log_density(samples, x, 0.5)
    assert found.isnan().tolist() == [False, False, True, False, False]


#: What the estimate may differ by from a direct float64 sum, in nats, beside what float64 itself
#: rounds.
TOLERANCE, ROUNDED = 1e-3, 1e-12


def worst(samples: torch.Tensor, x: torch.Tensor, sigmas: list[float]) -> float:
    """The largest difference from the direct sum in units of what it may be."""
    found = log_densities(samples, x, sigmas).numpy()
    exact = np.stack([direct(samples.numpy(), x.numpy(), sigma) for sigma in sigmas])
    return float((np.abs(found - exact) / (TOLERANCE + ROUNDED * np.abs(exact))).max())


def arranged(
    arrangement: str, count: int, dimension: int, sigma: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Samples and rows of unit size, arranged so that float32 alone would be wrong."""
    rng = np.random.default_rng(seed)
    samples, x = rng.random((count, dimension)), rng.random((5, dimension))
    noise = rng.normal(size=(count, dimension)) * sigma / math.sqrt(dimension)
    if arrangement == "clusters of near duplicates":
        centres = rng.random((3, dimension))
        samples, x = centres[np.arange(count) % 3] + noise, centres[np.arange(5) % 3]
    elif arrangement == "a row far away":
        samples = x[np.arange(count) % 5] + noise
        x[0] += 10 ** rng.uniform(0, 6)
    elif arrangement == "a sample far away":
        samples = x[np.arange(count) % 5] + noise
        samples[0] += 10 ** rng.uniform(0, 6)
    elif arrangement == "all samples far away":
        samples += 10 ** rng.uniform(0, 5)
    return samples, x


ARRANGEMENTS = [
    "anywhere",
    "clusters of near duplicates",
    "a row far away",
    "a sample far away",
    "all samples far away",
]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    arrangement=st.sampled_from(ARRANGEMENTS),
    kind=st.sampled_from([torch.float32, torch.float64]),
    count=st.integers(1, 90),
    dimension=st.sampled_from([1, 2, 10, 64, 784]),
    scale=st.floats(-6, 6).map(lambda power: 10**power),
    width=st.floats(-4, 2).map(lambda power: 10**power),
    seed=st.integers(0, 2**32 - 1),
    cut=st.sampled_from([16, 2048]),
)
def test_right_at_every_scale_in_every_arrangement(
    arrangement: str,
    kind: torch.dtype,
    count: int,
    dimension: int,
    scale: float,
    width: float,
    seed: int,
    cut: int,
) -> None:
    """Scales from 1e-6 to 1e6, bandwidths from 1e-4 to 100 of them, samples in one group or in
    several.
    """
    samples, x = (
        torch.from_numpy(rows * scale).to(kind)
        for rows in arranged(arrangement, count, dimension, width, seed)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parzen, "SAMPLES", cut)
        patch.setattr(parzen, "GROUP", 2)
        assert worst(samples, x, [width * scale, 3 * width * scale]) <= 1


@pytest.mark.parametrize("distance", [300.0, 3e4, 3e8, 1e15])
def test_the_peak_counts_however_far_the_samples_are(distance: float) -> None:
    samples, x = images(50, 784, 1), images(4, 784, 2)
    found = log_densities(samples + distance, x, GRID)
    assert found.isfinite().all()
    assert worst(samples + distance, x, list(GRID)) <= 1


@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_clusters_of_near_duplicates(sigma: float) -> None:
    """A row beside fifty samples that are nearer to each other than the bandwidth: rounding once
    cost .35 nats.
    """
    centres, draw = images(20, 784, 3), np.random.default_rng(4).normal(size=(20, 50, 784))
    near = torch.from_numpy((draw * 0.3 * sigma / 28).astype(np.float32))
    samples = (centres[:, None] + near).reshape(-1, 784)
    assert worst(samples, centres, [sigma]) <= 1


def test_one_row_far_away_costs_the_others_nothing() -> None:
    samples, x = images(300, 64, 5), images(20, 64, 6)
    samples[:20] = x + 0.01
    x[0] += 1e5
    assert worst(samples, x, [0.05, 0.2]) <= 1


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_refused(kind: torch.dtype) -> None:
    with pytest.raises(ValueError, match="float32 or float64"):
        log_density(images(3, 2, 0).to(kind), images(3, 2, 1).to(kind), 0.1)


@pytest.mark.parametrize("sigmas", [[-0.1], [0.0], [math.nan], [math.inf], [], [1e-20], [1e20]])
def test_bad_bandwidths_are_refused(sigmas: list[float]) -> None:
    with pytest.raises(ValueError, match="must be from"):
        log_densities(images(3, 2, 0), images(3, 2, 0), sigmas)


def test_misshaped_and_mixed_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="are needed"):
        log_density(images(3, 2, 0), images(3, 4, 0), 0.1)
    with pytest.raises(ValueError, match="are needed"):
        log_density(images(0, 2, 0), images(3, 2, 0), 0.1)
    with pytest.raises(ValueError, match="float32 or float64"):
        log_density(images(3, 2, 0), images(3, 2, 0).double(), 0.1)


def test_bandwidth_is_the_best_of_the_grid() -> None:
    samples, valid = images(400, 64, 10), images(100, 64, 11)
    choice = choose_bandwidth(samples, valid, GRID)
    means = [direct(samples.numpy(), valid.numpy(), sigma).mean() for sigma in GRID]
    np.testing.assert_allclose(choice.curve, means, atol=1e-3)
    assert choice.sigma == GRID[int(np.argmax(means))]
    assert not choice.at_edge
    assert choice.fine_log_likelihood >= max(choice.curve) - 1e-9
    fine = direct(samples.numpy(), valid.numpy(), choice.fine_sigma).mean()
    assert choice.fine_log_likelihood == pytest.approx(fine, abs=1e-3)


def test_a_choice_at_the_edge_is_flagged() -> None:
    samples, valid = images(400, 64, 12), images(50, 64, 13)
    assert choose_bandwidth(samples, valid, (1.0, 2.0)).at_edge
    assert choose_bandwidth(samples, valid, (0.01, 0.02)).at_edge
    assert not choose_bandwidth(samples, valid, (0.2,)).at_edge


def test_the_fine_grid_looks_beyond_an_edge() -> None:
    samples, valid = images(400, 64, 12), images(50, 64, 13)
    assert choose_bandwidth(samples, valid, (1.0, 2.0)).fine_sigma < 1.0
    assert choose_bandwidth(samples, valid, (0.01, 0.02)).fine_sigma > 0.02


def test_standard_error_is_over_test_images_with_ddof_0() -> None:
    values = torch.tensor([1.0, 2.0, 4.0, 9.0], dtype=torch.float64)
    assert standard_error(values) == pytest.approx(np.std([1, 2, 4, 9]) / 2, rel=1e-15)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_leaves_the_others_alone(value: float) -> None:
    generator = torch.Generator().manual_seed(5)
    samples = torch.randn(50, 3, generator=generator)
    x = torch.randn(4, 3, generator=generator)
    broken = x.clone()
    broken[2, 1] = value
    rows = [0, 1, 3]
    expected = log_densities(samples, x, [0.5])[:, rows]
    torch.testing.assert_close(
        log_densities(samples, broken, [0.5])[:, rows], expected, rtol=0, atol=1e-4
    )


def test_a_term_that_rounding_may_have_made_small_is_computed_again() -> None:
    """A gap of 3.8 nats that float32 products gave as 8.8, which rounding of 5 nats allows."""
    x = torch.zeros(1, 4)
    samples = torch.zeros(2, 4)
    samples[1, 0] = math.sqrt(2 * 3.8)
    found = 1 + math.exp(-8.8)
    sums = parzen.KernelSums(
        relative=torch.tensor([[found]], dtype=torch.float64),
        peak=torch.zeros(1, dtype=torch.float64),
        distance=torch.zeros(1, dtype=torch.float64),
        count=2,
        sigmas=(1.0,),
        dimension=4,
    )
    rounding = torch.full((1, 1), 5.0, dtype=torch.float64)
    parzen._correct_rounded_rows(sums, x, samples, x[0], rounding)
    assert sums.relative.item() == pytest.approx(1 + math.exp(-3.8), abs=1e-6)
