"""Makes an SVG file of this project smaller for the page, without changing what it shows.

Marks of one series that overlap do not darken each other any more; nothing else looks different.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from itertools import groupby

from lxml import etree

_SVG = "{http://www.w3.org/2000/svg}"
_GROUP, _PATH, _USE, _DEFS = (f"{_SVG}{tag}" for tag in ("g", "path", "use", "defs"))
#: Elements whose white space is shown or read out.
_WORDS = frozenset(f"{_SVG}{tag}" for tag in ("text", "tspan", "title", "desc"))
#: Attributes that a group can say once for the shapes in it, in the order of the passes.
_CLIP = ("clip-path",)
_INK = (
    "class",
    "fill",
    "fill-opacity",
    "stroke",
    "stroke-width",
    "stroke-linecap",
    "stroke-opacity",
)
#: A mark's outline: the point that it starts at, and what follows.
_OUTLINE = re.compile(r"m(-?[\d.]+)\s?(-?[\d.]+)(.*)")
_NUMBER = re.compile(r"-?(?:\d+\.?\d*|\.\d+)")
#: Numbers of each command that the plots' paths are made of; all are absolute.
_NUMBERS = {"M": 2, "L": 2, "Q": 4, "C": 6}
Point = tuple[Decimal, Decimal]


def slim(svg: str, id_prefix: str = "") -> str:
    """The same picture without layout, groups that say nothing, and shapes without ink.

    Args:
        svg: as `replicate.figures.theme.checked_svg` returns it.
        id_prefix: beginning of all its ids.
    """
    root = etree.fromstring(svg)
    for element in list(root.iter()):
        _drop_layout(element, root)
        _shorten_numbers(element)
        _leave_to_style_sheet(element)
    # Before marks are joined, which only works for neighbours.
    _drop_empty_elements(root)
    _join_marks(root)
    for attributes in (_CLIP, _INK):
        for parent in list(root.iter(f"{_SVG}svg", _GROUP)):
            _gather(parent, attributes)
    _shorten_ids(root, id_prefix)
    return str(etree.tostring(root, encoding="unicode"))


def _drop_layout(element: etree._Element, root: etree._Element) -> None:
    """Drops line breaks and indentation, where white space is not shown."""
    text = element.text or ""
    if element.tag not in _WORDS and not text.strip():
        element.text = None
    # What follows an element belongs to its parent, which may be a text.
    is_in_words = any(parent.tag in _WORDS for parent in element.iterancestors())
    if element is not root and not is_in_words:
        element.tail = None


def _drop_empty_elements(root: etree._Element) -> None:
    """Drops what shows nothing: groups without attributes, empty definitions, unseen paths."""
    elements = list(root.iter())
    # From the innermost out: a group may be empty only after what was in it has gone.
    for element in reversed(elements):
        parent = element.getparent()
        if parent is None:
            continue
        is_bare_group = element.tag == _GROUP and not element.attrib
        is_empty = element.tag == _DEFS and not len(element)
        if is_bare_group:
            index = parent.index(element)
            parent[index : index + 1] = list(element)
        elif is_empty or _is_unseen(element):
            parent.remove(element)


def _is_unseen(element: etree._Element) -> bool:
    """Whether a path has no ink; one with an id may get it where it is used."""
    if element.tag != _PATH:
        return False
    attributes = element.attrib
    has_ink = "stroke" in attributes or "class" in attributes or "id" in attributes
    return attributes.get("fill") == "none" and not has_ink


def _join_marks(root: etree._Element) -> None:
    """Makes one path of adjacent marks that have the same shape and ink."""
    outlines = {}
    for path in root.iter(_PATH):
        if set(path.attrib) == {"id", "d"} and _OUTLINE.fullmatch(path.get("d")):
            outlines[path.get("id")] = path
    for parent in list(root.iter(f"{_SVG}svg", _GROUP)):
        # Neighbours alone: to bring marks together over others would change what covers what.
        rows = [(ink, list(row)) for ink, row in groupby(parent, _ink_of_mark)]
        for ink, marks in rows:
            shape = marks[0].get("href", "").removeprefix("#")
            if ink is not None and len(marks) > 1 and shape in outlines:
                _replace_marks(parent, marks, outlines[shape].get("d"))
    used = {element.get("href") for element in root.iter(_USE)}
    for name, path in outlines.items():
        if f"#{name}" not in used:
            path.getparent().remove(path)


def _ink_of_mark(element: etree._Element) -> dict[str, str] | None:
    """All attributes of a mark but its place; None for what is no filled mark."""
    attributes = dict(element.attrib)
    if element.tag != _USE or "stroke" in attributes:
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
    is_painted = "fill" in attributes or "fill-" in attributes.get("class", "")
    if radius is not None and is_painted:
        # A line without length draws nothing but its round ends, which together are the circle.
        start, shape = (Decimal(0), Decimal(0)), "h0"
        attributes = _as_dots(attributes, radius)
    data = ""
    last = (Decimal(0), Decimal(0))
    for mark in marks:
        place = (Decimal(mark.get("x", "0")) + start[0], Decimal(mark.get("y", "0")) + start[1])
        # Every shape ends where it starts, so that the next move begins there.
        step = [place[0] - last[0], place[1] - last[1]]
        data += _joined("m" if data else "M", step) + shape
        last = place
    path = etree.Element(_PATH, {"d": data} | attributes)
    parent.insert(parent.index(marks[0]), path)
    for mark in marks:
        parent.remove(mark)


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


def _shareable(element: etree._Element, keys: tuple[str, ...]) -> dict[str, str]:
    """The attributes that an element could take from a group around it."""
    attributes = element.attrib
    is_shape = element.tag in (_PATH, _USE)
    is_clip_alone = set(attributes) == {"clip-path"}
    # An animation is each frame's own.
    is_frame = "frame" in element.get("class", "")
    if is_frame or not (is_shape or is_clip_alone):
        return {}
    return {key: attributes[key] for key in keys if key in attributes}


def _gather(parent: etree._Element, keys: tuple[str, ...]) -> None:
    """Puts adjacent shapes with the same attributes into one group that has them once."""
    adjacent = groupby(parent, lambda child: _shareable(child, keys))
    # Groups are made after all are known: a new one would be a child to go through, too.
    rows = [(attributes, list(row)) for attributes, row in adjacent]
    for attributes, row in rows:
        if attributes and len(row) > 1:
            _group(parent, attributes, row)


def _group(
    parent: etree._Element, attributes: Mapping[str, str], row: list[etree._Element]
) -> None:
    """Moves adjacent children into a new group; a group among them dissolves in it."""
    group = etree.Element(_GROUP, attributes)
    parent.insert(parent.index(row[0]), group)
    for child in row:
        for key in attributes:
            del child.attrib[key]
        if child.tag == _GROUP:
            group.extend(child)
            parent.remove(child)
        else:
            group.append(child)


def _shorten_ids(root: etree._Element, id_prefix: str) -> None:
    """Ids become the figure's own name and a number; those of title and description stay whole."""
    spoken = root.get("aria-labelledby", "").split()
    ids = [element.get("id") for element in root.iter() if "id" in element.attrib]
    inner_ids = [name for name in ids if name not in spoken]
    short = {name: id_prefix + name for name in spoken}
    for k, name in enumerate(inner_ids):
        figure, _, _ = name.partition("-")
        short[name] = f"{id_prefix}{figure}-{k}"
    if spoken:
        root.set("aria-labelledby", " ".join(short[name] for name in spoken))
    for element in root.iter():
        for key, value in element.attrib.items():
            if key not in ("id", "href", "clip-path"):
                continue
            name = value
            # References are written #NAME or url(#NAME).
            if key != "id":
                name = value.removeprefix("url(").strip("#)")
            if name in short:
                element.set(key, value.replace(name, short[name]))


