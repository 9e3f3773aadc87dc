"""YAML files and inline JSON, read strictly: what is there means one thing to every reader, or is refused.

DVC reads `params.yaml` by YAML 1.2 with ruamel.yaml, so the same library reads it here: `1e-05` is a number,
`010` is ten, `yes` and `1:30` are text. A name that stands twice, a date, a number that is not finite and whatever else
JSON does not have are refused with their place: another reader would take them in another way.
"""

import json
import math
import unicodedata
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from replicate.errors import ReplicateError

#: Bytes of a file, lists and mappings inside each other, and values in all: far more than any run needs.
MAX_BYTES, MAX_DEPTH, MAX_VALUES = 4 << 20, 20, 500_000
#: Whole numbers are counted with in 64 bits.
MAX_WHOLE = 2**63 - 1
#: Characters of a number that is converted at all; Python refuses to convert a few thousand.
MAX_DIGITS = 40

_TAG = "tag:yaml.org,2002:"
#: Kinds of YAML values that no parameter has, and what to do about them.
_REFUSED = {
    f"{_TAG}timestamp": "a date or time, which no parameter is; put it in quotes if it is text",
    f"{_TAG}merge": "a merge (<<), which is not read here; write the values out",
    f"{_TAG}value": "no value; put it in quotes if it is text",
}

#: Names and numbers that lead from a document to one of its values.
Parts = tuple[str | int, ...]


class Entry(NamedTuple):
    """A name of a mapping with its value and, in a file, its line."""

    name: str
    value: Any
    line: int | None


def dotted(parts: Sequence[str | int]) -> str:
    """A path as messages show it: `models.vae.digits.hidden[0]`."""
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Document(ABC):
    """A parsed document on its way to plain values: mappings, lists, text, finite numbers, true, false and null."""

    def __init__(self, where: str) -> None:
        self.where, self.seen = where, 0

    @abstractmethod
    def entries(self, node: Any, path: Parts) -> list[Entry] | None:
        """The entries of a mapping, repeated names included; None for anything else."""

    @abstractmethod
    def elements(self, node: Any) -> list[Any] | None:
        """The elements of a list; None for anything else."""

    @abstractmethod
    def scalar(self, node: Any, path: Parts) -> Any:
        """The value of anything that is neither."""

    def refusal(self, path: Parts, words: str) -> ReplicateError:
        """The fault `words` of the value at `path`."""
        return ReplicateError(f"{self.where}: {dotted(path)}: {words}." if path else f"{self.where}: {words}.")

    def plain(self, node: Any, path: Parts = ()) -> Any:
        """The value of a node.

        Raises:
            ReplicateError: something in it has no plain meaning; named with its path.
        """
        self.seen += 1
        if self.seen > MAX_VALUES:
            raise self.refusal((), f"there are more than {MAX_VALUES} values; take out what the run does not need")
        if len(path) > MAX_DEPTH:
            raise too_deep(self.where)
        entries = self.entries(node, path)
        if entries is not None:
            return self._mapping(entries, path)
        elements = self.elements(node)
        if elements is not None:
            return [self.plain(element, (*path, place)) for place, element in enumerate(elements)]
        return self._checked(self.scalar(node, path), path)

    def _mapping(self, entries: list[Entry], path: Parts) -> dict[str, Any]:
        found: dict[str, Any] = {}
        first: dict[str, int | None] = {}
        for name, value, line in entries:
            if not name.isprintable():
                raise self.refusal(path, f"the name {name!a} has a character that nobody can see; remove it")
            if name in found:
                lines = f" (lines {first[name]} and {line})" if line else ""
                raise self.refusal((*path, name), f"it stands there twice{lines}; keep one of them")
            first[name] = line
            found[name] = self.plain(value, (*path, name))
        return found

    def _checked(self, value: Any, path: Parts) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            raise self.refusal(path, f"a finite number is needed, not {value}")
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            raise self.refusal(path, "the whole number is beyond 64 bits; write a smaller one")
        if isinstance(value, str) and (odd := next(filter(_is_control, value), None)) is not None:
            raise self.refusal(path, f"the text has the character U+{ord(odd):04X}, which nobody can see; remove it")
        return value


def _is_control(character: str) -> bool:
    return character not in "\t\n" and unicodedata.category(character) in ("Cc", "Cs")


def too_deep(where: str) -> ReplicateError:
    """What is said of a document that nests without an end."""
    return ReplicateError(f"{where}: lists and mappings lie more than {MAX_DEPTH} deep, which no parameter does.")


class _Pairs(list[tuple[str, Any]]):
    """The names and values of a JSON object in their order, repeated names included."""


