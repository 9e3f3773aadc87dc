"""The figures of `replicate.experiments.data_size`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.figures.drawing import Drawing, numbers
from replicate.figures.theme import MARKERS, SERIES, canvas, legend, svg
from replicate.models import REGISTRY


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """The test log-likelihood against the number of training images, of every model and seed."""
    series, count = result["series"], len(result["seeds"])
    with canvas(height=3.4) as (figure, (axes,)):
        for place, (name, rows) in enumerate(series["test"].items()):
            values, colour, mark = numbers(rows), SERIES[place], MARKERS[place]
            shifted = np.array(series["images"]) * 1.03 ** (place - (len(series["test"]) - 1) / 2)
            axes.plot(shifted, values, mark, color=colour, markersize=3, alpha=0.6)
            axes.plot(shifted, values.mean(1), color=colour, marker=mark, markersize=0, label=REGISTRY[name][0])
        axes.set_xscale("log")
        axes.set_xticks(series["images"], [f"{images:,}" for images in series["images"]])
        axes.minorticks_off()
        axes.set_xlabel(f"training images (n = {count} seeds, a mark each)")
        axes.set_ylabel("test log-likelihood (nats)")
        legend(axes, 2)
        text = (
            f"Mean log-likelihood of {series['test_images']:,} test images in nats, by a Parzen window on "
            f"{series['samples']:,} samples, of models trained on nested subsets of the training images by equal "
            f"numbers of updates, and chosen by validation images. {count} seeds, a mark each, the models side by "
            "side; lines: means."
        )
        return {"sizes": Drawing(svg(figure, "data_size/sizes", "What more training images give", text), text)}
