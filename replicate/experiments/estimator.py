"""The Parzen-window estimate where the density is known: its bias and its spread (E1, section 5).

The paper claims: the estimate has high variance and does not do well in high dimension.

Samples of p = N(0, diag(s^2)) stand for those of a perfect model, so that all error is the
estimate's. A bandwidth is chosen on validation samples from a grid, as in the protocol. Measured is
the error of the mean log-density of test points:

    bias = mean over test points of (log p_estimated(x) - log p(x)),
    where E[log p(x)] = -d/2 log(2 pi e) if s = 1.

The true log-density is taken at the same points, which takes out their own scatter. All seeds share
the test points: what differs between seeds is the set of samples and the validation samples. "High
variance" is read as that spread, in nats, against what Table 1 can show.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypedDict

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    differences,
)
from replicate.experiments.constants import DIMENSIONS, THICKNESS, THIN, WIDE_DIMENSIONS
from replicate.likelihood.parzen import log_densities, standard_error
from replicate.params import OURS, setting
from replicate.progress.loops import each
from replicate.training.streams import Streams

#: Bandwidths tried: the released grid (0.1 to 1), carried on by its own steps; its upper edge would
#: bind here.
SIGMAS = tuple(10 ** (-1 + k / 9) for k in range(15))


class EstimatorConfig(ExperimentConfig):
    """Sizes of the three sets."""

    samples: int = setting(
        10_000,
        "windows; also a tenth and a hundredth of them",
        "the released protocol",
        ge=200,
        multiple_of=100,
    )
    validation: int = setting(
        1000, "samples that choose the bandwidth", "the released protocol", ge=2
    )
    test: int = setting(1000, "points at which the estimate is compared with the truth", OURS, ge=2)


#: What estimates: (samples (m, d), validation (n, d), test points (k, d), standard deviations (d,))
#: to the log-density of every test point, (k,) float64 in nats, and the bandwidth.
Estimate = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, float]]


class Errors(TypedDict):
    """The estimate's errors on one density.

    `samples` are the three numbers of samples; `bias` (nats) and `sigma` have a row for each, of
    one number a seed. `test_error` is the standard error of the mean true log-density over the test
    points, as published tables print it.
    """

    samples: list[int]
    bias: list[list[float]]
    sigma: list[list[float]]
    test_error: float


def densities() -> dict[str, Tensor]:
    """Name -> standard deviations of a density's dimensions, (d,)."""
    thin = torch.full((784,), THICKNESS)
    thin[:WIDE_DIMENSIONS] = 1
    spreads = {str(dimension): torch.ones(dimension) for dimension in DIMENSIONS}
    return spreads | {THIN: thin}


def true_log_density(points: Tensor, spreads: Tensor) -> Tensor:
    """log N(x; 0, diag(spreads^2)) of every row, float64 in nats."""
    deviations = spreads.double()
    dimension = len(deviations)
    log_volume = deviations.log().sum()
    constant = log_volume + dimension * math.log(2 * math.pi) / 2
    standardised = points.double() / deviations
    squares = standardised.square().sum(1)
    return -squares / 2 - constant


def parzen(
    samples: Tensor, validation: Tensor, test: Tensor, spreads: Tensor
) -> tuple[Tensor, float]:
    """The protocol's estimate; it knows nothing of `spreads`."""
    on_validation = log_densities(samples, validation, SIGMAS)
    means = on_validation.mean(1)
    best_index = int(means.argmax())
    sigma = SIGMAS[best_index]
    on_test = log_densities(samples, test, [sigma])
    return on_test[0], sigma


