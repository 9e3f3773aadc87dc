"""The figures of `replicate.experiments.collapse`."""

from collections.abc import Mapping
from typing import Any

from replicate.experiments.fixed.collapse import COVERED, RATIOS
from replicate.figures.drawing import Drawing, numbers, offsets
from replicate.figures.theme import MARKERS, SERIES, canvas, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """Classes among the samples, and their spread, of every ratio and seed."""
    return {"ratios": _ratios(result["series"], len(result["seeds"]))}


def _ratios(series: Mapping[str, Any], count: int) -> Drawing:
    spots = offsets(count, 0.2)
    with canvas(height=4.2, rows=(1.0, 1.0)) as (figure, axes):
        for place, measure, label in (
            (axes[0], "classes", f"classes with {COVERED:.0%}\nof the samples"),
            (axes[1], "spread", "distance of two samples\n(1: as the data's)"),
        ):
            for k, ratio in enumerate(RATIOS):
                values = numbers(series["ratios"][str(ratio)][measure])
                place.plot(k + spots, values, MARKERS[0], color=SERIES[0], markersize=3.5)
            place.set_ylabel(label)
            place.set_ylim(bottom=0)
        axes[1].set_xticks(range(len(RATIOS)), [f"{ratio}:1" for ratio in RATIOS])
        axes[1].set_xlabel(f"updates of G per update of D (n = {count} seeds)")
        text = (
            f"{series['samples']:,} samples of G after equal numbers of its updates, {count} seeds: classes that a "
            f"classifier (right on {series['classifier_accuracy']:.1%} of {series['classifier_test_images']} test "
            "images) sees in them, and the mean distance of two of them."
        )
        return Drawing(svg(figure, "collapse/ratios", "Classes against the ratio of updates", text), text)
