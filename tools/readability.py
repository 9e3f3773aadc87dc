"""Holds the package to lines that are read once and understood: prints figures, and exits with 1
where one is beyond its limit.

python tools/readability.py            # the figures, and what is beyond a limit
python tools/readability.py --worst    # the functions with the most on a line, too

A rough gauge: code that passes can still be hard to read. Counted are syntax-tree nodes a line and
a statement (how much a reader has to hold at once), comprehensions inside one another, `Any`, and
names that say how a thing was come by instead of what it is.
"""

import argparse
import ast
import re
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "replicate"
COLUMNS = 100
#: What makes a line longer that cannot be broken: an address, or a mark that a tool reads.
WHOLE = ("https://", "# noqa", "# type: ignore")
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
#: Names that are no nouns of the field.
WEAK_NAMES = frozenset(
    {"found", "told", "one", "kept", "part", "place", "given", "said", "made", "brought", "asked"}
    | {"whole", "mine", "theirs", "judged", "shown", "seen", "other", "others"}
)
#: Figure -> the most that it may be.
LIMITS = {
    "modules at the top": 7,
    "nodes a line": 10.5,
    "nodes a statement": 12.5,
    "Any per 1,000 lines": 3.0,
    "lines above 100 columns": 0,
    "nested comprehensions": 0,
    "weak names, per cent": 1.0,
}
#: Figure -> the least that it may be.
LEAST = {"comments per 100 lines": 5.0}


@dataclass
class Figures:
    """What is counted in some files."""

    lines: int = 0
    comments: int = 0
    names: int = 0
    any_count: int = 0
    long_lines: list[str] = field(default_factory=list)
    nested: list[str] = field(default_factory=list)
    weak: list[str] = field(default_factory=list)
    per_line: dict[str, float] = field(default_factory=dict)
    per_statement: list[float] = field(default_factory=list)

    def table(self, top: int) -> dict[str, float]:
        """Figure -> value.

        Args:
            top: modules at the top of the package.
        """
        return {
            "modules at the top": top,
            "nodes a line": statistics.median(self.per_line.values() or [0.0]),
            "nodes a statement": statistics.median(self.per_statement or [0.0]),
            "Any per 1,000 lines": 1000 * self.any_count / max(self.lines, 1),
            "lines above 100 columns": len(self.long_lines),
            "nested comprehensions": len(self.nested),
            "weak names, per cent": 100 * len(self.weak) / max(self.names, 1),
            "comments per 100 lines": 100 * self.comments / max(self.lines, 1),
        }


def nodes(tree: ast.AST) -> int:
    """How many nodes a syntax tree has."""
    return sum(1 for _ in ast.walk(tree))


def is_nested(node: ast.AST) -> bool:
    """Whether a comprehension has two loops, or another comprehension inside."""
    if not isinstance(node, COMPREHENSIONS):
        return False
    inner = [below for below in ast.walk(node) if isinstance(below, COMPREHENSIONS)]
    return len(node.generators) > 1 or len(inner) > 1


def any_names(node: ast.AST) -> int:
    """How often `Any` stands in one node: as a name, as `typing.Any`, or in a quoted annotation."""
    if isinstance(node, ast.Name):
        return int(node.id == "Any")
    if isinstance(node, ast.Attribute):
        return int(node.attr == "Any")
    annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return len(re.findall(r"\bAny\b", annotation.value))
    return 0


def bound_names(node: ast.AST) -> Iterator[str]:
    """The names that a node binds: variables, arguments, functions."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg):
        yield node.arg
    elif isinstance(node, ast.FunctionDef):
        yield node.name


def statements(function: ast.FunctionDef) -> list[ast.stmt]:
    """The statements of a function without its docstring."""
    has_docstring = ast.get_docstring(function, clean=False) is not None
    return function.body[1:] if has_docstring else function.body


def nodes_a_line(body: list[ast.stmt]) -> float:
    """Nodes of some statements for every line on which one of them begins."""
    lines: set[int] = set()
    count = 0
    for statement in body:
        count += nodes(statement)
        lines |= {node.lineno for node in ast.walk(statement) if hasattr(node, "lineno")}
    return count / max(len(lines), 1)


def nodes_a_statement(body: list[ast.stmt]) -> float:
    """Nodes of some statements for every statement among them."""
    count = sum(map(nodes, body))
    inner = 0
    for statement in body:
        inner += sum(isinstance(node, ast.stmt) for node in ast.walk(statement))
    return count / max(inner, 1)


def measure(text: str, name: str, figures: Figures) -> None:
    """Adds what is counted in a module.

    Args:
        text: its source.
        name: what its file is called in messages.
        figures: is added to.
    """
    for number, line in enumerate(text.splitlines(), 1):
        figures.lines += 1
        figures.comments += line.lstrip().startswith("#")
        if len(line) > COLUMNS and not any(mark in line for mark in WHOLE):
            figures.long_lines.append(f"{name}:{number}")
    for node in ast.walk(ast.parse(text)):
        figures.any_count += any_names(node)
        if is_nested(node):
            figures.nested.append(f"{name}:{node.lineno}")
        for bound in bound_names(node):
            figures.names += 1
            if bound.strip("_") in WEAK_NAMES:
                figures.weak.append(f"{name}:{node.lineno} {bound}")
        if isinstance(node, ast.FunctionDef):
            body = statements(node)
            if body:
                figures.per_line[f"{name}:{node.lineno} {node.name}"] = nodes_a_line(body)
                figures.per_statement.append(nodes_a_statement(body))


def main() -> None:
    """Prints the figures of the package."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worst", action="store_true", help="name the densest functions too")
    arguments = parser.parse_args()
    figures = Figures()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = str(path.relative_to(PACKAGE.parent))
        measure(path.read_text(encoding="utf-8"), name, figures)
    outside = False
    for name, value in figures.table(top=len(list(PACKAGE.glob("*.py")))).items():
        limit = LIMITS.get(name)
        mark = ""
        if limit is not None:
            mark = f"at most {limit:g}"
            if value > limit:
                mark, outside = f"{mark}: too many", True
        least = LEAST.get(name)
        if least is not None:
            mark = f"at least {least:g}"
            if value < least:
                mark, outside = f"{mark}: too few", True
        print(f"{name:26s} {value:8.1f}  {mark}".rstrip())
    if arguments.worst or outside:
        for where in [*figures.long_lines, *figures.nested, *figures.weak][:60]:
            print(f"  {where}")
    if arguments.worst:
        densest = sorted(figures.per_line.items(), key=lambda item: -item[1])
        for where, value in densest[:40]:
            print(f"  {value:5.1f} {where}")
    sys.exit(outside)


if __name__ == "__main__":
    main()
