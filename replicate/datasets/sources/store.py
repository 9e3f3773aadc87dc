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

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif")
#: How pictures of other kinds end. They are refused, not passed over: without them it would be
#: another data set.
OTHER_PICTURES = (
    *(".gif", ".webp", ".bmp", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jp2", ".jxl"),
    *(".ppm", ".pgm", ".pnm"),
)
#: Hidden folders of programs, whose pictures are copies of their own.
OF_PROGRAMS = frozenset({"__MACOSX", ".git", ".dvc", ".datalad"})
#: How the start of a member is marked in a zip archive (APPNOTE 4.3.7).
MEMBER_START = b"PK\x03\x04"
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
        hidden: how many PNG and JPEG files have a hidden name or lie in a hidden folder; likewise.
        read: name -> content.
    """

    path: Path
    sizes: Mapping[str, int]
    ignored: int
    hidden: int
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


def _is_hidden_image(name: str) -> bool:
    """Whether a hidden file is an image of somebody's, and none of a program's own."""
    parts = name.split("/")
    # macOS puts what its file system knows of x.png beside it, as ._x.png.
    is_of_program = not OF_PROGRAMS.isdisjoint(parts) or parts[-1].startswith("._")
    return not is_of_program and name.lower().endswith(SUFFIXES)


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
    hidden: int,
    is_kept: Callable[[str], bool],
    read: Callable[[str], bytes],
) -> Store:
    """The store of some files.

    Args:
        path: of the folder or archive.
        sizes: name as it is there -> bytes.
        hidden: images that are left out because their names are hidden.
        is_kept: of a folder that holds all: whether its name stays in the names of the files.
        read: name as it is there -> content.
    """
    others = sorted(name for name in sizes if name.lower().endswith(OTHER_PICTURES))
    if others:
        raise ReplicateError(
            f"{path} has {len(others)} picture(s) that are no PNG or JPEG: {some_of(others)}; "
            "convert them or take them out."
        )
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
    return Store(path, sorted_sizes, ignored, hidden, lambda name: read(names[name]))


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


def _hidden_images(folder: Path, depth: int = DEPTH) -> int:
    """How many images below a folder are left out because their names are hidden."""
    count = 0
    for entry in folder.iterdir():
        if not _hidden(entry.name):
            if depth and entry.is_dir():
                count += _hidden_images(entry, depth - 1)
        elif entry.is_dir() and entry.name not in OF_PROGRAMS:
            names = [path.name for path in entry.rglob("*")]
            count += sum(_is_hidden_image(name) for name in names)
        else:
            count += _is_hidden_image(entry.name)
    return count


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
        # One byte more shows that the file has grown beyond the limit since its size was read.
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


def _check_whole(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuses a file in which members stand before those that the archive lists.

    So are two archives that were written one after the other: the first one's members would be
    lost without a word. What unpacks itself has a program there.
    """
    first = min((member.header_offset for member in archive.infolist()), default=0)
    with path.open("rb") as stream:
        start = stream.read(len(MEMBER_START))
    if first > 0 and start == MEMBER_START:
        raise ReplicateError(
            f"{path} has members that it does not list, as of two archives one after the other; "
            "make one archive of all images."
        )


def _members(archive: zipfile.ZipFile, path: Path) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """The files of an archive, with their names.

    Raises:
        ReplicateError: a name comes twice or leads out of the archive, or a member is encrypted.
    """
    names: set[str] = set()
    for member in archive.infolist():
        name = _name(member)
        _plain(name, path)
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
        if not name.endswith(("/", "\\")):
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
            hidden = _hidden_images(path)
            yield _store(path, sizes, hidden, is_kept, lambda name: _read_file(files[name]))
            return
        # Read member by member in place: names are never paths on this disk.
        with zipfile.ZipFile(path) as archive:
            _check_whole(archive, path)
            members = dict(_members(archive, path))
            hidden = 0
            sizes = {}
            for name, member in members.items():
                plain = _plain(name, path)
                if _hidden(plain):
                    hidden += _is_hidden_image(plain)
                else:
                    sizes[name] = member.file_size
            yield _store(path, sizes, hidden, is_kept, lambda name: archive.read(members[name]))
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
    """A digest of the names, sizes, times and places on disk of the files in a folder, which are
    not read.

    With the time of the entry (ctime), which nobody can set: an edit may keep the other one.
    """
    faults: list[str] = []
    lines: list[str] = []
    try:
        files = sorted(_walk(path, faults))
        for name, file in files:
            status = file.stat()
            times = f"{status.st_mtime_ns} {status.st_ctime_ns}"
            line = f"{name} {status.st_size} {times} {status.st_ino}"
            lines.append(line)
    except OSError as error:
        raise ReplicateError(
            f"cannot read {error.filename or path}: {error.strerror or error}."
        ) from None
    text = "\n".join([*lines, *sorted(faults)])
    return hashlib.sha256(_bytes(text)).hexdigest()
