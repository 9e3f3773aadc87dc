"""Trials on validation images: the same budget for every model, kept trials not run again, test
images never read.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.storage.files import read_json
from replicate.training.backend import Backend
from tests.stages.pipeline import Pipeline

TINY = {
    "epochs": 2,
    "batch_size": 100,
    "noise_dimension": 4,
    "generator_hidden": [8],
    "discriminator_hidden": [4],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pipeline = Pipeline(tmp_path_factory.mktemp("tune"))
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call(
        "prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data
    )
    return pipeline.data


def trials(folder: Path, *changes: dict[str, Any], budget: int | None = None, **more: Any) -> Path:
    content = {
        "dataset": "digits", "budget": budget or len(changes), "seeds": "100-101",
        "selection": {"every": 1, "samples": 100},
        "models": {"adversarial_nets": {"common": TINY, "trials": list(changes)}}, **more,
    }  # fmt: skip
    path = folder / "trials.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def tune(folder: Path, path: Path, data: Path, *more: str) -> int:
    words = ["--trials", str(path), "--data", str(data), "--out", str(folder / "tuning.json")]
    return main(["tune", *words, "--state", str(folder / "state"), *more])


def test_a_trial_counts_as_the_mean_of_its_seeds_best_looks(tmp_path: Path, data: Path) -> None:
    assert tune(tmp_path, trials(tmp_path, {}, {"learning_rate": 0.02}), data) == 0
    first, second = read_json(tmp_path / "tuning.json")["models"]["adversarial_nets"]
    assert first["log_likelihood"] == pytest.approx(np.mean(first["per_seed"]), abs=1e-12)
    assert first["config"]["generator_hidden"] == [8]
    assert second["config"]["learning_rate"] == 0.02
    assert second["changes"] == {"learning_rate": 0.02}
    assert first["log_likelihood"] != second["log_likelihood"]


def test_known_trials_are_kept_and_a_new_one_is_added(
    tmp_path: Path, data: Path, monkeypatch: Any
) -> None:
    assert tune(tmp_path, trials(tmp_path, {}), data) == 0
    before = read_json(tmp_path / "tuning.json")["models"]["adversarial_nets"][0]
    ran: list[float] = []
    import replicate.stages.tune as stage

    trained = stage._Tuner.trained

    def noted(self: Any, model: str, config: Any, key: str) -> Any:
        ran.append(config.learning_rate)
        return trained(self, model, config, key)

    monkeypatch.setattr(stage._Tuner, "trained", noted)
    assert tune(tmp_path, trials(tmp_path, {}, {"learning_rate": 0.02}), data) == 0
    assert ran == [0.02]
    assert read_json(tmp_path / "tuning.json")["models"]["adversarial_nets"][0] == before


def test_later_trials_outlive_a_kill_in_a_changed_earlier_one(
    tmp_path: Path, data: Path, monkeypatch: Any
) -> None:
    rates = ({"learning_rate": 0.05}, {"learning_rate": 0.02}, {"learning_rate": 0.01})
    assert tune(tmp_path, trials(tmp_path, *rates), data) == 0
    before = read_json(tmp_path / "tuning.json")["models"]["adversarial_nets"]
    import replicate.stages.tune as stage

    ran: list[float] = []
    trained = stage._Tuner.trained

    def killed_in_the_second(self: Any, model: str, config: Any, key: str) -> Any:
        ran.append(config.learning_rate)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return trained(self, model, config, key)

    monkeypatch.setattr(stage._Tuner, "trained", killed_in_the_second)
    changed = ({"learning_rate": 0.04}, {"learning_rate": 0.03}, rates[2])
    assert tune(tmp_path, trials(tmp_path, *changed), data) != 0
    assert ran == [0.04, 0.03]
    first, last = read_json(tmp_path / "tuning.json")["models"]["adversarial_nets"]
    assert (first["trial"], first["changes"]) == (0, changed[0])
    assert last == before[2]
    monkeypatch.setattr(stage._Tuner, "trained", trained)
    assert tune(tmp_path, trials(tmp_path, *changed), data) == 0
    after = read_json(tmp_path / "tuning.json")["models"]["adversarial_nets"]
    assert [trial["trial"] for trial in after] == [0, 1, 2]
    assert after[0] == first, "measured before the kill"
    assert after[2] == before[2], "measured before the change"


def test_two_commands_on_other_models_keep_each_others_trials(
    tmp_path: Path, data: Path, monkeypatch: Any
) -> None:
    """While one command measures the second model, another one adds the first."""
    import replicate.stages.tune as stage

    vae = {"common": {"epochs": 1, "hidden": [4], "code_dimension": 2}, "trials": [{}]}
    nets = {"common": TINY, "trials": [{}]}
    path = trials(tmp_path, {}, models={"adversarial_nets": nets, "vae": vae})
    trained = stage._Tuner.trained
    others = iter(["vae"])

    def noted(self: Any, model: str, config: Any, key: str) -> Any:
        for other in others:
            assert tune(tmp_path, path, data, "--model", other) == 0
        return trained(self, model, config, key)

    monkeypatch.setattr(stage._Tuner, "trained", noted)
    assert tune(tmp_path, path, data, "--model", "adversarial_nets") == 0
    assert read_json(tmp_path / "tuning.json")["models"].keys() == {"adversarial_nets", "vae"}


def test_an_interrupted_trial_does_not_go_on_with_another_device_or_version(
    tmp_path: Path, data: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """`compute.device: auto` may be a GPU today and none tomorrow."""
    import replicate.stages.tune as stage

    def full(path: Path, content: object) -> None:
        raise ReplicateError(f"cannot write {path}: the disk is full.")

    path = trials(tmp_path, {})
    with monkeypatch.context() as patched:
        patched.setattr(stage, "write_json", full)
        assert tune(tmp_path, path, data) == 2
    facts = Backend.facts.fget
    assert facts is not None
    other = property(lambda self: {**facts(self), "instructions": ["of another machine"]})
    monkeypatch.setattr(Backend, "facts", other)
    capsys.readouterr()
    assert tune(tmp_path, path, data) == 0
    assert "goes on from" not in capsys.readouterr().out


def test_a_trial_that_could_not_be_written_is_not_trained_again(
    tmp_path: Path, data: Path, monkeypatch: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a full disk; its last state stays until its result is there."""
    import replicate.stages.tune as stage

    def full(path: Path, content: object) -> None:
        raise ReplicateError(f"cannot write {path}: the disk is full.")

    write_json = stage.write_json
    monkeypatch.setattr(stage, "write_json", full)
    path = trials(tmp_path, {})
    assert tune(tmp_path, path, data) == 2
    monkeypatch.setattr(stage, "write_json", write_json)
    capsys.readouterr()
    assert tune(tmp_path, path, data) == 0
    assert "goes on from epoch 2, step 0" in capsys.readouterr().out
    assert list((tmp_path / "state/tuning").glob("digits-*")) == []


