"""Measures of comparisons against scikit-learn, brute force and closed forms, and known traps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg, stats
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors
from torch import Tensor

from replicate.measures.compared_images import Comparison, chosen_rows
from replicate.measures.frechet_distance import frechet, moments
from replicate.measures.kernel_distance import discrepancies
from replicate.measures.neighbours import squared_distances
from replicate.measures.resampling import mean_of, weights
from replicate.measures.run_measures import FUNCTIONS


def normal(count: int, dimension: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dimension, dtype=torch.float64, generator=generator)


def compared(samples: Tensor, true_images: Tensor, updates: int = 200) -> Comparison:
    return Comparison(samples, true_images, resamples=100, updates=updates)


def value(name: str, samples: Tensor, true_images: Tensor) -> float:
    return float(FUNCTIONS[name](compared(samples, true_images)).value)


def radii(images: np.ndarray, neighbours: int) -> np.ndarray:
    """Distance to the k-th nearest other image, by scikit-learn."""
    search = NearestNeighbors(n_neighbors=neighbours + 1, algorithm="brute").fit(images)
    return search.kneighbors(images)[0][:, -1]


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.sqrt(((first[:, None] - second[None]) ** 2).sum(2))


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_neighbourhoods_are_those_of_scikit_learn(shift: float) -> None:
    """The formulas of both papers, written out over all pairs, with radii by scikit-learn."""
    samples, true_images = normal(90, 4, 1) * 1.2 + shift, normal(90, 4, 2)
    a, b = samples.numpy(), true_images.numpy()
    between = distances(a, b)
    small_true, small_samples, large_true = radii(b, 3), radii(a, 3), radii(b, 5)
    expected = {
        "precision": (between <= small_true[None]).any(1).mean(),
        "recall": (between <= small_samples[:, None]).any(0).mean(),
        "density": (between <= large_true[None]).sum() / (5 * len(a)),
        "coverage": (between.min(0) <= large_true).mean(),
    }
    measured = {name: value(name, samples, true_images) for name in expected}
    assert measured == pytest.approx(expected, abs=1e-12)


def test_the_nearest_neighbour_test_is_that_of_scikit_learn() -> None:
    samples, true_images = normal(60, 3, 1) + 0.7, normal(60, 3, 2)
    union = torch.cat([samples, true_images]).numpy()
    labels = np.repeat([0, 1], 60)
    nearest = KNeighborsClassifier(n_neighbors=1, algorithm="brute")
    predicted = cross_val_predict(nearest, union, labels, cv=LeaveOneOut())
    accuracy = (predicted == labels).mean()
    assert value("nearest_neighbour_test", samples, true_images) == pytest.approx(accuracy)


def test_samples_of_the_true_distribution_have_what_the_papers_expect() -> None:
    """Density 1 and coverage 1 - 1/2^5 (Naeem et al. 2020), one half for both tests.

    In many dimensions balls overlap, so density varies more; 2 are taken here.
    """
    samples, true_images = normal(2000, 2, 3), normal(2000, 2, 4)
    assert value("density", samples, true_images) == pytest.approx(1, abs=0.06)
    assert value("coverage", samples, true_images) == pytest.approx(1 - 2**-5, abs=0.02)
    assert value("nearest_neighbour_test", samples, true_images) == pytest.approx(0.5, abs=0.04)


def test_precision_and_recall_are_not_exchanged() -> None:
    """Samples of one of two modes are precise and recall half; scattered ones the other way."""
    modes = torch.zeros(200, 2, dtype=torch.float64)
    modes[100:, 0] = 20.0
    true_images = normal(200, 2, 5) + modes
    one_mode = normal(200, 2, 6)
    assert value("precision", one_mode, true_images) > 0.9
    assert value("recall", one_mode, true_images) < 0.55
    scattered = normal(200, 2, 7) * 30
    assert value("precision", scattered, true_images) < 0.3
    assert value("recall", scattered, true_images) > 0.9


def test_density_is_above_one_where_samples_crowd() -> None:
    """Near the mean of many dimensions, where no image is, every ball reaches."""
    true_images = normal(300, 16, 8)
    crowded = normal(300, 16, 9) * 0.3
    assert value("density", crowded, true_images) > 2
    assert value("precision", crowded, true_images) == 1
    assert value("recall", crowded, true_images) < 0.1


def test_copies_are_told_below_one_half() -> None:
    """The nearest of all others is the copy, so nobody is told; the classifier cannot tell."""
    true_images = normal(100, 8, 10)
    estimate = FUNCTIONS["nearest_neighbour_test"](compared(true_images.clone(), true_images))
    assert estimate.value == 0
    assert value("precision", true_images.clone(), true_images) == 1
    assert value("coverage", true_images.clone(), true_images) == 1


def test_a_distance_to_a_copy_is_zero_and_others_are_exact() -> None:
    images = normal(50, 64, 11) * 100
    between = squared_distances(images, images)
    assert bool((between.diagonal() == 0).all())
    exact = (images[:, None] - images[None]).square().sum(2)
    torch.testing.assert_close(between, exact, rtol=1e-10, atol=1e-7)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), shift=st.floats(-50, 50))
def test_moving_turning_and_reordering_both_sets_changes_nothing(seed: int, shift: float) -> None:
    samples, true_images = normal(40, 3, seed) * 1.5, normal(40, 3, seed + 1)
    turn, _ = torch.linalg.qr(normal(3, 3, seed + 2))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed))
    for name in ("precision", "recall", "density", "coverage", "nearest_neighbour_test"):
        before = value(name, samples, true_images)
        after = value(name, samples[order] @ turn + shift, true_images @ turn + shift)
        assert after == pytest.approx(before, abs=1e-12)


def test_frechet_distance_of_known_gaussians() -> None:
    """Diagonal covariances have the closed form sum (sqrt a - sqrt b)^2; others scipy's sqrtm."""
    ones = torch.ones(3, dtype=torch.float64)
    first = torch.tensor([4.0, 1.0, 0.0], dtype=torch.float64)
    second = torch.tensor([1.0, 9.0, 4.0], dtype=torch.float64)
    distance = frechet((0 * ones, first.diag()), (2 * ones, second.diag()))
    assert distance == pytest.approx(12 + 1 + 4 + 4, abs=1e-10)
    a, b = normal(50, 6, 1) @ normal(6, 6, 2), normal(80, 6, 3)
    (mean, covariance), (other_mean, other) = (moments(x, torch.ones_like(x[:, 0])) for x in (a, b))
    np.testing.assert_allclose(covariance.numpy(), np.cov(a.numpy(), rowvar=False), atol=1e-12)
    root = linalg.sqrtm(covariance.numpy() @ other.numpy()).real
    trace = float(covariance.trace() + other.trace()) - 2 * np.trace(root)
    expected = float((mean - other_mean).square().sum()) + trace
    assert frechet((mean, covariance), (other_mean, other)) == pytest.approx(expected, rel=1e-8)


