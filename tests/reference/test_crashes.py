"""Reference runs after a kill between two files, and two commands at once; without a training."""

import contextlib
import errno
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from replicate.__main__ import main
from replicate.errors import ReplicateError
from replicate.records.kept_runs import LIST, read_sums, sums_of
from replicate.reference_runs import measuring
from replicate.reference_runs.blocks import Block, Folders, blocks_of
from replicate.reference_runs.keeping import sole_writer, write_params
from replicate.reference_runs.manifest import Manifest
from replicate.reference_runs.measuring import MEASURES, _Work, measured_weights
from replicate.reference_runs.plan import ReferencePlan, read_plan
from replicate.reference_runs.sources import Source
from replicate.reference_runs.unpacking import _unpack
from replicate.stages.reference import _renew_tables, _write_table
from replicate.storage.files import read_json, write_json, write_text
from replicate.storage.paths import package_root
from replicate.storage.processes import is_running
from tests.reference.project import PLAN

KEPT = package_root() / "results/reference"
SOURCE = Source(None, "b" * 64, package_root())


@pytest.fixture
def plan(tmp_path: Path) -> ReferencePlan:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    return read_plan(tmp_path / "plan.yaml")


@pytest.fixture
def block(tmp_path: Path, plan: ReferencePlan) -> Block:
    (block,) = blocks_of(plan, Folders(tmp_path / "work", tmp_path / "results"))
    return block


def test_a_table_without_the_last_block_is_written_anew_at_the_next_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kill between the results of a block and the table left one that nobody looked at again."""
    plan = read_plan(KEPT / "plan.yaml")
    name = "mnist-baselines"
    run = tmp_path / "results" / name
    shutil.copytree(KEPT / name, run)
    folders = Folders(tmp_path / "work", tmp_path / "results")
    _renew_tables(plan, folders)
    assert capsys.readouterr().out == "", "the kept one is of all its results"

    block = run / "vae/0"
    shutil.move(block, tmp_path / "aside")
    _write_table(folders, name)
    shutil.move(tmp_path / "aside", block)
    capsys.readouterr()
    _renew_tables(plan, folders)
    assert "the table of mnist-baselines is not of its results" in capsys.readouterr().out
    kept = read_json(KEPT / name / "table1.json")
    assert read_json(run / "table1.json")["rows"] == kept["rows"]
    assert read_sums(run) == sums_of(run)

    # Killed after the table, and before the list of the run's files.
    lines = (run / LIST).read_text().splitlines(keepends=True)
    others = [line for line in lines if not line.endswith("table1.csv\n")]
    (run / LIST).write_text("".join(others) + f"{'0' * 64}  table1.csv\n")
    _renew_tables(plan, folders)
    assert read_sums(run) == sums_of(run)


def test_measures_without_their_own_record_count_as_none(
    block: Block, plan: ReferencePlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed after the measures of other weights, and before their record: the earlier record must
    not stand beside them.
    """
    kept = block.results_folder / MEASURES
    for path in (kept, tmp_path / MEASURES):
        write_json(path, {"inputs": {"weights": path.parent.name}})
        write_json(path.with_suffix(".run.json"), {})
    assert measured_weights(block) == kept.parent.name

    def killed(path: Path, text: str) -> None:
        if path != kept:
            raise KeyboardInterrupt
        write_text(path, text)

    monkeypatch.setattr(measuring, "write_text", killed)
    work = _Work(plan, block.folders, SOURCE)
    with pytest.raises(KeyboardInterrupt):
        work._keep(block.entry, tmp_path / MEASURES, kept)
    assert read_json(kept)["inputs"]["weights"] == tmp_path.name
    assert measured_weights(block) is None


def test_what_measures_ends_with_the_command_that_started_it(
    block: Block, plan: ReferencePlan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By SIGTERM, which left its process at work, without the block's lock."""
    number = tmp_path / "number"
    code = f"import os, time; open({str(number)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    monkeypatch.setattr(measuring, "python", lambda words: [sys.executable, "-c", code])
    work = _Work(plan, block.folders, SOURCE)

    def terminate() -> None:
        while not (number.is_file() and number.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    with block.locked() as lock:
        assert lock is not None
        threading.Thread(target=terminate).start()
        with pytest.raises(KeyboardInterrupt):
            work._run(block, [], lock)
    assert not is_running(int(number.read_text()))


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a: 2014-06-10", b"a: .inf", b"a: [", b"? [a]\n"]
)
def test_parameters_that_cannot_be_compared_are_written_anew(block: Block, content: bytes) -> None:
    path = block.folders.results / "first" / "params.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    write_params(block)
    assert yaml.safe_load(path.read_text()) == block.params


def test_an_unpacking_waits_for_another_one(block: Block, tmp_path: Path) -> None:
    """It took the other's temporary folder for that of a killed one, and removed it."""
    folders = block.folders
    scratch = folders.work / ".unpack-other"
    content = {"pack": 1, "source": {"commit": None, "package": "a" * 64}, "entries": {}}
    manifest = Manifest(**content, blocks=(), members=(), parts=())

    def unpack_nothing() -> None:
        # An archive of nothing is none; what counts is that it is not looked at before.
        with contextlib.suppress(ReplicateError):
            _unpack(manifest, [], folders, tmp_path, SOURCE)

    with sole_writer(folders, "unpack.lock"):
        scratch.mkdir()
        second = threading.Thread(target=unpack_nothing)
        second.start()
        second.join(0.3)
        assert second.is_alive()
        assert scratch.is_dir()
    second.join(60)
    assert not scratch.exists()


@pytest.mark.parametrize("name", ["replicate", "empty", "project"])
def test_a_list_of_sums_is_written_into_kept_runs_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    folder = tmp_path / name
    (folder / "replicate").mkdir(parents=True)
    (folder / "a.json").write_text("{}")
    if name == "project":
        (folder / "params.yaml").write_text("preset: demo")
    with pytest.raises(SystemExit, match="2"):
        main(["reference", "--sums", str(folder)])
    assert "it is no kept run" in capsys.readouterr().err
    assert not (folder / LIST).exists()


def test_a_folder_that_cannot_be_used_ends_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    (tmp_path / "work").write_text("mine")
    words = ["--plan", str(tmp_path / "plan.yaml"), "--folder", str(tmp_path / "work")]
    with pytest.raises(SystemExit, match="2"):
        main(["reference", *words, "--results", str(tmp_path / "results")])
    said = capsys.readouterr().err
    assert said.startswith("replicate reference: cannot ")
    assert said.count("\n") == 1


def test_a_lock_that_may_not_be_written_tells_all_the_same(
    block: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--status` of another user's runs, or on a file system that is read-only."""
    opened = os.open

    def to_read_alone(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, *mode)

    with block.locked() as held:
        assert held is not None
        monkeypatch.setattr(os, "open", to_read_alone)
        assert block.is_locked()
    assert not block.is_locked()


def test_a_folder_of_results_that_may_not_be_written_is_named(block: Block) -> None:
    block.folders.work.write_text("mine")
    with (
        pytest.raises(ReplicateError, match=r"cannot write .*sums.lock"),
        sole_writer(block.folders),
    ):
        pass
