"""Axes of a plot in fewer bytes.

Matplotlib writes grid line, tick and number of one place, then those of the next. Here all grid
lines come first, then all ticks, then all numbers, so that lines of one ink become one path. It
covers nothing else than before: ticks and numbers stand outside of the grid.
"""

import re
from itertools import groupby

from lxml import etree

from replicate.report.svg_marks import drop_unused
from replicate.report.svg_tags import DEFS, GROUP, PATH, ROOT, TEXT, USE

#: A straight line, as matplotlib writes it.
_LINE = re.compile(r"M (-?[\d.]+) (-?[\d.]+) L (-?[\d.]+) (-?[\d.]+)")
#: The outline of a tick, from its place on the axis.
_TICK = re.compile(r"M 0 0 L (-?[\d.]+) (-?[\d.]+)")


def join_axes(root: etree._Element) -> None:
    """Brings grid lines and ticks together, each in one path of their ink.

    Args:
        root: of a picture whose paths are as matplotlib writes them, and whose groups all say
            something.
    """
    ticks = {}
    for path in root.iter(PATH):
        if "id" in path.attrib and _TICK.fullmatch(path.get("d")):
            ticks[path.get("id")] = path
    for use in list(root.iter(USE)):
        outline = ticks.get(use.get("href").removeprefix("#"))
        if outline is not None and _is_tick(use):
            use.getparent().replace(use, _drawn(use, outline))
    drop_unused(root, ticks)
    # The page's script reads the values of every other line in the axes, one line after the other.
    is_read = "data-axes" in root.attrib
    for parent in list(root.iter(ROOT, GROUP)):
        _sort(parent)
        _join_lines(parent, is_read)


def _is_tick(use: etree._Element) -> bool:
    """Whether a mark lies outside of the axes, where no data are."""
    return "clip-path" not in use.attrib and "class" not in use.attrib


def _drawn(use: etree._Element, outline: etree._Element) -> etree._Element:
    """A tick as a line at its place."""
    match = _TICK.fullmatch(outline.get("d"))
    assert match is not None
    x, y = float(use.get("x")), float(use.get("y"))
    end = f"{x + float(match[1]):.2f} {y + float(match[2]):.2f}"
    line = etree.Element(PATH, {"d": f"M {use.get('x')} {use.get('y')} L {end}"})
    for element in (use, outline):
        for key, value in element.attrib.items():
            # A line has nothing to fill.
            if key not in ("d", "id", "x", "y", "href", "fill"):
                line.set(key, value)
    return line


def _kind(element: etree._Element) -> int | None:
    """Place of an element among those of an axis; None for what belongs to none."""
    if element.tag == DEFS:
        return 0
    if element.tag == PATH:
        line = _LINE.fullmatch(element.get("d"))
        is_grid = element.get("class") == "stroke-faint" and "clip-path" in element.attrib
        is_tick = not set(element.attrib) - {"d", "stroke", "stroke-width"}
        if line is None or not (is_grid or is_tick):
            return None
        is_upright = line[1] == line[3]
        if is_grid:
            return 1 if is_upright else 2
        return 3 if is_upright else 4
    return 5 if element.tag == TEXT else None


def _sort(parent: etree._Element) -> None:
    """Sorts the children of each unbroken row of parts of axes by their kinds."""
    children = []
    for is_of_axes, row in groupby(parent, lambda child: _kind(child) is not None):
        neighbours = list(row)
        if is_of_axes:
            neighbours.sort(key=_place)
        children += neighbours
    parent[:] = children


def _place(element: etree._Element) -> tuple[int, str]:
    # Ticks of one length together.
    return _kind(element) or 0, element.get("stroke-width", "")


def _join_lines(parent: etree._Element, is_read: bool) -> None:
    """Makes one path of neighbours that are alike but for their place.

    Args:
        parent: of the lines.
        is_read: whether the values of lines are read, one line after the other.
    """
    rows = [(ink, list(row)) for ink, row in groupby(parent, lambda each: _ink(each, is_read))]
    for ink, row in rows:
        if ink is None:
            continue
        first, *others = row
        places = [path.get("d") for path in row]
        first.set("d", " ".join(places))
        for path in others:
            parent.remove(path)


def _ink(element: etree._Element, is_read: bool) -> tuple[object, ...] | None:
    """What lines must have in common to be one path; None for what stays alone."""
    if element.tag != PATH or "id" in element.attrib:
        return None
    attributes = {key: value for key, value in element.attrib.items() if key != "d"}
    line = _LINE.fullmatch(element.get("d"))
    # Lines outside of the axes and faint ones have no values.
    has_values = "clip-path" in attributes and attributes.get("class") != "stroke-faint"
    is_filled = attributes.get("fill") != "none" and line is None
    is_frame = "frame" in attributes.get("class", "")
    if (is_read and has_values) or is_filled or is_frame:
        return None
    # Where lines that shine through cross, one path would be lighter than two.
    direction = None
    if "stroke-opacity" in attributes or "opacity" in attributes:
        if line is None:
            return None
        direction = (line[1] == line[3], line[2] == line[4])
        if not any(direction):
            return None
    return tuple(sorted(attributes.items())), direction
