"""The figures of `replicate.experiments.conditional`."""

import numpy as np

from replicate.figures.drawing import Drawing, Result, numbers, offsets
from replicate.figures.mosaic import mosaic
from replicate.figures.theme import INK, SERIES, canvas, legend
from replicate.records.packed_images import unpacked


def draw(result: Result) -> dict[str, Drawing]:
    """Samples of the first seed, where the result has them; how often samples follow their class,
    and their spread.
    """
    series = result["series"]
    seeds = result["seeds"]
    drawings = {}
    if series["samples"] is not None:
        drawings["samples"] = _samples(series, seeds[0])
    drawings["classes"] = _classes(series, len(seeds))
    return drawings


def _classes(series: Result, count: int) -> Drawing:
    with canvas(height=4.2, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        for axes, measure, label in (
            (upper, "share", "samples of the\nrequested class (share)"),
            (lower, "spread", "distance within a class\n(1: as the data's)"),
        ):
            values = numbers(series[measure])
            class_count = values.shape[1]
            classes = np.arange(class_count)
            axes.plot(
                classes + offsets(count, 0.3)[:, None],
                values,
                "o",
                color=SERIES[0],
                markersize=2.5,
                # matplotlib wants a label for every column, and leaves those with "_" out of the
                # legend.
                label=["one seed"] + ["_"] * (class_count - 1),
            )
            axes.plot(
                classes,
                values.mean(0),
                "_",
                color=SERIES[1],
                markersize=16,
                markeredgewidth=2,
                label="mean",
            )
            axes.set_ylabel(label)
            axes.set_ylim(bottom=0)
        # What a G that ignores its class would reach.
        upper.axhline(1 / class_count, color=INK, linestyle="--", linewidth=0.8, label="chance")
        lower.set_xticks(classes)
        lower.set_xlabel(f"class that G and D were given (n = {count} seeds)")
        legend(upper, 3)
        caption = (
            f"Conditional adversarial nets, {count} seeds: how often the classifier (right on "
            f"{series['classifier_accuracy']:.1%} of {series['classifier_test_images']} test "
            "images) sees the class that was asked for, and how far apart two samples of a class "
            "are, on average."
        )
        return Drawing.of(
            figure, "conditional/classes", "Samples follow the class they are given", caption
        )


def _samples(series: Result, seed: int) -> Drawing:
    with canvas() as (figure, (axes,)):
        # In the result a row is a class; here it is a column, above the class's name.
        images = unpacked(series["samples"]).swapaxes(0, 1)
        _, class_count, _, _ = images.shape
        axes.set_xlabel(f"class that G and D were given (seed {seed})")
        classes = [str(number) for number in range(class_count)]
        mosaic(axes, images, column_names=classes)
        caption = (
            f"Samples of conditional adversarial nets, one seed ({seed}): the first {len(images)} "
            "of every class, not chosen."
        )
        return Drawing.of(figure, "conditional/samples", "Samples of every class", caption)
