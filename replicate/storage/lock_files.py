"""Locks where the kernel gives none: files whose names say which process holds them.

Whoever asks makes a file of its own first, and looks for those of others after that, so that of two
that ask at once at least one sees the other. Where both do, each takes its file back and asks again
a moment later. The file of a process of this machine that has ended counts for nothing and is
removed; names are never used twice, so nobody can remove that of a living one. Whether a process of
another machine lives cannot be told here: its file stands until a person removes it.
"""

import contextlib
import os
import random
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from replicate.storage.processes import Process, this_process

#: Words of a lock file's name: how the lock is held.
ALONE, SHARED = "alone", "shared"
#: Between the words of a name; no host's name has it.
BETWEEN = "+"
#: How often one asks before the other is taken to hold it, and seconds between, at most.
ATTEMPTS, PAUSE = 4, 0.1


@dataclass(frozen=True)
class Holder:
    """A process that holds a lock, by its own word.

    Attributes:
        process: which one.
        file: its lock file.
    """

    process: Process
    file: Path

    def __str__(self) -> str:
        """For people, with what to do about one of another machine."""
        if self.process.is_here:
            return str(self.process)
        return f"{self.process}; if it no longer runs there, remove {self.file}"


class LockFile:
    """The file by which this process holds a lock.

    Args:
        folder: of the files of all processes on one lock; it is there while there are any.

    Attributes:
        others: who was in the way when it was last asked for.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.others: list[Holder] = []
        self._file: Path | None = None

    def take(self, *, shared: bool = False) -> bool:
        """Takes the lock; False where others are in the way.

        Args:
            shared: along with others that share it; else alone.

        Raises:
            OSError: the file system takes no files either.
        """
        self.release()
        for _ in range(ATTEMPTS):
            self._file = self._announce(SHARED if shared else ALONE)
            self.others = self._in_the_way(shared)
            if not self.others:
                return True
            # Before the pause, or others would find it held; not as long for two that ask at once.
            self.release()
            time.sleep(random.uniform(0, PAUSE))
        return False

    def release(self) -> None:
        """Gives the lock up, if it is held."""
        if self._file is None:
            return
        self._file.unlink(missing_ok=True)
        self._file = None
        with contextlib.suppress(OSError):  # others have theirs in it
            self.folder.rmdir()

    def _announce(self, how: str) -> Path:
        """Makes the file of this process."""
        process = this_process()
        # The last word makes the name one of its own, for a process may hold several.
        words = (how, process.host, str(process.number), process.began, secrets.token_hex(4))
        file = self.folder / BETWEEN.join(words)
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Whoever gave its lock up may have removed the folder at this moment.
            with contextlib.suppress(FileNotFoundError):
                os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
                return file

    def _in_the_way(self, shared: bool) -> list[Holder]:
        """Who holds the lock so that it cannot be held beside them."""
        found = []
        for file in sorted(self.folder.iterdir()):
            holder = _holder(file)
            if file == self._file or holder is None:
                continue
            both_share = shared and file.name.startswith(SHARED + BETWEEN)
            if both_share:
                continue
            if holder.process.lives:
                found.append(holder)
            else:
                file.unlink(missing_ok=True)
        return found


def _holder(file: Path) -> Holder | None:
    """Whose lock file it is; None for a file of something else."""
    words = file.name.split(BETWEEN)
    if len(words) != 5 or words[0] not in (ALONE, SHARED) or not words[2].isdecimal():
        return None
    _, host, number, began, _ = words
    return Holder(Process(host, int(number), began), file)
