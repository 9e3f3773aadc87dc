"""DVC beside Snakemake: one graph, the same jobs, the same bytes."""

import csv
import json
import shutil
from typing import Any

import pytest

from tests.datasets.data_helpers import write_images
from tests.workflow.conftest import flip


def read(project, path: str) -> Any:
    return json.loads((project / path).read_text())


def answer_of(project, *command: str) -> Any:
    """What a command prints as JSON; DVC's notes go to standard error."""
    done = project.run(*command)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def plotted(project, file: str, *revisions: str) -> list[dict[str, str]]:
    """The points that `dvc plots` shows of a file, and how."""
    command = ("dvc", "plots", "diff", *revisions) if revisions else ("dvc", "plots", "show")
    (plot,) = answer_of(project, *command, "--json", *(("--targets",) if revisions else ()), file)[
        "data"
    ][file]
    content = plot["content"] if isinstance(plot["content"], dict) else json.loads(plot["content"])
    assert "DVC_METRIC" not in json.dumps(content), "a place of the template that DVC does not fill"
    encoding, columns = content["spec"]["encoding"], content["data"]["values"][0]
    assert {encoding["x"]["field"], encoding["y"]["field"], "rev", "model", "dataset"} <= set(
        columns
    )
    return content["data"]["values"]


def test_metrics_are_those_of_the_table(finished):
    project = finished.with_git()
    shown = answer_of(project, "dvc", "metrics", "show", "--json")[""]["data"][
        "results/metrics.json"
    ]["data"]
    (row,) = (
        row
        for row in read(project, "results/table1.json")["rows"]
        if row["model"] == "adversarial_nets"
    )
    cell = row["cells"]["digits"]["measured"]
    assert shown == {
        "digits": {
            "adversarial_nets": {
                "log_likelihood": cell["mean"],
                "sd_over_seeds": cell["sd_over_seeds"],
                "standard_error_test": cell["standard_error_test"],
            }
        }
    }


@pytest.mark.slow
def test_plots_show_the_numbers_of_the_result_files(finished):
    project = finished.with_git()
    training = read(project, "results/train/digits/adversarial_nets/0-1.json")
    points = plotted(project, "results/curves/learning.csv")
    assert {(point["dataset"], point["model"]) for point in points} == {
        ("digits", "adversarial_nets")
    }
    assert [(int(p["seed"]), int(p["epoch"]), float(p["log_likelihood"])) for p in points] == [
        (seed, epoch, values[place])
        for epoch, values in zip(
            training["curve"]["epoch"], training["curve"]["log_likelihood"], strict=True
        )
        for place, seed in enumerate(training["seeds"])
    ]
    chosen = read(project, "results/bandwidth/digits/adversarial_nets/0-1.json")
    points = plotted(project, "results/curves/bandwidth.csv")
    assert [
        (
            int(p["seed"]),
            int(p["draw"]),
            int(p["fold"]),
            float(p["sigma"]),
            float(p["log_likelihood"]),
        )
        for p in points
    ] == [
        (seed, 0, 0, sigma, value)
        for seed, draws in zip(chosen["seeds"], chosen["curve"], strict=True)
        for sigma, value in zip(chosen["sigmas"], draws[0][0], strict=True)
    ]
    means = {
        (p["dataset"], p["model"]): float(p["mean"])
        for p in plotted(project, "results/table1.csv")
        if p["mean"]
    }
    for row in read(project, "results/table1.json")["rows"]:
        for dataset, cell in row["cells"].items():
            if cell["measured"]:
                assert means.pop((dataset, row["model"])) == cell["measured"]["mean"]
    assert not means


def test_failed_seeds_leave_gaps_in_the_curves(finished):
    name = "results/train/digits/adversarial_nets/0-1.json"
    training = read(finished, name)
    training["curve"]["log_likelihood"][-1][0] = None
    (finished / name).write_text(json.dumps(training))
    bandwidth = "results/bandwidth/digits/adversarial_nets/0-1.json"
    chosen = read(finished, bandwidth)
    chosen["curve"][0] = None
    (finished / bandwidth).write_text(json.dumps(chosen))
    said = finished.good("python", "-m", "replicate", "curves", "--out", "curves", name, bandwidth)
    assert said == "curves: 3 rows in learning.csv, 10 rows in bandwidth.csv\n"
    with (finished / "curves/bandwidth.csv").open(encoding="utf-8") as stream:
        assert {row["seed"] for row in csv.DictReader(stream)} == {"1"}
    (finished / name).write_text("nonsense")
    done = finished.run("python", "-m", "replicate", "curves", "--out", "curves", name, bandwidth)
    assert done.returncode == 2
    assert done.stderr.startswith(f"replicate curves: {name} is not valid JSON")


