"""The figures of `replicate.experiments.estimator`."""

import math

import numpy as np

from replicate.experiments.constants import DIMENSIONS, THICKNESS, THIN, WIDE_DIMENSIONS
from replicate.figures.drawing import Drawing, Result
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend
from replicate.verdicts.statistics import mean_interval, standard_deviation


def draw(result: Result) -> dict[str, Drawing]:
    """Bias against the number of samples, and the spread over sample sets against the dimension."""
    densities = result["series"]["densities"]
    count = len(result["seeds"])
    return {
        "bias": _figure_of_bias(densities, count),
        "spread": _figure_of_spread(densities, count),
    }


def _figure_of_bias(densities: Result, count: int) -> Drawing:
    with canvas(height=3.8) as (figure, (axes,)):
        for look, name in enumerate((*map(str, DIMENSIONS), THIN)):
            errors = densities[name]
            rows = errors["bias"]
            means = np.mean(rows, axis=1)
            # A single seed has no interval.
            intervals = [mean_interval(row) or (row[0], row[0]) for row in rows]
            # matplotlib wants the lengths of the bars, and not where they end.
            reach = np.abs(np.array(intervals).T - means)
            axes.errorbar(
                errors["samples"],
                means,
                reach,
                marker=MARKERS[look],
                color=SERIES[look],
                capsize=2,
                label=f"d = {name}",
            )
        axes.axhline(0, color=INK, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        # The bias has both signs, and spans from hundredths to hundreds of nats.
        axes.set_yscale("symlog", linthresh=0.1)
        axes.set_xlabel(f"samples that the window is put on (n = {count} seeds)")
        axes.set_ylabel("bias of the mean log-likelihood (nats)")
        legend(axes, len(densities), fontsize="small")
        caption = (
            "The Parzen estimate of a standard normal density in d dimensions less the truth, "
            f"mean of {count} sets of samples with 95 % intervals; {THIN}: {WIDE_DIMENSIONS} wide "
            f"dimensions, all others of standard deviation {THICKNESS}. The axis is linear within "
            "0.1 nats."
        )
        return Drawing.of(figure, "estimator/bias", "Bias against the number of samples", caption)


def _figure_of_spread(densities: Result, count: int) -> Drawing:
    normal = [densities[str(dimension)] for dimension in DIMENSIONS]
    with canvas(height=3.4) as (figure, (axes,)):
        for look, size in enumerate(normal[0]["samples"]):
            biases = [errors["bias"][look] for errors in normal]
            # A single seed has no spread, and not-a-number is not drawn.
            spread = [standard_deviation(values) or math.nan for values in biases]
            label = f"{size:,} samples"
            axes.plot(DIMENSIONS, spread, marker=MARKERS[look], color=SERIES[look], label=label)
        test_errors = [errors["test_error"] for errors in normal]
        axes.plot(DIMENSIONS, test_errors, ":", color=INK, label="test points")
        axes.set_xscale("log")
        axes.set_yscale("log")
        names = [str(dimension) for dimension in DIMENSIONS]
        axes.set_xticks(DIMENSIONS, names)
        axes.minorticks_off()
        axes.set_xlabel(f"dimension (n = {count} seeds)")
        axes.set_ylabel("standard deviation (nats)")
        legend(axes, 2, fontsize="small")
        caption = (
            f"Spread of the estimate over {count} sets of samples and of validation samples, at "
            "the same test points; dotted: the standard error over those points, as tables print "
            "it."
        )
        return Drawing.of(figure, "estimator/spread", "Spread over sets of samples", caption)
