"""SHA-256 of files, kept as long as a file's size, times and place on disk stay what they were."""

import json
import os
from contextlib import suppress
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.storage.files import sha256_file, write_text

#: What a kept digest belongs to: size, times of change of content and of the entry (ns), and inode.
#: A list and no tuple, as JSON brings it back. The time of the entry (ctime) is in it because no
#: program can set it: bytes that were changed and given their old time are read again.
Stamp = list[int]


def _stamp(path: Path) -> Stamp:
    status = os.stat(path)  # noqa: PTH116 (a link counts as what it leads to)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


class Digests:
    """The digests of the files of a run.

    Args:
        path: where they are kept; what cannot be read there is forgotten, for it only saves time.
        fresh: whether every byte is read again, whatever is kept.
    """

    def __init__(self, path: Path, fresh: bool = False) -> None:
        self._path = path
        self.fresh = fresh
        self._changed = False
        self._known: dict[str, tuple[Stamp | str, str]] = {}
        # The file only saves time: one that cannot be used is as good as none.
        with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
            entries = json.loads(path.read_text(encoding="utf-8"))
            self._known = {name: (stamp, digest) for name, (stamp, digest) in entries.items()}

    def has(self, path: Path) -> bool:
        """Whether there is such a file."""
        return path.is_file()

    def of(self, path: Path, expected: str | None = None) -> str | None:
        """The digest of a file; None where there is no file that can be read.

        Args:
            path: of the file.
            expected: the digest that it should have. A kept one that is another is not believed:
                what keeps it may be damaged itself, and no job is to run for that.
        """
        name = str(path)
        try:
            stamp = _stamp(path)
            known = self._known.get(name)
            is_trusted = known is not None and known[0] == stamp and not self.fresh
            if known is not None and is_trusted and expected in (None, known[1]):
                return known[1]
            digest = sha256_file(path)
        except OSError:
            return None
        if known is None or known != (stamp, digest):
            self._known[name] = (stamp, digest)
            self._changed = True
        return digest

    def kept(self, name: str, stamp: str) -> str | None:
        """The digest of what consists of many files, if it was kept for this stamp of them."""
        known = self._known.get(name)
        if known is None or known[0] != stamp or self.fresh:
            return None
        return known[1]

    def keep(self, name: str, stamp: str, digest: str) -> None:
        """Keeps it."""
        self._known[name] = (stamp, digest)
        self._changed = True

    def forget(self, path: Path) -> None:
        """Reads the file again the next time."""
        forgotten = self._known.pop(str(path), None)
        if forgotten is not None:
            self._changed = True

    def save(self) -> None:
        """Keeps what is known, where the folder can be written."""
        if self._changed:
            with suppress(ReplicateError):
                write_text(self._path, json.dumps(self._known))
            self._changed = False
