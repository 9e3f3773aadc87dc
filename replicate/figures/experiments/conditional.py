"""The figures of `replicate.experiments.conditional`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.figures.drawing import Drawing, numbers, offsets
from replicate.figures.kept import unpacked
from replicate.figures.mosaic import mosaic
from replicate.figures.theme import INK, SERIES, canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """Samples of the first seed, where they were kept; how often they follow their class, and their spread."""
    series, seeds = result["series"], result["seeds"]
    drawn = {"classes": _classes(series, len(seeds))}
    return drawn if series["samples"] is None else {"samples": _samples(series, seeds[0])} | drawn


def _classes(series: Mapping[str, Any], count: int) -> Drawing:
    with canvas(height=4.2, rows=(1.0, 1.0)) as (figure, axes):
        for place, name, label in (
            (axes[0], "share", "samples of the\nrequested class (share)"),
            (axes[1], "spread", "distance within a class\n(1: as the data's)"),
        ):
            values = numbers(series[name])
            classes = np.arange(values.shape[1])
            place.plot(
                classes + offsets(count, 0.3)[:, None], values, "o", color=SERIES[0], markersize=2.5,
                label=["one seed"] + ["_"] * (values.shape[1] - 1),
            )  # fmt: skip
            place.plot(classes, values.mean(0), "_", color=SERIES[1], markersize=16, markeredgewidth=2, label="mean")
            place.set_ylabel(label)
            place.set_ylim(bottom=0)
        axes[0].axhline(1 / len(classes), color=INK, linestyle="--", linewidth=0.8, label="chance")
        axes[1].set_xticks(classes)
        axes[1].set_xlabel(f"class that G and D were given (n = {count} seeds)")
        legend(axes[0], 3)
        text = (
            f"Conditional adversarial nets, {count} seeds: how often the classifier (right on "
            f"{series['classifier_accuracy']:.1%} of {series['classifier_test_images']} test images) sees the "
            "class that was asked for, and how far apart two samples of a class are, on average."
        )
        return Drawing(svg(figure, "conditional/classes", "Samples follow the class they are given", text), text)


def _samples(series: Mapping[str, Any], seed: int) -> Drawing:
    with canvas() as (figure, (axes,)):
        images = unpacked(series["samples"]).swapaxes(0, 1)
        axes.set_xlabel(f"class that G and D were given (seed {seed})")
        mosaic(axes, images, column_names=[str(number) for number in range(images.shape[1])])
        text = (
            f"Samples of conditional adversarial nets, one seed ({seed}): the first {len(images)} of every class, "
            "not chosen."
        )
        return Drawing(svg(figure, "conditional/samples", "Samples of every class", text), text)
