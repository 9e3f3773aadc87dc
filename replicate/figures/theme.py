"""One look for every plot: SVG with deterministic bytes that works on light and on dark paper.

Matplotlib writes colours and fonts as inline `style` attributes and repeats ids from figure to
figure. A page under a content-security policy can use neither, so `svg` rewrites them: styles
become presentation attributes, ink becomes `currentColor`, every other colour also gets a class
that a style sheet may override, and ids carry the figure's name.
"""

import contextlib
import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict

import matplotlib
from lxml import etree
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from replicate.figures.reading import readings

#: Text and axes; becomes `currentColor`.
INK = "#1b1f24"
#: Grid lines and secondary marks.
FAINT = "#8a9099"
#: What was published: never a colour of a seed.
PUBLISHED = "#6b6f76"
#: Colours of seeds: seaborn's colour-blind palette, its light members darkened to 3:1 on white.
SERIES = (
    "#0173b2",
    "#b35900",
    "#02805e",
    "#b0568f",
    "#7a5c00",
    "#1f8fb5",
    "#9c3d00",
    "#5f5a9e",
    "#767676",
    "#a8323e",
)
#: Marks of seeds, so that no seed is told by colour alone.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
#: Beginning of an artist's gid, with the frame's number and a part: the page shows the frames one
#: after the other, down to frame 0, which is the one that stays where nothing may move.
FRAME = "frame-"
#: Seaborn's style "ticks" in its context "paper", where they differ from matplotlib's defaults and
#: `OWN` does not say otherwise. Written out, because seaborn takes a second to load.
SEABORN: Mapping[str, object] = {
    "axes.axisbelow": True,
    "axes.labelsize": 12 * 0.8,
    "axes.linewidth": 1.0,
    "axes.titlesize": 12 * 0.8,
    "font.size": 12 * 0.8,
    "legend.fontsize": 11 * 0.8,
    "legend.title_fontsize": 12 * 0.8,
    "lines.markersize": 6 * 0.8,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "patch.linewidth": 0.8,
    **{f"{axis}tick.labelsize": 11 * 0.8 for axis in "xy"},
    **{f"{axis}tick.major.size": 6 * 0.8 for axis in "xy"},
    **{f"{axis}tick.major.width": 1.0 for axis in "xy"},
    **{f"{axis}tick.minor.size": 3.2 for axis in "xy"},
    **{f"{axis}tick.minor.width": 0.8 for axis in "xy"},
}
#: What this project sets itself.
OWN: Mapping[str, object] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: text is measured alike on every machine
    # Text stays text: it can be read aloud, searched and copied, and takes the page's font.
    "svg.fonttype": "none",
    # Else matplotlib salts ids at random, and the same figure has other bytes each time.
    "svg.hashsalt": "replicate",
    # Simplified paths would depend on the size of the figure, and drop points that were measured.
    "path.simplify": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.linewidth": 0.5,
    "grid.alpha": 0.35,
    "grid.color": FAINT,
    "lines.linewidth": 1.4,
    "lines.markeredgewidth": 0,
    "legend.frameon": False,
    **{f"{name}.color": INK for name in ("text", "xtick", "ytick")},
    **{f"axes.{name}color": INK for name in ("label", "edge")},
}
_CLASSES = {FAINT: "faint", PUBLISHED: "published"} | {
    colour: f"series-{k}" for k, colour in enumerate(SERIES)
}
_SVG = "http://www.w3.org/2000/svg"
_TAGS = ("svg", "title", "desc", "defs", "clipPath", "g", "path", "rect", "use", "text", "tspan")
_ALLOWED = frozenset(f"{{{_SVG}}}{tag}" for tag in _TAGS)
#: The attributes that `svg` and matplotlib write, by their exact names: no event handler, no style.
_ATTRIBUTES = frozenset(
    {
        "aria-labelledby",
        "class",
        "clip-path",
        "clip-rule",
        "color",
        "d",
        "data-axes",
        "fill",
        "fill-opacity",
        "fill-rule",
        "font-family",
        "font-size",
        "font-stretch",
        "font-style",
        "font-variant",
        "font-weight",
        "height",
        "href",
        "id",
        "opacity",
        "role",
        "shape-rendering",
        "stroke",
        "stroke-dasharray",
        "stroke-dashoffset",
        "stroke-linecap",
        "stroke-linejoin",
        "stroke-miterlimit",
        "stroke-opacity",
        "stroke-width",
        "text-anchor",
        "transform",
        "version",
        "viewBox",
        "visibility",
        "width",
        "x",
        "y",
    }
)
#: A reference within the figure.
_OWN_ID = re.compile(r"#[\w.-]+")
#: A number with more than two decimals.
_LONG_NUMBER = re.compile(r"-?\d+\.\d{3,}")
_XLINK = "{http://www.w3.org/1999/xlink}href"
_FONT = "system-ui, 'DejaVu Sans', sans-serif"


