"""What a user's path may stand for: a home folder, a link, or what no output may replace."""

import errno
import os
import stat
from pathlib import Path

from replicate.errors import ReplicateError

#: How files end that stages put beside an output of the same name.
SIDE_SUFFIXES = (".json", ".run.json", ".safetensors", ".csv")
#: Bytes of an output's name: file systems take 255, and a temporary file's name has 15 more.
MAX_NAME_BYTES = 240
#: What may stand where a file is to be written, and how it is called.
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def package_root() -> Path:
    """The folder that holds the package's folder: a checkout, or where packages are installed."""
    return Path(__file__).parent.parent.parent


def dangling_link(path: Path) -> Path | None:
    """The first of `path` and the folders above it that is a link to nothing; None if none is."""
    for ancestor in (path, *path.parents):
        try:
            ancestor.stat()
        except OSError as error:
            # Other failures, such as a missing right, say nothing of where a link leads.
            leads_nowhere = error.errno in (errno.ENOENT, errno.ELOOP)
            if leads_nowhere and os.path.islink(ancestor):  # noqa: PTH114 (never raises)
                return ancestor
    return None


def unmounted(link: Path) -> str:
    """What is wrong with a link to nothing, and what to do: a clause."""
    return (
        f"{link} is a link to {link.readlink()}, which is not there (a disk that is not mounted?); "
        "mount it or remove the link"
    )


def home_path(text: str, title: str = "the path") -> Path:
    """`text` as a path, with ~ and ~user as the home folders that they stand for.

    Args:
        title: what the path is, for the message.

    Raises:
        ReplicateError: there is no such user, or this one has no home folder.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise ReplicateError(
            f"{title} {text!r} names a home folder that is not known; write the whole path."
        ) from None


def output_path(path: Path) -> Path:
    """Where an output `path` is written: there, or in the plain file that it is a link to.

    So a link stays a link. A link to a file without any right to write is replaced instead: such
    files are the stores of DVC and git-annex, whose contents belong to every checkout.

    Raises:
        ReplicateError: what stands there is no plain file, or its name is not UTF-8, which no
            result can hold.
    """
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise ReplicateError(
            f"the name of the output {path} is not UTF-8; choose another one."
        ) from None
    if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
        raise ReplicateError(
            f"the name of the output {path} is longer than {MAX_NAME_BYTES} bytes; "
            "choose a shorter one."
        )
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP) and path.is_symlink():
            raise ReplicateError(f"cannot write {path}: {unmounted(path)}.") from None
        return path  # absent, or the write says what is wrong
    # The rename would put a file in the place of whatever stands there: as root, of a device too.
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no plain file")
        raise ReplicateError(
            f"cannot write {path}: it is {kind}, and outputs are plain files; name another path."
        )
    return path.resolve() if path.is_symlink() and mode & 0o222 else path


def check_output(path: Path, folder: bool = False) -> None:
    """Refuses an output that could not be written, before hours of work: `path`, and what a stage
    puts beside it.

    Args:
        path: of the output.
        folder: whether the stage writes a folder of that name, with files in it.

    Raises:
        ReplicateError: something else stands there.
    """
    link = dangling_link(path)
    if link is not None:
        raise ReplicateError(f"cannot write {path}: {unmounted(link)}.")
    if folder:
        exists = os.path.exists(path)  # noqa: PTH110 (false where the path is too long)
        if exists and not path.is_dir():
            raise ReplicateError(
                f"cannot write {path}: it is no folder, and this stage writes one; "
                "name another path."
            )
        return
    output_path(path)
    # A folder that stands where the record belongs would show only after the work.
    for suffix in SIDE_SUFFIXES:
        output_path(path.with_suffix(suffix))
