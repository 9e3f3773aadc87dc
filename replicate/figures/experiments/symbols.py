"""The figures of `replicate.experiments.symbols`."""

from collections.abc import Mapping
from typing import Any

from replicate.figures.drawing import Drawing, lines_and_mean, numbers
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """How soon D tells soft outputs from data, and how near every way to learn comes to the language."""
    series, count = result["series"], len(result["seeds"])
    return {"told": _told(series["told"], count), "ways": _ways(series, count)}


def _told(told: Mapping[str, Mapping[str, Any]], count: int) -> Drawing:
    with canvas(height=2.6) as (figure, (axes,)):
        for look, (name, curve) in enumerate(told.items()):
            shares = numbers(curve["accuracy"])
            axes.plot(curve["update"], shares, MARKERS[look], color=SERIES[look], markersize=2, alpha=0.5)
            axes.plot(curve["update"], shares.mean(1), color=SERIES[look], label=f"{name} outputs")
        axes.axhline(0.5, color=INK, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_ylim(0.4, 1.02)
        axes.set_ylabel("D is right (share)")
        axes.set_xlabel(f"updates of D (n = {count} seeds: marks)")
        legend(axes, len(told))
        text = (
            f"D learns to tell sequences of the language from those of a G with the same probabilities, {count} seeds "
            "(marks) and their means (lines): with soft outputs, and with symbols that are chosen (dotted: chance)."
        )
        return Drawing(svg(figure, "symbols/told", "Soft outputs are told from symbols", text), text)


def _ways(series: Mapping[str, Any], count: int) -> Drawing:
    with canvas(height=3.6) as (figure, (axes,)):
        for look, (way, curve) in enumerate(series["ways"].items()):
            lines_and_mean(axes, curve["update"], curve["divergence"], look, way)
        axes.axhline(series["start"], color=INK, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylabel("KL(p_data, p_g) (nats)")
        axes.set_xlabel(f"updates of G (n = {count} seeds: thin lines)")
        legend(axes, 2)
        text = (
            f"A language of {series['sequences']:,} sequences whose probabilities are known: distance of what G writes "
            f"while it learns in four ways, {count} seeds (thick: geometric mean; dotted: at the start)."
        )
        return Drawing(svg(figure, "symbols/ways", "Games over symbols beside maximum likelihood", text), text)
