"""What figures of experiments share: how they are handed on, and how the seeds of a result are laid out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from replicate.figures.theme import MARKERS, SERIES

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drawing:
    """A figure: SVG, and the sentence below it, which says what it shows, of how many seeds, in which units."""

    svg: bytes
    caption: str


def numbers(values: Sequence[Any]) -> Array:
    """Values of a result, in rows or not; None, of a seed that failed, becomes not-a-number, which is not drawn."""
    return np.array(values, dtype=np.float64)


def offsets(count: int, reach: float) -> Array:
    """Where the marks of `count` seeds stand, (count,): evenly from -reach to reach, a lone one at 0."""
    return np.linspace(-reach, reach, count) if count > 1 else np.zeros(1)


def in_steps(count: int, step: float) -> Array:
    """The same with `step` between two neighbours, however many there are."""
    return np.asarray(step * (np.arange(count) - (count - 1) / 2))


def lines_and_mean(
    axes: Axes, x: Sequence[float], values: Sequence[Any], look: int, label: str, markevery: int | None = None
) -> None:
    """Every seed as a thin line, their geometric mean as a thick one: for what spans decades.

    Args:
        values: (len(x), seeds), above 0.
        look: place of the colour and of the mark.
        markevery: as matplotlib's: None marks every x.
    """
    rows = numbers(values)
    axes.plot(x, rows, color=SERIES[look], linewidth=0.5, alpha=0.5)
    axes.plot(
        x, np.exp(np.log(rows).mean(1)), color=SERIES[look], marker=MARKERS[look], markersize=3, markevery=markevery,
        label=label,
    )  # fmt: skip
