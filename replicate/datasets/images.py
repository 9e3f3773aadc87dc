"""A folder of images, or a zip archive of one: the user's own data, named by one entry of the parameters."""

import itertools
import re
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.base import SPLITS, Extent, Splits, UserDataset
from replicate.datasets.cutting import cut, shuffled
from replicate.datasets.pictures import Crop, UnreadableError, pixels
from replicate.datasets.store import DAMAGE, Store, folder_stamp, opened, some_of
from replicate.errors import ReplicateError, shown
from replicate.params import OURS, Section, Settings, setting
from replicate.paths import home_path

#: Words that name a split, and the split; in any case, and alone or before one of `BESIDE` ("Train", "test_images").
SPLIT_WORDS = {
    "train": "train", "training": "train",
    "valid": "valid", "val": "valid", "validation": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
BESIDE = frozenset({"", "set", "data", "images", "image", "imgs", "img"})
#: Folders that resemble no split; with more of them, those that do are classes too ("tent", "train", "truck", ...).
UNRELATED = 2
#: MNIST's 50,000 : 10,000 : 10,000 images: a set in one piece is cut in seven, training images in six.
PARTS, PARTS_OF_TRAIN = 5 + 1 + 1, 5 + 1


class ImagesConfig(Settings):
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


def split_of(folder: str) -> str | None:
    """The split that a folder's name says it holds; None for a name that says none."""
    name = folder.casefold()
    for word, split in SPLIT_WORDS.items():
        if name.startswith(word) and name.removeprefix(word).strip("_- .") in BESIDE:
            return split
    return None


def is_split(folder: str) -> bool:
    """Whether a folder's name says that it holds a split."""
    return split_of(folder) is not None


def _resembled(folder: str) -> str | None:
    """The split whose word a name has beside other words, or misses by a letter: "tests_old", "tran", "trainA"."""
    for name in re.split(r"[^a-z]+", folder.casefold()):
        if name in SPLIT_WORDS:
            return SPLIT_WORDS[name]
        for word, split in SPLIT_WORDS.items():
            if len(word) >= 4 and name[:1] == word[0] and _one_slip(name, word):
                return split
    return None


def _one_slip(name: str, word: str) -> bool:
    """Whether `name` becomes `word` by one letter more, less or other, or by two neighbours that change places."""
    start = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(name, word, strict=False)))
    rest, wanted = name[start:], word[start:]
    changes = rest[1:] == wanted[1:] or rest[1:] == wanted or rest == wanted[1:]
    return changes or (rest[2:] == wanted[2:] and rest[:2] == wanted[1::-1])


def _splits(tops: Collection[str], where: Path) -> dict[str, str]:
    """Folder -> the split that it holds; empty where the folders are classes, or there are none.

    Raises:
        ReplicateError: the names can be read both ways, or are splits of which one is missing or comes twice.
    """
    found = {top: split for top in sorted(tops) if (split := split_of(top)) is not None}
    found = dict(sorted(found.items(), key=lambda entry: SPLITS.index(entry[1])))
    others = sorted(set(tops) - found.keys())
    near = {top: split for top in others if (split := _resembled(top)) is not None}
    given = set(found.values())
    if len(given) > 1 and others:
        stray = others[0] or "images"
        raise ReplicateError(f"{where} has {stray!r} beside {' and '.join(found)}; move it into a split or away.")
    doubtful = near and len(others) - len(near) <= UNRELATED
    if doubtful and len(given | set(near.values())) > 1:
        names = " and ".join(repr(name) for name in sorted({*found, *near}))
        name, split = next(iter(near.items()))
        raise ReplicateError(
            f"{where}: {names} may be splits or classes: rename {name!r} to {split!r} if it is that split, and to "
            "something else if it is a class or is not to be used."
        )
    if others:
        return {}
    for split in given:
        same = [top for top, other in found.items() if other == split]
        if len(same) > 1:
            raise ReplicateError(
                f"{where} has {' and '.join(map(repr, same))}, which both say {split}; put them into one folder."
            )
    if not {"train", "test"} <= given:
        lacks = min({"train", "test"} - given)
        raise ReplicateError(f"{where} has {', '.join(found)} but no {lacks}; add it, or put all in one folder.")
    return found