@contextlib.contextmanager
def canvas(
    width: float = 4.8, height: float = 3.0, rows: Sequence[float] = (1.0,)
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure in the project's theme with one column of axes that share x.

    Args:
        width: inches; the page scales it.
        height: inches.
        rows: relative heights of the axes, from the top.
    """
    look: dict[Any, Any] = {**SEABORN, **OWN}  # Any: matplotlib's types list every key
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a reader's own settings change no figure
        matplotlib.rcParams.update(look)
        figure = Figure(figsize=(width, height), layout="constrained")
        # A canvas of its own and not pyplot's, which holds global state and may want a display.
        FigureCanvasSVG(figure)
        heights = list(rows)
        axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=heights)
        column = list(axes[:, 0])
        yield figure, column


def svg(figure: Figure, name: str, title: str, description: str) -> bytes:
    """The figure as an SVG file: no date, no inline style, ids that begin with `name`.

    Args:
        figure: all of it.
        name: names the figure; the same name twice in a page would repeat ids.
        title: what the plot shows, for the tooltip and screen readers.
        description: what can be read off it, in a sentence, for screen readers.
    """
    for axes in figure.axes:
        logarithmic = "log" in (axes.get_xscale(), axes.get_yscale())
        has_data = math.isfinite(axes.dataLim.width)
        if logarithmic and not has_data:  # every seed failed
            axes.set_yscale("linear")
            axes.set_xscale("linear")
    buffer = io.BytesIO()
    # No date and no version: the same result has the same bytes.
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    parser = etree.XMLParser(remove_comments=True, resolve_entities=False)
    root = etree.fromstring(buffer.getvalue(), parser)
    # Metadata would change with every version of matplotlib, and its style sheet is inline.
    for element in [*root.iter(f"{{{_SVG}}}metadata"), *root.iter(f"{{{_SVG}}}style")]:
        element.getparent().remove(element)
    for element in root.iter(etree.Element):
        _presentation(element)
        _mark_frame(element)
    _shorten_numbers(root)
    prefix_ids(root, f"{_slug(name)}-")
    axes_read = readings(figure, _CLASSES, INK)
    if axes_read is not None:
        root.set("data-axes", axes_read)
    return _framed(root, _slug(name), title, description)


def _framed(root: etree._Element, slug: str, title: str, description: str) -> bytes:
    """The file of a figure, with its title and description for screen readers."""
    for key in ("width", "height"):
        # Without them the page scales a figure by its viewBox.
        del root.attrib[key]
    root.attrib.update(
        {
            "role": "img",
            "aria-labelledby": f"{slug}-title {slug}-desc",
            "class": "plot",
            "color": INK,
            "stroke-linejoin": "round",
            "font-family": _FONT,
        }
    )
    # First in the file: screen readers take the first title of an SVG for its name.
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = etree.Element(f"{{{_SVG}}}{tag}", {"id": f"{slug}-{tag}"})
        element.text = text
        root.insert(position, element)
    etree.cleanup_namespaces(root)
    # Readable by people and by `diff`; the page takes the line breaks out again (`svg_slim`).
    etree.indent(root, " ")
    return bytes(etree.tostring(root, encoding="utf-8")) + b"\n"


def _slug(name: str) -> str:
    """A short id that stands for `name`, whatever letters it has."""
    # A digest and not the name: names have letters that no id may have, and are long.
    digest = hashlib.sha256(name.encode()).hexdigest()
    # An id must not begin with a digit where a style sheet is to name it.
    return f"f{digest[:8]}"


def _presentation(element: etree._Element) -> None:
    """Turns the `style` attribute of one element into presentation attributes and classes."""
    # The plain `href` of SVG 2 does not need the name space of xlink.
    reference = element.attrib.pop(_XLINK, None)
    if reference is not None:
        element.set("href", reference)
    classes = []
    for declaration in element.attrib.pop("style", "").split(";"):
        key, colon, value = (word.strip() for word in declaration.partition(":"))
        if not colon or key == "font-family":
            continue  # one family, on the root
        if key in ("fill", "stroke"):
            colour = value.lower()
            if colour in _CLASSES:
                classes.append(f"{key}-{_CLASSES[colour]}")
            # Ink follows the page's text, which is light in the dark theme.
            if colour == INK:
                value = "currentColor"
        # As an attribute a size in user units has no unit.
        if key == "font-size":
            value = value.removesuffix("px")
        element.set(key, value)
    if etree.QName(element).localname == "text" and "fill" not in element.attrib:
        element.set("fill", "currentColor")
    if classes:
        element.set("class", " ".join(classes))


def _mark_frame(element: etree._Element) -> None:
    """Gives an artist of a frame the classes that the style sheet plays: `frame`, and its own."""
    name = element.attrib.get("id", "")
    if not name.startswith(FRAME):
        return
    frame, _, _ = name.rpartition("-")
    element.set("class", f"frame {frame}")
    # The file by itself shows the last frame.
    if frame != f"{FRAME}0":
        element.set("visibility", "hidden")


def _shorten_numbers(root: etree._Element) -> None:
    """Two decimals are a hundredth of a point: enough, and half the size."""
    for element in root.iter(etree.Element):
        attributes = element.attrib
        for key in ("d", "x", "y", "transform"):
            if key in attributes:
                short = _LONG_NUMBER.sub(_two_decimals, attributes[key])
                words = short.split()
                element.set(key, " ".join(words))


def _two_decimals(number: re.Match[str]) -> str:
    value = float(number[0])
    return f"{value:.2f}"


def prefix_ids(root: etree._Element, prefix: str) -> None:
    """Renames the ids in use, and references to them, to begin with `prefix`; drops ids that
    nothing uses.
    """
    values: list[str] = []
    for element in root.iter(etree.Element):
        values += element.attrib.values()
    text = " ".join(values)
    # References are written url(#NAME) or #NAME.
    used = set(re.findall(r"url\(#([^)]+)\)", text))
    used.update(re.findall(r"(?:^|\s)#(\S+)", text))
    for element in root.iter(etree.Element):
        name = element.attrib.get("id")
        # matplotlib gives an id to every artist; most are never referred to.
        if name in used:
            element.set("id", prefix + name)
        elif name is not None:
            del element.attrib["id"]
        for key, value in element.attrib.items():
            if key == "href":
                target = value.removeprefix("#")
                element.set(key, f"#{prefix}{target}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}"))


def checked_svg(content: bytes) -> str:
    """An SVG file as text to set into a page, without its XML declaration.

    Raises:
        ValueError: it is not SVG, or has a script, an inline style, an event handler or an outside
            address.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"is not valid SVG ({' '.join(str(error).split())})") from None
    for element in root.iter():
        if not isinstance(element.tag, str) or element.tag not in _ALLOWED:
            # By a list of what is allowed: a list of what is forbidden is never complete.
            raise ValueError(f"holds {element.tag}, which a plot of this project does not")
        for key, value in element.attrib.items():
            if key not in _ATTRIBUTES or not _stays_inside(key, value):
                raise ValueError(
                    f"holds the attribute {key}={value!r}, which a plot of this project does not"
                )
    return str(etree.tostring(root, encoding="unicode"))


