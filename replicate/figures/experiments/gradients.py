"""The figures of `replicate.experiments.gradients`."""

import numpy as np

from replicate.figures.drawing import Drawing, Result, lines_and_mean, numbers
from replicate.figures.theme import FAINT, INK, canvas, legend

#: Objectives of G, with their names in the figures.
TITLES = {"non_saturating": "-log D(G(z))", "saturating": "log(1 - D(G(z)))"}


def draw(result: Result) -> dict[str, Drawing]:
    """The norms of both objectives while D learns alone, and along the game; the distance of both
    games.
    """
    series = result["series"]
    count = len(result["seeds"])
    return {
        "alone": _alone(series["alone"], count),
        "games": _games(series["games"], series["early"], count),
    }


def _alone(curve: Result, count: int) -> Drawing:
    with canvas(height=4.2, rows=(1.0, 1.6)) as (figure, (upper, lower)):
        # A logarithmic axis has no 0.
        updates = np.array(curve["update"]) + 1
        shares = numbers(curve["accuracy"])
        upper.plot(updates, shares, color=FAINT, linewidth=0.7)
        upper.plot(updates, shares.mean(1), color=INK)
        upper.set_ylabel("accuracy of D\n(share)")
        for look, (name, title) in enumerate(TITLES.items()):
            lines_and_mean(lower, updates.tolist(), curve[name], look, title)
        lower.set_yscale("log")
        lower.set_xscale("log")
        lower.set_ylabel("norm of the gradient of G")
        lower.set_xlabel(f"updates of D, plus 1 (n = {count} seeds: thin lines)")
        legend(lower, 2)
        caption = (
            f"D learns to tell data from the images of a G that stays, {count} seeds: how often it "
            "is right, and the gradient that it leaves to G by each objective (thick: geometric "
            "mean)."
        )
        return Drawing.of(
            figure, "gradients/alone", "The gradient of G as D becomes perfect", caption
        )


def _games(games: Result, early: int, count: int) -> Drawing:
    with canvas(height=4.6, rows=(1.0, 1.0)) as (figure, (upper, lower)):
        game = games["non_saturating"]
        rounds = (np.array(game["round"]) + 1).tolist()
        for look, (name, title) in enumerate(TITLES.items()):
            # Both norms of one game: of two games they would be at another D and G.
            lines_and_mean(upper, rounds, game[name], look, title)
            lines_and_mean(lower, rounds, games[name]["distance"], look, title)
        lower.axvline(early + 1, color=INK, linestyle=":", linewidth=1)
        upper.set_ylabel("norm of the gradient of G,\nsame D and G")
        lower.set_ylabel("Wasserstein distance\nof p_g to p_data")
        for axes in (upper, lower):
            axes.set_xscale("log")
            axes.set_yscale("log")
        lower.set_xlabel(f"rounds, plus 1 (n = {count} seeds: thin lines)")
        legend(upper, 2)
        caption = (
            "Above: gradients by both objectives along the game that descends -log D(G(z)), "
            f"{count} seeds. Below: the distance to the data, in its standard deviations, of the "
            "games that each plays (dotted: early)."
        )
        return Drawing.of(figure, "gradients/games", "Two objectives of G", caption)
