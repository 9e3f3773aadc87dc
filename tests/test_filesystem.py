"""What a file system lacks is notes once and passed over; what fails is not. Each failure is
injected.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from replicate.errors import ReplicateError
from replicate.storage import filesystem
from replicate.storage.files import write_json
from replicate.training.checkpoint import CheckpointFolder

LACKING = ["ENOSYS", "ENOLCK", "ENOTSUP", "EINVAL", "EBADF", "EPERM", "EACCES"]
FAILING = ["EIO", "ENOSPC", "EDQUOT", "ESTALE"]


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(filesystem.NOTED, "")


def fail(
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    code: str,
    only_folders: bool = False,
) -> None:
    """Has a system call of `module` fail as the kernel would say it."""
    number, real = getattr(errno, code), getattr(module, name)

    def failing(handle: int, *words: int) -> None:
        descriptor = handle if isinstance(handle, int) else handle.fileno()
        if only_folders and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            real(handle, *words)
            return
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(module, name, failing)


@pytest.mark.parametrize("code", LACKING)
def test_without_locks_training_keeps_its_checkpoints_and_clears_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    fail(monkeypatch, fcntl, "flock", code)
    perhaps_written_now = tmp_path / "run" / ".run.json.a1b2c3d4.part"
    perhaps_written_now.parent.mkdir()
    perhaps_written_now.touch()
    folder = CheckpointFolder(tmp_path / "run")
    with folder.locked():
        folder.save(3, {"w": np.arange(4.0)}, {})
        loaded = folder.load()
    assert loaded is not None
    np.testing.assert_array_equal(loaded[0]["w"], np.arange(4.0))
    assert perhaps_written_now.exists()
    notes = capsys.readouterr().err
    assert notes.count("\n") == 1
    assert "has no locks" in notes


@pytest.mark.parametrize("code", LACKING)
def test_without_flushing_of_folders_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: str
) -> None:
    fail(monkeypatch, os, "fsync", code, only_folders=True)
    for name in ("one", "two"):
        write_json(tmp_path / name, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    notes = capsys.readouterr().err
    assert notes.count("\n") == 1
    assert "does not flush" in notes


@pytest.mark.parametrize("code", FAILING)
@pytest.mark.parametrize("only_folders", [True, False])
def test_a_failed_flush_is_a_failed_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, only_folders: bool
) -> None:
    fail(monkeypatch, os, "fsync", code, only_folders)
    with pytest.raises(ReplicateError, match="cannot write"):
        write_json(tmp_path / "x.json", 1)


@pytest.mark.parametrize("code", FAILING)
def test_a_failed_lock_stops_a_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    fail(monkeypatch, fcntl, "flock", code)
    with (
        pytest.raises(ReplicateError, match="cannot write"),
        CheckpointFolder(tmp_path / "run").locked(),
    ):
        pytest.fail("it went on")


def test_what_was_noted_is_not_noted_again_by_the_processes_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail(monkeypatch, fcntl, "flock", "ENOSYS")
    write_json(tmp_path / "x.json", 1)
    assert os.environ[filesystem.NOTED] == "locks"
    assert "has no locks" in capsys.readouterr().err
    write_json(tmp_path / "x.json", 2)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_have_the_rights_that_umask_gives(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_json(tmp_path / "folder" / "x.json", 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "folder" / "x.json").stat().st_mode) == 0o666 & ~mask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~mask