def _stays_inside(key: str, value: str) -> bool:
    """Whether an attribute refers to nothing but an id of its own figure."""
    if key == "data-axes":
        return (
            True  # words and numbers for the page's script; no browser looks for a reference there
        )
    target = value
    if key != "href":
        # A backslash may hide a letter.
        if "url" not in value.lower() and "\\" not in value:
            return True
        reference = re.fullmatch(r"url\((.*)\)", value)
        if reference is None:
            return False
        target = reference[1]
    return _OWN_ID.fullmatch(target) is not None


def legend(axes: Axes, entries: int, fontsize: str | None = None) -> None:
    """The legend above the plot, in as many columns as fit.

    Args:
        axes: of the plot.
        entries: how many the legend has.
        fontsize: as matplotlib's; None is the theme's.
    """
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=min(max(entries, 1), 4),
        handlelength=1.8,
        columnspacing=1.2,
        borderaxespad=0.2,
        fontsize=fontsize,
    )


class Look(TypedDict):
    """Colour and marker of a line, as matplotlib names them."""

    color: str
    marker: str


def seed_look(index: int) -> Look:
    """Colour and marker of the index-th seed of a plot."""
    # Both lists have ten: the eleventh seed looks as the first one.
    color_index = index % len(SERIES)
    marker_index = index % len(MARKERS)
    return {"color": SERIES[color_index], "marker": MARKERS[marker_index]}
