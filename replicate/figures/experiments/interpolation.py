"""The figures of `replicate.experiments.interpolation`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.figures.drawing import Drawing, numbers
from replicate.figures.kept import unpacked
from replicate.figures.mosaic import mosaic
from replicate.figures.theme import SERIES, canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """The strip of the first seed, where it was kept; and how often the classifier is sure along the lines."""
    series, seeds = result["series"], result["seeds"]
    drawn = {"shares": _figure_of_shares(series, len(seeds))}
    return drawn if series["strip"] is None else {"strip": _figure_of_strip(series, seeds[0])} | drawn


def _figure_of_strip(series: Mapping[str, Any], seed: int) -> Drawing:
    classes = series["classes"]
    names = [f"{one} to {other}" for one, other in zip(classes, classes[1:] + classes[:1], strict=True)]
    with canvas() as (figure, (axes,)):
        axes.set_xlabel(f"place on the line in z (seed {seed})")
        text = (
            f"Straight lines in z from one code to the next, adversarial nets, one seed ({seed}). Framed: the ends, of "
            f"{series['draws']:,} random codes the ones whose images the classifier is surest to be of these classes."
        )
        images = unpacked(series["strip"])
        steps = images.shape[1] - 2
        mosaic(axes, images, names, ["0", *[""] * steps, "1"], (0, steps + 1))
        return Drawing(svg(figure, "interpolation/strip", "Lines in z lead through digits", text), text)


def _figure_of_shares(series: Mapping[str, Any], count: int) -> Drawing:
    labels = {"codes": "lines in z", "images": "blends of the images at the ends"}
    with canvas() as (figure, (axes,)):
        for look, (name, label) in enumerate(labels.items()):
            values = numbers(series["shares"][name]).T
            places = np.linspace(0, 1, len(values))
            axes.plot(places, values, color=SERIES[look], linewidth=0.6, alpha=0.5)
            axes.plot(places, values.mean(1), color=SERIES[look], linewidth=2, marker="os"[look], label=label)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(f"place on the line (n = {count} seeds: thin; their mean: thick)")
        axes.set_ylabel("images that the classifier\nis sure of (share)")
        legend(axes, 2)
        text = (
            f"{series['lines']} lines between random codes, {count} seeds: the share of images to which the classifier "
            f"(right on {series['classifier_accuracy']:.1%} of {series['classifier_test_images']} test images) gives a "
            f"class with a probability of at least {series['sure']:g}, on straight lines in z and on blends of the two "
            "images at their ends. Both begin and end at ordinary samples."
        )
        return Drawing(svg(figure, "interpolation/shares", "Images along lines in z are digits", text), text)
