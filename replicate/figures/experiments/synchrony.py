"""The figures of `replicate.experiments.synchrony`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from replicate.experiments.fixed.synchrony import OUTPUTS, PICTURED, RATIOS, SAMPLES, SHOWN
from replicate.figures.drawing import Array, Drawing, in_steps, numbers
from replicate.figures.theme import FAINT, INK, MARKERS, SERIES, canvas, legend, svg

#: Measure -> one value a seed.
Measures = Mapping[str, Sequence[float | None]]


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """JSD while the players of A1 train; for H1 modes and distinct outputs of every ratio, and pictures."""
    series, count = result["series"], len(result["seeds"])
    drawn = {"steps": _figure_of_steps(series["steps"], count)}
    for name, ratios in series["ratios"].items():
        late = series["late"] if name == "ring" else {}
        drawn[f"ratios_{name}"] = _figure_of_ratios(name, ratios, late, series["further_updates"], count)
        drawn[f"samples_{name}"] = _figure_of_samples(name, series["pictures"][name], result["seeds"][0])
    return drawn


def _figure_of_steps(steps: Mapping[str, Mapping[str, list[Any]]], count: int) -> Drawing:
    with canvas(height=4.2, rows=(1.0, 1.0)) as (figure, axes):
        for place, player in zip(axes, ("discriminator", "generator"), strict=True):
            for k, (way, curve) in enumerate(steps.items()):
                label = "both at once" if way == "at once" else f"k = {way}"
                divergence, color = numbers(curve["jsd"]), SERIES[k]
                place.plot(curve[player], divergence, MARKERS[k], color=color, markersize=2, alpha=0.5)
                place.plot(curve[player], np.nanmean(divergence, 1), color=color, label=label)
            place.set_ylabel("JSD of the modes (nats)")
            place.set_ylim(0)
            place.set_xlim(0, steps["1"]["discriminator"][-1] * 1.02)
        legend(axes[0], len(steps))
        axes[1].set_xlabel(f"updates: of D above, of G below (n = {count} seeds)")
        text = (
            f"A ring of 8 wide Gaussians, {count} seeds (marks), their means (lines): divergence of samples from data "
            "by nearest mode, for k updates of D per update of G, at equal updates of D (above) and of G (below)."
        )
        return Drawing(svg(figure, "synchrony/steps", "Updates of D per update of G", text), text)


def _scatter_of_ratios(place: Axes, found: Mapping[str, Measures], measure: str, look: int, label: str) -> None:
    at = [RATIOS.index(int(ratio)) + 0.22 * (look - 1) for ratio in found]
    values = numbers([found[ratio][measure] for ratio in found])
    for k, (x, row) in enumerate(zip(at, values, strict=True)):
        spots = x + in_steps(len(row), 0.012)
        place.plot(spots, row, MARKERS[look], color=SERIES[look], markersize=3.5, alpha=0.75, label="_" if k else label)


def _figure_of_ratios(
    name: str,
    ratios: Mapping[str, Mapping[str, Measures]],
    late: Mapping[str, Measures],
    further: int,
    count: int,
) -> Drawing:
    kinds = [(ratios["equal_discriminator"], "1:1 at equal D"), (ratios["equal_generator"], "ratio")]
    if late:
        kinds.append((late, "ratio after 1:1"))
    with canvas(height=4.4, rows=(1.0, 1.0)) as (figure, axes):
        for place, measure, label in (
            (axes[0], "modes", "modes captured"),
            (axes[1], "distinct", f"distinct outputs\nof {OUTPUTS:,} z"),
        ):
            for look, (found, title) in enumerate(kinds):
                _scatter_of_ratios(place, found, measure, look, title)
            place.set_ylabel(label)
        axes[1].set_yscale("log")
        axes[1].set_xticks(range(len(RATIOS)), [f"{ratio}:1" for ratio in RATIOS])
        axes[1].set_xlabel(f"updates of G per update of D (n = {count} seeds)")
        legend(axes[0], 3 if late else 2, fontsize="small")
        text = (
            f"The {name} of Gaussians, {count} seeds: modes captured by {SAMPLES:,} samples, and distinct outputs, in "
            "cells as fine as a mode's standard deviation. All ratios make equal numbers of updates of G; beside each, "
            "the game at 1:1 after as few updates of D."
        )
        text += f" After 1:1: {further:,} further updates of G from a game trained at 1:1." if late else ""
        return Drawing(svg(figure, f"synchrony/ratios/{name}", "Modes against the ratio of updates", text), text)


def means_of_the_modes(name: str) -> Array:
    """Of the ring, 8 on a circle of radius 2, or of the grid, 25 on {-4, -2, 0, 2, 4} squared: (modes, 2)."""
    if name == "ring":
        angles = np.arange(8) * (2 * math.pi / 8)
        return 2 * np.stack([np.cos(angles), np.sin(angles)], 1)
    places = np.arange(-4.0, 5.0, 2.0)
    return np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)


def _figure_of_samples(name: str, pictures: Mapping[str, list[list[float]]], seed: int) -> Drawing:
    means = means_of_the_modes(name)
    reach = 1.25 * float(np.abs(means).max())
    lost = []
    with canvas(height=2.2) as (figure, (axes,)):
        for k, ratio in enumerate(map(str, PICTURED)):
            points, shift = numbers(pictures[ratio]), 2.1 * reach * k
            inside = (np.abs(points) < reach).all(1)
            lost.append(f"{int((~inside).sum())} at {ratio}:1")
            axes.plot(*(means + [shift, 0]).T, "+", color=FAINT, markersize=7, markeredgewidth=0.8)
            axes.plot(*(points[inside] + [shift, 0]).T, ".", color=SERIES[0], markersize=2.5)
            axes.text(shift, 1.08 * reach, f"{ratio}:1", ha="center", color=INK)
        axes.set_aspect("equal")
        axes.set_ylim(-reach, 1.35 * reach)
        axes.grid(False)
        axes.set_xticks([2.1 * reach * k for k in range(len(PICTURED))], ["0"] * len(PICTURED))
        axes.set_xlabel(f"x, one panel for each ratio (seed {seed})")
        axes.set_ylabel("y")
        text = (
            f"{SHOWN} samples of one seed ({seed}) after equal numbers of updates of G, for three numbers of those per "
            f"update of D; crosses are the modes of the {name}. Outside the panels: {', '.join(lost)}."
        )
        return Drawing(svg(figure, f"synchrony/samples/{name}", "Samples against the ratio of updates", text), text)
