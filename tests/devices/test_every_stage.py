"""Every model and experiment, by every stage, on a device that is not the CPU.

The virtual device stands for a GPU in what a GPU refuses; where there is a GPU, the same runs are
made on it twice, and its bits must be the same. The order begins with what is least certain.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from replicate.__main__ import main
from replicate.experiments import ON_MEASURES, ON_TRIALS
from replicate.experiments import REGISTRY as EXPERIMENTS
from replicate.params import Compute
from replicate.storage.files import read_tensors
from replicate.training.backend import Backend, configure
from tests.devices.virtual import DEVICE, virtual_device
from tests.experiments.small_digits import small_digits
from tests.experiments.test_progress import SMALL
from tests.measures.digits import SMALL as FEW_MEASURES
from tests.models.test_contracts import VARIANTS

#: At 8 x 8 pixels; the contracts have 6 x 6.
SETTINGS = {"adversarial_nets_conv": {"generator_maps": (3, 3, 3)}}
MODELS = ["adversarial_nets_conv", *sorted(VARIANTS.keys() - {"adversarial_nets_conv"})]
STATEMENTS = sorted(EXPERIMENTS.keys() - ON_TRIALS - ON_MEASURES - {"sampling"})
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


@pytest.fixture(params=["virtual", pytest.param("cuda", marks=needs_gpu)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A device that every job of the test computes on."""
    if request.param == "cuda":
        yield "cuda"
        return

    def virtual_backend(compute: Compute) -> Backend:
        threads = configure(Compute(device="cpu", threads=1)).threads
        return Backend(DEVICE, "virtual", threads, "cublas")

    monkeypatch.setattr("replicate.stages.device_job.configure", virtual_backend)
    with virtual_device():
        yield "virtual"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the jobs run: small digits, and a classifier that need not be good."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("replicate.diagnostics.classifier.UPDATES", 2)
    monkeypatch.setattr("replicate.experiments.games.sample_judge.RELIABLE", 0.0)
    small_digits(3).write(tmp_path / "digits.safetensors")
    return tmp_path


def parameters(device: str, **settings: Any) -> str:
    """Parameters of two seeds on the device; the virtual one is put in afterwards."""
    everything = {
        "seeds": ["0-1"],
        "compute": {"device": "cpu" if device == "virtual" else device},
        "likelihood": {"samples": 60, "draws": 1},
        "selection": {"every": 1, "samples": 40},
        "measures": FEW_MEASURES.model_dump(mode="json"),
        "datasets": {"digits": {}},
        **settings,
    }
    return json.dumps(everything)


def jobs_of(model: str) -> list[str]:
    """The commands of all stages that compute for a model, but for the parameters."""
    commands = [
        "classifier --data digits.safetensors --out classifier.safetensors",
        f"train --dataset digits --model {model} --block 0-1 --data digits.safetensors"
        " --out weights.safetensors",
        "sample --weights weights.safetensors --data digits.safetensors --out samples.safetensors",
        "bandwidth --samples samples.safetensors --data digits.safetensors --out bandwidth.json",
        "evaluate --samples samples.safetensors --data digits.safetensors"
        " --bandwidth bandwidth.json --out evaluation.json",
        "recognise --samples samples.safetensors --data digits.safetensors"
        " --classifier classifier.safetensors --out recognised.json",
        "measures --weights weights.safetensors --samples samples.safetensors"
        " --data digits.safetensors --classifier classifier.safetensors --out measures.json",
    ]
    if "chains" in VARIANTS[model][0]:
        commands.append(
            "samplers --names published --weights weights.safetensors --data digits.safetensors"
            " --out samplers.json"
        )
    return commands


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_every_stage_of_a_model_keeps_to_its_device(device: str, folder: Path, model: str) -> None:
    settings = {"epochs": 4, "batch_size": 50} | VARIANTS[model][0] | SETTINGS.get(model, {})
    params = parameters(device, models={model: {"digits": settings}})
    for command in jobs_of(model):
        assert main([*command.split(), "--params", params]) == 0
    if device == "cuda":
        first, _ = read_tensors(folder / "weights.safetensors")
        train = jobs_of(model)[1].replace("weights", "again")
        assert main([*train.split(), "--params", params]) == 0
        again, _ = read_tensors(folder / "again.safetensors")
        for name, values in first.items():
            assert values.tobytes() == again[name].tobytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", STATEMENTS)
def test_every_experiment_keeps_to_its_device(device: str, folder: Path, name: str) -> None:
    params = parameters(device, experiments={name: {"seeds": "0-1", **SMALL[name]}})
    words = ["experiment", "--name", name, "--data", "digits.safetensors", "--out", "out.json"]
    assert main([*words, "--params", params]) == 0


@pytest.mark.slow
def test_controls_keep_to_their_device(device: str, folder: Path) -> None:
    params = parameters(device)
    assert main([*jobs_of("vae")[0].split(), "--params", params]) == 0
    words = ["controls", "--dataset", "digits", "--data", "digits.safetensors"]
    words += ["--classifier", "classifier.safetensors", "--out", "controls.json"]
    assert main([*words, "--params", params]) == 0
