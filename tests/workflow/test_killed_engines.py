"""An engine killed with everything that it runs, again and again: the same command ends in the same
bytes.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMANDS = {"snakemake": ("snakemake", "--cores", "1"), "dvc": ("dvc", "repro")}
KILLS = 5
#: What DVC says of a file of its own that it cannot read (docs/faq.md).
TORN = re.compile(r"(?P<lock>Unable to read RWLock)|'[./]*dvc\.lock'")


def _killed(folder: Path, command: tuple[str, ...], seconds: float) -> bool:
    """Runs a command in a group of processes of its own and kills them all after so long; False if
    it ended before.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    run = subprocess.Popen(
        command, cwd=folder, env={"PATH": path, "DVC_NO_ANALYTICS": "1"}, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    time.sleep(seconds)
    os.killpg(run.pid, signal.SIGKILL)
    return run.wait() == -signal.SIGKILL


def _processes_at_work_in(folder: Path) -> list[str]:
    """The commands of living processes whose working folder is this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # it has ended, or is somebody else's
    return [command for command in found if command]


def _wait_until_alone_in(folder: Path) -> None:
    """The kernel needs a moment to end what was killed; nothing may have escaped."""
    end = time.monotonic() + 10
    while found := _processes_at_work_in(folder):
        assert time.monotonic() < end, found
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("engine", list(COMMANDS))
def test_killed_at_random_moments_the_same_command_ends_in_the_same_bytes(finished, fresh, engine):
    """No unlocking, no other option: only the command itself, as often as it takes."""
    (fresh / "params.yaml").write_text((fresh / "presets/smoke.yaml").read_text())
    if engine == "dvc":
        fresh.with_git()
    chance, kills = random.Random(engine), 0
    while kills < KILLS and _killed(fresh.folder, COMMANDS[engine], chance.uniform(2, 8)):
        kills += 1
        _wait_until_alone_in(fresh.folder)
        _without_what_dvc_tore(fresh)
    fresh.good(*COMMANDS[engine])
    fresh.good("python", "tools/same_results.py", str(finished.folder), str(fresh.folder))
    assert fresh.planned() == {}
    states = [
        list(folder.glob("step-*.safetensors"))
        for folder in fresh.folder.glob(".replicate/checkpoints/*")
    ]
    assert {len(one) for one in states} == {1}, (
        "of every training its last state, and no other checkpoint"
    )
    assert kills == KILLS


def _without_what_dvc_tore(project):
    """Removes what DVC was writing in place when it was killed, as docs/faq.md tells users to."""
    while complaint := TORN.search(project.run("dvc", "status").stderr):
        torn = ".dvc/tmp/rwlock" if complaint["lock"] else "dvc.lock"
        (project / torn).unlink()


@pytest.mark.slow
def test_a_list_of_dvc_cut_off_by_a_kill_costs_no_job(recorded):
    """`dvc.lock` is written in place: a kill may leave any part of it."""
    whole = (recorded / "dvc.lock").read_bytes()
    made = recorded.records()
    for part in (0, 0.6):
        (recorded / "dvc.lock").write_bytes(whole[: int(part * len(whole))])

        _without_what_dvc_tore(recorded)
        recorded.good("dvc", "repro")

        assert (recorded / "dvc.lock").read_bytes() == whole
        assert recorded.records() == made


@pytest.mark.slow
@pytest.mark.faults
def test_killed_in_training_again_and_again(finished, fresh, tmp_path):
    """Long trainings, so that most kills fall into one, and it goes on from its checkpoint."""
    long = (finished / "presets/smoke.yaml").read_text().replace("epochs: 4", "epochs: 60")
    (fresh / "params.yaml").write_text(long)
    whole = fresh.copy(tmp_path / "whole")
    whole.good(*COMMANDS["snakemake"])
    for seconds in (6, 8, 9):
        assert _killed(fresh.folder, COMMANDS["snakemake"], seconds)
    fresh.good(*COMMANDS["snakemake"])
    fresh.good("python", "tools/same_results.py", str(whole.folder), str(fresh.folder))
