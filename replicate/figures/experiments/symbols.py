"""The figures of `replicate.experiments.symbols`."""

from replicate.figures.drawing import Drawing, Result, lines_and_mean, numbers
from replicate.figures.theme import INK, MARKERS, SERIES, canvas, legend


def draw(result: Result) -> dict[str, Drawing]:
    """How soon D tells soft outputs from data, and how near every way to learn comes to the
    language.
    """
    series = result["series"]
    count = len(result["seeds"])
    return {
        "told": _discrimination(series["told"], count),
        "ways": _ways(series, count),
    }


def _discrimination(curves: Result, count: int) -> Drawing:
    with canvas(height=2.6) as (figure, (axes,)):
        for look, (name, curve) in enumerate(curves.items()):
            updates = curve["update"]
            shares = numbers(curve["accuracy"])
            color = SERIES[look]
            axes.plot(updates, shares, MARKERS[look], color=color, markersize=2, alpha=0.5)
            axes.plot(updates, shares.mean(1), color=color, label=f"{name} outputs")
        axes.axhline(0.5, color=INK, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        # Chance is 0.5: below lies only the noise of it.
        axes.set_ylim(0.4, 1.02)
        axes.set_ylabel("D is right (share)")
        axes.set_xlabel(f"updates of D (n = {count} seeds: marks)")
        legend(axes, len(curves))
        caption = (
            "D learns to tell sequences of the language from those of a G with the same "
            f"probabilities, {count} seeds (marks) and their means (lines): with soft outputs, and "
            "with symbols that are chosen (dotted: chance)."
        )
        return Drawing.of(figure, "symbols/told", "Soft outputs are told from symbols", caption)


def _ways(series: Result, count: int) -> Drawing:
    with canvas(height=3.6) as (figure, (axes,)):
        for look, (way, curve) in enumerate(series["ways"].items()):
            lines_and_mean(axes, curve["update"], curve["divergence"], look, way)
        axes.axhline(series["start"], color=INK, linestyle=":", linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylabel("KL(p_data, p_g) (nats)")
        axes.set_xlabel(f"updates of G (n = {count} seeds: thin lines)")
        legend(axes, 2)
        caption = (
            f"A language of {series['sequences']:,} sequences whose probabilities are known: "
            f"distance of what G writes while it learns in four ways, {count} seeds (thick: "
            "geometric mean; dotted: at the start)."
        )
        return Drawing.of(
            figure, "symbols/ways", "Games over symbols beside maximum likelihood", caption
        )