def test_frechet_distance_of_fewer_images_than_dimensions() -> None:
    """Singular covariances: with one common direction the distance is that of the line."""
    direction = normal(1, 20, 4)
    direction /= direction.norm()
    along, other_along = normal(10, 1, 5), 3 * normal(10, 1, 6)
    ones = torch.ones(10, dtype=torch.float64)
    on_line = frechet(moments(along, ones), moments(other_along, ones))
    in_space = frechet(moments(along * direction, ones), moments(other_along * direction, ones))
    assert in_space == pytest.approx(on_line, abs=1e-7)


def test_counts_of_a_resample_are_images_that_stand_there_so_often() -> None:
    images = normal(12, 3, 7)
    counts = weights(12, 1)[0]
    repeated = images.repeat_interleave(counts.long(), 0)
    expected = moments(repeated, torch.ones(12, dtype=torch.float64))
    for got, wanted in zip(moments(images, counts), expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-12)


def slow_discrepancy(first: np.ndarray, second: np.ndarray) -> float:
    """The unbiased estimate by two loops: pairs of distinct images within, all pairs between."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / len(x) + 1) ** 3)

    def within(images: np.ndarray) -> float:
        pairs = [(i, j) for i in range(len(images)) for j in range(len(images)) if i != j]
        return float(np.mean([kernel(images[i], images[j]) for i, j in pairs]))

    between = np.mean([kernel(x, y) for x in first for y in second])
    return within(first) + within(second) - 2 * float(between)


def test_kernel_distance_is_the_sum_over_pairs() -> None:
    first, second = normal(15, 4, 1), normal(15, 4, 2) + 0.3
    expected = slow_discrepancy(first.numpy(), second.numpy())
    assert value("kernel_distance", first, second) == pytest.approx(expected, abs=1e-12)


def test_kernel_distance_has_no_bias_and_the_moments_of_the_kernel() -> None:
    """(x y + 1)^3 in one dimension: 3 (m1 - m1')^2 + 3 (m2 - m2')^2 + (m3 - m3')^2."""
    shift = 0.4
    expected = 3 * shift**2 + 3 * (shift**2) ** 2 + (shift**3 + 3 * shift) ** 2
    ones = torch.ones(1, 20, dtype=torch.float64)
    draws = []
    for seed in range(400):
        first, second = normal(20, 1, 2 * seed) + shift, normal(20, 1, 2 * seed + 1)
        draws.append(float(discrepancies(first, second, ones, ones)[0]))
    error = float(np.std(draws)) / math.sqrt(len(draws))
    assert abs(float(np.mean(draws)) - expected) < 4 * error


def test_an_image_drawn_twice_is_no_pair_with_itself() -> None:
    """A resample with counts is the mean over pairs of distinct images, each pair so often."""
    images, others = normal(6, 2, 3), normal(6, 2, 4)
    counts = torch.tensor([[2.0, 0, 1, 1, 2, 0]], dtype=torch.float64)
    ones = torch.ones_like(counts)
    a = counts[0].numpy()
    gram = (images.numpy() @ images.numpy().T / 2 + 1) ** 3
    pairs = np.outer(a, a) * (1 - np.eye(6))
    within = (pairs * gram).sum() / pairs.sum()
    gram_others = (others.numpy() @ others.numpy().T / 2 + 1) ** 3
    within_others = (gram_others.sum() - np.trace(gram_others)) / 30
    between = (a @ (images.numpy() @ others.numpy().T / 2 + 1) ** 3).sum() / 36
    expected = within + within_others - 2 * between
    assert float(discrepancies(images, others, counts, ones)) == pytest.approx(expected)


def test_a_classifier_tells_gaussians_as_well_as_any_can() -> None:
    """The best accuracy for N(0, I) and N(m, I) is the normal distribution at |m| / 2."""
    shifted, centred = normal(2000, 4, 1), normal(2000, 4, 2)
    shifted[:, 0] += 2
    best = stats.norm.cdf(1)
    assert value("classifier_test", shifted, centred) == pytest.approx(best, abs=0.03)
    low, high = FUNCTIONS["classifier_test"](compared(normal(2000, 4, 3), centred)).interval
    assert low < 0.5 < high


def test_constant_pixels_do_not_disturb_the_classifier() -> None:
    shifted, centred = normal(200, 4, 1) + 2, normal(200, 4, 2)
    shifted[:, 3], centred[:, 3] = 0, 0
    assert value("classifier_test", shifted, centred) > 0.9


def test_the_interval_of_a_mean_covers_it() -> None:
    """At 95 %: between 90 and 99 of 100 means of 50 exponential numbers."""
    covered = 0
    for seed in range(200):
        numbers = torch.from_numpy(np.random.default_rng(seed).exponential(1, 50))
        estimate = mean_of(numbers, 200)
        assert estimate.interval is not None
        low, high = estimate.interval
        covered += low <= 1 <= high
    assert 0.88 <= covered / 200 <= 0.99


@pytest.mark.parametrize("name", ["frechet_distance", "kernel_distance"])
def test_intervals_of_distances_are_as_wide_as_repetitions_vary(name: str) -> None:
    """Two standard errors each way: within half of the standard deviation over data sets."""
    values, widths = [], []
    for seed in range(40):
        samples, true_images = normal(100, 3, 2 * seed) + 0.8, normal(100, 3, 2 * seed + 1)
        estimate = FUNCTIONS[name](compared(samples, true_images))
        values.append(estimate.value)
        widths.append(estimate.interval[1] - estimate.interval[0])
    assert np.mean(widths) / (2 * 1.96) == pytest.approx(np.std(values), rel=0.5)


def test_rows_are_chosen_at_random_and_once() -> None:
    images = torch.arange(100.0)[:, None]
    rows = chosen_rows(images, 40, 1)[:, 0]
    assert len(set(rows.tolist())) == 40
    assert rows.tolist() != sorted(rows.tolist())
    assert torch.equal(rows, chosen_rows(images, 40, 1)[:, 0])


@pytest.mark.slow
def test_threads_do_not_change_a_bit() -> None:
    samples, true_images = normal(300, 64, 1).abs(), normal(300, 64, 2).abs()
    names = ("precision", "frechet_distance", "kernel_distance")
    threads = torch.get_num_threads()
    try:
        by_threads = []
        for count in (1, 2):
            torch.set_num_threads(count)
            by_threads.append([value(name, samples, true_images) for name in names])
    finally:
        torch.set_num_threads(threads)
    assert by_threads[0] == by_threads[1]


@pytest.mark.slow
def test_the_frechet_distance_of_large_images_has_a_value_and_no_interval() -> None:
    """Of equal covariances and means that differ by 2 in one of 1,100 directions: 4, beside the
    bias, which is that of two sets with the same mean.
    """
    generator = torch.Generator().manual_seed(5)
    first, second = torch.randn(2, 1200, 1100, generator=generator, dtype=torch.float64)
    moved = second.clone()
    moved[:, 0] += 2
    same = FUNCTIONS["frechet_distance"](Comparison(first, second, 10, 1))
    apart = FUNCTIONS["frechet_distance"](Comparison(first, moved, 10, 1))
    assert same.interval is None
    shift = 2 * float(second[:, 0].mean() - first[:, 0].mean())
    assert apart.value - same.value == pytest.approx(4 + 2 * shift, abs=1e-6)
