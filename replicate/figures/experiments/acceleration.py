"""The figures of `replicate.experiments.acceleration`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from replicate.figures.drawing import Drawing, numbers, offsets
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend, svg


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """The updates that every variant took on every seed, and its mean log-likelihood as it trained."""
    count, series = len(result["seeds"]), result["series"]
    return {"updates": _updates(series, count), "curves": _curves(series, count)}


def _log_axis(axes: Axes, updates: Sequence[int]) -> None:
    """Updates on a log scale, about six of the looks named."""
    named = updates[:: -max(len(updates) // 5, 1)]
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xticks(named, [f"{number:,}" for number in named])


def _updates(series: Mapping[str, Any], count: int) -> Drawing:
    names, judged = series["order"], series["judged"].values()
    with canvas(height=4.0) as (figure, (axes,)):
        spots = offsets(count, 0.25)
        for place, name in enumerate(names):
            values = numbers(series["updates"][name])
            censored = np.array(series["censored"][name])
            for look, (some, marker) in enumerate(((~censored, "o"), (censored, "x"))):
                label = ("reached the target", "not by the end")[look] if place == 0 else None
                axes.plot(
                    values[some], (place + spots)[some], marker, color=SERIES[look], markersize=3,
                    markeredgewidth=look, label=label,
                )  # fmt: skip
            geometric = np.exp(np.log(values[np.isfinite(values)]).sum() / max(np.isfinite(values).sum(), 1))
            axes.plot(geometric, place, "|", color=INK, markersize=11, markeredgewidth=1.5)
        _log_axis(axes, series["looks"])
        axes.set_yticks(range(len(names)), [f"{name} *" if name in judged else name for name in names])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", visible=True)
        axes.set_xlabel(f"updates of G and of D to the target (n = {count} seeds: dots)")
        legend(axes, 2)
        text = (
            f"Updates until the mean log-likelihood of {series['validation_images']} validation images, by a Parzen "
            f"window on samples of G, is {series['target']:g} nats: {count} seeds, a bar at their geometric mean. What "
            "was not reached counts as the last update. The baseline's z is uniform; the others change one thing: how "
            "the players move, or the distribution and length of z. * decides the claim, and was chosen on other seeds."
        )
        return Drawing(svg(figure, "acceleration/updates", "Updates that training takes", text), text)


def _curves(series: Mapping[str, Any], count: int) -> Drawing:
    names = series["order"]
    kinds = ([name for name in names if name not in series["noise"]], ["baseline", *series["noise"]])
    with canvas(height=5.8, rows=(1.0, 1.0)) as (figure, axes):
        for place, shown in zip(axes, kinds, strict=True):
            for look, name in enumerate(shown):
                rows = numbers(series["curves"][name])
                rows = rows[:, np.isfinite(rows).all(0)]
                means = rows.sum(1) / max(rows.shape[1], 1)
                place.plot(series["looks"], means, color=SERIES[look], marker=MARKERS[look], markersize=3, label=name)
            place.axhline(series["target"], color=INK, linestyle=":", linewidth=1)
            _log_axis(place, series["looks"])
            place.set_ylabel("log-likelihood (nats)")
            legend(place, 3)
        axes[1].set_xlabel(f"updates of G and D (n = {count} seeds; dotted: target)")
        text = (
            f"Mean log-likelihood of {series['validation_images']} validation images, by a Parzen window on samples of "
            f"G, in nats, while G and D train; means of {count} seeds. Above: how the players move. Below: the "
            "distribution and length of z."
        )
        return Drawing(svg(figure, "acceleration/curves", "Training by every variant", text), text)
