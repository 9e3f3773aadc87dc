"""Samples of models that nothing speaks against raise no trap: those of the pipeline, and real
images that were held out.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from replicate.__main__ import main
from replicate.datasets import load_dataset
from replicate.datasets.base import Splits
from tests.scoring.honest import draws

PARAMS = {
    "seeds": ["0"],
    "likelihood": {"samples": 10_000, "draws": 1},
    "selection": {"every": 10, "samples": 500},
    "datasets": {"digits": {}},
}


def names(folder: Path, samples: np.ndarray, *words: object) -> set[str]:
    path, out = folder / "clean.npy", folder / "clean.json"
    np.save(path, samples)
    state = folder / "state"
    command = ["score", path, *words, "--json", out, "--state", state]
    assert main([str(word) for word in command]) == 0
    return {trap["name"] for trap in json.loads(out.read_text())["traps"]}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "adversarial_nets"])
def test_samples_of_a_model_on_digits(model: str, tmp_path: Path) -> None:
    """Trained for a short while, by the recipes of this project."""
    params = json.dumps({**PARAMS, "models": {model: {"digits": {"epochs": 30}}}})
    data, weights = tmp_path / "d.safetensors", tmp_path / "w.safetensors"
    samples = tmp_path / "s.safetensors"
    dataset = load_dataset("digits")
    dataset.prepare({}, dataset.Config()).write(data)
    words = ["--params", params, "--data", str(data)]
    about = ["--dataset", "digits", "--model", model, "--block", "0"]
    state = ["--state", str(tmp_path / "state")]
    assert main(["train", *words, *about, *state, "--out", str(weights)]) == 0
    assert main(["sample", *words, "--weights", str(weights), "--out", str(samples)]) == 0
    images = load_file(samples)["samples"][0, 0]
    assert names(tmp_path, images, "--dataset", "digits") == set()


@pytest.fixture(scope="module")
def mnist(mnist_folder: Path) -> Splits:
    dataset = load_dataset("mnist")
    files = {source.name: mnist_folder / source.name for source in dataset.sources}
    return dataset.prepare(files, dataset.Config())


@pytest.mark.slow
def test_held_out_images_of_mnist(mnist: Splits, tmp_path: Path) -> None:
    """All validation images as samples, where half of the test images choose the bandwidth."""
    test = mnist.images["test"]
    files = {"t": test[:5000], "v": test[5000:], "r": mnist.images["train"]}
    for name, images in files.items():
        np.save(tmp_path / f"{name}.npy", images)
    words = []
    for option, name in (("--test-file", "t"), ("--valid-file", "v"), ("--train-file", "r")):
        words += [option, tmp_path / f"{name}.npy"]
    assert names(tmp_path, mnist.images["valid"], *words) == set()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mixture", "clusters", "bytes", "sorted"])
def test_samples_of_simple_densities_on_mnist(
    kind: str, mnist: Splits, mnist_folder: Path, tmp_path: Path
) -> None:
    samples, expected = draws(mnist, 10_000), set()
    if kind == "clusters":
        from sklearn.cluster import MiniBatchKMeans

        clusters = MiniBatchKMeans(500, n_init=1, random_state=0, batch_size=4096, max_iter=20)
        train = mnist.flat("train")
        samples = clusters.fit(train).cluster_centers_.astype(np.float32)
        expected = {"few"}
    if kind == "bytes":
        samples = np.rint(255 * samples).astype(np.uint8)
    if kind == "sorted":
        means = [mnist.flat("train")[mnist.labels["train"] == label].mean(0) for label in range(10)]
        distances = np.stack([((samples - mean) ** 2).sum(1) for mean in means])
        samples = samples[np.argsort(distances.argmin(0), kind="stable")]
    words = ["--dataset", "mnist", "--data-dir", mnist_folder.parent]
    assert names(tmp_path, samples, *words) == expected
