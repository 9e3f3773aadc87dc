"""One look for every plot: SVG with deterministic bytes that works on light and on dark paper.

Matplotlib writes colours and fonts as inline `style` attributes and repeats ids from figure to figure. A page
under a content-security policy can use neither, so `svg` rewrites them: styles become presentation attributes,
ink becomes `currentColor`, every other colour also gets a class that a style sheet may override, and ids carry
the figure's name.
"""

import contextlib
import hashlib
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import matplotlib
from lxml import etree
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

#: Text and axes; becomes `currentColor`.
INK = "#1b1f24"
#: Grid lines and secondary marks.
FAINT = "#8a9099"
#: What was published: never a colour of a seed.
PUBLISHED = "#6b6f76"
#: Colours of seeds: seaborn's colour-blind palette, its light members darkened to 3:1 on white.
SERIES = ("#0173b2", "#b35900", "#02805e", "#b0568f", "#7a5c00", "#1f8fb5", "#9c3d00", "#5f5a9e", "#767676", "#a8323e")
#: Marks of seeds, so that no seed is told by colour alone.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "*")
#: Beginning of an artist's gid, with the frame's number and a part: the page shows the frames one after the other, down
#: to frame 0, which is the one that stays where nothing may move.
FRAME = "frame-"
#: Seaborn's style "ticks" in its context "paper", where they differ from matplotlib's defaults and `OWN` does not say
#: otherwise. Written out, because seaborn takes a second to load.
SEABORN: Mapping[str, Any] = {
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
OWN: Mapping[str, Any] = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: text is measured alike on every machine
    "svg.fonttype": "none",
    "svg.hashsalt": "replicate",
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
_CLASSES = {FAINT: "faint", PUBLISHED: "published"} | {colour: f"series-{k}" for k, colour in enumerate(SERIES)}
_SVG = "http://www.w3.org/2000/svg"
_ALLOWED = frozenset(
    f"{{{_SVG}}}{tag}"
    for tag in ("svg", "title", "desc", "defs", "clipPath", "g", "path", "rect", "use", "text", "tspan")
)
#: The attributes that `svg` and matplotlib write, by their exact names: no event handler, no style.
_ATTRIBUTES = frozenset({
    "aria-labelledby", "class", "clip-path", "clip-rule", "color", "d", "fill", "fill-opacity",
    "fill-rule", "font-family", "font-size", "font-stretch", "font-style", "font-variant",
    "font-weight", "height", "href", "id", "opacity", "role", "shape-rendering", "stroke",
    "stroke-dasharray", "stroke-dashoffset", "stroke-linecap", "stroke-linejoin",
    "stroke-miterlimit", "stroke-opacity", "stroke-width", "text-anchor", "transform", "version",
    "viewBox", "visibility", "width", "x", "y",
})  # fmt: skip
#: A reference within the figure.
_OWN_ID = re.compile(r"#[\w.-]+")
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
        FigureCanvasSVG(figure)
        axes = figure.subplots(len(rows), 1, sharex=True, squeeze=False, height_ratios=list(rows))[:, 0]
        yield figure, list(axes)


def svg(figure: Figure, name: str, title: str, description: str) -> bytes:
    """The figure as an SVG file: no date, no inline style, ids that begin with `name`.

    Args:
        name: names the figure; the same name twice in a page would repeat ids.
        title: what the plot shows, for the tooltip and screen readers.
        description: what can be read off it, in a sentence, for screen readers.
    """
    for axes in figure.axes:
        logarithmic = "log" in (axes.get_xscale(), axes.get_yscale())
        if logarithmic and not math.isfinite(axes.dataLim.width):  # no number to show: every seed failed
            axes.set_yscale("linear")
            axes.set_xscale("linear")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = etree.fromstring(buffer.getvalue(), etree.XMLParser(remove_comments=True, resolve_entities=False))
    for dropped in [*root.iter(f"{{{_SVG}}}metadata"), *root.iter(f"{{{_SVG}}}style")]:
        dropped.getparent().remove(dropped)
    for element in root.iter(etree.Element):
        _presentation(element)
        _mark_frame(element)
    _shorten_numbers(root)
    prefix_ids(root, f"{_slug(name)}-")
    return _framed(root, _slug(name), title, description)


def _framed(root: etree._Element, slug: str, title: str, description: str) -> bytes:
    for key in ("width", "height"):
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
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = etree.Element(f"{{{_SVG}}}{tag}", {"id": f"{slug}-{tag}"})
        element.text = text
        root.insert(position, element)
    etree.cleanup_namespaces(root)
    etree.indent(root, " ")
    return bytes(etree.tostring(root, encoding="utf-8")) + b"\n"


def _slug(name: str) -> str:
    """A short id that stands for `name`, whatever letters it has."""
    return "f" + hashlib.sha256(name.encode()).hexdigest()[:8]


def _presentation(element: etree._Element) -> None:
    """Turns the `style` attribute of one element into presentation attributes and classes."""
    reference = element.attrib.pop(_XLINK, None)
    if reference is not None:
        element.set("href", reference)
    style = element.attrib.pop("style", "")
    classes = []
    for key, value in (part.split(":", 1) for part in style.split(";") if ":" in part):
        key, value = key.strip(), value.strip()
        if key == "font-family":
            continue  # one family, on the root
        if key in ("fill", "stroke"):
            colour = value.lower()
            value = "currentColor" if colour == INK else value
            if colour in _CLASSES:
                classes.append(f"{key}-{_CLASSES[colour]}")
        element.set(key, value.removesuffix("px") if key == "font-size" else value)
    if etree.QName(element).localname == "text" and "fill" not in element.attrib:
        element.set("fill", "currentColor")
    if classes:
        element.set("class", " ".join(classes))


def _mark_frame(element: etree._Element) -> None:
    """Gives an artist of a frame the class `frame` and that of its number, which the style sheet plays."""
    name = element.attrib.get("id", "")
    if name.startswith(FRAME):
        number = name.rpartition("-")[0]
        element.set("class", f"frame {number}")
        if number != f"{FRAME}0":
            element.set("visibility", "hidden")  # the file by itself shows the last frame


def _shorten_numbers(root: etree._Element) -> None:
    """Two decimals are a hundredth of a point: enough, and half the size."""
    for element in root.iter(etree.Element):
        for key in ("d", "x", "y", "transform"):
            if key in element.attrib:
                text = re.sub(r"-?\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}", element.attrib[key])
                element.set(key, " ".join(text.split()))


def prefix_ids(root: etree._Element, prefix: str) -> None:
    """Renames the ids in use, and references to them, to begin with `prefix`; drops ids that nothing uses."""
    text = " ".join(value for element in root.iter(etree.Element) for value in element.attrib.values())
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | set(re.findall(r"(?:^|\s)#(\S+)", text))
    for element in root.iter(etree.Element):
        name = element.attrib.get("id")
        if name is not None:
            if name in used:
                element.set("id", prefix + name)
            else:
                del element.attrib["id"]
        for key, value in element.attrib.items():
            if key == "href":
                element.set(key, "#" + prefix + value.removeprefix("#"))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}"))


