"""The figures of `replicate.experiments.acceleration`."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from replicate.figures.drawing import Array, Drawing, Result, numbers, offsets
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend


def draw(result: Result) -> dict[str, Drawing]:
    """The updates that every variant took on every seed, and its mean log-likelihood as it
    trained.
    """
    series = result["series"]
    count = len(result["seeds"])
    return {
        "updates": _updates(series, count),
        "curves": _curves(series, count),
    }


def _log_axis(axes: Axes, updates: Sequence[int]) -> None:
    """Updates on a log scale, about six of them named."""
    step = max(len(updates) // 5, 1)
    # From the end backwards: the last one, at which training stopped, is always named.
    ticks = updates[::-step]
    names = [f"{number:,}" for number in ticks]
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(ticks, names)


def _updates(series: Result, count: int) -> Drawing:
    names, decisive = series["order"], series["judged"].values()
    with canvas(height=4.0) as (figure, (axes,)):
        spots = offsets(count, 0.25)
        for row, name in enumerate(names):
            updates = numbers(series["updates"][name])
            censored = np.array(series["censored"][name])
            heights = row + spots
            # Mark and colour tell what was not reached: a dot at the last update would look like a
            # success.
            for look, (marks, marker, label) in enumerate(
                ((~censored, "o", "reached the target"), (censored, "x", "not by the end"))
            ):
                axes.plot(
                    updates[marks],
                    heights[marks],
                    marker,
                    color=SERIES[look],
                    markersize=3,
                    # A cross is all edge, a dot has none.
                    markeredgewidth=look,
                    label=label if row == 0 else None,
                )
            mean = _geometric_mean(updates)
            axes.plot(mean, row, "|", color=INK, markersize=11, markeredgewidth=1.5)
        _log_axis(axes, series["looks"])
        row_names = [f"{name} *" if name in decisive else name for name in names]
        axes.set_yticks(range(len(names)), row_names)
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_xlabel(f"updates of G and of D to the target (n = {count} seeds: dots)")
        legend(axes, 2)
        caption = (
            f"Updates until the mean log-likelihood of {series['validation_images']} validation "
            f"images, by a Parzen window on samples of G, is {series['target']:g} nats: {count} "
            "seeds, a bar at their geometric mean. What was not reached counts as the last update. "
            "The baseline's z is uniform; the others change one thing: how the players move, or "
            "the distribution and length of z. * decides the statement, and was chosen on other "
            "seeds."
        )
        return Drawing.of(figure, "acceleration/updates", "Updates that training takes", caption)


def _geometric_mean(updates: Array) -> float:
    """Of the seeds that did not fail."""
    finite = np.isfinite(updates)
    count = max(finite.sum(), 1)
    logs = np.log(updates[finite])
    mean_log = logs.sum() / count
    return float(np.exp(mean_log))


def _curves(series: Result, count: int) -> Drawing:
    names = series["order"]
    moves = [name for name in names if name not in series["noise"]]
    noises = ["baseline", *series["noise"]]
    with canvas(height=5.8, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        for axes, variants in ((upper, moves), (lower, noises)):
            for look, name in enumerate(variants):
                rows = numbers(series["curves"][name])
                # A seed that failed anywhere is left out everywhere, or the mean would jump where
                # it ends.
                rows = rows[:, np.isfinite(rows).all(0)]
                means = rows.sum(1) / max(rows.shape[1], 1)
                axes.plot(
                    series["looks"],
                    means,
                    color=SERIES[look],
                    marker=MARKERS[look],
                    markersize=3,
                    label=name,
                )
            axes.axhline(series["target"], color=INK, linestyle=":", linewidth=1)
            _log_axis(axes, series["looks"])
            axes.set_ylabel("log-likelihood (nats)")
            legend(axes, 3)
        lower.set_xlabel(f"updates of G and D (n = {count} seeds; dotted: target)")
        caption = (
            f"Mean log-likelihood of {series['validation_images']} validation images, by a Parzen "
            f"window on samples of G, in nats, while G and D train; means of {count} seeds. Above: "
            "how the players move. Below: the distribution and length of z."
        )
        return Drawing.of(figure, "acceleration/curves", "Training by every variant", caption)
