"""With `compute.device: auto` a job says on which device it computes, once, before all else."""

import socket

import pytest

from replicate.params import Compute
from replicate.stages.device_job import DeviceJob, _name
from replicate.training.backend import Backend


@pytest.fixture(autouse=True)
def _another_process() -> None:
    _name.cache_clear()


def test_auto_is_named_once_with_its_host(capsys: pytest.CaptureFixture[str]) -> None:
    found: Backend = DeviceJob("sample", Compute(device="auto", threads=1)).backend
    DeviceJob("bandwidth", Compute(device="auto", threads=1))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"computes on the {found.device.type} of {socket.gethostname()}")


def test_a_device_that_was_chosen_is_not_named(capsys: pytest.CaptureFixture[str]) -> None:
    DeviceJob("train", Compute(device="cpu", threads=1))
    assert capsys.readouterr().err == ""


def test_a_tool_says_nothing_but_its_own_words(capsys: pytest.CaptureFixture[str]) -> None:
    DeviceJob("score", Compute(device="auto", threads=1), names_device=False)
    assert capsys.readouterr().err == ""
