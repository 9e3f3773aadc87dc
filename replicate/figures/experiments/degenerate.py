"""The figures of `replicate.experiments.degenerate`."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from replicate.experiments.constants import (
    ARC_DISTANCE,
    ARCS,
    CURVE_SAMPLES,
    CURVE_SAMPLES_DRAWN,
    HALF_CIRCLE_CENTRE,
)
from replicate.figures.drawing import Array, Drawing, Result, in_steps, numbers
from replicate.figures.theme import FAINT, INK, MARKERS, SERIES, canvas

#: Measure -> one value a seed.
Measures = Mapping[str, Sequence[float | None]]
#: Width and height of a panel of samples, in radii.
PANEL = np.array([4.0, 3.2])


def draw(result: Result) -> dict[str, Drawing]:
    """Samples of one seed of every model; and what is measured of all seeds, with the trade of the
    chains.
    """
    series = result["series"]
    seeds = result["seeds"]
    names = series["order"]
    samples = series["pictures"]
    # Corruptions of the chains that are not drawn have no samples in the result.
    names_drawn = [name for name in names if name in samples]
    samples_of = {name: samples[name] for name in names_drawn}
    measures_of = {name: series["models"][name] for name in names}
    return {
        "samples": _figure_of_samples(samples_of, seeds[0]),
        "distances": _figure_of_distances(measures_of, len(seeds)),
    }


def half_circles() -> tuple[Array, Array]:
    """The curves that the data lies on, each as 61 points from end to end, (61, 2).

    Shares of the way are counted from both ends in single precision, as torch does it where the
    data is drawn: so the figure keeps its bytes.
    """
    steps = np.arange(31, dtype=np.float32)
    step = np.float32(1 / 60)
    first_half = steps * step
    second_half = 1 - first_half[::-1]
    shares = np.concatenate([first_half[:-1], second_half])
    angles = math.pi * shares.astype(np.float64)
    x = np.cos(angles)
    y = np.sin(angles)
    upper = np.stack([x, y], 1) + HALF_CIRCLE_CENTRE
    return upper, -upper


def _figure_of_samples(samples_of: Mapping[str, list[list[float]]], seed: int) -> Drawing:
    width, height = PANEL
    top = height / 2 - 0.3  # below it the samples, above it the panel's name
    outside = []
    with canvas(height=3.9) as (figure, (axes,)):
        for index, (name, rows) in enumerate(samples_of.items()):
            row, column = divmod(index, 2)
            centre = np.array([width * column, -height * row])
            for curve in half_circles():
                x, y = (curve + centre).T
                axes.plot(x, y, color=FAINT, linewidth=0.7)
            points = numbers(rows)
            # A panel that held every stray sample would show the half circles small.
            inside = (np.abs(points) < [width / 2, top]).all(1)
            outside_count = int((~inside).sum())
            # Told in the caption, so that nothing leaves the figure unsaid.
            outside.append(f"{outside_count} of {name}")
            x, y = (points[inside] + centre).T
            axes.plot(x, y, MARKERS[0], color=SERIES[index], markersize=1.3)
            axes.text(centre[0], centre[1] + height / 2 - 0.3, name, ha="center", color=INK)
        axes.set_aspect("equal")
        axes.set_xlim(-width / 2, 1.5 * width)
        axes.set_ylim(-1.5 * height + 0.2, height / 2)
        axes.grid(False)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel(f"x (seed {seed}; half circles of radius 1)")
        axes.set_ylabel("y")
        caption = (
            f"{CURVE_SAMPLES_DRAWN} samples of each model, one seed ({seed}), and the two half "
            "circles of the data. DAE: beside it its corruption, in radii. Outside the panels: "
            f"{', '.join(outside)}."
        )
        return Drawing.of(
            figure, "degenerate/samples", "Samples of data without a density", caption
        )


def _dots(axes: Axes, measures_of: Mapping[str, Measures], measure: str) -> None:
    for column, measures in enumerate(measures_of.values()):
        if measure not in measures:
            continue
        # From the fourth on all are the autoencoder's, which share one look.
        values, look = numbers(measures[measure]), min(column, 3)
        axes.plot(
            column + in_steps(len(values), 0.03),
            values,
            MARKERS[look],
            color=SERIES[look],
            markersize=3.5,
            alpha=0.75,
        )


def _figure_of_distances(measures_of: Mapping[str, Measures], count: int) -> Drawing:
    with canvas(height=4.8, rows=(1.5, 1.0, 1.0)) as (figure, (upper, middle, lower)):
        for axes, measure, label in (
            (upper, "distance", "mean distance\n(radii)"),
            (middle, "coverage", "arcs covered\n(share)"),
            (lower, "crossed", "chains that\ncrossed (share)"),
        ):
            _dots(axes, measures_of, measure)
            axes.set_ylabel(label)
        # Distances span decades; shares do not.
        upper.set_yscale("log")
        for axes in (middle, lower):
            axes.set_ylim(-0.05, 1.08)
        names = [name.replace(" ", "\n") for name in measures_of]
        lower.set_xticks(range(len(names)), names, fontsize="small")
        lower.set_xlabel(f"DAE: corruption in radii (n = {count} seeds, a mark each)")
        caption = (
            f"Distance of {CURVE_SAMPLES:,} samples to the data's half circles, in their radii; "
            f"share of {ARCS} arcs with a sample within {ARC_DISTANCE}; share of the chains that "
            f"changed the half circle. {count} seeds, a mark each; all models made equal numbers "
            "of updates."
        )
        return Drawing.of(figure, "degenerate/distances", "Sharpness of four models", caption)
