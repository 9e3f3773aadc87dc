"""The image files of a folder or of a zip archive, by name; nothing is extracted."""

import contextlib
import hashlib
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from replicate.errors import ReplicateError

SUFFIXES = (".png", ".jpg", ".jpeg")
#: Bytes of one file; a larger one is refused unread.
MAX_BYTES = 64 << 20
#: Folders below the first one that are looked into, so that a circle of links ends: one that holds all, split, class.
DEPTH = 3


@dataclass(frozen=True)
class Store:
    """Image files by name, in the names' order.

    Attributes:
        path: the folder or archive.
        sizes: name -> bytes. Names have `/` between their parts and Unicode's composed form (NFC), so that they do
            not depend on the file system; one folder that holds all the others is left out of them.
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
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _store(path: Path, sizes: Mapping[str, int], keep: frozenset[str], read: Callable[[str], bytes]) -> Store:
    """The store of the files `sizes` (name as it is there -> bytes); a folder named in `keep` is never left out."""
    images = [name for name in sizes if name.lower().endswith(SUFFIXES)]
    tops = {name.split("/")[0] if "/" in name else "" for name in images}
    common = f"{tops.pop()}/" if len(tops) == 1 and not tops & {"", *keep} else ""
    real: dict[str, str] = {}
    for name in images:
        plain = unicodedata.normalize("NFC", name.removeprefix(common))
        if plain in real:
            raise ReplicateError(f"{path} has two files of the name {plain}; rename one of them.")
        if sizes[name] > MAX_BYTES:
            raise ReplicateError(f"{path}: {name} has {sizes[name]} bytes, more than {MAX_BYTES}; take it out.")
        real[plain] = name
    if not real:
        raise ReplicateError(f"{path} holds no PNG or JPEG file; put images there, or name another `folder`.")
    ordered = {name: sizes[real[name]] for name in sorted(real)}
    return Store(path, ordered, len(sizes) - len(images), lambda name: read(real[name]))


def _walk(folder: Path, prefix: str = "", depth: int = DEPTH) -> Iterator[tuple[str, Path]]:
    for entry in folder.iterdir():
        name = prefix + entry.name
        if _hidden(entry.name):
            continue
        if entry.is_dir():
            if depth == 0:
                raise ReplicateError(f"{entry} lies too deep; images lie in split/class/, split/, class/ or flat.")
            yield from _walk(entry, f"{name}/", depth - 1)
        elif entry.is_file():
            yield name, entry


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _members(archive: zipfile.ZipFile, path: Path) -> Iterator[zipfile.ZipInfo]:
    seen: set[str] = set()
    for member in archive.infolist():
        name = member.filename
        if name.startswith(("/", "\\")) or ".." in name.split("/") or ":" in name.split("/")[0]:
            raise ReplicateError(f"{path}: the member {name!r} points out of the archive; make the archive anew.")
        if name in seen:
            raise ReplicateError(f"{path} has two members of the name {name}; make the archive anew.")
        seen.add(name)
        if member.flag_bits & 1:
            raise ReplicateError(f"{path}: the member {name} is encrypted; make the archive anew without a password.")
        if not member.is_dir() and not _hidden(name):
            yield member


@contextlib.contextmanager
def opened(path: Path, keep: Iterable[str]) -> Iterator[Store]:
    """The store at `path`; a folder of one of the names `keep` is never looked through, even if it holds all.

    Raises:
        ReplicateError: it cannot be read, is no zip archive, or holds no image.
    """
    kept = frozenset(keep)
    try:
        if path.is_dir():
            files = dict(_walk(path))
            sizes = {name: file.stat().st_size for name, file in files.items()}
            yield _store(path, sizes, kept, lambda name: _read_file(files[name]))
            return
        with zipfile.ZipFile(path) as archive:
            members = {member.filename: member for member in _members(archive, path)}
            sizes = {name: member.file_size for name, member in members.items()}
            yield _store(path, sizes, kept, lambda name: archive.read(members[name]))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ReplicateError(f"{path} is not a whole zip archive of images ({reason}); make it anew.") from None
    except OSError as error:
        raise ReplicateError(f"cannot read {error.filename or path}: {error.strerror or error}.") from None


def folder_stamp(path: Path) -> str:
    """A digest of the names, sizes and times of the files in the folder `path`, which are not read."""
    try:
        lines = [f"{name} {file.stat().st_size} {file.stat().st_mtime_ns}" for name, file in sorted(_walk(path))]
    except OSError as error:
        raise ReplicateError(f"cannot read {error.filename or path}: {error.strerror or error}.") from None
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
