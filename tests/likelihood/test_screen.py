"""The screen against brute force in float64, on data that is arranged to break it."""

import itertools
import math
import operator
from functools import reduce

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.images import handwriting
from benchmarks.parzen import direct
from replicate.likelihood import parzen, screen
from replicate.likelihood.parzen import kernel_sums, log_densities, log_density
from replicate.likelihood.screen import GAP, LEVELS, Candidates, Lattice, Screen


@pytest.fixture(autouse=True)
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small inputs are screened, on every processor; not of one pixel, where torch is wrong."""
    monkeypatch.setattr(screen, "is_quick", lambda: True)
    monkeypatch.setattr(screen, "MIN_ROWS", 1)
    monkeypatch.setattr(screen, "MIN_DIMENSION", 2)


ARRANGEMENTS = [
    "anywhere",
    "clusters",
    "ties",
    "zero distances",
    "far rows",
    "far samples",
    "all far from 0",
    "huge",
    "all the same",
]


def arranged(
    arrangement: str, count: int, dimension: int, sigma: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Samples (count, dimension) and 7 rows in float32."""
    rng = np.random.default_rng(seed)
    samples, x = rng.random((count, dimension)), rng.random((7, dimension))
    noise = rng.normal(size=(count, dimension)) * sigma / math.sqrt(dimension)
    chosen = rng.integers(7, size=count)
    if arrangement == "clusters":
        samples = x[chosen] + noise
    elif arrangement == "ties":
        samples, x = rng.integers(2, size=samples.shape), rng.integers(2, size=x.shape)
    elif arrangement == "zero distances":
        samples = x[chosen]
    elif arrangement == "far rows":
        x[:3] += 10 ** rng.uniform(0, 6)
    elif arrangement == "far samples":
        samples[:3] += 10 ** rng.uniform(0, 6)
    elif arrangement == "all far from 0":
        samples, x = samples + 1000, x + 1000
    elif arrangement == "huge":
        samples, x = samples * 1e15, x * 1e15
    elif arrangement == "all the same":
        samples, x = np.ones_like(samples), np.ones_like(x)
    return torch.from_numpy(samples).float(), torch.from_numpy(x).float()


