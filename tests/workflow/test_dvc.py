"""DVC beside Snakemake: one graph, the same jobs, the same bytes."""

import shutil

import pytest


def test_after_snakemake_dvc_runs_no_job_and_then_nothing(finished):
    project = finished.with_git()
    before = project.records()
    answer = project.good("dvc", "repro")
    assert answer.count("Nothing to be done") == 8
    assert project.records() == before
    answer, seconds = project.cost("dvc", "repro")
    assert "Data and pipelines are up to date" in answer
    assert seconds < project.quick()
    assert project.planned() == {}
    assert "digits.adversarial_nets.log_likelihood" in project.good("dvc", "metrics", "show")
    assert "results/table1.csv" in project.good("dvc", "plots", "show", "--json")


@pytest.mark.slow
def test_a_fresh_clone_gets_its_results_back_and_notices_changes(finished, tmp_path):
    project = finished.with_git()
    project.good("dvc", "repro")
    project.good("dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    project.good("dvc", "push")
    project.commit()
    project.good("git", "clone", "--quiet", ".", str(tmp_path / "clone"))
    clone = type(project)(tmp_path / "clone")
    clone.good("python", "tools/restore.py")
    assert clone.planned() == {}
    assert "Data and pipelines are up to date" in clone.good("dvc", "repro")
    clone.good("python", "tools/same_results.py", str(project.folder), str(clone.folder))
    clone.edit("params.yaml", "draws: .*", "draws: 2")
    assert set(clone.planned()) == {
        "sample", "bandwidth", "evaluate", "recognise", "panels", "table", "metrics", "report",
    }  # fmt: skip
    refused = clone.run("python", "tools/restore.py")
    assert refused.returncode == 1
    assert "params.yaml: likelihood" in refused.stderr
    clone.good("git", "checkout", "--quiet", "params.yaml")
    clone.edit("replicate/models/__init__.py", '"Adversarial nets"', '"Other nets"')
    assert "made again now: panels, report" in clone.good("python", "tools/restore.py")
    assert clone.planned() == {}
    assert "Other nets" in (clone / "report/index.html").read_text(encoding="utf-8")


def test_without_git_dvc_and_restore_say_so_in_one_sentence(finished):
    shutil.copytree(finished.with_git() / ".dvc", finished / "kept")
    shutil.rmtree(finished / ".git")
    done = finished.run("dvc", "repro")
    assert done.returncode != 0
    assert "is not a git repository" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    restored = finished.run("python", "tools/restore.py")
    assert restored.returncode == 1
    assert restored.stderr.startswith("restore: DVC needs git")


@pytest.mark.slow
def test_dvc_from_nothing_gives_the_same_bytes(finished, fresh):
    shutil.copy(fresh / "presets/smoke.yaml", fresh / "params.yaml")
    fresh.with_git().good("dvc", "repro")
    fresh.good("python", "tools/same_results.py", str(finished.folder), str(fresh.folder))
    before = fresh.records()
    assert "Nothing to be done" in fresh.good("snakemake", "--cores", "2")
    assert fresh.records() == before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("params.yaml", "learning_rate: .*", "learning_rate: 0.05"),
        ("params.yaml", "draws: .*", "draws: 2"),
        ("report/templates/page.html.j2", "</html>", "<!-- changed --></html>"),
    ],
)
def test_a_change_runs_the_same_jobs_in_either_engine(finished, tmp_path, file, old, new):
    project = finished.with_git()
    project.good("dvc", "repro")
    project.edit(file, old, new)
    expected = project.planned()
    by_snakemake = project.copy(tmp_path / "by_snakemake")
    answer = project.good("dvc", "repro")
    ran = {rule: answer.count(f"(Rule: {rule})") for rule in expected}
    assert ran == expected
    assert project.planned() == {}
    by_snakemake.good("snakemake", "--cores", "2")
    before = by_snakemake.records()
    by_snakemake.good("dvc", "repro")
    assert by_snakemake.records() == before
    project.good("python", "tools/same_results.py", str(project.folder), str(by_snakemake.folder))
