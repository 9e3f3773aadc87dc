"""The figures of `replicate.experiments.figure1`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from replicate.experiments.fixed.figure1 import STAGES
from replicate.figures.drawing import Drawing, numbers
from replicate.figures.theme import FAINT, FRAME, INK, SERIES, canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """The four stages of the first seed, the game in frames, and how the distances fall over all seeds."""
    return {
        "stages": _stages(result),
        "sequence": _sequence(result),
        "distances": _distances(result["series"]["curve"], len(result["seeds"])),
    }


def _stages(result: Mapping[str, Any]) -> Drawing:
    series = result["series"]
    with canvas(width=5.6, height=5.6) as (figure, _):
        figure.clear()
        places = figure.subplots(4, 2, sharex=True, sharey="row", height_ratios=(3, 1, 3, 1))
        for number, (stage, title) in enumerate(STAGES.items()):
            row, column = 2 * (number // 2), number % 2
            _densities(places[row, column], series, series["stages"][stage])
            places[row, column].set_title(title, fontsize="medium")
            _arrows(places[row + 1, column], series["z"], series["stages"][stage]["images"])
        for row in (0, 2):
            places[row, 0].set_ylabel("density, and D(x)")
        for place in places[3]:
            place.set_xlabel("x")
        figure.legend(*places[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
        seed = result["seeds"][0]
        text = (
            f"The game of Figure 1, seed {seed}: p_data = N(0, 1), p_g exactly, D, and where G sends equally spaced z "
            "(lower line) on the axis of x (upper line)."
        )
        return Drawing(svg(figure, "figure1/stages", "The four stages of Figure 1", text), text)


def _sequence(result: Mapping[str, Any]) -> Drawing:
    """All frames in one picture; the page shows one after the other, or the last one where nothing may move."""
    series, seed = result["series"], result["seeds"][0]
    frames = series["frames"]
    with canvas(height=3.4) as (figure, (axes,)):
        axes.plot(series["x"], series["data"], color=INK, linestyle=":", label="p_data")
        axes.axhline(0.5, color=FAINT, linewidth=0.5)
        for left, frame in zip(range(len(frames) - 1, -1, -1), frames, strict=True):
            names = ("_", "_") if left else ("p_g", "D")
            drawn = [
                axes.plot(series["x"], frame["generated"], color=SERIES[2], label=names[0])[0],
                axes.plot(series["x"], frame["discriminator"], color=SERIES[0], linestyle="--", label=names[1])[0],
                axes.text(0.02, 0.94, f"round {frame['round']:,}", transform=axes.transAxes),
            ]
            for part, artist in enumerate(drawn):
                artist.set_gid(f"{FRAME}{left}-{part}")
        axes.set_ylim(0, 1)
        axes.set_xlim(series["x"][0], series["x"][-1])
        axes.set_xlabel(f"x (seed {seed})")
        axes.set_ylabel("density, and D(x)")
        legend(axes, 3)
        text = (
            f"The same game (seed {seed}) from stage (c), round 0, to stage (d), one frame a second; where motion is "
            "not wanted, its end."
        )
        return Drawing(svg(figure, "figure1/sequence", "The game of Figure 1 in frames", text), text)


def _densities(axes: Axes, series: Mapping[str, Any], stage: Mapping[str, Any]) -> None:
    axes.plot(series["x"], series["data"], color=INK, linestyle=":", label="p_data")
    axes.plot(series["x"], stage["generated"], color=SERIES[2], label="p_g")
    axes.plot(series["x"], stage["discriminator"], color=SERIES[0], linestyle="--", label="D")
    axes.axhline(0.5, color=FAINT, linewidth=0.5)
    axes.set_ylim(0, 1)
    axes.set_xlim(series["x"][0], series["x"][-1])


def _arrows(axes: Axes, z: Sequence[float], images: Sequence[float]) -> None:
    """Arrows from z, drawn three times as wide as it is so that it spans the panel, to G(z)."""
    axes.plot([[3 * point for point in z], images], [[0.0] * len(z), [1.0] * len(z)], color=FAINT, linewidth=0.7)
    axes.plot(images, [1.0] * len(z), "^", color=INK, markersize=3, clip_on=True)
    axes.set_yticks([0, 1], ["z", "x"])
    axes.grid(visible=False)


def _distances(curve: Mapping[str, Any], count: int) -> Drawing:
    with canvas(height=4.0, rows=(1.0, 1.0)) as (figure, axes):
        looks = np.array(curve["round"]) + 1
        for name, place, label in (
            ("distance", axes[0], "Wasserstein distance\nof p_g to p_data"),
            ("from_half", axes[1], "mean |D - 1/2|"),
        ):
            rows = numbers(curve[name])
            place.plot(looks, rows, color=FAINT, linewidth=0.7)
            place.plot(looks, rows.mean(1), color=SERIES[0], label="mean over seeds")
            place.set_ylabel(label)
            place.set_yscale("log")
        legend(axes[0], 1)
        axes[1].set_xscale("log")
        axes[1].set_xlabel(f"rounds after stage (c), plus 1 (grey: n = {count} seeds)")
        text = (
            f"From stage (c) to stage (d), {count} seeds: the distance of p_g to the data, in standard deviations of "
            "the data, and of D to 1/2, without sampling error."
        )
        return Drawing(svg(figure, "figure1/distances", "The game goes to p_data and D = 1/2", text), text)
