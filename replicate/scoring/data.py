"""What samples are compared with: a data set of the project, or images of one's own."""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replicate.datasets import REGISTRY, load_dataset
from replicate.datasets.base import PinnedDataset, Splits, UserDataset
from replicate.datasets.sources.download import fetch
from replicate.datasets.sources.raw_files import (
    input_digests,
    options_of,
    pinned_entries,
    user_files,
)
from replicate.datasets.sources.verify import verified_files
from replicate.errors import ReplicateError
from replicate.scoring.files import ForeignArray, read_array
from replicate.scoring.rows import Pixels, Shape, as_pixels, fits, in_rows, sizes
from replicate.storage.files import sha256_file

#: Splits by the option that names a file of one's own.
OWN_FILES = {"test": "test_file", "valid": "valid_file", "train": "train_file"}
UNIT, SYMMETRIC = (0.0, 1.0), (-1.0, 1.0)


@dataclass(frozen=True)
class Data:
    """The images that samples are compared with.

    Attributes:
        name: of the data set; None for images of one's own.
        title: how it is called.
        splits: its images; `train` is empty where no training images were named.
        digests: name of an input -> SHA-256.
        notes: what was done to read them, in sentences.
    """

    name: str | None
    title: str
    splits: Splits
    digests: Mapping[str, str]
    notes: tuple[str, ...] = field(default=())


def training_images(splits: Splits) -> Pixels:
    """The training images as rows of pixels, (n, d); n is 0 where there are none."""
    if splits.count("train") == 0:
        return np.empty((0, math.prod(splits.shape)), np.float32)
    return splits.flat("train")


def read_data(arguments: argparse.Namespace) -> Data:
    """The data set that `--dataset` names, or the files of one's own.

    Raises:
        ReplicateError: both or neither are named, or a file is missing or does not fit.
    """
    own = [option for option in OWN_FILES.values() if getattr(arguments, option) is not None]
    if arguments.dataset is None and arguments.data is None:
        return _own_data(arguments)
    if own:
        words = " and ".join(f"--{option.replace('_', '-')}" for option in own)
        raise ReplicateError(f"{words} and a data set were both named; leave one of them out.")
    if arguments.dataset is None:
        raise ReplicateError("--data is the prepared file of a data set; name it by --dataset too.")
    return _data_set(arguments)


def _data_set(arguments: argparse.Namespace) -> Data:
    name = arguments.dataset
    dataset = load_dataset(name)
    path = arguments.data
    # With --params another cut may be meant than the one that lies there prepared.
    if path is None and arguments.params is None:
        prepared = Path(f"results/data/{name}.safetensors")
        # What the pipeline prepared is what its models were scored on, and saves the fetch.
        path = prepared if prepared.is_file() else None
    if path is not None:
        return Data(name, dataset.title, Splits.read(path), {"data": sha256_file(path)})
    folder = arguments.data_dir / name
    options = options_of(dataset, arguments.params)
    if isinstance(dataset, UserDataset):
        files, sources = user_files(dataset, folder, options)
    else:
        assert isinstance(dataset, PinnedDataset)
        # Only what is missing or damaged is fetched; `verified_files` reads each file once more.
        fetch(dataset, folder, arguments.mirror, arguments.offline)
        files, sources = verified_files(dataset, folder), pinned_entries(dataset)
    splits = dataset.prepare(files, options)
    return Data(name, dataset.title, splits, input_digests(sources))


def _own_data(arguments: argparse.Namespace) -> Data:
    if arguments.test_file is None:
        raise ReplicateError(
            f"name what the samples are compared with: --dataset ({', '.join(REGISTRY)}), "
            "or --test-file and --valid-file with images of your own."
        )
    if arguments.valid_file is None:
        raise ReplicateError(
            "--valid-file is missing: the bandwidth is chosen on validation images, and never on "
            "the test images."
        )
    arrays = {"test": read_array(arguments.test_file, arguments.data_name)}
    # The test images decide the shape: validation and training images have to fit them.
    shape = _shape_of(arrays["test"])
    for split in ("valid", "train"):
        path = getattr(arguments, OWN_FILES[split])
        if path is not None:
            arrays[split] = read_array(
                path, arguments.data_name, lambda stored: fits(stored, shape)
            )
    images: dict[str, NDArray[np.generic]] = {}
    notes: list[str] = []
    for split, array in arrays.items():
        # The divisor 1: nothing is known of one's own files but what their numbers say.
        pixels, changes = as_pixels(in_rows(array, shape), 1.0, array)
        images[split] = pixels.reshape(-1, *shape)
        notes += [f"{array.path.name}: {change}" for change in changes]
        notes += array.notes
    # Without training images no nearest neighbours are shown, but the estimate needs none.
    images.setdefault("train", np.empty((0, *shape), np.float32))
    splits = Splits(images=images, value_range=_value_range(images))
    digests = {split: array.digest for split, array in arrays.items()}
    if digests["test"] == digests["valid"]:
        notes.append(
            "test and validation images are the same: the bandwidth was chosen on what it is "
            "measured with, which flatters the estimate"
        )
    title = f"{arguments.test_file.name} ({sizes(shape)} pixels)"
    return Data(None, title, splits, digests, tuple(notes))


def _shape_of(array: ForeignArray) -> Shape:
    """(channels, height, width) of images of one's own.

    Flat rows are taken for square images, grey or of three channels, where their number of pixels
    allows it, else for a line of pixels.
    """
    inner = array.values.shape[1:]
    if len(inner) == 1:
        # No number is both a square and three times a square: the order decides nothing.
        for channels in (1, 3):
            side = math.isqrt(inner[0] // channels)
            if side * side * channels == inner[0]:
                return channels, side, side
        return 1, 1, inner[0]
    if len(inner) == 2:
        return 1, inner[0], inner[1]
    if len(inner) == 3 and inner[0] in (1, 3):
        return inner[0], inner[1], inner[2]
    if len(inner) == 3 and inner[2] in (1, 3):
        return inner[2], inner[0], inner[1]
    stored = " x ".join(map(str, array.values.shape))
    raise ReplicateError(
        f"{array.path} holds an array of {stored}; images are (n, pixels), (n, height, width), "
        "(n, channels, height, width) or (n, height, width, channels) with 1 or 3 channels."
    )


def _value_range(images: Mapping[str, NDArray[np.generic]]) -> tuple[float, float]:
    """0..1 or -1..1, where the validation images lie in it and fill most of it; else their own
    extremes.
    """
    low, high = float(np.min(images["valid"])), float(np.max(images["valid"]))
    # By validation images, as the bandwidth: nothing is decided by the test images.
    if low >= 0 and 0.5 < high <= 1:
        return UNIT
    if -1 <= low < -0.5 and 0.5 < high <= 1:
        return SYMMETRIC
    # Images of one value alone would have a range without any width, or one that nothing can be
    # divided by.
    return low, high if high > low else low + max(1.0, abs(low))
