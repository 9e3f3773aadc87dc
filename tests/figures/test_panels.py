"""The stage `panels`: draws that nobody picked, true neighbours, straight lines in z, the same
bytes again.
"""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.figures.grids import GAP, GREYS, to_bytes
from replicate.models.adversarial_nets import AdversarialNets
from replicate.models.parts.weights_file import read_model
from replicate.params import Params
from replicate.records.parameters import training_parameters
from replicate.stages import panels
from replicate.stages.panels import COLUMNS, ROWS, STEPS, draw_interpolation, draw_samples
from replicate.storage.files import read_json, write_json, write_tensors
from replicate.training.streams import Streams
from tests.framed import result

SEEDS = [4, 5]
SIDE = 6
CONFIG = {"noise_dimension": 3, "generator_hidden": [8], "discriminator_hidden": [4], "pieces": 2}
IDENTITY = {"dataset": "digits", "model": "adversarial_nets", "block": "4-5"}


def write_job(folder: Path, failed: tuple[int, ...] = ()) -> list[str]:
    """An untrained block, with results that say what a trained one's would; returns the stage's
    arguments.
    """
    noise = np.random.default_rng(0)
    images = {
        name: noise.integers(0, 256, (n, 1, SIDE, SIDE), dtype=np.uint8)
        for name, n in (("train", 40), ("valid", 9), ("test", 9))
    }
    splits = Splits(images=images, divisor=255.0)
    splits.write(folder / "data.safetensors")
    config = AdversarialNets.Config.model_validate(CONFIG)
    model = AdversarialNets(config, splits.shape, Streams(SEEDS, torch.device("cpu")))
    model.initialise(torch.from_numpy(splits.flat("train")))
    lost = {str(seed): {"epoch": 1, "reason": "x"} for seed in failed}
    about = {
        **IDENTITY,
        "seeds": SEEDS,
        "shape": [1, SIDE, SIDE],
        "failed": lost,
        "parameters": {"config": config.model_dump(mode="json")},
    }
    tensors = {name: value.numpy() for name, value in model.parameters.items()}
    write_tensors(folder / "weights.safetensors", tensors, {"about": json.dumps(about)})
    curve = {
        "epoch": [1, 2],
        "log_likelihood": [[1.0, 2.0], [2.0, 3.0]],
        "sigma": [[0.2, 0.2]] * 2,
        "losses": {},
    }
    params = Params()
    training = result(
        "train",
        "",
        training_parameters(params, config, *IDENTITY.values()),
        {},
        **IDENTITY,
        seeds=SEEDS,
        shape=[1, SIDE, SIDE],
        epochs=2,
        latent=True,
        parameter_count=model.parameter_count(),
        curve=curve,
        failed=lost,
        chosen_epoch=[2, 2],
        chosen_log_likelihood=[2.0, 3.0],
    )

    def of_seeds(value: object) -> list[object]:
        """What every seed that did not fail has: of one draw and one fold."""
        return [None if seed in failed else [[value]] for seed in SEEDS]

    compute = params.compute.model_dump(mode="json")
    width = result(
        "bandwidth",
        "",
        {"sigmas": [0.1, 0.2], "validation_limit": 9, "compute": compute},
        {},
        **IDENTITY,
        seeds=SEEDS,
        sigmas=[0.1, 0.2],
        n_validation=[9],
        validation_available=[9],
        curve=of_seeds([1.0, 2.0]),
        chosen=of_seeds(0.2),
        at_edge=of_seeds(True),
        fine=of_seeds(0.2),
        fine_log_likelihood=of_seeds(2.0),
    )
    write_json(folder / "training.json", training)
    write_json(folder / "bandwidth.json", width)
    return [
        "panels",
        *(
            word
            for name, file in (
                ("weights", "weights.safetensors"),
                ("training", "training.json"),
                ("bandwidth", "bandwidth.json"),
                ("data", "data.safetensors"),
            )
            for word in (f"--{name}", str(folder / file))
        ),
    ]


def tiles(path: Path, rows: int, columns: int) -> np.ndarray:
    """Grey images of a grid, (rows, columns, SIDE, SIDE)."""
    pixels = np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("RGBA"))[..., 0]
    cut = pixels[GAP:, GAP:].reshape(rows, SIDE + GAP, columns, SIDE + GAP)
    return cut[:, :SIDE, :, :SIDE].transpose(0, 2, 1, 3)


def grey(images: torch.Tensor) -> np.ndarray:
    return to_bytes(images.numpy(), (0.0, 1.0), GREYS).reshape(*images.shape[:-1], SIDE, SIDE)


