"""The figures of `replicate.experiments.figure1`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes

from replicate.experiments.constants import STAGES
from replicate.figures.drawing import Drawing, Result, numbers
from replicate.figures.theme import FAINT, FRAME, INK, SERIES, canvas, legend


def draw(result: Result) -> dict[str, Drawing]:
    """The four stages of the first seed, the game in frames, and how the distances fall over all
    seeds.
    """
    series = result["series"]
    seeds = result["seeds"]
    return {
        "stages": _stages(series, seeds[0]),
        "sequence": _sequence(series, seeds[0]),
        "distances": _distances(series["curve"], len(seeds)),
    }


def _stages(series: Result, seed: int) -> Drawing:
    with canvas(width=5.6, height=5.6) as (figure, _):
        # `canvas` makes one column, and here are two.
        figure.clear()
        panels = figure.subplots(4, 2, sharex=True, sharey="row", height_ratios=(3, 1, 3, 1))
        for number, (name, title) in enumerate(STAGES.items()):
            # Two stages beside each other, each with its arrows below it.
            pair, column = divmod(number, 2)
            row = 2 * pair
            stage = series["stages"][name]
            densities = panels[row, column]
            _densities(densities, series, stage)
            densities.set_title(title, fontsize="medium")
            arrows = panels[row + 1, column]
            _arrows(arrows, series["z"], stage["images"])
        for row in (0, 2):
            panels[row, 0].set_ylabel("density, and D(x)")
        for axes in panels[3]:
            axes.set_xlabel("x")
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3)
        caption = (
            f"The game of Figure 1, seed {seed}: p_data = N(0, 1), p_g exactly, D, and where G "
            "sends equally spaced z (lower line) on the axis of x (upper line)."
        )
        return Drawing.of(figure, "figure1/stages", "The four stages of Figure 1", caption)


def _sequence(series: Result, seed: int) -> Drawing:
    """All frames in one picture; the page shows one after the other, or the last one where nothing
    may move.
    """
    frames = series["frames"]
    with canvas(height=3.4) as (figure, (axes,)):
        axes.plot(series["x"], series["data"], color=INK, linestyle=":", label="p_data")
        axes.axhline(0.5, color=FAINT, linewidth=0.5)
        for index, frame in enumerate(frames):
            frames_left = len(frames) - 1 - index
            artists = _frame(axes, series["x"], frame, in_legend=frames_left == 0)
            for number, artist in enumerate(artists):
                # Counted down: whatever the number of frames, the last one is frame 0
                # (`theme.FRAME`).
                artist.set_gid(f"{FRAME}{frames_left}-{number}")
        axes.set_ylim(0, 1)
        axes.set_xlim(series["x"][0], series["x"][-1])
        axes.set_xlabel(f"x (seed {seed})")
        axes.set_ylabel("density, and D(x)")
        legend(axes, 3)
        caption = (
            f"The same game (seed {seed}) from stage (c), round 0, to stage (d), one frame a "
            "second; where motion is not wanted, its end."
        )
        return Drawing.of(figure, "figure1/sequence", "The game of Figure 1 in frames", caption)


def _frame(axes: Axes, x: Sequence[float], frame: Result, in_legend: bool) -> list[Artist]:
    """The artists of one frame, with their names in the legend or not."""
    # Matplotlib leaves names that begin with "_" out of the legend.
    generated_label, discriminator_label = "_", "_"
    if in_legend:
        generated_label, discriminator_label = "p_g", "D"
    (generated,) = axes.plot(x, frame["generated"], color=SERIES[2], label=generated_label)
    (discriminator,) = axes.plot(
        x, frame["discriminator"], color=SERIES[0], linestyle="--", label=discriminator_label
    )
    title = axes.text(0.02, 0.94, f"round {frame['round']:,}", transform=axes.transAxes)
    return [generated, discriminator, title]


def _densities(axes: Axes, series: Result, stage: Result) -> None:
    x = series["x"]
    axes.plot(x, series["data"], color=INK, linestyle=":", label="p_data")
    axes.plot(x, stage["generated"], color=SERIES[2], label="p_g")
    axes.plot(x, stage["discriminator"], color=SERIES[0], linestyle="--", label="D")
    axes.axhline(0.5, color=FAINT, linewidth=0.5)
    axes.set_ylim(0, 1)
    axes.set_xlim(x[0], x[-1])


def _arrows(axes: Axes, z: Sequence[float], images: Sequence[float]) -> None:
    """Arrows from z, drawn three times as wide as it is so that it spans the panel, to G(z)."""
    starts = [3 * point for point in z]
    count = len(z)
    lower = [0.0] * count
    upper = [1.0] * count
    axes.plot([starts, images], [lower, upper], color=FAINT, linewidth=0.7)
    axes.plot(images, upper, "^", color=INK, markersize=3, clip_on=True)
    axes.set_yticks([0, 1], ["z", "x"])
    axes.grid(visible=False)


def _distances(curve: Result, count: int) -> Drawing:
    with canvas(height=4.0, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        # A logarithmic axis has no 0.
        rounds = np.array(curve["round"]) + 1
        for name, axes, label in (
            ("distance", upper, "Wasserstein distance\nof p_g to p_data"),
            ("from_half", lower, "mean |D - 1/2|"),
        ):
            rows = numbers(curve[name])
            axes.plot(rounds, rows, color=FAINT, linewidth=0.7)
            axes.plot(rounds, rows.mean(1), color=SERIES[0], label="mean over seeds")
            axes.set_ylabel(label)
            axes.set_yscale("log")
        legend(upper, 1)
        lower.set_xscale("log")
        lower.set_xlabel(f"rounds after stage (c), plus 1 (grey: n = {count} seeds)")
        caption = (
            f"From stage (c) to stage (d), {count} seeds: the distance of p_g to the data, in "
            "standard deviations of the data, and of D to 1/2, without sampling error."
        )
        return Drawing.of(
            figure, "figure1/distances", "The game goes to p_data and D = 1/2", caption
        )