arrangements = given(
    arrangement=st.sampled_from(ARRANGEMENTS),
    count=st.integers(1, 90),
    dimension=st.sampled_from([2, 10, 64, 784, 1500]),
    sigma=st.floats(-3, 1).map(lambda power: 10**power),
    seed=st.integers(0, 2**32 - 1),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@arrangements
def test_points_are_as_near_to_the_lattice_as_is_said(
    arrangement: str, count: int, dimension: int, sigma: float, seed: int
) -> None:
    samples, x = arranged(arrangement, count, dimension, sigma, seed)
    lattice = Lattice.over(x)
    for points in (samples, x):
        rounded = lattice.rounded(points)
        levels = rounded.levels.double()
        places = points.double() * lattice.scale + lattice.shift
        assert int(rounded.levels.min()) >= -LEVELS
        assert torch.equal(rounded.half_norms, levels.square().sum(1) / 2)
        assert bool((rounded.errors >= (places - levels).norm(dim=1)).all())


def test_a_lattice_spans_the_finite_rows() -> None:
    x = torch.tensor([[0.0, 1.0], [0.25, 0.5], [math.nan, 9.0], [math.inf, 9.0]])
    rounded = Lattice.over(x).rounded(x[:2])
    assert rounded.levels[0].tolist() == [-LEVELS, LEVELS]
    # As near as half a level in each pixel.
    assert float(rounded.errors.max()) <= math.sqrt(2) / 2 + 1e-3


def test_a_lattice_without_finite_rows_says_nothing_of_them() -> None:
    x = torch.full((3, 2), math.nan)
    assert bool(Lattice.over(x).rounded(x).errors.isnan().all())


def test_norms_of_many_pixels_are_exact() -> None:
    """Where their squares add up to more than float32 counts one by one."""
    x = torch.randint(100, 128, (3, 5000), generator=torch.Generator().manual_seed(0)).float()
    x[0, 0], x[1, 0] = -LEVELS, LEVELS
    rounded = Lattice.over(x).rounded(x)
    assert torch.equal(rounded.levels.float(), x)
    assert torch.equal(rounded.half_norms, x.double().square().sum(1) / 2)


def test_a_sample_at_the_very_edge_is_a_candidate() -> None:
    """One row and two samples that rounding brings nearer and takes away as far as it can.

    The row moves left by 0.4 units. The nearest sample, 10.8 units to its left, moves right by as
    much, the other, 20.2 units to its right, too: 10 and 21 units apart they are then.
    """
    x = torch.tensor([[0.4, 0.0], [-LEVELS, 0.0], [LEVELS, 0.0]])
    samples = torch.tensor([[-10.4, 0.0], [20.6, 0.0]])
    gap = (20.2**2 - 10.8**2) / 2
    for inside in (True, False):
        # So far outside that both bounds pass it over, or just inside.
        width = math.sqrt(gap * (1.0001 if inside else 0.8) / GAP)
        found = Screen.of(x, [width])
        assert found is not None
        assert (found.lattice.scale, found.lattice.shift) == (1, 0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(screen, "MAX_SHARE", 1.0)
            (candidates,) = candidates_by_block(found, samples, x, 2)
        of_row = candidates.samples[candidates.rows == 0]
        assert of_row.tolist() == ([0, 1] if inside else [0])


def test_bounds_that_are_no_numbers_leave_no_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "MAX_SHARE", 1.0)
    samples, x = arranged("anywhere", 20, 16, 0.2, 0)
    found = Screen.of(x, [0.2])
    assert found is not None
    rows, block = found.lattice.rounded(x), found.lattice.rounded(samples)
    assert found.candidates(rows, block) is not None
    samples[3, 2] = x[1, 5] = math.nan
    assert found.candidates(found.lattice.rounded(x), block) is None
    assert found.candidates(rows, found.lattice.rounded(samples)) is None


def candidates_by_block(found: Screen, samples: Tensor, x: Tensor, width: int) -> list[Candidates]:
    """Of every block of so many samples, each after the other."""
    rows = found.lattice.rounded(x)
    by_block: list[Candidates] = []
    for number, block in enumerate(samples.split(width)):
        candidates = found.candidates(rows, found.lattice.rounded(block))
        assert candidates is not None
        by_block.append(candidates.after(number * width))
    return by_block


@settings(max_examples=200, deadline=None, derandomize=True)
@arrangements
def test_no_sample_that_counts_is_left_out(
    arrangement: str, count: int, dimension: int, sigma: float, seed: int
) -> None:
    """All pairs within the gap are candidates, and both bounds hold, by distances in float64."""
    samples, x = arranged(arrangement, count, dimension, sigma, seed)
    mode = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(x.double(), samples.double(), compute_mode=mode)
    half_squares = distances.square() / 2
    counts = half_squares <= half_squares.amin(1, keepdim=True) + GAP * sigma**2 * (1 - 1e-9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "MAX_SHARE", 1.0)
        found = Screen.of(x, [sigma / 2, sigma])
        assert found is not None
        by_block = candidates_by_block(found, samples, x, 24)
    joined = found.joined(by_block)
    is_candidate = torch.zeros_like(counts)
    is_candidate[joined.rows, joined.samples] = True
    assert not bool((counts & ~is_candidate).any())
    in_units = distances * found.lattice.scale
    assert bool((joined.bounds <= in_units[joined.rows, joined.samples] * (1 + 1e-12)).all())
    assert bool((joined.nearest >= in_units.amin(1) * (1 - 1e-12)).all())
    nearest_by_block = torch.stack([candidates.nearest for candidates in by_block])
    assert torch.equal(joined.nearest, nearest_by_block.amin(0))
    assert joined.count == count


@settings(max_examples=200, deadline=None, derandomize=True)
@arrangements
@pytest.mark.parametrize("share", [1.0, 1 / 64])
def test_both_ways_are_right(
    share: float, arrangement: str, count: int, dimension: int, sigma: float, seed: int
) -> None:
    """Within 1e-3 nats, or what float64 rounds, of the sum in float64; in groups of two blocks."""
    samples, x = arranged(arrangement, count, dimension, sigma, seed)
    exact = torch.stack([direct(samples, x, width) for width in (sigma, 2 * sigma)])
    allowed = 1e-3 + 1e-12 * exact.abs()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screen, "MAX_SHARE", share)
        patch.setattr(parzen, "SAMPLES", 24)
        patch.setattr(parzen, "GROUP", 2)
        for screened in (True, False):
            densities = log_densities(samples, x, [sigma, 2 * sigma], screened)
            assert bool(((densities - exact).abs() <= allowed).all())


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_rows_that_are_not_finite_leave_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    monkeypatch.setattr(screen, "MAX_SHARE", 1.0)
    samples, x = arranged("anywhere", 80, 64, 0.2, 0)
    x[3, 5] = value
    screened, today = (log_density(samples, x, 0.2, way) for way in (True, False))
    assert bool(screened.isfinite().sum() == 6)
    torch.testing.assert_close(screened, today, rtol=0, atol=1e-3, equal_nan=True)
    samples[3, 5] = value
    screened, today = (log_density(samples, x, 0.2, way) for way in (True, False))
    torch.testing.assert_close(screened, today, rtol=0, atol=1e-3, equal_nan=True)


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    """1,000 samples and 150 rows."""
    return handwriting(1000, 0), handwriting(150, 1, held_out=True)


