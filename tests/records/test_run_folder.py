"""What is read of a folder of results: by what the files say of themselves, wherever they lie."""

import json
from pathlib import Path
from typing import Any

import pytest

from replicate.errors import ReplicateError
from replicate.records.run_folder import kept_runs, read_run, results_below

CELL = {"dataset": "digits", "model": "vae", "block": "0-2"}


def write(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": 1} | content))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one evaluated block, and one that was only trained."""
    folder = tmp_path / "run"
    for stage in ("train", "bandwidth", "evaluate"):
        write(folder / "any" / f"{stage}.json", stage=stage, **CELL)
    write(folder / "any" / "evaluate.run.json", stage="evaluate", wall_seconds=2.5)
    write(folder / "trained.json", stage="train", **CELL | {"block": "3-5"})
    write(folder / "e.json", stage="experiment", experiment="features")
    write(folder / "c.json", stage="statements")
    return folder


def test_results_stand_under_their_cell_block_and_stage(run: Path) -> None:
    write(run / "d.json", stage="draw", **CELL)
    write(run / "old.json", schema=0, stage="evaluate", **CELL)
    (run / "list.json").write_text("[1]")
    (run / "params.yaml").write_text("experiments:\n  features:\n    images: 8\n")
    results = read_run(run)
    assert results.folder == run
    assert results.models.keys() == {("digits", "vae")}
    blocks = results.models["digits", "vae"]
    assert blocks.keys() == {"0-2"}, "only what was evaluated"
    job = blocks["0-2"]
    assert {stage: file.path.name for stage, file in job.items()} == {
        "train": "train.json",
        "bandwidth": "bandwidth.json",
        "evaluate": "evaluate.json",
    }
    assert job["evaluate"].content["block"] == "0-2"
    record = job["evaluate"].record
    assert record is not None
    assert record["wall_seconds"] == 2.5
    assert job["train"].record is None
    assert results.experiments.keys() == {"features"}
    assert results.experiments["features"].path == run / "e.json"
    assert results.statements is not None
    assert results.statements.path == run / "c.json"
    assert results.settings == {"features": {"images": 8}}
    assert results.rounded == {}


def test_rounded_weights_stand_beside_with_the_training_that_they_came_from(run: Path) -> None:
    for stage in ("bandwidth", "evaluate"):
        write(run / "rounded" / f"{stage}.json", stage=stage, rounded={}, **CELL)
    write(run / "rounded" / "alone.json", stage="evaluate", rounded={}, **CELL | {"model": "rbm"})
    results = read_run(run)
    job = results.rounded["digits", "vae"]["0-2"]
    assert job["evaluate"].path == run / "rounded" / "evaluate.json"
    assert job["train"].path == run / "any" / "train.json"
    assert results.rounded["digits", "rbm"]["0-2"].keys() == {"evaluate"}
    assert results.models["digits", "vae"]["0-2"]["evaluate"].path.parent == run / "any"


def test_kept_runs_below_the_results_are_other_runs(run: Path) -> None:
    kept = run / "reference" / "mine"
    write(kept / "evaluate.json", stage="evaluate", **CELL)
    (kept / "params.yaml").write_text("{}")
    assert len(read_run(run).models) == 1
    assert kept_runs(run) == [kept]
    with pytest.raises(ReplicateError, match=r"holds no kept run \(a folder with params\.yaml\)"):
        kept_runs(kept / "below")


def test_settings_are_those_of_the_parameter_file(run: Path) -> None:
    assert read_run(run).settings is None
    (run / "params.yaml").write_text("preset: mine\n")
    assert read_run(run).settings == {}


def test_a_job_may_be_there_once(run: Path) -> None:
    second = write(run / "z.json", stage="train", **CELL)
    with pytest.raises(ReplicateError) as refusal:
        read_run(run)
    assert str(refusal.value) == (
        f"{run / 'any' / 'train.json'} and {second} are both of train digits vae 0-2; "
        "give the folder of one run."
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"stage": "evaluate", "dataset": "digits", "model": "vae"}, "has no 'block'"),
        ({"stage": "experiment"}, "has no 'experiment'"),
        ({"stage": "train"} | CELL | {"model": 3}, "is not a whole result: a name"),
        ({"stage": "train"} | CELL | {"block": None}, "is not a whole result: a name"),
    ],
)
def test_a_result_that_does_not_say_what_it_is_of_is_refused(
    run: Path, content: dict[str, Any], words: str
) -> None:
    path = write(run / "x.json", **content)
    with pytest.raises(ReplicateError, match=words) as refusal:
        read_run(run)
    assert str(refusal.value).startswith(str(path))


def test_a_run_record_is_an_object(run: Path) -> None:
    (run / "trained.run.json").write_text("[]")
    with pytest.raises(ReplicateError, match="a name or its run record is of another type"):
        read_run(run)


def test_a_folder_without_results(tmp_path: Path) -> None:
    with pytest.raises(ReplicateError, match="is not a folder"):
        read_run(tmp_path / "missing")
    write(tmp_path / "a" / "x.json", stage="experiment", experiment="features")
    with pytest.raises(ReplicateError, match="holds no evaluation and no statements"):
        read_run(tmp_path / "a")
    assert results_below(tmp_path / "a").experiments.keys() == {"features"}
    write(tmp_path / "b" / "x.json", stage="statements")
    assert read_run(tmp_path / "b").models == {}