def _whole(digits: str) -> int:
    return int(digits) if len(digits) <= MAX_DIGITS else MAX_WHOLE + 1


class _Json(_Document):
    """What the json module read, with `_Pairs` for objects."""

    def entries(self, node: Any, path: Parts) -> list[Entry] | None:
        return [Entry(name, value, None) for name, value in node] if isinstance(node, _Pairs) else None

    def elements(self, node: Any) -> list[Any] | None:
        return node if isinstance(node, list) else None

    def scalar(self, node: Any, path: Parts) -> Any:
        return node


class _Yaml(_Document):
    """Nodes of ruamel.yaml; `constructor` is its own, so that a number means what it means to DVC."""

    def __init__(self, where: str, constructor: Any) -> None:
        super().__init__(where)
        self.constructor = constructor

    def entries(self, node: Any, path: Parts) -> list[Entry] | None:
        if node.tag != f"{_TAG}map" or node.id != "mapping":
            return None
        return [Entry(self._name(name, path), value, name.start_mark.line + 1) for name, value in node.value]

    def _name(self, node: Any, path: Parts) -> str:
        if node.tag == f"{_TAG}merge":
            raise self.refusal(path, f"line {node.start_mark.line + 1} is {_REFUSED[node.tag]}")
        if node.tag != f"{_TAG}str":
            shown = f" {node.value}" if node.id == "scalar" else ""
            line = node.start_mark.line + 1
            raise self.refusal(path, f"the name{shown} in line {line} is no text; put it in quotes")
        return str(node.value)

    def elements(self, node: Any) -> list[Any] | None:
        return list(node.value) if node.tag == f"{_TAG}seq" and node.id == "sequence" else None

    def scalar(self, node: Any, path: Parts) -> Any:
        if node.tag in _REFUSED:
            raise self.refusal(path, f"{node.value if node.id == 'scalar' else 'it'} is {_REFUSED[node.tag]}")
        kind = node.tag.removeprefix(_TAG)
        if kind not in ("str", "int", "float", "bool", "null") or node.id != "scalar":
            raise self.refusal(
                path, f"!{kind.lstrip('!')} marks a kind of value that no parameter has; remove the mark"
            )
        if kind == "int" and len(node.value) > MAX_DIGITS:
            return MAX_WHOLE + 1
        try:
            return self.constructor.construct_object(node)
        except (ValueError, KeyError, IndexError):  # a mark such as !!int before other text
            raise self.refusal(path, f"{node.value!r} is no value of the kind !!{kind}; remove the mark") from None


def read_json_text(text: str, where: str = "parameters") -> Any:
    """The value of JSON given in the place of a file.

    Raises:
        ReplicateError: it is no JSON, or something in it has no plain meaning.
    """
    try:
        parsed = json.loads(text, object_pairs_hook=_Pairs, parse_int=_whole)
    except RecursionError:
        raise too_deep(where) from None
    except ValueError as error:
        raise ReplicateError(f"the inline {where} are not valid JSON: {error}.") from None
    return _Json(where).plain(parsed)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ReplicateError(
            f"{path} does not exist; presets are in presets/, the run's own file is params.yaml."
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ReplicateError(f"cannot read {path}: {reason}.") from None
    if len(content) > MAX_BYTES:
        raise ReplicateError(f"{path} has more than {MAX_BYTES} bytes, which no parameter file has; name another file.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ReplicateError(
            f"{path} is not UTF-8 text (byte 0x{content[error.start]:02x} in line {line}); save it as UTF-8."
        ) from None


def _problem(error: Any, text: str) -> str:
    """What ruamel.yaml says is wrong, in one line, and the line of the file."""
    if hasattr(error, "position"):  # a character that no YAML file may have
        line = text.count("\n", 0, error.position) + 1
        return f"the character U+{ord(text[error.position]):04X} in line {line} may not stand there"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).strip().splitlines()[0]
    if problem.startswith("but "):
        problem = f"{error.context}, {problem}"
    return f"{problem} in line {mark.line + 1}" if mark else problem


def read_yaml(path: Path) -> Any:
    """The value of a YAML file; None where it holds none.

    Raises:
        ReplicateError: it cannot be read, is no YAML, or something in it has no plain meaning.
    """
    from ruamel.yaml import YAML  # here: jobs are given JSON
    from ruamel.yaml.error import YAMLError, YAMLWarning

    text, yaml = _text(path), YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", YAMLWarning)
            node = yaml.compose(text)
        return None if node is None else _Yaml(str(path), yaml.constructor).plain(node)
    except RecursionError:
        raise too_deep(str(path)) from None
    except (YAMLError, YAMLWarning) as error:
        raise ReplicateError(f"{path} is not valid YAML: {_problem(error, text)}.") from None
