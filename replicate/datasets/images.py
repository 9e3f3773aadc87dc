"""A folder of images, or a zip archive of one: the user's own data, which the parameters name."""

import re
import sys
import unicodedata
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.base import SPLITS, Extent, Splits, UserDataset
from replicate.datasets.readers.cutting import cut, shuffled
from replicate.datasets.readers.pictures import Crop, UnreadableError, pixels
from replicate.datasets.sources.store import DAMAGE, Store, folder_stamp, opened, some_of
from replicate.errors import ReplicateError, printable
from replicate.params import OURS, Section, Settings, setting
from replicate.records.schema import SourceFile
from replicate.storage.paths import home_path

#: Words that name a split, and the split; in any case, and alone or before one of `SPLIT_SUFFIXES`
#: ("Train", "test_images").
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
}
#: Other words for a split, in several languages, without accents. A class may be called so, too:
#: beside another split they are refused with both readings.
OTHER_WORDS = {
    "train": (
        *("tr", "trn", "fit", "learn", "seen", "gallery", "entrainement", "apprentissage"),
        *("entrenamiento", "학습", "훈련", "训练", "訓練", "学習"),
    ),
    "valid": ("vl", "vld", "validierung", "validacion", "검증", "验证", "検証"),
    "test": (
        *("te", "tst", "eval", "evaluation", "holdout", "heldout", "unseen", "query", "probe"),
        *("essai", "prueba", "pruebas", "테스트", "시험", "평가", "测试", "テスト", "評価"),
    ),
}
SPLIT_SUFFIXES = frozenset({"", "set", "data", "images", "image", "imgs", "img"})
FOREIGN_SUFFIXES = frozenset({"集", "세트", "데이터", "データ"})
#: Folders that resemble no split; with more of them, those that do are classes too ("tent",
#: "train", "truck", ...).
UNRELATED = 2
#: MNIST's 50,000 : 10,000 : 10,000 images: a set in one piece is cut in seven, training images in
#: six.
PARTS, PARTS_OF_TRAIN = 5 + 1 + 1, 5 + 1

Rows = NDArray[np.int64]


class ImagesConfig(Settings):
    """Where the images lie, and how they become arrays."""

    folder: str | None = setting(
        None,
        "folder, or .zip file of one, with the images; null: the folder images/ among the raw data",
        OURS,
    )
    size: int = setting(
        32,
        "height and width in pixels that every image is resized to",
        "as CIFAR-10",
        ge=1,
        le=1024,
    )
    grayscale: bool = setting(False, "one channel instead of three", OURS)
    crop: Crop = setting(
        "centre", "centre: the largest square in the middle; none: all of it, squeezed", OURS
    )
    split_seed: int = setting(
        0, "seed of the cut, and of the order within a split", OURS, ge=0, lt=2**32
    )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of an image."""
        channels = 1 if self.grayscale else 3
        return channels, self.size, self.size


@dataclass(frozen=True)
class Layout:
    """What the names of the files say.

    Attributes:
        names: group -> its files; a group is a split, or "all" where the names say none.
        classes: group -> the class folder of every file; empty where there are none.
    """

    names: Mapping[str, Sequence[str]]
    classes: Mapping[str, Sequence[str]]

    def class_numbers(self) -> dict[str, Rows]:
        """Group -> classes (n,), numbered in the order of their names; all 0 without classes."""
        if not self.classes:
            return {group: np.zeros(len(files), np.int64) for group, files in self.names.items()}
        # Over all splits: a class that one of them lacks must not shift the numbers of the others.
        names: set[str] = set()
        for labels in self.classes.values():
            names.update(labels)
        numbers = {name: number for number, name in enumerate(sorted(names))}
        classes = {}
        for group, labels in self.classes.items():
            classes[group] = np.array([numbers[label] for label in labels])
        return classes


class SplitRows(NamedTuple):
    """Where the images of a split come from: a group, and row numbers in it in their order."""

    group: str
    rows: Rows


def split_of(folder: str) -> str | None:
    """The split that a folder's name says it holds; None for a name that says none."""
    # In any case: taken for classes, `Train/` and `Test/` would train on test images
    # (huggingface/datasets#7880).
    name = folder.casefold()
    for word, split in SPLIT_WORDS.items():
        if name.startswith(word) and name.removeprefix(word).strip("_- .") in SPLIT_SUFFIXES:
            return split
    return None


def is_split(folder: str) -> bool:
    """Whether a folder's name says that it holds a split."""
    return split_of(folder) is not None


