"""The image files of a folder or of a zip archive, by name; nothing is extracted."""

import contextlib
import hashlib
import lzma
import os
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from replicate.errors import ReplicateError

SUFFIXES = (".png", ".jpg", ".jpeg")
#: Bytes of one file; a larger one is refused unread.
MAX_BYTES = 64 << 20
#: Entries that a message names.
NAMED = 5
#: What a damaged member of an archive makes its decoder raise.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError)
#: Folders below the first one that are looked into, so that a circle of links ends: one that holds all, split, class.
DEPTH = 3


@dataclass(frozen=True)
class Store:
    """Image files by name, in the names' order.

    Attributes:
        path: the folder or archive.
        sizes: name -> bytes. Names are plain (`_plain`) and in Unicode's composed form (NFC), so that they do not
            depend on the file system or the archiver; one folder that holds all the others is left out of them.
        others: how many visible files are no PNG or JPEG by name; they are not read.
        read: gives the content of a name.
    """

    path: Path
    sizes: Mapping[str, int]
    others: int
    read: Callable[[str], bytes]

    def digest(self) -> str:
        """SHA-256 of the lines "sha256  name", as `sha256sum` prints them for all files in the names' order."""
        lines = (f"{hashlib.sha256(self.read(name)).hexdigest()}  {name}\n" for name in self.sizes)
        return hashlib.sha256(_bytes("".join(lines))).hexdigest()


def some_of(faults: Sequence[str]) -> str:
    """The first of many faults, and how many more there are."""
    more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return f"{'; '.join(faults[:NAMED])}{more}"


def _bytes(text: str) -> bytes:
    """UTF-8, with the bytes of file names that are none as they are."""
    return text.encode("utf-8", "surrogateescape")


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _plain(name: str, path: Path) -> str:
    """A name with `/` between its parts, which some archivers write as a backslash, and without empty ones and `.`.

    Raises:
        ReplicateError: it would lead out of the folder or archive at `path`.
    """
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or re.match("[A-Za-z]:", name):
        raise ReplicateError(f"{path}: the member {name!r} points out of the archive; make the archive anew.")
    return "/".join(part for part in parts if part not in ("", "."))


def _store(path: Path, sizes: Mapping[str, int], keep: Callable[[str], bool], read: Callable[[str], bytes]) -> Store:
    """The store of the files `sizes` (name as it is there -> bytes); a folder that `keep` knows is never left out."""
    images = {name: _plain(name, path) for name in sizes if name.lower().endswith(SUFFIXES)}
    tops = {plain.split("/")[0] if "/" in plain else "" for plain in images.values()}
    whole = len(tops) == 1 and not any(top == "" or keep(top) for top in tops)
    common = f"{tops.pop()}/" if whole else ""
    real: dict[str, str] = {}
    for name, plain in images.items():
        plain = unicodedata.normalize("NFC", plain.removeprefix(common))
        if plain in real:
            raise ReplicateError(f"{path} has two files of the name {plain}; rename one of them.")
        if sizes[name] > MAX_BYTES:
            raise ReplicateError(f"{path}: {name} has {sizes[name]} bytes, more than {MAX_BYTES}; take it out.")
        real[plain] = name
    if not real:
        raise ReplicateError(f"{path} holds no PNG or JPEG file; put images there, or name another `folder`.")
    ordered = {name: sizes[real[name]] for name in sorted(real)}
    return Store(path, ordered, len(sizes) - len(images), lambda name: read(real[name]))


def _walk(folder: Path, faults: list[str], prefix: str = "", depth: int = DEPTH) -> Iterator[tuple[str, Path]]:
    """The visible files below a folder by name; `faults` gets a clause for every entry that is none."""
    for entry in folder.iterdir():
        name = prefix + entry.name
        if _hidden(entry.name):
            continue
        if entry.is_dir():
            if depth == 0:
                raise ReplicateError(f"{entry} lies too deep; images lie in split/class/, split/, class/ or flat.")
            yield from _walk(entry, faults, f"{name}/", depth - 1)
        elif entry.is_file():
            yield name, entry
        else:
            faults.append(f"{name} is {'a link to nothing' if entry.is_symlink() else 'no file or folder'}")


def _readable(path: Path) -> dict[str, Path]:
    """The files of a folder by name.

    Raises:
        ReplicateError: some entries cannot be read; to leave them out would make another data set of it.
    """
    faults: list[str] = []
    files = dict(_walk(path, faults))
    count = len(files) + len(faults)
    faults += [f"{name} may not be read by this user" for name, file in files.items() if not os.access(file, os.R_OK)]
    if faults:
        raise ReplicateError(
            f"{len(faults)} of {count} entries in {path} cannot be read: {some_of(sorted(faults))}; get or mount what "
            "links point to (`git annex get`), make files readable, or take them out."
        )
    return files


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a member: UTF-8 if it can be, as archivers also write it where they do not say so."""
    if member.flag_bits & 0x800:
        return member.filename
    try:
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _members(archive: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    seen: set[str] = set()
    for member in archive.infolist():
        name = _name(member)
        plain = _plain(name, path)
        if name in seen:
            raise ReplicateError(f"{path} has two members of the name {name}; make the archive anew.")
        seen.add(name)
        if member.flag_bits & 1:
            raise ReplicateError(f"{path}: the member {name} is encrypted; make the archive anew without a password.")
        if not name.endswith(("/", "\\")) and not _hidden(plain):
            yield name, member


@contextlib.contextmanager
def opened(path: Path, keep: Callable[[str], bool]) -> Iterator[Store]:
    """The store at `path`; a folder whose name `keep` knows is never looked through, even if it holds all.

    Raises:
        ReplicateError: it cannot be read, is no zip archive, or holds no image.
    """
    try:
        if path.is_dir():
            files = _readable(path)
            sizes = {name: file.stat().st_size for name, file in files.items()}
            yield _store(path, sizes, keep, lambda name: _read_file(files[name]))
            return
        with zipfile.ZipFile(path) as archive:
            members = dict(_members(archive, path))
            sizes = {name: member.file_size for name, member in members.items()}
            yield _store(path, sizes, keep, lambda name: archive.read(members[name]))
    except (*DAMAGE, UnicodeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ReplicateError(f"{path} is not a whole zip archive of images ({reason}); make it anew.") from None
    except OSError as error:
        raise ReplicateError(f"cannot read {error.filename or path}: {error.strerror or error}.") from None


def folder_stamp(path: Path) -> str:
    """A digest of the names, sizes and times of the files in the folder `path`, which are not read."""
    faults: list[str] = []
    try:
        lines = [
            f"{name} {file.stat().st_size} {file.stat().st_mtime_ns}" for name, file in sorted(_walk(path, faults))
        ]
    except OSError as error:
        raise ReplicateError(f"cannot read {error.filename or path}: {error.strerror or error}.") from None
    return hashlib.sha256(_bytes("\n".join([*lines, *sorted(faults)]))).hexdigest()
