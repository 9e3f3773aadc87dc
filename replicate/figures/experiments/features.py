"""The figures of `replicate.experiments.features`."""

import numpy as np
from matplotlib.axes import Axes

from replicate.figures.drawing import Array, Drawing, Result, numbers, offsets
from replicate.figures.theme import MARKERS, SERIES, canvas, legend

#: What a classifier is given, in the order of the figure, with the name in it.
FEATURES = {
    "pixels": "raw pixels",
    "untrained": "D before training",
    "discriminator": "trained D",
    "inference": "inference net",
}


def draw(result: Result) -> dict[str, Drawing]:
    """Test error against the number of labels, and what is saved against raw pixels, of every
    seed.
    """
    count = len(result["seeds"])
    return {"errors": _errors(result["series"], count)}


def _errors(series: Result, count: int) -> Drawing:
    label_counts = series["label_counts"]
    errors = {name: numbers(series["errors"][name]) for name in FEATURES}
    with canvas(height=4.4, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        for look, name in enumerate(FEATURES):
            _dots_and_means(upper, errors[name], look, count)
            # Differences seed by seed: both classifiers saw the same labelled images.
            if name != "pixels":
                saved = errors["pixels"] - errors[name]
                _dots_and_means(lower, saved, look, count)
        lower.axhline(0, color=SERIES[0], linewidth=1)
        upper.set_ylim(bottom=0)
        upper.set_ylabel("test error (share)")
        lower.set_ylabel("error saved\nagainst raw pixels (share)")
        names = [f"{number:,}" for number in label_counts]
        lower.set_xticks(range(len(names)), names)
        lower.set_xlabel(f"labelled images (n = {count} seeds; large: mean)")
        legend(upper, 2)
        caption = (
            f"A linear classifier of few labelled images, {count} seeds of networks and of "
            f"labelled images, {series['test_images']} test images; the networks saw "
            f"{series['unlabelled']:,} images without labels."
        )
        return Drawing.of(
            figure, "features/errors", "What features of D and E save a classifier", caption
        )


def _dots_and_means(axes: Axes, values: Array, look: int, count: int) -> None:
    """The values (seeds, numbers of labels) of the look-th features, side by side with others."""
    # Four kinds of features side by side, about the place of their number of labels.
    columns = np.arange(values.shape[1]) + 0.16 * (look - 1.5)
    seed_columns = columns + offsets(count, 0.03)[:, None]
    axes.plot(
        seed_columns.T,
        values.T,
        MARKERS[look],
        color=SERIES[look],
        markersize=2.5,
        alpha=0.6,
    )
    axes.plot(
        columns,
        values.mean(0),
        MARKERS[look],
        linestyle="-",
        color=SERIES[look],
        linewidth=1,
        markersize=5,
        label=list(FEATURES.values())[look],
    )
