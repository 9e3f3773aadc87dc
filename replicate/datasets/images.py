"""A folder of images, or a zip archive of one: the user's own data, named by one entry of the parameters."""

import sys
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.base import SPLITS, Extent, Splits, UserDataset
from replicate.datasets.cutting import cut, shuffled
from replicate.datasets.pictures import Crop, UnreadableError, pixels
from replicate.datasets.store import Store, folder_stamp, opened
from replicate.errors import ReplicateError
from replicate.params import OURS, Section, setting
from replicate.paths import home_path

#: Names of the folders that hold a split, and the split.
SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
#: MNIST's 50,000 : 10,000 : 10,000 images: a set in one piece is cut in seven, training images in six.
PARTS, PARTS_OF_TRAIN = 5 + 1 + 1, 5 + 1
#: Unreadable files that a message names.
NAMED = 5


class ImagesConfig(Section):
    """Where the images lie, and how they become arrays."""

    folder: str | None = setting(
        None, "folder, or .zip file of one, with the images; null: the folder images/ among the raw data", OURS
    )
    size: int = setting(32, "height and width in pixels that every image is brought to", "as CIFAR-10", ge=1, le=1024)
    grayscale: bool = setting(False, "one channel instead of three", OURS)
    crop: Crop = setting("centre", "centre: the largest square in the middle; none: all of it, squeezed", OURS)
    split_seed: int = setting(0, "seed of the cut, and of the order within a split", OURS, ge=0, lt=2**32)


@dataclass(frozen=True)
class Layout:
    """What the names of the files say: the split that they lie in, or "all", and their class folders, if any."""

    names: Mapping[str, Sequence[str]]
    classes: Mapping[str, Sequence[str]]


def layout(names: Sequence[str], where: Path) -> Layout:
    """Reads `split/class/file`, `split/file`, `class/file` or `file`.

    Raises:
        ReplicateError: the names follow none of these, or two of them.
    """
    tops = {name.split("/")[0] if "/" in name else "" for name in names}
    split = tops <= SPLIT_FOLDERS.keys()
    if not split and {"train", "test"} <= tops:
        stray = min(tops - SPLIT_FOLDERS.keys())
        raise ReplicateError(f"{where} has {stray or 'images'!r} beside train and test; move it into a split or away.")
    if split and not {"train", "test"} <= tops:
        lacks = min({"train", "test"} - tops)
        raise ReplicateError(f"{where} has {', '.join(sorted(tops))} but no {lacks}; add it, or put all in one folder.")
    grouped: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        group, rest = ("all", name)
        if split:
            top, rest = name.split("/", 1)
            group = SPLIT_FOLDERS[top]
        if rest.count("/") > 1:
            raise ReplicateError(f"{where}/{name} lies too deep; images lie in split/class/, split/, class/ or flat.")
        grouped.setdefault(group, []).append((name, rest.rpartition("/")[0]))
    classes = {group: [label for _, label in files] for group, files in grouped.items()}
    labelled = {label != "" for group in classes.values() for label in group}
    if len(labelled) > 1:
        raise ReplicateError(f"{where}: some images lie in class folders and some do not; sort all of them, or none.")
    return Layout(
        names={group: [name for name, _ in files] for group, files in grouped.items()},
        classes=classes if labelled == {True} else {},
    )


def _strata(labels: NDArray[np.int64], least: int) -> NDArray[np.int64]:
    """The classes to cut by: one for all where some class has fewer than `least` images, too few for a share."""
    return labels if np.bincount(labels).min() >= least else np.zeros_like(labels)


def rows_of(groups: Mapping[str, NDArray[np.int64]], seed: int) -> dict[str, tuple[str, NDArray[np.int64]]]:
    """Split -> the group that it comes from and the row numbers in it, in a random order.

    One group is cut 5 : 1 : 1 as the digits are. Given splits stay as they are; where there is no validation split,
    a sixth of the training images, rounded, becomes it. Both cuts are stratified by class.

    Args:
        groups: split, or "all", -> classes (n,), all 0 where there are none.
    """
    if "all" in groups:
        labels = groups["all"]
        parts = cut(_strata(labels, PARTS), seed, ("valid", "test"), round(len(labels) / PARTS))
        return {split: ("all", parts[split]) for split in SPLITS}
    found = {split: (split, shuffled(len(labels), seed)) for split, labels in groups.items()}
    if "valid" not in groups:
        labels = groups["train"]
        parts = cut(_strata(labels, PARTS_OF_TRAIN), seed, ("valid",), round(len(labels) / PARTS_OF_TRAIN))
        found |= {split: ("train", rows) for split, rows in parts.items()}
    return found


