"""What a data set is: verified sources, a typed config, and a cut into train, validation and test images."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from replicate.errors import ReplicateError
from replicate.files import read_tensors, write_tensors
from replicate.params import Section

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Source:
    """A file that a data set is made from.

    Attributes:
        name: file name in the data set's folder.
        size: bytes.
        sha256: 64 hexadecimal digits.
        addresses: where it can be had, tried in this order; empty if it ships with a dependency.
    """

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """Train, validation and test images of one data set in one space.

    Attributes:
        images: split -> (n, channels, height, width), as stored (uint8, or float32).
        labels: split -> (n,) int64; empty where the set has no labels.
        divisor: pixel value = stored value / divisor.
        value_range: lowest and highest pixel value that this space allows.
    """

    images: Mapping[str, NDArray[np.generic]]
    labels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    divisor: float = 1.0
    value_range: tuple[float, float] = (0.0, 1.0)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        _, channels, height, width = self.images["train"].shape
        return channels, height, width

    def flat(self, split: str) -> NDArray[np.float32]:
        """The images of `split` as rows of pixels: (n, channels * height * width) float32."""
        stored = self.images[split]
        rows = stored.reshape(len(stored), -1)
        pixels: NDArray[np.float32] = np.divide(rows, np.float32(self.divisor), dtype=np.float32)
        return pixels

    def write(self, path: Path) -> None:
        """Writes the splits as one safetensors file."""
        tensors = dict(self.images) | {f"{split}_labels": values for split, values in self.labels.items()}
        low, high = self.value_range
        write_tensors(path, tensors, {"divisor": repr(self.divisor), "low": repr(low), "high": repr(high)})

    @classmethod
    def read(cls, path: Path) -> "Splits":
        """Reads what `write` wrote; a file with missing or misshaped splits is refused."""
        tensors, metadata = read_tensors(path)
        wrong = [name for name in SPLITS if name not in tensors or tensors[name].ndim != 4]
        if wrong or not {"divisor", "low", "high"} <= metadata.keys():
            seen = ", ".join(wrong) or "its metadata"
            raise ReplicateError(f"{path} is not a prepared data set (see {seen}); run `prepare` again.")
        return cls(
            images={name: tensors[name] for name in SPLITS},
            labels={name: tensors[f"{name}_labels"] for name in SPLITS if f"{name}_labels" in tensors},
            divisor=float(metadata["divisor"]),
            value_range=(float(metadata["low"]), float(metadata["high"])),
        )


class Dataset(ABC):
    """A data set: one file, one object named `DATASET`, one line in the registry."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: Parameters of the cut, with sources; `datasets.<name>` in the parameter file.
    Config: ClassVar[type[Section]]
    sources: ClassVar[tuple[Source, ...]]
    #: (channels, height, width) of an image and the number of training images, for forecasts before any download.
    image_shape: ClassVar[tuple[int, int, int]]
    train_count: ClassVar[int]

    @abstractmethod
    def locate(self, source: Source, folder: Path) -> Path:
        """Where the file of `source` lies: in `folder`, or in the dependency that ships it."""

    def addresses(self, source: Source) -> tuple[str, ...]:
        """Where `source` can be had, tried in this order; asked for only when the file is not there."""
        return source.addresses

    @abstractmethod
    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Cuts the verified `files` (name -> path) into splits."""
