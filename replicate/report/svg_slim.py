"""Makes an SVG file of this project smaller for the page, without changing what it shows.

Marks of one series that overlap do not darken each other any more; nothing else looks different.
"""

import re
from collections.abc import Mapping
from itertools import groupby

from lxml import etree

from replicate.report.svg_axes import join_axes
from replicate.report.svg_marks import join_marks
from replicate.report.svg_paths import shorter_path
from replicate.report.svg_tags import DEFS, GROUP, PATH, ROOT, SPAN, SVG, TEXT, USE, WORDS

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
_TYPE = ("font-size", "text-anchor")
#: What an element has that neither it nor one around it gives another value: from SVG itself or,
#: for `fill` and `stroke-linejoin`, from the style sheet of the page.
_INITIAL = {
    "fill": "currentColor",
    "stroke-linejoin": "round",
    "stroke": "none",
    "stroke-width": "1",
    "stroke-linecap": "butt",
    "stroke-dasharray": "none",
    "stroke-dashoffset": "0",
    "fill-opacity": "1",
    "stroke-opacity": "1",
    "text-anchor": "start",
    "font-size": "",
}
#: Attributes of the whole picture that the page's style sheet gives every plot, or HTML needs not.
_OF_THE_PAGE = ("color", "font-family", "stroke-linejoin", "version")
#: A path that moves to a point, and draws nothing.
_POINT = re.compile(r"M -?[\d.]+ -?[\d.]+")
_XML_NAMESPACE = f' xmlns="{SVG.strip("{}")}"'


def slim(svg: str, id_prefix: str = "") -> str:
    """The same picture, in HTML with the page's style sheet, without layout, groups that say
    nothing, shapes without ink, and ink that is said twice.

    Args:
        svg: as `replicate.figures.theme.checked_svg` returns it.
        id_prefix: beginning of all its ids.
    """
    root = etree.fromstring(svg)
    for name in _OF_THE_PAGE:
        root.attrib.pop(name, None)
    for element in list(root.iter()):
        _drop_layout(element, root)
        _drop_zeros(element)
        _leave_to_style_sheet(element)
    # Before lines and marks are joined, which only works for neighbours.
    _drop_empty_elements(root)
    for text in list(root.iter(TEXT)):
        _join_words(text)
    join_axes(root)
    for path in root.iter(PATH):
        path.set("d", shorter_path(path.get("d")))
    join_marks(root)
    _drop_empty_elements(root)
    _drop_inherited(root, _INITIAL)
    for attributes in (_CLIP, _INK, _TYPE):
        for parent in list(root.iter(ROOT, GROUP)):
            _gather(parent, attributes)
    _shorten_ids(root, id_prefix)
    return str(etree.tostring(root, encoding="unicode")).replace(_XML_NAMESPACE, "", 1)


def _drop_layout(element: etree._Element, root: etree._Element) -> None:
    """Drops line breaks and indentation, where white space is not shown."""
    text = element.text or ""
    is_formula = element.tag == TEXT and len(element)
    if not text.strip() and (is_formula or element.tag not in WORDS):
        element.text = None
    # What follows an element belongs to its parent, which may be a text.
    is_in_words = any(parent.tag in WORDS for parent in element.iterancestors())
    # Each part of a formula has a place of its own, so that no space between them is shown.
    is_layout = not is_in_words or element.tag == SPAN
    if element is not root and is_layout and not (element.tail or "").strip():
        element.tail = None


def _drop_empty_elements(root: etree._Element) -> None:
    """Drops what shows nothing: groups without attributes, empty definitions, unseen paths."""
    elements = list(root.iter())
    # From the innermost out: a group may be empty only after what was in it has gone.
    for element in reversed(elements):
        parent = element.getparent()
        if parent is None:
            continue
        is_bare_group = element.tag == GROUP and not element.attrib
        is_empty = element.tag == DEFS and not len(element)
        if is_bare_group:
            index = parent.index(element)
            parent[index : index + 1] = list(element)
        elif is_empty or _is_unseen(element):
            parent.remove(element)


