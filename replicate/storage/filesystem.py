"""What a file system may lack: locks (flock) and flushing on demand (fsync), above all of folders.

Results are right without either. Locks keep two processes from the same work (`locks.py`), and
flushing keeps what was written from a power cut, so what is missing is noted once, and the work
goes on. Every other failure is a real one.
"""

import errno
import os
import sys
from pathlib import Path

#: What a system answers to a request that it does not know or does not allow at all. Lustre without
#: `-o flock` and gVisor say ENOSYS, NFS without its lock service ENOLCK, NFS of a descriptor opened
#: to read EBADF, SMB and FUSE ENOTSUP or EINVAL (fsync(2) names EINVAL), a security module EACCES
#: or EPERM. A disk that fails (EIO), is full (ENOSPC, EDQUOT) or is gone (ESTALE) is not among
#: them.
ABSENT = frozenset(
    {
        errno.ENOSYS,
        errno.ENOLCK,
        errno.ENOTSUP,
        errno.EOPNOTSUPP,
        errno.EINVAL,
        errno.EBADF,
        errno.ENOTTY,
        errno.EACCES,
        errno.EPERM,
    }
)
#: What was noted already, by this process or by the one that started it (Snakemake starts many).
NOTED = "REPLICATE_TOLD"
MISSING_FLUSH = "does not flush to disk on demand ({why}): a power cut may undo the last writes"


def note_once(feature: str, template: str, path: Path, error: OSError) -> None:
    """Prints a note on what the file system of `path` lacks, the first time that it shows.

    Args:
        feature: what is missing, in one word.
        template: how the sentence ends, with `{why}` for what the system answered.
    """
    noted = os.environ.get(NOTED, "").split()
    if feature in noted:
        return
    # In the environment, which reaches the jobs that this process starts.
    os.environ[NOTED] = " ".join([*noted, feature])
    words = template.format(why=error.strerror or error)
    print(f"note: the file system of {path} {words}.", file=sys.stderr, flush=True)


def flush(handle: int, path: Path) -> None:
    """Flushes an open file or folder to disk (fsync), where the file system can.

    Args:
        handle: a descriptor of `path`, or of a file in it.
        path: named in the note where the file system cannot.

    Raises:
        OSError: a real failure.
    """
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        note_once("flushing", MISSING_FLUSH, path, error)


def flush_folder(folder: Path) -> None:
    """Flushes a folder's entries to disk, so that a rename in it survives a power cut."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        # A folder that may be written and not read.
        note_once("flushing", MISSING_FLUSH, folder, error)
        return
    try:
        flush(handle, folder)
    finally:
        os.close(handle)
