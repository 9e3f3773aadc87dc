"""The figures of `replicate.experiments.theory`."""

import math

import numpy as np

from replicate.figures.drawing import Drawing, Result, numbers
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend

#: The least divergence that the logarithmic axis shows: rounding error.
SMALLEST = 1e-17


def draw(result: Result) -> dict[str, Drawing]:
    """C(G) against the distance of the densities, D against D* while it learns, and the descent of
    p_g.
    """
    series = result["series"]
    count = len(result["seeds"])
    return {
        "criterion": _criterion(series["grid"]),
        "trained": _trained(series["trained"], count),
        "descent": _descent(series["descent"], count),
    }


def _criterion(grid: Result) -> Drawing:
    with canvas() as (figure, (axes,)):
        axes.plot(grid["shift"], grid["criterion"], color=SERIES[0], label="-log 4 + 2 JSD")
        axes.plot(
            grid["shift"],
            grid["value"],
            MARKERS[0],
            color=SERIES[1],
            linestyle="none",
            label="V at the optimal D",
        )
        axes.axhline(-math.log(4), color=INK, linestyle=":", linewidth=1, label="-log 4")
        axes.set_xlabel("m, where p_data = N(0, 1) and p_g = N(m, 1)")
        axes.set_ylabel("C(G) (nats)")
        legend(axes, 3)
        caption = (
            "The criterion that an optimal D leaves to G: exact integrals; -log 4 only where p_g "
            "is p_data."
        )
        return Drawing.of(
            figure, "theory/criterion", "C(G) against the distance of the densities", caption
        )


def _trained(curve: Result, count: int) -> Drawing:
    with canvas(height=4.0, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        for name, axes, label in (
            ("error", upper, "mean |D - D*|"),
            ("shortfall", lower, "C(G) - V(D, G)\n(nats)"),
        ):
            axes.plot(curve["update"], numbers(curve[name]), color=SERIES[0], linewidth=1)
            axes.set_ylabel(label)
            axes.set_yscale("log")
        lower.set_xscale("log")
        lower.set_xlabel(f"updates of D (n = {count} seeds, one line each)")
        caption = (
            f"A network D trained on samples of N(0, 1) and N(1, 1), {count} seeds: its distance "
            "from D*, and how far its value is below C(G), both by exact integrals. V never "
            "exceeds C."
        )
        return Drawing.of(
            figure, "theory/trained", "A trained D approaches the optimal one", caption
        )


def _descent(descent: Result, count: int) -> Drawing:
    # Rounding leaves some at 0 or below, for which a logarithmic axis has no place.
    divergence = np.maximum(np.array(descent["jsd"]).T, SMALLEST)
    with canvas() as (figure, (axes,)):
        axes.plot(descent["step"], divergence, color=SERIES[0], linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"steps on p_g (n = {count} seeds: pairs of random distributions)")
        axes.set_ylabel("JSD(p_data, p_g) (nats)")
        caption = (
            "Small steps on a discrete p_g with D at its optimum before each: the divergence falls "
            f"to rounding error from {count} random starts."
        )
        return Drawing.of(figure, "theory/descent", "p_g converges to p_data", caption)
