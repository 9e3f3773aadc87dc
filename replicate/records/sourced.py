"""Values that remember which result file, and which place in it, they come from.

The report's templates see result files only through these. A number cannot be printed except
through the `number` filter, which writes its file and JSON pointer (RFC 6901) beside it, so that no
number on the page lacks a source and a test can walk them all.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from markupsafe import Markup, escape

from replicate.errors import ReplicateError
from replicate.storage.files import canonical_json, read_json

THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
#: Characters of a wrong value that a message shows.
SHOWN = 60


class Traced:
    """A place in a result file: an object, a list or a number. Text, truth values and null come out
    plain.

    Args:
        file: the name to show, relative to the project's folder.
        pointer: JSON pointer within it, "" for the whole file.
        value: what stands there.
    """

    __slots__ = ("_file", "_pointer", "_value")

    def __init__(self, file: str, pointer: str, value: Any) -> None:
        self._file = file
        self._pointer = pointer
        self._value = value

    def __getitem__(self, key: str | int) -> Any:
        """The value below; KeyError or IndexError where there is none, which templates turn into an
        error.
        """
        below = child(self, key)
        # Templates compare these and print them as words; only numbers need their source.
        if below._value is None or isinstance(below._value, bool | str):
            return below._value
        return below

    def __iter__(self) -> Iterator[Any]:
        """The entries of a list; the keys of an object, sorted."""
        if isinstance(self._value, dict):
            return iter(sorted(self._value))
        return (self[k] for k in range(len(self)))

    def __contains__(self, key: object) -> bool:
        if not isinstance(self._value, dict):
            return False
        return key in self._value

    def __len__(self) -> int:
        if not isinstance(self._value, dict | list):
            raise unexpected(self, "a list")
        return len(self._value)

    def __bool__(self) -> bool:
        """False for an empty list or object; a number is there, even 0."""
        if isinstance(self._value, dict | list):
            return bool(self._value)
        return True

    def __html__(self) -> NoReturn:
        raise unexpected(
            self,
            "text (which a template prints as it is, a number by the filter `number` or `json`)",
        )

    # An f-string would print a number without its source, which is what this class is to prevent.
    __str__ = __html__


def unexpected(entry: Traced, wanted: str) -> ReplicateError:
    """A place that holds something else than its stage writes there."""
    content = repr(value_of(entry))
    if len(content) > SHOWN:
        content = f"{content[:SHOWN]}..."
    return ReplicateError(
        f"{source_of(entry)} is {content}, not {wanted}; run the stage that makes that file again."
    )


def child(entry: Traced, key: str | int) -> Traced:
    """The place below, with its source also where text, a truth value or null stands there.

    Raises KeyError or IndexError where there is none.
    """
    value = entry._value
    if isinstance(value, dict) and isinstance(key, str):
        # JSON pointers (RFC 6901) escape the tilde first, else it would escape its own escapes.
        step = key.replace("~", "~0").replace("/", "~1")
    elif isinstance(value, list) and isinstance(key, int):
        # A pointer has no -1: an index from the end becomes its place.
        key = range(len(value))[key]
        step = str(key)
    else:
        raise KeyError(key)
    return Traced(entry._file, f"{entry._pointer}/{step}", value[key])


def leaves(entry: Traced, prefix: str = "") -> dict[str, Traced]:
    """Every value below an object by its path, such as `config.epochs`; a list is one value."""
    by_path: dict[str, Traced] = {}
    for name in value_of(entry):
        below = child(entry, name)
        if isinstance(value_of(below), dict):
            by_path |= leaves(below, f"{prefix}{name}.")
        else:
            by_path[f"{prefix}{name}"] = below
    return by_path


def source_of(entry: Traced) -> str:
    """File and JSON pointer of a place, such as `results/table1.json#/rows/0/cells`."""
    return f"{entry._file}#{entry._pointer}"


def value_of(entry: Any) -> Any:
    """The bare value at a place, for figures, which carry their own description."""
    if isinstance(entry, Traced):
        return entry._value
    return entry


def traced(file: str, path: Path) -> Traced:
    """The result file at `path`, shown under the name `file`; one that holds NaN or an infinity is
    refused.
    """
    # Reading refuses what is not finite.
    content = read_json(path)
    return Traced(file, "", content)


def traced_content(file: str, path: Path, content: Any) -> Traced:
    """The same of a file that was read before."""
    try:
        json.dumps(content, allow_nan=False)
    except ValueError:
        raise ReplicateError(
            f"{path} holds a number that is not finite; run the stage that makes it again."
        ) from None
    return Traced(file, "", content)


class ResultFolder:
    """The result files below one folder, each shown as `results/...` wherever the folder lies.

    Args:
        folder: where they lie.
        name: instead of `results`, the name that the page shows for the folder of another run.
    """

    def __init__(self, folder: Path, name: str = "results") -> None:
        self.folder = folder
        self.name = name

    def display_name(self, relative: str) -> str:
        """The name that the page shows for a result file."""
        return f"{self.name}/{relative}"

    def read(self, relative: str) -> Traced:
        """A result file."""
        path = self.folder / relative
        return traced(self.display_name(relative), path)


def _formatted(value: int | float, decimals: int | None, digits: int | None) -> str:
    """A number as the page shows it, with a minus and spaces as printers set them."""
    if digits is not None:
        text = f"{value:.{digits}g}"
    elif decimals is not None:
        # z: no sign on what rounds to zero.
        text = f"{value:z,.{decimals}f}"
    elif float(value).is_integer():
        text = f"{int(value):,}"
    else:
        # The shortest digits that give the same float64: nothing is rounded in silence.
        text = repr(value)
    with_minus = text.replace("-", MINUS)
    return with_minus.replace(",", THIN_SPACE)


#: How numbers of many files become one, by the word that the source begins with.
GATHERED: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum,
    "largest": max,
    "number": len,
}


def gathered(how: str, entries: Sequence[Traced], files: str) -> Traced:
    """One number from the same place of many files; its source says how, of which files, and where
    in them.

    Args:
        how: a key of `GATHERED`.
        entries: numbers, all under the same pointer.
        files: what they have in common, such as `results/*.run.json with the stage train`.
    """
    values = [entry._value for entry in entries]
    total = GATHERED[how](values)
    # All have the same pointer, so one stands for them.
    first = entries[0]
    return Traced(f"{how} of {files}", first._pointer, total)


def exponential(entry: Traced) -> Traced:
    """The number whose natural logarithm stands at a place; its source says so."""
    return Traced(f"exp of {entry._file}", entry._pointer, math.exp(entry._value))


def number(entry: Any, decimals: int | None = None, digits: int | None = None) -> Markup:
    """A number of a result file as HTML: a `data` element with its exact value, and its source as
    the title.

    Args:
        entry: a number in a result file.
        decimals: digits after the point; by default the number as the file has it.
        digits: instead, significant digits, for numbers of any size.

    Raises:
        ReplicateError: the value is not a finite number, or comes from no result file.
    """
    if not isinstance(entry, Traced):
        # Turning what a template leaves undefined into text raises Jinja's own error, which names
        # the place.
        content = f"{entry}"
        raise ReplicateError(
            f"{content!r} would be shown as a number, and no result file has it as one; "
            "run the stages again."
        )
    value = value_of(entry)
    # A truth value is an integer for Python.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise unexpected(entry, "a finite number")
    # The exact value stands in the element, so that tests and readers can check what was rounded.
    element = Markup('<data value="{}" title="{}">{}</data>')
    words = _formatted(value, decimals, digits)
    return element.format(repr(value), source_of(entry), words)


def named_once(content: str, entry: Traced) -> Markup:
    """Part of the page in which the sources of one file's numbers are pointers alone, such as
    `#/per_seed/0`.

    The element around it has the file as its `data-source`: in a long table the name weighs more
    than the numbers.
    """
    element = Markup('<div data-source="{}">{}</div>')
    return element.format(entry._file, pointers(content, entry))


def pointers(content: str, entry: Traced) -> Markup:
    """The same without the element: where the template writes the `data-source`, as in a row."""
    short = str(content).replace(f'title="{escape(entry._file)}#', 'title="#')
    return Markup(short)


def text(entry: Traced, key: str) -> Markup:
    """Words of a result file, which may hold numbers: escaped, and kept from turning the text
    around them.
    """
    if key not in entry:
        raise ReplicateError(
            f"{source_of(entry)} has no {key!r}; run the stage that makes that file again."
        )
    words = child(entry, key)
    if not isinstance(value_of(words), str):
        raise unexpected(words, "text")
    return _words(words)


def _words(entry: Traced) -> Markup:
    # `bdi` keeps letters that are written from right to left from turning the text around them.
    element = Markup('<bdi class="text" title="{}">{}</bdi>')
    return element.format(source_of(entry), value_of(entry))


def as_json(entry: Traced) -> Markup:
    """A part of a result file, quoted as it stands there."""
    element = Markup('<code class="json" title="{}">{}</code>')
    content = canonical_json(value_of(entry))
    return element.format(source_of(entry), as_code(content.strip()))


def as_code(content: str) -> Markup:
    """Text for the inside of an element, where quotation marks need no escape.

    There are thousands of them in commands and JSON, and each would take five bytes.
    """
    escaped = escape(content)
    return Markup(str(escaped).replace("&#34;", '"').replace("&#39;", "'"))


def setting(entry: Traced) -> Markup:
    """A setting of any kind, with its source: a number, text, or JSON."""
    value = value_of(entry)
    if isinstance(value, str) and value:
        return Markup("<code>{}</code>").format(_words(entry))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(entry)
    return as_json(entry)


def seed_list(seeds: Traced) -> Markup:
    """Seeds, each with its source: `0, 1, 2`, or `0 to 9` for a long unbroken row."""
    values = value_of(seeds)
    # Two or three are as short as "0 to 2".
    if len(values) > 3:
        first, last = values[0], values[-1]
        if values == list(range(first, last + 1)):
            return number(seeds[0]) + " to " + number(seeds[-1])
    numbers = [number(seed) for seed in seeds]
    return Markup(", ").join(numbers)
