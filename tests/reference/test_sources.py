"""Which code a block runs, and what keeps it from starting anew; without a training."""

import errno
import fcntl
import os
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from replicate.errors import ReplicateError
from replicate.jobs.code_digest import code_digest
from replicate.reference_runs import runner, sources
from replicate.reference_runs.blocks import Block, Folders, blocks_of
from replicate.reference_runs.data import prepared
from replicate.reference_runs.keeping import _remove_stale_measures
from replicate.reference_runs.plan import read_plan
from replicate.reference_runs.runner import Runner
from replicate.reference_runs.sources import (
    Source,
    begin,
    package_digest,
    present,
    source_of,
    uncommitted,
)
from replicate.reference_runs.steps import classifier_of
from replicate.storage.files import read_json, sha256_file, write_json
from replicate.storage.paths import package_root
from tests.reference.project import PLAN, run_git


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one module, without git."""
    (tmp_path / "project/replicate").mkdir(parents=True)
    (tmp_path / "project/replicate/__init__.py").write_text("value = 1\n")
    monkeypatch.setattr(sources, "package_root", lambda: tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def block(tmp_path: Path) -> Block:
    (tmp_path / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    plan = read_plan(tmp_path / "plan.yaml")
    (block,) = blocks_of(plan, Folders(tmp_path / "work", tmp_path / "results"))
    return block


def no_table(entry: str) -> None:
    """No block of these tests is finished."""
    raise AssertionError(entry)


def commit(root: Path) -> str:
    run_git(root, "init", "--quiet")
    run_git(root, "add", "--all")
    run_git(root, "commit", "--quiet", "-m", "one")
    return run_git(root, "rev-parse", "HEAD")


def test_edits_do_not_reach_a_block_of_a_checkout(root: Path, block: Block) -> None:
    first = commit(root)
    source = present(block.folders)
    assert (source.commit, uncommitted(root)) == (first, False)
    begin(block, source, "d" * 64)
    (root / "replicate/__init__.py").write_text("value = 2\n")
    assert uncommitted(root)
    assert present(block.folders) == source
    commit(root)
    assert present(block.folders).commit != first
    assert source_of(block, block.folders) == source
    assert (source.folder / "replicate/__init__.py").read_text() == "value = 1\n"


def test_a_folder_of_a_larger_repository_runs_from_a_clone_of_it(root: Path, block: Block) -> None:
    first = commit(root.parent)
    source = present(block.folders)
    assert (source.commit, source.folder) == (
        first,
        block.folders.work / "source" / first / root.name,
    )
    assert source.package == package_digest(root)
    begin(block, source, "d" * 64)
    (root / "replicate/__init__.py").write_text("value = 2\n")
    assert source_of(block, block.folders) == source
    run_git(root.parent, "mv", root.name, "elsewhere")
    run_git(root.parent, "commit", "--quiet", "-m", "moved")
    moved = run_git(root.parent, "rev-parse", "HEAD")
    run_git(root.parent, "mv", "elsewhere", root.name)
    write_json(block.origin_file, {"commit": moved, "package": "b" * 64, "data": "d" * 64})
    with pytest.raises(ReplicateError, match="does not have the project where it lies now"):
        source_of(block, block.folders)


def test_a_worktree_is_a_checkout(
    root: Path, block: Block, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = commit(root)
    run_git(root, "worktree", "add", "--quiet", "--detach", str(tmp_path / "tree"))
    monkeypatch.setattr(sources, "package_root", lambda: tmp_path / "tree")
    assert present(block.folders).commit == first


def test_a_repository_around_the_project_that_ignores_it_says_nothing_of_it(
    root: Path, block: Block
) -> None:
    (root.parent / ".gitignore").write_text("project\n")
    commit(root.parent)
    assert present(block.folders) == Source(None, package_digest(root), root)


def test_without_git_a_block_goes_on_with_the_code_that_is_here(root: Path, block: Block) -> None:
    source = present(block.folders)
    assert source == Source(None, package_digest(root), root)
    begin(block, source, "d" * 64)
    assert source_of(block, block.folders) == source
    (root / "replicate/__init__.py").write_text("value = 2\n")
    with pytest.raises(
        ReplicateError, match=r"started from code of no commit, which has changed since"
    ):
        source_of(block, block.folders)


def test_an_older_commit_takes_git_or_its_clone(root: Path, block: Block) -> None:
    write_json(block.origin_file, {"commit": "a" * 40, "package": "b" * 64, "data": "d" * 64})
    with pytest.raises(
        ReplicateError, match=r"commit aaaaaaaaaaaa, and a clone of it takes git .* not here"
    ):
        source_of(block, block.folders)
    clone = block.folders.work / "source" / ("a" * 40) / "replicate"
    clone.mkdir(parents=True)
    (clone / "__init__.py").write_text("value = 0\n")
    assert source_of(block, block.folders).folder == clone.parent


def test_a_commit_that_the_repository_does_not_have_is_named(root: Path, block: Block) -> None:
    commit(root)
    write_json(block.origin_file, {"commit": "a" * 40, "package": "b" * 64, "data": "d" * 64})
    with pytest.raises(
        ReplicateError, match="commit aaaaaaaaaaaa, which this repository does not have"
    ):
        source_of(block, block.folders)
    assert not (block.folders.work / "source" / ("a" * 40)).exists()


def test_code_nobody_has_is_not_taken_for_a_block_started_by_hand(root: Path, block: Block) -> None:
    _begun(block)
    with pytest.raises(
        ReplicateError, match=r"the code that began .* \(digest x\) is neither here nor in"
    ):
        source_of(block, block.folders)
    assert not block.origin_file.exists()


def test_a_block_started_by_hand_belongs_to_the_oldest_clone_of_its_code(
    root: Path, block: Block
) -> None:
    """By time, not by name: a later commit may hold the same code, and its name sort before."""
    places = [block.folders.work / "source" / (letter * 40) for letter in "bca"]
    for folder in places:
        for name in ("__init__.py", "stages/train.py", "models/k_means.py"):
            (folder / "replicate" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "replicate" / name).write_text("value = 1\n")
    (places[0] / "replicate/stages/train.py").write_text("value = 2\n")
    for seconds, folder in enumerate(places):
        os.utime(folder, (seconds, seconds))
    code = code_digest(["replicate.stages.train", "replicate.models.k_means"], places[1])
    _begun(block, code=code)
    assert source_of(block, block.folders).commit == "c" * 40
    assert read_json(block.origin_file)["data"] == "d" * 64


def test_a_block_is_held_while_its_training_runs_elsewhere(block: Block) -> None:
    """A training that was started by hand holds the lock of its checkpoints alone."""
    _begun(block)
    lock = block.state / "checkpoints" / "digits-k_means-0-0" / "lock"
    lock.touch()
    with lock.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with block.locked() as handle:
            assert handle is None
    with block.locked() as handle:
        assert handle is not None
        assert block.is_locked()
        with block.locked() as second:
            assert second is None
    assert not block.is_locked()


BACKEND = {"device": "cpu", "device_name": "CPU", "threads": 1, "products": "onednn", "tf32": False}
VERSIONS = {"torch": "2.13.0", "numpy": "2.4.6"}


def _begun(block: Block, **changed: Any) -> None:
    """A training of the plan's settings that was stopped, but for what is changed."""
    settings: dict[str, Any] = {
        "config": {"epochs": 2},
        "compute": {"device": "cpu", "threads": 1},
        "selection": dict(PLAN["selection"]),
        "sigmas": PLAN["likelihood"]["sigmas"],
        "validation_limit": 100,
        "code": "x",
        "data": "d" * 64,
        "backend": BACKEND,
        **VERSIONS,
    }
    folder = block.state / "checkpoints" / "digits-k_means-0-0"
    write_json(folder / "run.json", settings | changed)
    write_json(folder / "step-000000000001.json", {})