def test_test_images_play_no_part(tmp_path: Path, data: Path) -> None:
    splits = Splits.read(data)
    hidden = {**splits.images, "test": np.full(splits.images["test"].shape, np.nan, np.float32)}
    Splits(hidden, splits.labels, splits.divisor).write(tmp_path / "hidden.safetensors")
    for name, source in (("a", data), ("b", tmp_path / "hidden.safetensors")):
        (tmp_path / name).mkdir()
        assert tune(tmp_path / name, trials(tmp_path / name, {}), source) == 0
    a, b = (
        read_json(tmp_path / name / "tuning.json")["models"]["adversarial_nets"][0] for name in "ab"
    )
    assert a["per_seed"] == b["per_seed"]


def test_another_number_of_trials_than_the_budget_is_refused(
    tmp_path: Path, data: Path, capsys: Any
) -> None:
    assert tune(tmp_path, trials(tmp_path, {}, {}, budget=3), data) == 2
    assert "has 2 trials; the budget of every model is 3" in capsys.readouterr().err
    assert not (tmp_path / "tuning.json").exists()


def test_a_fault_in_a_trial_is_named(tmp_path: Path, data: Path, capsys: Any) -> None:
    assert tune(tmp_path, trials(tmp_path, {"learning_rat": 1}), data) == 2
    assert "models.adversarial_nets.trials[0].learning_rat: unknown key" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["10 ", "3-1", "0-999999", "all"])
def test_seeds_that_are_no_block_are_refused_before_anything_is_read(
    tmp_path: Path, seeds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trials(tmp_path, {})
    content = yaml.safe_load(path.read_text())
    content["seeds"] = seeds
    path.write_text(yaml.safe_dump(content))
    assert tune(tmp_path, path, tmp_path / "no-such-data.safetensors") == 2
    message = capsys.readouterr().err
    assert "seeds:" in message
    assert "block" in message
    assert message.count("\n") == 1
