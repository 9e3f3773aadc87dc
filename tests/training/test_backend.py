"""A job keeps to its threads, whoever multiplies."""

from collections.abc import Iterator
from typing import Literal

import pytest
import scipy.linalg  # SciPy brings a BLAS of its own
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from replicate.params import Compute
from replicate.training.backend import configure


def blas_threads() -> dict[str, int]:
    return {
        pool["filepath"]: pool["num_threads"]
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    }


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    with threadpool_limits(3, user_api="blas"):
        yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [1, 2])
def test_torch_and_every_blas_keep_to_the_threads_of_the_job(threads: int) -> None:
    assert scipy.linalg.blas is not None
    assert blas_threads()
    configure(Compute(device="cpu", threads=threads))
    assert torch.get_num_threads() == threads
    assert set(blas_threads().values()) == {threads}


@pytest.mark.parametrize(
    ("asked", "device", "name", "products"),
    [
        ("cpu", "cpu", "CPU", None),
        ("auto", "cuda", "A GPU", "cublas"),
        ("cuda", "cuda", "A GPU", "cublas"),
    ],
)
def test_a_gpu_that_is_there_is_used_unless_the_cpu_is_asked_for(
    asked: Literal["auto", "cpu", "cuda"],
    device: str,
    name: str,
    products: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    backend = configure(Compute(device=asked, threads=1))
    assert backend.device.type == device
    assert backend.name == name
    assert backend.threads == 1
    assert backend.products in ((products,) if products else ("blas", "onednn"))


def test_the_record_of_a_gpu_names_the_libraries_that_decide_its_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "gpu_libraries" not in configure(Compute(device="cpu", threads=1)).facts
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91002)
    facts = configure(Compute(device="cuda", threads=1)).facts
    assert facts["gpu_libraries"] == {"cuda": "13.0", "cudnn": "91002"}
