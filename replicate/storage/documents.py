"""YAML files and inline JSON, read strictly: a document means one thing to every reader, or is
refused.

DVC reads `params.yaml` by YAML 1.2 with ruamel.yaml, so the same library reads it here: `1e-05` is
a number, `010` is ten, `yes` and `1:30` are text. Refused, with their path, are names that stand
twice, dates, numbers that are not finite, and whatever else JSON does not have: another reader
would take them in another way.
"""

import json
import math
import unicodedata
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Protocol, TypeVar

from replicate.errors import ReplicateError

if TYPE_CHECKING:
    from ruamel.yaml.constructor import BaseConstructor
    from ruamel.yaml.error import StreamMark

#: Bytes of a file, lists and mappings inside each other, and values in all: far more than any run
#: needs.
MAX_BYTES, MAX_DEPTH, MAX_VALUES = 4 << 20, 20, 500_000
#: Whole numbers are counted with in 64 bits.
MAX_WHOLE = 2**63 - 1
#: Characters of a number that is converted at all; Python refuses to convert a few thousand.
MAX_DIGITS = 40

_TAG = "tag:yaml.org,2002:"
#: Kinds of YAML scalars that parameters have.
_SCALARS = ("str", "int", "float", "bool", "null")
#: Kinds of YAML values that no parameter has, and what to do about them.
_REFUSED = {
    f"{_TAG}timestamp": "a date or time, which no parameter is; put it in quotes if it is text",
    f"{_TAG}merge": "a merge (<<), which is not read here; write the values out",
    f"{_TAG}value": "no value; put it in quotes if it is text",
}

#: Names and numbers that lead from a document to one of its values.
Parts = tuple[str | int, ...]
#: A value of a document as its parser gives it.
NodeT = TypeVar("NodeT")


class Entry(NamedTuple, Generic[NodeT]):
    """A name of a mapping with its value and, in a file, its line."""

    name: str
    value: NodeT
    line: int | None


def dotted(parts: Sequence[str | int]) -> str:
    """A path as messages show it: `models.vae.digits.hidden[0]`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


class _Document(ABC, Generic[NodeT]):
    """A parsed document on its way to plain values: mappings, lists, text, finite numbers, true,
    false and null.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.value_count = 0

    @abstractmethod
    def entries(self, node: NodeT, path: Parts) -> list[Entry[NodeT]] | None:
        """The entries of a mapping, repeated names included; None for anything else."""

    @abstractmethod
    def elements(self, node: NodeT) -> list[NodeT] | None:
        """The elements of a list; None for anything else."""

    @abstractmethod
    def scalar(self, node: NodeT, path: Parts) -> object:
        """The value of anything that is neither."""

    def refusal(self, path: Parts, fault: str) -> ReplicateError:
        """An error that says what is wrong with the value at `path`."""
        if not path:
            return ReplicateError(f"{self.source}: {fault}.")
        return ReplicateError(f"{self.source}: {dotted(path)}: {fault}.")

    def plain(self, node: NodeT, path: Parts = ()) -> object:
        """The value of a node.

        Raises:
            ReplicateError: something in it has no plain meaning; named with its path.
        """
        # Aliases let a few lines stand for millions of values.
        self.value_count += 1
        if self.value_count > MAX_VALUES:
            raise self.refusal(
                (), f"there are more than {MAX_VALUES} values; take out what the run does not need"
            )
        if len(path) > MAX_DEPTH:
            raise too_deep(self.source)
        entries = self.entries(node, path)
        if entries is not None:
            return self._mapping(entries, path)
        elements = self.elements(node)
        if elements is not None:
            return [self.plain(element, (*path, index)) for index, element in enumerate(elements)]
        value = self.scalar(node, path)
        return self._checked(value, path)

    def _mapping(self, entries: list[Entry[NodeT]], path: Parts) -> dict[str, object]:
        values: dict[str, object] = {}
        first_lines: dict[str, int | None] = {}
        for name, node, line in entries:
            if not name.isprintable():
                raise self.refusal(
                    path, f"the name {name!a} has a character that nobody can see; remove it"
                )
            path_of_value = (*path, name)
            # PyYAML takes the last one and says nothing (yaml/pyyaml#165); DVC refuses.
            if name in values:
                # JSON's parser tells no lines.
                lines = f" (lines {first_lines[name]} and {line})" if line else ""
                fault = f"it stands there twice{lines}; keep one of them"
                raise self.refusal(path_of_value, fault)
            first_lines[name] = line
            values[name] = self.plain(node, path_of_value)
        return values

    def _checked(self, value: object, path: Parts) -> object:
        if isinstance(value, float) and not math.isfinite(value):
            raise self.refusal(path, f"a finite number is needed, not {value}")
        if isinstance(value, int) and abs(value) > MAX_WHOLE:
            raise self.refusal(path, "the whole number is beyond 64 bits; write a smaller one")
        if isinstance(value, str):
            for character in value:
                if _is_control(character):
                    code = f"U+{ord(character):04X}"
                    raise self.refusal(
                        path, f"the text has the character {code}, which nobody can see; remove it"
                    )
        return value