def test_the_panels_show_the_first_draws_and_true_neighbours(tmp_path: Path) -> None:
    words = write_job(tmp_path)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    model, _ = read_model(
        tmp_path / "weights.safetensors",
        torch.device("cpu"),
        Splits.read(tmp_path / "data.safetensors"),
    )
    shown = tiles(tmp_path / "out/samples.png", ROWS, COLUMNS + 1)
    drawn = model.sample(ROWS * COLUMNS, draw=0)[0].reshape(ROWS, COLUMNS, -1)
    np.testing.assert_array_equal(shown[:, :COLUMNS], grey(drawn))
    splits = Splits.read(tmp_path / "data.safetensors")
    facts = read_json(tmp_path / "out/panels.json")
    for row in range(ROWS):
        distances = np.linalg.norm(splits.flat("train") - drawn[row, -1].numpy(), axis=1)
        assert facts["nearest"][row] == distances.argmin()
        assert facts["distance"][row] == pytest.approx(distances.min(), rel=1e-5)
        nearest = torch.from_numpy(splits.flat("train")[facts["nearest"][row]])
        np.testing.assert_array_equal(shown[row, -1], grey(nearest))
    assert facts["seed"] == SEEDS[0]
    assert facts["interpolation"] == {"rows": ROWS, "steps": STEPS}


def test_interpolation_is_linear_in_z(tmp_path: Path) -> None:
    write_job(tmp_path)
    model, _ = read_model(
        tmp_path / "weights.safetensors",
        torch.device("cpu"),
        Splits.read(tmp_path / "data.safetensors"),
    )
    ends = model.latent(2 * ROWS, draw=0)
    walk = draw_interpolation(model, 1)
    assert walk.shape == (ROWS, STEPS, SIDE * SIDE)
    for step in range(STEPS):
        share = step / (STEPS - 1)
        code = (1 - share) * ends[:, :ROWS] + share * ends[:, ROWS:]
        np.testing.assert_allclose(walk[:, step], model.decode(code)[1].numpy(), atol=1e-6)


def test_the_first_seed_that_did_not_fail(tmp_path: Path) -> None:
    words = write_job(tmp_path, failed=(4,))
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert read_json(tmp_path / "out/panels.json")["seed"] == 5
    model, _ = read_model(
        tmp_path / "weights.safetensors",
        torch.device("cpu"),
        Splits.read(tmp_path / "data.safetensors"),
    )
    images, _, _ = draw_samples(model, 1, Splits.read(tmp_path / "data.safetensors").flat("train"))
    shown = tiles(tmp_path / "out/samples.png", ROWS, COLUMNS + 1)
    np.testing.assert_array_equal(shown, grey(torch.from_numpy(images)))


def test_a_block_that_failed_whole_has_an_empty_grid_and_curves(tmp_path: Path) -> None:
    words = write_job(tmp_path)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    words = write_job(tmp_path, failed=(4, 5))
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    facts = read_json(tmp_path / "out/panels.json")
    assert facts["seed"] is None
    assert facts["nearest"] is None
    assert facts["interpolation"] is None
    assert not np.asarray(Image.open(tmp_path / "out/samples.png").convert("RGBA")).any()
    assert not (tmp_path / "out/interpolation.png").exists(), (
        "the walk of an earlier run is still there"
    )
    assert (tmp_path / "out/learning.svg").exists()


def test_a_model_without_a_latent_space_has_no_interpolation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = write_job(tmp_path)
    monkeypatch.setattr(AdversarialNets, "has_latent", False)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert read_json(tmp_path / "out/panels.json")["interpolation"] is None
    assert not (tmp_path / "out/interpolation.png").exists()


def test_the_same_bytes_again(tmp_path: Path) -> None:
    words = write_job(tmp_path)
    for name in ("a", "b"):
        assert main([*words, "--out", str(tmp_path / name)]) == 0
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [
        "bandwidth.svg",
        "interpolation.png",
        "learning.svg",
        "panels.json",
        "panels.run.json",
        "samples.png",
    ]
    for name in names:
        if name != "panels.run.json":
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_results_of_another_job_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = write_job(tmp_path)
    other = read_json(tmp_path / "training.json")
    write_json(tmp_path / "training.json", {**other, "block": "7"})
    assert main([*words, "--out", str(tmp_path / "out")]) == 2
    assert "another training job" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_failed_write_leaves_the_old_panels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = write_job(tmp_path)
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def broken(*_: Any) -> bytes:
        raise RuntimeError

    monkeypatch.setattr(panels.curves, "bandwidth", broken)
    with pytest.raises(RuntimeError):
        main([*words, "--out", str(tmp_path / "out")])
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
