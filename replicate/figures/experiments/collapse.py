"""The figures of `replicate.experiments.collapse`."""

from replicate.experiments.constants import COLLAPSE_RATIOS, COVERED_SHARE
from replicate.figures.drawing import Drawing, Result, numbers, offsets
from replicate.figures.theme import MARKERS, SERIES, canvas


def draw(result: Result) -> dict[str, Drawing]:
    """Classes among the samples, and their spread, of every ratio and seed."""
    count = len(result["seeds"])
    return {"ratios": _ratios(result["series"], count)}


def _ratios(series: Result, count: int) -> Drawing:
    spots = offsets(count, 0.2)
    with canvas(height=4.2, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        for axes, measure, label in (
            (upper, "classes", f"classes with {COVERED_SHARE:.0%}\nof the samples"),
            (lower, "spread", "distance of two samples\n(1: as the data's)"),
        ):
            for column, ratio in enumerate(COLLAPSE_RATIOS):
                measures = series["ratios"][str(ratio)]
                values = numbers(measures[measure])
                # Beside each other, for seeds often have the same number of classes.
                x = column + spots
                axes.plot(x, values, MARKERS[0], color=SERIES[0], markersize=3.5)
            axes.set_ylabel(label)
            # From 0, where a collapsed G would lie.
            axes.set_ylim(bottom=0)
        names = [f"{ratio}:1" for ratio in COLLAPSE_RATIOS]
        lower.set_xticks(range(len(names)), names)
        lower.set_xlabel(f"updates of G per update of D (n = {count} seeds)")
        caption = (
            f"{series['samples']:,} samples of G after equal numbers of its updates, {count} "
            "seeds: classes that a classifier (right on "
            f"{series['classifier_accuracy']:.1%} of {series['classifier_test_images']} test "
            "images) sees in them, and the mean distance of two of them."
        )
        return Drawing.of(
            figure, "collapse/ratios", "Classes against the ratio of updates", caption
        )