def _is_control(character: str) -> bool:
    if character in "\t\n":
        return False
    return unicodedata.category(character) in ("Cc", "Cs")


def too_deep(source: str) -> ReplicateError:
    """The error for a document that nests without an end."""
    return ReplicateError(
        f"{source}: lists and mappings lie more than {MAX_DEPTH} deep, which no parameter does."
    )


class _Pairs(list[tuple[str, object]]):
    """The names and values of a JSON object in their order, repeated names included."""


def _whole_number(digits: str) -> int:
    # Reading a million digits takes minutes; such a number is refused in any case.
    if len(digits) > MAX_DIGITS:
        return MAX_WHOLE + 1
    return int(digits)


class _Json(_Document[object]):
    """What the json module read, with `_Pairs` for objects."""

    def entries(self, node: object, path: Parts) -> list[Entry[object]] | None:
        if not isinstance(node, _Pairs):
            return None
        return [Entry(name, value, None) for name, value in node]

    def elements(self, node: object) -> list[object] | None:
        return node if isinstance(node, list) else None

    def scalar(self, node: object, path: Parts) -> object:
        return node


class _YamlNode(Protocol):
    """What is read of a node of ruamel.yaml, whose classes do not declare it."""

    tag: str
    id: str
    value: Any  # text, nodes, or pairs of nodes
    start_mark: "StreamMark"


class _Yaml(_Document[_YamlNode]):
    """Nodes of ruamel.yaml.

    Args:
        source: the file, for messages.
        constructor: the library's own, so that a number means what it means to DVC.
    """

    def __init__(self, source: str, constructor: "BaseConstructor") -> None:
        super().__init__(source)
        self.constructor = constructor

    def entries(self, node: _YamlNode, path: Parts) -> list[Entry[_YamlNode]] | None:
        if node.tag != f"{_TAG}map" or node.id != "mapping":
            return None
        entries = []
        for name_node, value in node.value:
            line = name_node.start_mark.line + 1
            name = self._name(name_node, path)
            entries.append(Entry(name, value, line))
        return entries

    def _name(self, node: _YamlNode, path: Parts) -> str:
        line = node.start_mark.line + 1
        if node.tag == f"{_TAG}merge":
            raise self.refusal(path, f"line {line} is {_REFUSED[node.tag]}")
        if node.tag != f"{_TAG}str":
            name = f" {node.value}" if node.id == "scalar" else ""
            raise self.refusal(path, f"the name{name} in line {line} is no text; put it in quotes")
        return str(node.value)

    def elements(self, node: _YamlNode) -> list[_YamlNode] | None:
        if node.tag != f"{_TAG}seq" or node.id != "sequence":
            return None
        return list(node.value)

    def scalar(self, node: _YamlNode, path: Parts) -> object:
        if node.tag in _REFUSED:
            text = node.value if node.id == "scalar" else "it"
            raise self.refusal(path, f"{text} is {_REFUSED[node.tag]}")
        kind = node.tag.removeprefix(_TAG)
        if kind not in _SCALARS or node.id != "scalar":
            mark = f"!{kind.lstrip('!')}"
            raise self.refusal(
                path, f"{mark} marks a kind of value that no parameter has; remove the mark"
            )
        if kind == "int" and len(node.value) > MAX_DIGITS:
            return MAX_WHOLE + 1
        try:
            value: object = self.constructor.construct_object(node)
        except (ValueError, KeyError, IndexError):  # a mark such as !!int before other text
            raise self.refusal(
                path, f"{node.value!r} is no value of the kind !!{kind}; remove the mark"
            ) from None
        return value


