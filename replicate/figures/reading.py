"""Where values lie in a plot, so that the page can say which one is under the pointer.

The page has a plot's points in its paths. Here is what turns a point's place into its value: the
box of each pair of axes, their limits, and what the legend calls a colour or a line style.
"""

import json
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

#: Points of an SVG file in an inch.
POINTS = 72
#: How far a tick may lie from the number that it is labelled with, relative to that number: labels
#: are rounded to two digits.
ROUNDING = 0.06
#: "(n = 10 seeds)" at the end of an axis label: nothing of a single value.
_COUNT = re.compile(r"(; | \()n = \d[^)]*\)")
#: A quotation mark costs six bytes in an attribute, and JSON has hundreds of them.
_SWAPPED_QUOTES = str.maketrans("\"'", "'\"")
#: One axis: its label, its limits, then 1 for a logarithmic scale and 0 for a linear one, or the
#: places and names of things.
AxisReading = list[object]


def readings(figure: Figure, classes: Mapping[str, str], ink: str) -> str | None:
    """What a reader needs to read values off a figure, as JSON with its two quotation marks
    swapped.

    Args:
        figure: after it was saved as SVG, which settles where its axes lie.
        classes: colour -> name of its class, for colours of series.
        ink: colour of what stands for no series.

    Returns:
        `axes`, a list of [left, top, right, bottom, x, y, names of line styles], in points from
        the upper left; and `names`, colour class and line style -> the legend's word for it. None
        if nothing in the figure has two axes of which one has numbers.
    """
    axes_read = []
    names: dict[str, str] = {}
    width, height = figure.get_size_inches() * POINTS
    for axes in figure.axes:
        styles = _legend_names(axes, classes, ink, names)
        # A picture has no line, or one scale for several panels, side by side on one pair of axes.
        if axes.get_aspect() != "auto" or not axes.lines:
            continue
        x = _axis_reading(_labelled(axes).xaxis)
        y = _axis_reading(axes.yaxis)
        if x is None or y is None or not (isinstance(x[-1], int) or isinstance(y[-1], int)):
            continue
        box = axes.get_position()
        left, right = box.x0 * width, box.x1 * width
        top, bottom = (1 - box.y1) * height, (1 - box.y0) * height
        # As many decimals as the paths of the picture have.
        corners = [round(float(place), 2) for place in (left, top, right, bottom)]
        axes_read.append([*corners, x, y, styles])
    if not axes_read:
        return None
    content = json.dumps(
        {"axes": axes_read, "names": names}, ensure_ascii=False, separators=(",", ":")
    )
    return content.translate(_SWAPPED_QUOTES)


def _labelled(axes: Axes) -> Axes:
    """Of the axes that share their x with these, the one that names it: the lowest."""
    siblings: list[Axes] = axes.get_shared_x_axes().get_siblings(axes)
    for sibling in siblings:
        if sibling.get_xlabel():
            return sibling
    return axes


def _axis_reading(axis: Axis) -> AxisReading | None:
    """One axis; None where its ticks name neither the values that they stand at nor things."""
    if axis.get_scale() not in ("linear", "log"):
        return None
    label = _COUNT.sub(_closing, " ".join(axis.get_label_text().split()))
    low, high = sorted(axis.get_view_interval())
    ticks = {
        float(place): " ".join(text.get_text().split())
        for place, text in zip(axis.get_majorticklocs(), axis.get_ticklabels(), strict=False)
        if text.get_text() and low <= place <= high
    }
    numbers = {place: _number(name) for place, name in ticks.items()}
    is_number = [_agree(place, number) for place, number in numbers.items()]
    if all(is_number):
        is_logarithmic = axis.get_scale() == "log"
        return [label, *_limits(axis), int(is_logarithmic)]
    has_things = not any(is_number) and len(set(ticks.values())) == len(ticks)
    if not has_things:
        return None
    # Things that have numbers for names need the axis to say what these count.
    if None in numbers.values():
        label = ""
    names = [[round(place, 3), name] for place, name in ticks.items()]
    return [label, *_limits(axis), names]


def _agree(place: float, number: float | None) -> bool:
    """Whether a tick stands where its label says, up to the label's rounding."""
    # A tick at 0 has no size that rounding could be a share of; a least one stands in.
    return number is not None and abs(number - place) <= ROUNDING * max(abs(place), 1e-9)


def _limits(axis: Axis) -> list[float]:
    """The values at the left or lower end and at the other one, in this order."""
    first, last = axis.get_view_interval()
    return [float(f"{first:.7g}"), float(f"{last:.7g}")]


def _closing(count: re.Match[str]) -> str:
    """What stays of a count in parentheses: the parenthesis, if something else is in it."""
    return ")" if count[1] == "; " else ""


def _number(name: str) -> float | None:
    """The number that a tick label names, such as 0.5, 2e-3, or a power of ten in mathtext."""
    plain = name.replace("\N{MINUS SIGN}", "-").replace(",", "")
    power = re.fullmatch(r"\$\\mathdefault\{(\d*)\D*10\^\{(-?\d+)\}\}\$", plain)
    if power is not None:
        factor = float(power[1] or 1)
        return factor * 10.0 ** int(power[2])
    try:
        return float(plain)
    except ValueError:
        return None


def _legend_names(
    axes: Axes, classes: Mapping[str, str], ink: str, names: dict[str, str]
) -> dict[str, str]:
    """Adds what a legend says of colours to `names`; returns what it says of line styles alone."""
    styles: dict[str, str] = {}
    handles, labels = axes.get_legend_handles_labels()
    for handle, label in zip(handles, labels, strict=True):
        line = _line_of(handle)
        if line is None:
            continue
        style = str(line.get_linestyle())
        colour = to_hex(line.get_color())
        stands_for_style = colour == ink and not np.size(line.get_xdata()) and style != "None"
        if stands_for_style:
            styles[style] = label
            continue
        name = classes.get(colour, "ink")
        drawn_style = "" if style in ("-", "None") else style
        names.setdefault(name + drawn_style, label)
    return styles


def _line_of(handle: object) -> Line2D | None:
    """The line of an entry of a legend; an entry with error bars has it in front."""
    if isinstance(handle, Sequence) and len(handle):
        handle = handle[0]
    if isinstance(handle, Line2D):
        return handle
    return None
