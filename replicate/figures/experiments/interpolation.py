"""The figures of `replicate.experiments.interpolation`."""

import numpy as np

from replicate.figures.drawing import Drawing, Result, numbers
from replicate.figures.mosaic import mosaic
from replicate.figures.theme import SERIES, canvas, legend
from replicate.records.packed_images import unpacked


def draw(result: Result) -> dict[str, Drawing]:
    """The strip of the first seed, where the result has it; and how often the classifier is sure
    along the lines.
    """
    series = result["series"]
    seeds = result["seeds"]
    drawings = {}
    if series["strip"] is not None:
        drawings["strip"] = _figure_of_strip(series, seeds[0])
    drawings["shares"] = _figure_of_shares(series, len(seeds))
    return drawings


def _figure_of_strip(series: Result, seed: int) -> Drawing:
    starts = series["classes"]
    # Every line ends where the next one begins, the last one where the first did.
    ends = starts[1:] + starts[:1]
    names = [f"{start} to {end}" for start, end in zip(starts, ends, strict=True)]
    with canvas() as (figure, (axes,)):
        axes.set_xlabel(f"place on the line in z (seed {seed})")
        images = unpacked(series["strip"])
        _, columns, _, _ = images.shape
        last = columns - 1
        unnamed = [""] * (last - 1)
        ticks = ["0", *unnamed, "1"]
        mosaic(axes, images, names, ticks, marked=(0, last))
        caption = (
            "Straight lines in z from one code to the next, adversarial nets, one seed "
            f"({seed}). Framed: the ends, of {series['draws']:,} random codes the ones whose "
            "images the classifier is surest to be of these classes."
        )
        return Drawing.of(figure, "interpolation/strip", "Lines in z lead through digits", caption)


def _figure_of_shares(series: Result, count: int) -> Drawing:
    lines = (("codes", "lines in z", "o"), ("images", "blends of the images at the ends", "s"))
    with canvas() as (figure, (axes,)):
        for look, (name, label, marker) in enumerate(lines):
            shares = numbers(series["shares"][name]).T
            way = np.linspace(0, 1, len(shares))
            axes.plot(way, shares, color=SERIES[look], linewidth=0.6, alpha=0.5)
            axes.plot(
                way,
                shares.mean(1),
                color=SERIES[look],
                linewidth=2,
                marker=marker,
                label=label,
            )
        # A little above 1, where a line along the upper edge would be cut in half.
        axes.set_ylim(0, 1.02)
        axes.set_xlabel(f"place on the line (n = {count} seeds: thin; their mean: thick)")
        axes.set_ylabel("images that the classifier\nis sure of (share)")
        legend(axes, 2)
        caption = (
            f"{series['lines']} lines between random codes, {count} seeds: the share of images to "
            f"which the classifier (right on {series['classifier_accuracy']:.1%} of "
            f"{series['classifier_test_images']} test images) gives a class with a probability of "
            f"at least {series['sure']:g}, on straight lines in z and on blends of the two images "
            "at their ends. Both begin and end at ordinary samples."
        )
        return Drawing.of(
            figure, "interpolation/shares", "Images along lines in z are digits", caption
        )
