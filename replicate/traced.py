"""Values that remember which result file, and which place in it, they come from.

The report's templates see result files only through these. A number cannot be printed except through the
`number` filter, which writes its file and JSON pointer (RFC 6901) beside it, so that no number on the page
lacks a source and a test can walk them all.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from markupsafe import Markup, escape

from replicate.errors import ReplicateError
from replicate.files import canonical_json, read_json

THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"
#: Characters of a wrong value that a message shows.
SHOWN = 60


class Traced:
    """A place in a result file: an object, a list or a number. Text, truth values and null come out plain.

    Args:
        file: the name to show, relative to the project's folder.
        pointer: JSON pointer within it, "" for the whole file.
        value: what stands there.
    """

    __slots__ = ("_file", "_pointer", "_value")

    def __init__(self, file: str, pointer: str, value: Any) -> None:
        self._file, self._pointer, self._value = file, pointer, value

    def __getitem__(self, key: str | int) -> Any:
        """The value below; KeyError or IndexError where there is none, which templates turn into an error."""
        below = part(self, key)
        return below._value if below._value is None or isinstance(below._value, bool | str) else below

    def __iter__(self) -> Iterator[Any]:
        """The entries of a list; the keys of an object, sorted."""
        if isinstance(self._value, dict):
            return iter(sorted(self._value))
        return (self[k] for k in range(len(self)))

    def __contains__(self, key: object) -> bool:
        return key in (self._value if isinstance(self._value, dict) else ())

    def __len__(self) -> int:
        if not isinstance(self._value, dict | list):
            raise unexpected(self, "a list")
        return len(self._value)

    def __bool__(self) -> bool:
        """False for an empty list or object; a number is there, even 0."""
        return not isinstance(self._value, dict | list) or bool(self._value)

    def __html__(self) -> NoReturn:
        raise unexpected(self, "text (which a template prints as it is, a number by the filter `number` or `json`)")

    __str__ = __html__


def unexpected(place: Traced, wanted: str) -> ReplicateError:
    """A place that holds something else than its stage writes there."""
    found = repr(plain(place))
    shown = found if len(found) <= SHOWN else f"{found[:SHOWN]}..."
    return ReplicateError(f"{where(place)} is {shown}, not {wanted}; run the stage that makes that file again.")


def part(place: Traced, key: str | int) -> Traced:
    """The place below, with its source also where text, a truth value or null stands there.

    Raises KeyError or IndexError where there is none.
    """
    value = place._value
    if isinstance(value, dict) and isinstance(key, str):
        step = key.replace("~", "~0").replace("/", "~1")
    elif isinstance(value, list) and isinstance(key, int):
        key = range(len(value))[key]
        step = str(key)
    else:
        raise KeyError(key)
    return Traced(place._file, f"{place._pointer}/{step}", value[key])


def leaves(place: Traced, prefix: str = "") -> dict[str, Traced]:
    """Every value below an object by its path, such as `config.epochs`; a list is one value."""
    found: dict[str, Traced] = {}
    for name in plain(place):
        below = part(place, name)
        found |= leaves(below, f"{prefix}{name}.") if isinstance(plain(below), dict) else {f"{prefix}{name}": below}
    return found


def where(place: Traced) -> str:
    """File and JSON pointer of a place, such as `results/table1.json#/rows/0/cells`."""
    return f"{place._file}#{place._pointer}"


def plain(place: Any) -> Any:
    """The bare value at a place, for figures, which carry their own description."""
    return place._value if isinstance(place, Traced) else place


def traced(file: str, path: Path) -> Traced:
    """The result file at `path`, shown under the name `file`; one that holds NaN or an infinity is refused."""
    return traced_content(file, path, read_json(path))


def traced_content(file: str, path: Path, content: Any) -> Traced:
    """The same of a file that was read before."""
    try:
        canonical_json(content)
    except ValueError:
        raise ReplicateError(
            f"{path} holds a number that is not finite; delete it and run the stage that makes it again."
        ) from None
    return Traced(file, "", content)


class ResultFolder:
    """The result files below one folder, each shown as `results/...` wherever the folder lies.

    Args:
        folder: where they lie.
        name: instead of `results`, the name that the page shows for the folder of another run.
    """

    def __init__(self, folder: Path, name: str = "results") -> None:
        self.folder, self.name = folder, name

    def shown(self, relative: str) -> str:
        """The name that the page shows for a result file."""
        return f"{self.name}/{relative}"

    def read(self, relative: str) -> Traced:
        """A result file."""
        return traced(self.shown(relative), self.folder / relative)


def _formatted(value: int | float, decimals: int | None, digits: int | None) -> str:
    if digits is not None:
        text = f"{value:.{digits}g}"
    elif decimals is None:
        text = f"{int(value):,}" if float(value).is_integer() else repr(value)
    else:
        text = f"{value:z,.{decimals}f}"  # z: no sign on what rounds to zero
    return text.replace("-", MINUS).replace(",", THIN_SPACE)


#: How numbers of many files become one, by the word that the source begins with.
GATHERED: Mapping[str, Callable[[Sequence[float]], float]] = {"sum": math.fsum, "largest": max, "number": len}


def gathered(how: str, places: Sequence[Traced], files: str) -> Traced:
    """One number from the same place of many files; its source says how, of which files, and where in them.

    Args:
        how: a key of `GATHERED`.
        places: numbers, all under the same pointer.
        files: what they have in common, such as `results/*.run.json with the stage train`.
    """
    values = [place._value for place in places]
    return Traced(f"{how} of {files}", places[0]._pointer, GATHERED[how](values))


def number(place: Any, decimals: int | None = None, digits: int | None = None) -> Markup:
    """A number of a result file as HTML: a `data` element with its exact value, and its source as the title.

    Args:
        place: a number in a result file.
        decimals: digits after the point; by default the number as the file has it.
        digits: instead, significant digits, for numbers of any size.

    Raises:
        ReplicateError: the value is not a finite number, or comes from no result file.
    """
    if not isinstance(place, Traced):
        # Turning what a template leaves undefined into text raises Jinja's own error, which names the place.
        shown = f"{place}"
        raise ReplicateError(
            f"{shown!r} would be shown as a number, and no result file has it as one; run the stages again."
        )
    value = plain(place)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise unexpected(place, "a finite number")
    return Markup('<data value="{}" title="{}">{}</data>').format(
        repr(value), where(place), _formatted(value, decimals, digits)
    )


def named_once(content: str, place: Traced) -> Markup:
    """Part of the page in which the sources of one file's numbers are pointers alone, such as `#/per_seed/0`.

    The element around it has the file as its `data-source`: in a long table the name weighs more than the numbers.
    """
    rest = str(content).replace(f'title="{escape(place._file)}#', 'title="#')
    return Markup('<div data-source="{}">{}</div>').format(place._file, Markup(rest))


def text(place: Traced, key: str) -> Markup:
    """Words of a result file, which may hold numbers: escaped, and kept from turning the text around them."""
    if key not in place:
        raise ReplicateError(f"{where(place)} has no {key!r}; run the stage that makes that file again.")
    words = part(place, key)
    if not isinstance(plain(words), str):
        raise unexpected(words, "text")
    return _words(words)


def _words(place: Traced) -> Markup:
    return Markup('<bdi class="text" title="{}">{}</bdi>').format(where(place), plain(place))


def as_json(place: Traced) -> Markup:
    """A part of a result file, quoted as it stands there."""
    return Markup('<code class="json" title="{}">{}</code>').format(where(place), canonical_json(plain(place)).strip())


def setting(place: Traced) -> Markup:
    """A setting of any kind, with its source: a number, text, or JSON."""
    value = plain(place)
    if isinstance(value, str) and value:
        return Markup("<code>{}</code>").format(_words(place))
    return number(place) if isinstance(value, int | float) and not isinstance(value, bool) else as_json(place)


def seed_list(seeds: Traced) -> Markup:
    """Seeds, each with its source: `0, 1, 2`, or `0 to 9` for a long unbroken row."""
    values = plain(seeds)
    if len(values) > 3 and values == list(range(values[0], values[-1] + 1)):
        return number(seeds[0]) + " to " + number(seeds[-1])
    return Markup(", ").join(number(seed) for seed in seeds)
