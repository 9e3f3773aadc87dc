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
    KEPT_RESULTS,
    LIST,
    add_to_sums,
    check_kept,
    differences,
    keep_in_list,
    kept_folders,
    read_sums,
    renew,
    sums_of,
    write_sums,
)
from replicate.scoring.context import neighbours
from replicate.storage.files import sha256_file
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


def test_a_run_that_lost_its_parameter_file_is_refused_by_all(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run was known by that file alone: without it nobody looked at the others."""
    renew(run)
    (run / "params.yaml").unlink()
    monkeypatch.chdir(run.parents[2])
    preset = str(package_root() / "presets/smoke.yaml")
    table = ["--table", "results/table1.json", "--results", "results", "--out", "page.html"]
    for words in (
        ["check", "--params", preset],
        ["report", "--params", preset, *table],
        ["verify", "--run", str(KEPT)],
    ):
        assert main(words) == 2, words
        assert "params.yaml is missing" in capsys.readouterr().err, words


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder of results of no run, with their list, and a file for people."""
    folder = tmp_path / "results/tuning"
    folder.mkdir(parents=True)
    (folder / "digits.json").write_text('{"mean": 1.0}\n')
    write_sums(folder, {"digits.json": sha256_file(folder / "digits.json")})
    (folder / "README.md").write_text("notes\n")
    return folder


def test_results_of_no_run_are_held_to_the_list_of_their_folder(
    shared: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mean edited to 42 in the trials of tuning reached the page."""
    monkeypatch.chdir(shared.parents[1])
    preset = str(package_root() / "presets/smoke.yaml")
    check = ["check", "--params", preset]
    (shared / "README.md").write_text("other notes\n")
    (shared / "own.json").write_text("{}\n")
    assert main(check) == 1, "what is not listed is nobody's result; only the run is missing here"
    (shared / "digits.json").write_text('{"mean": 42.0}\n')
    table = ["--table", "results/table1.json", "--results", "results", "--out", "page.html"]
    capsys.readouterr()
    for words in (check, ["report", "--params", preset, *table]):
        assert main(words) == 2, words
        assert "digits.json is not what it was kept as" in capsys.readouterr().err
    # Whoever writes a result of the folder anew enters it.
    keep_in_list(shared / "digits.json")
    assert differences(shared) == []
    (shared / "digits.json").unlink()
    assert differences(shared) == ["digits.json"]
    assert renew(shared) == ["digits.json", "own.json"]
    assert read_sums(shared) == {"own.json": sha256_file(shared / "own.json")}


def test_a_score_is_not_set_beside_a_kept_value_that_was_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = tmp_path / "results/published"
    shutil.copytree(package_root() / "results/published", published)
    kept = tmp_path / "results/reference/mnist-1-seed"
    evaluation = kept / "k_means/evaluation.json"
    source = package_root() / "results/reference/mnist-1-seed"
    shutil.copytree(source / "k_means", kept / "k_means")
    renew_as_run(kept)
    monkeypatch.setattr("replicate.scoring.context.package_root", lambda: tmp_path)
    assert "k-means" in {row["title"] for row in neighbours("mnist", 784)}
    text = evaluation.read_text()
    evaluation.write_text(text.replace('"log_likelihood": ', '"log_likelihood": 9', 1))
    with pytest.raises(ReplicateError, match="is not what it was kept as"):
        neighbours("mnist", 784)


def renew_as_run(folder: Path) -> None:
    """Makes the list of a kept run that has its parameter file."""
    (folder / "params.yaml").write_text("preset: mine\n")
    renew(folder)


def test_a_folder_without_a_list_gets_none(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}\n")
    keep_in_list(tmp_path / "mine.json")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.json"]


def test_what_the_project_keeps_is_listed() -> None:
    """Every result file below results/reference and results/tuning stands in a list."""
    results = package_root() / "results"
    listed = set()
    for folder in kept_folders(results):
        listed |= {folder / name for name in read_sums(folder) or ()}
    kept = {path for place in KEPT_RESULTS for path in (results / place).rglob("*.json")}
    assert kept <= listed


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