def _is_unseen(element: etree._Element) -> bool:
    """Whether a path has no ink, or no length; one with an id may get ink where it is used."""
    if element.tag != PATH:
        return False
    attributes = element.attrib
    if "id" not in attributes and _POINT.fullmatch(attributes["d"]):
        return True
    # A class or the place of use may give it a stroke.
    has_ink = any(key in attributes for key in ("stroke", "class", "id"))
    is_filled = attributes.get("fill") != "none"
    return not is_filled and not has_ink


def _shareable(element: etree._Element, keys: tuple[str, ...]) -> dict[str, str]:
    """The attributes that an element could take from a group around it."""
    attributes = element.attrib
    is_alone = element.tag in (PATH, USE, TEXT)
    is_clip_alone = set(attributes) == {"clip-path"}
    # An animation is each frame's own.
    is_frame = "frame" in element.get("class", "")
    if is_frame or not (is_alone or is_clip_alone):
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
    group = etree.Element(GROUP, attributes)
    parent.insert(parent.index(row[0]), group)
    for child in row:
        for key in attributes:
            del child.attrib[key]
        if child.tag == GROUP:
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
        is_of_theme = series.startswith(("series-", "published")) or name == "stroke-faint"
        if key in ("fill", "stroke") and is_of_theme:
            element.attrib.pop(key, None)


def _drop_zeros(element: etree._Element) -> None:
    """Numbers without zeros at their end, no turn by nothing."""
    attributes = element.attrib
    for key in ("d", "x", "y", "transform"):
        if key in attributes:
            value = re.sub(r"(\.\d*?)0+(?!\d)", _without_point, attributes[key])
            element.set(key, value)
    if element.get("transform", "").startswith("rotate(-0 "):
        del attributes["transform"]


def _without_point(decimals: re.Match[str]) -> str:
    return decimals[1].removesuffix(".")


def _join_words(text: etree._Element) -> None:
    """A formula without a group of its own, and its parts of one size and height as one."""
    group = text.getparent()
    is_moved = group is not None and len(group) == 1 and "transform" in group.attrib
    if is_moved and set(group.attrib) <= {"transform", "fill"} and "transform" not in text.attrib:
        text.set("transform", group.get("transform"))
        group.getparent().replace(group, text)
    last = None
    for span in list(text):
        if not _is_of_one_height(span):
            last = None
        elif last is not None and _type_of(span) == _type_of(last):
            last.text += span.text
            last.set("x", f"{last.get('x')} {span.get('x')}")
            text.remove(span)
        else:
            last = span


def _is_of_one_height(span: etree._Element) -> bool:
    """Whether a part of a formula has one y, and as many x as letters."""
    words = span.text or ""
    # SVG counts a letter beyond this as two.
    are_counted_once = all(ord(letter) < 2**16 for letter in words)
    places = span.get("x", "").split()
    return " " not in span.get("y", " ") and are_counted_once and len(places) == len(words)


def _type_of(span: etree._Element) -> dict[str, str]:
    """What neighbours must have in common to be one part of a formula: all but their x."""
    return {key: value for key, value in span.attrib.items() if key != "x"}


def _drop_inherited(element: etree._Element, inherited: Mapping[str, str | None]) -> None:
    """Drops the attributes of an element, and of those in it, that say what holds without them.

    Args:
        inherited: values of what is around it; None where the style sheet decides.
    """
    # What a mark's outline inherits depends on the place that it is used at.
    if element.tag == DEFS:
        return
    values = dict(inherited)
    for key in inherited:
        if key not in element.attrib:
            continue
        if element.get(key) == inherited[key]:
            del element.attrib[key]
        else:
            values[key] = element.get(key)
    for name in element.get("class", "").split():
        key, _, _ = name.partition("-")
        if key in values:
            values[key] = None
    for child in element:
        _drop_inherited(child, values)
