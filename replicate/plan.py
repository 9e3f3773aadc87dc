"""The jobs of a run: what each is given and what it depends on. Knows no engine and loads no torch.

Snakemake's rules, `replicate status` and the tests all read the same plan.
"""

from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from replicate import datasets, experiments, models
from replicate.codedigest import code_digest
from replicate.datasets.base import UserDataset
from replicate.errors import ReplicateError
from replicate.files import canonical_json, sha256_json
from replicate.params import Params, checked
from replicate.sampling.settings import Compared
from replicate.schema import filled

#: The parameter sections that each stage is given; `models` and `datasets` are cut down to the job's own entry.
SECTIONS: dict[str, tuple[str, ...]] = {
    "fetch": ("datasets",),
    "prepare": ("datasets",),
    "train": ("compute", "likelihood", "selection", "datasets", "models"),
    "sample": ("compute", "likelihood"),
    "bandwidth": ("compute", "likelihood"),
    "evaluate": ("compute",),
    "samplers": ("compute", "likelihood", "samplers"),
    "classifier": ("compute",),
    "recognise": ("compute",),
    "panels": (),
    "table": ("preset", "seeds", "datasets", "models"),
    "experiment": ("compute", "experiments"),
    "draw": (),
    "claims": ("preset", "experiments"),
    "metrics": (),
    "curves": (),
    "report": ("preset", "seeds", "datasets", "models", "experiments"),
}
#: Settings of a section that a stage does not read, so that changing them leaves it alone.
UNUSED: dict[str, frozenset[str]] = {
    "train": frozenset({"likelihood.samples", "likelihood.draws"}),
    "sample": frozenset({"likelihood.sigmas", "likelihood.validation_limit"}),
    "bandwidth": frozenset({"likelihood.samples", "likelihood.draws"}),
    "samplers": frozenset({"likelihood.draws"}),
}


def _narrowed(
    section: str, value: Any, dataset: str | None, model: str | None, experiment: str | None, unused: frozenset[str]
) -> Any:
    if section == "experiments" and experiment is not None:
        return {experiment: value[experiment] or {}}
    if section == "datasets" and dataset is not None:
        # A model only needs the name of its data set; how the set was cut reaches it as a file.
        return {dataset: {} if model else value.get(dataset) or {}}
    if section in ("models", "samplers") and dataset is not None and model is not None:
        return {model: {dataset: value[model][dataset] or {}}}
    if isinstance(value, Mapping):
        return {key: entry for key, entry in value.items() if f"{section}.{key}" not in unused}
    return value


def _check_names(params: Params, where: str) -> None:
    """Refuses what is not registered, and models on data sets whose space they cannot live in."""
    for kind, known, named in (
        ("data set", datasets.REGISTRY, params.datasets),
        ("model", models.REGISTRY, params.models),
        ("experiment", experiments.REGISTRY, params.experiments),
    ):
        for name in named:
            if name not in known:
                raise ReplicateError(
                    f"{where}: there is no {kind} {name!r}; the registered ones are {', '.join(known)}."
                )
    for model, recipes in params.models.items():
        for dataset in recipes:
            if dataset in datasets.UNBOUNDED and model not in models.UNBOUNDED:
                raise ReplicateError(
                    f"{where}: models.{model}.{dataset}: not applicable, because {model!r} needs pixels in [0, 1] and "
                    f"those of {dataset!r} lie outside; remove the entry (models for such data sets: "
                    f"{', '.join(sorted(models.UNBOUNDED))})."
                )


def _check_samplers(params: Params, where: str) -> None:
    """Refuses samplers that there are not, and models that no Markov chain samples."""
    for model, entries in params.samplers.items():
        if model not in models.CHAINS:
            raise ReplicateError(
                f"{where}: samplers.{model}: its images are drawn independently; only Markov chains are compared "
                f"({', '.join(sorted(models.CHAINS))})."
            )
        for dataset, given in entries.items():
            checked(Compared, given, where, f"samplers.{model}.{dataset}")
            if dataset not in params.models.get(model, {}):
                raise ReplicateError(
                    f"{where}: samplers.{model}.{dataset}: the run trains no {model!r} on {dataset!r}; add it to "
                    "`models` or remove it here."
                )


def _check_images(params: Params, where: str) -> None:
    """Refuses an experiment on images whose data set is not part of the run."""
    for name, options in params.experiments.items():
        if name in experiments.ON_IMAGES and images_of(options) not in params.datasets:
            raise ReplicateError(
                f"{where}: experiments.{name}.dataset: the data set {images_of(options)!r} is not among `datasets` of "
                "this run; add it there or name another one here."
            )


