"""The figures of `replicate.experiments.features`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.figures.drawing import Drawing, numbers, offsets
from replicate.figures.theme import MARKERS, SERIES, canvas, legend, svg

#: What a classifier is given, in the order of the figure, with the name in it.
FEATURES = {
    "pixels": "raw pixels",
    "untrained": "D before training",
    "discriminator": "trained D",
    "inference": "inference net",
}


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """Test error against the number of labels, and what is saved against raw pixels, of every seed."""
    return {"errors": _errors(result["series"], len(result["seeds"]))}


def _errors(series: Mapping[str, Any], count: int) -> Drawing:
    counts = series["label_counts"]
    values = {name: numbers(series["errors"][name]) for name in FEATURES}
    jitter = offsets(count, 0.03)
    with canvas(height=4.4, rows=(1.0, 1.0)) as (figure, axes):
        for look, (name, label) in enumerate(FEATURES.items()):
            places = np.arange(len(counts)) + 0.16 * (look - 1.5)
            for row, shown in enumerate((values[name], values["pixels"] - values[name])):
                if row and name == "pixels":
                    continue
                axes[row].plot(
                    (places + jitter[:, None]).T, shown.T, MARKERS[look], color=SERIES[look], markersize=2.5, alpha=0.6
                )
                axes[row].plot(
                    places, shown.mean(0), MARKERS[look], linestyle="-", color=SERIES[look], linewidth=1, markersize=5,
                    label=label,
                )  # fmt: skip
        axes[1].axhline(0, color=SERIES[0], linewidth=1)
        axes[0].set_ylim(bottom=0)
        axes[0].set_ylabel("test error (share)")
        axes[1].set_ylabel("error saved\nagainst raw pixels (share)")
        axes[1].set_xticks(range(len(counts)), [f"{number:,}" for number in counts])
        axes[1].set_xlabel(f"labelled images (n = {count} seeds; large: mean)")
        legend(axes[0], 2)
        text = (
            f"A linear classifier of few labelled images, {count} seeds of networks and of labelled images, "
            f"{series['test_images']} test images; the networks saw {series['unlabelled']:,} images without labels."
        )
        return Drawing(svg(figure, "features/errors", "What features of D and E save a classifier", text), text)