@pytest.mark.slow
def test_an_experiment_with_another_learning_rate_stands_beside_the_run(recorded):
    """The commands of docs/comparing-runs.md."""
    project = recorded
    project.commit()
    before = read(project, "results/metrics.json")["digits"]["adversarial_nets"]["log_likelihood"]
    project.good(
        "dvc",
        "exp",
        "run",
        "--name",
        "slower",
        "-S",
        "models.adversarial_nets.digits.learning_rate=0.05",
    )
    after = read(project, "results/metrics.json")["digits"]["adversarial_nets"]["log_likelihood"]
    assert after != before
    table = project.good("dvc", "exp", "show", "--csv", "--only-changed")
    rows = {row["Experiment"] or row["rev"]: row for row in csv.DictReader(table.splitlines())}
    of, metric = (
        "models.adversarial_nets.digits.learning_rate",
        "digits.adversarial_nets.log_likelihood",
    )
    assert (float(rows["slower"][of]), float(rows["slower"][metric])) == (0.05, after)
    (old,) = (row for name, row in rows.items() if name not in ("slower", "workspace"))
    assert (float(old[of]), float(old[metric])) == (0.2, before)
    shown = answer_of(project, "dvc", "metrics", "diff", "--json")["results/metrics.json"]
    assert shown["digits.adversarial_nets.log_likelihood"] == pytest.approx(
        {"old": before, "new": after, "diff": after - before}
    )
    points = plotted(project, "results/curves/learning.csv", "HEAD", "slower")
    assert {point["rev"] for point in points} == {"HEAD", "slower"}
    assert project.planned() == {}


@pytest.mark.slow
@pytest.mark.faults
def test_after_snakemake_dvc_runs_no_job_and_then_nothing(finished):
    project = finished.with_git()
    before = project.records()
    answer = project.good("dvc", "repro")
    assert answer.count("Nothing to be done") == 8
    assert project.records() == before
    answer, seconds = project.cost("dvc", "repro")
    assert "snakemake" not in answer, "no stage but the one that looks at the files runs"
    assert seconds < project.quick()
    assert project.planned() == {}


def published(project, folder):
    """Pushes a run that DVC has recorded; and a clone of it in which nothing has run."""
    project.good("dvc", "remote", "add", "--default", "store", str(folder / "store"))
    project.good("dvc", "push")
    project.commit()
    project.good("git", "clone", "--quiet", ".", str(folder / "clone"))
    clone = type(project)(folder / "clone")
    return project, clone


@pytest.mark.slow
def test_a_fresh_clone_gets_its_results_back_and_notices_changes(recorded, tmp_path):
    project, clone = published(recorded, tmp_path)
    clone.good("python", "tools/restore.py")
    assert clone.planned() == {}
    assert "snakemake" not in clone.good("dvc", "repro")
    clone.good("python", "tools/same_results.py", str(project.folder), str(clone.folder))
    clone.edit("params.yaml", "draws: .*", "draws: 2")
    assert set(clone.planned()) == {
        "measure",
        "measures",
        "ranks",
        "curves",
        "inspect",
        "table",
        "metrics",
        "report",
    }
    refused = clone.run("python", "tools/restore.py")
    assert refused.returncode == 1
    assert (
        "first measure digits/adversarial_nets/0-1: its parameters have changed" in refused.stderr
    )
    clone.good("git", "checkout", "--quiet", "params.yaml")
    assert clone.planned() == {}


@pytest.mark.slow
def test_in_a_clone_a_changed_learning_rate_is_trained(recorded, tmp_path):
    """Snakemake has never seen this folder; DVC must not record the old numbers as those of the new
    rate.
    """
    project, clone = published(recorded, tmp_path)
    clone.good("dvc", "pull")
    before = read(clone, "results/metrics.json")
    for one in (project, clone):
        one.edit("params.yaml", "learning_rate: .*", "learning_rate: 0.05")
    project.good("snakemake", "--cores", "2")
    clone.good("dvc", "repro")
    assert read(clone, "results/metrics.json") != before
    clone.good("python", "tools/same_results.py", str(project.folder), str(clone.folder))


#: Of the other stages, which `make faults` flips a bit in.
FLIPPED_TOO = (
    "results/data/digits.json",
    "results/table1.json",
    "results/panels/digits/adversarial_nets/0-1/learning.svg",
    "results/figures/theory/figures.json",
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "file",
    [
        "results/train/digits/adversarial_nets/0-1.safetensors",
        "results/evaluation/digits/adversarial_nets/0-1.json",
        "report/index.html",
        *(pytest.param(file, marks=pytest.mark.faults) for file in FLIPPED_TOO),
    ],
)
def test_a_flipped_bit_is_mended_by_dvc_too(recorded, whole_run, file):
    """In a file of every stage, its time kept."""
    project = recorded
    flip(project / file)
    project.good("dvc", "repro")
    project.good("python", "tools/same_results.py", str(project.folder), str(whole_run.folder))
    assert "snakemake" not in project.good("dvc", "repro")


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
@pytest.mark.faults
def test_dvc_from_nothing_gives_the_same_bytes(finished, fresh):
    shutil.copy(fresh / "presets/smoke.yaml", fresh / "params.yaml")
    fresh.with_git().good("dvc", "repro")
    fresh.good("python", "tools/same_results.py", str(finished.folder), str(fresh.folder))
    before = fresh.records()
    assert "Nothing to be done" in fresh.good("snakemake", "--cores", "2")
    assert fresh.records() == before