@pytest.mark.parametrize(
    ("began", "here", "sentence"),
    [
        ({"torch": "2.12.0"}, {}, "it was begun with torch 2.12.0 and here it is 2.13.0"),
        ({"numpy": "1.0"}, {}, "it was begun with numpy 1.0 and here it is 2.4.6"),
        ({}, {"products": "blas"}, "it was begun with products onednn and here it is blas"),
        (
            {"selection": {"every": 7, "samples": 100}},
            {},
            "other settings than the plan's: selection.every",
        ),
        ({"config": {"epochs": 1}}, {}, "its recipe depends on the last epoch"),
        ({}, {}, None),
        ({}, {"instructions": "a fact that older records lack"}, None),
    ],
)
def test_a_block_that_would_start_anew_is_left_alone(
    block: Block,
    monkeypatch: pytest.MonkeyPatch,
    began: dict[str, Any],
    here: dict[str, Any],
    sentence: str | None,
) -> None:
    _begun(block, **began)
    facts = {"versions": VERSIONS, "entries": [{"backend": BACKEND | here}]}
    monkeypatch.setattr(runner, "described", lambda *_: facts)
    work = Runner(block.folders, deque(), 1, {("first", "k_means"): False}, 300.0, no_table)
    settings = read_json(block.state / "checkpoints/digits-k_means-0-0/run.json")
    source = Source(None, "b" * 64, package_root())
    if sentence is None:
        work._check(block, source, settings)
        return
    with pytest.raises(ReplicateError, match=sentence):
        work._check(block, source, settings)


def test_other_data_leave_a_block_alone(root: Path, block: Block) -> None:
    begin(block, present(block.folders), "d" * 64)
    block.folders.data.mkdir()
    (block.folders.data / "digits.safetensors").write_bytes(b"other")
    work = Runner(block.folders, deque(), 1, {}, 300.0, no_table)
    with pytest.raises(ReplicateError, match=r"started from other data \(dddddddddddd\)"):
        work._source(block)


