"""Small grey images in a plot as vector shapes, in ink on light and on dark paper.

Pixels of one shade are one path: every run of them a line as thick as a pixel. A pixel is a whole
number of points wide, which keeps the numbers of the path short.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from numpy.typing import NDArray

from replicate.figures.theme import INK, SERIES

#: Shades from paper to ink; the second number is for mosaics of more than MANY pixels, whose files
#: would be large.
SHADES, MANY = (8, 4), 10_000
#: The widest that a pixel is, in points.
WIDEST = 4
_LINE = (Path.MOVETO, Path.LINETO)
_FRAME = (Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY)


def quantised(images: NDArray[np.floating]) -> tuple[NDArray[np.int64], int]:
    """The shade of every pixel, 0 (paper) to the number of shades less 1 (ink), and that number."""
    shades, fewer_shades = SHADES
    if images.size > MANY:
        shades = fewer_shades
    darkest = shades - 1
    levels = np.rint(images * darkest)
    return levels.astype(np.int64), shades


def gap_of(height: int) -> int:
    """Empty pixels between images of that height."""
    return max(1, height // 14)


def _page(images: NDArray[np.int64]) -> NDArray[np.int64]:
    """Images (rows, columns, height, width) side by side, with gaps between them: (any, any)."""
    rows, columns, height, width = images.shape
    gap = gap_of(height)
    cell_height = height + gap
    cell_width = width + gap
    # Zeros are paper, so that gaps are drawn by not drawing them.
    page = np.zeros((rows, cell_height, columns, cell_width), dtype=np.int64)
    # In the order of the page's pixels: a row of pixels goes through all images of a row.
    page[:, :height, :, :width] = images.transpose(0, 2, 1, 3)
    lines = page.reshape(rows * cell_height, -1)
    # The last images have no gap behind them.
    return lines[:-gap, :-gap]


def runs(page: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Every shade but 0, and the runs of pixels side by side that have it, (n, 3): left, right,
    row.
    """
    # A column of paper ends every row, so that no run goes on into the next one.
    padded = np.pad(page, ((0, 0), (0, 1)))
    flat = padded.ravel()
    # No shade is -1: the first pixel always begins a run.
    changes = np.diff(flat, prepend=-1)
    starts = np.flatnonzero(changes)
    ends = np.append(starts[1:], flat.size)
    _, padded_width = padded.shape
    rows, lefts = np.divmod(starts, padded_width)
    rights = lefts + ends - starts
    all_runs = np.stack([lefts, rights, rows], 1)
    shades = flat[starts]
    # Paper is not drawn, which is most of a digit.
    inked = flat[flat > 0]
    for shade in np.unique(inked):
        yield int(shade), all_runs[shades == shade]


def _fit(axes: Axes, width: int, height: int) -> int:
    """Ends the layout with a plot of width x height pixels, resizes the figure, and returns the
    points of a pixel.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    figure.draw_without_rendering()
    # Ticks and labels have their places; from here on the plot alone may grow.
    figure.set_layout_engine("none")
    inches = np.array(figure.get_size_inches())
    figure_width, figure_height = inches[0] * 72, inches[1] * 72
    (left, low), (right, high) = axes.get_position().get_points() * inches * 72
    # A whole number of points, which keeps the numbers of the paths short.
    size = int(min(max(1, round((right - left) / width)), WIDEST))
    left, low = math.ceil(left), math.ceil(low)
    above = math.ceil(figure_height - high)
    new_width = max(figure_width, left + size * width + figure_width - right)
    new_height = low + size * height + above
    figure.set_size_inches(new_width / 72, new_height / 72)
    axes.set_position(
        (
            left / new_width,
            low / new_height,
            size * width / new_width,
            size * height / new_height,
        )
    )
    return size


def _stroke(
    axes: Axes,
    corners: NDArray[np.floating],
    codes: Sequence[np.uint8],
    colour: str | tuple[str, float],
    width: float,
) -> None:
    """One path of many lines or frames.

    Args:
        axes: to draw into.
        corners: (n, points of each, 2), in pixels.
        codes: matplotlib's, one a point.
        colour: as matplotlib's, with or without opacity.
        width: in points.
    """
    points = corners.reshape(-1, 2)
    codes_of_points = np.tile(codes, len(corners))
    path = Path(points, codes_of_points)
    # "butt": a line with round or square ends would reach into the next pixel.
    patch = PathPatch(
        path, fill=False, edgecolor=colour, linewidth=width, capstyle="butt", clip_on=False
    )
    axes.add_patch(patch)


def mosaic(
    axes: Axes,
    images: NDArray[np.floating],
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    marked: Collection[int] = (),
) -> None:
    """Draws images in rows and columns; the last thing done to the axes, which are the only ones of
    their figure.

    Args:
        axes: to draw into.
        images: (rows, columns, height, width) in [0, 1]: 0 is paper, 1 is ink.
        row_names: beside the rows.
        column_names: below the columns.
        marked: columns whose images get a frame, drawn in the gap.
    """
    levels, shades = quantised(images)
    rows, columns, height, width = images.shape
    gap = gap_of(height)
    cell_height = height + gap
    cell_width = width + gap
    page = _page(levels)
    page_height, page_width = page.shape
    tops = np.arange(rows) * cell_height
    lefts = np.arange(columns) * cell_width
    axes.set_frame_on(False)
    axes.grid(False)
    axes.set_xticks(lefts + width / 2 if column_names else [], column_names or None)
    axes.set_yticks(tops + height / 2 if row_names else [], row_names or None)
    axes.tick_params(length=0)
    axes.set_xlim(0, page_width)
    axes.set_ylim(page_height, 0)
    size = _fit(axes, page_width, page_height)
    for shade, shade_runs in runs(page):
        # From (left, row) to (right, row), through the middle of the pixels.
        corners_of_runs = shade_runs[:, [0, 2, 1, 2]].reshape(-1, 2, 2)
        ends = corners_of_runs + [0, 0.5]
        # Ink with an opacity and no grey: it follows the page's theme.
        opacity = round(shade / (shades - 1), 2)
        _stroke(axes, ends, _LINE, (INK, opacity), size)
    if marked:
        marked_lefts = lefts[sorted(marked)]
        corners = np.array(list(itertools.product(marked_lefts, tops)))
        outline = np.array(
            [(0, 0), (cell_width, 0), (cell_width, cell_height), (0, cell_height), (0, 0)]
        )
        # Around the image, in the middle of the gap.
        frame = outline - gap / 2
        _stroke(axes, corners[:, None] + frame, _FRAME, SERIES[1], 0.8)
