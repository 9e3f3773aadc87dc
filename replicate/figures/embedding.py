"""Makes an SVG file of this project smaller for the page that it is set into, without changing what it shows."""

import re
from decimal import Decimal
from itertools import groupby

from lxml import etree

_SVG = "{http://www.w3.org/2000/svg}"
#: Elements whose white space is shown or read out.
_WORDS = frozenset(f"{_SVG}{tag}" for tag in ("text", "tspan", "title", "desc"))


def slim(svg: str) -> str:
    """The same picture without layout, groups that say nothing, and shapes without ink.

    Args:
        svg: as `replicate.figures.theme.checked_svg` returns it.
    """
    root = etree.fromstring(svg)
    for element in list(root.iter()):
        if element.tag not in _WORDS and not (element.text or "").strip():
            element.text = None
        if element is not root and not any(parent.tag in _WORDS for parent in element.iterancestors()):
            element.tail = None
        _shorten(element)
        _leave_to_the_style_sheet(element)
    for element in reversed(list(root.iter())):
        parent = element.getparent()
        if parent is None:
            continue
        if element.tag == f"{_SVG}g" and not element.attrib:
            parent[parent.index(element) : parent.index(element) + 1] = list(element)
        elif (element.tag == f"{_SVG}defs" and not len(element)) or _unseen(element):
            parent.remove(element)
    for parent in list(root.iter(f"{_SVG}svg", f"{_SVG}g")):
        _gather(parent, ("clip-path",))
    for parent in list(root.iter(f"{_SVG}svg", f"{_SVG}g")):
        _gather(parent, ("class", "fill", "stroke", "stroke-width", "stroke-linecap", "stroke-opacity"))
    _shorten_ids(root)
    return str(etree.tostring(root, encoding="unicode"))


def _look(element: etree._Element, keys: tuple[str, ...]) -> dict[str, str]:
    """What an element could take from a group around it."""
    shape = element.tag in (f"{_SVG}path", f"{_SVG}use") or set(element.attrib) == {"clip-path"}
    playing = "frame" in element.get("class", "")  # an animation is each frame's own
    return {key: element.attrib[key] for key in keys if key in element.attrib} if shape and not playing else {}


def _gather(parent: etree._Element, keys: tuple[str, ...]) -> None:
    """Shapes in a row that look alike go into one group that says so once; a group that says no more is dropped."""
    for look, alike in [(look, list(row)) for look, row in groupby(parent, lambda child: _look(child, keys))]:
        if not look or len(alike) < 2:
            continue
        group = etree.Element(f"{_SVG}g", look)
        parent.insert(parent.index(alike[0]), group)
        for child in alike:
            for key in look:
                del child.attrib[key]
            group.extend(child if child.tag == f"{_SVG}g" else [child])
            if child.tag == f"{_SVG}g":
                parent.remove(child)


def _shorten_ids(root: etree._Element) -> None:
    """Ids that the figure alone refers to become its own name and a number; those of title and description stay."""
    spoken = root.get("aria-labelledby", "").split()
    own = [element.get("id") for element in root.iter() if "id" in element.attrib and element.get("id") not in spoken]
    short = {name: f"{name.partition('-')[0]}-{place}" for place, name in enumerate(own)}
    for element in root.iter():
        for key, value in element.attrib.items():
            name = value if key == "id" else value.removeprefix("url(").strip("#)")
            if key in ("id", "href", "clip-path") and name in short:
                element.set(key, value.replace(name, short[name]))


def _unseen(element: etree._Element) -> bool:
    """A path that is neither filled nor drawn; one with an id may get its ink where it is used."""
    given = element.attrib
    inked = "stroke" in given or "class" in given or "id" in given
    return element.tag == f"{_SVG}path" and given.get("fill") == "none" and not inked


def _leave_to_the_style_sheet(element: etree._Element) -> None:
    """Drops a colour for light paper where a class gives the element the one of the page's theme."""
    for one in element.get("class", "").split():
        key, _, name = one.partition("-")
        if key in ("fill", "stroke") and name.startswith(("series-", "published")):
            element.attrib.pop(key, None)


def _shorten(element: etree._Element) -> None:
    """Numbers without zeros at their end, paths without repeated commands, no turn by nothing."""
    for key in ("d", "x", "y", "transform"):
        if key in element.attrib:
            value = re.sub(r"(\.\d*?)0+(?!\d)", lambda found: found[1].removesuffix("."), element.attrib[key])
            element.set(key, shorter_path(value) if key == "d" else value)
    if element.get("transform", "").startswith("rotate(-0 "):
        del element.attrib["transform"]


#: Numbers of each command that the plots' paths are made of; all are absolute.
_NUMBERS = {"M": 2, "L": 2, "Q": 4, "C": 6}


def shorter_path(data: str) -> str:
    """The same path in fewer bytes: every point told from the last one, a command once for a row of equal ones.

    The sums are exact, so that no error gathers along the path.
    """
    parts: list[str] = []
    place = start = (Decimal(0), Decimal(0))
    before = ""
    for command, written in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        numbers = [Decimal(number) for number in written.split()]
        if command == "z":
            parts.append("z")
            place, before = start, "z"
            continue
        if len(numbers) != _NUMBERS.get(command):
            raise ValueError(f"a path has the command {command} with {len(numbers)} numbers")
        letter, told = _step(command.lower(), [number - place[k % 2] for k, number in enumerate(numbers)])
        place = (numbers[-2], numbers[-1])
        start = place if command == "M" else start
        implied = letter != "m" and (letter == before or (letter == "l" and before == "m"))
        parts.append(_joined("" if implied else letter, told))
        before = letter
    return "".join(parts)


def _step(command: str, steps: list[Decimal]) -> tuple[str, list[Decimal]]:
    """A line that goes straight across or straight up says so, and gives one number."""
    if command == "l" and not steps[1]:
        return "h", steps[:1]
    if command == "l" and not steps[0]:
        return "v", steps[1:]
    return command, steps


def _joined(letter: str, numbers: list[Decimal]) -> str:
    """Numbers without zeros that say nothing, and a space only where no sign parts them."""
    words = [_short(number) for number in numbers]
    text = letter
    for k, word in enumerate(words):
        apart = word.startswith("-") or (k == 0 and letter)
        text += word if apart else f" {word}"
    return text


def _short(number: Decimal) -> str:
    text = f"{number.normalize():f}"
    return text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
