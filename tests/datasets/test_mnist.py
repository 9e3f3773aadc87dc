"""MNIST: the idx reader against files made here, and the real files where they are at hand."""

import gzip
import hashlib
import struct
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from replicate.datasets.base import Splits
from replicate.datasets.mnist import (
    DATASET,
    IMAGES_MAGIC,
    LABELS_MAGIC,
    MnistConfig,
    decompressed,
    read_idx,
)
from replicate.datasets.sources.verify import verified_files
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import idx, tiny_mnist
from tests.datasets.second_reader import import_torchvision

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4, 5))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_reads_images_and_labels(tmp_path: Path) -> None:
    images = read_idx(written(tmp_path / "i.gz", idx(IMAGES)), IMAGES_MAGIC, (3, 4, 5))
    assert images.dtype == np.uint8
    assert np.array_equal(images, IMAGES)
    labels = read_idx(written(tmp_path / "l.gz", idx(np.array([7, 0, 255]))), LABELS_MAGIC, (3,))
    assert labels.tolist() == [7, 0, 255]


@pytest.mark.slow
def test_torchvision_reads_the_same(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(idx(IMAGES))
    theirs = import_torchvision().datasets.mnist.read_image_file(str(tmp_path / "images")).numpy()
    ours = read_idx(written(tmp_path / "i.gz", idx(IMAGES)), IMAGES_MAGIC, (3, 4, 5))
    assert np.array_equal(ours, theirs)
    assert ours.dtype == theirs.dtype


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(struct.pack("<IIII", 0x803, 3, 4, 5), id="little-endian"),
        pytest.param(struct.pack(">IIII", 0x801, 3, 4, 5), id="labels, not images"),
        pytest.param(struct.pack(">IIII", 0xD03, 3, 4, 5), id="floats, not bytes"),
        pytest.param(struct.pack(">IIII", 0x803, 5, 4, 3), id="other dimensions, same size"),
        pytest.param(struct.pack(">IIII", 0x803, 2**32 - 1, 4, 5), id="count beyond the file"),
    ],
)
def test_a_wrong_header_is_refused(tmp_path: Path, header: bytes) -> None:
    path = written(tmp_path / "i.gz", header + idx(IMAGES)[16:])
    with pytest.raises(
        ReplicateError, match=r"idx header .* instead of \(2051, 3, 4, 5\)"
    ) as caught:
        read_idx(path, IMAGES_MAGIC, (3, 4, 5))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("change", "held"), [(-1, "75"), (1, "more than 76"), (-76, "0")])
def test_a_wrong_length_is_refused(tmp_path: Path, change: int, held: str) -> None:
    content = idx(IMAGES) + b"x" if change > 0 else idx(IMAGES)[:change]
    with pytest.raises(ReplicateError, match=f"unpacks to {held} bytes instead of 76"):
        read_idx(written(tmp_path / "i.gz", content), IMAGES_MAGIC, (3, 4, 5))


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = written(tmp_path / "bomb.gz", bytes(64_000_000))
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ReplicateError, match="unpacks to more than 1000 bytes"):
            decompressed(path, 1000)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(idx(IMAGES))
    damaged = {
        "not gzip": b"<html>" + whole,
        "cut short": whole[:-9],
        "no checksum": whole[:-8],
        "wrong checksum": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "wrong block": whole[:10] + b"\xff" + whole[11:],
        "empty": b"",
    }
    for name, content in damaged.items():
        path = tmp_path / "i.gz"
        path.write_bytes(content)
        with pytest.raises(ReplicateError) as caught:
            read_idx(path, IMAGES_MAGIC, (3, 4, 5))
        assert str(path) in str(caught.value), name


def test_the_cut_is_that_of_the_released_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the file's order: the first five sixths train, the rest validates, the test file tests."""
    arrays = tiny_mnist(monkeypatch, tmp_path)
    splits = DATASET.prepare(verified_files(DATASET, tmp_path), MnistConfig())
    images, labels = arrays["train-images-idx3-ubyte.gz"], arrays["train-labels-idx1-ubyte.gz"]
    assert np.array_equal(splits.images["train"][:, 0], images[:50])
    assert np.array_equal(splits.images["valid"][:, 0], images[50:])
    assert np.array_equal(splits.images["test"][:, 0], arrays["t10k-images-idx3-ubyte.gz"])
    assert np.array_equal(splits.labels["train"], labels[:50])
    assert np.array_equal(splits.labels["valid"], labels[50:])
    assert np.array_equal(splits.labels["test"], arrays["t10k-labels-idx1-ubyte.gz"])
    assert splits.divisor == 255
    assert np.array_equal(
        splits.flat("test")[3], images_as_pixels(arrays["t10k-images-idx3-ubyte.gz"][3])
    )