def checked_svg(content: bytes) -> str:
    """An SVG file as text to set into a page, without its XML declaration.

    Raises:
        ValueError: it is not SVG, or has a script, an inline style, an event handler or an outside address.
    """
    parser = etree.XMLParser(resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(content, parser)
    except etree.XMLSyntaxError as error:
        raise ValueError(f"is not valid SVG ({' '.join(str(error).split())})") from None
    for element in root.iter():
        if not isinstance(element.tag, str) or element.tag not in _ALLOWED:
            raise ValueError(f"holds {element.tag}, which a plot of this project does not")
        for key, value in element.attrib.items():
            if key not in _ATTRIBUTES or not _stays_inside(key, value):
                raise ValueError(f"holds the attribute {key}={value!r}, which a plot of this project does not")
    return str(etree.tostring(root, encoding="unicode"))


def _stays_inside(key: str, value: str) -> bool:
    """Whether an attribute refers to nothing but an id of its own figure."""
    if key == "href":
        return _OWN_ID.fullmatch(value) is not None
    if "url" in value.lower() or "\\" in value:  # a backslash may hide a letter
        reference = re.fullmatch(r"url\((.*)\)", value)
        return reference is not None and _OWN_ID.fullmatch(reference[1]) is not None
    return True


def legend(axes: Axes, entries: int, **options: Any) -> None:
    """The legend above the plot, in as many columns as fit."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=min(max(entries, 1), 4),
        handlelength=1.8,
        columnspacing=1.2,
        borderaxespad=0.2,
        **options,
    )


def seed_look(index: int) -> Mapping[str, Any]:
    """Colour and marker of the index-th seed of a plot."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}
