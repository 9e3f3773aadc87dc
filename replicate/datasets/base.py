"""What a data set is: verified sources, a typed config, and a cut into three splits of images."""

import functools
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.sources.packages import PackedContent
from replicate.errors import ReplicateError
from replicate.params import Section
from replicate.records.schema import SourceFile
from replicate.storage.files import read_json, read_tensors, sha256_file, write_tensors
from replicate.storage.paths import dangling_link, unmounted

SPLITS = ("train", "valid", "test")

Display = Literal["range", "largest"]
#: What `Splits.display` may be, by name.
DISPLAYS: dict[str, Display] = {"range": "range", "largest": "largest"}


@dataclass(frozen=True)
class Source:
    """A file that a data set is made from.

    Attributes:
        name: file name in the data set's folder.
        size: bytes.
        sha256: 64 hexadecimal digits.
        addresses: where it can be had, tried in this order; empty if it ships with a dependency.
        packed: its content in a package of npm's registry, if one has it.
    """

    name: str
    size: int
    sha256: str
    addresses: tuple[str, ...] = ()
    packed: PackedContent | None = None


@dataclass(frozen=True)
class Splits:
    """Train, validation and test images of one data set in one space.

    A data set with folds (TFD) has two pools instead of three splits: models train on the
    unlabelled images, the same in every fold, and each fold cuts the labelled images anew.

    Attributes:
        images: split -> (n, channels, height, width), as stored (uint8, or float32): `train`,
            `valid` and `test`, or `train` (the unlabelled images) and `labelled` where there are
            folds.
        labels: split -> (n,) int64; empty where the set has no labels; `labelled` where there are
            folds.
        divisor: pixel value = stored value / divisor.
        value_range: lowest and highest pixel value that this space allows.
        folds: per fold, split -> row numbers into `images["labelled"]`, (n,) int64. Its `train`
            rows are for classifiers. Empty where the set has one cut.
        whole_validation: all validation images of a fold choose the bandwidth, whatever the limit
            (goodfeli/adversarial@1720041, parzen_ll.py, for TFD).
        display: what a panel shows as black and white; see `shown_range`.
    """

    images: Mapping[str, NDArray[np.generic]]
    labels: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    divisor: float = 1.0
    value_range: tuple[float, float] = (0.0, 1.0)
    folds: Sequence[Mapping[str, NDArray[np.int64]]] = ()
    whole_validation: bool = False
    display: Display = "range"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        _, channels, height, width = self.images["train"].shape
        return channels, height, width

    @property
    def fold_count(self) -> int:
        """How many cuts there are: 1 where there are no folds."""
        return len(self.folds) or 1

    def _rows(self, split: str, fold: int) -> NDArray[np.int64] | None:
        """The rows of the labelled images that are `split` of a fold; None without folds."""
        if not 0 <= fold < self.fold_count:
            raise IndexError(f"there is no fold {fold}; there are {self.fold_count}")
        if not self.folds:
            return None
        return self.folds[fold][split]

    def count(self, split: str, fold: int = 0) -> int:
        """How many images `flat(split, fold)` has."""
        # `train` and `labelled` of a set with folds are the same in every fold.
        if split in self.images:
            return len(self.images[split])
        rows = self._rows(split, fold)
        if rows is None:
            return len(self.images[split])
        return len(rows)

    def flat(self, split: str, fold: int = 0) -> NDArray[np.float32]:
        """The images of `split` as rows of pixels: (n, channels * height * width) float32.

        Where there are folds, `train` is the unlabelled images in every one of them, `valid` and
        `test` are the fold's, and `labelled` is the whole labelled pool.
        """
        rows = None if split in self.images else self._rows(split, fold)
        if rows is None:
            stored = self.images[split]
        else:
            stored = self.images["labelled"][rows]
        flat = stored.reshape(len(stored), -1)
        divisor = np.float32(self.divisor)
        pixels: NDArray[np.float32] = np.divide(flat, divisor, dtype=np.float32)
        return pixels

    def labels_of(self, split: str, fold: int = 0) -> NDArray[np.int64]:
        """The labels of `split`, (n,) int64; KeyError where the set has none.

        Where there are folds, those of `train` belong to the images
        `flat("labelled")[folds[fold]["train"]]`.
        """
        rows = self._rows(split, fold)
        if rows is None:
            return self.labels[split]
        return self.labels["labelled"][rows]

    def validation(self, limit: int, fold: int = 0) -> NDArray[np.float32]:
        """The validation images that choose a bandwidth, as `flat` gives them: the first `limit`,
        or all of them.
        """
        pixels = self.flat("valid", fold)
        if self.whole_validation:
            return pixels
        return pixels[:limit]

    def shown_range(self, panel: NDArray[np.floating]) -> tuple[float, float]:
        """The pixel values that a panel of images shows as black and as white.

        With the display `range` they are `value_range`. With `largest` they are minus and plus the
        largest absolute value of the panel (goodfeli/adversarial@1720041,
        show_samples_cifar_*_paper.py), (-1, 1) if that is 0.
        """
        if self.display == "range":
            return self.value_range
        largest = float(np.abs(panel).max()) or 1.0
        return -largest, largest

    def write(self, path: Path) -> None:
        """Writes the splits as one safetensors file."""
        tensors = dict(self.images)
        for split, labels in self.labels.items():
            tensors[f"{split}_labels"] = labels
        for number, fold in enumerate(self.folds):
            for split, rows in fold.items():
                name = f"fold{number}_{split}"
                tensors[name] = rows
        low, high = self.value_range
        # `repr`: the shortest text from which the same float64 is read again.
        metadata = {
            "divisor": repr(self.divisor),
            "low": repr(low),
            "high": repr(high),
        }
        if self.whole_validation:
            metadata["whole_validation"] = "true"
        if self.display != "range":
            metadata["display"] = self.display
        # Its digest stands beside it: kept results name these bytes as the data that they were
        # measured on.
        write_tensors(path, tensors, metadata, digest=False)

    @classmethod
    def read(cls, path: Path) -> "Splits":
        """Reads what `write` wrote.

        Raises:
            ReplicateError: splits are missing or misshapen, or the file is not the one of which
                `prepare` wrote the description beside it.
        """
        _check_digest(path)
        tensors, metadata = read_tensors(path, "prepare")
        folds = _folds(tensors)
        names = ("train", "labelled") if folds else SPLITS
        faults = _faults(tensors, names, folds)
        divisor = _number(metadata.get("divisor", ""))
        low = _number(metadata.get("low", ""))
        high = _number(metadata.get("high", ""))
        # A number that is missing is NaN, of which no comparison is true.
        is_ordered = 0 < divisor < math.inf and -math.inf < low < high < math.inf
        display = metadata.get("display", "range")
        if not faults and not (is_ordered and display in DISPLAYS):
            faults = ["its metadata"]
        if faults:
            listed = ", ".join(faults)
            raise ReplicateError(
                f"{path} is not a prepared data set (see {listed}); run `prepare` again."
            )
        labels = {}
        for name in names:
            classes = tensors.get(f"{name}_labels")
            if classes is not None:
                labels[name] = classes
        return cls(
            images={name: tensors[name] for name in names},
            labels=labels,
            divisor=divisor,
            value_range=(low, high),
            folds=folds,
            whole_validation="whole_validation" in metadata,
            display=DISPLAYS[display],
        )


