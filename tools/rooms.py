"""Draws docs/rooms.svg: the rooms of the package and which imports which, read from the imports.

python tools/rooms.py            # writes the picture
python tools/rooms.py --check    # exits with 1 where the picture is not that of the imports

A room is a folder of `replicate/`, or a module at its top. An arrow leads from a room to one that
it imports; those that follow from others are left out, so that what is drawn is what holds the
order together. Rooms that import each other share a box. Imports for type checkers alone do not
count.
"""

import argparse
import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "replicate"
PICTURE = ROOT / "docs/rooms.svg"

#: Room -> rooms that it imports.
Imports = Mapping[str, set[str]]
#: Rooms that import each other, or one alone.
Group = tuple[str, ...]

WIDTH, BOX_HEIGHT, ROW_HEIGHT, MARGIN, GAP = 960, 34, 84, 20, 14
STYLE = """
  rect { fill: #f6f8fa; stroke: #57606a; rx: 5 }
  text { font: 14px system-ui, sans-serif; fill: #1f2328; text-anchor: middle }
  line { stroke: #57606a; stroke-width: 1.2; marker-end: url(#head) }
  #head path { fill: #57606a }
  @media (prefers-color-scheme: dark) {
    rect { fill: #161b22; stroke: #8b949e } text { fill: #e6edf3 }
    line { stroke: #8b949e } #head path { fill: #8b949e }
  }
"""


def room_of(module: str) -> str:
    """The room of a module of the package, by its dotted name."""
    return module.split(".")[1]


def is_for_type_checkers(node: ast.AST) -> bool:
    """Whether a statement is `if TYPE_CHECKING:`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def imported_modules(node: ast.AST) -> Iterator[str]:
    """The modules of the package that a syntax tree imports."""
    if isinstance(node, ast.ImportFrom) and node.module == "replicate":
        yield from (f"replicate.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("replicate."):
        yield str(node.module)
    if is_for_type_checkers(node):
        return
    for child in ast.iter_child_nodes(node):
        yield from imported_modules(child)


def read_imports() -> Imports:
    """Which room imports which."""
    imports: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).with_suffix("").parts[0]
        if room == "__init__":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imports[room] |= {room_of(module) for module in imported_modules(tree)}
        imports[room].discard(room)
    return dict(imports)


def reachable(imports: Imports, room: str) -> set[str]:
    """The rooms that a room imports, and those that these import."""
    rooms: set[str] = set()
    waiting = list(imports.get(room, ()))
    while waiting:
        below = waiting.pop()
        if below not in rooms:
            rooms.add(below)
            waiting += imports.get(below, ())
    return rooms


def grouped(imports: Imports) -> dict[Group, set[Group]]:
    """Which group of rooms imports which."""
    below = {room: reachable(imports, room) for room in imports}
    group_of: dict[str, Group] = {}
    for room in imports:
        mutual = {other for other in below[room] if room in below.get(other, ())}
        group_of[room] = tuple(sorted({room, *mutual}))
    groups: dict[Group, set[Group]] = defaultdict(set)
    for room, rooms in imports.items():
        groups[group_of[room]] |= {group_of[lower] for lower in rooms if lower in group_of}
        groups[group_of[room]].discard(group_of[room])
    return dict(groups)


def essential(groups: Mapping[Group, set[Group]]) -> list[tuple[Group, Group]]:
    """The arrows that follow from no others."""
    arrows = []
    for group, lower in sorted(groups.items()):
        for target in sorted(lower):
            detours = lower - {target}
            if not any(target in _below(groups, detour) for detour in detours):
                arrows.append((group, target))
    return arrows


def _below(groups: Mapping[Group, set[Group]], group: Group) -> set[Group]:
    """The groups that a group imports, directly or not."""
    lower = set(groups[group])
    for target in groups[group]:
        lower |= _below(groups, target)
    return lower


def depth(groups: Mapping[Group, set[Group]], group: Group) -> int:
    """The length of the longest way down from a group."""
    return 1 + max((depth(groups, target) for target in groups[group]), default=-1)


def rows_of(groups: Mapping[Group, set[Group]]) -> list[list[Group]]:
    """The groups by depth, the deepest way down first."""
    rows: dict[int, list[Group]] = defaultdict(list)
    for group in sorted(groups):
        rows[depth(groups, group)].append(group)
    return [rows[level] for level in sorted(rows, reverse=True)]


def picture(groups: Mapping[Group, set[Group]]) -> str:
    """The SVG file."""
    rows = rows_of(groups)
    boxes: dict[Group, tuple[float, float, float]] = {}
    for number, row in enumerate(rows):
        boxes |= _row_of_boxes(row, MARGIN + number * ROW_HEIGHT)
    height = 2 * MARGIN + (len(rows) - 1) * ROW_HEIGHT + BOX_HEIGHT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        "<title>The rooms of the package: an arrow leads to a room that is imported</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    lines += [_line(boxes[upper], boxes[lower]) for upper, lower in essential(groups)]
    lines += [_box(group, boxes[group]) for group in sorted(groups)]
    return "\n".join([*lines, "</svg>", ""])


def _title(group: Group) -> str:
    return " ⇄ ".join(group)


def _row_of_boxes(row: Iterable[Group], top: float) -> dict[Group, tuple[float, float, float]]:
    """Group -> left edge, top edge and width; the row is centred."""
    widths = {group: 9.0 * len(_title(group)) + 26 for group in row}
    left = (WIDTH - sum(widths.values()) - GAP * 6 * (len(widths) - 1)) / 2
    boxes = {}
    for group, width in widths.items():
        boxes[group] = (left, top, width)
        left += width + GAP * 6
    return boxes


def _line(upper: tuple[float, float, float], lower: tuple[float, float, float]) -> str:
    x1, y1 = upper[0] + upper[2] / 2, upper[1] + BOX_HEIGHT
    x2, y2 = lower[0] + lower[2] / 2, lower[1]
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2 - 2:.1f}"/>'


def _box(group: Group, box: tuple[float, float, float]) -> str:
    left, top, width = box
    text = f'<text x="{left + width / 2:.1f}" y="{top + 22:.1f}">{escape(_title(group))}</text>'
    return f'<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{BOX_HEIGHT}"/>{text}'


def main() -> None:
    """Writes the picture, or compares it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    arguments = parser.parse_args()
    text = picture(grouped(read_imports()))
    if not arguments.check:
        PICTURE.write_text(text, encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != text:
        sys.exit("docs/rooms.svg is not the picture of the imports; run `python tools/rooms.py`.")


if __name__ == "__main__":
    main()
