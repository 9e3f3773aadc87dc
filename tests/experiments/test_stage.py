"""The stage `experiment`: what it refuses, with a sentence, and what it writes where nothing can be
measured.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.experiments.figure1 import Figure1Config
from replicate.stages.experiment import read_samples
from replicate.storage.files import read_json, write_tensors
from tests.experiments.small_digits import small_digits


@pytest.fixture
def data(tmp_path: Path) -> Path:
    small_digits().write(tmp_path / "digits.safetensors")
    return tmp_path / "digits.safetensors"


def run(name: str, out: Path, *words: str, **settings: object) -> int:
    params = json.dumps({"compute": {"device": "cpu"}, "experiments": {name: settings}})
    return main(["experiment", "--params", params, "--name", name, "--out", str(out), *words])


def test_experiments_without_what_they_need_are_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    assert run("conditional", out) == 2
    assert "needs images; give the prepared data set with --data" in capsys.readouterr().err
    assert run("sampling", out, "--data", str(data)) == 2
    assert (
        "needs the samples of the run's models; give them with --samples" in capsys.readouterr().err
    )
    assert run("theory", out, seeds="9-0") == 2
    assert "experiments.theory.seeds" in capsys.readouterr().err
    assert not out.exists()


def test_what_cannot_be_measured_says_why_and_the_rest_goes_on(tmp_path: Path, data: Path) -> None:
    """A run whose only model is a VAE, and a data set without labels."""
    about = {
        "model": "vae",
        "dataset": "digits",
        "seeds": [0, 1],
        "failed": {},
        "chains": None,
        "block": "0-1",
        "shape": [1, 8, 8],
        "parameters": {},
    }
    images = np.random.default_rng(0).random((2, 1, 30, 64)).astype(np.float32)
    samples = tmp_path / "vae.safetensors"
    write_tensors(samples, {"samples": images}, {"about": json.dumps(about), "code": "x"})
    out = tmp_path / "out.json"
    assert run("sampling", out, "--data", str(data), "--samples", str(samples)) == 0
    found = read_json(out)
    assert found["seeds"] == [0, 1]
    assert found["not_applicable"].startswith("the run trains no RBM or DBM")
    assert found["checks"] == {"F2": {}, "S1": {}, "T2": {}}

    digits = small_digits()
    Splits(digits.images, {}, divisor=digits.divisor).write(tmp_path / "plain.safetensors")
    assert run("conditional", out, "--data", str(tmp_path / "plain.safetensors"), updates=1) == 0
    assert read_json(out)["not_applicable"] == "the data set has no labels"


def test_the_result_names_settings_that_are_not_the_defaults_and_failed_seeds_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A game whose rate is far too large: its numbers are not finite, and the file and its figures
    still are.
    """
    monkeypatch.setattr("replicate.params.LARGEST", 1e31)
    out = tmp_path / "out.json"
    settings = {
        "hidden": [8],
        "batch_size": 8,
        "early_rounds": 4,
        "optimum_updates": 4,
        "moves": 2,
        "rounds": 20,
    }
    with np.errstate(all="ignore"):
        assert run("figure1", out, seeds="0-1", discriminator_rate=1e30, **settings) == 0
    found = read_json(out)
    assert found["changed"] == sorted(
        [*settings, "discriminator_rate"], key=list(Figure1Config.model_fields).index
    )
    assert None in found["checks"]["F1"]["distance_of_the_discriminator_from_one_half"]
    assert main(["draw", "--result", str(out), "--out", str(tmp_path / "figures")]) == 0


@pytest.mark.parametrize(("sampler", "expected"), [("recipe", (5, 3)), ("published", (1, 1))])
def test_the_steps_between_images_are_those_of_the_sampler_that_drew_them(
    sampler: str, expected: tuple[int, int], tmp_path: Path, data: Path
) -> None:
    """By the stages themselves: samples of an RBM say how far its kept states are apart, whatever
    its recipe says.
    """
    recipe = {
        "epochs": 1,
        "hidden": 4,
        "sampler": sampler,
        "chains": 5,
        "burn_in": 2,
        "thinning": 3,
    }
    params = json.dumps(
        {
            "seeds": ["0"], "compute": {"device": "cpu"},
            "datasets": {"digits": {}}, "models": {"rbm": {"digits": recipe}},
            "likelihood": {"samples": 20, "draws": 1}, "selection": {"every": 1, "samples": 20},
        }
    )  # fmt: skip
    weights, samples = tmp_path / "weights.safetensors", tmp_path / "samples.safetensors"
    given = ["--params", params, "--data", str(data)]
    train = [
        "train",
        *given,
        "--dataset",
        "digits",
        "--model",
        "rbm",
        "--block",
        "0",
        "--out",
        str(weights),
    ]
    assert main([*train, "--state", str(tmp_path / "state")]) == 0
    assert main(["sample", *given, "--weights", str(weights), "--out", str(samples)]) == 0
    found = read_samples([samples], "digits")["rbm"]
    assert (found.chains, found.steps) == expected


def test_a_seed_that_one_model_lacks_counts_as_failed_there(tmp_path: Path, data: Path) -> None:
    words = ["--data", str(data), "--samples"]
    chains = {"adversarial_nets": None, "vae": None, "rbm": 10, "stacked_cae": 10}
    for model, count in chains.items():
        seeds = [0, 1] if model == "rbm" else [0, 1, 2]
        about = {
            "model": model,
            "dataset": "digits",
            "seeds": seeds,
            "failed": {},
            "chains": count,
            "block": "0-2",
            "shape": [1, 8, 8],
            "parameters": {"config": {"thinning": 1}},
        }
        images = np.random.default_rng(0).random((len(seeds), 1, 100, 64)).astype(np.float32)
        path = tmp_path / f"{model}.safetensors"
        write_tensors(path, {"samples": images}, {"about": json.dumps(about), "code": "x"})
        words.append(str(path))
    out = tmp_path / "out.json"
    assert run("sampling", out, *words) == 0
    checks = read_json(out)["checks"]
    assert None not in checks["F2"]["memorisation"]
    known = [value is not None for value in checks["T2"]["doublings_to_undirected"]]
    assert known == [True, True, False]
