"""The figures of `replicate.experiments.inpainting`."""

import numpy as np
from matplotlib.axes import Axes

from replicate.experiments.constants import COMPLETIONS_DRAWN, IMAGES_DRAWN, MASKS
from replicate.figures.drawing import Drawing, Result, numbers, offsets
from replicate.figures.mosaic import mosaic
from replicate.figures.theme import MARKERS, SERIES, canvas, legend
from replicate.records.packed_images import unpacked


def draw(result: Result) -> dict[str, Drawing]:
    """Completions of the first seed, where the result has them; their error, and how much they
    differ, of every seed.
    """
    series = result["series"]
    seeds = result["seeds"]
    drawings = {}
    if series["pictures"] is not None:
        drawings["pictures"] = _pictures(series, seeds[0])
    drawings["completions"] = _completions(series, len(seeds))
    return drawings


def _pictures(series: Result, seed: int) -> Drawing:
    with canvas() as (figure, (axes,)):
        images = unpacked(series["pictures"])
        axes.set_xlabel(f"{IMAGES_DRAWN} test images and their completions (seed {seed})")
        names = ["random pixels" if kind == "random" else f"{kind} half" for kind in MASKS]
        # Test images are framed: all others were made, in part or as a whole.
        test_images = range(0, images.shape[1], 2 + COMPLETIONS_DRAWN)
        mosaic(axes, images, names, marked=test_images)
        caption = (
            f"In-painting, one seed ({seed}): {IMAGES_DRAWN} test images (framed), beside each the "
            f"part that G is shown (evenly grey: unknown) and {COMPLETIONS_DRAWN} completions with "
            "different z. A row for every kind of mask."
        )
        return Drawing.of(figure, "inpainting/pictures", "Test images completed", caption)


def _completions(series: Result, count: int) -> Drawing:
    labels = {
        "other": "one, from another image",
        "one": "one, from its own",
        "mean_image": "mean training image",
        "several": f"mean of {series['completions']}",
    }
    with canvas(height=4.2, rows=(1.3, 1.0)) as (figure, (upper, lower)):
        for look, (measure, label) in enumerate(labels.items()):
            _dots(upper, series, measure, look, 0.2 * (look - 1.5), label)
        _dots(lower, series, "spread", 4, 0.0, "_")
        upper.set_ylabel("squared error\nper unknown pixel")
        lower.set_ylabel("spread of completions\n(1: as the data's)")
        for axes in (upper, lower):
            axes.set_ylim(bottom=0)
        names = ["random\npixels" if kind == "random" else f"{kind}\nhalf" for kind in MASKS]
        lower.set_xticks(np.arange(len(MASKS)), names)
        lower.set_xlabel(f"what is known of the image (n = {count} seeds)")
        legend(upper, 2, fontsize="small")
        caption = (
            f"One conditional model for every mask, {count} seeds: squared error of completions in "
            f"unknown pixels of {series['test_images']} test images, and the standard deviation of "
            "the completions of an image relative to that of the data."
        )
        return Drawing.of(
            figure, "inpainting/completions", "One model fills in any part of an image", caption
        )


def _dots(axes: Axes, series: Result, measure: str, look: int, shift: float, label: str) -> None:
    """A measure of every kind of mask and seed, `shift` beside the kind's own place."""
    measures = [series["kinds"][kind][measure] for kind in MASKS]
    values = numbers(measures).T
    kinds = np.arange(len(MASKS))
    columns = kinds + shift + offsets(len(values), 0.07)[:, None]
    axes.plot(
        columns,
        values,
        MARKERS[look],
        color=SERIES[look],
        markersize=3,
        # matplotlib wants a label for every column, and leaves those with "_" out of the legend.
        label=[label, *["_"] * (len(MASKS) - 1)],
    )
