"""The folder of checkpoints: the order of writes that outlives a power cut, and what is its own to
remove.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.training.checkpoint import CheckpointFolder, differences

TENSORS = {"w": np.arange(4.0)}


def test_every_file_is_flushed_renamed_and_its_folder_flushed_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill never shows what a power cut would; so the order of the calls is checked."""
    names, calls = {}, []
    sync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append(("fsync", "folder" if path == tmp_path else path.name))
        sync(descriptor)

    def replaced(source: Path, target: Path) -> None:
        assert Path(source).parent == Path(target).parent == tmp_path
        names[Path(source).name] = Path(target).name
        calls.append(("rename", Path(source).name))
        replace(source, target)

    folder = CheckpointFolder(tmp_path)
    with folder.locked():
        monkeypatch.setattr(os, "fsync", synced)
        monkeypatch.setattr(os, "replace", replaced)
        folder.save(7, TENSORS, {})
    told = [(what, names.get(name, name)) for what, name in calls]
    assert told == [
        step
        for name in ("step-000000000007.safetensors", "step-000000000007.json")
        for step in (("fsync", name), ("rename", name), ("fsync", "folder"))
    ]


def test_what_a_kill_left_half_written_is_cleared_at_the_next_start(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    with folder.locked():
        folder.save(1, TENSORS, {})
        folder.save(2, TENSORS, {})
    (tmp_path / "step-000000000003.safetensors").write_bytes(b"its note was never written")
    (tmp_path / ".step-000000000003.json.a1b2c3d4.part").write_bytes(b"")
    (tmp_path / ".run.json.a_b2c3d4.part").write_bytes(b"")
    (tmp_path / "step-000000000001.json").rename(tmp_path / "step-000000000001.damaged")
    with folder.locked():
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "lock",
            "step-000000000001.damaged",
            "step-000000000001.safetensors",
            "step-000000000002.json",
            "step-000000000002.safetensors",
        ]
        found = folder.load()
        assert found is not None
        assert found[1]["step"] == 2
        folder.remove()
    assert not tmp_path.exists()


def test_a_lock_that_its_holder_removed_does_not_count(tmp_path: Path) -> None:
    """Whoever opened the lock just before its folder was removed must not train beside a third
    process.
    """
    folder = CheckpointFolder(tmp_path / "run")
    with folder.locked():
        folder.remove()
        with folder.locked():
            assert (tmp_path / "run" / "lock").is_file()


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            {"config": {"rate": 0.1, "same": 1}},
            {"config": {"rate": 0.2, "same": 1}},
            "config.rate: 0.1 -> 0.2",
        ),
        ({"torch": "2.12.0"}, {"torch": "2.13.0"}, "torch: 2.12.0 -> 2.13.0"),
        ({"a": {"b": None}}, {"a": {"c": [1]}}, "a.b: null -> absent, a.c: absent -> [1]"),
        ({"a": list(range(100))}, {"a": 0}, "a: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11... -> 0"),
        (
            {str(k): 0 for k in range(9)},
            {str(k): 1 for k in range(9)},
            "0: 0 -> 1, 1: 0 -> 1, 2: 0 -> 1, 3: 0 -> 1, 4: 0 -> 1, 5: 0 -> 1 and 3 more",
        ),
    ],
)
def test_differences_fit_in_a_line(old: dict[str, Any], new: dict[str, Any], line: str) -> None:
    assert differences(old, new) == line


