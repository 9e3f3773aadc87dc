"""Where a run takes place: other folders, users without a name or a home, links to disks that are
not there.
"""

import os
import pwd
import re
from pathlib import Path

import pytest

from replicate.errors import ReplicateError
from replicate.jobs.workplace import (
    CACHES,
    FOLDERS,
    check_config_files,
    check_folder,
    supply_user_and_caches,
)


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
    with pytest.raises(
        ReplicateError, match=f"{name} is a link to /mnt/usb/disk, which is not there"
    ):
        check_folder(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).touch()
    with pytest.raises(ReplicateError, match=f"{name} is no folder, and a run keeps files there"):
        check_folder(tmp_path)


#: Content of a file given with --configfile -> the sentence, as for any other parameter file.
CONFIGS = {
    b"preset: caf\xe9\n": "wrong.yaml is not UTF-8 text (byte 0xe9 in line 1); save it as UTF-8.",
    b"a: "
    + b"[" * 3000: "wrong.yaml: lists and mappings lie more than 20 deep, which no parameter does.",
    b"a: {": "wrong.yaml is not valid YAML: ",
    b"a: 1\na: 2\n": "wrong.yaml: a: it stands there twice (lines 1 and 2); keep one of them.",
    b"[1]": "wrong.yaml: the parameters must be a mapping of names to values.",
}


@pytest.mark.slow
@pytest.mark.parametrize("content", CONFIGS)
@pytest.mark.parametrize("words", [["--configfile"], ["-n", "--configfiles", "right.yaml"]])
def test_a_file_of_configfile_has_the_sentence_of_any_other(tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    Path("right.yaml").write_bytes(b"preset: mine\n")
    Path("wrong.yaml").write_bytes(content)
    check_config_files(["--cores", "2", *words, "right.yaml", "--config", "seeds=1"])
    check_config_files(["--configfile"])
    with pytest.raises(SystemExit, match="^" + re.escape(CONFIGS[content])):
        check_config_files([*words, "wrong.yaml", "--cores", "2"])


def test_snakemake_says_it_before_its_own_reader(fresh):
    (fresh / "mine.yaml").write_bytes(next(iter(CONFIGS)))
    for file, sentence in {
        "mine.yaml": "mine.yaml is not UTF-8 text",
        "none.yaml": "none.yaml does not exist",
    }.items():
        done = fresh.run("snakemake", "-n", "--configfile", file)
        assert done.returncode == 1
        assert sentence in done.stderr.splitlines()[-1]
        assert "Traceback" not in done.stderr


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
    supply_user_and_caches()
    assert not {"USER", "XDG_CACHE_HOME", "MPLCONFIGDIR", "PYTHONSAFEPATH"} & os.environ.keys()
    monkeypatch.setenv("HOME", "/dev/null/nohome")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    supply_user_and_caches()
    assert os.environ["USER"] == f"uid{os.getuid()}"
    assert Path(os.environ["XDG_CACHE_HOME"]) == tmp_path / CACHES
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(tmp_path)
