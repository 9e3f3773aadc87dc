"""The figure of `replicate.experiments.tuning`."""

from collections.abc import Mapping
from typing import Any

from replicate.figures.drawing import Drawing, in_steps, numbers
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, svg
from replicate.models import REGISTRY


def draw(result: Mapping[str, Any]) -> dict[str, Drawing]:
    """How far every trial of every model ends below the model's best one."""
    series = result["series"]
    return {"trials": _trials(series, len(result["seeds"]))}


def _trials(series: Mapping[str, Any], count: int) -> Drawing:
    names = [name for name in REGISTRY if name in series["behind"]]
    failed = 0
    with canvas(width=6.4, height=3.6) as (figure, (axes,)):
        for k, name in enumerate(names):
            gaps = numbers(series["behind"][name])
            failed += sum(gap is None for gap in series["behind"][name])
            look = 1 if name in series["others"] else 0
            axes.plot(k + in_steps(count, 0.06), gaps, MARKERS[look], color=SERIES[look], markersize=4)
        axes.axhline(series["distance"], color=INK, linestyle=":", linewidth=1)
        axes.set_yscale("symlog", linthresh=1)
        worst = max(gap for gaps in series["behind"].values() for gap in gaps if gap is not None)
        axes.set_ylim(1.5 * worst + 1, -0.2)
        axes.set_ylabel("nats below the best trial")
        titles = [REGISTRY[name][0].replace(", ", ",\n") for name in names]
        axes.set_xticks(range(len(names)), titles, rotation=60, ha="right", fontsize="small")
        axes.set_xlabel(f"model (n = {count} trials each; circle: adversarial nets)")
        text = (
            f"Tuning on {series['dataset']}, {count} trials of every model: how far the validation log-likelihood of "
            f"each ends below the best one of its model. Dotted: {series['distance']:.1f} nats, which counts as near. "
            f"The axis is linear within 1 nat; {failed} trials that failed are not shown."
        )
        return Drawing(svg(figure, "tuning/trials", "Trials of an equal budget", text), text)
