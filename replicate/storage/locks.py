"""Kernel locks (flock): how processes that would do the same work keep out of each other's way.

A lock belongs to an open file or folder and goes with the last process that has it open, however
that process ends. Where the file system has none, a note says so once, and a `Lock` is held by a
file that names its host and process (`lock_files.py`); what a killed process left half written is
then not cleared away by writers, who lock folders.

Who locks what:

- every writer, shared, the folder that it writes into (`storage/files.py`);
- a training its folder of checkpoints (`training/checkpoint.py`);
- every job, shared, `.replicate/jobs.lock`, and an engine that asks for jobs (`jobs/context.py`);
- a job on a host with several GPUs a file of the card that it uses (`training/gpu_lease.py`);
- a fetch the folder of raw files (`datasets/sources/download.py`);
- a reference block, and the list of a reference run's files (`reference_runs/blocks.py`,
  `keeping.py`), which an unpacking has too;
- `tune` a file for each result that it adds trials to (`stages/tune.py`);
- Snakemake's main process `.snakemake/replicate.lock` (`workflow/rules/common.smk`).

The library filelock (4.2) does not serve here. It locks files that it makes, not folders, so every
folder with outputs would keep a lock file. Its shared lock is a transaction of SQLite, not of the
kernel. It hides its descriptor, which a reference block hands to its children. Of the ways in which
a file system says that it has no locks it knows ENOSYS alone: ENOLCK, ENOTSUP, EINVAL and EBADF end
the work, and EACCES counts as a lock that another process holds.
"""

import fcntl
import time
from enum import Enum
from pathlib import Path

from replicate.storage.filesystem import ABSENT, note_once
from replicate.storage.lock_files import LockFile

MISSING_LOCKS = (
    "has no locks ({why}): files with the host and the number of a process stand for them, and "
    "what a killed one left half written stays"
)


#: Seconds between two looks at a lock that is held by files.
LOOK_EVERY = 0.5


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


class Lock:
    """A lock by the kernel, or by files that name their holders where the kernel has none.

    Args:
        handle: a descriptor of `file`, which the caller closes; with it the kernel's lock goes.
        file: the lock's file; lock files lie in a folder of its name.

    Attributes:
        by_kernel: whether it was the kernel that answered last.
    """

    def __init__(self, handle: int, file: Path) -> None:
        self.handle = handle
        self.by_kernel = True
        self._file = file
        self._lock_file = LockFile(file.with_name(f"{file.name}.holders"))

    def take(self, *, shared: bool = False) -> bool:
        """Locks unless another process is in the way.

        Args:
            shared: along with others that share it; else alone.

        Raises:
            OSError: a real failure, such as a broken disk.
        """
        state = try_lock(self.handle, self._file.parent, shared=shared)
        # Asked each time: a file system that was mounted anew may have locks now.
        self.by_kernel = state is not LockState.UNSUPPORTED
        if self.by_kernel:
            return state is LockState.HELD
        return self._lock_file.take(shared=shared)

    def wait(self, *, shared: bool = False) -> None:
        """Locks after waiting for those in the way."""
        wait_for_lock(self.handle, self._file.parent, shared=shared)
        while not self.take(shared=shared):
            time.sleep(LOOK_EVERY)

    def release(self) -> None:
        """Gives up what is held by a file; the kernel's lock goes with the handle."""
        self._lock_file.release()

    @property
    def holder(self) -> str:
        """Who was in the way, with what to do if it is on another machine; empty if nobody says."""
        return "; ".join(str(holder) for holder in self._lock_file.others)
