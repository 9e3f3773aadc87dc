"""A seed of a weights file, exported, sampled and evaluated again by the ordinary stages; and what
is refused.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.storage.files import read_json, read_tensors, write_tensors
from tests.stages.pipeline import PARAMS, Pipeline


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """Adversarial nets on digits, two seeds, trained and evaluated."""
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    pipeline.run()
    return pipeline


@pytest.fixture(scope="module")
def generator(done: Pipeline) -> Path:
    """Seed 1, exported."""
    out = done.folder / "generator.safetensors"
    done.call("export", "--weights", done.weights, "--seed", 1, "--out", out)
    return out


def _about(path: Path) -> dict[str, Any]:
    about: dict[str, Any] = json.loads(read_tensors(path)[1]["about"])
    return about


def _complaint(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([str(word) for word in words]) == 2
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


def test_it_holds_the_generator_of_the_seed_in_float16(done: Pipeline, generator: Path) -> None:
    whole, kept = read_tensors(done.weights)[0], read_tensors(generator)[0]
    assert kept.keys() == {name for name in whole if name.startswith("generator.")} < whole.keys()
    for name, value in kept.items():
        assert value.dtype == np.float16
        assert np.array_equal(value, whole[name][1:2].astype(np.float16))
    there, here = _about(done.weights), _about(generator)
    same = ("dataset", "model", "shape", "parameters")
    assert {name: here[name] for name in same} == {name: there[name] for name in same}
    assert (here["seeds"], here["block"], here["failed"]) == ([1], "1", {})
    assert here["rounded"]["to"] == "float16"
    assert 0 < here["rounded"]["largest_difference"] < 0.01


def test_the_same_seed_gives_the_same_bytes(
    done: Pipeline, generator: Path, tmp_path: Path
) -> None:
    done.call(
        "export", "--weights", done.weights, "--seed", 1, "--out", tmp_path / "again.safetensors"
    )
    assert (tmp_path / "again.safetensors").read_bytes() == generator.read_bytes()


def test_the_ordinary_stages_evaluate_it_and_rounding_hardly_moves_the_log_likelihood(
    done: Pipeline, generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params, samples, bandwidth = (
        PARAMS.format(epochs=4),
        tmp_path / "s.safetensors",
        tmp_path / "b.json",
    )
    done.call("sample", "--weights", generator, "--out", samples, params=params)
    assert (
        "these weights are rounded to float16, which moves a pixel by " in capsys.readouterr().out
    )
    drawn = ["--samples", samples, "--data", done.data]
    done.call("bandwidth", *drawn, "--out", bandwidth, params=params)
    done.call(
        "evaluate", *drawn, "--bandwidth", bandwidth, "--out", tmp_path / "e.json", params=params
    )
    images, originals = (read_tensors(path)[0]["samples"] for path in (samples, done.samples))
    assert images.dtype == np.float32
    assert 0 < np.abs(images[0] - originals[1]).max() < 0.01
    (rounded,), trained = (
        read_json(tmp_path / "e.json")["per_seed"],
        read_json(done.evaluation)["per_seed"][1],
    )
    assert rounded["seed"] == trained["seed"] == 1
    moved = abs(rounded["log_likelihood"] - trained["log_likelihood"])
    assert 0 < moved < 0.05 * trained["draws"][0]["standard_error"]
    for path in (bandwidth, tmp_path / "e.json"):
        assert read_json(path)["rounded"]["to"] == "float16", (
            "a result that can be told from that of the weights as trained"
        )
    assert "rounded" not in read_json(done.evaluation)


def test_a_damaged_file_is_refused(
    done: Pipeline, generator: Path, tmp_path: Path, capsys: Any
) -> None:
    cut, other = tmp_path / "cut.safetensors", tmp_path / "other.safetensors"
    cut.write_bytes(generator.read_bytes()[:-7])
    write_tensors(other, {"x": np.zeros(3, np.float16)})
    out = ["--out", tmp_path / "never.safetensors"]
    assert "is not a whole safetensors file" in _complaint(capsys, "sample", "--weights", cut, *out)
    assert "is not a weights file of this project" in _complaint(
        capsys, "sample", "--weights", other, *out
    )
    assert "is not a whole safetensors file" in _complaint(
        capsys, "export", "--weights", cut, "--seed", 1, *out
    )
    assert not (tmp_path / "never.safetensors").exists()


def test_what_cannot_be_exported_is_refused(done: Pipeline, tmp_path: Path, capsys: Any) -> None:
    tensors, metadata = read_tensors(done.weights)
    about, changed = json.loads(metadata["about"]), tmp_path / "w.safetensors"
    out = tmp_path / "never.safetensors"

    def complaint(seed: int) -> str:
        return _complaint(capsys, "export", "--weights", changed, "--seed", seed, "--out", out)

    write_tensors(
        changed,
        tensors,
        {"about": json.dumps(about | {"failed": {"0": {"epoch": 2, "reason": "x"}}})},
    )
    assert "has no seed 7; its seeds are 0, 1" in complaint(7)
    assert "seed 0 of" in (error := complaint(0))
    assert "failed in epoch 2; take another one" in error
    tensors["generator.0.weight"][1, 0, 0] = 1e6
    write_tensors(changed, tensors, metadata)
    assert "generator.0.weight holds numbers that float16 does not have" in complaint(1)
    reference = {"model": "true_distribution", "parameters": {"config": {}}}
    write_tensors(changed, {"x": np.zeros(2)}, {"about": json.dumps(about | reference)})
    assert "sampled without trained numbers" in complaint(0)
    assert not out.exists()


def test_a_model_that_is_sampled_from_images_asks_for_them(
    done: Pipeline, tmp_path: Path, capsys: Any
) -> None:
    about = _about(done.weights) | {"model": "true_distribution", "parameters": {"config": {}}}
    write_tensors(tmp_path / "w.safetensors", {"x": np.zeros(2)}, {"about": json.dumps(about)})
    words = ["sample", "--weights", tmp_path / "w.safetensors", "--out", tmp_path / "s.safetensors"]
    assert "give the prepared data set with --data" in _complaint(capsys, *words)
