"""Checkpoints: a killed run goes on from the last complete one and ends in the same bits.

They are in a folder that no workflow engine declares, because engines delete declared outputs
before a job. A checkpoint is a tensor file and, written after it, a note with the SHA-256 of the
tensor file and of itself; a checkpoint without a matching note is not used. The last two are kept,
and after the end of a run the last one, from which a run with more epochs goes on. Files with other
names are never touched.
"""

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
from replicate.storage.files import (
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
from replicate.storage.locks import Lock
from replicate.storage.processes import this_process

#: Checkpoints of a run that are kept.
KEPT = 2
#: The run's settings, beside its checkpoints.
SETTINGS = "run.json"
#: How often the run was started, until it ends.
ATTEMPTS = "attempts.json"
#: Locked by the process that trains the run.
LOCK = "lock"
_CHECKPOINT = re.compile(r"step-\d{12}\.(safetensors|json|damaged)")
#: Differing settings that a message lists.
MAX_DIFFERENCES = 6
#: Characters of a value in that list.
MAX_VALUE_WIDTH = 40

Tensors = dict[str, np.ndarray]
#: The note of a checkpoint: `step`, `sha256`, `note_sha256`, and what `save` was given. Any: JSON.
Note = dict[str, Any]
#: Errors of reading a damaged file, or one that another process has just removed.
_UNREADABLE = (ReplicateError, OSError, KeyError, TypeError, AttributeError)


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested settings as dotted names and values."""
    flat: dict[str, object] = {}
    for name, value in settings.items():
        full_name = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{full_name}.")
        else:
            # A list is one setting: a change of widths is told as a whole.
            flat[full_name] = value
    return flat


def _short(settings: Mapping[str, object], name: str) -> str:
    """The value of a setting, for a message."""
    if name not in settings:
        return "absent"
    value = settings[name]
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > MAX_VALUE_WIDTH:
        return f"{text[: MAX_VALUE_WIDTH - 3]}..."
    return text


def differences(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """The settings that differ, in one line: `config.epochs: 4 -> 8, torch: 2.12.0 -> 2.13.0`."""
    old_flat = _flat(old)
    new_flat = _flat(new)
    # A setting that one of them lacks differs from one that is None.
    absent = object()
    changes = []
    names = old_flat.keys() | new_flat.keys()
    for name in sorted(names):
        if old_flat.get(name, absent) != new_flat.get(name, absent):
            before = _short(old_flat, name)
            after = _short(new_flat, name)
            changes.append(f"{name}: {before} -> {after}")
    text = ", ".join(changes[:MAX_DIFFERENCES])
    left = len(changes) - MAX_DIFFERENCES
    if left > 0:
        text += f" and {left} more"
    return text


def _without_epochs(settings: Mapping[str, Any]) -> dict[str, object]:
    config = {**settings["config"], "epochs": None}
    return {**settings, "config": config}


def _give_up(lock: Lock) -> None:
    lock.release()
    os.close(lock.handle)


class CheckpointFolder:
    """The checkpoints of one run, in a folder named by a digest of all that decides its bits.

    Args:
        folder: made if missing.
        settings: everything that decides the bits; None: the folder is not compared with those of
            other settings.
        extends: whether a run that differs in `config.epochs` alone passes through the same
            states, so that its checkpoints can be used.

    Attributes:
        earlier_attempts: processes that trained this run before and did not finish; counted where
            there are settings.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, object] | None = None, extends: bool = False
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.extends = extends
        self.earlier_attempts = 0

    @classmethod
    def of_run(
        cls, parent: Path, label: str, settings: Mapping[str, object], extends: bool = False
    ) -> "CheckpointFolder":
        """The folder below `parent` of the run `label` with exactly these settings."""
        digest = sha256_json(settings)[:16]
        # Other settings are another folder: no state is ever read by a run whose bits it would
        # change.
        folder = parent / f"{label}-{digest}"
        return cls(folder, settings, extends)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for this process and removes incomplete files of a killed one.

        Where the file system has no locks, a file names the process instead, and nothing is
        removed.

        Raises:
            ReplicateError: another process holds the lock, or the folder cannot be written.
        """
        try:
            lock = self._lock()
        except OSError as error:
            raise write_error(self.folder, error) from error
        try:
            try:
                # For the message of a second process (`_lock`); the lock itself is the kernel's.
                os.ftruncate(lock.handle, 0)
                os.pwrite(lock.handle, str(this_process()).encode(), 0)
                if lock.by_kernel:
                    self._remove_incomplete()
            except OSError as error:
                raise write_error(self.folder, error) from error
            if self.settings is not None:
                self._write_settings(self.settings)
                self._count_attempt()
            yield
        finally:
            _give_up(lock)

    def _lock(self) -> Lock:
        """The lock of this run, held by this process.

        Its file is opened again if the run that held it has just removed it.
        """
        # A file of its own: every writer has a shared lock on the folder itself
        # (`storage/files.py`).
        path = self.folder / LOCK
        while True:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = Lock(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), path)
            try:
                is_ours = lock.take()
            # A failing disk: nobody is left to close the handle.
            except OSError:
                _give_up(lock)
                raise
            if not is_ours:
                written = os.pread(lock.handle, 300, 0).decode(errors="replace").strip()
                owner = lock.holder or written or "unknown"
                _give_up(lock)
                raise ReplicateError(
                    f"another process ({owner}) is training this very run; wait until it has "
                    "ended, or stop it: this one would write the same files."
                )
            # Between opening and locking the holder may have removed the file, and a lock on a file
            # without a name keeps nobody out.
            if path.exists() and os.path.samestat(os.fstat(lock.handle), path.stat()):
                return lock
            _give_up(lock)

    def _checkpoint_files(self) -> list[Path]:
        """The files of checkpoints, complete or not, in the order of their steps."""
        paths = []
        for path in sorted(self.folder.glob("step-*")):
            is_checkpoint = _CHECKPOINT.fullmatch(path.name)
            if is_checkpoint and path.is_file():
                paths.append(path)
        return paths

    def _temporary_files(self) -> list[Path]:
        """Temporary files that a killed process left while it wrote this folder."""
        files: list[Path] = []
        for path in self.folder.glob(".*.part"):
            # Eight random characters stand before `.part` (`storage.files.is_part_of`).
            target = path.name[1 : -len(".12345678.part")]
            is_ours = target in (SETTINGS, ATTEMPTS) or _CHECKPOINT.fullmatch(target)
            if is_part_of(path.name, target) and is_ours:
                files.append(path)
        return files

    def _remove_incomplete(self) -> None:
        """Removes temporary files, and tensors without a note; requires the lock."""
        for path in self._temporary_files():
            path.unlink(missing_ok=True)
        for path in self._checkpoint_files():
            note = path.with_suffix(".json")
            damaged = path.with_suffix(".damaged")
            # The note is written last and removed first, so tensors without one are a kill's
            # remains.
            has_note = note.exists() or damaged.exists()
            if path.suffix == ".safetensors" and not has_note:
                path.unlink()

    def _write_settings(self, settings: Mapping[str, object]) -> None:
        """Writes the settings; a new run reports checkpoints of other settings first."""
        path = self.folder / SETTINGS
        if not self._notes():
            with suppress(OSError):  # another run may be removing its folder just now
                self._report_other_settings(settings)
        current = ""
        if path.is_file():
            current = path.read_text(encoding="utf-8", errors="replace")
        if current != canonical_json(settings):
            write_json(path, settings)

    def _report_other_settings(self, settings: Mapping[str, object]) -> None:
        """Prints which unfinished run of other settings will not be used."""
        unfinished = [folder for folder in self._other_folders() if not folder._has_ended()]
        # Where a run of another length can be used nothing is lost, and nothing to report.
        if not unfinished or self._other_lengths():
            return
        newest = unfinished[0]
        try:
            changes = differences(read_json(newest.folder / SETTINGS), settings)
        except (ReplicateError, AttributeError):
            changes = "it does not say which"
        more = f" (and {len(unfinished) - 1} older)" if len(unfinished) > 1 else ""
        print(
            f"note: {newest.folder}{more} holds a checkpoint of other settings, which is not used: "
            f"{changes}. This run starts from the beginning; with the old settings it would go on. "
            "Delete that folder if nobody needs it.",
            file=sys.stderr,
        )

    def _other_folders(self) -> list["CheckpointFolder"]:
        """The folders of this run's label with other settings and checkpoints, newest first."""
        # `of_run` ends the name with 16 hex digits; a label may be the beginning of another one's.
        label = self.folder.name[:-16]
        name_of_label = re.compile(re.escape(label) + "[0-9a-f]{16}")
        folders: list[CheckpointFolder] = []
        for path in self.folder.parent.iterdir():
            folder = CheckpointFolder(path)
            is_other = path != self.folder and name_of_label.fullmatch(path.name)
            if is_other and folder._notes():
                folders.append(folder)
        # By the folder's time, which every checkpoint renews.
        folders.sort(key=lambda folder: -folder._changed())
        return folders

    def _changed(self) -> float:
        """When the folder last changed; 0 where its run has just removed it."""
        try:
            return self.folder.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def _has_ended(self) -> bool:
        """Whether the run wrote its results: until then its attempts are counted."""
        attempts = self.folder / ATTEMPTS
        return not attempts.is_file()

    def _other_lengths(self) -> list["CheckpointFolder"]:
        """The other folders whose checkpoints this run can use."""
        if not self.extends:
            return []
        return [folder for folder in self._other_folders() if self._differs_only_in_epochs(folder)]

    def _differs_only_in_epochs(self, other: "CheckpointFolder") -> bool:
        """Whether the other run differs in `config.epochs` alone, where that changes no state."""
        if not self.extends or self.settings is None:
            return False
        try:
            other_settings = read_json(other.folder / SETTINGS)
            return _without_epochs(other_settings) == _without_epochs(self.settings)
        except (ReplicateError, AttributeError, TypeError, KeyError):  # unreadable: not used
            return False

    def _count_attempt(self) -> None:
        """Counts the starts of this run, so that a process knows of those that were killed."""
        path = self.folder / ATTEMPTS
        attempts = 0
        if path.is_file():
            # A damaged count is no reason to fail.
            with suppress(ReplicateError, KeyError, TypeError, ValueError):
                attempts = int(read_json(path)["starts"])
        self.earlier_attempts = attempts
        write_json(path, {"starts": attempts + 1})

    def _notes(self) -> list[Path]:
        """The notes of complete checkpoints, newest first."""
        # Steps are padded to 12 digits, so names sort as their numbers do.
        newest_first = reversed(self._checkpoint_files())
        return [path for path in newest_first if path.suffix == ".json"]

    def save(self, step: int, tensors: Mapping[str, np.ndarray], note: Mapping[str, Any]) -> None:
        """Writes a checkpoint and removes all but the last two.

        Args:
            step: updates made so far.
            tensors: the state.
            note: further entries of its note.
        """
        path = self.folder / f"step-{step:012d}.safetensors"
        write_tensors(path, tensors)
        # Read back from the file, so that the note vouches for what lies on the disk.
        tensor_digest = sha256_file(path)
        content = {"sha256": tensor_digest, "step": step, **note}
        content_digest = sha256_json(content)
        # The note comes last: tensors without one are what a kill has left.
        note_path = path.with_suffix(".json")
        write_json(note_path, {**content, "note_sha256": content_digest})
        # Two are kept: should the last one be damaged, the one before it is used.
        superseded = self._notes()[KEPT:]
        for old in superseded:
            self._remove_checkpoint(old)

    @staticmethod
    def _remove_checkpoint(note: Path) -> None:
        """Removes the note first: a note without tensors would look damaged."""
        note.unlink(missing_ok=True)
        note.with_suffix(".safetensors").unlink(missing_ok=True)

    def load(self, last_step: int | None = None) -> tuple[Tensors, Note] | None:
        """The newest complete checkpoint; a damaged one is reported and renamed, never used.

        Args:
            last_step: of the run. Where it `extends` and has no checkpoint of its own, the newest
                one before `last_step` of a run with fewer or more epochs is used.

        Returns:
            Its tensors and note; None: there is none.
        """
        checkpoint = self._load_own()
        if checkpoint is None and last_step is not None:
            return self._load_other_length(last_step)
        return checkpoint

    def _load_other_length(self, last_step: int) -> tuple[Tensors, Note] | None:
        """The newest complete checkpoint before `last_step` of a run of another length.

        That run's folder stays unchanged.
        """
        notes: list[Path] = []
        for folder in self._other_lengths():
            notes += folder._notes()
        # By step over all folders: whichever run went furthest saves the most work.
        for path in sorted(notes, key=lambda note: note.name, reverse=True):
            step = int(path.stem.removeprefix("step-"))
            # A state of the last step itself is a longer run's, made after its own look at this
            # epoch, or without any: the look that ends this run would never be made.
            if step < last_step:
                # Not reported and not renamed: the folder is another run's, which will do so
                # itself.
                with suppress(*_UNREADABLE):
                    return self._read(path)
        return None

    def _load_own(self) -> tuple[Tensors, Note] | None:
        notes = self._notes()
        for path in notes:
            try:
                return self._read(path)
            except _UNREADABLE as error:
                if path == notes[-1]:
                    consequence = "training starts from the beginning"
                else:
                    consequence = "the one before it is used"
                print(
                    f"warning: checkpoint {path.stem} is damaged ({error}); {consequence}.",
                    file=sys.stderr,
                )
                self._mark_damaged(path)
        return None

    @staticmethod
    def _read(path: Path) -> tuple[Tensors, Note]:
        """The tensors and the note of a checkpoint whose digests match.

        Raises:
            ReplicateError: they do not; or one of `_UNREADABLE`.
        """
        note = read_json(path)
        tensors = path.with_suffix(".safetensors")
        # The note first: until its own digest fits, what it says of the tensors means nothing.
        content = {name: value for name, value in note.items() if name != "note_sha256"}
        content_digest = sha256_json(content)
        if content_digest != note["note_sha256"]:
            raise ReplicateError(f"{path} does not match its own SHA-256")
        if not tensors.is_file():
            raise ReplicateError(f"{tensors} is missing")
        tensor_digest = sha256_file(tensors)
        if tensor_digest != note["sha256"]:
            raise ReplicateError(f"{tensors} does not match its SHA-256")
        arrays, _ = read_tensors(tensors)
        return arrays, note

    @staticmethod
    def _mark_damaged(note: Path) -> None:
        try:
            # Renamed, so that the next start passes over it without reporting it again.
            note.replace(note.with_suffix(".damaged"))
        except OSError as error:
            raise write_error(note, error) from error

    def end(self) -> None:
        """Keeps only the last state, for a run with more epochs; called after writing the results.

        Also removes the folders of other settings that have ended or that this run supersedes.
        """
        notes = self._notes()
        last = notes[0].stem if notes else ""  # none where all seeds failed before one was due
        with suppress(OSError):  # a file that stays costs space only
            for note in notes[1:]:
                self._remove_checkpoint(note)
            for path in [*self._checkpoint_files(), *self._temporary_files()]:
                if path.stem != last:  # damaged, or incomplete
                    path.unlink()
            # Its absence is how `_has_ended` knows this run from one that was killed.
            (self.folder / ATTEMPTS).unlink(missing_ok=True)
            for other in self._other_folders():
                if other._has_ended() or self._supersedes(other, last):
                    other._remove_unless_locked()

    def _supersedes(self, other: "CheckpointFolder", last: str) -> bool:
        """Whether this run, with the state `last`, passed through all states of the other one."""
        if not self._differs_only_in_epochs(other):
            return False
        notes = other._notes()
        # As names: both have 12 digits. There are none where that run has just removed them.
        return bool(notes) and notes[0].stem <= last

    def _remove_unless_locked(self) -> None:
        try:
            lock = self._lock()
        except ReplicateError:  # a run goes on there
            return
        if lock.by_kernel:  # without locks a run may go on there
            self.remove()
        _give_up(lock)

    def remove(self) -> None:
        """Removes the files of this class, and the folder if no other file is in it."""
        own_files = [self.folder / SETTINGS, self.folder / ATTEMPTS, self.folder / LOCK]
        with suppress(OSError):  # a file that stays costs space only; other files keep the folder
            for note in self._notes():
                self._remove_checkpoint(note)
            for path in [*self._checkpoint_files(), *self._temporary_files(), *own_files]:
                path.unlink(missing_ok=True)
            self.folder.rmdir()