def test_kept_results_without_a_state_are_not_trained_anew(block: Block, root: Path) -> None:
    """More epochs are asked for than were kept, on a machine that has the results alone."""
    for name in ("train", "bandwidth", "evaluation", "recognition"):
        write_json(block.results_folder / f"{name}.json", {"epochs": 1})
        write_json(block.results_folder / f"{name}.run.json", {})
    block.folders.data.mkdir(parents=True)
    (block.folders.data / "digits.safetensors").write_bytes(b"data")
    work = Runner(block.folders, deque(), 1, {}, 300.0, no_table)
    with pytest.raises(
        ReplicateError, match=r"its results of 1 epochs are kept .* its last state is not here"
    ):
        work._source(block)


def test_missing_and_damaged_data_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = Folders(tmp_path / "work", tmp_path / "results")
    source = Source(None, "b" * 64, package_root())
    monkeypatch.setenv("REPLICATE_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("REPLICATE_OFFLINE", "1")
    with pytest.raises(ReplicateError, match=r"^the data set 'mnist' is not here: "):
        prepared("mnist", {}, folders, source)
    assert not list(folders.work.rglob("*.safetensors"))
    folders.data.mkdir(parents=True, exist_ok=True)
    (folders.data / "digits.safetensors").write_bytes(b"damaged")
    write_json(folders.data / "digits.json", {"sha256": "0" * 64})
    with pytest.raises(ReplicateError, match=r"digits.safetensors is damaged"):
        prepared("digits", {}, folders, source)


def test_data_that_were_prepared_by_other_options_are_refused(tmp_path: Path) -> None:
    """Else a plan that was changed would be run on the data of the earlier one."""
    folders = Folders(tmp_path / "work", tmp_path / "results")
    path = folders.data / "digits.safetensors"
    folders.data.mkdir(parents=True)
    path.write_bytes(b"data")
    settings = {"parameters": {"datasets": {"digits": {"split_seed": 0}}}}
    write_json(path.with_suffix(".json"), settings | {"sha256": sha256_file(path)})
    source = Source(None, "b" * 64, package_root())
    assert prepared("digits", {}, folders, source) == path
    assert prepared("digits", {"split_seed": 0}, folders, source) == path
    with pytest.raises(ReplicateError, match="prepared with split_seed 0, and the plan asks for 1"):
        prepared("digits", {"split_seed": 1}, folders, source)


def test_blocks_of_other_data_share_no_classifier(block: Block) -> None:
    block.folders.data.mkdir(parents=True)
    source = Source(None, "b" * 64, package_root())
    names = set()
    for content in (b"data", b"cut anew"):
        (block.folders.data / "digits.safetensors").write_bytes(content)
        names.add(classifier_of(block, source).name)
    assert len(names) == 2


def test_what_was_measured_by_other_settings_is_removed(block: Block) -> None:
    """A plan whose likelihood was changed between two starts would mix both in one result."""
    record = block.measures / "bandwidth.run.json"
    for draws, stays in ((1, False), (1, True), (2, False)):
        params = block.params | {"likelihood": block.params["likelihood"] | {"draws": draws}}
        write_json(record, {})
        _remove_stale_measures(replace(block, params=params), "a" * 64)
        assert record.is_file() == stays


def test_a_clone_that_is_not_whole_is_named(root: Path, block: Block) -> None:
    (block.folders.work / "source" / commit(root)).mkdir(parents=True)
    with pytest.raises(ReplicateError, match="is no whole clone of commit"):
        present(block.folders)


def test_a_file_that_is_being_edited_in_emacs_is_no_module(root: Path) -> None:
    """Its mark is a link to nothing, whose name ends as that of the module."""
    digest = package_digest(root)
    (root / "replicate" / ".#module.py").symlink_to("somebody@host.123:1")
    assert package_digest(root) == digest


def test_a_block_that_the_disk_fails_leaves_the_others(
    block: Block, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "block.json")

    work = Runner(block.folders, deque([block, block]), 1, {}, 300.0, no_table)
    monkeypatch.setattr(Runner, "_source", full)
    assert not work.run()
    assert work.troubled == 2
    assert "not started first k_means seeds 0: [Errno 28]" in capsys.readouterr().err


@pytest.mark.parametrize("content", [[], {}, {"epoch": "x"}])
def test_progress_that_is_damaged_is_as_good_as_none(block: Block, content: object) -> None:
    write_json(block.state / "progress/digits-k_means-0.json", content)
    assert block.progress() == {}


def test_a_kept_result_of_something_else_is_named(block: Block) -> None:
    for name in block.result_files:
        write_json(block.results_folder / name, {})
    with pytest.raises(ReplicateError, match=r"train.json: the content is not what its stage"):
        block.is_finished()
