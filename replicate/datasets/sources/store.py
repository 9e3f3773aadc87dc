"""The image files of a folder or of a zip archive, by name; nothing is extracted."""

import contextlib
import hashlib
import lzma
import os
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from replicate.errors import ReplicateError

SUFFIXES = (".png", ".jpg", ".jpeg")
#: Bytes of one file; a larger one is refused unread.
MAX_BYTES = 64 << 20
#: Entries that a message names.
MAX_NAMED = 5
#: What a damaged member of an archive makes its decoder raise.
DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError)
#: Folders below the first one that are looked into, so that a circle of links ends: one that holds
#: all, split, class.
DEPTH = 3


@dataclass(frozen=True)
class Store:
    """Image files by name, in the names' order.

    Attributes:
        path: the folder or archive.
        sizes: name -> bytes. Names are plain (`_plain`) and in Unicode's composed form (NFC), so
            that they do not depend on the file system or the archiver; one folder that holds all
            the others is left out of them.
        ignored: how many visible files are no PNG or JPEG by name; they are not read.
        read: name -> content.
    """

    path: Path
    sizes: Mapping[str, int]
    ignored: int
    read: Callable[[str], bytes]

    def digest(self) -> str:
        """SHA-256 of the lines "sha256  name", as `sha256sum` prints them for all files in the
        names' order.
        """
        lines = ""
        for name in self.sizes:
            content = self.read(name)
            digest = hashlib.sha256(content).hexdigest()
            lines += f"{digest}  {name}\n"
        return hashlib.sha256(_bytes(lines)).hexdigest()


def some_of(faults: Sequence[str]) -> str:
    """The first of many faults, and how many more there are."""
    names = "; ".join(faults[:MAX_NAMED])
    left = len(faults) - MAX_NAMED
    if left <= 0:
        return names
    return f"{names} and {left} more"


def _bytes(text: str) -> bytes:
    """UTF-8, with the bytes of file names that are none as they are."""
    return text.encode("utf-8", "surrogateescape")


def _hidden(name: str) -> bool:
    parts = name.split("/")
    return "__MACOSX" in parts or any(part.startswith(".") for part in parts)


def _plain(name: str, path: Path) -> str:
    """A name with `/` between its parts, which some archivers write as a backslash, and without
    empty ones and `.`.

    Raises:
        ReplicateError: it would lead out of the folder or archive at `path`.
    """
    # Archives made on Windows may have names such as train\cat\1.png (python/cpython#91036).
    parts = name.replace("\\", "/").split("/")
    has_drive = re.match("[A-Za-z]:", name) is not None
    if parts[0] == "" or ".." in parts or has_drive:
        raise ReplicateError(
            f"{path}: the member {name!r} points out of the archive; make the archive anew."
        )
    plain_parts = [part for part in parts if part not in ("", ".")]
    return "/".join(plain_parts)


def _store(
    path: Path,
    sizes: Mapping[str, int],
    is_kept: Callable[[str], bool],
    read: Callable[[str], bytes],
) -> Store:
    """The store of some files.

    Args:
        path: of the folder or archive.
        sizes: name as it is there -> bytes.
        is_kept: of a folder that holds all: whether its name stays in the names of the files.
        read: name as it is there -> content.
    """
    plain_names = {name: _plain(name, path) for name in sizes if name.lower().endswith(SUFFIXES)}
    common = _common_folder(plain_names.values(), is_kept)
    names: dict[str, str] = {}  # the store's name -> the name as it is there
    for name, plain in plain_names.items():
        # macOS writes an umlaut as two characters: the same name must not be another one there.
        plain = unicodedata.normalize("NFC", plain.removeprefix(common))
        # Of two files one would silently take the other's place.
        if plain in names:
            raise ReplicateError(f"{path} has two files of the name {plain}; rename one of them.")
        if sizes[name] > MAX_BYTES:
            raise ReplicateError(
                f"{path}: {name} has {sizes[name]} bytes, more than {MAX_BYTES}; take it out."
            )
        names[plain] = name
    if not names:
        raise ReplicateError(
            f"{path} holds no PNG or JPEG file; put images there, or name another `folder`."
        )
    sorted_sizes = {name: sizes[names[name]] for name in sorted(names)}
    ignored = len(sizes) - len(names)
    return Store(path, sorted_sizes, ignored, lambda name: read(names[name]))


def _common_folder(names: Iterable[str], is_kept: Callable[[str], bool]) -> str:
    """The folder that holds all files, with its slash; "" if none does or its name is kept."""
    folders = set()
    for name in names:
        folder, slash, _ = name.partition("/")
        folders.add(folder if slash else "")
    if len(folders) != 1:
        return ""
    folder = folders.pop()
    if folder == "" or is_kept(folder):
        return ""
    return f"{folder}/"


