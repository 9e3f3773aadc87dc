"""The Snakemake side: lint, environments, the lock of a killed run, the GPU."""

import fcntl
from pathlib import Path

import pytest

from tests.workflow.conftest import stand_in
from tests.workflow.test_failures import CUT, cut

CATALOG = ("--snakefile", "workflow/Snakefile")
NO_CONDA = (
    "There is no conda on PATH: --use-conda is set aside, jobs run in the active environment."
)


@pytest.mark.slow
def test_lint_and_format(fresh):
    for begun in ((), CATALOG):
        assert "in a good condition" in fresh.good("snakemake", "--lint", *begun)
    fresh.good("snakefmt", "--check", "Snakefile", "workflow")


@pytest.mark.slow
def test_the_snakefile_of_the_catalog_is_the_same_workflow(finished):
    """Snakemake's workflow catalog reads `workflow/Snakefile`; whoever begins with it gets the same
    jobs, and the ordinary one has nothing to do after it.
    """
    page = (finished / "report/index.html").read_bytes()
    (finished / "report/index.html").unlink()
    assert finished.planned(*CATALOG) == {"report": 1}
    finished.good("snakemake", "--cores", "2", *CATALOG)
    assert (finished / "report/index.html").read_bytes() == page
    assert finished.planned() == {}


@pytest.mark.slow
def test_use_conda_without_conda_says_so_once_and_goes_on(finished):
    (finished / "report/index.html").unlink()
    answer = finished.good("snakemake", "--cores", "2", "--use-conda")
    assert answer.count(NO_CONDA) == 1
    assert (finished / "report/index.html").is_file()
    assert "Nothing to be done" in finished.good("snakemake", "--cores", "2", "--use-conda")


@pytest.mark.slow
def test_use_conda_with_conda_runs_in_its_environment(finished, tmp_path):
    (finished / "report/index.html").unlink()
    finished.edit(
        "workflow/rules/report.smk",
        r"\{params\.command\} 2>&1",
        "(which python; {params.command}) 2>&1",
    )
    answer = finished.good(
        "snakemake", "--cores", "2", "--use-conda", "--", "report", path=stand_in(tmp_path)
    )
    assert "Creating conda environment workflow/envs/replicate.yaml" in answer
    assert "/.snakemake/conda/" in answer
    assert "(Rule: train)" not in answer
    assert (finished / "report/index.html").is_file()
    assert finished.planned() == {}


@pytest.mark.slow
def test_the_lock_of_a_killed_run_is_removed(finished):
    locks = finished / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("report/index.html\n")
    (finished / "report/index.html").unlink()
    finished.good("snakemake", "--cores", "1", "report")
    assert (finished / "report/index.html").is_file()


@pytest.mark.slow
def test_the_lock_of_a_living_run_holds(finished):
    locks = finished / ".snakemake/locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text("report/index.html\n")
    (finished / "report/index.html").unlink()
    with (finished / ".snakemake/replicate.lock").open("w") as alive:
        fcntl.flock(alive, fcntl.LOCK_SH)
        done = finished.run("snakemake", "--cores", "1", "report")
    assert done.returncode == 1
    assert "Directory cannot be locked" in done.stderr
    assert not (finished / "report/index.html").exists()


def test_a_failing_job_shows_its_sentence_and_fails_the_run(finished):
    cut(finished)
    done = finished.run("snakemake", "--cores", "1", "training")
    assert done.returncode == 1
    assert f"replicate train: {CUT}" in done.stdout


@pytest.mark.slow
@pytest.mark.skipif(Path("/proc/driver/nvidia/gpus").is_dir(), reason="has GPUs of its own")
def test_no_two_jobs_share_a_gpu_unasked(fresh, tmp_path):
    """A machine that seems to have GPUs, and cores for two: as many trainings run at once as there
    are GPUs.
    """
    smoke = (
        (fresh / "presets/smoke.yaml")
        .read_text()
        .replace('["0-1"]', '["0", "1"]')
        .replace("device: cpu", "device: auto")
    )
    (fresh / "params.yaml").write_text(smoke)
    tool = tmp_path / "nvidia-smi"

    def trained(cards: int) -> str:
        tool.write_text("#!/bin/sh\n" + "echo 'GPU 0: A'\n" * cards)
        tool.chmod(0o755)
        return fresh.good("snakemake", "--cores", "2", "training", path=tmp_path)

    answer = trained(1)
    assert answer.count("(Rule: train)") == 2
    assert "Execute 2 jobs" not in answer
    (fresh / "results/train").rename(fresh / "results/first")
    assert "Execute 2 jobs" in trained(2)
