"""The figures of `replicate.experiments.synchrony`."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from replicate.experiments.constants import (
    MODE_SAMPLES,
    MODE_SAMPLES_DRAWN,
    OUTPUTS,
    RATIOS,
    RATIOS_DRAWN,
)
from replicate.figures.drawing import Array, Drawing, Result, in_steps, numbers
from replicate.figures.theme import FAINT, INK, MARKERS, SERIES, canvas, legend

#: Measure -> one value a seed.
Measures = Mapping[str, Sequence[float | None]]


def draw(result: Result) -> dict[str, Drawing]:
    """JSD while the players of A1 train; for H1 modes and distinct outputs of every ratio, and
    pictures.
    """
    series = result["series"]
    seeds = result["seeds"]
    drawings = {"steps": _figure_of_steps(series["steps"], len(seeds))}
    for name in series["ratios"]:
        drawings[f"ratios_{name}"] = _figure_of_ratios(name, series, len(seeds))
        samples = series["pictures"][name]
        drawings[f"samples_{name}"] = _figure_of_samples(name, samples, seeds[0])
    return drawings


def _figure_of_steps(steps: Result, count: int) -> Drawing:
    last = steps["1"]["discriminator"][-1]
    with canvas(height=4.2, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        for axes, player in ((upper, "discriminator"), (lower, "generator")):
            for look, (way, curve) in enumerate(steps.items()):
                label = f"k = {way}"
                if way == "at once":
                    label = "both at once"
                updates = curve[player]
                divergence = numbers(curve["jsd"])
                # Of the seeds that did not fail; the verdict stops at a failed one.
                means = np.nanmean(divergence, 1)
                color = SERIES[look]
                axes.plot(updates, divergence, MARKERS[look], color=color, markersize=2, alpha=0.5)
                axes.plot(updates, means, color=color, label=label)
            axes.set_ylabel("JSD of the modes (nats)")
            axes.set_ylim(0)
            # Cut at the updates of k = 1: a larger k goes on until G's updates are equal.
            axes.set_xlim(0, last * 1.02)
        legend(upper, len(steps))
        lower.set_xlabel(f"updates: of D above, of G below (n = {count} seeds)")
        caption = (
            f"A ring of 8 wide Gaussians, {count} seeds (marks), their means (lines): divergence "
            "of samples from data by nearest mode, for k updates of D per update of G, at equal "
            "updates of D (above) and of G (below)."
        )
        return Drawing.of(figure, "synchrony/steps", "Updates of D per update of G", caption)


def _scatter_of_ratios(
    axes: Axes, measures_of: Mapping[str, Measures], measure: str, look: int, label: str
) -> None:
    for index, (ratio, measures) in enumerate(measures_of.items()):
        x = RATIOS.index(int(ratio)) + 0.22 * (look - 1)
        values = numbers(measures[measure])
        axes.plot(
            x + in_steps(len(values), 0.012),
            values,
            MARKERS[look],
            color=SERIES[look],
            markersize=3.5,
            alpha=0.75,
            label="_" if index else label,
        )


def _figure_of_ratios(name: str, series: Result, count: int) -> Drawing:
    ratios = series["ratios"][name]
    # Games already trained were played on the ring alone.
    late = series["late"] if name == "ring" else {}
    kinds = [
        (ratios["equal_discriminator"], "1:1 at equal D"),
        (ratios["equal_generator"], "ratio"),
    ]
    if late:
        kinds.append((late, "ratio after 1:1"))
    with canvas(height=4.4, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        for axes, measure, label in (
            (upper, "modes", "modes captured"),
            (lower, "distinct", f"distinct outputs\nof {OUTPUTS:,} z"),
        ):
            for look, (measures_of, title) in enumerate(kinds):
                _scatter_of_ratios(axes, measures_of, measure, look, title)
            axes.set_ylabel(label)
        lower.set_yscale("log")
        names = [f"{ratio}:1" for ratio in RATIOS]
        lower.set_xticks(range(len(names)), names)
        lower.set_xlabel(f"updates of G per update of D (n = {count} seeds)")
        legend(upper, len(kinds), fontsize="small")
        caption = (
            f"The {name} of Gaussians, {count} seeds: modes captured by {MODE_SAMPLES:,} samples, "
            "and distinct outputs, in cells as fine as a mode's standard deviation. All ratios "
            "make equal numbers of updates of G; beside each, the game at 1:1 after as few "
            "updates of D."
        )
        if late:
            caption += (
                f" After 1:1: {series['further_updates']:,} further updates of G from a game "
                "trained at 1:1."
            )
        return Drawing.of(
            figure, f"synchrony/ratios/{name}", "Modes against the ratio of updates", caption
        )


def means_of_the_modes(name: str) -> Array:
    """Of the ring, 8 on a circle of radius 2, or of the grid, 25 on {-4, -2, 0, 2, 4} squared:
    (modes, 2).
    """
    if name == "ring":
        angle = 2 * math.pi / 8
        angles = np.arange(8) * angle
        on_unit_circle = np.stack([np.cos(angles), np.sin(angles)], 1)
        return 2 * on_unit_circle
    coordinates = np.arange(-4.0, 5.0, 2.0)
    x, y = np.meshgrid(coordinates, coordinates, indexing="ij")
    means = np.stack([x, y], -1)
    return means.reshape(-1, 2)


def _figure_of_samples(name: str, samples: Mapping[str, list[list[float]]], seed: int) -> Drawing:
    means = means_of_the_modes(name)
    reach = 1.25 * float(np.abs(means).max())
    centres = [2.1 * reach * column for column in range(len(RATIOS_DRAWN))]
    outside = []
    with canvas(height=2.2) as (figure, (axes,)):
        for centre, ratio in zip(centres, RATIOS_DRAWN, strict=True):
            points = numbers(samples[str(ratio)])
            inside = (np.abs(points) < reach).all(1)
            outside_count = int((~inside).sum())
            outside.append(f"{outside_count} at {ratio}:1")
            # The panels stand side by side on one pair of axes, which keeps them to one scale.
            origin = [centre, 0]
            x, y = (means + origin).T
            axes.plot(x, y, "+", color=FAINT, markersize=7, markeredgewidth=0.8)
            x, y = (points[inside] + origin).T
            axes.plot(x, y, ".", color=SERIES[0], markersize=2.5)
            axes.text(centre, 1.08 * reach, f"{ratio}:1", ha="center", color=INK)
        axes.set_aspect("equal")
        axes.set_ylim(-reach, 1.35 * reach)
        axes.grid(False)
        axes.set_xticks(centres, ["0"] * len(RATIOS_DRAWN))
        axes.set_xlabel(f"x, one panel for each ratio (seed {seed})")
        axes.set_ylabel("y")
        caption = (
            f"{MODE_SAMPLES_DRAWN} samples of one seed ({seed}) after equal numbers of updates of "
            f"G, for three numbers of those per update of D; crosses are the modes of the {name}. "
            f"Outside the panels: {', '.join(outside)}."
        )
        return Drawing.of(
            figure, f"synchrony/samples/{name}", "Samples against the ratio of updates", caption
        )
