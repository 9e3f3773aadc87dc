"""The estimate over groups of samples and over folds."""

import numpy as np
import pytest
import torch
from scipy import stats

from replicate.datasets.base import Splits
from replicate.likelihood.parzen import GROUP, SAMPLES, choose_bandwidth, kernel_sums
from replicate.scoring.estimate import estimate

CPU = torch.device("cpu")
SIGMAS = (0.1, 0.3, 1.0)


def splits_with_folds(generator: np.random.Generator, folds: int) -> Splits:
    labelled = generator.random((60, 1, 2, 2)).astype(np.float32)
    rows = np.arange(60)
    cuts = []
    for fold in range(folds):
        turned = np.roll(rows, 7 * fold)
        cuts.append({"train": turned[:20], "valid": turned[20:40], "test": turned[40:]})
    images = {"train": generator.random((10, 1, 2, 2)).astype(np.float32), "labelled": labelled}
    return Splits(images=images, folds=cuts, whole_validation=True)


def test_many_samples_give_the_bits_of_one_call() -> None:
    generator = np.random.default_rng(0)
    count = GROUP * SAMPLES + 500
    samples = generator.random((count, 4)).astype(np.float32)
    rows = {name: generator.random((30, 1, 2, 2)).astype(np.float32) for name in ("valid", "test")}
    splits = Splits(images={"train": rows["valid"][:0], **rows})
    result = estimate(samples, splits, SIGMAS, 30, CPU)
    (fold,) = result.folds
    test = torch.from_numpy(splits.flat("test"))
    sigmas = [fold["sigma"], fold["fine_sigma"]]
    by_sigma = kernel_sums(torch.from_numpy(samples), test, sigmas).log_densities()
    assert fold["log_likelihood"] == float(by_sigma[0].mean())
    assert fold["fine_log_likelihood"] == float(by_sigma[1].mean())
    assert result.standard_error_folds is None


def test_every_fold_has_its_own_bandwidth_and_the_error_is_over_folds() -> None:
    generator = np.random.default_rng(1)
    splits = splits_with_folds(generator, 3)
    samples = generator.random((50, 4)).astype(np.float32)
    result = estimate(samples, splits, SIGMAS, 5, CPU)
    means = []
    for number, fold in enumerate(result.folds):
        valid = torch.from_numpy(splits.flat("valid", number))
        choice = choose_bandwidth(torch.from_numpy(samples), valid, SIGMAS)
        assert (fold["sigma"], fold["n_validation"]) == (choice.sigma, 20)
        squared = ((splits.flat("test", number)[:, None] - samples) ** 2).sum(2, dtype=np.float64)
        densities = np.exp(-squared / (2 * choice.sigma**2)).mean(1)
        means.append(np.log(densities).mean() - 4 * np.log(choice.sigma * np.sqrt(2 * np.pi)))
    assert result.log_likelihood == pytest.approx(np.mean(means), abs=1e-5)
    error = np.std(means, ddof=1) / np.sqrt(3)
    assert result.standard_error_folds == pytest.approx(error, rel=1e-4)
    low, high = result.interval
    # Two degrees of freedom, as of every mean over three folds: 4.3 errors and not 1.96.
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 2) * error, rel=1e-4)
    assert (high + low) / 2 == pytest.approx(result.log_likelihood)
