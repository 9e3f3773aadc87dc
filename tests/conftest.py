"""What all tests share."""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # test workers run side by side
# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")
# Where a person's own data lie, and from where they are fetched, must not reach the tests.
for name in ("REPLICATE_DATA", "REPLICATE_MIRRORS", "REPLICATE_OFFLINE"):
    os.environ.pop(name, None)


#: What flushes a file to disk, which takes about 5 ms.
FSYNC = os.fsync


@pytest.fixture(scope="session", autouse=True)
def not_flushed_to_disk() -> Iterator[None]:
    """What tests write in their own process need not outlive a power cut; a handle that is not open
    is an error still. Processes that tests start flush as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: os.fstat(handle) and None)
        yield


@pytest.fixture
def flushed_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of how long that takes."""
    monkeypatch.setattr(os, "fsync", FSYNC)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """A folder with the four original MNIST files; tests that want it skip where there is none."""
    folder = os.environ.get("REPLICATE_TEST_MNIST")
    if not folder or not Path(folder, "train-images-idx3-ubyte.gz").is_file():
        pytest.skip("needs the four MNIST files: set REPLICATE_TEST_MNIST to their folder")
    return Path(folder)


@pytest.fixture(scope="session")
def mnist_flat(mnist_folder: Path) -> dict[str, np.ndarray]:
    """Real MNIST as rows of pixels in [0, 1]: train, valid and test."""
    from replicate.datasets import load_dataset

    dataset = load_dataset("mnist")
    files = {source.name: mnist_folder / source.name for source in dataset.sources}
    splits = dataset.prepare(files, dataset.Config())
    return {name: splits.flat(name) for name in ("train", "valid", "test")}
