"""The pipeline on a real SLURM of one node: the bytes of a local run, and every way in which a cluster
ends a job.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, Project

pytestmark = pytest.mark.slow

NODE = ROOT / "tools/slurm_node.sh"
#: As the profile has it, but for the seconds between two looks at the queue.
ON_CLUSTER = (
    "snakemake",
    "--profile",
    "profiles/slurm",
    "--slurm-init-seconds-before-status-checks",
    "2",
    "--seconds-between-status-checks",
    "2",
)
RUN = "digits/adversarial_nets/0-1"
TRAINING = (*ON_CLUSTER, "training")
#: Long enough that whatever happens to a training happens in the middle of it.
EPOCHS = 400
#: Seconds for a training that is cut off again and again, on a busy machine.
PATIENCE = 1500


@pytest.fixture(scope="module")
def plugin() -> Path:
    """The folder of the executor's plug-in."""
    missing = [tool for tool in ("slurmctld", "slurmd", "munged") if not _tool(tool)]
    if missing or os.geteuid() != 0:
        pytest.skip("needs root, and Debian's slurm-wlm and munge")
    found = importlib.util.find_spec("snakemake_executor_plugin_slurm")
    if found is None or found.origin is None:
        pytest.skip("needs snakemake-executor-plugin-slurm: see docs/clusters.md")
    return Path(found.origin).parents[1]


