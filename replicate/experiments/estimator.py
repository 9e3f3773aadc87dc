"""The Parzen-window estimate where the density is known (E1, section 5 of the paper): its bias and its spread.

Samples of p = N(0, diag(s^2)) stand for those of a perfect model, so that all error is the estimate's. A bandwidth is
chosen on validation samples from a grid, as in the protocol; the error is that of the mean log-density of test points:

    bias = mean over test points of (log p_estimated(x) - log p(x)),  E[log p(x)] = -d/2 log(2 pi e) where s = 1.

The true log-density is taken at the same points, whose own scatter it takes out. All seeds share the test points: what
differs between seeds is the set of samples and the validation samples. "High variance" is read as that spread, in nats,
against what Table 1 can show.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, ExperimentConfig, Found
from replicate.experiments.fixed.estimator import DIMENSIONS, THICKNESS, THIN, WIDE
from replicate.likelihood.parzen import log_densities, standard_error
from replicate.loops import each
from replicate.params import OURS, setting
from replicate.training.streams import Streams

#: Bandwidths tried: the released grid (0.1 to 1), carried on by its own steps; its upper edge would bind here.
SIGMAS = tuple(10 ** (-1 + k / 9) for k in range(15))


class EstimatorConfig(ExperimentConfig):
    """Sizes of the three sets."""

    samples: int = setting(
        10_000, "windows; also a tenth and a hundredth of them", "the released protocol", ge=200, multiple_of=100
    )
    validation: int = setting(1000, "samples that choose the bandwidth", "the released protocol", ge=2)
    test: int = setting(1000, "points at which the estimate is compared with the truth", OURS, ge=2)


#: What estimates: (samples (m, d), validation (n, d), test points (k, d), standard deviations (d,)) to the log-density
#: of every test point, (k,) float64 in nats, and the bandwidth.
Estimate = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, float]]


def parzen(samples: Tensor, validation: Tensor, test: Tensor, spreads: Tensor) -> tuple[Tensor, float]:
    """The protocol's estimate; it knows nothing of `spreads`."""
    sigma = SIGMAS[int(log_densities(samples, validation, SIGMAS).mean(1).argmax())]
    return log_densities(samples, test, [sigma])[0], sigma


def true_log_density(points: Tensor, spreads: Tensor) -> Tensor:
    """log N(x; 0, diag(spreads^2)) of every row, float64 in nats."""
    wide = spreads.double()
    constant = wide.log().sum() + len(wide) * math.log(2 * math.pi) / 2
    return -(points.double() / wide).square().sum(1) / 2 - constant


def densities() -> dict[str, Tensor]:
    """Name -> standard deviations of a density's dimensions, (d,)."""
    thin = torch.full((784,), THICKNESS)
    thin[:WIDE] = 1
    return {str(d): torch.ones(d) for d in DIMENSIONS} | {THIN: thin}


def errors(
    estimate: Estimate, spreads: Tensor, config: EstimatorConfig, seeds: Sequence[int], device: torch.device
) -> dict[str, Any]:
    """Bias (sizes, seeds) in nats, and bandwidths, for a hundredth, a tenth and all of the samples.

    `test_error` is the standard error of the mean true log-density over the test points, which published tables print.
    """
    spreads = spreads.to(device)
    sizes = [config.samples // 100, config.samples // 10, config.samples]
    shared = Streams((0,), device).normal("evaluation", 0, config.test, len(spreads))[0] * spreads
    truth = true_log_density(shared, spreads)
    bias: list[list[float]] = [[] for _ in sizes]
    sigmas: list[list[float]] = [[] for _ in sizes]
    for seed in each(seeds, "seed {}"):
        streams = Streams((seed,), device)
        samples = streams.normal("noise", 0, config.samples, len(spreads), part=0)[0] * spreads
        validation = streams.normal("noise", 0, config.validation, len(spreads), part=1)[0] * spreads
        for k, size in enumerate(sizes):
            found, sigma = estimate(samples[:size], validation, shared, spreads)
            bias[k].append(float((found - truth).mean()))
            sigmas[k].append(sigma)
    return {"samples": sizes, "bias": bias, "sigma": sigmas, "test_error": standard_error(truth)}


def deviations(values: Sequence[float]) -> list[float]:
    """Of every seed the absolute distance from the median of all (Brown & Forsythe 1974): large where they scatter."""
    return [float(v) for v in np.abs(np.array(values) - np.median(values))]


def spreads_of(values: Sequence[float]) -> list[float | None]:
    """The same deviations, scaled so that their mean is the standard deviation where the values are normal."""
    return [math.sqrt(math.pi / 2) * deviation for deviation in deviations(values)]


def _differences(ones: Sequence[float], others: Sequence[float]) -> list[float | None]:
    return [one - other for one, other in zip(ones, others, strict=True)]


class Estimator(Experiment):
    """E1.

    Args:
        estimate: what is judged.
    """

    Config = EstimatorConfig
    claims: ClassVar[tuple[str, ...]] = ("E1",)

    def __init__(self, estimate: Estimate = parzen) -> None:
        self._estimate = estimate

    def run(self, config: EstimatorConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Every density at three numbers of samples; `splits` is not used."""
        known = densities()
        found = {
            name: errors(self._estimate, known[name], config, seeds, device)
            for name in each([*known], "density in {} dimensions")
        }
        size = {name: [abs(value) for value in found[name]["bias"][-1]] for name in ("2", "32", "784")}
        scatter = {name: deviations(found[name]["bias"][-1]) for name in ("2", "784")}
        highest = found["784"]["bias"]
        checks: dict[str, float | list[float | None]] = {
            "bias_in_784_dimensions": list(highest[-1]),
            "growth_of_the_bias_from_2_to_32_dimensions": _differences(size["32"], size["2"]),
            "growth_of_the_bias_from_32_to_784_dimensions": _differences(size["784"], size["32"]),
            "change_by_ten_times_the_samples": _differences(highest[-1], highest[-2]),
            "growth_of_the_spread_from_2_to_784_dimensions": _differences(scatter["784"], scatter["2"]),
            "spread_in_784_dimensions": spreads_of(highest[-1]),
        }
        return Found({"E1": checks}, {"densities": found})


EXPERIMENT = Estimator()
