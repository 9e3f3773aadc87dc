"""Where a data set has folds no epoch is chosen: the last one is taken, whatever the labelled
images are.
"""

from pathlib import Path

import numpy as np
import pytest

from replicate.__main__ import main
from replicate.storage.files import read_json, read_tensors, write_tensors
from tests.datasets.data_helpers import write_faces

PARAMS = (
    '{"seeds": ["0-1"], "selection": {"every": 1, "samples": 20}, "datasets": {"tfd": {}}, '
    '"models": {"vae": {"tfd": '
    '{"epochs": EPOCHS, "batch_size": 3, "hidden": [4], "code_dimension": 2}}}}'
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set of five folds."""
    folder = tmp_path_factory.mktemp("folds")
    write_faces(folder / "tfd/TFD_48x48.mat")
    manifest, out = folder / "tfd.sources.json", folder / "tfd.safetensors"
    assert (
        main(["fetch", "--dataset", "tfd", "--data-dir", str(folder), "--out", str(manifest)]) == 0
    )
    words = ["prepare", "--dataset", "tfd", "--data-dir", str(folder), "--manifest", str(manifest)]
    assert main([*words, "--out", str(out)]) == 0
    return out


def trained(data: Path, out: Path, epochs: int) -> dict[str, np.ndarray]:
    params = PARAMS.replace("EPOCHS", str(epochs))
    words = ["train", "--params", params, "--dataset", "tfd", "--model", "vae", "--block", "0-1"]
    assert (
        main(
            [*words, "--data", str(data), "--out", str(out), "--state", str(out.parent / ".state")]
        )
        == 0
    )
    return read_tensors(out)[0]


def test_the_last_epoch_is_taken_and_no_labelled_image_is_looked_at(
    data: Path, tmp_path: Path
) -> None:
    tensors, metadata = read_tensors(data)
    labelled = tensors["labelled"].copy()
    labelled[:] = 255 - labelled
    blind = tmp_path / "blind.safetensors"
    write_tensors(blind, {**tensors, "labelled": labelled}, metadata)
    weights = trained(data, tmp_path / "one.safetensors", 3)
    for name, value in trained(blind, tmp_path / "other/blind.safetensors", 3).items():
        np.testing.assert_array_equal(value, weights[name])
    result = read_json(tmp_path / "one.json")
    assert result["chosen_epoch"] == [3, 3]
    assert result["chosen_log_likelihood"] == [None, None]
    assert result["curve"]["log_likelihood"] == [[None, None]] * 3
    assert all(len(values) == 3 for values in result["curve"]["losses"].values())
    fewer = trained(data, tmp_path / "fewer/two.safetensors", 2)
    assert any(not np.array_equal(value, weights[name]) for name, value in fewer.items())


def test_settings_cannot_be_tried_on_folds(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = tmp_path / "trials.yaml"
    trials.write_text(
        'dataset: tfd\nbudget: 1\nseeds: "100"\nmodels: {vae: {trials: [{epochs: 1}]}}\n',
        encoding="utf-8",
    )
    words = [
        "tune",
        "--trials",
        str(trials),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "t.json"),
    ]
    assert main([*words, "--state", str(tmp_path)]) == 2
    assert (
        "has folds, each of whose validation images are test images of another one"
        in capsys.readouterr().err
    )