def read_json_text(text: str, source: str = "parameters") -> Any:  # Any: any document
    """The value of JSON that stands in place of a file.

    Raises:
        ReplicateError: it is no JSON, or something in it has no plain meaning.
    """
    try:
        # Pairs, since a dict would hold the last of two equal names and hide the first.
        parsed = json.loads(text, object_pairs_hook=_Pairs, parse_int=_whole_number)
    except RecursionError:
        raise too_deep(source) from None
    except ValueError as error:
        raise ReplicateError(f"the inline {source} are not valid JSON: {error}.") from None
    return _Json(source).plain(parsed)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            # One byte more than is allowed: a device or a file without an end is not read to it.
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ReplicateError(
            f"{path} does not exist; run this in the project's folder, which has params.yaml, "
            "protocol.yaml and presets/, or name another file."
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ReplicateError(f"cannot read {path}: {reason}.") from None
    if len(content) > MAX_BYTES:
        raise ReplicateError(
            f"{path} has more than {MAX_BYTES} bytes, which no parameter file has; "
            "name another file."
        )
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        # The line, since an editor shows no byte numbers.
        line = content.count(b"\n", 0, error.start) + 1
        raise ReplicateError(
            f"{path} is not UTF-8 text (byte 0x{content[error.start]:02x} in line {line}); "
            "save it as UTF-8."
        ) from None


def _problem(error: Any, text: str) -> str:  # Any: its classes have no attribute in common
    """What ruamel.yaml says is wrong, in one line, and the line of the file."""
    if hasattr(error, "position"):  # a character that no YAML file may have
        line = text.count("\n", 0, error.position) + 1
        code_point = ord(text[error.position])
        return f"the character U+{code_point:04X} in line {line} may not stand there"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None)
    if not problem:
        problem = str(error).strip().splitlines()[0]
    if problem.startswith("but "):
        problem = f"{error.context}, {problem}"
    if not mark:
        return problem
    return f"{problem} in line {mark.line + 1}"


def read_values(value: Any, source: str) -> Any:  # Any: any document
    """A value whose scalars inside lists and mappings are text, as YAML reads that text.

    Snakemake makes text of every number in `--config 'likelihood={"draws": 2}'`.

    Args:
        value: as it was given.
        source: what the document is called in messages.

    Raises:
        ReplicateError: some text has no plain meaning.
    """
    if isinstance(value, dict):
        return {name: _inner_value(inner, source) for name, inner in value.items()}
    if isinstance(value, list):
        return [_inner_value(inner, source) for inner in value]
    return value


def _inner_value(value: Any, source: str) -> Any:
    """The same for a value inside."""
    if not isinstance(value, str):
        return read_values(value, source)
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(value)
    except YAMLError:  # text that is no YAML is just text
        return value
    if node is None or node.id != "scalar" or node.tag == f"{_TAG}str":
        return value
    return _Yaml(source, yaml.constructor).plain(node)


def read_yaml(path: Path) -> Any:  # Any: any document
    """The value of a YAML file; None where it holds none.

    Raises:
        ReplicateError: it cannot be read, is no YAML, or something in it has no plain meaning.
    """
    from ruamel.yaml import YAML  # here: jobs are given JSON
    from ruamel.yaml.error import YAMLError, YAMLWarning

    text = _text(path)
    yaml = YAML(typ="safe", pure=True)
    try:
        with warnings.catch_warnings():
            # Such as of an anchor that is set twice, which readers may resolve differently.
            warnings.simplefilter("error", YAMLWarning)
            # Nodes and not values: they know their lines, and hold both of two equal names.
            node = yaml.compose(text)
        return None if node is None else _Yaml(str(path), yaml.constructor).plain(node)
    except RecursionError:
        raise too_deep(str(path)) from None
    except (YAMLError, YAMLWarning) as error:
        raise ReplicateError(f"{path} is not valid YAML: {_problem(error, text)}.") from None
