"""A digest of what code does, blind to how it is written down.

A job depends on the logic of its own stage, model and data set. The digest covers the syntax trees of
those modules and of all project modules that they import, so that a change of logic re-runs what it
touches, while comments, docstrings and formatting re-run nothing (docs/architecture.md, "What is current").
It is the same on every supported Python.
"""

import ast
import functools
import hashlib
import importlib.util
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "replicate"
#: Packages whose `__init__` only names plug-ins. They are not followed: a job names the plug-in it uses,
#: so that a new model, data set or experiment leaves the digests of the others alone.
REGISTRIES = frozenset({f"{PACKAGE}.models", f"{PACKAGE}.datasets", f"{PACKAGE}.experiments"})

#: What says how a value was written, not what it is: `u"x"` is `"x"`.
WRITING = frozenset({"kind", "type_comment", "type_ignores"})
#: What may begin with a docstring.
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def _telling(fields: tuple[str, ...]) -> list[str]:
    """Of a node's fields those that say what it is, in the order in which they are written."""
    return sorted(set(fields) - WRITING)


def _without_docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    return (node.body[1:] or [ast.Pass()]) if ast.get_docstring(node, clean=False) is not None else node.body


def _dumped(value: object, visited: list[ast.AST]) -> str:
    """A syntax tree as text, equal on Python 3.11 to 3.14, without docstrings; its nodes are added to `visited`.

    `ast.dump` is not: 3.12 gives functions and classes a field `type_params`, 3.13 leaves empty lists out, and 3.12
    sees an empty text at the end of some f-strings. Here every empty field and text is left out, and a new kind of
    field appears where a module uses it, which older Pythons cannot read.
    """
    if isinstance(value, ast.AST):
        visited.append(value)
        shown = []
        for name in _telling(value._fields):
            given = getattr(value, name, None)
            if name == "body" and isinstance(value, DOCUMENTED):
                given = _without_docstring(value)
            elif name == "values" and isinstance(value, ast.JoinedStr):
                given = [part for part in value.values if not (isinstance(part, ast.Constant) and part.value == "")]
            if given is not None and given != []:
                shown.append(f"{name}={_dumped(given, visited)}")
        return f"{type(value).__name__}({', '.join(shown)})"
    if isinstance(value, list):
        return f"[{', '.join([_dumped(entry, visited) for entry in value])}]"
    return ascii(value)  # `repr` depends on which characters this Python's Unicode tables call printable


def _source(module: str, root: Path) -> Path | None:
    """The file of a project module below `root` (the folder that holds the package), if it is one."""
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _package(module: str, path: Path) -> list[str]:
    """The parts of the name of the package that a module belongs to; an `__init__` is its package itself."""
    parts = module.split(".")
    return parts if path.name == "__init__.py" else parts[:-1]


def _imports(nodes: Iterable[ast.AST], package: list[str]) -> set[str]:
    """Every project module that the nodes of a module in `package` may import, those inside functions included."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # `from ..b import f`: one dot is the package itself, each further one the package above
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    return {name for name in found if name.split(".")[0] == PACKAGE}


@functools.cache
def _module(module: str, path: Path, stamp: tuple[int, int]) -> tuple[str, frozenset[str]]:
    nodes: list[ast.AST] = []
    text = _dumped(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)), nodes)
    return hashlib.sha256(text.encode()).hexdigest(), frozenset(_imports(nodes, _package(module, path)))


def package_root() -> Path:
    """The folder that holds the package's folder."""
    spec = importlib.util.find_spec(PACKAGE)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent.parent


def code_digest(entries: Iterable[str], root: Path | None = None) -> str:
    """Digest of the named modules and of all project modules they import, 16 hexadecimal digits.

    Args:
        entries: dotted module names, such as `replicate.stages.train`.
        root: the folder that holds the package; by default the one that is imported.

    Raises:
        LookupError: an entry is not a module of the project.
    """
    root = package_root() if root is None else root
    pending, digests = set(entries), {}
    for name in pending:
        if _source(name, root) is None:
            raise LookupError(f"no module {name} below {root}")
    while pending:
        name = pending.pop()
        path = _source(name, root)
        if path is None or name in digests or name in REGISTRIES:
            continue  # an imported name that is an object of a module, not a module
        status = path.stat()
        digests[name], imports = _module(name, path, (status.st_mtime_ns, status.st_size))
        pending |= imports
    lines = "\n".join(f"{name} {digests[name]}" for name in sorted(digests))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]