def _letters(text: str) -> str:
    """The letters of a text without case and accents."""
    # Accents are characters of their own in the decomposed form, and no letters.
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    letters = [character for character in decomposed if character.isalpha()]
    return unicodedata.normalize("NFKC", "".join(letters))


def _other_word(folder: str) -> str | None:
    """The split that a name says in another word: "eval", "held-out", "학습"."""
    name = _letters(folder)
    suffixes = {_letters(suffix) for suffix in SPLIT_SUFFIXES | FOREIGN_SUFFIXES}
    for split, words in OTHER_WORDS.items():
        for word in words:
            rest = name.removeprefix(_letters(word))
            if rest != name and rest in suffixes:
                return split
    return None


def _resembled(folder: str) -> str | None:
    """The split whose word a name has beside other words, misses by a letter, or replaces by
    another word: "tests_old", "tran", "trainA", "eval".
    """
    other = _other_word(folder)
    if other is not None:
        return other
    for name in re.split(r"[^a-z]+", folder.casefold()):
        if name in SPLIT_WORDS:
            return SPLIT_WORDS[name]
        for word, split in SPLIT_WORDS.items():
            # Shorter words are a letter away from too many others.
            is_long = len(word) >= 4
            is_alike = name[:1] == word[0]
            if is_long and is_alike and _one_slip(name, word):
                return split
    return None


def _one_slip(name: str, word: str) -> bool:
    """Whether `name` becomes `word` by one letter more, less or changed, or by two neighbours that
    change places.
    """
    start = 0
    while start < min(len(name), len(word)) and name[start] == word[start]:
        start += 1
    # From the first letter that differs on.
    rest = name[start:]
    correct = word[start:]
    is_changed = rest[1:] == correct[1:]
    is_added = rest[1:] == correct
    is_missing = rest == correct[1:]
    is_swapped = rest[:2] == correct[1::-1] and rest[2:] == correct[2:]
    return is_changed or is_added or is_missing or is_swapped


def _splits(folders: Collection[str], path: Path) -> dict[str, str]:
    """Folder -> the split that it holds; empty where the folders are classes, or there are none.

    Args:
        folders: the top folders; "" for files beside them.
        path: of the folder or archive, for messages.

    Raises:
        ReplicateError: the names can be read both ways, or are splits of which one is missing or
            comes twice.
    """
    # In the order of the splits, so that messages name training images first.
    splits: dict[str, str] = {}
    for split in SPLITS:
        for folder in sorted(folders):
            if split_of(folder) == split:
                splits[folder] = split
    unnamed = sorted(set(folders) - splits.keys())
    # One folder with the name of a split may be a class; two of them are no accident.
    if len(set(splits.values())) > 1 and unnamed:
        stray = unnamed[0] or "images"
        raise ReplicateError(
            f"{path} has {stray!r} beside {' and '.join(splits)}; move it into a split or away."
        )
    _check_resembling(splits, unnamed, path)
    if unnamed:
        return {}
    _check_complete(splits, path)
    return splits


def _check_resembling(splits: Mapping[str, str], unnamed: Sequence[str], path: Path) -> None:
    """Refuses folders that may be splits with a slip in the name, or classes."""
    near: dict[str, str] = {}
    for folder in unnamed:
        split = _resembled(folder)
        if split is not None:
            near[folder] = split
    if not near or len(unnamed) - len(near) > UNRELATED:
        return
    if len({*splits.values(), *near.values()}) > 1:
        names = " and ".join(repr(name) for name in sorted({*splits, *near}))
        name, split = next(iter(near.items()))
        raise ReplicateError(
            f"{path}: {names} may be splits or classes: rename {name!r} to {split!r} if it is "
            "that split, and to something else if it is a class or is not to be used."
        )


def _check_complete(splits: Mapping[str, str], path: Path) -> None:
    """Refuses two folders of one split, and a lack of training or test images."""
    for split in SPLITS:
        same = [folder for folder in splits if splits[folder] == split]
        if len(same) > 1:
            names = " and ".join(map(repr, same))
            raise ReplicateError(
                f"{path} has {names}, which both say {split}; put them into one folder."
            )
    # Without a validation split some training images take its place; nothing replaces test images.
    missing = {"train", "test"} - set(splits.values())
    if missing:
        folders = ", ".join(splits)
        raise ReplicateError(
            f"{path} has {folders} but no {min(missing)}; add it, or put all in one folder."
        )


def _top_folder(name: str) -> str:
    folder, slash, _ = name.partition("/")
    return folder if slash else ""


