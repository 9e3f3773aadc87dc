"""Makes an SVG file of this project smaller for the page that it is set into, without changing what it shows."""

import re

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
    _shorten_ids(root)
    return str(etree.tostring(root, encoding="unicode"))


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


def shorter_path(data: str) -> str:
    """A path's data with each command written once for a row of equal ones; after M, a line's L goes without saying."""
    parts, before = [], ""
    for command, numbers in re.findall(r"([A-Za-z])([^A-Za-z]*)", data):
        implied = (command == before and command in "LCQ") or (command == "L" and before == "M")
        parts.append((" " if implied else command) + " ".join(numbers.split()))
        before = command
    return "".join(parts)
