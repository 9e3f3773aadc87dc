"""The figures of `replicate.experiments.data_size`."""

import numpy as np

from replicate.figures.drawing import Drawing, Result, numbers
from replicate.figures.theme import MARKERS, SERIES, canvas, legend
from replicate.models import REGISTRY


def draw(result: Result) -> dict[str, Drawing]:
    """The test log-likelihood against the number of training images, of every model and seed."""
    count = len(result["seeds"])
    return {"sizes": _sizes(result["series"], count)}


def _sizes(series: Result, count: int) -> Drawing:
    sizes, model_count = series["images"], len(series["test"])
    with canvas(height=3.4) as (figure, (axes,)):
        for index, (name, rows) in enumerate(series["test"].items()):
            values = numbers(rows)
            colour, marker = SERIES[index], MARKERS[index]
            title, _ = REGISTRY[name]
            # The models stand side by side, on a logarithmic axis.
            places_from_middle = index - (model_count - 1) / 2
            shifted = np.array(sizes) * 1.03**places_from_middle
            axes.plot(shifted, values, marker, color=colour, markersize=3, alpha=0.6)
            axes.plot(
                shifted,
                values.mean(1),
                color=colour,
                marker=marker,
                # The marks are the seeds'; the line carries the name.
                markersize=0,
                label=title,
            )
        axes.set_xscale("log")
        names = [f"{size:,}" for size in sizes]
        axes.set_xticks(sizes, names)
        axes.minorticks_off()
        axes.set_xlabel(f"training images (n = {count} seeds, a mark each)")
        axes.set_ylabel("test log-likelihood (nats)")
        legend(axes, 2)
        caption = (
            f"Mean log-likelihood of {series['test_images']:,} test images in nats, by a Parzen "
            f"window on {series['samples']:,} samples, of models trained on nested subsets of the "
            "training images by equal numbers of updates, and chosen by validation images. "
            f"{count} seeds, a mark each, the models side by side; lines: means."
        )
        return Drawing.of(figure, "data_size/sizes", "What more training images give", caption)
