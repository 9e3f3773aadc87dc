"""What figures of experiments share: how a figure is handed on, and how seeds are laid out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from replicate.figures.theme import MARKERS, SERIES, svg

Array = NDArray[np.float64]
#: A result of the stage `experiment`, or an object in it, by the names that the experiment gives;
#: Any, because every experiment has its own.
Result = Mapping[str, Any]
#: A value for each seed, None where it failed, or rows of such values.
Values = Sequence[float | None] | Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Drawing:
    """A figure: SVG, and the sentence below it, which says what it shows, of how many seeds, in
    which units.
    """

    svg: bytes
    caption: str

    @classmethod
    def of(cls, figure: Figure, name: str, title: str, caption: str) -> "Drawing":
        """The drawing of a finished figure.

        Args:
            figure: all of it.
            name: experiment and figure, for ids: "theory/descent".
            title: what the plot shows, for the tooltip and screen readers.
            caption: the sentence below the figure, which screen readers get too.
        """
        content = svg(figure, name, title, caption)
        return cls(content, caption)


def numbers(values: Values) -> Array:
    """Values of a result as an array; None, of a seed that failed, becomes not-a-number, which is
    not drawn.
    """
    return np.array(values, dtype=np.float64)


def offsets(count: int, reach: float) -> Array:
    """Where the marks of `count` seeds stand, (count,): evenly from -reach to reach, a single one
    at 0.
    """
    # `linspace` of one number would put it at the left end.
    if count <= 1:
        return np.zeros(1)
    return np.linspace(-reach, reach, count)


def in_steps(count: int, step: float) -> Array:
    """The same with `step` between two neighbours, however many there are."""
    middle = (count - 1) / 2
    centred = np.arange(count) - middle
    return np.asarray(step * centred)


def lines_and_mean(
    axes: Axes,
    x: Sequence[float],
    values: Values,
    look: int,
    label: str,
    markevery: int | None = None,
) -> None:
    """Every seed as a thin line, their geometric mean as a thick one: for what spans decades.

    Args:
        axes: to draw into.
        x: of the rows.
        values: (len(x), seeds), above 0.
        look: index of the colour and of the mark.
        label: of the mean, in the legend.
        markevery: as matplotlib's: None marks every x.
    """
    rows = numbers(values)
    # Geometric, since an arithmetic mean over decades is that of the largest seed.
    means = np.exp(np.log(rows).mean(1))
    # Lines of seeds have no label: the legend has the mean alone.
    axes.plot(x, rows, color=SERIES[look], linewidth=0.5, alpha=0.5)
    axes.plot(
        x,
        means,
        color=SERIES[look],
        marker=MARKERS[look],
        markersize=3,
        markevery=markevery,
        label=label,
    )
