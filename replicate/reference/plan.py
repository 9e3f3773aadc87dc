"""The plan of the reference runs: which models, with which recipes and seeds, in order of value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from replicate import datasets, models
from replicate.errors import ReplicateError
from replicate.params import Block, Params, Section, checked, read_document
from replicate.sampling.settings import Compared

#: What names an entry, and with it a folder.
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$")]
Recipes = dict[str, dict[str, dict[str, Any]]]


class Entry(Section):
    """Models that are trained alike: one kept run.

    Attributes:
        name: of its folder in `results/reference/`, and the preset that its results name.
        about: what it is for, in a sentence.
        seeds: blocks of seeds; a block is one job.
        compute: device (cpu or cuda, never auto: runs of both are not pooled) and threads.
        models: model -> data set -> recipe, which names its epochs.
        samplers: model -> which samplers of Markov chains are compared, as in the parameters.
        seconds_per_epoch: model -> seconds of an epoch of one block, until they have been measured here.
    """

    name: _Name
    about: str
    seeds: tuple[Block, ...] = Field(min_length=1)
    compute: dict[str, Any]
    models: Recipes
    samplers: dict[str, dict[str, Any]] = Field(default_factory=dict)
    seconds_per_epoch: dict[str, PositiveFloat] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _decides_everything(self) -> Self:
        if self.compute.get("device") not in ("cpu", "cuda"):
            raise ValueError("compute.device must be cpu or cuda")
        for model, recipes in self.models.items():
            if len(recipes) != 1:
                raise ValueError(f"models.{model} must name one data set")
            for dataset, recipe in recipes.items():
                epochs = recipe.get("epochs")
                if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
                    raise ValueError(f"models.{model}.{dataset} must name its epochs, a whole number from 1")
        return self

    @property
    def device(self) -> str:
        """Where its blocks are computed: cpu or cuda."""
        return str(self.compute["device"])

    @property
    def threads(self) -> int:
        """CPU threads of one block."""
        return int(self.compute.get("threads", 1))


class ReferencePlan(Section):
    """A plan: what all its entries share, and the entries in order of value."""

    plan: Literal[1]
    likelihood: dict[str, Any]
    selection: dict[str, Any]
    datasets: dict[str, dict[str, Any]]
    entries: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [entry.name for entry in self.entries]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the entry {name} stands in it twice")
        return self

    def params_of(self, entry: Entry) -> dict[str, Any]:
        """The parameters of an entry, as a parameter file holds them."""
        used = {dataset for recipes in entry.models.values() for dataset in recipes}
        compared = {
            model: dict.fromkeys(entry.models.get(model, ()), options) for model, options in entry.samplers.items()
        }
        return {
            "preset": entry.name,
            "seeds": list(entry.seeds),
            "compute": dict(entry.compute),
            "likelihood": dict(self.likelihood),
            "selection": dict(self.selection),
            "datasets": {name: dict(options) for name, options in self.datasets.items() if name in used},
            "models": {model: dict(recipes) for model, recipes in entry.models.items()},
            **({"samplers": compared} if compared else {}),
        }


def read_plan(path: Path) -> ReferencePlan:
    """The plan of a file.

    Raises:
        ReplicateError: it is missing or not a plan, each fault with its path in the file.
    """
    raw, where = read_document(str(path))
    if not isinstance(raw, Mapping):
        raise ReplicateError(f"{where}: a plan must be a mapping of names to values.")
    plan = checked(ReferencePlan, raw, where)
    for entry in plan.entries:
        place = f"{where}, entry {entry.name}"
        Params.parse(plan.params_of(entry), place)
        _check_names(entry, place)
    return plan


def _check_names(entry: Entry, place: str) -> None:
    for model, options in entry.samplers.items():
        if model not in entry.models or model not in models.CHAINS:
            raise ReplicateError(
                f"{place}: samplers.{model}: only models of the entry that Markov chains sample have samplers "
                f"({', '.join(sorted(models.CHAINS))})."
            )
        checked(Compared, options, place, f"samplers.{model}")
    for model, recipes in entry.models.items():
        if model not in models.REGISTRY:
            raise ReplicateError(
                f"{place}: there is no model {model!r}; the registered ones are {', '.join(models.REGISTRY)}."
            )
        for dataset in recipes:
            if dataset not in datasets.REGISTRY:
                raise ReplicateError(
                    f"{place}: there is no data set {dataset!r}; the registered ones are "
                    f"{', '.join(datasets.REGISTRY)}."
                )