def refused(*_: object) -> None:
    """Stands for the float32 products."""
    raise AssertionError("a float32 product")


@pytest.mark.parametrize("sigma", [0.1, 0.1668, 0.2])
def test_narrow_bandwidths_need_no_product_and_are_nearly_exact(
    images: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, sigma: float
) -> None:
    monkeypatch.setattr(parzen, "_sums_by_product", refused)
    errors = (log_density(*images, sigma) - direct(*images, sigma)).abs()
    assert float(errors.mean()) <= 1e-5
    assert float(errors.max()) <= 1e-4


def test_wide_bandwidths_take_the_product(images: tuple[Tensor, Tensor]) -> None:
    """The same bits as without a screen, for all bandwidths of a call."""
    sigmas = [0.1, 1.0]
    assert torch.equal(log_densities(*images, sigmas), log_densities(*images, sigmas, False))


@pytest.mark.parametrize("fault", ["no instructions", "float64", "few rows", "few pixels"])
def test_what_does_not_pay_is_not_screened(
    images: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    x = images[1]
    assert Screen.of(x, [0.1]) is not None
    if fault == "no instructions":
        monkeypatch.setattr(screen, "is_quick", lambda: False)
    elif fault == "float64":
        x = x.double()
    elif fault == "few rows":
        monkeypatch.setattr(screen, "MIN_ROWS", len(x) + 1)
    else:
        monkeypatch.setattr(screen, "MIN_DIMENSION", x.shape[1] + 1)
    assert Screen.of(x, [0.1]) is None


def _saturated(rows: Tensor, samples: Tensor) -> Tensor:
    """What oneDNN computes where its instruction set is limited to AVX2: sums cut at 16 bits."""
    product = rows.int() @ samples.T.int()
    return product.clamp(-(2**15), 2**15 - 1)


def test_a_product_that_is_not_exact_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True})
    monkeypatch.setattr(screen, "_product", lambda rows, samples: rows.int() @ samples.T.int())
    assert screen.is_quick.__wrapped__()
    monkeypatch.setattr(screen, "_product", _saturated)
    assert not screen.is_quick.__wrapped__()
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not screen.is_quick.__wrapped__()


@pytest.mark.parametrize(
    "shape", [(1, 1, 2), (3, 5, 2), (31, 7, 1000), (65, 129, 333), (2, 1, 128)]
)
def test_products_of_any_shape_are_exact(shape: tuple[int, int, int]) -> None:
    count, width, dimension = shape
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(-LEVELS, LEVELS + 1, (count, dimension), generator=generator)
    samples = torch.randint(-LEVELS, LEVELS + 1, (width, dimension), generator=generator)
    product = screen._product(rows.to(torch.int8), samples.to(torch.int8))
    assert torch.equal(product, (rows @ samples.T).int())


