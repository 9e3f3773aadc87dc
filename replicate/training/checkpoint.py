"""Checkpoints: a run killed at any byte goes on from the last whole one and ends in the same bits.

They live in a side folder that no workflow engine declares, because engines delete declared outputs before
a job. A checkpoint is a tensor file and, written after it, a note with the tensor file's SHA-256: without a
matching note a checkpoint does not count. The last two are kept.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from replicate.errors import ReplicateError
from replicate.files import read_json, read_tensors, sha256_file, write_error, write_json, write_tensors

KEPT = 2


class CheckpointFolder:
    """The checkpoints of one run, named by a key of everything that decides its bits.

    Args:
        folder: made if missing; another key is another folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process; a second process is refused with a sentence."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise write_error(self.folder, error) from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
                raise ReplicateError(
                    f"another process ({owner or 'unknown'}) is training this very run; wait until it has ended, or "
                    "stop it: this one would write the same files."
                ) from None
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()}".encode(), 0)
            yield
        finally:
            os.close(handle)

    def _notes(self) -> list[Path]:
        """The notes of whole checkpoints, newest first."""
        return sorted(self.folder.glob("step-*.json"), reverse=True)

    def save(self, step: int, tensors: Mapping[str, np.ndarray], note: Mapping[str, Any]) -> None:
        """Writes a checkpoint of `step` and removes all but the last two."""
        path = self.folder / f"step-{step:012d}.safetensors"
        write_tensors(path, tensors)
        write_json(path.with_suffix(".json"), {"sha256": sha256_file(path), "step": step, **note})
        for old in self._notes()[KEPT:]:
            old.unlink(missing_ok=True)
            old.with_suffix(".safetensors").unlink(missing_ok=True)

    def load(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The newest checkpoint that is whole, or None; a damaged one is named and set aside, never used."""
        for path in self._notes():
            tensors = path.with_suffix(".safetensors")
            try:
                note = read_json(path)
                if not tensors.is_file() or sha256_file(tensors) != note["sha256"]:
                    raise ReplicateError(f"{tensors} does not match its SHA-256.")
                return read_tensors(tensors)[0], note
            except (ReplicateError, KeyError, TypeError) as error:
                print(
                    f"warning: checkpoint {path.stem} is damaged ({error}); trying the one before it.", file=sys.stderr
                )
                path.replace(path.with_suffix(".damaged"))
        return None

    def remove(self) -> None:
        """Removes the folder: its run has written its results."""
        shutil.rmtree(self.folder, ignore_errors=True)
