"""The Parzen-window estimate where the density is known (E1, section 5 of the paper): its bias and its spread.

Samples of p = N(0, diag(s^2)) stand for those of a perfect model, so that all error is the estimate's. A bandwidth is
chosen on validation samples from a grid, as in the protocol; the error is that of the mean log-density of test points:

    bias = mean over test points of (log p_estimated(x) - log p(x)),  E[log p(x)] = -d/2 log(2 pi e) where s = 1.

The true log-density is taken at the same points, whose own scatter it takes out. All seeds share the test points: what
differs between seeds is the set of samples and the validation samples. "High variance" is read as that spread, in nats.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Drawing, Experiment, ExperimentConfig, Found
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend, svg
from replicate.likelihood.parzen import log_densities, standard_error
from replicate.loops import each
from replicate.params import OURS, setting
from replicate.statistics import mean_interval, standard_deviation
from replicate.training.streams import Streams

#: Dimensions of the standard normal densities.
DIMENSIONS = (1, 2, 8, 32, 128, 784)
#: A density near a subspace, as images are near a manifold: of 784 dimensions 8 have standard deviation 1, all others
#: this.
WIDE, THICKNESS = 8, 0.1
THIN = f"{WIDE} in 784"
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
        }
        return Found({"E1": checks}, {"densities": found})

    def draw(self, result: Mapping[str, Any]) -> dict[str, Drawing]:
        """Bias against the number of samples, and the spread over sample sets against the dimension."""
        found, count = result["series"]["densities"], len(result["seeds"])
        return {"bias": _figure_of_bias(found, count), "spread": _figure_of_spread(found, count)}


def _figure_of_bias(found: Mapping[str, Mapping[str, Any]], count: int) -> Drawing:
    with canvas(height=3.8) as (figure, (axes,)):
        for k, name in enumerate((*map(str, DIMENSIONS), THIN)):
            errors_of = found[name]
            means = np.mean(errors_of["bias"], axis=1)
            intervals = [mean_interval(row) or (row[0], row[0]) for row in errors_of["bias"]]
            reach = np.abs(np.array(intervals).T - means)
            axes.errorbar(
                errors_of["samples"], means, reach, marker=MARKERS[k], color=SERIES[k], capsize=2, label=f"d = {name}"
            )
        axes.axhline(0, color=INK, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_xlabel(f"samples that the window is put on (n = {count} seeds)")
        axes.set_ylabel("bias of the mean log-likelihood (nats)")
        legend(axes, len(found), fontsize="small")
        text = (
            f"The Parzen estimate of a standard normal density in d dimensions less the truth, mean of {count} sets of "
            f"samples with 95 % intervals; {THIN}: {WIDE} wide dimensions, all others of standard deviation "
            f"{THICKNESS}. The axis is linear within 0.1 nats."
        )
        return Drawing(svg(figure, "estimator/bias", "Bias against the number of samples", text), text)


def _figure_of_spread(found: Mapping[str, Mapping[str, Any]], count: int) -> Drawing:
    with canvas(height=3.4) as (figure, (axes,)):
        normal = [found[str(d)] for d in DIMENSIONS]
        for k, size in enumerate(normal[0]["samples"]):
            spread = [standard_deviation(errors_of["bias"][k]) or math.nan for errors_of in normal]
            axes.plot(DIMENSIONS, spread, marker=MARKERS[k], color=SERIES[k], label=f"{size:,} samples")
        axes.plot(DIMENSIONS, [e["test_error"] for e in normal], ":", color=INK, label="test points")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(DIMENSIONS, [str(d) for d in DIMENSIONS])
        axes.minorticks_off()
        axes.set_xlabel(f"dimension (n = {count} seeds)")
        axes.set_ylabel("standard deviation (nats)")
        legend(axes, 2, fontsize="small")
        text = (
            f"Spread of the estimate over {count} sets of samples and of validation samples, at the same test points; "
            "dotted: the standard error over those points, as tables print it."
        )
        return Drawing(svg(figure, "estimator/spread", "Spread over sets of samples", text), text)


EXPERIMENT = Estimator()
