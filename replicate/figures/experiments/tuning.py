"""The figure of `replicate.experiments.tuning`."""

from replicate.figures.drawing import Drawing, Result, in_steps, numbers
from replicate.figures.theme import INK, MARKERS, SERIES, canvas
from replicate.models import REGISTRY


def draw(result: Result) -> dict[str, Drawing]:
    """How far every trial of every model ends below the model's best one."""
    count = len(result["seeds"])
    return {"trials": _trials(result["series"], count)}


def _trials(series: Result, count: int) -> Drawing:
    gaps = series["behind"]
    # In the order of Table 1, not of the trials.
    names = [name for name in REGISTRY if name in gaps]
    gaps_of = {name: gaps[name] for name in names}
    failed, worst = _failed_and_worst(gaps_of)
    with canvas(width=6.4, height=3.6) as (figure, (axes,)):
        for column, name in enumerate(names):
            look = 1 if name in series["others"] else 0
            x = column + in_steps(count, 0.06)
            y = numbers(gaps_of[name])
            axes.plot(x, y, MARKERS[look], color=SERIES[look], markersize=4)
        axes.axhline(series["distance"], color=INK, linestyle=":", linewidth=1)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(1.5 * worst + 1, -0.2)
        axes.set_ylabel("nats below the best trial")
        titles = []
        for name in names:
            title, _ = REGISTRY[name]
            titles.append(title.replace(", ", ",\n"))
        axes.set_xticks(range(len(titles)), titles, rotation=60, ha="right", fontsize="small")
        axes.set_xlabel(f"model (n = {count} trials each; circle: adversarial nets)")
        caption = (
            f"Tuning on {series['dataset']}, {count} trials of every model: how far the validation "
            "log-likelihood of each ends below the best one of its model. Dotted: "
            f"{series['distance']:.1f} nats, which counts as near. The axis is linear within 1 "
            f"nat; {failed} trials that failed are not shown."
        )
        return Drawing.of(figure, "tuning/trials", "Trials of an equal budget", caption)


def _failed_and_worst(gaps_of: Result) -> tuple[int, float]:
    """How many trials failed, and the largest gap of those that did not."""
    failed, worst = 0, 0.0
    for gaps in gaps_of.values():
        for gap in gaps:
            if gap is None:
                failed += 1
            else:
                worst = max(worst, gap)
    return failed, worst