#: A run of k-means on digits, and on a folder of images of the user's own.
SMALL = {
    "preset": "smoke",
    "seeds": ["0-1"],
    "compute": {"device": "cpu"},
    "likelihood": {"samples": 100, "draws": 1},
    "selection": {"every": 1, "samples": 100},
    "datasets": {"digits": {}},
    "experiments": {},
    "samplers": {},
    "measures": {"resamples": 100, "classifier_updates": 20},
    "models": {"k_means": {"digits": {"epochs": 1}}},
}
WITH_IMAGES = {
    "datasets": {"digits": {}, "images": {"size": 8}},
    "models": {"k_means": {"digits": {"epochs": 1}, "images": {"batch_size": 5}}},
}


def test_a_section_that_dvc_wants_is_named_before_anything_runs(fresh):
    without = {name: value for name, value in SMALL.items() if name != "measures"}
    (fresh / "params.yaml").write_text(json.dumps(without))
    done = fresh.with_git().run("dvc", "repro")
    assert done.returncode != 0
    assert "DVC wants every section to be there, if only as {}; add `measures: {}`" in done.stderr
    assert not (fresh / "results/data").exists()


@pytest.mark.slow
def test_a_run_without_experiments_goes_through_dvc(fresh):
    (fresh / "params.yaml").write_text(json.dumps(SMALL))
    fresh.with_git().good("dvc", "repro")
    assert (fresh / "report/index.html").is_file()
    assert fresh.good("dvc", "status") == "standing:\n\talways changed\n", (
        "the stage that looks, and no other"
    )
    assert "Nothing to be done" in fresh.good("snakemake", "--cores", "2")


@pytest.mark.slow
def test_a_change_of_the_users_own_images_reaches_dvc_too(fresh):
    """No stage declares them: `dvc repro` said that nothing changed, and kept the old numbers."""
    folder = fresh / "data/images"
    write_images(folder, [f"{k}.png" for k in range(14)])
    (fresh / "params.yaml").write_text(json.dumps(SMALL | WITH_IMAGES))
    fresh.with_git().good("dvc", "repro", "data")
    before = read(fresh, "results/data/images.json")["sha256"]
    assert "Stage 'data' didn't change" in fresh.good("dvc", "repro", "data")
    # Another time is no other picture.
    (folder / "0.png").touch()
    assert "Stage 'data' didn't change" in fresh.good("dvc", "repro", "data")
    shutil.copy(folder / "1.png", folder / "0.png")
    fresh.good("dvc", "repro", "data")
    assert read(fresh, "results/data/images.json")["sha256"] != before
    assert "Stage 'data' didn't change" in fresh.good("dvc", "repro", "data")
    # Gone, as on a disk that is not mounted, they are left out, which the table says.
    folder.rename(fresh / "away")
    fresh.good("python", "-m", "replicate", "check", "--for-dvc")
    assert "images: needs a folder of images" in (fresh / "results/standing.txt").read_text()


@pytest.mark.slow
def test_an_experiment_in_a_copy_does_not_leave_out_the_users_data(fresh):
    write_images(fresh / "data/images", [f"{k}.png" for k in range(14)])
    (fresh / "params.yaml").write_text(json.dumps(SMALL | WITH_IMAGES))
    done = fresh.with_git().run("dvc", "exp", "run", "--temp")
    assert done.returncode != 0
    assert (
        "params.yaml: datasets.images would be left out: `dvc exp run --temp` and `--queue` work"
        in done.stderr
    )
    assert f"set REPLICATE_DATA={fresh / 'data'}" in done.stderr
    fresh.good("dvc", "exp", "run", "--temp", REPLICATE_DATA=str(fresh / "data"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("params.yaml", "learning_rate: .*", "learning_rate: 0.05"),
        pytest.param("params.yaml", "draws: .*", "draws: 2", marks=pytest.mark.faults),
        pytest.param(
            "report/templates/page.html.j2",
            "</html>",
            "<!-- changed --></html>",
            marks=pytest.mark.faults,
        ),
    ],
)
def test_a_change_runs_the_same_jobs_in_either_engine(recorded, tmp_path, file, old, new):
    project = recorded
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
