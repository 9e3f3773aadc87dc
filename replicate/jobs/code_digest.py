"""A digest of what code does, blind to how it is written down.

A job depends on the logic of its own stage, model and data set. The digest covers the syntax trees
of those modules and of all project modules that they import, so that a change of logic re-runs what
it touches, while comments, docstrings and formatting re-run nothing (docs/reliability.md, "What is
current"). It is the same on every supported Python.
"""

import ast
import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

from replicate.storage.paths import package_root

PACKAGE = "replicate"
#: Packages whose `__init__` only names plug-ins. They are not followed: a job names the plug-in it
#: uses, so that a new model, data set or experiment leaves the digests of the others alone.
REGISTRIES = frozenset({f"{PACKAGE}.models", f"{PACKAGE}.datasets", f"{PACKAGE}.experiments"})
#: Modules that no value of a result comes from. They are not followed: a field that is added to a
#: type of result file, or a stage to the layout, re-runs no training.
NOT_FOLLOWED = frozenset({f"{PACKAGE}.records.schema", f"{PACKAGE}.jobs.subject"})

#: What says how a value was written, not what it is: `u"x"` is `"x"`.
IGNORED_FIELDS = frozenset({"kind", "type_comment", "type_ignores"})
#: What may begin with a docstring.
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@functools.cache
def _semantic_fields(fields: tuple[str, ...]) -> list[str]:
    """Of a node's fields those that say what it is, in alphabetical order."""
    semantic = set(fields) - IGNORED_FIELDS
    return sorted(semantic)


def _without_docstring(
    node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef,
) -> list[ast.stmt]:
    if ast.get_docstring(node, clean=False) is None:
        return node.body
    # A body that was nothing but its docstring does what `pass` does.
    return node.body[1:] or [ast.Pass()]


def _dumped(value: object, visited: list[ast.AST]) -> str:
    """A syntax tree as text, equal on Python 3.11 to 3.14, without docstrings; its nodes are added
    to `visited`.

    `ast.dump` is not: 3.12 gives functions and classes a field `type_params`, 3.13 leaves empty
    lists out, and 3.12 sees an empty text at the end of some f-strings. Here every empty field and
    text is left out, and a new kind of field appears where a module uses it, which older Pythons
    cannot read.
    """
    if isinstance(value, ast.AST):
        visited.append(value)
        fields = []
        for name in _semantic_fields(value._fields):
            field = _field(value, name)
            # Newer versions of Python have fields that are empty in older code.
            if field is not None and field != []:
                text = _dumped(field, visited)
                fields.append(f"{name}={text}")
        kind = type(value).__name__
        return f"{kind}({', '.join(fields)})"
    if isinstance(value, list):
        entries = [_dumped(entry, visited) for entry in value]
        return f"[{', '.join(entries)}]"
    # `repr` depends on which characters this Python's Unicode tables call printable.
    return ascii(value)


def _field(node: ast.AST, name: str) -> object:
    """A field of a node, without docstrings and without empty texts in f-strings."""
    if name == "body" and isinstance(node, DOCUMENTED):
        return _without_docstring(node)
    if name == "values" and isinstance(node, ast.JoinedStr):
        return [text for text in node.values if not _is_empty_text(text)]
    return getattr(node, name, None)


def _is_empty_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == ""


def _source(module: str, root: Path) -> Path | None:
    """The file of a project module below `root` (the folder that holds the package), if it is
    one.
    """
    base = root.joinpath(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _package(module: str, path: Path) -> list[str]:
    """The parts of the name of the package that a module belongs to; an `__init__` is its package
    itself.
    """
    parts = module.split(".")
    return parts if path.name == "__init__.py" else parts[:-1]


def _imports(nodes: Iterable[ast.AST], package: list[str]) -> set[str]:
    """Every project module that the nodes of a module in `package` may import, those inside
    functions included.
    """
    modules: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _base_of_import(node, package)
            modules.add(base)
            # What is imported may be a module or an object of one; `code_digest` drops objects.
            modules.update(f"{base}.{alias.name}" for alias in node.names)
    return {name for name in modules if name.split(".")[0] == PACKAGE}


def _base_of_import(node: ast.ImportFrom, package: list[str]) -> str:
    """What stands after `from`, in full."""
    base: list[str] = []
    if node.level:
        # `from ..b import f`: one dot is the package itself, each further one the package above.
        base = package[: len(package) - node.level + 1]
    if node.module:
        base = [*base, node.module]
    return ".".join(base)


@functools.cache
def _module(module: str, path: Path, stamp: tuple[int, int]) -> tuple[str, frozenset[str]]:
    """A module's digest and its imports.

    Args:
        stamp: time of change and size, by which a changed file is read again.
    """
    nodes: list[ast.AST] = []
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source, filename=str(path))
    text = _dumped(tree, nodes)
    digest = hashlib.sha256(text.encode()).hexdigest()
    imports = _imports(nodes, _package(module, path))
    return digest, frozenset(imports)


def code_digest(entries: Iterable[str], root: Path | None = None) -> str:
    """Digest of the named modules and of all project modules they import, 16 hexadecimal digits.

    Args:
        entries: dotted module names, such as `replicate.stages.train`.
        root: the folder that holds the package; by default the one that is imported.

    Raises:
        LookupError: an entry is not a module of the project.
    """
    if root is None:
        root = package_root()
    pending = set(entries)
    # A name that is mistyped here would leave a job without any digest of its code.
    for name in pending:
        if _source(name, root) is None:
            raise LookupError(f"no module {name} below {root}")
    not_followed = REGISTRIES | NOT_FOLLOWED
    digests: dict[str, str] = {}
    while pending:
        name = pending.pop()
        path = _source(name, root)
        # Without a path it is an object of a module, not a module.
        if path is None or name in digests or name in not_followed:
            continue
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        digest, imports = _module(name, path, stamp)
        digests[name] = digest
        pending |= imports
    # Sorted: modules come in the order of a set, which is another one in every process.
    lines = [f"{name} {digests[name]}" for name in sorted(digests)]
    text = "\n".join(lines)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