def test_the_newest_of_several_other_settings_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Older ones are counted; other runs, folders without a checkpoint and foreign folders are
    not.
    """
    for place, rate in enumerate((0.1, 0.2)):
        old = CheckpointFolder.of_run(tmp_path, "digits-vae-0", {"rate": rate})
        with old.locked():
            old.save(1, TENSORS, {})
        os.utime(old.folder, (place, place))
    with CheckpointFolder.of_run(tmp_path, "digits-vae-0", {"rate": 0.3}).locked():
        pass
    other = CheckpointFolder.of_run(tmp_path, "digits-vae-0-1", {"rate": 0.4})
    with other.locked():
        other.save(1, TENSORS, {})
    (tmp_path / "digits-vae-0-mine").mkdir()
    capsys.readouterr()
    with CheckpointFolder.of_run(tmp_path, "digits-vae-0", {"rate": 0.5}).locked():
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {old.folder} (and 1 older) holds a checkpoint of other settings")
    assert "not used: rate: 0.2 -> 0.5." in line


def test_settings_that_cannot_be_read_are_no_reason_to_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = CheckpointFolder.of_run(tmp_path, "run", {"rate": 0.1})
    with old.locked():
        old.save(1, TENSORS, {})
    (old.folder / "run.json").write_text("[]")
    with CheckpointFolder.of_run(tmp_path, "run", {"rate": 0.2}).locked():
        assert "it does not say which" in capsys.readouterr().err


def test_starts_that_did_not_finish_are_counted(tmp_path: Path) -> None:
    """Each start of the same run counts those before it; a run that ended takes its count away."""
    settings = {"config": {"epochs": 4}}
    for earlier in range(3):
        folder = CheckpointFolder.of_run(tmp_path, "digits-x-0", settings)
        with folder.locked():
            assert folder.earlier_attempts == earlier
            if earlier == 2:
                folder.remove()
    assert list(tmp_path.iterdir()) == []
    other = CheckpointFolder.of_run(tmp_path, "digits-x-0", {"config": {"epochs": 8}})
    with other.locked():
        assert other.earlier_attempts == 0


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"starts": null}'])
def test_a_count_that_cannot_be_read_stops_no_training(tmp_path: Path, content: str) -> None:
    folder = CheckpointFolder(tmp_path, {})
    (tmp_path / "attempts.json").write_text(content)
    with folder.locked():
        assert folder.earlier_attempts == 0
        folder.remove()
    assert not tmp_path.exists()


def _saved(parent: Path, epochs: int, extends: bool) -> CheckpointFolder:
    """A run of this length that was stopped at a checkpoint."""
    folder = CheckpointFolder.of_run(parent, "run", {"config": {"epochs": epochs}}, extends)
    with folder.locked():
        folder.save(epochs, {"a": np.zeros(1)}, {})
    return folder


@pytest.mark.parametrize(("extends", "stays"), [(False, True), (True, False)])
def test_only_a_run_through_the_same_states_makes_a_shorter_one_needless(
    tmp_path: Path, extends: bool, stays: bool
) -> None:
    shorter, longer = _saved(tmp_path, 4, extends), _saved(tmp_path, 8, extends)
    longer.end()
    assert (shorter.load() is not None) == stays
    assert longer.load() is not None


def test_a_run_that_removes_its_folder_just_now_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may end, and clear away, between any two looks at the other folders."""
    shorter, longer = (
        CheckpointFolder.of_run(tmp_path, "a", {"config": {"epochs": epochs}}, extends=True)
        for epochs in (1, 2)
    )
    found = CheckpointFolder._notes

    def begin() -> None:
        with shorter.locked():
            shorter.save(1, TENSORS, {})

    def removed_after(self: CheckpointFolder) -> list[Path]:
        notes = found(self)
        if self.folder == shorter.folder:
            shutil.rmtree(shorter.folder, ignore_errors=True)
        return notes

    looks = 0

    def removed_before_the_second(self: CheckpointFolder) -> list[Path]:
        nonlocal looks
        looks += self.folder == shorter.folder
        if looks == 2:
            shutil.rmtree(shorter.folder)
        return found(self)

    begin()
    monkeypatch.setattr(CheckpointFolder, "_notes", removed_after)
    assert longer.load(5) is None
    monkeypatch.setattr(CheckpointFolder, "_notes", found)
    begin()
    with longer.locked():
        longer.save(1, TENSORS, {})
    monkeypatch.setattr(CheckpointFolder, "_notes", removed_before_the_second)
    longer.end()
    assert looks == 2
    assert not shorter.folder.exists()


def test_a_run_with_unreadable_settings_is_no_run_of_another_length(tmp_path: Path) -> None:
    shorter = _saved(tmp_path, 4, extends=True)
    longer = CheckpointFolder.of_run(tmp_path, "run", {"config": {"epochs": 8}}, extends=True)
    loaded = longer.load(last_step=8)
    assert loaded is not None
    assert loaded[1]["step"] == 4
    (shorter.folder / "run.json").write_text("[")
    assert longer.load(last_step=8) is None


def test_a_checkpoint_of_its_own_comes_before_those_of_other_lengths(tmp_path: Path) -> None:
    _saved(tmp_path, 8, extends=True)
    shorter = _saved(tmp_path, 4, extends=True)
    loaded = shorter.load(last_step=9)
    assert loaded is not None
    assert loaded[1]["step"] == 4


def test_a_setting_that_is_null_differs_from_one_that_is_absent() -> None:
    assert differences({}, {"a": None}) == "a: absent -> null"
    assert differences({"a": None}, {}) == "a: null -> absent"
