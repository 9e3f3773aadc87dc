"""The figures of `replicate.experiments.inference`."""

import numpy as np

from replicate.figures.drawing import Drawing, Result, numbers, offsets
from replicate.figures.theme import SERIES, canvas

#: What stands in for a test image, from the bottom, with its name in the figure.
SUBSTITUTES = {
    "random": "G of a random code",
    "other": "G(E(another x))",
    "mean": "mean training image",
    "reconstruction": "G(E(x))",
}


def draw(result: Result) -> dict[str, Drawing]:
    """What E explains of z while it learns, and how well it shows test images."""
    series = result["series"]
    count = len(result["seeds"])
    return {
        "learning": _learning(series, count),
        "reconstruction": _reconstruction(series, count),
    }


def _learning(series: Result, count: int) -> Drawing:
    with canvas() as (figure, (axes,)):
        explained = numbers(series["curve"]["explained"])
        # By the last look: early ones may lie far below 0, and would flatten all others.
        lowest = float(np.nanmin(explained[-1], initial=0.0))
        axes.plot(series["curve"]["update"], explained, color=SERIES[0], linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(min(0.0, lowest) - 0.05, 1.0)
        axes.set_xlabel(f"updates of E (n = {count} seeds, one line each)")
        axes.set_ylabel("variance of z explained (share)")
        caption = (
            f"A network E learns to predict z ({series['code_dimension']} numbers) from G(z), "
            f"{count} seeds: the share of the variance of z that it explains on pairs it was not "
            "trained on."
        )
        return Drawing.of(figure, "inference/learning", "E learns to predict z from G(z)", caption)


def _reconstruction(series: Result, count: int) -> Drawing:
    with canvas(height=2.4) as (figure, (axes,)):
        for row, name in enumerate(SUBSTITUTES):
            errors = numbers(series["errors"][name])
            axes.plot(errors, row + offsets(count, 0.2), "o", color=SERIES[0], markersize=3)
        axes.set_yticks(range(len(SUBSTITUTES)), SUBSTITUTES.values())
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"squared error per pixel (n = {count} seeds)")
        caption = (
            f"{series['test_images']} test images shown by G from the code that E predicts, from "
            "that of another, from a random code, and by the mean training image: mean squared "
            f"error per pixel, a dot for each of {count} seeds."
        )
        return Drawing.of(figure, "inference/reconstruction", "G(E(x)) shows test images", caption)
