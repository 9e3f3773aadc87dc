"""The figures of `replicate.experiments.inference`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.figures.drawing import Drawing, numbers, offsets
from replicate.figures.theme import SERIES, canvas, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """What E explains of z while it learns, and how well test images are shown."""
    count, series = len(result["seeds"]), result["series"]
    return {"learning": _learning(series, count), "reconstruction": _reconstruction(series, count)}


def _learning(series: Mapping[str, Any], count: int) -> Drawing:
    with canvas() as (figure, (axes,)):
        values = numbers(series["curve"]["explained"])
        axes.plot(series["curve"]["update"], values, color=SERIES[0], linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(min(0.0, float(np.nanmin(values[-1], initial=0.0))) - 0.05, 1.0)
        axes.set_xlabel(f"updates of E (n = {count} seeds, one line each)")
        axes.set_ylabel("variance of z explained (share)")
        text = (
            f"A network E learns to predict z ({series['code_dimension']} numbers) from G(z), {count} seeds: the share "
            "of the variance of z that it explains on pairs it was not trained on."
        )
        return Drawing(svg(figure, "inference/learning", "E learns to predict z from G(z)", text), text)


def _reconstruction(series: Mapping[str, Any], count: int) -> Drawing:
    ways = {
        "random": "G of a random code", "other": "G(E(another x))", "mean": "mean training image",
        "reconstruction": "G(E(x))",
    }  # fmt: skip
    with canvas(height=2.4) as (figure, (axes,)):
        for place, name in enumerate(ways):
            values = numbers(series["errors"][name])
            axes.plot(values, place + offsets(count, 0.2), "o", color=SERIES[0], markersize=3)
        axes.set_yticks(range(len(ways)), ways.values())
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_xlim(left=0)
        axes.set_xlabel(f"squared error per pixel (n = {count} seeds)")
        text = (
            f"{series['test_images']} test images shown by G from the code that E predicts, from that of another, "
            f"from a random code, and by the mean training image: mean squared error per pixel, a dot for each of "
            f"{count} seeds."
        )
        return Drawing(svg(figure, "inference/reconstruction", "G(E(x)) shows test images", text), text)