def _without(raw: Mapping[str, Any], absent: Collection[str]) -> dict[str, Any]:
    """The parameters without these data sets, and without the models that are left with none."""
    kept = {name: options for name, options in raw["datasets"].items() if name not in absent}
    recipes = {
        model: {name: changes for name, changes in entries.items() if name not in absent}
        for model, entries in raw["models"].items()
    }
    left = {model: entries for model, entries in recipes.items() if entries}
    found = {**raw, "datasets": kept, "models": left}
    if "samplers" in raw:
        found["samplers"] = {
            model: {name: options for name, options in (entries or {}).items() if name in left.get(model, {})}
            for model, entries in (raw["samplers"] or {}).items()
        }
    if "experiments" in raw:
        found["experiments"] = {
            name: options for name, options in (raw["experiments"] or {}).items()
            if name not in experiments.ON_IMAGES or images_of(options or {}) not in absent
        }  # fmt: skip
    return found


def _location(dataset: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a data set that say where it lies: all that `fetch` depends on."""
    found = datasets.load_dataset(dataset)
    named = found.location if isinstance(found, UserDataset) else frozenset()
    return {name: value for name, value in options.items() if name in named}


def _with_defaults(experiment: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an experiment with their defaults; on another data set than digits, where its module may have
    others that only it knows, as they are given."""
    named = experiment in experiments.ON_IMAGES and images_of(options) != experiments.DEFAULT_DATASET
    settings: dict[str, Any] = dict(options) if named else filled(["experiments", experiment], options)
    return settings


def images_of(options: Mapping[str, Any]) -> str:
    """The data set of an experiment on images, from its settings."""
    return str(options.get("dataset", experiments.DEFAULT_DATASET))


class Plan:
    """The jobs of the parameters `raw`, a mapping as read from a parameter file.

    Data sets that users bring themselves and that are not there are left out, with their models, so that every stage
    and both engines see the same run.

    Attributes:
        params: the parameters of what is run.
        raw: the same as they were given.
        given: the same with what is left out.
        where: what the parameters are called in messages.
        absent: data set that was left out -> the table's words, such as "needs FILE (whom to ask)".
        notices: one sentence for each of them, with the path and how to get it.
    """

    def __init__(self, raw: Mapping[str, Any], where: str = "params.yaml") -> None:
        self.where, self._folder = where, datasets.data_folder()
        self.given, self.raw, self.params = raw, raw, Params.parse(raw, where)
        _check_names(self.params, where)
        _check_images(self.params, where)
        _check_samplers(self.params, where)
        if not self.params.runs:
            raise ReplicateError(f"{where}: no model is to be trained; name at least one under `models`.")
        self.absent: dict[str, str] = {}
        self.notices: list[str] = []
        for name in self.params.datasets:
            dataset, path = self._brought(name)
            sentence = dataset.missing(path) if dataset and path else None
            if dataset and sentence:
                self.absent[name] = dataset.needs
                self.notices.append(f"left out of this run: {sentence}")
        if self.absent:
            self.raw = _without(raw, self.absent)
            self.params = Params.parse(self.raw, where)
            if not self.params.runs:
                raise ReplicateError(f"{where}: nothing is left to run; {' '.join(self.notices)}")

    def _brought(self, name: str) -> tuple[UserDataset, Path] | tuple[None, None]:
        """A data set that users bring themselves, and where it is to lie; None for one of any other kind."""
        dataset = datasets.load_dataset(name)
        if not isinstance(dataset, UserDataset):
            return None, None
        options = checked(dataset.Config, self.params.datasets.get(name, {}), self.where, f"datasets.{name}")
        return dataset, dataset.place(self._folder / name, options)

    def stamp(self, dataset: str) -> str:
        """A text that changes when the user's own files of a data set do, so that `fetch` looks at them again."""
        found, path = self._brought(dataset)
        try:
            return found.stamp(path) if found and path else ""
        except ReplicateError as error:  # `fetch` then meets it too, and ends with it
            return str(error)

    def config(
        self, stage: str, dataset: str | None = None, model: str | None = None, experiment: str | None = None
    ) -> str:
        """The parameters that a job is given, as they were written, as one line of JSON."""
        given = self._of_job(self.raw, stage, dataset, model, experiment)
        return " ".join(canonical_json(given).split("\n")).strip()

    def settings(
        self, stage: str, dataset: str | None = None, model: str | None = None, experiment: str | None = None
    ) -> dict[str, Any]:
        """The same with all defaults, by section: a change of them re-runs the job, however they are written."""
        return self._of_job(self.filled, stage, dataset, model, experiment)

    @cached_property
    def filled(self) -> dict[str, Any]:
        """The parameters with all defaults: of sections, data sets, recipes and experiments."""
        params = self.params
        whole = {name: getattr(params, name).model_dump(mode="json") for name in ("compute", "likelihood", "selection")}
        return {
            "preset": params.preset,
            "seeds": list(params.seeds),
            **{name: filled([name], section) for name, section in whole.items()},
            "datasets": {name: filled(["datasets", name], options) for name, options in params.datasets.items()},
            "models": {
                model: {dataset: filled(["models", model, dataset], changes) for dataset, changes in recipes.items()}
                for model, recipes in params.models.items()
            },
            "samplers": {
                model: {dataset: filled(["samplers", model, dataset], options) for dataset, options in entries.items()}
                for model, entries in params.samplers.items()
            },
            "experiments": {name: _with_defaults(name, options) for name, options in params.experiments.items()},
        }

    @staticmethod
    def _of_job(
        sections: Mapping[str, Any], stage: str, dataset: str | None, model: str | None, experiment: str | None
    ) -> dict[str, Any]:
        """What of all sections a job depends on."""
        given = {
            section: _narrowed(section, sections[section], dataset, model, experiment, UNUSED.get(stage, frozenset()))
            for section in SECTIONS[stage]
            if section in sections
        }
        if stage == "fetch" and dataset is not None:
            given["datasets"] = {dataset: _location(dataset, (sections.get("datasets") or {}).get(dataset) or {})}
        return given

    def logic(
        self, stage: str, dataset: str | None = None, model: str | None = None, experiment: str | None = None
    ) -> str:
        """The digest of the modules that a job runs, as its result records it: its stage, and what it is about."""
        entries = [f"replicate.stages.{stage}"]
        if dataset is not None and stage in ("fetch", "prepare"):
            entries.append(datasets.REGISTRY[dataset][1])
        if model is not None and stage in ("train", "sample", "samplers", "panels"):
            entries.append(models.REGISTRY[model][1])
        if experiment is not None:
            drawn = stage == "draw"
            entries.append(experiments.drawing_module(experiment) if drawn else experiments.REGISTRY[experiment][1])
        return code_digest(entries)

    def code(
        self, stage: str, dataset: str | None = None, model: str | None = None, experiment: str | None = None
    ) -> str:
        """What a job runs, and what it shows of the registries, which no digest of modules follows.

        The table names every data set and model there is, the panels their own; nothing else shows a title.
        """
        shown: list[Any] = []
        if stage == "table":
            shown = [datasets.REGISTRY, models.REGISTRY]
        elif stage == "panels" and dataset is not None and model is not None:
            shown = [datasets.REGISTRY[dataset][0], models.REGISTRY[model][0]]
        digest = self.logic(stage, dataset, model, experiment)
        return f"{digest}-{sha256_json(shown)[:8]}" if shown else digest

    def images(self, experiment: str) -> str | None:
        """The data set that an experiment is given; None for one that needs no images."""
        return images_of(self.params.experiments[experiment]) if experiment in experiments.ON_IMAGES else None

    def samples(self, experiment: str) -> list[str]:
        """The samples that an experiment is given: of every model of the run on its data set, or none."""
        if experiment not in experiments.ON_SAMPLES:
            return []
        dataset = images_of(self.params.experiments[experiment])
        return [
            f"results/samples/{dataset}/{model}/{block}.safetensors"
            for of, model, block in self.params.runs
            if of == dataset
        ]

    @property
    def compared(self) -> list[tuple[str, str, str]]:
        """(data set, model, block) of the training jobs whose samplers are compared."""
        wanted = self.params.samplers
        return [run for run in self.params.runs if run[0] in wanted.get(run[1], {})]

    @property
    def samplers_results(self) -> list[str]:
        """The results of the stage `samplers`."""
        return [f"results/samplers/{dataset}/{model}/{block}.json" for dataset, model, block in self.compared]

    def trials(self, experiment: str) -> list[str]:
        """The trials of tuning that an experiment is given: those kept of its data set, or none."""
        if experiment not in experiments.ON_TRIALS:
            return []
        return [f"results/tuning/{images_of(self.params.experiments[experiment])}.json"]

    def results(self, kind: str, suffix: str = ".json") -> list[str]:
        """The result files of one kind, one per training job, such as `results/evaluation/digits/vae/0-2.json`."""
        return [
            str(Path("results", kind, dataset, model, f"{block}{suffix}")) for dataset, model, block in self.params.runs
        ]
