"""The command in a project of its own: blocks run, stop, go on, and stay with their commit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from replicate.records.kept_runs import read_sums, sums_of
from replicate.storage.files import read_json
from tests.reference.project import (
    PLAN,
    Project,
    bits,
    plan_of,
    shorten_classifier,
    write_older_package,
)

#: Seconds of training enough to be stopped in the middle.
LONG = 100


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A finished block of the VAE."""
    project = Project(tmp_path_factory.mktemp("whole"), plan_of("vae", LONG, "0"))
    status, _, err = project.call()
    assert (status, err) == (0, "")
    return project


@pytest.mark.slow
def test_a_finished_block_has_all_that_is_kept(uninterrupted: Project) -> None:
    names = {path.name for path in (uninterrupted.results / "first/vae/0").iterdir()}
    stages = ("train", "bandwidth", "evaluation", "recognition")
    assert names == {"weights.json"} | {
        f"{stage}{end}" for stage in stages for end in (".json", ".run.json")
    }
    commit = uninterrupted.git("rev-parse", "HEAD")
    for stage in stages:
        record = uninterrupted.kept("vae", "0", f"{stage}.run.json")
        assert record["source"] == {"commit": commit, "dirty": False}
        assert (record["device"], record["threads"]) == ("cpu", 1)
    for which, weights in uninterrupted.kept("vae", "0", "weights.json").items():
        if which != "epochs":
            assert (
                uninterrupted.work / "weights" / f"{weights['sha256']}.safetensors"
            ).stat().st_size == weights["size"]
    assert read_sums(uninterrupted.results / "first") == sums_of(uninterrupted.results / "first")
    words = ["verify", "--run", "results/reference/first", "--reference", "results/reference/first"]
    said = subprocess.run(
        [sys.executable, "-m", "replicate", *words],
        cwd=uninterrupted.root,
        capture_output=True,
        text=True,
    )
    assert "same bits: seeds 0" in said.stdout


@pytest.mark.slow
def test_done_blocks_are_left_alone(uninterrupted: Project) -> None:
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.results.rglob("*")}
    assert uninterrupted.call() == (0, "reference: all blocks of the plan are done.\n", "")
    assert before == {path: path.stat().st_mtime_ns for path in uninterrupted.results.rglob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT twice", "kill"])
def test_a_stopped_run_goes_on_to_the_same_bits(
    tmp_path: Path, uninterrupted: Project, how: str
) -> None:
    project = Project(tmp_path, plan_of("vae", LONG, "0"))
    with project.start("--checkpoint-every", "0.2") as process:
        project.waits_for_epoch("vae", "0", 5)
        _stop(process, how, project)
        out, err = process.communicate(timeout=100)
    assert process.returncode == (-9 if how == "kill" else 130), err
    assert not (project.results / "first").exists()
    assert list(project.folder_of("vae", "0").glob("state/checkpoints/*/step-*.json"))
    status, out, err = project.call()
    assert (status, err) == (0, ""), out
    assert "goes on from epoch" in (project.folder_of("vae", "0") / "log").read_text()
    assert bits(project, "vae", "0") == bits(uninterrupted, "vae", "0")
    assert project.kept("vae", "0", "train.run.json")["earlier_attempts"] == 1


def _stop(process: subprocess.Popen[str], how: str, project: Project) -> None:
    """Stops the command, and waits until its child has ended too."""
    if how == "kill":
        lock = next(project.folder_of("vae", "0").glob("state/checkpoints/*/lock"))
        child = int(lock.read_text().split()[1])
        process.kill()
        os.kill(child, signal.SIGKILL)
        return
    process.send_signal(getattr(signal, how.split()[0]))
    if how.endswith("twice"):
        assert process.stderr is not None
        assert "once more to stop at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)


@pytest.mark.slow
def test_it_ends_by_a_checkpoint_within_the_minutes(tmp_path: Path) -> None:
    project = Project(tmp_path, plan_of("vae", 100_000, "0"))
    began = time.monotonic()
    status, out, err = project.call("--minutes", "0.5")
    assert time.monotonic() - began < 33  # the start of Python included
    assert (status, err) == (0, "")
    assert re.search(r"stopped  first vae seeds 0: epoch \d+/100000, .* left", out)
    folder = project.folder_of("vae", "0")
    assert list(folder.glob("state/checkpoints/*/step-*.json"))
    assert "the same command goes on from here" in (folder / "log").read_text()
    assert "pending  first vae seeds 0: epoch" in project.call("--status")[1]


@pytest.mark.slow
def test_a_block_stays_with_its_commit_when_the_code_changes(
    tmp_path: Path, uninterrupted: Project
) -> None:
    """Code that cannot train any more: what is begun goes on from the clone, what is new fails and
    is said.
    """
    project = Project(tmp_path, plan_of("vae", LONG, "0", "1"))
    began = project.git("rev-parse", "HEAD")
    with project.start("--side-by-side", "1", "--checkpoint-every", "0.2") as process:
        project.waits_for_epoch("vae", "0", 5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=100)
    model = project.root / "replicate/models/vae.py"
    broken_step = "def train_step(self, *_: object) -> None:\n        raise OSError('changed')\n"
    model.write_text(
        model.read_text().replace("def train_step(", f"{broken_step}\n    def unused(")
    )
    project.commit("changed")
    status, out, err = project.call("--side-by-side", "1")
    assert status == 1, err
    assert "first vae seeds 0: goes on from its last state" in out
    assert f"commit {began[:12]}" in out
    assert "failed   first vae seeds 1: " in err
    assert bits(project, "vae", "0") == bits(uninterrupted, "vae", "0")
    assert project.kept("vae", "0", "train.run.json")["source"] == {"commit": began, "dirty": False}


#: That commit chose the route of matrix products by their time, which a busy machine changes;
#: timed by this clock, both routes take as long, and it chooses the BLAS.
STEADY_CLOCK = "import itertools, time\ntime.perf_counter = itertools.count().__next__\n"


@pytest.mark.slow
def test_a_block_of_before_the_moves_goes_on(tmp_path: Path) -> None:
    """Begun by the commands of an older commit, finished by today's, with that commit's code."""
    project = Project(tmp_path / "project", plan_of("vae", LONG, "0"), git=False)
    today = tmp_path / "today"
    (project.root / "replicate").rename(today)
    write_older_package(project.root)
    shorten_classifier(project.root / "replicate/classifier.py")
    project.git("init", "--quiet")
    older = project.commit("before the moves")
    clock = tmp_path / "clock"
    clock.mkdir()
    (clock / "sitecustomize.py").write_text(STEADY_CLOCK)
    environment = {"PYTHONPATH": str(clock)}
    with project.start("--checkpoint-every", "0.2", **environment) as process:
        project.waits_for_epoch("vae", "0", 5)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=100)
    shutil.rmtree(project.root / "replicate")
    today.rename(project.root / "replicate")
    project.commit("after the moves")
    status, out, err = project.call(**environment)
    assert (status, err) == (0, "")
    start = f"started  first vae seeds 0: goes on from its last state, commit {older[:12]}"
    assert start in out
    log = (project.folder_of("vae", "0") / "log").read_text()
    assert "goes on from epoch" in log
    assert "starts from the beginning" not in log
    record = project.kept("vae", "0", "train.run.json")
    assert record["source"] == {"commit": older, "dirty": False}
    assert record["earlier_attempts"] == 1


