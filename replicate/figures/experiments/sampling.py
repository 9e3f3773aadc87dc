"""The figures of `replicate.experiments.sampling`."""

from replicate.figures.drawing import Drawing, Result, in_steps, numbers, offsets
from replicate.figures.theme import INK, MARKERS, SERIES, canvas
from replicate.models import REGISTRY

#: Reference rows: they draw from the training images, and are no models.
REFERENCES = ("true_distribution", "k_means", "k_means_weighted")


def draw(result: Result) -> dict[str, Drawing]:
    """Every model's three numbers, every seed a mark."""
    count = len(result["seeds"])
    return {"models": _models(result["series"], count)}


def _look(model: str) -> int:
    """Index of the colour and of the mark of a model."""
    if model == "adversarial_nets":
        return 0
    if model in REFERENCES:
        return 2
    return 1


def _models(series: Result, count: int) -> Drawing:
    names = [name for name in REGISTRY if name in series["models"]]
    # Few seeds stand close together, many fill what a model has of the axis.
    spots = in_steps(count, 0.05) if count < 8 else offsets(count, 0.3)
    with canvas(width=6.4, height=5.6, rows=(1.0, 1.0, 1.0)) as (figure, (upper, middle, lower)):
        for axes, measure, label in (
            (upper, "memorisation", "memorisation\n(1: copies)"),
            (middle, "correlation", "correlation with\nthe next image"),
            (lower, "effective_share", "effective samples\nper image"),
        ):
            for column, name in enumerate(names):
                look = _look(name)
                measures = series["models"][name]
                values = numbers(measures[measure])
                x = column + spots
                axes.plot(x, values, MARKERS[look], color=SERIES[look], markersize=3.5)
            # 0 is what samples of the data would have in the two upper panels.
            axes.axhline(0, color=INK, linewidth=0.6)
            axes.set_ylabel(label)
        lower.set_ylim(0, 1.08)
        titles = []
        for name in names:
            title, _ = REGISTRY[name]
            titles.append(title.replace(", ", ",\n"))
        lower.set_xticks(range(len(names)), titles, rotation=60, ha="right", fontsize="small")
        lower.set_xlabel(
            "circle: adversarial nets; square: others; triangle: reference rows "
            f"(n = {count} seeds)"
        )
        caption = (
            f"Samples of the run's models on {series['dataset']}, {count} seeds. Above: whether "
            f"the image nearest to a sample is one of {series['train']:,} training images more "
            f"often than by chance, against {series['held_out']:,} held-out ones. Below: what an "
            "image says of the next one drawn, and how many independent draws each is worth."
        )
        return Drawing.of(figure, "sampling/models", "Samples of every model of the run", caption)
