"""CIFAR-10: 60,000 colour photographs of 32x32 pixels in 10 classes, contrast-normalised.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. The binary version is
read, because the Python version is a pickle. Training images are 0..39,999 of the training files,
validation images 40,000..49,999, normalised as in the released recipe
(goodfeli/adversarial@1720041, the CIFAR-10 yaml files).
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.base import PinnedDataset, Source, Splits
from replicate.errors import ReplicateError
from replicate.params import Section, Settings

SHAPE, CLASSES = (3, 32, 32), 10  # red, green and blue planes, each by rows
DIMENSION = 3 * 32 * 32
#: A record is one byte of class and the pixels of an image; a member of the archive has so many
#: records.
RECORD, RECORDS = 1 + DIMENSION, 10_000
N_TRAIN = 40_000
#: Members of the archive that are read; nothing else in it is.
TRAINING = tuple(f"cifar-10-batches-bin/data_batch_{k}.bin" for k in range(1, 6))
TEST = "cifar-10-batches-bin/test_batch.bin"
#: Bytes that are unpacked at most: six members take 184,380,000, and readme, names and headers a
#: few thousand.
LIMIT = 200_000_000
#: L2 norm of an image about its mean (goodfeli/adversarial@1720041, the CIFAR-10 yaml files: gcn
#: 55).
SCALE = 55.0
#: A norm (divided by the scale) below which an image counts as constant (pylearn2,
#: global_contrast_normalize).
MIN_DIVISOR = 1e-8

AGAIN = (
    "run `python -m replicate fetch --dataset cifar10`, which keeps it aside and gets the right one"
)


class Cifar10Config(Settings):
    """Nothing to choose: the cut and the normalisation are the released recipe's."""


class _Capped(io.RawIOBase):
    """A stream that gives no more than `limit` bytes, and an error for what is beyond."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def read(self, size: int = -1) -> bytes:
        # One byte more than there may be shows that there is too much.
        most = self._left + 1
        wanted = most
        if size >= 0:
            wanted = min(size, most)
        content = self._stream.read(wanted)
        self._left -= len(content)
        if self._left < 0:
            raise tarfile.TarError(f"it unpacks to more than {LIMIT} bytes")
        return content


def read_members(path: Path, names: tuple[str, ...], size: int) -> dict[str, bytes]:
    """The content of the members of a .tar.gz file with exactly these names and this size; nothing
    is extracted.

    Raises:
        ReplicateError: the file is damaged or unpacks to too much, or a member is missing, is no
            plain file, has another size or occurs twice.
    """
    contents: dict[str, bytes] = {}
    try:
        with (
            gzip.open(path) as stream,
            tarfile.open(fileobj=_Capped(stream, LIMIT), mode="r|") as archive,  # type: ignore[arg-type, call-overload]
        ):
            # In the archive's order: a stream cannot go back to look for a name.
            for member in archive:
                if member.name not in names:
                    continue
                name = member.name
                # Before its content is read: a header may promise any size.
                fault = _fault(member, size, name in contents)
                if fault is not None:
                    raise ReplicateError(
                        f"{path} has {name} {fault} instead of once with {size}; {AGAIN}."
                    )
                content = archive.extractfile(member)
                assert content is not None
                contents[name] = content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ReplicateError(f"{path} is not a whole .tar.gz file ({error}); {AGAIN}.") from None
    missing = [name for name in names if len(contents.get(name, b"")) != size]
    if missing:
        raise ReplicateError(f"{path} has no whole {missing[0]}; {AGAIN}.")
    return contents


def _fault(member: tarfile.TarInfo, size: int, repeated: bool) -> str | None:
    """What is wrong with a member that should occur once, as a plain file of `size` bytes."""
    if not member.isreg():
        return "as something else than a plain file"
    if repeated:
        return "twice"
    if member.size != size:
        return f"as a plain file of {member.size} bytes"
    return None


def contrast_normalised(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images about their own mean, over all channels, with the L2 norm 55; constant ones are zeros.

    Global contrast normalisation as pylearn2's `global_contrast_normalize(X, scale=55)`: subtract
    the mean, no bias, and a divisor below 1e-8 counts as 1. Computed in float64.

    Args:
        pixels: (n, dimension), 0..255.
    """
    # In float64: the mean of 3,072 bytes is subtracted from each of them.
    centred = pixels.astype(np.float64)
    centred -= centred.mean(axis=1, keepdims=True)
    squared_norms = np.square(centred).sum(axis=1, keepdims=True)
    divisor = np.sqrt(squared_norms) / SCALE
    divisor[divisor < MIN_DIVISOR] = 1.0
    normalised: NDArray[np.float32] = (centred / divisor).astype(np.float32)
    return normalised


def read_records(
    path: Path, name: str, content: bytes
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Normalised images (n, 3, 32, 32) and classes (n,) of one member."""
    records = np.frombuffer(content, np.uint8).reshape(-1, RECORD)
    labels = records[:, 0].astype(np.int64)
    largest = labels.max()
    if largest >= CLASSES:
        raise ReplicateError(
            f"{path}: {name} has a class of {largest}; classes are 0 to 9; {AGAIN}."
        )
    # A thousand images at a time, because they are normalised in float64.
    block_count = max(1, len(records) // 1000)
    blocks = np.array_split(records[:, 1:], block_count)
    normalised = np.concatenate([contrast_normalised(block) for block in blocks])
    return normalised.reshape(-1, *SHAPE), labels


class Cifar10(PinnedDataset):
    """CIFAR-10 in 40,000 training, 10,000 validation and 10,000 test images, in the files' order.

    Its space is not that of pixels in [0, 1]: an image has the mean 0 and the norm 55, so no value
    is beyond +-55. Panels divide by their largest absolute value, as the released scripts do.
    """

    name = "cifar10"
    title = "CIFAR-10"
    Config = Cifar10Config
    image_shape = SHAPE
    train_count = N_TRAIN
    sources = (
        Source(
            name="cifar-10-binary.tar.gz",
            size=170052171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            # The author's page; then copies that Swift for TensorFlow's tests and MindSpore's
            # tutorials download.
            addresses=(
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
                "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-10-binary.tar.gz",
            ),
        ),
    )

    def locate(self, source: Source, folder: Path) -> Path:
        """The file in the data set's folder."""
        return folder / source.name

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Images (n, 3, 32, 32) float32, and their classes; no shuffle."""
        path = files["cifar-10-binary.tar.gz"]
        members = read_members(path, (*TRAINING, TEST), RECORDS * RECORD)
        image_batches = []
        label_batches = []
        for name in TRAINING:
            # Out of the dictionary, so that its memory is free when the batch has been read.
            content = members.pop(name)
            batch, classes = read_records(path, name, content)
            image_batches.append(batch)
            label_batches.append(classes)
        images = np.concatenate(image_batches)
        labels = np.concatenate(label_batches)
        test_images, test_labels = read_records(path, TEST, members.pop(TEST))
        # As in the released recipe: the last training images are those of validation.
        train = slice(None, N_TRAIN)
        valid = slice(N_TRAIN, None)
        return Splits(
            images={"train": images[train], "valid": images[valid], "test": test_images},
            labels={"train": labels[train], "valid": labels[valid], "test": test_labels},
            value_range=(-SCALE, SCALE),
            display="largest",
        )


DATASET = Cifar10()
