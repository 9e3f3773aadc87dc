"""The figure of `replicate.experiments.decoders`."""

from replicate.figures.drawing import Drawing, Result, numbers
from replicate.figures.theme import MARKERS, SERIES, canvas, legend
from replicate.models import REGISTRY


def draw(result: Result) -> dict[str, Drawing]:
    """What both measures say of every seed of the decoders."""
    return {"orders": _orders(result["series"], len(result["seeds"]))}


def _orders(series: Result, count: int) -> Drawing:
    measures = series["measures"]
    with canvas(width=6.4, height=3.6) as (figure, (axes,)):
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
            f"Decoders on {series['dataset']} by two measures, {count} seeds: the mean "
            "log-likelihood of test images by the Parzen estimate and by annealed importance "
            "sampling (lower bounds). Of two models that both order alike, one lies to the right "
            "of the other and above it; to the right and below, they order them otherwise."
        )
        return Drawing.of(figure, "decoders/orders", "Decoders by two measures", caption)
