"""Marks of a plot in fewer bytes: one path for neighbours of one shape and ink."""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import groupby

from lxml import etree

from replicate.report.svg_paths import joined
from replicate.report.svg_tags import GROUP, PATH, ROOT, USE

#: A mark's outline: the point that it starts at, and what follows.
_ONE = r"-?(?:\d+\.?\d*|\.\d+)"
_OUTLINE = re.compile(rf"m({_ONE})\s?({_ONE})(.*)")
_NUMBER = re.compile(_ONE)


def join_marks(root: etree._Element) -> None:
    """Makes one path of adjacent marks that have the same shape and ink."""
    outlines = {}
    for path in root.iter(PATH):
        if set(path.attrib) == {"id", "d"} and _OUTLINE.fullmatch(path.get("d")):
            outlines[path.get("id")] = path
    for parent in list(root.iter(ROOT, GROUP)):
        # Neighbours alone: to bring marks together over others would change what covers what.
        rows = [(ink, list(row)) for ink, row in groupby(parent, _ink_of_mark)]
        for ink, marks in rows:
            name = marks[0].get("href", "").removeprefix("#")
            if ink is None or name not in outlines:
                continue
            outline = outlines[name].get("d")
            if len(marks) > 1:
                _replace_marks(parent, marks, outline)
    drop_unused(root, outlines)


def drop_unused(root: etree._Element, outlines: Mapping[str, etree._Element]) -> None:
    """Drops the outlines, by their ids, that nothing is drawn with any more."""
    used = {element.get("href") for element in root.iter(USE)}
    for name, path in outlines.items():
        if f"#{name}" not in used:
            path.getparent().remove(path)


def _ink_of_mark(element: etree._Element) -> dict[str, str] | None:
    """All attributes of a mark but its place; None for what is no filled mark."""
    attributes = dict(element.attrib)
    if element.tag != USE or "stroke" in attributes:
        return None
    return {key: value for key, value in attributes.items() if key not in ("x", "y")}


def _replace_marks(parent: etree._Element, marks: list[etree._Element], outline: str) -> None:
    """Puts a path of all marks in their place."""
    match = _OUTLINE.fullmatch(outline)
    assert match is not None
    start = (Decimal(match[1]), Decimal(match[2]))
    shape = match[3]
    if shape[0] in "-. 0123456789":
        # Points that follow a move are lines; after the next move the letter is needed.
        shape = f"l{shape.strip()}"
    attributes = _ink_of_mark(marks[0]) or {}
    del attributes["href"]
    radius = _radius(outline)
    if radius is not None and _is_filled_alone(attributes):
        # A line without length draws nothing but its round ends, which together are the circle.
        start, shape = (Decimal(0), Decimal(0)), "h0"
        attributes = _as_dots(attributes, radius)
    data = ""
    last = (Decimal(0), Decimal(0))
    for mark in marks:
        place = (Decimal(mark.get("x", "0")) + start[0], Decimal(mark.get("y", "0")) + start[1])
        # Every shape ends where it starts, so that the next move begins there.
        step = [place[0] - last[0], place[1] - last[1]]
        data += joined("m" if data else "M", step) + shape
        last = place
    path = etree.Element(PATH, {"d": data} | attributes)
    parent.insert(parent.index(marks[0]), path)
    for mark in marks:
        parent.remove(mark)


def _is_filled_alone(attributes: Mapping[str, str]) -> bool:
    """Whether a mark is filled and has no edge."""
    classes = attributes.get("class", "")
    is_painted = "fill" in attributes or "fill-" in classes
    has_edge = "stroke-" in classes or "stroke-width" in attributes
    return is_painted and not has_edge


def _as_dots(attributes: Mapping[str, str], radius: float) -> dict[str, str]:
    """The ink of filled circles as that of lines without length, whose round ends are circles."""
    dots = {"fill": "none", "stroke-linecap": "round", "stroke-width": f"{2 * radius:.4g}"}
    for key, value in attributes.items():
        if key == "class":
            dots[key] = value.replace("fill-", "stroke-")
        else:
            dots[key.replace("fill", "stroke")] = value
    return dots


def _radius(outline: str) -> float | None:
    """The radius, if the outline is a circle about 0 that is made of cubic curves; else None."""
    if "c" not in outline or set(outline) & set("hvlaqs"):
        return None
    x, y, *steps = [float(number) for number in _NUMBER.findall(outline)]
    radius = math.hypot(x, y)
    # Every third point of a cubic curve lies on it.
    for k in range(4, len(steps), 6):
        x, y = x + steps[k], y + steps[k + 1]
        if not math.isclose(math.hypot(x, y), radius, rel_tol=0.03, abs_tol=0.03):
            return None
    return radius
