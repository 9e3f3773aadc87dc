"""The figure of `replicate.experiments.decoders`."""

from replicate.figures.drawing import Drawing, Result, numbers
from replicate.figures.theme import MARKERS, SERIES, canvas, legend
from replicate.models import REGISTRY


def draw(result: Result) -> dict[str, Drawing]:
    """What both measures say of every seed of the decoders."""
    return {"orders": _orders(result["series"], len(result["seeds"]))}


def _orders(series: Result, count: int) -> Drawing:
    measures = series["measures"]
    with canvas(width=5.0, height=3.6) as (figure, (axes,)):
        for look, (name, values) in enumerate(measures.items()):
            title, _ = REGISTRY[name]
            axes.plot(
                numbers(values["parzen"]),
                numbers(values["annealed_likelihood"]),
                MARKERS[look],
                color=SERIES[look],
                markersize=4.5,
                label=title,
            )
        axes.set_xlabel(f"Parzen estimate (nats; n = {count} seeds)")
        axes.set_ylabel("annealed importance\nsampling (nats)")
        legend(axes, len(measures))
        caption = (
            f"Log-likelihood of test images on {series['dataset']} by two measures, {count} seeds; "
            "annealing gives lower bounds. A mark to the right of another one and above it is "
            "better by both; to the right and below, they are in another order."
        )
        return Drawing.of(figure, "decoders/orders", "Decoders by two measures", caption)
