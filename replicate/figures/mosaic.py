"""Small grey images in a plot as vector shapes: an SVG without images, in ink on light and on dark paper.

Pixels of one shade are one path: every run of them a line as thick as a pixel. A pixel is a whole number of points
wide, which keeps the numbers of the path short.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from replicate.figures.theme import INK, SERIES

#: Shades from paper to ink; the second number is for mosaics of more than MANY pixels, whose files would be large.
SHADES, MANY = (8, 4), 10_000
#: The widest that a pixel is, in points.
WIDEST = 4
_LINE = (Path.MOVETO, Path.LINETO)
_FRAME = (Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY)


def quantised(images: NDArray[np.floating]) -> tuple[NDArray[np.int64], int]:
    """The shade of every pixel, 0 (paper) to the number of shades less one (ink), and that number."""
    shades = SHADES[images.size > MANY]
    return np.rint(images * (shades - 1)).astype(np.int64), shades


def gap_of(height: int) -> int:
    """Empty pixels between images of that height."""
    return max(1, height // 14)


def _page(images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Images (rows, columns, height, width) side by side, with gaps between them: (any, any)."""
    rows, columns, height, width = images.shape
    gap = gap_of(height)
    page = np.zeros((rows, height + gap, columns, width + gap), dtype=np.int64)
    page[:, :height, :, :width] = images.transpose(0, 2, 1, 3)
    return page.reshape(rows * (height + gap), -1)[:-gap, :-gap]


def runs(page: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Shade, and the runs of pixels side by side that have it, (n, 3): left, right, row; none of shade 0."""
    width = page.shape[1] + 1  # a column of paper ends every row
    flat = np.pad(page, ((0, 0), (0, 1))).ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    ends = np.append(starts[1:], flat.size)
    rows, lefts = np.divmod(starts, width)
    found = np.stack([lefts, lefts + ends - starts, rows], 1)
    for shade in np.unique(flat[flat > 0]):
        yield int(shade), found[flat[starts] == shade]


def _fit(axes: Axes, width: int, height: int) -> int:
    """Ends the layout with a plot of width x height pixels, resizes the figure, and returns the points of a pixel."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    inches = np.array(figure.get_size_inches())
    (left, low), (right, high) = axes.get_position().get_points() * inches * 72
    size = int(min(max(1, round((right - left) / width)), WIDEST))
    left, low, over = math.ceil(left), math.ceil(low), math.ceil(inches[1] * 72 - high)
    whole = max(inches[0] * 72, left + size * width + inches[0] * 72 - right), low + size * height + over
    figure.set_size_inches(whole[0] / 72, whole[1] / 72)
    axes.set_position((left / whole[0], low / whole[1], size * width / whole[0], size * height / whole[1]))
    return size


def _stroke(axes: Axes, corners: NDArray[np.floating], codes: Sequence[Any], colour: Any, width: float) -> None:
    """One path of many lines or frames.

    Args:
        corners: (n, points of each, 2), in pixels.
        codes: matplotlib's, one a point.
        width: in points.
    """
    path = Path(corners.reshape(-1, 2), np.tile(codes, len(corners)))
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linewidth=width, capstyle="butt", clip_on=False))


def mosaic(
    axes: Axes,
    images: NDArray[np.floating],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    marked: Collection[int] = (),
) -> None:
    """Draws images in rows and columns; the last thing done to the axes, which are the only ones of their figure.

    Args:
        images: (rows, columns, height, width) in [0, 1]: 0 is paper, 1 is ink.
        row_names: beside the rows.
        column_names: below the columns.
        marked: columns whose images get a frame, drawn in the gap.
    """
    levels, shades = quantised(images)
    rows, columns, height, width = images.shape
    gap = gap_of(height)
    page = _page(levels)
    tops, lefts = (np.arange(count) * (side + gap) for count, side in ((rows, height), (columns, width)))
    axes.set_frame_on(False)
    axes.grid(False)
    axes.set_xticks(lefts + width / 2 if column_names else [], column_names or None)
    axes.set_yticks(tops + height / 2 if row_names else [], row_names or None)
    axes.tick_params(length=0)
    axes.set_xlim(0, page.shape[1])
    axes.set_ylim(page.shape[0], 0)
    size = _fit(axes, page.shape[1], page.shape[0])
    for shade, found in runs(page):
        ends = found[:, [0, 2, 1, 2]].reshape(-1, 2, 2) + [0, 0.5]
        _stroke(axes, ends, _LINE, (INK, round(shade / (shades - 1), 2)), size)
    if marked:
        first = np.array([(left, top) for left in lefts[sorted(marked)] for top in tops])
        wide, high = width + gap, height + gap
        around = np.array([(0, 0), (wide, 0), (wide, high), (0, high), (0, 0)]) - gap / 2
        _stroke(axes, first[:, None] + around, _FRAME, SERIES[1], 0.8)
