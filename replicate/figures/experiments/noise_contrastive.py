"""The figures of `replicate.experiments.noise_contrastive`."""

from replicate.experiments.constants import WAYS
from replicate.figures.drawing import Drawing, Result, lines_and_mean
from replicate.figures.theme import canvas, legend


def draw(result: Result) -> dict[str, Drawing]:
    """The distance against updates, of every way and seed."""
    count = len(result["seeds"])
    return {"distances": _distances(result["series"], count)}


def _distances(series: Result, count: int) -> Drawing:
    with canvas(height=3.4) as (figure, (axes,)):
        for look, (way, title) in enumerate(WAYS.items()):
            distances = series["distance"][way]
            # Sixty looks: a mark at each would hide the line.
            lines_and_mean(axes, series["update"], distances, look, title, markevery=6)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"updates of the model (n = {count} seeds: thin lines)")
        axes.set_ylabel("KL(data, model) (nats)")
        legend(axes, 3)
        caption = (
            f"A normal density in {series['dimension']} dimensions learnt, {count} seeds (thick: "
            "geometric mean), by noise-contrastive estimation with noise that stays or is renewed "
            "as the model, and the adversarial game; equal numbers of samples, exact distances."
        )
        return Drawing.of(
            figure, "noise_contrastive/distances", "Three ways to learn a density", caption
        )