def errors(
    estimate: Estimate,
    spreads: Tensor,
    config: EstimatorConfig,
    seeds: Sequence[int],
    device: torch.device,
) -> Errors:
    """The errors with a hundredth, a tenth and all of the samples of a density.

    Args:
        spreads: standard deviations of the density's dimensions, (d,).
    """
    spreads = spreads.to(device)
    dimension = len(spreads)
    count = config.samples
    # Nested sets: the change from one size to the next is not that of other samples.
    sizes = [count // 100, count // 10, count]
    # The same test points for every seed: their error is no part of the spread over seeds.
    test_streams = Streams((0,), device)
    standard_test = test_streams.normal("evaluation", 0, config.test, dimension)[0]
    test = standard_test * spreads
    truth = true_log_density(test, spreads)
    bias: list[list[float]] = [[] for _ in sizes]
    sigmas: list[list[float]] = [[] for _ in sizes]
    for seed in each(seeds, "seed {}"):
        streams = Streams((seed,), device)
        standard_samples = streams.normal("noise", 0, count, dimension, part=0)[0]
        samples = standard_samples * spreads
        standard_validation = streams.normal("noise", 0, config.validation, dimension, part=1)[0]
        validation = standard_validation * spreads
        for k, size in enumerate(sizes):
            estimates, sigma = estimate(samples[:size], validation, test, spreads)
            mean_error = (estimates - truth).mean()
            bias[k].append(float(mean_error))
            sigmas[k].append(sigma)
    return {"samples": sizes, "bias": bias, "sigma": sigmas, "test_error": standard_error(truth)}


def deviations_from_median(values: Sequence[float]) -> list[float]:
    """|value - median| of every seed (Brown & Forsythe 1974): large where values scatter."""
    array = np.array(values)
    # The median and not the mean: one odd seed moves it little, and the others' deviations with it.
    median = np.median(array)
    distances = np.abs(array - median)
    return [float(distance) for distance in distances]


def scaled_deviations(values: Sequence[float]) -> list[float]:
    """The same; scaled so that, of normal values, their mean is the standard deviation."""
    # Of N(0, s^2) the mean of |x| is s sqrt(2 / pi).
    scale = math.sqrt(math.pi / 2)
    return [scale * distance for distance in deviations_from_median(values)]


class Estimator(Experiment[EstimatorConfig]):
    """E1.

    Args:
        estimate: what is compared with the truth.
    """

    Config = EstimatorConfig
    statements: ClassVar[tuple[str, ...]] = ("E1",)

    def __init__(self, estimate: Estimate = parzen) -> None:
        self._estimate = estimate

    def run(
        self,
        config: EstimatorConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Every density at three numbers of samples; `splits` is not used."""
        spreads = densities()
        measured: dict[str, Errors] = {}
        for name in each([*spreads], "density in {} dimensions"):
            measured[name] = errors(self._estimate, spreads[name], config, seeds, device)
        return ExperimentResult(_checks(measured), {"densities": measured})


def _sizes(values: Sequence[float]) -> list[float]:
    return [abs(value) for value in values]


def _checks(measured: Mapping[str, Errors]) -> Checks:
    in_2 = measured["2"]["bias"]
    in_32 = measured["32"]["bias"]
    in_784 = measured["784"]["bias"]
    # Sizes, since in few dimensions the bias may have either sign.
    size_2 = _sizes(in_2[-1])
    size_32 = _sizes(in_32[-1])
    size_784 = _sizes(in_784[-1])
    scatter_2 = deviations_from_median(in_2[-1])
    scatter_784 = deviations_from_median(in_784[-1])
    return {
        "E1": {
            "bias_in_784_dimensions": in_784[-1],
            "growth_of_the_bias_from_2_to_32_dimensions": differences(size_32, size_2),
            "growth_of_the_bias_from_32_to_784_dimensions": differences(size_784, size_32),
            "change_by_ten_times_the_samples": differences(in_784[-1], in_784[-2]),
            "growth_of_the_spread_from_2_to_784_dimensions": differences(scatter_784, scatter_2),
            "spread_in_784_dimensions": scaled_deviations(in_784[-1]),
        }
    }


EXPERIMENT = Estimator()
