"""What a file system may lack: locks (flock) and flushing on demand (fsync), above all of folders.

Results are right without either. Locks keep two processes from the same work, and flushing keeps what was written
from a power cut, so what is missing is said once, and the work goes on. Every other failure is a real one.
"""

import errno
import fcntl
import os
import sys
from pathlib import Path

#: What a system answers to a request that it does not know or does not allow at all. Lustre without `-o flock` and
#: gVisor say ENOSYS, NFS without its lock service ENOLCK, NFS of a descriptor opened to read EBADF, SMB and FUSE
#: ENOTSUP or EINVAL (fsync(2) names EINVAL), a security module EACCES or EPERM. A disk that fails (EIO), is full
#: (ENOSPC, EDQUOT) or is gone (ESTALE) is not among them.
ABSENT = frozenset({
    errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.ENOTTY,
    errno.EACCES, errno.EPERM,
})  # fmt: skip
#: What was told already, by this process or by the one that started it (Snakemake starts many).
TOLD = "REPLICATE_TOLD"
LOCKS = (
    "has no locks ({why}): two processes at the same work are not kept apart there, and what a killed one left half "
    "written stays; start one at a time"
)
FLUSHING = "does not flush to disk on demand ({why}): a power cut may undo the last writes"


def _tell(feature: str, sentence: str, place: Path, error: OSError) -> None:
    told = os.environ.get(TOLD, "").split()
    if feature in told:
        return
    os.environ[TOLD] = " ".join([*told, feature])
    words = sentence.format(why=error.strerror or error)
    print(f"note: the file system of {place} {words}.", file=sys.stderr, flush=True)


def lock(handle: int, operation: int, place: Path) -> bool:
    """Locks an open file or folder (flock); the lock goes with the process.

    Args:
        handle: a descriptor of `place`.
        operation: LOCK_EX or LOCK_SH, with LOCK_NB where it must not wait.

    Returns:
        True if it is locked, False where the file system has no locks.

    Raises:
        BlockingIOError: another process has it (LOCK_NB).
        OSError: a real failure.
    """
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        _tell("locks", LOCKS, place, error)
        return False
    return True


def flush(handle: int, place: Path) -> None:
    """Flushes an open file or folder to disk (fsync), where the file system can; raises OSError on a real failure."""
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        _tell("flushing", FLUSHING, place, error)


def flush_folder(folder: Path) -> None:
    """Flushes a folder's entries to disk, so that a rename in it survives a power cut."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        _tell("flushing", FLUSHING, folder, error)  # a folder that may be written and not read
        return
    try:
        flush(handle, folder)
    finally:
        os.close(handle)