def layout(names: Sequence[str], where: Path) -> Layout:
    """Reads `split/class/file`, `split/file`, `class/file` or `file`.

    Raises:
        ReplicateError: the names follow none of these, or two of them.
    """
    splits = _splits({name.split("/")[0] if "/" in name else "" for name in names}, where)
    grouped: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        group, rest = ("all", name)
        if splits:
            top, rest = name.split("/", 1)
            group = splits[top]
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


def _arrays(
    store: Store, names: Sequence[str], config: ImagesConfig, faults: list[str]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The images of some files with their places among them; `faults` gets a clause for every file that gives none."""
    for place, name in enumerate(names):
        try:
            yield place, pixels(store.read(name), config.size, config.grayscale, config.crop)
        except UnreadableError as error:
            faults.append(f"{name} {error}")
        except DAMAGE as error:
            faults.append(f"{name} is damaged ({error})")
        except OSError as error:
            faults.append(f"{name} cannot be read ({error.strerror or error})")


def _read(
    store: Store, names: Mapping[str, Sequence[str]], rows: Mapping[str, tuple[str, NDArray[np.int64]]],
    config: ImagesConfig,
) -> dict[str, NDArray[np.uint8]]:  # fmt: skip
    """Split -> images (n, channels, size, size), each put where it belongs as soon as it is read.

    Args:
        store: of all files.
        names: group -> its files.
        rows: split -> its group, and which of its files in which order (`rows_of`).
        config: how files become arrays.

    Raises:
        ReplicateError: files that give no image; all are counted, and the first are named.
    """
    shape = (1 if config.grayscale else 3, config.size, config.size)
    read = {split: np.empty((len(chosen), *shape), np.uint8) for split, (_, chosen) in rows.items()}
    places = {
        (group, row): (split, place) for split, (group, chosen) in rows.items()
        for place, row in enumerate(chosen.tolist())
    }  # fmt: skip
    faults: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities in files that it reads all the same
        for group, members in names.items():
            for row, image in _arrays(store, members, config, faults):
                split, place = places[group, row]
                read[split][place] = image
    if faults:
        raise ReplicateError(
            f"{len(faults)} of {len(store.sizes)} images in {store.path} cannot be used: {some_of(faults)}; repair "
            "them or take them out."
        )
    return read


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
        with opened(path, is_split) as store:
            size = sum(store.sizes.values())
            return {
                "name": shown(path.absolute().name),
                "files": len(store.sizes),
                "size": size,
                "sha256": store.digest(),
            }

    def stamp(self, path: Path) -> str:
        """For a folder, a digest of names, sizes and times: it may hold too much to be read at every look."""
        return folder_stamp(path) if path.is_dir() else super().stamp(path)

    def extent(self, folder: Path, config: Section) -> Extent:
        """From the parameters and the names of the files."""
        assert isinstance(config, ImagesConfig)
        with opened(self.place(folder, config), is_split) as store:
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
        with opened(path, is_split) as store:
            found = layout(list(store.sizes), path)
            if store.others:
                print(
                    f"prepare: {store.others} file(s) in {path} are no PNG or JPEG by name: left out", file=sys.stderr
                )
            names = sorted({label for group in found.classes.values() for label in group})
            number = {label: place for place, label in enumerate(names)}
            groups = {
                group: np.array([number[label] for label in found.classes[group]] if names else [0] * len(files))
                for group, files in found.names.items()
            }
            rows = rows_of(groups, config.split_seed)
            images = _read(store, found.names, rows, config)
        return Splits(
            images=images,
            labels={split: groups[group][chosen] for split, (group, chosen) in rows.items()} if names else {},
            divisor=255.0,
        )


DATASET = Images()