def _walk(
    folder: Path, faults: list[str], prefix: str = "", depth: int = DEPTH
) -> Iterator[tuple[str, Path]]:
    """The visible files below a folder, with their names; `faults` gets a clause for every entry
    that is neither file nor folder.
    """
    for entry in folder.iterdir():
        name = prefix + entry.name
        if _hidden(entry.name):
            continue
        if entry.is_dir():
            if depth == 0:
                raise ReplicateError(
                    f"{entry} lies too deep; images lie in split/class/, split/, class/ or flat."
                )
            yield from _walk(entry, faults, f"{name}/", depth - 1)
        elif entry.is_file():
            yield name, entry
        else:
            # git-annex leaves a link to nothing for every file that was not fetched; passed over in
            # silence they would make a smaller data set of the same name.
            kind = "a link to nothing" if entry.is_symlink() else "no file or folder"
            faults.append(f"{name} is {kind}")


def _readable(path: Path) -> dict[str, Path]:
    """The files of a folder by name.

    Raises:
        ReplicateError: some entries cannot be read; without them it would be another data set.
    """
    faults: list[str] = []
    files = dict(_walk(path, faults))
    count = len(files) + len(faults)
    for name, file in files.items():
        if not os.access(file, os.R_OK):
            faults.append(f"{name} may not be read by this user")
    if faults:
        raise ReplicateError(
            f"{len(faults)} of {count} entries in {path} cannot be read: "
            f"{some_of(sorted(faults))}; get or mount what links point to (`git annex get`), "
            "make files readable, or take them out."
        )
    return files


def _read_file(path: Path) -> bytes:
    with path.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _name(member: zipfile.ZipInfo) -> str:
    """The name of a member: UTF-8 if it can be, which archivers also write without saying so."""
    # Bit 11: the archiver says that the name is UTF-8.
    if member.flag_bits & 0x800:
        return member.filename
    try:
        # zipfile has read the bytes as cp437, as the format has it.
        return member.filename.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member.filename


def _members(archive: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """The visible files of an archive, with their names.

    Raises:
        ReplicateError: a name comes twice or leads out of the archive, or a member is encrypted.
    """
    names: set[str] = set()
    for member in archive.infolist():
        name = _name(member)
        plain = _plain(name, path)
        # By their name only the last of them would be read.
        if name in names:
            raise ReplicateError(
                f"{path} has two members of the name {name}; make the archive anew."
            )
        names.add(name)
        if member.flag_bits & 1:
            raise ReplicateError(
                f"{path}: the member {name} is encrypted; make the archive anew without a password."
            )
        if not name.endswith(("/", "\\")) and not _hidden(plain):
            yield name, member


@contextlib.contextmanager
def opened(path: Path, is_kept: Callable[[str], bool]) -> Iterator[Store]:
    """The store at `path`, for as long as it is open.

    Args:
        path: a folder or a zip archive.
        is_kept: of a folder that holds all: whether its name stays in the names of the files.

    Raises:
        ReplicateError: it cannot be read, is no zip archive, or holds no image.
    """
    try:
        if path.is_dir():
            files = _readable(path)
            sizes = {name: file.stat().st_size for name, file in files.items()}
            yield _store(path, sizes, is_kept, lambda name: _read_file(files[name]))
            return
        # Read member by member in place: names are never paths on this disk.
        with zipfile.ZipFile(path) as archive:
            members = dict(_members(archive, path))
            sizes = {name: member.file_size for name, member in members.items()}
            yield _store(path, sizes, is_kept, lambda name: archive.read(members[name]))
    except (*DAMAGE, UnicodeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ReplicateError(
            f"{path} is not a whole zip archive of images ({reason}); make it anew."
        ) from None
    except OSError as error:
        raise ReplicateError(
            f"cannot read {error.filename or path}: {error.strerror or error}."
        ) from None


def folder_stamp(path: Path) -> str:
    """A digest of the names, sizes and times of the files in a folder, which are not read."""
    faults: list[str] = []
    lines: list[str] = []
    try:
        files = sorted(_walk(path, faults))
        for name, file in files:
            status = file.stat()
            line = f"{name} {status.st_size} {status.st_mtime_ns}"
            lines.append(line)
    except OSError as error:
        raise ReplicateError(
            f"cannot read {error.filename or path}: {error.strerror or error}."
        ) from None
    text = "\n".join([*lines, *sorted(faults)])
    return hashlib.sha256(_bytes(text)).hexdigest()
