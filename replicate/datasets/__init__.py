"""The registry of data sets: a name, a title and the module that defines it, loaded on demand."""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from replicate.errors import ReplicateError
from replicate.storage.paths import home_path

if TYPE_CHECKING:
    from replicate.datasets.base import Dataset

#: name -> (title, module); the module has one public object, `DATASET`.
REGISTRY: dict[str, tuple[str, str]] = {
    "digits": ("Digits", "replicate.datasets.digits"),
    "mnist": ("MNIST", "replicate.datasets.mnist"),
    "tfd": ("Toronto Face Database", "replicate.datasets.tfd"),
    "faces": ("FER-2013 stand-in", "replicate.datasets.faces"),
    "cifar10": ("CIFAR-10", "replicate.datasets.cifar10"),
    "images": ("Folder of images", "replicate.datasets.images"),
}

#: Data sets whose pixels lie outside [0, 1].
UNBOUNDED: frozenset[str] = frozenset({"cifar10"})


def data_folder() -> Path:
    """The folder of the folders of raw files, one a data set: $REPLICATE_DATA, else `data`."""
    folder = os.environ.get("REPLICATE_DATA") or "data"
    return home_path(folder, "REPLICATE_DATA")


def load_dataset(name: str) -> "Dataset":
    """The registered data set of that name; an unknown name lists the known ones."""
    if name not in REGISTRY:
        raise ReplicateError(
            f"there is no data set {name!r}; the registered ones are {', '.join(REGISTRY)}."
        )
    dataset: Dataset = importlib.import_module(REGISTRY[name][1]).DATASET
    return dataset
