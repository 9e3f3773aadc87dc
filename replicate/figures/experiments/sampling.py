"""The figures of `replicate.experiments.sampling`."""

from collections.abc import Mapping
from typing import Any

from replicate.figures.drawing import Drawing, in_steps, numbers, offsets
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, svg
from replicate.models import REGISTRY

#: Reference rows: they draw from the training images, and are no models.
REFERENCES = ("true_distribution", "k_means", "k_means_weighted")


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """Every model's three numbers, every seed a mark."""
    series, count = result["series"], len(result["seeds"])
    return {"models": _models(series, count)}


def _models(series: Mapping[str, Any], count: int) -> Drawing:
    names = [name for name in REGISTRY if name in series["models"]]
    rows = (
        ("memorisation", "memorisation\n(1: copies)"),
        ("correlation", "correlation with\nthe next image"),
        ("effective_share", "effective samples\nper image"),
    )
    spots = in_steps(count, 0.05) if count < 8 else offsets(count, 0.3)
    with canvas(width=6.4, height=5.6, rows=(1.0, 1.0, 1.0)) as (figure, axes):
        for place, (measure, label) in zip(axes, rows, strict=True):
            for k, name in enumerate(names):
                look = 0 if name == "adversarial_nets" else 2 if name in REFERENCES else 1
                values = numbers(series["models"][name][measure])
                place.plot(k + spots, values, MARKERS[look], color=SERIES[look], markersize=3.5)
            place.axhline(0, color=INK, linewidth=0.6)
            place.set_ylabel(label)
        axes[2].set_ylim(0, 1.08)
        titles = [REGISTRY[name][0].replace(", ", ",\n") for name in names]
        axes[2].set_xticks(range(len(names)), titles, rotation=60, ha="right", fontsize="small")
        axes[2].set_xlabel(f"circle: adversarial nets; square: others; triangle: reference rows (n = {count} seeds)")
        text = (
            f"Samples of the run's models on {series['dataset']}, {count} seeds. Above: whether the image nearest to "
            f"a sample is one of {series['train']:,} training images more often than by chance, against "
            f"{series['held_out']:,} held-out ones. Below: what an image says of the next one drawn, and how many "
            "independent draws each is worth."
        )
        return Drawing(svg(figure, "sampling/models", "Samples of every model of the run", text), text)
