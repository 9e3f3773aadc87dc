"""The model of docs/adding-a-model.md, taken from the text, runs through the pipeline and finds the
right answer.
"""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from replicate import models
from replicate.datasets.base import Splits
from replicate.storage.files import read_json, read_tensors
from tests.stages.pipeline import Pipeline

DOC = Path(__file__).parents[2] / "docs" / "adding-a-model.md"


@pytest.fixture
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert len(code) == 1
    assert len(code[0].splitlines()) <= 45
    path = tmp_path / "diagonal_gaussian.py"
    path.write_text(code[0])
    spec = importlib.util.spec_from_file_location("diagonal_gaussian", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "diagonal_gaussian", module)
    spec.loader.exec_module(module)
    # The digest of a job's code follows files of the package; the example's own file lies outside
    # it here.
    monkeypatch.setitem(
        models.REGISTRY, "diagonal_gaussian", ("Diagonal Gaussian", "diagonal_gaussian")
    )
    monkeypatch.setattr("replicate.jobs.subject.code_digest", lambda entries: "0" * 16)


def test_the_documented_model_learns_the_mean_of_digits(registered: None, tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path)
    params = (
        '{"seeds": ["0-1"], "selection": {"samples": 500}, "datasets": {"digits": {}}, '
        '"models": {"diagonal_gaussian": {"digits": {"epochs": 80, "learning_rate": 0.02}}}}'
    )
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call(
        "prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data
    )
    words = [
        "--dataset",
        "digits",
        "--model",
        "diagonal_gaussian",
        "--block",
        "0-1",
        "--data",
        pipeline.data,
    ]
    pipeline.call(
        "train", *words, "--out", pipeline.weights, "--state", tmp_path / "state", params=params
    )
    pipeline.call(
        "sample", "--weights", pipeline.weights, "--data", pipeline.data, "--out", pipeline.samples
    )
    tensors, _ = read_tensors(pipeline.weights)
    target = Splits.read(pipeline.data).flat("train").mean(0)
    blank = 1 / 16  # within one grey level of the 16
    assert np.abs(tensors["mean"] - target).max() < blank
    images = torch.from_numpy(read_tensors(pipeline.samples)[0]["samples"])
    assert images.shape == (2, 2, 10_000, 64)
    assert float((images.mean((1, 2)) - torch.from_numpy(tensors["mean"])).abs().max()) < 0.02
    losses = read_json(pipeline.weights.with_suffix(".json"))["curve"]["losses"][
        "negative_log_likelihood"
    ]
    assert losses[-1][0] < losses[0][0]
