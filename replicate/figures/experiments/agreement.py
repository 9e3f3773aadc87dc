"""The figure of `replicate.experiments.agreement`."""

from replicate.figures.drawing import Drawing, Result, in_steps, numbers
from replicate.figures.theme import INK, MARKERS, SERIES, canvas
from replicate.measures import REGISTRY


def draw(result: Result) -> dict[str, Drawing]:
    """How far each measure orders the rows as the Parzen estimate does."""
    return {"taus": _taus(result["series"], len(result["seeds"]))}


def _title(label: str) -> str:
    """A measure with its space in words."""
    # The experiment joins a measure and its space by a slash, for they are a key of its result.
    measure, _, space = label.partition("/")
    title = REGISTRY[measure].title
    return f"{title}, {space}" if space else title


def _taus(series: Result, count: int) -> Drawing:
    taus_of = series["measures"]
    with canvas(width=6.4, height=1.4 + 0.26 * len(taus_of)) as (figure, (axes,)):
        for row, taus in enumerate(taus_of.values()):
            # Tau of four rows has few values: without steps seeds would cover each other.
            y = row + in_steps(count, 0.06)
            axes.plot(numbers(taus), y, MARKERS[0], color=SERIES[0], markersize=4)
        axes.axvline(0, color=INK, linewidth=0.6)
        axes.axvline(0.5, color=INK, linestyle=":", linewidth=1)
        # The whole range of tau, so that near 1 does not look like far from it.
        axes.set_xlim(-1.08, 1.08)
        axes.set_ylim(len(taus_of) - 0.5, -0.5)
        axes.set_yticks(range(len(taus_of)), [_title(label) for label in taus_of])
        axes.set_xlabel(f"Kendall's tau with the Parzen estimate (n = {count} seeds)", loc="right")
        caption = (
            f"How far each measure orders the {len(series['rows'])} rows of Table 1 on "
            f"{series['dataset']} as the Parzen estimate does, {count} seeds: 1, the same order; "
            "-1, the reverse. Dotted: 0.5, three of four pairs alike."
        )
        return Drawing.of(figure, "agreement/taus", "Agreement with the Parzen estimate", caption)
