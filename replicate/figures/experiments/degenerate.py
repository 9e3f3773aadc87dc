"""The figures of `replicate.experiments.degenerate`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from replicate.experiments.fixed.degenerate import ARCS, CENTRE, NEAR, SAMPLES, SHOWN
from replicate.figures.drawing import Array, Drawing, in_steps, numbers
from replicate.figures.theme import FAINT, INK, MARKERS, SERIES, canvas, svg

#: Measure -> one value a seed.
Measures = Mapping[str, Sequence[float | None]]


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """Samples of one seed of every model; and what is measured of all seeds, with the trade of the chains."""
    series, seeds = result["series"], result["seeds"]
    return {
        "samples": _figure_of_samples(
            {name: series["pictures"][name] for name in series["order"] if name in series["pictures"]}, seeds[0]
        ),
        "distances": _figure_of_distances({n: series["models"][n] for n in series["order"]}, len(seeds)),
    }


def half_circles() -> tuple[Array, Array]:
    """The curves that the data lies on, each as 61 points from end to end, (61, 2).

    Shares of the way are counted from both ends in single precision, as torch does it where the data is drawn: so the
    figure keeps its bytes.
    """
    from_end = np.arange(31, dtype=np.float32) * np.float32(1 / 60)
    shares = np.concatenate([from_end[:-1], 1 - from_end[::-1]])
    angles = math.pi * shares.astype(np.float64)
    first = np.stack([np.cos(angles), np.sin(angles)], 1) + CENTRE
    return first, -first


def _figure_of_samples(pictures: Mapping[str, list[list[float]]], seed: int) -> Drawing:
    wide, high, outside = 4.0, 3.2, []
    with canvas(height=3.9) as (figure, (axes,)):
        for k, (name, rows) in enumerate(pictures.items()):
            shift, points = np.array([wide * (k % 2), -high * (k // 2)]), numbers(rows)
            for curve in half_circles():
                axes.plot(*(curve + shift).T, color=FAINT, linewidth=0.7)
            inside = (np.abs(points) < [wide / 2, high / 2 - 0.3]).all(1)
            outside.append(f"{int((~inside).sum())} of {name}")
            axes.plot(*(points[inside] + shift).T, MARKERS[0], color=SERIES[k], markersize=1.3)
            axes.text(shift[0], shift[1] + high / 2 - 0.3, name, ha="center", color=INK)
        axes.set_aspect("equal")
        axes.set_xlim(-wide / 2, 1.5 * wide)
        axes.set_ylim(-1.5 * high + 0.2, high / 2)
        axes.grid(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"x (seed {seed}; half circles of radius 1)")
        axes.set_ylabel("y")
        text = (
            f"{SHOWN} samples of each model, one seed ({seed}), and the two half circles of the data. DAE: beside it "
            f"its corruption, in radii. Outside the panels: {', '.join(outside)}."
        )
        return Drawing(svg(figure, "degenerate/samples", "Samples of data without a density", text), text)


def _dots(axes: Axes, models: Mapping[str, Measures], measure: str) -> None:
    for at, found in enumerate(models.values()):
        if measure in found:
            values, look = numbers(found[measure]), min(at, 3)
            axes.plot(
                at + in_steps(len(values), 0.03), values, MARKERS[look], color=SERIES[look], markersize=3.5, alpha=0.75,
            )  # fmt: skip


def _figure_of_distances(models: Mapping[str, Measures], count: int) -> Drawing:
    with canvas(height=4.8, rows=(1.5, 1.0, 1.0)) as (figure, axes):
        labels = ("mean distance\n(radii)", "arcs covered\n(share)", "chains that\ncrossed (share)")
        for place, measure, label in zip(axes, ("distance", "coverage", "crossed"), labels, strict=True):
            _dots(place, models, measure)
            place.set_ylabel(label)
        axes[0].set_yscale("log")
        for place in axes[1:]:
            place.set_ylim(-0.05, 1.08)
        names = [name.replace(" ", "\n") for name in models]
        axes[2].set_xticks(range(len(names)), names, fontsize="small")
        axes[2].set_xlabel(f"DAE: corruption in radii (n = {count} seeds, a mark each)")
        text = (
            f"Distance of {SAMPLES:,} samples to the data's half circles, in their radii; share of {ARCS} arcs with a "
            f"sample within {NEAR}; share of the chains that changed the half circle. {count} seeds, a mark each; all "
            "models made equal numbers of updates."
        )
        return Drawing(svg(figure, "degenerate/distances", "Sharpness of four models", text), text)
