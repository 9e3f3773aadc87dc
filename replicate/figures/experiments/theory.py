"""The figures of `replicate.experiments.theory`."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.figures.drawing import Drawing, numbers
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """C(G) against the distance of the densities, D against D* while it learns, and the descent of p_g."""
    count, series = len(result["seeds"]), result["series"]
    return {
        "criterion": _criterion(series["grid"]),
        "trained": _trained(series["trained"], count),
        "descent": _descent(series["descent"], count),
    }


def _criterion(grid: Mapping[str, Any]) -> Drawing:
    with canvas() as (figure, (axes,)):
        axes.plot(grid["shift"], grid["criterion"], color=SERIES[0], label="-log 4 + 2 JSD")
        axes.plot(
            grid["shift"], grid["value"], MARKERS[0], color=SERIES[1], linestyle="none", label="V at the optimal D"
        )
        axes.axhline(-math.log(4), color=INK, linestyle=":", linewidth=1, label="-log 4")
        axes.set_xlabel("m, where p_data = N(0, 1) and p_g = N(m, 1)")
        axes.set_ylabel("C(G) (nats)")
        legend(axes, 3)
        text = "The criterion that an optimal D leaves to G: exact integrals; -log 4 only where p_g is p_data."
        return Drawing(svg(figure, "theory/criterion", "C(G) against the distance of the densities", text), text)


def _trained(curve: Mapping[str, Any], count: int) -> Drawing:
    with canvas(height=4.0, rows=(1.0, 1.0)) as (figure, axes):
        for name, place, label in (
            ("error", axes[0], "mean |D - D*|"),
            ("shortfall", axes[1], "C(G) - V(D, G)\n(nats)"),
        ):
            place.plot(curve["update"], numbers(curve[name]), color=SERIES[0], linewidth=1)
            place.set_ylabel(label)
            place.set_yscale("log")
        axes[1].set_xscale("log")
        axes[1].set_xlabel(f"updates of D (n = {count} seeds, one line each)")
        text = (
            f"A network D trained on samples of N(0, 1) and N(1, 1), {count} seeds: its distance from D*, and how far "
            "its value is below C(G), both by exact integrals. V never exceeds C."
        )
        return Drawing(svg(figure, "theory/trained", "A trained D approaches the optimal one", text), text)


def _descent(descent: Mapping[str, Any], count: int) -> Drawing:
    with canvas() as (figure, (axes,)):
        axes.plot(descent["step"], np.maximum(np.array(descent["jsd"]).T, 1e-17), color=SERIES[0], linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"steps on p_g (n = {count} seeds: pairs of random distributions)")
        axes.set_ylabel("JSD(p_data, p_g) (nats)")
        text = (
            "Small steps on a discrete p_g with D at its optimum before each: the divergence falls to rounding error "
            f"from {count} random starts."
        )
        return Drawing(svg(figure, "theory/descent", "p_g converges to p_data", text), text)
