"""`reference --measure`: every measure of finished blocks, once for their weights, and the ranks."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from replicate.records.kept_runs import read_sums, sums_of
from replicate.storage.files import read_json, sha256_file
from tests.reference.project import PLAN, Project, plan_of

#: Of little worth, and quick.
MEASURES = {
    "images": 60,
    "resamples": 20,
    "classifier_updates": 5,
    "many_samples": 200,
    "annealing": {
        "images": 3,
        "validation": 2,
        "simulated": 2,
        "chains": 2,
        "temperatures": 4,
        "leapfrogs": 2,
    },
    "partition_temperatures": 0,
}


def tiny(model: str, epochs: int, *seeds: str) -> dict[str, Any]:
    """A plan with settings of measures."""
    return plan_of(model, epochs, *seeds) | {"measures": MEASURES}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with one block of the VAE, trained by an older commit than it is measured by."""
    project = Project(tmp_path_factory.mktemp("measured"), tiny("vae", 2, "0"))
    status, _, err = project.call()
    assert (status, err) == (0, "")
    project.commit("a later one")
    status, out, err = project.call("--measure")
    assert (status, err) == (0, "")
    assert "measured first vae seeds 0" in out
    return project


@pytest.mark.slow
def test_measures_are_kept_beside_the_results_of_their_weights(measured: Project) -> None:
    run = measured.results / "first"
    measures = measured.kept("vae", "0", "measures.json")
    assert (
        measures["inputs"]["weights"]
        == measured.kept("vae", "0", "weights.json")["chosen"]["sha256"]
    )
    values = {
        (entry["measure"], entry["space"]): entry["value"]
        for entry in measures["per_seed"][0]["measures"]
    }
    for name in ("parzen", "parzen_many", "annealed_likelihood"):
        assert values[name, None] is not None
    # The same samples as those of the evaluation: the same bits.
    evaluation = measured.kept("vae", "0", "evaluation.json")["per_seed"][0]
    assert values["parzen", None] == pytest.approx(evaluation["log_likelihood"], abs=1e-6)
    record = measured.kept("vae", "0", "measures.run.json")
    assert record["source"] == {"commit": measured.git("rev-parse", "HEAD"), "dirty": False}
    ranks = read_json(run / "ranks.json")
    (ranked,) = ranks["datasets"]
    kinds = {row["kind"] for row in ranked["rows"]}
    assert kinds == {"model", "control"}
    assert set(ranks["inputs"]) == {
        "results/reference/first/vae/0/measures.json",
        "results/reference/first/controls-digits.json",
    }
    assert ranks["inputs"]["results/reference/first/vae/0/measures.json"] == sha256_file(
        run / "vae/0/measures.json"
    )
    assert read_sums(run) == sums_of(run)
    # Samples are large and can be drawn again.
    assert list(measured.work.rglob("samples.safetensors")) == []


@pytest.mark.slow
def test_what_is_measured_is_left_alone(measured: Project) -> None:
    before = {path: path.stat().st_mtime_ns for path in measured.results.rglob("*")}
    assert measured.call("--measure", "first") == (0, "", "")
    assert before == {path: path.stat().st_mtime_ns for path in measured.results.rglob("*")}


@pytest.mark.slow
def test_other_weights_are_measured_anew(tmp_path: Path, measured: Project) -> None:
    project = Project(tmp_path / "copy", tiny("vae", 2, "0"))
    shutil.copytree(measured.work, project.work, dirs_exist_ok=True)
    shutil.copytree(measured.results / "first", project.results / "first")
    kept = project.results / "first/vae/0/measures.json"
    whole = kept.read_bytes()
    kept.write_text(whole.decode().replace(read_json(kept)["inputs"]["weights"], "0" * 64))
    status, out, err = project.call("--measure")
    assert (status, err) == (0, "")
    assert "measured first vae seeds 0" in out
    assert (
        read_json(kept)["per_seed"]
        == read_json(measured.results / "first/vae/0/measures.json")["per_seed"]
    )


@pytest.mark.slow
def test_a_block_whose_measuring_fails_is_named_and_nothing_is_kept(
    tmp_path: Path, measured: Project
) -> None:
    project = Project(tmp_path / "copy", tiny("vae", 2, "0"))
    shutil.copytree(measured.work, project.work, dirs_exist_ok=True)
    shutil.copytree(measured.results / "first", project.results / "first")
    for name in ("measures.json", "measures.run.json"):
        (project.results / "first/vae/0" / name).unlink()
    (weights,) = [
        path for path in (project.work / "weights").iterdir()
        if path.stem == project.kept("vae", "0", "weights.json")["chosen"]["sha256"]
    ]  # fmt: skip
    weights.write_bytes(weights.read_bytes()[:1000])
    status, _, err = project.call("--measure")
    assert status == 1
    assert err.startswith("not measured first vae seeds 0: its process ended with status 2; see ")
    assert not (project.results / "first/vae/0/measures.json").exists()


def test_what_cannot_be_measured_takes_no_time(tmp_path: Path) -> None:
    """Nothing is finished; an entry that is not in the plan; time that is up at once."""
    project = Project(tmp_path, PLAN | {"measures": MEASURES})
    assert project.call("--measure") == (0, "", "")
    status, _, err = project.call("--measure", "second")
    assert (status, err) == (
        2,
        "replicate reference: --measure second: the plan has the entries first.\n",
    )
    project.plan(PLAN | {"measures": {"images": 1}})
    status, _, err = project.call("--measure")
    assert status == 2
    assert "measures.images" in err
