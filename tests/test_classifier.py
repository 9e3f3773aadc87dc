"""The classifier that recognises samples: right on real digits, at chance where labels mean
nothing.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import Classifier, fit
from replicate.storage.files import read_json, write_tensors
from tests.stages.pipeline import Pipeline


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Digits, and a classifier as the stage trains it."""
    return with_classifier(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def soon_trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, trained for a tenth of the time: where its share of right answers does not count."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("replicate.diagnostics.classifier.UPDATES", 200)
        return with_classifier(tmp_path_factory.mktemp("soon"))


def with_classifier(folder: Path) -> Path:
    pipeline = Pipeline(folder)
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call(
        "prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data
    )
    assert (
        main(
            [
                "classifier",
                "--data",
                str(pipeline.data),
                "--out",
                str(folder / "classifier.safetensors"),
            ]
        )
        == 0
    )
    return folder


def write_samples(path: Path, images: np.ndarray, failed: dict[str, object] | None = None) -> None:
    """Samples (seeds, draws, n, dimension) as the stage `sample` writes them."""
    seeds = list(range(len(images)))
    about = {
        "dataset": "digits",
        "model": "adversarial_nets",
        "block": f"0-{len(seeds) - 1}",
        "seeds": seeds,
        "shape": [1, 8, 8],
        "failed": failed or {},
        "parameters": {},
        "chains": None,
    }
    write_tensors(
        path, {"samples": images.astype(np.float32)}, {"about": json.dumps(about), "code": "0"}
    )


def recognise(folder: Path, samples: Path, out: Path) -> dict[str, object]:
    data = next(folder.glob("d*.safetensors"))
    words = [
        "--data",
        str(data),
        "--samples",
        str(samples),
        "--classifier",
        str(folder / "classifier.safetensors"),
    ]
    assert main(["recognise", *words, "--out", str(out)]) == 0
    content: dict[str, object] = read_json(out)
    return content


@pytest.mark.slow
def test_real_test_images_are_recognised_with_their_classes(digits: Path, tmp_path: Path) -> None:
    splits = Splits.read(digits / "digits.safetensors")
    stated = read_json(digits / "classifier.json")
    assert stated["accuracy"] >= 0.97
    assert stated["n_test"] == 257
    real = splits.flat("test")
    samples = np.stack([np.stack([real, real]), np.full((2, *real.shape), np.nan)])
    write_samples(tmp_path / "s.safetensors", samples, {"1": {"epoch": 3, "reason": "not finite"}})
    good, failed = recognise(digits, tmp_path / "s.safetensors", tmp_path / "r.json")["per_seed"]  # type: ignore[misc]
    assert good["sure"] == pytest.approx(
        stated["sure"], abs=1e-9
    )  # two copies of the images: the same share
    truth = np.bincount(splits.labels_of("test"), minlength=10) / 257
    np.testing.assert_allclose(good["classes"], truth, atol=2 * (1 - stated["accuracy"]) + 1e-9)
    assert failed["sure"] is None
    assert good["rarest"] == min(good["classes"])
    assert failed["failed"]["epoch"] == 3
    assert failed["memorisation"] is failed["correlation"] is None


def test_one_digit_over_and_over_is_seen_as_one_class(soon_trained: Path, tmp_path: Path) -> None:
    image = Splits.read(soon_trained / "digits.safetensors").flat("train")[:1]
    write_samples(tmp_path / "s.safetensors", np.broadcast_to(image, (1, 1, 50, 64)))
    (entry,) = recognise(soon_trained, tmp_path / "s.safetensors", tmp_path / "r.json")["per_seed"]  # type: ignore[misc]
    assert sorted(entry["classes"])[-2:] == [0.0, 1.0]
    assert entry["memorisation"] == 1  # a training image
    assert entry["correlation"] is None  # nothing varies


def test_held_out_images_are_no_copies_and_a_slow_chain_is_correlated(
    soon_trained: Path, tmp_path: Path
) -> None:
    splits = Splits.read(soon_trained / "digits.safetensors")
    held_out = np.concatenate([splits.flat("valid"), splits.flat("test")])
    train = splits.count("train")
    slow = np.repeat(splits.flat("train"), 5, 0)  # every image five times in a row
    count = min(len(held_out), len(slow))
    write_samples(tmp_path / "s.safetensors", np.stack([held_out[:count], slow[:count]])[:, None])
    free, copies = recognise(soon_trained, tmp_path / "s.safetensors", tmp_path / "r.json")[
        "per_seed"
    ]  # type: ignore[misc]
    by_chance = train / (train + len(held_out))
    assert free["memorisation"] == pytest.approx(-by_chance / (1 - by_chance))
    assert copies["memorisation"] == 1
    assert abs(free["correlation"]) < 0.15
    assert copies["correlation"] == pytest.approx(0.8, abs=0.1)


def test_a_chain_that_leaves_its_start_late_is_seen_in_all_its_parts(
    digits: Path, tmp_path: Path
) -> None:
    """Half of its states are training images, and these come first."""
    splits = Splits.read(digits / "digits.safetensors")
    copies = splits.flat("train")[:1000]
    held_out = np.concatenate([splits.flat("valid"), splits.flat("test")])
    states = np.concatenate([copies, np.resize(held_out, copies.shape)])
    write_samples(tmp_path / "s.safetensors", states[None, None])
    (entry,) = recognise(digits, tmp_path / "s.safetensors", tmp_path / "r.json")["per_seed"]  # type: ignore[misc]
    train = splits.count("train")
    by_chance = train / (train + len(held_out))
    assert entry["memorisation"] == pytest.approx((0.5 - by_chance) / (1 - by_chance))


def test_samples_of_another_shape_are_refused(
    soon_trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.safetensors"
    write_samples(path, np.zeros((1, 1, 5, 64)))
    content = read_json(soon_trained / "classifier.json")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**content, "shape": [1, 28, 28]}))
    words = [
        "recognise",
        "--data",
        str(soon_trained / "digits.safetensors"),
        "--samples",
        str(path),
        "--classifier",
        str(other.with_suffix(".safetensors")),
    ]
    assert main([*words, "--out", str(tmp_path / "r.json")]) == 2
    assert "another data set" in capsys.readouterr().err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.slow
