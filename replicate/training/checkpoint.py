"""Checkpoints: a run killed at any byte goes on from the last whole one and ends in the same bits.

They live in a side folder that no workflow engine declares, because engines delete declared outputs before
a job. A checkpoint is a tensor file and, written after it, a note with the SHA-256 of the tensor file and of
itself: without a matching note a checkpoint does not count. The last two are kept, and of a run that has ended
the last one, so that more epochs go on from there. Files that this module does not name are never touched.
"""

import fcntl
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from replicate.errors import ReplicateError
from replicate.files import (
    canonical_json,
    is_part_of,
    read_json,
    read_tensors,
    sha256_file,
    sha256_json,
    write_error,
    write_json,
    write_tensors,
)
from replicate.filesystem import lock

KEPT = 2
#: What a run was given, and how often it was started, kept beside its checkpoints; and the lock of whoever trains it.
SETTINGS, ATTEMPTS, LOCK = "run.json", "attempts.json", "lock"
_CHECKPOINT = re.compile(r"step-\d{12}\.(safetensors|json|damaged)")
#: How many differing settings, and how much of a value, one line shows.
SHOWN, WIDTH = 6, 40


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted names and values."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Which settings differ and how, for one line: `config.epochs: 4 -> 8, torch: 2.12.0 -> 2.13.0`."""
    before, after = _flat(old), _flat(new)

    def shown(values: Mapping[str, Any], name: str) -> str:
        value = values.get(name)
        text = "absent" if name not in values else value if isinstance(value, str) else json.dumps(value)
        return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."

    absent = object()
    every = sorted(before.keys() | after.keys())
    names = [name for name in every if before.get(name, absent) != after.get(name, absent)]
    parts = [f"{name}: {shown(before, name)} -> {shown(after, name)}" for name in names[:SHOWN]]
    return ", ".join(parts) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _but_for_epochs(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {**settings, "config": {**settings["config"], "epochs": None}}


class CheckpointFolder:
    """The checkpoints of one run, in a folder named by a key of everything that decides its bits.

    Args:
        folder: made if missing; another key is another folder.
        settings: what the key is a digest of, where other keys of the same run are to be told about.
        extends: whether a run of these settings but for `config.epochs` passes through the same states, so that
            its checkpoints serve this one too.

    Attributes:
        earlier_attempts: processes that held this folder before and did not finish; counted where there are settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any] | None = None, extends: bool = False) -> None:
        self.folder = folder
        self.settings = settings
        self.extends = extends
        self.earlier_attempts = 0

    @classmethod
    def of_run(cls, parent: Path, label: str, settings: Mapping[str, Any], extends: bool = False) -> "CheckpointFolder":
        """The folder below `parent` of the run `label` with exactly these settings."""
        return cls(parent / f"{label}-{sha256_json(settings)[:16]}", settings, extends)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process and clears what a killed one left half written.

        A second process is refused with a sentence. Where the file system has no locks, nobody is refused, and
        nothing is cleared: it might be another's that is being written.
        """
        try:
            handle, held = self._lock_file()
        except OSError as error:
            raise write_error(self.folder, error) from error
        try:
            try:
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"pid {os.getpid()}".encode(), 0)
                if held:
                    self._clear()
            except OSError as error:
                raise write_error(self.folder, error) from error
            if self.settings is not None:
                self._introduce(self.settings)
                self._count_attempt()
            yield
        finally:
            os.close(handle)

    def _lock_file(self) -> tuple[int, bool]:
        """The open file of the lock, and whether it is held: not where the file system has no locks.

        It is opened anew if the run that held it before has removed it meanwhile.
        """
        path = self.folder / LOCK
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                held = lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, self.folder)
            except BlockingIOError:
                owner = os.pread(handle, 32, 0).decode(errors="replace").strip()
                os.close(handle)
                raise ReplicateError(
                    f"another process ({owner or 'unknown'}) is training this very run; wait until it has ended, or "
                    "stop it: this one would write the same files."
                ) from None
            except OSError:
                os.close(handle)
                raise
            if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
                return handle, held
            os.close(handle)

    def _own(self) -> list[Path]:
        """The files of checkpoints, whole or not: those with exactly the names that this class gives."""
        found = sorted(self.folder.glob("step-*"))
        return [path for path in found if _CHECKPOINT.fullmatch(path.name) and path.is_file()]

    def _parts(self) -> list[Path]:
        """Temporary files of checkpoints and settings that were being written when their process was killed."""
        found = [(path, path.name[1 : -len(".12345678.part")]) for path in self.folder.glob(".*.part")]
        return [
            path
            for path, target in found
            if is_part_of(path.name, target) and (target in (SETTINGS, ATTEMPTS) or _CHECKPOINT.fullmatch(target))
        ]

    def _clear(self) -> None:
        """Removes temporary files, and tensors of a checkpoint whose note was never written; holds the lock."""
        for path in self._parts():
            path.unlink(missing_ok=True)
        for path in self._own():
            noted = any(path.with_suffix(suffix).exists() for suffix in (".json", ".damaged"))
            if path.suffix == ".safetensors" and not noted:
                path.unlink()

    def _introduce(self, settings: Mapping[str, Any]) -> None:
        """Keeps the settings in the folder; a run that starts anew tells of checkpoints with other settings."""
        path = self.folder / SETTINGS
        if not self._notes():
            with suppress(OSError):  # another run may be removing its own just now
                self._tell_of_others(settings)
        if not path.is_file() or path.read_text(encoding="utf-8", errors="replace") != canonical_json(settings):
            write_json(path, settings)

    def _tell_of_others(self, settings: Mapping[str, Any]) -> None:
        others = [other for other in self._others() if not other._ended()]
        if not others or self._lengths():
            return
        newest = others[0]
        try:
            which = differences(read_json(newest.folder / SETTINGS), settings)
        except (ReplicateError, AttributeError):
            which = "it does not say which"
        more = f" (and {len(others) - 1} older)" if len(others) > 1 else ""
        print(
            f"note: {newest.folder}{more} holds a checkpoint of other settings, which is not used: {which}. This run "
            "starts from the beginning; with the old settings it would go on. Delete that folder if nobody needs it.",
            file=sys.stderr,
        )

    def _others(self) -> list["CheckpointFolder"]:
        """The folders with checkpoints of the same run with other settings, the one changed last first."""
        same_label = re.compile(re.escape(self.folder.name[:-16]) + "[0-9a-f]{16}")
        siblings = [path for path in self.folder.parent.iterdir() if path != self.folder]
        found = [CheckpointFolder(path) for path in siblings if same_label.fullmatch(path.name)]
        return sorted((one for one in found if one._notes()), key=lambda one: -one.folder.stat().st_mtime)

    def _ended(self) -> bool:
        """Whether a run wrote its results and left its last state here; starts of one that goes on are counted."""
        return not (self.folder / ATTEMPTS).is_file()

    def _lengths(self) -> list["CheckpointFolder"]:
        """The others whose run differs from this one in `config.epochs` alone, where that changes no state."""
        if not self.extends or self.settings is None:
            return []
        return [other for other in self._others() if self._differs_in_length(other, self.settings)]

    @staticmethod
    def _differs_in_length(other: "CheckpointFolder", settings: Mapping[str, Any]) -> bool:
        try:
            theirs = read_json(other.folder / SETTINGS)
            return _but_for_epochs(theirs) == _but_for_epochs(settings)
        except (ReplicateError, AttributeError, TypeError, KeyError):  # what cannot be read is not used
            return False

    def _count_attempt(self) -> None:
        """Counts the starts of this run: what a killed process cannot say of itself, the next one can."""
        path = self.folder / ATTEMPTS
        try:
            self.earlier_attempts = int(read_json(path)["starts"]) if path.is_file() else 0
        except (ReplicateError, KeyError, TypeError, ValueError):
            self.earlier_attempts = 0  # not worth stopping a training for
        write_json(path, {"starts": self.earlier_attempts + 1})

    def _notes(self) -> list[Path]:
        """The notes of whole checkpoints, newest first."""
        return [path for path in reversed(self._own()) if path.suffix == ".json"]

    def save(self, step: int, tensors: Mapping[str, np.ndarray], note: Mapping[str, Any]) -> None:
        """Writes a checkpoint of `step` and removes all but the last two."""
        path = self.folder / f"step-{step:012d}.safetensors"
        write_tensors(path, tensors)
        content = {"sha256": sha256_file(path), "step": step, **note}
        write_json(path.with_suffix(".json"), {**content, "note_sha256": sha256_json(content)})
        for old in self._notes()[KEPT:]:
            self._remove_checkpoint(old)

    @staticmethod
    def _remove_checkpoint(note: Path) -> None:
        """The note first: tensors without one do not count, a note without tensors would look damaged."""
        note.unlink(missing_ok=True)
        note.with_suffix(".safetensors").unlink(missing_ok=True)

    def load(self, last_step: int | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The newest checkpoint that is whole, or None; a damaged one is named and set aside, never used.

        Args:
            last_step: of the run; where it `extends` and has no checkpoint of its own, the newest one up to there
                of a run with fewer or more epochs is used.
        """
        found = self._load_own()
        return found if found or last_step is None else self._load_other(last_step)

    def _load_other(self, last_step: int) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The newest whole checkpoint up to `last_step` of a run of another length; its folder stays as it is."""
        notes = [note for other in self._lengths() for note in other._notes()]
        for path in sorted(notes, key=lambda note: note.name, reverse=True):
            if int(path.stem.removeprefix("step-")) <= last_step:
                with suppress(ReplicateError, OSError, KeyError, TypeError, AttributeError):  # damaged, or just removed
                    return self._read(path)
        return None

    def _load_own(self) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        notes = self._notes()
        for path in notes:
            try:
                return self._read(path)
            except (ReplicateError, OSError, KeyError, TypeError, AttributeError) as error:
                then = "training starts from the beginning" if path == notes[-1] else "the one before it is used"
                print(f"warning: checkpoint {path.stem} is damaged ({error}); {then}.", file=sys.stderr)
                self._set_aside(path)
        return None

    @staticmethod
    def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        note, tensors = read_json(path), path.with_suffix(".safetensors")
        if sha256_json({name: value for name, value in note.items() if name != "note_sha256"}) != note["note_sha256"]:
            raise ReplicateError(f"{path} does not match its own SHA-256")
        if not tensors.is_file():
            raise ReplicateError(f"{tensors} is missing")
        if sha256_file(tensors) != note["sha256"]:
            raise ReplicateError(f"{tensors} does not match its SHA-256")
        return read_tensors(tensors)[0], note

    @staticmethod
    def _set_aside(note: Path) -> None:
        try:
            note.replace(note.with_suffix(".damaged"))
        except OSError as error:
            raise write_error(note, error) from error

    def end(self) -> None:
        """The run has written its results: its last state stays for a run with more epochs, and no other one of it."""
        last = next((note.stem for note in self._notes()), "")  # none where all seeds failed before one was due
        with suppress(OSError):  # what stays costs space, not the results
            for note in self._notes()[1:]:
                self._remove_checkpoint(note)
            for path in [*self._own(), *self._parts()]:
                if path.stem != last:  # set aside as damaged, or half written
                    path.unlink()
            (self.folder / ATTEMPTS).unlink(missing_ok=True)
            for other in self._others():
                if other._ended() or self._supersedes(other, last):
                    other._remove_unless_held()

    def _supersedes(self, other: "CheckpointFolder", last: str) -> bool:
        """Whether this run passed through all that the other one has, up to its last state."""
        if not self.extends or self.settings is None:
            return False
        return self._differs_in_length(other, self.settings) and other._notes()[0].stem <= last

    def _remove_unless_held(self) -> None:
        try:
            handle, held = self._lock_file()
        except ReplicateError:  # a run goes on there
            return
        if held:  # else a run may go on there
            self.remove()
        os.close(handle)

    def remove(self) -> None:
        """Removes what this class made, its run having written its results; and the folder if nothing else is there."""
        with suppress(OSError):  # what stays costs space, not the results; somebody's own files keep the folder
            for note in self._notes():
                self._remove_checkpoint(note)
            for path in [*self._own(), *self._parts(), *(self.folder / n for n in (SETTINGS, ATTEMPTS, LOCK))]:
                path.unlink(missing_ok=True)
            self.folder.rmdir()