def _class_folder(name: str, within_split: bool, path: Path) -> str:
    """The class folder of a file, which may lie in the folder of a split; "" where it has none.

    Raises:
        ReplicateError: the file lies deeper than that.
    """
    inner = name.partition("/")[2] if within_split else name
    if inner.count("/") > 1:
        raise ReplicateError(
            f"{path}/{name} lies too deep; images lie in split/class/, split/, class/ or flat."
        )
    return inner.rpartition("/")[0]


def layout(names: Sequence[str], path: Path) -> Layout:
    """Reads `split/class/file`, `split/file`, `class/file` or `file`.

    Raises:
        ReplicateError: the names follow none of these, or two of them.
    """
    folders = {_top_folder(name) for name in names}
    splits = _splits(folders, path)
    names_of: dict[str, list[str]] = {}
    classes_of: dict[str, list[str]] = {}
    sorted_count = 0
    for name in names:
        group = "all"
        if splits:
            group = splits[_top_folder(name)]
        label = _class_folder(name, bool(splits), path)
        names_of.setdefault(group, []).append(name)
        classes_of.setdefault(group, []).append(label)
        sorted_count += label != ""
    _check_classes(classes_of, path)
    # Images outside class folders would be a class of their own without a name.
    if sorted_count not in (0, len(names)):
        raise ReplicateError(
            f"{path}: some images lie in class folders and some do not; sort all of them, or none."
        )
    return Layout(names_of, classes_of if sorted_count else {})


def _check_classes(classes_of: Mapping[str, Collection[str]], path: Path) -> None:
    """Refuses a class that is written in one way in one split and in another way in another.

    Within a split, "a" and "A" are two classes.
    """
    spelling_of: dict[str, str] = {}
    for labels in classes_of.values():
        names = sorted(set(labels))
        keys = [_key_of_class(name) for name in names]
        for name, key in zip(names, keys, strict=True):
            earlier = spelling_of.setdefault(key, name)
            if earlier != name and keys.count(key) == 1:
                raise ReplicateError(
                    f"{path}: {earlier!r} and {name!r} may be one class in two spellings; "
                    "give it one name in all splits."
                )


def _key_of_class(name: str) -> str:
    """What is left of a class's name without case, width and signs around it."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return text.strip(" ._-")


def _strata(labels: Rows, least: int) -> Rows:
    """The classes to cut by: one for all where some class has fewer than `least` images, too few
    for a share.
    """
    smallest = np.bincount(labels).min()
    return labels if smallest >= least else np.zeros_like(labels)


def rows_of(groups: Mapping[str, Rows], seed: int) -> dict[str, SplitRows]:
    """Split -> the group that it comes from and the row numbers in it, in a random order.

    One group is cut 5 : 1 : 1 as the digits are. Splits that are there stay as they are; where
    there is no validation split, a sixth of the training images, rounded, becomes it. Both cuts are
    stratified by class.

    Args:
        groups: split, or "all", -> classes (n,), all 0 where there are none.
        seed: of the cut and of the order.
    """
    if "all" in groups:
        labels = groups["all"]
        count = round(len(labels) / PARTS)
        strata = _strata(labels, PARTS)
        chosen = cut(strata, seed, ("valid", "test"), count)
        return {split: SplitRows("all", chosen[split]) for split in SPLITS}
    rows = {}
    for split, labels in groups.items():
        count = len(labels)
        # Files often lie sorted by class, and the first validation images choose the bandwidth.
        order = shuffled(count, seed)
        rows[split] = SplitRows(split, order)
    if "valid" not in groups:
        labels = groups["train"]
        count = round(len(labels) / PARTS_OF_TRAIN)
        strata = _strata(labels, PARTS_OF_TRAIN)
        chosen = cut(strata, seed, ("valid",), count)
        for split, numbers in chosen.items():
            rows[split] = SplitRows("train", numbers)
    return rows


def _arrays(
    store: Store, names: Sequence[str], config: ImagesConfig, faults: list[str]
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The row and the image of every file; `faults` gets a clause for every file that has none."""
    for row, name in enumerate(names):
        try:
            content = store.read(name)
            yield row, pixels(content, config.size, config.grayscale, config.crop)
        except UnreadableError as error:
            faults.append(f"{name} {error}")
        except DAMAGE as error:
            faults.append(f"{name} is damaged ({error})")
        except OSError as error:
            faults.append(f"{name} cannot be read ({error.strerror or error})")


