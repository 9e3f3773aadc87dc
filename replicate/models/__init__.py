"""The registry of models: a name, a title and the module that defines it, loaded when it is asked for."""

import importlib
from typing import TYPE_CHECKING

from replicate.errors import ReplicateError

if TYPE_CHECKING:
    from replicate.models.base import GenerativeModel

#: name -> (title as in Table 1, module); the module has one public object, `MODEL`.
REGISTRY: dict[str, tuple[str, str]] = {
    "adversarial_nets": ("Adversarial nets", "replicate.models.adversarial_nets"),
}

#: Models whose pixels may lie outside [0, 1]; the others are not applicable to a data set that lives there.
UNBOUNDED = frozenset({"adversarial_nets"})


def load_model(name: str) -> "type[GenerativeModel]":
    """The registered model class of that name; an unknown name lists the known ones."""
    if name not in REGISTRY:
        raise ReplicateError(f"there is no model {name!r}; the registered ones are {', '.join(REGISTRY)}.")
    model: type[GenerativeModel] = importlib.import_module(REGISTRY[name][1]).MODEL
    return model
