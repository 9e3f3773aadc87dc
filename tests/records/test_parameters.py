"""The parameters that results record are those that decided the job."""

from pydantic import BaseModel

from replicate.params import Compute, Params
from replicate.records.parameters import compute_parameters, training_parameters


class Config(BaseModel):
    units: tuple[int, ...] = (3, 4)
    epochs: int = 7


def test_every_setting_of_a_training_is_recorded() -> None:
    params = Params()
    recorded = training_parameters(params, Config(epochs=9), "digits", "vae", "0-2")
    assert recorded == {
        "dataset": "digits",
        "model": "vae",
        "block": "0-2",
        "config": {"units": [3, 4], "epochs": 9},
        "compute": compute_parameters(params.compute),
        "selection": {"every": params.selection.every, "samples": params.selection.samples},
        "sigmas": list(params.likelihood.sigmas),
        "validation_limit": params.likelihood.validation_limit,
    }


def test_of_compute_device_threads_and_precision_are_recorded() -> None:
    compute = Compute(device="cpu", threads=3, precision="bfloat16")
    assert compute_parameters(compute) == {"device": "cpu", "threads": 3, "precision": "bfloat16"}