def _read(
    store: Store,
    names: Mapping[str, Sequence[str]],
    rows: Mapping[str, SplitRows],
    config: ImagesConfig,
) -> dict[str, NDArray[np.uint8]]:
    """Split -> images (n, channels, size, size), each put where it belongs as soon as it is read.

    Args:
        store: of all files.
        names: group -> its files.
        rows: split -> its group, and which of its files in which order (`rows_of`).
        config: how files become arrays.

    Raises:
        ReplicateError: files that give no image; all are counted, and the first are named.
    """
    images: dict[str, NDArray[np.uint8]] = {}
    destinations: dict[tuple[str, int], tuple[str, int]] = {}
    for split, (group, chosen) in rows.items():
        # Filled image by image, so that the set is in memory once.
        images[split] = np.empty((len(chosen), *config.shape), np.uint8)
        for index, row in enumerate(chosen.tolist()):
            # Each file is read once, in the order of the names, and goes where its split wants it.
            destinations[group, row] = split, index
    # All faults are gathered, so that a user who repairs files does not meet them one by one.
    faults: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities in files that it reads anyway
        for group, files in names.items():
            for row, image in _arrays(store, files, config, faults):
                split, index = destinations[group, row]
                images[split][index] = image
    if faults:
        raise ReplicateError(
            f"{len(faults)} of {len(store.sizes)} images in {store.path} cannot be used: "
            f"{some_of(faults)}; repair them or take them out."
        )
    return images


class Images(UserDataset):
    """Images (n, 3 or 1, size, size), pixel = stored / 255, with classes where they lie in class
    folders.

    The cut is the folder's own (train, valid and test) or a random one by a seed (`rows_of`).
    Within each split the order is random, so that the first validation images are a fair sample.
    What lies beside the images is not read.
    """

    name = "images"
    title = "Folder of images"
    Config = ImagesConfig
    location = frozenset({"folder"})
    needs = "needs a folder of images (datasets.images.folder)"
    remedy = (
        "put PNG or JPEG images there, or name their folder or zip file in `datasets.images.folder`"
    )

    def data_path(self, folder: Path, config: Section) -> Path:
        """The folder or zip file that the parameters name."""
        assert isinstance(config, ImagesConfig)
        if config.folder is None:
            return folder
        return home_path(config.folder, "datasets.images.folder")

    def inventory(self, path: Path) -> SourceFile:
        """Number of images, their bytes in all, and one digest; the same for a folder and a zip
        archive of it.
        """
        with opened(path, is_split) as store:
            return {
                "name": printable(path.absolute().name),
                "files": len(store.sizes),
                "size": sum(store.sizes.values()),
                "sha256": store.digest(),
            }

    def stamp(self, path: Path) -> str:
        """For a folder, a digest of names, sizes and times: it may hold too much to be read at
        every look.
        """
        if path.is_dir():
            return folder_stamp(path)
        return super().stamp(path)

    def extent(self, folder: Path, config: Section) -> Extent:
        """From the parameters and the names of the files."""
        assert isinstance(config, ImagesConfig)
        path = self.data_path(folder, config)
        with opened(path, is_split) as store:
            files = list(store.sizes)
            image_layout = layout(files, store.path)
        names = image_layout.names
        train = len(names.get("train", ()))
        if "all" in names:
            total = len(names["all"])
            held_out = round(total / PARTS)
            # As `rows_of` cuts: a seventh each for validation and test, rounded.
            train = total - 2 * held_out
        elif "valid" not in names:
            train -= round(train / PARTS_OF_TRAIN)
        return Extent(config.shape, train)

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Reads every image once; says on standard error what it left out."""
        assert isinstance(config, ImagesConfig)
        (path,) = files.values()
        with opened(path, is_split) as store:
            files_of_store = list(store.sizes)
            image_layout = layout(files_of_store, path)
            if store.ignored:
                print(
                    f"prepare: {store.ignored} file(s) in {path} are no PNG or JPEG by name: "
                    "left out",
                    file=sys.stderr,
                )
            if store.hidden:
                print(
                    f"prepare: {store.hidden} image(s) in {path} have hidden names, which begin "
                    "with a dot: left out",
                    file=sys.stderr,
                )
            classes = image_layout.class_numbers()
            rows = rows_of(classes, config.split_seed)
            images = _read(store, image_layout.names, rows, config)
        labels = {}
        if image_layout.classes:
            # Without class folders all classes are 0, which would pass for labels.
            labels = {split: classes[group][chosen] for split, (group, chosen) in rows.items()}
        return Splits(images=images, labels=labels, divisor=255.0)


DATASET = Images()