def test_a_bare_node_needs_no_torchvision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mnist(monkeypatch, tmp_path)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    assert (
        len(DATASET.prepare(verified_files(DATASET, tmp_path), MnistConfig()).images["train"]) == 50
    )
    assert len(DATASET.addresses(DATASET.sources[0])) >= 2


def images_as_pixels(stored: np.ndarray) -> np.ndarray:
    return (stored.reshape(-1) / 255).astype(np.float32)


def test_a_label_beyond_nine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_mnist(monkeypatch, tmp_path)
    path = written(tmp_path / "t10k-labels-idx1-ubyte.gz", idx(np.array([0] * 9 + [10])))
    files = {source.name: tmp_path / source.name for source in DATASET.sources}
    with pytest.raises(ReplicateError, match="has a label of 10") as caught:
        DATASET.prepare(files, MnistConfig())
    assert str(path) in str(caught.value)


@pytest.mark.slow
def test_mirrors_are_those_of_torchvision() -> None:
    mirrors = import_torchvision().datasets.MNIST.mirrors
    assert len(mirrors) >= 1
    source = DATASET.sources[0]
    addresses = DATASET.addresses(source)[: len(mirrors)]
    assert addresses == tuple(mirror + "train-images-idx3-ubyte.gz" for mirror in mirrors)


@pytest.fixture(scope="module")
def splits(mnist_folder: Path) -> Splits:
    return DATASET.prepare(verified_files(DATASET, mnist_folder), MnistConfig())


def test_real_files_are_those_that_torchvision_expects(mnist_folder: Path) -> None:
    expected = dict(import_torchvision().datasets.MNIST.resources)
    found = {
        s.name: hashlib.md5((mnist_folder / s.name).read_bytes()).hexdigest()
        for s in DATASET.sources
    }
    assert found == expected


def test_real_counts_and_first_labels(splits: Splits) -> None:
    """Counts: LeCun's page and the released recipe. First labels: as printed in many MNIST
    tutorials, 5 0 4 1 9.
    """
    assert {split: images.shape for split, images in splits.images.items()} == {
        "train": (50_000, 1, 28, 28),
        "valid": (10_000, 1, 28, 28),
        "test": (10_000, 1, 28, 28),
    }
    assert (DATASET.image_shape, DATASET.train_count) == ((1, 28, 28), 50_000)
    assert splits.labels["train"][:5].tolist() == [5, 0, 4, 1, 9]
    assert splits.labels["test"][:5].tolist() == [7, 2, 1, 0, 4]


def test_real_mean_and_deviation(splits: Splits) -> None:
    """0.1307 and 0.3081: the normalisation of PyTorch's own MNIST example, over the 60,000 training
    images.
    """
    counts = np.zeros(256, np.int64)
    for split in ("train", "valid"):
        for start in range(0, 50_000, 5000):
            images = splits.images[split][start : start + 5000]
            counts += np.bincount(images.reshape(-1), minlength=256)
    assert counts.sum() == 60_000 * 784
    histogram = counts / counts.sum()
    values = np.arange(256) / 255
    mean = float(histogram @ values)
    assert mean == pytest.approx(0.1307, abs=5e-5)
    assert np.sqrt(histogram @ (values - mean) ** 2) == pytest.approx(0.3081, abs=5e-5)


def test_real_images_agree_with_a_second_reader(splits: Splits, mnist_folder: Path) -> None:
    raw = gzip.decompress((mnist_folder / "train-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(60_000, 1, 28, 28)
    assert np.array_equal(splits.images["train"], images[:50_000])
    assert np.array_equal(splits.images["valid"], images[50_000:])
    labels = np.frombuffer(
        gzip.decompress((mnist_folder / "train-labels-idx1-ubyte.gz").read_bytes()),
        np.uint8,
        offset=8,
    )
    assert np.array_equal(splits.labels["valid"], labels[50_000:])


def test_real_images_with_even_and_odd_numbers_are_not_alike(splits: Splits) -> None:
    """So every second image is no fair sample, and neither are the first ones of the test set."""

    def errors_apart(first: np.ndarray, second: np.ndarray) -> float:
        variance = first.var() / len(first) + second.var() / len(second)
        return float(abs(first.mean() - second.mean()) / np.sqrt(variance))

    valid, test = (splits.flat(name).mean(1, dtype=np.float64) for name in ("valid", "test"))
    shuffled = np.random.default_rng(0).permutation(valid)
    assert errors_apart(valid[::2], valid[1::2]) > 8
    assert errors_apart(shuffled[::2], shuffled[1::2]) < 4
    assert errors_apart(test[:5000], test[5000:]) > 8
