"""MNIST: 70,000 handwritten digits of 28x28 pixels (Y. LeCun, C. Cortes, C. Burges), cut as in the released code.

The recipe trains on images 0..49,999 and validates on 50,000..59,999 of the training file, in the file's order
and with nothing added to the pixels (goodfeli/adversarial@1720041, mnist.yaml and parzen_ll.py).
"""

import gzip
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.base import PinnedDataset, Source, Splits
from replicate.errors import ReplicateError
from replicate.params import Section, Settings

SIDE = 28  # pixels
N_TRAINING_FILE, N_TRAIN, N_TEST = 60_000, 50_000, 10_000
#: First word of an idx file: two zero bytes, the type (8: unsigned byte), the number of dimensions.
IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801

#: Where the files are offered: torchvision's mirrors, in its order, known here so that no torchvision is needed.
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")

AGAIN = "delete it and run `python -m replicate fetch --dataset mnist` again"


class MnistConfig(Settings):
    """MNIST has nothing to choose: the cut is the released recipe's."""


def decompressed(path: Path, size: int) -> bytes:
    """The content of a gzip file that must hold exactly `size` bytes; no more than one byte beyond is unpacked.

    Raises:
        ReplicateError: the file is damaged, or holds another number of bytes.
    """
    try:
        with gzip.open(path) as stream:
            content = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ReplicateError(f"{path} is not a whole gzip file ({error}); {AGAIN}.") from None
    if len(content) != size:
        held = f"more than {size}" if len(content) > size else str(len(content))
        raise ReplicateError(f"{path} unpacks to {held} bytes instead of {size}; {AGAIN}.")
    return content


def read_idx(path: Path, magic: int, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array in a gzipped idx file of unsigned bytes.

    Its header is `magic`, then the dimensions as 4-byte big-endian numbers; exactly one byte per entry follows.

    Raises:
        ReplicateError: the file is damaged, or its header differs from `magic` and `shape`.
    """
    header = struct.Struct(f">{1 + len(shape)}I")
    content = decompressed(path, header.size + int(np.prod(shape)))
    found = header.unpack_from(content)
    if found != (magic, *shape):
        raise ReplicateError(
            f"{path} has the idx header {found} instead of {(magic, *shape)} (magic number, then dimensions); {AGAIN}."
        )
    return np.frombuffer(content, np.uint8, offset=header.size).reshape(shape).copy()


class Mnist(PinnedDataset):
    """MNIST in three splits: 50,000 training, 10,000 validation and 10,000 test images, pixel = stored / 255."""

    name = "mnist"
    title = "MNIST"
    Config = MnistConfig
    image_shape = (1, 28, 28)
    train_count = 50_000
    sources = (
        Source(
            name="train-images-idx3-ubyte.gz",
            size=9912422,
            sha256="440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        Source(
            name="train-labels-idx1-ubyte.gz",
            size=28881,
            sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        Source(
            name="t10k-images-idx3-ubyte.gz",
            size=1648877,
            sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        Source(
            name="t10k-labels-idx1-ubyte.gz",
            size=4542,
            sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    )

    def locate(self, source: Source, folder: Path) -> Path:
        """The file in the data set's folder."""
        return folder / source.name

    def addresses(self, source: Source) -> tuple[str, ...]:
        """torchvision's mirrors, in its order."""
        return tuple(base + source.name for base in MIRRORS)

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Images (n, 1, 28, 28) uint8 in the files' order, and their classes; no shuffle, no added noise."""
        images, labels = {}, {}
        for part, n in (("train", N_TRAINING_FILE), ("t10k", N_TEST)):
            images[part] = read_idx(files[f"{part}-images-idx3-ubyte.gz"], IMAGES_MAGIC, (n, SIDE, SIDE))[:, None]
            path = files[f"{part}-labels-idx1-ubyte.gz"]
            labels[part] = read_idx(path, LABELS_MAGIC, (n,)).astype(np.int64)
            if labels[part].max() > 9:
                raise ReplicateError(f"{path} has a label of {labels[part].max()}; labels are 0 to 9; {AGAIN}.")
        return Splits(images=_splits(images), labels=_splits(labels), divisor=255.0)


def _splits(parts: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {"train": parts["train"][:N_TRAIN], "valid": parts["train"][N_TRAIN:], "test": parts["t10k"]}


DATASET = Mnist()