def test_training_is_a_function_of_its_seed_and_labels_matter(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("replicate.diagnostics.classifier.UPDATES", 300)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 2, (400,), generator=generator)
    images = torch.rand(400, 1, 8, 8, generator=generator)
    images[:, 0, 2, 2] = labels * 2.0  # one pixel tells the class
    first, again, other = (
        fit(images, labels, 2),
        fit(images, labels, 2),
        fit(images, labels, 2, seed=1),
    )
    for name, value in first.weights.items():
        assert torch.equal(value, again.weights[name])
    assert not torch.equal(first.weights["hidden.weight"], other.weights["hidden.weight"])
    fresh = torch.rand(400, 1, 8, 8, generator=generator)
    truth = torch.randint(0, 2, (400,), generator=generator)
    fresh[:, 0, 2, 2] = truth * 2.0
    assert accuracy(first, fresh, truth) > 0.95
    blind = fit(images, labels[torch.randperm(400, generator=generator)], 2)
    assert abs(accuracy(blind, fresh, truth) - 0.5) < 0.15  # shuffled labels teach nothing


def accuracy(classifier: Classifier, images: torch.Tensor, labels: torch.Tensor) -> float:
    return float((classifier.probabilities(images).argmax(1) == labels).double().mean())


def test_a_data_set_without_labels_gets_a_reason(soon_trained: Path, tmp_path: Path) -> None:
    splits = Splits.read(soon_trained / "digits.safetensors")
    Splits(splits.images, {}, splits.divisor).write(tmp_path / "d.safetensors")
    assert (
        main(
            [
                "classifier",
                "--data",
                str(tmp_path / "d.safetensors"),
                "--out",
                str(tmp_path / "classifier.safetensors"),
            ]
        )
        == 0
    )
    assert read_json(tmp_path / "classifier.json")["reason"] == "the data set has no labels"
    write_samples(tmp_path / "s.safetensors", np.zeros((1, 1, 5, 64)))
    content = recognise(tmp_path, tmp_path / "s.safetensors", tmp_path / "r.json")
    assert content["reason"] == "the data set has no labels"
    assert content["per_seed"][0]["sure"] is None  # type: ignore[index]
