"""The figures of `replicate.experiments.estimator`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.experiments.fixed.estimator import DIMENSIONS, THICKNESS, THIN, WIDE
from replicate.figures.drawing import Drawing
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend, svg
from replicate.statistics import mean_interval, standard_deviation


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
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
