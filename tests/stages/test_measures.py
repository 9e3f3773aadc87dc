"""The stages `measures`, `controls` and `ranks` by hand, on a small run of digits."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.measures.controls_list import CONTROLS
from replicate.records.frame import read_result
from replicate.records.schema import ControlResult, Evaluation, MeasuresOfBlock, Ranks
from replicate.storage.files import read_json, read_tensors, write_tensors
from tests.stages.pipeline import Pipeline

SMALL: dict[str, Any] = {
    "likelihood": {"samples": 300},
    "measures": {
        "images": 60,
        "resamples": 20,
        "classifier_updates": 10,
        "many_samples": 500,
        "annealing": {
            "images": 4,
            "validation": 3,
            "simulated": 2,
            "chains": 2,
            "temperatures": 6,
            "leapfrogs": 2,
        },
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """A small run with its classifier."""
    run = Pipeline(tmp_path_factory.mktemp("trained"))
    run.run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replicate.diagnostics.classifier.UPDATES", 60)
        run.call("classifier", "--data", run.data, "--out", run.folder / "classifier.safetensors")
    return run


def words(run: Pipeline, out: Path, **changes: object) -> list[str]:
    """The command `measures`, with other files where named."""
    files = {
        "weights": run.weights,
        "data": run.data,
        "samples": run.samples,
        "classifier": run.folder / "classifier.safetensors",
    }
    command = ["measures", "--params", json.dumps(SMALL)]
    for name, path in {**files, **changes}.items():
        command += [f"--{name}", str(path)]
    return [*command, "--out", str(out)]


def test_every_seed_gets_every_measure_and_twice_the_same_bytes(
    trained: Pipeline, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        assert main(words(trained, tmp_path / f"{name}.json")) == 0
    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
    content = read_result(tmp_path / "first.json", MeasuresOfBlock)
    evaluation = read_result(trained.evaluation, Evaluation)
    for seed, evaluated in zip(content["per_seed"], evaluation["per_seed"], strict=True):
        entries = {entry["measure"]: entry for entry in seed["measures"]}
        # The same estimate as the one that Table 1 shows, of the same draw.
        assert entries["parzen"]["value"] == pytest.approx(
            evaluated["draws"][0]["log_likelihood"], abs=1e-6
        )
        assert entries["parzen_many"]["details"]["samples"] == 500
        annealed = entries["annealed_likelihood"]
        assert annealed["images"] == 4
        assert {"gap", "sigma", "simulated_lower", "simulated_upper"} <= annealed["details"].keys()
        assert entries["boltzmann_likelihood"]["reason"] == "the model has no partition function"
    assert content["parameters"]["measures"]["many_samples"] == 500


def test_controls_and_ranks_follow(trained: Pipeline, tmp_path: Path) -> None:
    judge = ["--classifier", str(trained.folder / "classifier.safetensors")]
    data = ["--dataset", "digits", "--data", str(trained.data)]
    params = ["--params", json.dumps(SMALL)]
    measures, controls = tmp_path / "measures.json", tmp_path / "controls.json"
    assert main(words(trained, measures)) == 0
    assert main(["controls", *params, *data, *judge, "--out", str(controls)]) == 0
    content = read_result(controls, ControlResult)
    assert [entry["control"] for entry in content["controls"]] == list(CONTROLS)
    assert content["controls"][0]["above_truth"] == []
    assert main(["ranks", "--out", str(tmp_path / "ranks.json"), str(measures), str(controls)]) == 0
    (ranked,) = read_result(tmp_path / "ranks.json", Ranks)["datasets"]
    kinds = [row["kind"] for row in ranked["rows"]]
    assert kinds == ["model", *["control"] * len(CONTROLS)]
    assert all(len(row["values"]) == len(ranked["columns"]) for row in ranked["rows"])


def test_a_failed_seed_has_no_measures(trained: Pipeline, tmp_path: Path) -> None:
    tensors, metadata = read_tensors(trained.samples, "sample")
    about = json.loads(metadata["about"])
    about["failed"] = {"1": {"epoch": 3, "reason": "the loss is not finite"}}
    samples = tensors["samples"].copy()
    samples[1] = np.nan
    write_tensors(
        tmp_path / "s.safetensors",
        {"samples": samples},
        {**metadata, "about": json.dumps(about, sort_keys=True)},
    )
    assert main(words(trained, tmp_path / "m.json", samples=tmp_path / "s.safetensors")) == 0
    sound, failed = read_result(tmp_path / "m.json", MeasuresOfBlock)["per_seed"]
    assert failed["measures"] == []
    assert failed["failed"] is not None
    assert len(sound["measures"]) > 0


def test_files_of_different_jobs_are_refused(
    trained: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, metadata = read_tensors(trained.samples, "sample")
    about = json.loads(metadata["about"])
    about["block"] = "2-3"
    write_tensors(
        tmp_path / "s.safetensors",
        {"samples": tensors["samples"]},
        {**metadata, "about": json.dumps(about, sort_keys=True)},
    )
    assert main(words(trained, tmp_path / "m.json", samples=tmp_path / "s.safetensors")) == 2
    assert "belongs to another training job" in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()


def test_a_classifier_of_other_images_is_refused(
    trained: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(trained.folder / f"classifier{suffix}", tmp_path / f"c{suffix}")
    content = read_json(tmp_path / "c.json")
    content["shape"] = [1, 9, 9]
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8")
    changed = words(trained, tmp_path / "m.json", classifier=tmp_path / "c.safetensors")
    assert main(changed) == 2
    assert "trained on another data set" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["measures", "recognise", "controls"])
def test_a_classifier_of_another_cut_is_refused(
    trained: Pipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """It has seen the test images of this one, and its images have the same shape."""
    data = tmp_path / "digits.safetensors"
    cut = ["--params", '{"datasets": {"digits": {"split_seed": 1}}}', "--dataset", "digits"]
    files = ["--manifest", str(trained.manifest), "--out", str(data)]
    assert main(["prepare", *cut, *files]) == 0
    line = [command, "--data", str(data), "--out", str(tmp_path / "x.json")]
    line += ["--classifier", str(trained.folder / "classifier.safetensors")]
    if command != "controls":
        line += ["--samples", str(trained.samples)]
    if command == "measures":
        line += ["--weights", str(trained.weights)]
    if command == "controls":
        line += ["--dataset", "digits"]
    assert main(line) == 2
    assert f"was trained on other data than {data}" in capsys.readouterr().err
