"""Kept runs (results/reference/): each has a list of its files' SHA-256, by which its bytes are judged.

The list has the form of `sha256sum`, so that `sha256sum --check SHA256SUMS` says the same. A run that is still being
added to by an older version of the project has none.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.files import sha256_file, write_text

#: The list, in the folder of a kept run.
LIST = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")

#: Name of a file, relative to the folder of its run -> SHA-256.
Sums = dict[str, str]


def _files(folder: Path) -> dict[str, Path]:
    """The files of a kept run by name; hidden ones, such as those half written, are none."""
    found = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    hidden = [name for name in found if any(part.startswith(".") for part in name.split("/"))]
    return {name: path for name, path in found.items() if name != LIST and name not in hidden}


def sums_of(folder: Path) -> Sums:
    """What the list of a kept run would say of its files as they are."""
    return {name: sha256_file(path) for name, path in _files(folder).items()}


def read_sums(folder: Path) -> Sums | None:
    """What the list of a kept run says; None where it has none.

    Raises:
        ReplicateError: it is no such list.
    """
    path = folder / LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        lines = ["?"]
    matches = [_LINE.fullmatch(line) for line in lines]
    found = {match[2]: match[1] for match in matches if match}
    if not lines or len(found) != len(lines):
        raise ReplicateError(f"{path} is no list of SHA-256 and names; {_remedy(folder)}.")
    return found


def renew(folder: Path) -> list[str]:
    """Writes the list of a kept run anew where its files are others; names of those that are new, changed or gone."""
    try:
        told = read_sums(folder) or {}
    except ReplicateError:
        told = {}
    found = sums_of(folder)
    if differing := _differing(told, found):
        write_sums(folder, found)
    return differing


def _differing(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Writes the list of a kept run."""
    write_text(folder / LIST, "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)))


def add_to_sums(folder: Path, texts: Mapping[str, str], others: Collection[str] = ()) -> None:
    """Brings the list of a kept run to what a block's results will say; what else it says stays.

    Where there is no list yet, it begins with the files that are there.

    Args:
        folder: of the run.
        texts: name -> content of the files that are about to be written.
        others: names of files that were just written.
    """
    known = read_sums(folder)
    sums = sums_of(folder) if known is None else known
    sums |= {name: sha256_file(folder / name) for name in others}
    sums |= {name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()}
    write_sums(folder, sums)


def differences(folder: Path) -> list[str]:
    """Names of the files of a kept run that are not what its list says, missing, or not in it; none without a list.

    Raises:
        ReplicateError: the list is none.
    """
    told = read_sums(folder)
    return [] if told is None else _differing(told, sums_of(folder))


def _remedy(folder: Path) -> str:
    return (
        f"bring {folder} back from git; if it was meant to change, `python -m replicate reference --sums` writes the "
        "list anew"
    )


def check_kept(folder: Path) -> None:
    """Refuses a kept run whose files are not those of its list.

    Raises:
        ReplicateError: with the first file that differs.
    """
    if found := differences(folder):
        path = folder / found[0]
        fault = "is missing" if not path.is_file() else "is not what it was kept as: changed, damaged or new"
        raise ReplicateError(f"{path} {fault} ({folder / LIST}); {_remedy(folder)}.")
