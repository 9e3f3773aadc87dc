"""The figures of `replicate.experiments.noise_contrastive`."""

from collections.abc import Mapping
from typing import Any

from replicate.experiments.fixed.noise_contrastive import WAYS
from replicate.figures.drawing import Drawing, lines_and_mean
from replicate.figures.theme import canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """The distance against updates, of every way and seed."""
    series, count = result["series"], len(result["seeds"])
    with canvas(height=3.4) as (figure, (axes,)):
        for look, (way, title) in enumerate(WAYS.items()):
            lines_and_mean(axes, series["update"], series["distance"][way], look, title, markevery=6)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"updates of the model (n = {count} seeds: thin lines)")
        axes.set_ylabel("KL(data, model) (nats)")
        legend(axes, 3)
        text = (
            f"A normal density in {series['dimension']} dimensions learnt, {count} seeds (thick: geometric mean), "
            "by noise-contrastive estimation with noise that stays or is renewed as the model, and the adversarial "
            "game; equal numbers of samples, exact distances."
        )
        drawn = svg(figure, "noise_contrastive/distances", "Three ways to learn a density", text)
        return {"distances": Drawing(drawn, text)}