@pytest.fixture(scope="module")
def node(plugin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a running cluster of one node."""
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(["bash", NODE, "up", folder], capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    yield folder
    subprocess.run(["bash", NODE, "down", folder], check=True)


@pytest.fixture
def project(fresh: Project, node: Path, plugin: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy that has never run, with the smoke preset; commands find the plug-in."""
    shutil.copy(fresh / "presets/smoke.yaml", fresh / "params.yaml")
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    return fresh


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")


def _jobs(state: str = "all") -> list[str]:
    """The numbers of SLURM's jobs in a state."""
    words = ["squeue", "--noheader", "--format=%i", f"--states={state}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def _until(holds: Callable[[], object], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.2)


class Training:
    """What the one training of the smoke preset says of itself."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.process = 0
        self.epoch = 0

    def until_under_way(self, epochs: int = 20) -> None:
        """Waits until another process than the last time has trained some epochs more."""
        path = self.project / ".replicate/progress/digits-adversarial_nets-0-1.json"

        def is_under_way() -> bool:
            if not path.is_file():
                return False
            said = json.loads(path.read_text(encoding="utf-8"))
            process, epoch = said["pid"], said["epoch"]
            if process == self.process or epoch < self.epoch + epochs:
                return False
            self.process, self.epoch = process, epoch
            return True

        _until(is_under_way)

    def log(self) -> str:
        path = self.project / f"logs/train/{RUN}.log"
        return path.read_text(encoding="utf-8")


def _with_epochs(project: Project, epochs: int) -> None:
    project.edit("params.yaml", r"epochs: 4\b", f"epochs: {epochs}")


def _ended(project: Project, plugin: Path, output: Path) -> str:
    """What the training on the cluster prints, which ends well."""
    assert _started(project, plugin, output).wait(PATIENCE) == 0
    return output.read_text(encoding="utf-8")


def _started(project: Project, plugin: Path, output: Path) -> subprocess.Popen[bytes]:
    """The training on the cluster, in a group of processes of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    with output.open("wb") as stream:
        return subprocess.Popen(
            TRAINING, cwd=project.folder, env={"PATH": path, "PYTHONPATH": str(plugin)},
            start_new_session=True, stdout=stream, stderr=subprocess.STDOUT,
        )  # fmt: skip


def _kill_node(node: Path, project: Project, head: int) -> None:
    """Kills what a power cut of the node would: its daemon, what it started for jobs, and the jobs."""
    daemon = int((node / "slurmd.pid").read_text(encoding="utf-8"))
    os.kill(daemon, signal.SIGKILL)
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_text(encoding="utf-8")
            at_work_here = (path / "cwd").readlink() == project.folder
            in_job = at_work_here and os.getpgid(int(path.name)) != head
        except (OSError, ValueError):
            continue  # it has ended, or is somebody else's
        if in_job or words.startswith("slurmstepd: ["):
            os.kill(int(path.name), signal.SIGKILL)


def _same_weights(one: Project, other: Project) -> bool:
    weights = f"results/train/{RUN}.safetensors"
    return (one / weights).read_bytes() == (other / weights).read_bytes()


def test_a_run_on_the_cluster_has_the_bytes_of_a_local_one(
    project: Project, finished: Project, plugin: Path
) -> None:
    given = {"PYTHONPATH": str(plugin)}
    forecast = project.good("python", "-m", "replicate", "status", "--write-resources")
    assert "wrote what 1 training job(s) need" in forecast
    needs = json.loads((project / ".replicate/resources.json").read_text(encoding="utf-8"))[RUN]
    earlier = set(_jobs())
    options = ["--set-resources", "train:gpu=1", "--default-resources", "slurm_partition=main"]
    answer = project.good(*ON_CLUSTER, *options, **given)
    assert "Provided resources: gpu" not in answer
    # 16 jobs, of which small ones go together (profiles/slurm).
    assert answer.count(" has been submitted with SLURM jobid ") == 9
    (trained,) = [line for line in answer.splitlines() if "rule_train/" in line]
    number = trained.split("SLURM jobid ")[1].split()[0]
    assert number not in earlier
    described = subprocess.run(["scontrol", "show", "job", number], capture_output=True, text=True)
    assert f"mem={needs['mem_mb']}M" in described.stdout
    assert f"TimeLimit=00:{needs['runtime']}:00" in described.stdout
    assert "gres:gpu:1" in described.stdout
    project.good("python", "tools/same_results.py", str(finished.folder), str(project.folder))
    assert "Nothing to be done" in project.good(*ON_CLUSTER, **given)
    assert project.planned() == {}


def test_cancelled_without_its_node_and_without_its_head_a_training_goes_on(
    project: Project, node: Path, plugin: Path, tmp_path: Path
) -> None:
    """One training: scancel; the node's daemons killed with their jobs; the head killed, and the same
    command again.
    """
    _with_epochs(project, EPOCHS)
    whole = project.copy(tmp_path / "whole")
    training = Training(project)
    head = _started(project, plugin, tmp_path / "head.log")
    training.until_under_way()
    subprocess.run(["scancel", *_jobs("running")], check=True)
    _until(lambda: "the same command goes on from here" in training.log())
    training.until_under_way()
    assert "goes on from epoch" in training.log()

    _kill_node(node, project, head.pid)
    _until(lambda: not _jobs("running"))
    subprocess.run(["/usr/sbin/slurmd"], check=True)
    training.epoch = 0  # back to the last checkpoint
    training.until_under_way()

    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    answer = _ended(project, plugin, tmp_path / "again.log")
    assert "Waiting for jobs of an earlier run to end" in answer
    assert "Nothing to be done" in answer
    whole.good("snakemake", "--cores", "1", "training")
    assert _same_weights(project, whole)


def test_a_training_that_takes_longer_than_its_time_limit_ends(
    project: Project, plugin: Path, tmp_path: Path
) -> None:
    """Told of the limit it saves its state; the next attempt has more time, and goes on from there."""
    _with_epochs(project, EPOCHS)
    whole = project.copy(tmp_path / "whole")
    needs = {RUN: {"mem_mb": 1500, "runtime": 2}}
    (project / ".replicate").mkdir()
    (project / ".replicate/resources.json").write_text(json.dumps(needs), encoding="utf-8")
    answer = _ended(project, plugin, tmp_path / "head.log")
    assert "Trying to restart job" in answer
    assert "goes on from epoch" in Training(project).log()
    whole.good("snakemake", "--cores", "1", "training")
    assert _same_weights(project, whole)
