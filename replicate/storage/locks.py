"""Kernel locks (flock): how processes that would do the same work keep out of each other's way.

A lock belongs to an open file or folder and goes with the last process that has it open, however
that process ends. Where the file system has no locks, the work goes on and a note says so once.

Who locks what:

- every writer, shared, the folder that it writes into (`storage/files.py`);
- a training its folder of checkpoints (`training/checkpoint.py`);
- every job, shared, `.replicate/jobs.lock`, and an engine that asks for jobs (`jobs/context.py`);
- a job on a host with several GPUs a file of the card that it uses (`training/gpu_lease.py`);
- a fetch the folder of raw files (`datasets/sources/download.py`);
- a reference block, and the list of a reference run's files (`reference/blocks.py`, `keeping.py`);
- Snakemake's main process `.snakemake/replicate.lock` (`workflow/rules/common.smk`).

The library filelock (4.2) does not serve here. It locks files that it makes, not folders, so every
folder with outputs would keep a lock file. Its shared lock is a transaction of SQLite, not of the
kernel. It hides its descriptor, which a reference block hands to its children. Of the ways in which
a file system says that it has no locks it knows ENOSYS alone: ENOLCK, ENOTSUP, EINVAL and EBADF end
the work, and EACCES counts as a lock that another process holds.
"""

import fcntl
from enum import Enum
from pathlib import Path

from replicate.storage.filesystem import ABSENT, note_once

MISSING_LOCKS = (
    "has no locks ({why}): two processes at the same work are not kept apart there, and what a "
    "killed one left half written stays; start one at a time"
)


class LockState(Enum):
    """What came of asking for a lock without waiting."""

    HELD = "held by this process"
    BUSY = "held by another process"
    UNSUPPORTED = "the file system has no locks"


def try_lock(handle: int, path: Path, *, shared: bool = False) -> LockState:
    """Locks an open file or folder unless another process is in the way.

    Args:
        handle: a descriptor of `path`, or of a file in it.
        path: named in the note where there are no locks.
        shared: along with others that share it; else alone.

    Raises:
        OSError: a real failure, such as a broken disk.
    """
    operation = _kind(shared) | fcntl.LOCK_NB
    return _flock(handle, operation, path)


def wait_for_lock(handle: int, path: Path, *, shared: bool = False) -> None:
    """Locks as `try_lock` does, after waiting for those in the way; passes without any lock where
    there are none.
    """
    _flock(handle, _kind(shared), path)


def _kind(shared: bool) -> int:
    return fcntl.LOCK_SH if shared else fcntl.LOCK_EX


def _flock(handle: int, operation: int, path: Path) -> LockState:
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        return LockState.BUSY
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        note_once("locks", MISSING_LOCKS, path, error)
        return LockState.UNSUPPORTED
    return LockState.HELD
