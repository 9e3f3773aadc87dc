"""The plan of the reference runs: which models, with which recipes and seeds, in order of value."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from replicate import datasets, models
from replicate.errors import ReplicateError
from replicate.models.parts.samplers import Compared
from replicate.params import Block, Params, Section, checked, read_document

#: The name of an entry, and of its folder.
_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,59}$")]
#: A section of a parameter file. Its values have the types that `Params` and the models give them.
Options = dict[str, Any]
#: model -> data set -> recipe.
Recipes = dict[str, dict[str, Options]]


class Entry(Section):
    """Models that are trained alike: one kept run.

    Attributes:
        name: of its folder in `results/reference/`, and the preset that its results name.
        about: what it is for, in a sentence.
        seeds: blocks of seeds; a block is one job.
        compute: device (cpu or cuda, never auto: runs of both are not pooled) and threads.
        models: model -> data set -> recipe, which names its epochs.
        samplers: model -> which samplers of Markov chains are compared, as in the parameters.
        seconds_per_epoch: model -> seconds that an epoch of a block takes; used until this machine
            has measured them.
    """

    name: _Name
    about: str
    seeds: tuple[Block, ...] = Field(min_length=1)
    compute: Options
    models: Recipes
    samplers: dict[str, Options] = Field(default_factory=dict)
    seconds_per_epoch: dict[str, PositiveFloat] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _decides_everything(self) -> Self:
        if self.compute.get("device") not in ("cpu", "cuda"):
            raise ValueError("compute.device must be cpu or cuda")
        for model, recipes in self.models.items():
            # The folder of a kept block has no level for data sets.
            if len(recipes) != 1:
                raise ValueError(f"models.{model} must name one data set")
            for dataset, recipe in recipes.items():
                epochs = recipe.get("epochs")
                # `true` is an integer for Python, and would train for one epoch.
                if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
                    raise ValueError(
                        f"models.{model}.{dataset} must name its epochs, a whole number from 1"
                    )
        return self

    @property
    def device(self) -> str:
        """The device of its blocks: cpu or cuda."""
        return str(self.compute["device"])

    @property
    def datasets(self) -> set[str]:
        """The data sets of its models."""
        names: set[str] = set()
        for recipes in self.models.values():
            names |= recipes.keys()
        return names


class ReferencePlan(Section):
    """A plan: what all its entries share, and the entries in order of value."""

    plan: Literal[1]
    likelihood: Options
    selection: Options
    #: Of `--measure` alone: no part of an entry's own parameters, which a block stays with.
    measures: Options = Field(default_factory=dict)
    datasets: dict[str, Options]
    entries: tuple[Entry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [entry.name for entry in self.entries]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"the entry {name} stands in it twice")
        return self

    def params_of(self, entry: Entry) -> Options:
        """The parameters of an entry, as a parameter file holds them."""
        datasets_of_entry = {}
        for dataset, options in self.datasets.items():
            if dataset in entry.datasets:
                # Only those of its models, so that an entry's file says nothing that it does not
                # depend on.
                datasets_of_entry[dataset] = dict(options)
        params: Options = {
            "preset": entry.name,
            "seeds": list(entry.seeds),
            "compute": dict(entry.compute),
            "likelihood": dict(self.likelihood),
            "selection": dict(self.selection),
            "datasets": datasets_of_entry,
            "models": {model: dict(recipes) for model, recipes in entry.models.items()},
        }
        if entry.samplers:
            params["samplers"] = {
                model: dict.fromkeys(entry.models.get(model, ()), options)
                for model, options in entry.samplers.items()
            }
        return params

    def measured_params_of(self, entry: Entry) -> Options:
        """The same with the settings of measures."""
        return {**self.params_of(entry), "measures": dict(self.measures)}


def read_plan(path: Path) -> ReferencePlan:
    """Reads a plan from a file.

    Raises:
        ReplicateError: it is missing or not a plan, each fault with its path in the file.
    """
    raw, shown_path = read_document(str(path))
    if not isinstance(raw, Mapping):
        raise ReplicateError(f"{shown_path}: a plan must be a mapping of names to values.")
    plan = checked(ReferencePlan, raw, shown_path)
    for entry in plan.entries:
        location = f"{shown_path}, entry {entry.name}"
        # As the jobs of the entry will read them, before the first of them runs for hours.
        Params.parse(plan.measured_params_of(entry), location)
        _check_samplers(entry, location)
        _check_models(entry, location)
    return plan


def _check_samplers(entry: Entry, location: str) -> None:
    for model, options in entry.samplers.items():
        if model not in entry.models or model not in models.CHAINS:
            raise ReplicateError(
                f"{location}: samplers.{model}: only models of the entry that Markov chains sample "
                f"have samplers ({', '.join(sorted(models.CHAINS))})."
            )
        checked(Compared, options, location, f"samplers.{model}")


def _check_models(entry: Entry, location: str) -> None:
    for model, recipes in entry.models.items():
        if model not in models.REGISTRY:
            raise ReplicateError(
                f"{location}: there is no model {model!r}; the registered ones are "
                f"{', '.join(models.REGISTRY)}."
            )
        for dataset in recipes:
            if dataset not in datasets.REGISTRY:
                raise ReplicateError(
                    f"{location}: there is no data set {dataset!r}; the registered ones are "
                    f"{', '.join(datasets.REGISTRY)}."
                )