def _arrays(store: Store, names: Sequence[str], config: ImagesConfig, faults: list[str]) -> Iterator[NDArray[np.uint8]]:
    for name in names:
        try:
            yield pixels(store.read(name), config.size, config.grayscale, config.crop)
        except UnreadableError as error:
            faults.append(f"{name} {error}")
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
            faults.append(f"{name} is damaged ({error})")


def _read(store: Store, names: Mapping[str, Sequence[str]], config: ImagesConfig) -> dict[str, NDArray[np.uint8]]:
    """Group -> images (n, channels, size, size); every file that gives none is counted and the first are named."""
    faults: list[str] = []
    read: dict[str, list[NDArray[np.uint8]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities in files that it reads all the same
        for group, members in names.items():
            read[group] = list(_arrays(store, members, config, faults))
    if faults:
        more = f" and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
        raise ReplicateError(
            f"{len(faults)} of {len(store.sizes)} images in {store.path} cannot be used: {'; '.join(faults[:NAMED])}"
            f"{more}; repair them or take them out."
        )
    return {group: np.stack(images) for group, images in read.items()}


class Images(UserDataset):
    """Images (n, 3 or 1, size, size), pixel = stored / 255, with classes where they lie in class folders.

    The cut is the folder's own (train, valid and test) or a random one by a seed (`rows_of`). Within each split the
    order is random, so that the first validation images are a fair sample. What lies beside the images is not read.
    """

    name = "images"
    title = "Folder of images"
    Config = ImagesConfig
    location = frozenset({"folder"})
    needs = "needs a folder of images (datasets.images.folder)"
    remedy = "put PNG or JPEG images there, or name their folder or zip file in `datasets.images.folder`"

    def place(self, folder: Path, config: Section) -> Path:
        """The folder or zip file that the parameters name."""
        assert isinstance(config, ImagesConfig)
        return folder if config.folder is None else home_path(config.folder, "datasets.images.folder")

    def inventory(self, path: Path) -> dict[str, Any]:
        """Number of images, their bytes in all, and one digest; the same for a folder and a zip archive of it."""
        with opened(path, SPLIT_FOLDERS) as store:
            size = sum(store.sizes.values())
            return {"name": path.absolute().name, "files": len(store.sizes), "size": size, "sha256": store.digest()}

    def stamp(self, path: Path) -> str:
        """For a folder, a digest of names, sizes and times: it may hold too much to be read at every look."""
        return folder_stamp(path) if path.is_dir() else super().stamp(path)

    def extent(self, folder: Path, config: Section) -> Extent:
        """From the parameters and the names of the files."""
        assert isinstance(config, ImagesConfig)
        with opened(self.place(folder, config), SPLIT_FOLDERS) as store:
            groups = layout(list(store.sizes), store.path).names
        train = len(groups.get("train", ()))
        if "all" in groups:
            train = len(groups["all"]) - 2 * round(len(groups["all"]) / PARTS)
        elif "valid" not in groups:
            train -= round(train / PARTS_OF_TRAIN)
        return Extent((1 if config.grayscale else 3, config.size, config.size), train)

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Reads every image once; says on standard error what it left aside."""
        assert isinstance(config, ImagesConfig)
        (path,) = files.values()
        with opened(path, SPLIT_FOLDERS) as store:
            found = layout(list(store.sizes), path)
            if store.others:
                print(
                    f"prepare: {store.others} file(s) in {path} are no PNG or JPEG by name: left out", file=sys.stderr
                )
            images = _read(store, found.names, config)
        names = sorted({label for group in found.classes.values() for label in group})
        number = {label: place for place, label in enumerate(names)}
        groups = {
            group: np.array([number[label] for label in found.classes[group]] if names else [0] * len(stack), np.int64)
            for group, stack in images.items()
        }
        rows = rows_of(groups, config.split_seed)
        return Splits(
            images={split: images[group][chosen] for split, (group, chosen) in rows.items()},
            labels={split: groups[group][chosen] for split, (group, chosen) in rows.items()} if names else {},
            divisor=255.0,
        )


DATASET = Images()