def _check_digest(path: Path) -> None:
    """Refuses prepared data that are not those of which the JSON file beside them names the
    SHA-256.
    """
    description = path.with_suffix(".json")
    # Prepared data may travel without their description; a missing file is told by its reader.
    if not description.is_file() or not path.is_file():
        return
    content = read_json(description)
    # The JSON beside it may be anybody's; only what `prepare` wrote is held against the data.
    if not isinstance(content, dict) or content.get("stage") != "prepare":
        return
    digest = content.get("sha256")
    # Only the description can tell: the tensors themselves hold no digest (see `write`).
    if digest is not None and digest != sha256_file(path):
        raise ReplicateError(
            f"{path} is not the data set that {description} tells of; run `prepare` again."
        )


def _number(text: str) -> float:
    """A number of the metadata; not-a-number where the text is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


Tensors = Mapping[str, NDArray[np.generic]]
Fold = Mapping[str, NDArray[np.int64]]


def _faults(tensors: Tensors, images: Sequence[str], folds: Sequence[Fold]) -> list[str]:
    """The tensors of a prepared file that are missing, else those that are not sound."""
    missing = [name for name in images if name not in tensors or tensors[name].ndim != 4]
    for number, fold in enumerate(folds):
        missing += [f"fold{number}_{split}" for split in SPLITS if split not in fold]
    # Only where all are there can they be compared with one another.
    if missing:
        return missing
    return [name for name in tensors if not _is_sound(name, tensors)]


def _is_sound(name: str, tensors: Tensors) -> bool:
    """Whether a tensor of a prepared file has the type, the shape and the rows that its name
    promises.
    """
    values = tensors[name]
    if name in (*SPLITS, "labelled"):
        image_shape = tensors["train"].shape[1:]
        is_pixels = values.dtype in (np.uint8, np.float32)
        return is_pixels and values.shape[1:] == image_shape and values.size > 0
    if values.dtype != np.int64 or values.ndim != 1:
        return False
    if name.endswith("_labels"):
        split = name.removesuffix("_labels")
        images = tensors.get(split)
        return images is not None and len(values) == len(images)
    is_fold = re.fullmatch(r"fold\d+_(train|valid|test)", name) is not None
    if is_fold and len(values):
        least = int(values.min())
        most = int(values.max())
        # Negative rows would be read from the end, and so be images of another split.
        return least >= 0 and most < len(tensors["labelled"])
    return False


def _folds(tensors: Mapping[str, NDArray[np.int64]]) -> tuple[Fold, ...]:
    """The folds among the tensors of a prepared file, by their names `fold0_train`, ..."""
    tests = [name for name in tensors if re.fullmatch(r"fold\d+_test", name)]
    folds = []
    # By number and not in the order of names, in which fold10 comes before fold2.
    for number in range(len(tests)):
        rows: dict[str, NDArray[np.int64]] = {}
        for split in SPLITS:
            name = f"fold{number}_{split}"
            if name in tensors:
                rows[split] = tensors[name]
        folds.append(rows)
    return tuple(folds)


class Extent(NamedTuple):
    """How large a data set is, for forecasts.

    Attributes:
        shape: (channels, height, width) of an image.
        train: number of training images.
    """

    shape: tuple[int, int, int]
    train: int


class Dataset(ABC):
    """A data set: one file, one object named `DATASET`, one line in the registry."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: Parameters of the cut, with sources; `datasets.<name>` in the parameter file.
    Config: ClassVar[type[Section]]

    @abstractmethod
    def extent(self, folder: Path, config: Section) -> Extent:
        """What is known before `prepare` has run.

        Args:
            folder: the data set's folder of raw files.
            config: its options.
        """

    @abstractmethod
    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Cuts the verified `files` (name -> path) into splits."""


class PinnedDataset(Dataset):
    """A data set of files pinned by size and SHA-256: downloaded, or shipped with a dependency."""

    sources: ClassVar[tuple[Source, ...]]
    #: (channels, height, width) of an image and the number of training images, known before any
    #: download.
    image_shape: ClassVar[tuple[int, int, int]]
    train_count: ClassVar[int]

    @abstractmethod
    def locate(self, source: Source, folder: Path) -> Path:
        """Where the file of `source` lies: in `folder`, or in the dependency that ships it."""

    def addresses(self, source: Source) -> tuple[str, ...]:
        """Where `source` can be had, tried in this order when the file is missing."""
        return source.addresses

    def extent(self, folder: Path, config: Section) -> Extent:
        """The declared shape and count."""
        return Extent(self.image_shape, self.train_count)


class UserDataset(Dataset):
    """A data set that users bring themselves, because its licence or its nature forbids to ship it.

    Nothing is pinned: `fetch` records what it finds, and `prepare` refuses anything else. A run
    without the data leaves the data set out and says so.
    """

    #: Options that say where the data lie; a change of them makes `fetch` look again.
    location: ClassVar[frozenset[str]] = frozenset()
    #: What the table says where the data are not there, such as "needs FILE (whom to ask)".
    needs: ClassVar[str]
    #: How to get the data: a clause that follows the missing path.
    remedy: ClassVar[str]

    @abstractmethod
    def data_path(self, folder: Path, config: Section) -> Path:
        """Where the user's file or folder is to lie.

        Args:
            folder: the data set's folder of raw files.
            config: its options.
        """

    def missing(self, path: Path) -> str | None:
        """A sentence on what is missing at `path` and how to get it; None if something is there."""
        try:
            path.stat()
        except OSError as error:
            # A link first: that its disk is not mounted says more than that the file is missing.
            link = dangling_link(path)
            if link is not None:
                reason = f"is not there, for {unmounted(link)}"
            elif isinstance(error, FileNotFoundError):
                reason = "is missing"
            else:
                reason = f"cannot be looked at ({error.strerror})"
            return f"{self.name} {self.needs}: {path.absolute()} {reason}; {self.remedy}."
        return None

    def inventory(self, path: Path) -> SourceFile:
        """What the manifest records of the data."""
        try:
            return {"name": path.name, "size": path.stat().st_size, "sha256": sha256_file(path)}
        except OSError as error:
            raise ReplicateError(
                f"cannot read {path}: {error.strerror}; make it a readable file."
            ) from None

    def stamp(self, path: Path) -> str:
        """A text that changes when the data at `path` do; empty if there are none."""
        try:
            status = path.stat()
            return _digest_of_state(path, (status.st_mtime_ns, status.st_size))
        except OSError:
            return ""


@functools.lru_cache(maxsize=16)
def _digest_of_state(path: Path, state: tuple[int, int]) -> str:
    """SHA-256 of a file, read again when its time or its size differ."""
    return sha256_file(path)
