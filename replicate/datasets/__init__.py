"""The registry of data sets: a name, a title and the module that defines it, loaded when it is asked for."""

import importlib
from typing import TYPE_CHECKING

from replicate.errors import ReplicateError

if TYPE_CHECKING:
    from replicate.datasets.base import Dataset

#: name -> (title, module); the module has one public object, `DATASET`.
REGISTRY: dict[str, tuple[str, str]] = {
    "digits": ("Digits", "replicate.datasets.digits"),
    "mnist": ("MNIST", "replicate.datasets.mnist"),
}

#: Data sets whose pixels lie outside [0, 1].
UNBOUNDED: frozenset[str] = frozenset()


def load_dataset(name: str) -> "Dataset":
    """The registered data set of that name; an unknown name lists the known ones."""
    if name not in REGISTRY:
        raise ReplicateError(f"there is no data set {name!r}; the registered ones are {', '.join(REGISTRY)}.")
    dataset: Dataset = importlib.import_module(REGISTRY[name][1]).DATASET
    return dataset
