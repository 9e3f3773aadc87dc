"""Kept runs (results/reference/): each has a list of its files' SHA-256, which its bytes must meet.

The list has the form of `sha256sum`, so that `sha256sum --check SHA256SUMS` says the same. A run
that is still being added to by an older version of the project has none.

Results that are kept and belong to no run (results/tuning/, results/reference/multiverse.json) are
in a list of their folder, which names them alone: what else lies there is nobody's result.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.storage.files import sha256_file, write_text

#: The list, in the folder of a kept run.
LIST = "SHA256SUMS"
#: Where results are kept, below the folder of all results.
KEPT_RESULTS = ("reference", "tuning")
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")

#: The parameter file, by which a folder is that of a run.
PARAMETERS = "params.yaml"

#: Name of a file, relative to the folder of its run -> SHA-256.
Sums = dict[str, str]


def _files(folder: Path) -> dict[str, Path]:
    """The files of a kept run by name, without hidden ones, such as those half written."""
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        name = relative.as_posix()
        is_hidden = any(part_name.startswith(".") for part_name in relative.parts)
        if path.is_file() and not is_hidden and name != LIST:
            files[name] = path
    return files


def sums_of(folder: Path) -> Sums:
    """The digests of the files of a kept run as they are."""
    files = _files(folder)
    return {name: sha256_file(path) for name, path in files.items()}


def read_sums(folder: Path) -> Sums | None:
    """The list of a kept run; None where it has none.

    Raises:
        ReplicateError: it is no such list.
    """
    path = folder / LIST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        # No line of such a list, so that the sentence below is said of it.
        lines = ["?"]
    matches = [_LINE.fullmatch(line) for line in lines]
    sums = {match[2]: match[1] for match in matches if match}
    # A name that stands in it twice makes fewer entries than lines.
    if not lines or len(sums) != len(lines):
        raise ReplicateError(f"{path} is no list of SHA-256 and names; {_remedy(folder)}.")
    return sums


def renew(folder: Path) -> list[str]:
    """Writes the list of a kept run anew where it differs from the files.

    Returns:
        Names of the files that are new, changed or gone.
    """
    try:
        listed = read_sums(folder) or {}
    except ReplicateError:
        listed = {}
    sums = sums_of(folder)
    # Such a folder holds more than results (a README, a plan), and those may change.
    if _is_shared(listed, folder):
        results = [path.name for path in folder.glob("*.json")]
        sums = _present(results, folder)
    names = _differing(listed, sums)
    if names:
        write_sums(folder, sums)
    return names


def _differing(listed: Sums, sums: Sums) -> list[str]:
    """Names that only one of two lists has, or that have another digest in each."""
    names = listed.keys() | sums.keys()
    differing = [name for name in names if listed.get(name) != sums.get(name)]
    return sorted(differing)


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Writes the list of a kept run."""
    # Two spaces: `sha256sum --check` reads it, too.
    lines = [f"{sums[name]}  {name}\n" for name in sorted(sums)]
    write_text(folder / LIST, "".join(lines))


def add_to_sums(folder: Path, texts: Mapping[str, str], written: Collection[str] = ()) -> None:
    """Enters a block's results in the list of a kept run; its other lines stay.

    Where there is no list yet, it begins with the files that are there.

    Args:
        folder: of the run.
        texts: name -> content of the files that are about to be written.
        written: names of files that were just written.
    """
    # Read first: other blocks of the run stand in it, and their lines stay what they were kept as.
    sums = read_sums(folder)
    if sums is None:
        sums = sums_of(folder)
    for name in written:
        sums[name] = sha256_file(folder / name)
    for name, text in texts.items():
        sums[name] = hashlib.sha256(text.encode()).hexdigest()
    write_sums(folder, sums)


def keep_in_list(path: Path) -> None:
    """Enters a result that belongs to no run, and was just written, in the list of its folder.

    Folders without such a list are anybody's, and get none.
    """
    folder = path.parent
    # A folder with a parameter file is a run's, whose list `add_to_sums` keeps.
    if (folder / LIST).is_file() and not (folder / PARAMETERS).is_file():
        sums = read_sums(folder) or {}
        sums[path.name] = sha256_file(path)
        write_sums(folder, sums)


def kept_folders(results: Path) -> list[Path]:
    """The folders of kept results below the folder of all results."""
    folders: list[Path] = []
    for name in KEPT_RESULTS:
        folders += kept_below(results / name)
    return folders


def kept_below(place: Path) -> list[Path]:
    """The folders below `place` with a parameter file, and those with a list, whose parameter file
    may be what was lost.
    """
    folders: set[Path] = set()
    for name in (PARAMETERS, LIST):
        # A set: most runs have both files.
        folders.update(path.parent for path in place.rglob(name))
    return sorted(folders)


def _is_shared(listed: Sums, folder: Path) -> bool:
    """Whether a list names results of no run: a run has a parameter file, or its list has."""
    return PARAMETERS not in listed and not (folder / PARAMETERS).is_file()


def differences(folder: Path) -> list[str]:
    """Names of files of a kept run that are missing, not listed or not as listed; of results that
    belong to no run those that are not as listed.

    There are none without a list.

    Raises:
        ReplicateError: the list cannot be read.
    """
    listed = read_sums(folder)
    if listed is None:
        return []
    sums = _present(listed, folder) if _is_shared(listed, folder) else sums_of(folder)
    return _differing(listed, sums)


def _present(names: Iterable[str], folder: Path) -> Sums:
    """The digests of those of the named files that are there."""
    sums = {}
    for name in names:
        path = folder / name
        if path.is_file():
            sums[name] = sha256_file(path)
    return sums


def _remedy(folder: Path) -> str:
    return (
        f"bring {folder} back from git; if it was meant to change, "
        "`python -m replicate reference --sums` writes the list anew"
    )


def check_kept(folder: Path) -> None:
    """Refuses a kept run whose files are not those of its list.

    Raises:
        ReplicateError: with the first file that differs.
    """
    names = differences(folder)
    if names:
        # The first one is enough to say: the remedy is the same for all.
        path = folder / names[0]
        fault = "is not what it was kept as: changed, damaged or new"
        if not path.is_file():
            fault = "is missing"
        raise ReplicateError(f"{path} {fault} ({folder / LIST}); {_remedy(folder)}.")
