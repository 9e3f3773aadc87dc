"""The figures of `replicate.experiments.inpainting`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.experiments.fixed.inpainting import KEPT, KEPT_COMPLETIONS, KINDS
from replicate.figures.drawing import Drawing, numbers, offsets
from replicate.figures.kept import unpacked
from replicate.figures.mosaic import mosaic
from replicate.figures.theme import MARKERS, SERIES, canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """Completions of the first seed, where they were kept; their error, and how much they differ, of every seed."""
    series, seeds = result["series"], result["seeds"]
    drawn = {"completions": _completions(series, len(seeds))}
    return drawn if series["pictures"] is None else {"pictures": _pictures(series, seeds[0])} | drawn


def _pictures(series: Mapping[str, Any], seed: int) -> Drawing:
    with canvas() as (figure, (axes,)):
        images = unpacked(series["pictures"])
        axes.set_xlabel(f"{KEPT} test images and their completions (seed {seed})")
        names = ["random pixels" if kind == "random" else f"{kind} half" for kind in KINDS]
        mosaic(axes, images, names, marked=range(0, images.shape[1], 2 + KEPT_COMPLETIONS))
        text = (
            f"In-painting, one seed ({seed}): {KEPT} test images (framed), beside each the part that G is shown "
            f"(evenly grey: unknown) and {KEPT_COMPLETIONS} completions with different z. A row for every kind of mask."
        )
        return Drawing(svg(figure, "inpainting/pictures", "Test images completed", text), text)


def _completions(series: Mapping[str, Any], count: int) -> Drawing:
    labels = {
        "other": "one, from another image", "one": "one, from its own", "mean_image": "mean training image",
        "several": f"mean of {series['completions']}",
    }  # fmt: skip
    places = np.arange(len(KINDS))
    jitter = offsets(count, 0.07)[:, None]
    with canvas(height=4.2, rows=(1.3, 1.0)) as (figure, axes):

        def dots(row: int, name: str, look: int, shift: float, label: str) -> None:
            values = numbers([series["kinds"][kind][name] for kind in KINDS]).T
            axes[row].plot(
                places + shift + jitter, values, MARKERS[look], color=SERIES[look], markersize=3,
                label=[label, *["_"] * (len(KINDS) - 1)],
            )  # fmt: skip

        for look, (name, label) in enumerate(labels.items()):
            dots(0, name, look, 0.2 * (look - 1.5), label)
        dots(1, "spread", 4, 0.0, "_")
        axes[0].set_ylabel("squared error\nper unknown pixel")
        axes[1].set_ylabel("spread of completions\n(1: as the data's)")
        for place in axes:
            place.set_ylim(bottom=0)
        axes[1].set_xticks(places, ["random\npixels" if kind == "random" else f"{kind}\nhalf" for kind in KINDS])
        axes[1].set_xlabel(f"what is known of the image (n = {count} seeds)")
        legend(axes[0], 2, fontsize="small")
        text = (
            f"One conditional model for every mask, {count} seeds: squared error of completions in unknown pixels of "
            f"{series['test_images']} test images, and the standard deviation of the completions of an image relative "
            "to that of the data."
        )
        return Drawing(svg(figure, "inpainting/completions", "One model fills in any part of an image", text), text)
