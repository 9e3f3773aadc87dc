"""The figures of `replicate.experiments.gradients`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.figures.drawing import Drawing, lines_and_mean, numbers
from replicate.figures.theme import FAINT, INK, canvas, legend, svg

#: Objectives of G, with their names in the figures.
TITLES = {"non_saturating": "-log D(G(z))", "saturating": "log(1 - D(G(z)))"}


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """The norms of both objectives while D learns alone, and along the game; the distance of both games."""
    series, count = result["series"], len(result["seeds"])
    return {"alone": _alone(series["alone"], count), "games": _games(series["games"], series["early"], count)}


def _alone(curve: Mapping[str, list[Any]], count: int) -> Drawing:
    with canvas(height=4.2, rows=(1.0, 1.6)) as (figure, axes):
        updates = np.array(curve["update"]) + 1
        shares = numbers(curve["accuracy"])
        axes[0].plot(updates, shares, color=FAINT, linewidth=0.7)
        axes[0].plot(updates, shares.mean(1), color=INK)
        axes[0].set_ylabel("accuracy of D\n(share)")
        for look, (name, title) in enumerate(TITLES.items()):
            lines_and_mean(axes[1], updates.tolist(), curve[name], look, title)
        axes[1].set_yscale("log")
        axes[1].set_xscale("log")
        axes[1].set_ylabel("norm of the gradient of G")
        axes[1].set_xlabel(f"updates of D, plus 1 (n = {count} seeds: thin lines)")
        legend(axes[1], 2)
        text = (
            f"D learns to tell data from the images of a G that stays, {count} seeds: how often it is right, and the "
            "gradient that it leaves to G by each objective (thick: geometric mean)."
        )
        return Drawing(svg(figure, "gradients/alone", "The gradient of G as D becomes perfect", text), text)


def _games(games: Mapping[str, Mapping[str, list[Any]]], early: int, count: int) -> Drawing:
    with canvas(height=4.6, rows=(1.0, 1.0)) as (figure, axes):
        one = games["non_saturating"]
        rounds = (np.array(one["round"]) + 1).tolist()
        for look, (name, title) in enumerate(TITLES.items()):
            lines_and_mean(axes[0], rounds, one[name], look, title)
            lines_and_mean(axes[1], rounds, games[name]["distance"], look, title)
        axes[1].axvline(early + 1, color=INK, linestyle=":", linewidth=1)
        axes[0].set_ylabel("norm of the gradient of G,\nsame D and G")
        axes[1].set_ylabel("Wasserstein distance\nof p_g to p_data")
        for place in axes:
            place.set_xscale("log")
            place.set_yscale("log")
        axes[1].set_xlabel(f"rounds, plus 1 (n = {count} seeds: thin lines)")
        legend(axes[0], 2)
        text = (
            f"Above: gradients by both objectives along the game that descends -log D(G(z)), {count} seeds. Below: the "
            "distance to the data, in its standard deviations, of the games that each plays (dotted: early)."
        )
        return Drawing(svg(figure, "gradients/games", "Two objectives of G", text), text)