@pytest.mark.slow
def test_a_block_that_was_started_by_hand_goes_on(tmp_path: Path, uninterrupted: Project) -> None:
    """The layout of a block that nobody noted: a clone of its commit, and a folder with its
    state.
    """
    project = Project(tmp_path, plan_of("vae", LONG, "0"))
    commit = project.git("rev-parse", "HEAD")
    clone = project.work / "source" / commit
    clone.parent.mkdir(parents=True)
    project.git("clone", "--quiet", str(project.root), str(clone))
    shutil.copytree(uninterrupted.work / "data", project.work / "data")
    entry = PLAN["entries"][0]
    params = {
        **PLAN,
        "compute": entry["compute"],
        "seeds": ["0"],
        "preset": "first",
        "models": {"vae": {"digits": {"epochs": LONG}}},
    }
    given = json.dumps(
        {name: value for name, value in params.items() if name not in ("plan", "entries")}
    )
    folder = project.folder_of("vae", "0")
    options = {
        "--params": given,
        "--dataset": "digits",
        "--model": "vae",
        "--block": "0",
        "--data": project.work / "data/digits.safetensors",
        "--out": folder / "weights.safetensors",
        "--state": folder / "state",
        "--checkpoint-every": 0.2,
    }
    words = ["train"]
    for option, value in options.items():
        words += [option, str(value)]
    with subprocess.Popen(
        [sys.executable, "-m", "replicate", *words],
        cwd=clone,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        project.waits_for_epoch("vae", "0", 5)
        process.send_signal(
            signal.SIGSTOP
        )  # it holds the block for as long as the commands below take
        status, out, _ = project.call()
        assert status == 0
        assert "held     first vae seeds 0: another process works on it" in out
        assert "running  first vae seeds 0: epoch" in project.call("--status")[1]
        process.kill()
    project.commit("another commit of the same code, whose clone is newer")
    status, out, err = project.call()
    assert status == 0, err
    assert f"commit {commit[:12]}" in out
    assert bits(project, "vae", "0") == bits(uninterrupted, "vae", "0")


def row_of(project: Project, model: str) -> dict[str, Any]:
    """What the table of the entry says of a model."""
    table = read_json(project.results / "first/table1.json")
    (row,) = (row for row in table["rows"] if row["model"] == model)
    found: dict[str, Any] = row["cells"]["digits"]["measured"]
    return found


@pytest.mark.slow
def test_more_epochs_go_on_from_the_last_state(tmp_path: Path) -> None:
    whole = Project(tmp_path / "whole", plan_of("vae", 30, "0"))
    assert whole.call()[0] == 0
    project = Project(tmp_path / "longer", plan_of("vae", 20, "0"))
    assert project.call()[0] == 0
    before = project.kept("vae", "0", "weights.json")
    assert row_of(project, "vae")["ending"]["epochs"] == 20
    project.plan(plan_of("vae", 30, "0"))
    assert "pending  first vae seeds 0: epoch 20/30" in project.call("--status")[1]
    status, _, err = project.call()
    assert status == 0
    assert "the results of 20 epochs are replaced by those of 30" in err
    assert bits(project, "vae", "0") == bits(whole, "vae", "0")
    row = row_of(project, "vae")
    assert row["ending"]["epochs"] == 30
    evaluated = project.kept("vae", "0", "evaluation.json")
    assert row["per_seed"][0]["log_likelihood"] == evaluated["per_seed"][0]["log_likelihood"]
    assert project.call("--tables")[0] == 0
    assert row_of(project, "vae") == row
    assert "goes on from epoch 20" in (project.folder_of("vae", "0") / "log").read_text()
    for weights in (before, project.kept("vae", "0", "weights.json")):
        assert (project.work / "weights" / f"{weights['chosen']['sha256']}.safetensors").is_file()


@pytest.mark.slow
def test_more_epochs_are_refused_where_the_recipe_depends_on_the_last(tmp_path: Path) -> None:
    project = Project(tmp_path, plan_of("rbm", 2, "0"))
    assert project.call()[0] == 0
    before = bits(project, "rbm", "0")
    project.plan(plan_of("rbm", 3, "0"))
    status, _, err = project.call()
    assert status == 1
    assert "its recipe depends on the last epoch" in err
    assert bits(project, "rbm", "0") == before


@pytest.mark.slow
def test_two_commands_at_once_take_different_blocks(tmp_path: Path) -> None:
    project = Project(tmp_path, plan_of("vae", 60, "0", "1"))
    with project.start("--side-by-side", "1") as one:
        project.waits_for_epoch("vae", "0", 1)
        with project.start("--side-by-side", "1") as other:
            said = [process.communicate(timeout=300) for process in (one, other)]
    assert (one.returncode, other.returncode) == (0, 0), said
    assert "held     first vae seeds 0" in said[1][0]
    started = [
        [line.split()[4] for line in out.splitlines() if line.startswith("started")]
        for out, _ in said
    ]
    assert sorted(started[0] + started[1]) == ["0:", "1:"]


@pytest.mark.slow
def test_what_fails_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    project = Project(tmp_path, plan_of("k_means", 2, "0", "1"))
    (project.folder_of("k_means", "0") / "weights.safetensors").mkdir(parents=True)
    status, out, err = project.call()
    assert status == 1
    assert "failed   first k_means seeds 0: " in err
    assert "it is a folder, and outputs are plain files" in err
    assert "finished first k_means seeds 1" in out
    assert "1 finished, 1 in trouble" in out


@pytest.mark.slow
def test_a_seed_that_diverges_is_a_result(tmp_path: Path) -> None:
    project = Project(tmp_path, plan_of("vae", 5, "0", learning_rate=1e9))
    status, out, err = project.call()
    assert (status, err) == (0, "")
    assert "finished first vae seeds 0: failed seeds: 0" in out
    assert project.kept("vae", "0")["failed"]["0"]["epoch"] == 1


BLOCKED = """
import sys
class Refusing:
    names = {names!r}
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in self.names:
            raise ModuleNotFoundError(f'{{name}} is not on a bare node', name=name)
sys.meta_path.insert(0, Refusing())
"""
ENGINES = {"snakemake", "dvc"}
LIBRARIES = {"torchvision", "pandas", "matplotlib", "seaborn", "jinja2", "jsonschema", "lxml"}
ABSENT = ENGINES | LIBRARIES | {"tqdm", "PIL", "pytest"}


@pytest.mark.slow
def test_a_bare_node_needs_neither_git_nor_the_engines(tmp_path: Path) -> None:
    """A copy of the code without git, and Python without what a bare node lacks; the commit comes
    with a pack.
    """
    project = Project(tmp_path / "node", git=False)
    blocker = tmp_path / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(BLOCKED.format(names=ABSENT))
    bare = {"PYTHONPATH": str(blocker), "PATH": str(tmp_path / "nothing")}
    status, out, err = project.call(**bare)
    assert (status, err) == (
        0,
        "note: git cannot say here which commit this is, so the results name none.\n",
    )
    assert "finished first k_means seeds 0" in out
    source = project.kept("k_means", "0", "train.run.json")["source"]
    assert (source["commit"], source["dirty"]) == (None, None)
    assert source["reason"].startswith("no git was started")
    assert project.call("--status", **bare)[1].endswith("All blocks of the plan are done.\n")