def _leave_to_style_sheet(element: etree._Element) -> None:
    """Drops a colour for light paper where a class gives the element that of the page's theme."""
    classes = element.get("class", "").split()
    for name in classes:
        key, _, series = name.partition("-")
        is_of_theme = series.startswith(("series-", "published"))
        if key in ("fill", "stroke") and is_of_theme:
            element.attrib.pop(key, None)


def _shorten_numbers(element: etree._Element) -> None:
    """Numbers without zeros at their end, paths without repeated commands, no turn by nothing."""
    attributes = element.attrib
    for key in ("d", "x", "y", "transform"):
        if key not in attributes:
            continue
        value = re.sub(r"(\.\d*?)0+(?!\d)", _without_point, attributes[key])
        if key == "d":
            value = shorter_path(value)
        element.set(key, value)
    if element.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]


def _without_point(decimals: re.Match[str]) -> str:
    return decimals[1].removesuffix(".")


def shorter_path(data: str) -> str:
    """The same path in fewer bytes.

    Every point is relative to the last one, and a command stands once for a row of equal ones. The
    sums are exact, so that no error gathers along the path.

    Raises:
        ValueError: a command has another number of coordinates than this project's plots write.
    """
    text = ""
    start = point = (Decimal(0), Decimal(0))
    last_letter = ""
    for command, coordinates in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        numbers = [Decimal(number) for number in coordinates.split()]
        if command == "z":
            text += "z"
            # After closing, the pen is where the path began.
            point, last_letter = start, "z"
            continue
        if len(numbers) != _NUMBERS.get(command):
            raise ValueError(f"a path has the command {command} with {len(numbers)} numbers")
        letter, steps = _step(command.lower(), _relative(numbers, point))
        point = (numbers[-2], numbers[-1])
        if command == "M":
            start = point
        text += _joined("" if _is_implied(letter, last_letter) else letter, steps)
        last_letter = letter
    return text


def _relative(numbers: list[Decimal], point: Point) -> list[Decimal]:
    """Coordinates, x and y in turn, less those of a point."""
    steps = []
    for k, number in enumerate(numbers):
        origin = point[k % 2]
        steps.append(number - origin)
    return steps


def _is_implied(letter: str, last_letter: str) -> bool:
    """Whether a command follows from the last one: a line does from a line and from a move."""
    if letter == "m":
        return False
    return letter == last_letter or (letter == "l" and last_letter == "m")


def _step(command: str, steps: list[Decimal]) -> tuple[str, list[Decimal]]:
    """A line that goes straight across or straight up has a command of its own, of one number."""
    if command != "l":
        return command, steps
    across, up = steps
    if not up:
        return "h", [across]
    if not across:
        return "v", [up]
    return command, steps


def _joined(letter: str, numbers: list[Decimal]) -> str:
    """Numbers without zeros that say nothing, and a space only where no sign parts them."""
    text = letter
    for k, number in enumerate(numbers):
        word = _short(number)
        is_apart = word.startswith("-") or (k == 0 and letter)
        text += word if is_apart else f" {word}"
    return text


def _short(number: Decimal) -> str:
    """A number without the zeros at its end, and without the one before its point."""
    text = f"{number.normalize():f}"
    if text.startswith(("0.", "-0.")):
        return text.replace("0.", ".", 1)
    return text
