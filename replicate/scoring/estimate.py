"""The Parzen estimate of anyone's samples, by the code and the protocol of the pipeline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.likelihood.parzen import (
    GROUP,
    SAMPLES,
    Bandwidth,
    KernelSums,
    choose_bandwidth,
    kernel_sums,
    standard_error,
)
from replicate.progress.loops import each, steps, task
from replicate.records.schema import ScoredFold
from replicate.scoring.rows import Pixels
from replicate.verdicts.statistics import mean_interval

#: Half the width of a 95 % interval in standard errors.
NORMAL_95 = 1.959964
#: About the share of the work that the choice of a bandwidth is.
CHOICE_SHARE = 0.3


@dataclass(frozen=True)
class Estimate:
    """The estimate of one set of samples.

    Attributes:
        log_likelihood: mean over test images, then over folds, nats.
        standard_error: over test images, mean over folds.
        standard_error_folds: over folds; None where there is one.
        fine_log_likelihood: at the bandwidths of the fine grid.
        interval: 95 %, Student's t over folds where there are some, else normal over test images.
        folds: one or more.
    """

    log_likelihood: float
    standard_error: float
    standard_error_folds: float | None
    fine_log_likelihood: float
    interval: tuple[float, float]
    folds: list[ScoredFold]

    @property
    def at_edge(self) -> list[float]:
        """The bandwidths that were chosen at an edge of the grid, each once."""
        folds = [fold for fold in self.folds if fold["at_edge"]]
        return sorted({fold["sigma"] for fold in folds})


def estimate(
    pixels: Pixels, splits: Splits, sigmas: tuple[float, ...], limit: int, device: torch.device
) -> Estimate:
    """The estimate of samples (n, d), each fold with its own bandwidth.

    Args:
        pixels: the samples.
        splits: validation images choose the bandwidth, test images are measured.
        sigmas: bandwidths of the grid.
        limit: validation images that choose (`Splits.validation`).
        device: where it is computed.

    Raises:
        ReplicateError: a log-likelihood is not finite.
    """
    samples = torch.from_numpy(pixels).to(device)
    folds = []
    for fold in each(range(splits.fold_count), "fold {}"):
        valid = torch.from_numpy(splits.validation(limit, fold)).to(device)
        test = torch.from_numpy(splits.flat("test", fold)).to(device)
        folds.append(_fold(samples, valid, test, sigmas))
    means = [fold["log_likelihood"] for fold in folds]
    mean = float(np.mean(means))
    error = float(np.mean([fold["standard_error"] for fold in folds]))
    half_width = NORMAL_95 * error
    return Estimate(
        log_likelihood=mean,
        standard_error=error,
        standard_error_folds=_error_of_folds(means),
        fine_log_likelihood=float(np.mean([fold["fine_log_likelihood"] for fold in folds])),
        # Five folds have four degrees of freedom: normal, the interval would hold 88 %.
        interval=mean_interval(means) or (mean - half_width, mean + half_width),
        folds=folds,
    )


def _error_of_folds(means: Sequence[float]) -> float | None:
    """The standard error of the mean over folds, ddof 1 (caption of the paper's Table 1)."""
    if len(means) == 1:
        return None
    return float(np.std(means, ddof=1)) / math.sqrt(len(means))


def _fold(samples: Tensor, valid: Tensor, test: Tensor, sigmas: tuple[float, ...]) -> ScoredFold:
    with task("choosing the bandwidth", CHOICE_SHARE):
        choice = choose_bandwidth(samples, valid, sigmas)
    if not all(map(math.isfinite, choice.curve)):
        raise ReplicateError(
            "the log-likelihood is not finite: the samples lie too far from the images; look at "
            "the range of their pixels."
        )
    with task("measuring test images", 1.0):
        sums = _kernel_sums(samples, test, choice)
    by_sigma = sums.log_densities()
    return {
        "sigma": choice.sigma,
        "at_edge": choice.at_edge,
        "fine_sigma": choice.fine_sigma,
        "log_likelihood": float(by_sigma[0].mean()),
        "standard_error": standard_error(by_sigma[0]),
        "fine_log_likelihood": float(by_sigma[1].mean()),
        "curve": list(choice.curve),
        "n_validation": len(valid),
        "n_test": len(test),
    }


def _kernel_sums(samples: Tensor, test: Tensor, choice: Bandwidth) -> KernelSums:
    """The sums over all samples, group by group as `kernel_sums` takes them, so that the bits are
    those of one call and progress can be told.
    """
    groups = torch.split(samples, GROUP * SAMPLES)
    # Both at once: the distances, most of the work, are the same.
    sigmas = [choice.sigma, choice.fine_sigma]
    total: KernelSums | None = None
    for number in steps(len(groups), "group"):
        sums = kernel_sums(groups[number], test, sigmas)
        total = sums if total is None else total + sums
    assert total is not None
    return total
