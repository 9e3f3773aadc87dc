"""The lists of files of kept runs, against `sha256sum`, and what refuses a run that is not what its
list says.
"""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.records.kept_runs import (
    LIST,
    add_to_sums,
    check_kept,
    differences,
    read_sums,
    renew,
    sums_of,
)
from replicate.storage.paths import package_root

KEPT = package_root() / "results/reference/statements/seeds-10-19"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A kept run of two files."""
    folder = tmp_path / "results" / "reference" / "run"
    (folder / "vae").mkdir(parents=True)
    (folder / "params.yaml").write_text("preset: mine\n")
    (folder / "vae" / "train.json").write_text("{}\n")
    return folder


def test_the_list_is_one_of_sha256sum(run: Path) -> None:
    assert renew(run) == ["params.yaml", "vae/train.json"]
    assert renew(run) == []
    subprocess.run(["sha256sum", "--check", "--strict", "--quiet", LIST], cwd=run, check=True)
    assert read_sums(run) == sums_of(run)


def _flip(run: Path) -> None:
    (run / "vae/train.json").write_text("[]\n")


def _remove(run: Path) -> None:
    (run / "vae/train.json").unlink()


def _add(run: Path) -> None:
    (run / "vae/other.json").write_text("{}\n")


def _cut(run: Path) -> None:
    (run / LIST).write_bytes((run / LIST).read_bytes()[:-20])


def _empty(run: Path) -> None:
    (run / LIST).write_bytes(b"")


def _no_text(run: Path) -> None:
    (run / LIST).write_bytes(b"\xff")


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (_flip, "train.json is not what it was kept as"),
        (_remove, "train.json is missing"),
        (_add, "other.json is not what it was kept as: changed, damaged or new"),
        (_cut, f"{LIST} is no list of SHA-256 and names"),
        (_empty, f"{LIST} is no list of SHA-256 and names"),
        (_no_text, f"{LIST} is no list of SHA-256 and names"),
    ],
)
def test_a_run_that_is_not_what_its_list_says_is_refused(
    run: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    check_kept(run)  # without a list it is an unfinished one
    renew(run)
    check_kept(run)
    damage(run)
    with pytest.raises(ReplicateError, match=f"{sentence}.*bring .* back from git; .*--sums"):
        check_kept(run)
    renew(run)
    check_kept(run)


def test_results_of_a_block_leave_what_else_the_list_says(run: Path) -> None:
    """Damage beside a new block is not blessed by it."""
    add_to_sums(run, {"dbn/train.json": "[1]\n"}, ["params.yaml"])
    assert differences(run) == ["dbn/train.json"]
    (run / "dbn").mkdir()
    (run / "dbn/train.json").write_text("[1]\n")
    assert differences(run) == []
    _flip(run)
    add_to_sums(run, {"dbn/train.json": "[2]\n"})
    (run / "dbn/train.json").write_text("[2]\n")
    assert differences(run) == ["vae/train.json"]


def test_every_command_that_reads_kept_runs_refuses_a_damaged_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`verify`, `report` with and beside it, and `check`; `reference --sums` takes it as it is."""
    place = tmp_path / "results/reference/run"
    shutil.copytree(KEPT, place)
    statements = place / "statements.json"
    statements.write_bytes(statements.read_bytes().replace(b"replicated", b"replicatee", 1))
    monkeypatch.chdir(tmp_path)
    preset = str(package_root() / "presets/smoke.yaml")
    whole = package_root() / "results/reference/mnist-1-seed"
    page = [
        "report",
        "--params",
        preset,
        "--table",
        str(whole / "table1.json"),
        "--out",
        "page.html",
        "--results",
    ]
    commands = [
        ["verify", "--run", str(KEPT), "--reference", str(place)], [*page, "results"],
        [*page, str(whole), "--compare", str(place)], ["check", "--params", preset],
    ]  # fmt: skip
    for words in commands:
        assert main(words) == 2, words
        assert "statements.json is not what it was kept as" in capsys.readouterr().err
    assert main(["reference", "--sums", "--results", "results/reference"]) == 0
    assert "1 files are new, changed or gone, first statements.json" in capsys.readouterr().out
    assert main(commands[0]) == 0  # the word that was changed is none that is compared
