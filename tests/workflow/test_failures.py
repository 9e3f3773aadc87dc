"""A failed job: the end of its log and the command that repeats it, under both engines."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.workflow.conftest import ROOT, stand_in

CUT = "the disk fell out of the machine"
SPLITS = "replicate/datasets/base.py"


def told(output: str, rule: str) -> tuple[str, str]:
    """What the user reads of a failed job at the end of a run: its log's end, and the command."""
    (_, block) = output.split(f"\nFailed: {rule} -> ")
    log, command = block.split("\nTo repeat it alone:\n", 1)
    return log, command.splitlines()[0].strip()


def cut(project) -> str:
    """Makes every job fail that reads prepared images; gives the module as it was."""
    whole = (project / SPLITS).read_text(encoding="utf-8")
    old = '    def read\\(cls, path: Path\\) -> "Splits":\n'
    project.edit(
        SPLITS,
        old,
        f'    def read(cls, path: Path) -> "Splits":\n        raise ReplicateError("{CUT}")\n',
    )
    return whole


@pytest.mark.slow
def test_snakemake_shows_the_log_and_a_command_that_repeats_the_job(finished):
    whole = cut(finished)
    done = finished.run("snakemake", "--cores", "2")
    assert done.returncode == 1
    for rule in ("train", "classifier"):  # one failure does not hide the other
        log, command = told(done.stderr, rule)
        assert f"The end of logs/{rule}/digits" in log
        assert f"replicate {rule}: {CUT}" in log
        words = shlex.split(command)
        assert Path(words[0]).samefile(sys.executable)
        assert words[1:5] == ["-m", "replicate", "job", rule]
    log, command = told(done.stderr, "train")
    again = finished.run("bash", "-c", command)
    assert again.returncode == 2
    assert CUT in again.stderr
    (finished / SPLITS).write_text(whole, encoding="utf-8")
    assert "epoch 2 chosen" in finished.good("bash", "-c", command)


def test_a_setting_that_no_job_could_use_is_refused_before_any_job(finished):
    before = finished.records()
    finished.edit("params.yaml", "batch_size: .*", "batch_size: 5000")
    done = finished.run("snakemake", "--cores", "2", "training")
    assert done.returncode == 1
    sentence = (
        "models.adversarial_nets.digits.batch_size: a step takes 5000 images and digits has 1283 "
        "to train on"
    )
    assert f"params.yaml: {sentence}; choose less." in done.stderr.splitlines()
    assert finished.records() == before


def test_the_command_can_be_pasted_where_the_project_lies_in_a_folder_with_a_space():
    """`repeating` alone, with the Python of such a checkout; words of the job that say `python`
    stay.
    """
    file = ROOT / "workflow/rules/failures.smk"
    python = "/home/a user/nets/.venv/bin/python"
    given = {
        "workflow": SimpleNamespace(is_main_process=False),
        "sys": SimpleNamespace(executable=python),
        "Path": Path,
    }
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), given)
    command = """python -m replicate train --params '{"a": "python b"}' --data python"""
    job = f"\n        {command} 2>&1 | tee -i logs/a.log\n"
    line = given["repeating"](job)
    assert "\n" not in line
    assert shlex.split(line) == [
        python,
        "-m",
        "replicate",
        "train",
        "--params",
        '{"a": "python b"}',
        "--data",
        "python",
    ]


def test_of_a_group_only_the_job_that_failed_is_named(tmp_path, monkeypatch):
    """A cluster ends a group as one, and Snakemake calls every job of it failed."""
    monkeypatch.chdir(tmp_path)
    file = ROOT / "workflow/rules/failures.smk"
    given = {
        "workflow": SimpleNamespace(is_main_process=False),
        "sys": sys,
        "Path": Path,
        "MIRROR": None,
    }
    exec(compile(file.read_text(encoding="utf-8"), file, "exec"), given)
    failed = given["FAILED"]
    for number, rule in enumerate(("measure", "inspect")):
        (tmp_path / f"{rule}.log").write_text(f"{rule} was at work")
        failed.emit(
            SimpleNamespace(
                event=given["LogEvent"].JOB_ERROR,
                jobid=number,
                rule_name=rule,
                output=[f"{rule}.json"],
                log=[f"{rule}.log"],
                shellcmd=f"python -m replicate {rule} 2>&1 | tee -i {rule}.log",
                conda_env=None,
            )
        )
    (tmp_path / "measure.json").touch()
    told = failed.report()
    assert "Failed: inspect -> inspect.json" in told
    assert "inspect was at work" in told
    assert "measure" not in told


@pytest.mark.slow
def test_with_conda_the_command_names_the_python_of_its_environment(finished, tmp_path):
    whole = cut(finished)
    done = finished.run(
        "snakemake", "--cores", "2", "--use-conda", "--", "training", path=stand_in(tmp_path)
    )
    assert done.returncode == 1
    log, command = told(done.stderr, "train")
    assert f"replicate train: {CUT}" in log
    python = Path(shlex.split(command)[0])
    assert python.parent.parent.parent == finished / ".snakemake/conda"
    (finished / SPLITS).write_text(whole, encoding="utf-8")
    assert "epoch 2 chosen" in finished.good("bash", "-c", command)


@pytest.mark.slow
def test_a_long_log_is_cut_to_its_end(finished):
    """A stage that says much before it fails."""
    finished.edit(
        "workflow/rules/train.smk",
        r"\{params.command\} 2>&1 \| tee -i",
        "seq 100 | tee {log:q}; {params.command} 2>&1 | tee -i -a",
    )
    cut(finished)
    log, _ = told(finished.run("snakemake", "--cores", "1", "training").stderr, "train")
    assert [line.strip() for line in log.splitlines()[2:13]] == [
        str(number) for number in range(90, 101)
    ]
    assert CUT in log


@pytest.mark.slow
def test_dvc_shows_both_too_and_names_its_stage(finished):
    cut(finished)
    done = finished.with_git().run("dvc", "repro", "training", "--single-item")
    assert done.returncode != 0
    output = done.stdout + done.stderr
    log, command = told(output, "train")
    assert f"replicate train: {CUT}" in log
    assert shlex.split(command)[1:5] == ["-m", "replicate", "job", "train"]
    assert "failed to reproduce 'training'" in output


@pytest.mark.slow
def test_what_the_user_stopped_is_not_called_failed(finished):
    finished.edit("params.yaml", "epochs: .*", "epochs: 100000")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(
        ["snakemake", "--cores", "1", "training"],
        cwd=finished.folder,
        env=os.environ | {"PATH": path},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    running = finished / ".replicate/progress/digits-adversarial_nets-0-1.json"
    for _ in range(600):
        if running.exists() and '"running"' in running.read_text():
            break
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "the same command goes on from here" in output
    assert "Failed:" not in output