@pytest.mark.parametrize("cuts", [[4], [1, 2, 3, 4, 5, 6], [0, 0, 6]])
@pytest.mark.parametrize("share", [1.0, 1 / 16])
def test_sums_over_parts_add_up(
    images: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch, cuts: list[int], share: float
) -> None:
    """Parts cut at multiples of `SAMPLES`, groups of two blocks, and all at once."""
    monkeypatch.setattr(parzen, "SAMPLES", 100)
    monkeypatch.setattr(parzen, "ROWS", 64)
    monkeypatch.setattr(screen, "MAX_SHARE", share)
    monkeypatch.setattr(parzen, "_sums_by_product", refused)
    samples, x = images[0][:650], images[1]
    whole = kernel_sums(samples, x, [0.1, 0.15])
    ends = [0, *(100 * cut for cut in cuts), 650]
    parts = [
        kernel_sums(samples[start:end], x, [0.1, 0.15])
        for start, end in itertools.pairwise(ends)
        if end > start
    ]
    monkeypatch.setattr(parzen, "GROUP", 2)
    for sums in (reduce(operator.add, parts), kernel_sums(samples, x, [0.1, 0.15])):
        assert sums.count == 650
        torch.testing.assert_close(sums.log_densities(), whole.log_densities(), rtol=1e-13, atol=0)


def test_blocks_of_both_kinds_add_up(
    images: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that many samples of count in takes the product, its neighbours do not, alone or
    together: the sums are those of the parts, and right.
    """
    monkeypatch.setattr(parzen, "SAMPLES", 200)
    monkeypatch.setattr(screen, "MAX_SHARE", 1 / 16)
    samples, x = images[0].clone(), images[1]
    noise = torch.randn(200, 784, generator=torch.Generator().manual_seed(0))
    # Near to each other and to no row, so that all of them count beside each other.
    samples[200:400] = 0.5 + 1e-3 * noise
    found = Screen.of(x, [0.15])
    assert found is not None
    few = [found.rounded_if_few(block) is not None for block in samples.split(200)]
    assert few == [True, False, True, True, True]
    whole = log_density(samples, x, 0.15)
    parts = [kernel_sums(block, x, [0.15]) for block in samples.split(200)]
    torch.testing.assert_close(
        reduce(operator.add, parts).log_densities()[0], whole, rtol=0, atol=1e-9
    )
    assert float((whole - direct(samples, x, 0.15)).abs().max()) <= 1e-4


def test_a_tile_of_many_candidates_takes_the_product(
    images: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the rows tried have few candidates and those of one tile many."""
    monkeypatch.setattr(parzen, "ROWS", 50)
    samples, x = images[0].clone(), images[1].clone()
    samples[:400] = samples[0]
    x[50:75] = samples[0] + 0.001
    monkeypatch.setattr(screen, "TRIED_ROWS", 2)
    by_product = []
    sums_by_product = parzen._sums_by_product

    def noted(rows: parzen._Rows, *others: object) -> parzen.KernelSums:
        by_product.append(float(rows.pixels[0, 0]))
        return sums_by_product(rows, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(parzen, "_sums_by_product", noted)
    densities = log_density(samples, x, 0.15)
    assert by_product == [float(x[50, 0])]
    assert float((densities - direct(samples, x, 0.15)).abs().max()) <= 1e-3


@pytest.mark.parametrize("spread", [1, 40])
def test_too_many_candidates_are_none(monkeypatch: pytest.MonkeyPatch, spread: int) -> None:
    """Whether they lie side by side, in few runs of a tile, or far apart, in all of them."""
    samples, x = arranged("anywhere", 640, 16, 0.01, 0)
    samples[::spread][:16] = x[0]
    found = Screen.of(x, [0.01])
    assert found is not None
    rows, block = found.lattice.rounded(x), found.lattice.rounded(samples)
    candidates = found.candidates(rows, block)
    assert candidates is not None
    count = len(candidates.rows)
    assert count >= 16 + len(x) - 1
    monkeypatch.setattr(screen, "MAX_SHARE", (count - 0.5) / (len(x) * len(samples)))
    assert found.candidates(rows, block) is None


def test_the_last_bandwidth_need_not_be_the_widest(images: tuple[Tensor, Tensor]) -> None:
    screens = [Screen.of(images[1], sigmas) for sigmas in ([0.2, 0.1], [0.1, 0.2], [0.2])]
    assert len({found.gap for found in screens if found}) == 1
    densities = log_densities(*images, [0.2, 0.1])
    exact = torch.stack([direct(*images, sigma) for sigma in (0.2, 0.1)])
    torch.testing.assert_close(densities, exact, rtol=0, atol=1e-4)
