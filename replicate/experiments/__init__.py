"""The registry of experiments, which decide what the paper states beside Table 1; loaded when they are asked for."""

import importlib
from typing import TYPE_CHECKING

from replicate.errors import ReplicateError

if TYPE_CHECKING:
    from replicate.experiments.base import Experiment

#: name -> (title, module); the module has one public object, `EXPERIMENT`.
REGISTRY: dict[str, tuple[str, str]] = {
    "theory": ("The optimal discriminator and the global optimum", "replicate.experiments.theory"),
}
#: Experiments on images; the data set is their setting `dataset`.
ON_IMAGES: frozenset[str] = frozenset()
#: The data set of an experiment on images that names none.
DEFAULT_DATASET = "digits"


def load_experiment(name: str) -> "Experiment":
    """The registered experiment of that name; an unknown name lists the known ones."""
    if name not in REGISTRY:
        raise ReplicateError(f"there is no experiment {name!r}; the registered ones are {', '.join(REGISTRY)}.")
    experiment: Experiment = importlib.import_module(REGISTRY[name][1]).EXPERIMENT
    return experiment
