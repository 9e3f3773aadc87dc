"""Where a run takes place: other folders, users without a name or a home, links to disks that are not there."""

import os
import pwd
from pathlib import Path

import pytest

from replicate.errors import ReplicateError
from replicate.workplace import CACHES, FOLDERS, check_folder, settle


def test_a_run_from_another_folder_is_one_sentence_and_leaves_no_results(fresh, tmp_path):
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    for words in (["-s", str(fresh / "Snakefile")], ["--directory", str(elsewhere)]):
        folder = elsewhere if words[0] == "-s" else fresh.folder
        done = fresh.run("env", "-C", str(folder), "snakemake", "--cores", "1", *words)
        assert done.returncode == 1
        assert "a run takes place in the project's own folder, and this is" in done.stderr
        assert "Traceback" not in done.stderr
        assert [path.name for path in elsewhere.iterdir()] == [".snakemake"]


def test_a_plan_needs_no_home(fresh):
    assert fresh.run("snakemake", "-n", HOME="/dev/null/nohome").returncode == 0


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_on_a_disk_that_is_not_mounted_is_named(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    check_folder(tmp_path)
    (tmp_path / name).symlink_to("/mnt/usb/disk")
    with pytest.raises(ReplicateError, match=f"{name} is a link to /mnt/usb/disk, which is not there"):
        check_folder(tmp_path)


def test_a_folder_whose_name_is_not_utf8_is_refused(tmp_path, monkeypatch):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ReplicateError, match="is not UTF-8"):
        check_folder(folder)


def unknown(uid: int) -> pwd.struct_passwd:
    raise KeyError(f"getpwuid(): uid not found: {uid}")


def test_a_user_without_name_and_home_gets_both_and_any_other_keeps_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("USER", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")  # so that what is set is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    settle()
    assert not {"USER", "XDG_CACHE_HOME", "MPLCONFIGDIR", "PYTHONSAFEPATH"} & os.environ.keys()
    monkeypatch.setenv("HOME", "/dev/null/nohome")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    settle()
    assert os.environ["USER"] == f"uid{os.getuid()}"
    assert Path(os.environ["XDG_CACHE_HOME"]) == tmp_path / CACHES
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(tmp_path)
