"""The plan of a run: its parameters, checked and filled in, and what each job depends on. Knows no
engine and loads no torch.

Snakemake's rules, `replicate status` and the tests all read the same plan.
"""

import json
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from replicate import datasets, experiments, models
from replicate.datasets.base import UserDataset
from replicate.errors import ReplicateError
from replicate.jobs.layout import FILES, STAGES
from replicate.jobs.parameter_schema import filled
from replicate.jobs.subject import WHOLE_RUN, Subject, source_digest
from replicate.models.parts.samplers import Compared
from replicate.params import Params, checked
from replicate.storage.files import sha256_json

#: Parameters as a file has them, and the same with all defaults; JSON in both cases.
Values = Mapping[str, Any]
Settings = dict[str, Any]


def images_of(options: Values) -> str:
    """The data set of an experiment on images, from its settings."""
    return str(options.get("dataset", experiments.DEFAULT_DATASET))


class Plan:
    """The jobs of the parameters `raw`, a mapping as read from a parameter file.

    Data sets that users bring themselves and that are not there are left out, with their models, so
    that every stage and both engines see the same run.

    Attributes:
        params: the parameters of what is run.
        raw: the same as they were given.
        given: the same with what is left out.
        where: what the parameters are called in messages.
        absent: data set that was left out -> the table's words, such as "needs FILE (whom to ask)".
        notices: one sentence for each of them, with the path and how to get it.
    """

    def __init__(self, raw: Values, where: str = "params.yaml") -> None:
        self.where = where
        self._folder = datasets.data_folder()
        self.given = raw
        self.raw = raw
        self.params = Params.parse(raw, where)
        # Names first: all that follows looks them up in the registries.
        _check_names(self.params, where)
        _check_images(self.params, where)
        _check_samplers(self.params, where)
        if not self.params.runs:
            raise ReplicateError(
                f"{where}: no model is to be trained; name at least one under `models`."
            )
        self.absent: dict[str, str] = {}
        self.notices: list[str] = []
        self._leave_out_what_is_absent()

    def _leave_out_what_is_absent(self) -> None:
        for name in self.params.datasets:
            dataset, path = self._user_files(name)
            # Sets of the project's own are fetched, and never left out.
            if dataset is None or path is None:
                continue
            missing = dataset.missing(path)
            if missing:
                self.absent[name] = dataset.needs
                self.notices.append(f"left out of this run: {missing}")
        if not self.absent:
            return
        # Parsed anew without them, so that no later question can meet a data set that is not there.
        self.raw = _without(self.raw, self.absent)
        self.params = Params.parse(self.raw, self.where)
        if not self.params.runs:
            reasons = " ".join(self.notices)
            raise ReplicateError(f"{self.where}: nothing is left to run; {reasons}")

    def _user_files(self, name: str) -> tuple[UserDataset, Path] | tuple[None, None]:
        """A data set that users bring themselves, and where it is to lie; None for one of any other
        kind.
        """
        dataset = datasets.load_dataset(name)
        if not isinstance(dataset, UserDataset):
            return None, None
        given = self.params.datasets.get(name, {})
        options = checked(dataset.Config, given, self.where, f"datasets.{name}")
        return dataset, dataset.data_path(self._folder / name, options)

    def stamp(self, name: str) -> str:
        """A text that changes when the user's own files of a data set do, so that `fetch` looks at
        them again.
        """
        dataset, path = self._user_files(name)
        try:
            return dataset.stamp(path) if dataset and path else ""
        except ReplicateError as error:  # `fetch` then meets it too, and ends with it
            return str(error)

    def config(self, stage: str, subject: Subject = WHOLE_RUN) -> str:
        """The parameters that a job is given, as they were written, as one line of JSON."""
        # Raw, since the command is printed: defaults would make every command a page long.
        settings = _of_job(self.raw, stage, subject)
        return json.dumps(settings, sort_keys=True, allow_nan=False)

    def settings(self, stage: str, subject: Subject = WHOLE_RUN) -> Settings:
        """The same with all defaults, by section: a change of them re-runs the job, however they
        are written.
        """
        return _of_job(self.filled, stage, subject)

    @cached_property
    def filled(self) -> Settings:
        """The parameters with all defaults: of sections, data sets, recipes and experiments."""
        params = self.params
        sections: Settings = {"preset": params.preset, "seeds": list(params.seeds)}
        for name in ("compute", "likelihood", "selection", "measures"):
            section = getattr(params, name).model_dump(mode="json")
            sections[name] = filled([name], section)
        sections["datasets"] = {
            name: filled(["datasets", name], options) for name, options in params.datasets.items()
        }
        sections["models"] = _filled_by_model("models", params.models)
        sections["samplers"] = _filled_by_model("samplers", params.samplers)
        sections["experiments"] = {
            name: _filled_experiment(name, options) for name, options in params.experiments.items()
        }
        return sections

    def rerun_key(self, stage: str, subject: Subject = WHOLE_RUN) -> str:
        """What a job runs, and what it shows of the registries, which no digest of modules follows.

        The table names every data set and model there is, the panels their own; nothing else shows
        a title.
        """
        digest = source_digest(stage, subject)
        # Registries are no part of code digests (`jobs/code_digest.py`), so titles are added here.
        titles: list[object] = []
        if stage == "table":
            titles = [datasets.REGISTRY, models.REGISTRY]
        elif stage == "panels" and subject.dataset is not None and subject.model is not None:
            dataset_title = datasets.REGISTRY[subject.dataset][0]
            model_title = models.REGISTRY[subject.model][0]
            titles = [dataset_title, model_title]
        if not titles:
            return digest
        return f"{digest}-{sha256_json(titles)[:8]}"

    def images(self, experiment: str) -> str | None:
        """The data set that an experiment is given; None for one that needs no images."""
        if experiment not in experiments.ON_IMAGES:
            return None
        return images_of(self.params.experiments[experiment])

    def samples(self, experiment: str) -> list[str]:
        """The samples that an experiment is given: of every model of the run on its data set, or
        none.
        """
        if experiment not in experiments.ON_SAMPLES:
            return []
        pattern = FILES["samples"]
        dataset = images_of(self.params.experiments[experiment])
        subjects = [Subject(*run) for run in self.params.runs if run[0] == dataset]
        return [pattern.format(**subject.names) for subject in subjects]

    def measures(self, experiment: str) -> list[str]:
        """The measures that an experiment is given: of every model of the run on its data set, or
        none.
        """
        if experiment not in experiments.ON_MEASURES:
            return []
        dataset = images_of(self.params.experiments[experiment])
        subjects = [Subject(*run) for run in self.params.runs if run[0] == dataset]
        return [FILES["measures"].format(**subject.names) for subject in subjects]

    def trials(self, experiment: str) -> list[str]:
        """The trials of tuning that an experiment is given: those kept of its data set, or none."""
        if experiment not in experiments.ON_TRIALS:
            return []
        dataset = images_of(self.params.experiments[experiment])
        return [FILES["trials"].format(dataset=dataset)]

    @property
    def compared(self) -> list[tuple[str, str, str]]:
        """(data set, model, block) of the training jobs whose samplers are compared."""
        runs = []
        for run in self.params.runs:
            dataset, model, _ = run
            compared_on = self.params.samplers.get(model, {})
            if dataset in compared_on:
                runs.append(run)
        return runs


def _check_names(params: Params, where: str) -> None:
    """Refuses what is not registered, and models on data sets whose space they cannot live in."""
    for kind, registered, names in (
        ("data set", datasets.REGISTRY, params.datasets),
        ("model", models.REGISTRY, params.models),
        ("experiment", experiments.REGISTRY, params.experiments),
    ):
        for name in names:
            # All that there are is named: a slip of the pen is then seen at once.
            if name not in registered:
                raise ReplicateError(
                    f"{where}: there is no {kind} {name!r}; the registered ones are "
                    f"{', '.join(registered)}."
                )
    for model, recipes in params.models.items():
        for dataset in recipes:
            if dataset in datasets.UNBOUNDED and model not in models.UNBOUNDED:
                raise ReplicateError(
                    f"{where}: models.{model}.{dataset}: not applicable, because {model!r} needs "
                    f"pixels in [0, 1] and those of {dataset!r} lie outside; remove the entry "
                    f"(models for such data sets: {', '.join(sorted(models.UNBOUNDED))})."
                )


def _check_samplers(params: Params, where: str) -> None:
    """Refuses samplers that there are not, and models that no Markov chain samples."""
    for model, entries in params.samplers.items():
        if model not in models.CHAINS:
            names = ", ".join(sorted(models.CHAINS))
            raise ReplicateError(
                f"{where}: samplers.{model}: its images are drawn independently; only Markov "
                f"chains are compared ({names})."
            )
        for dataset, options in entries.items():
            checked(Compared, options, where, f"samplers.{model}.{dataset}")
            if dataset not in params.models.get(model, {}):
                raise ReplicateError(
                    f"{where}: samplers.{model}.{dataset}: the run trains no {model!r} on "
                    f"{dataset!r}; add it to `models` or remove it here."
                )


def _check_images(params: Params, where: str) -> None:
    """Refuses an experiment on images whose data set is not part of the run."""
    for name, options in params.experiments.items():
        dataset = images_of(options)
        is_on_images = name in experiments.ON_IMAGES
        if is_on_images and dataset not in params.datasets:
            raise ReplicateError(
                f"{where}: experiments.{name}.dataset: the data set {dataset!r} is not among "
                "`datasets` of this run; add it there or name another one here."
            )


def _without(raw: Values, absent: Collection[str]) -> Settings:
    """The parameters without these data sets, and without the models that are left with none."""
    present = {**raw, "datasets": _names_outside(absent, raw["datasets"])}
    # A model that is left with no data set is no model of this run.
    trained = {}
    for model, recipes in raw["models"].items():
        remaining = _names_outside(absent, recipes)
        if remaining:
            trained[model] = remaining
    present["models"] = trained
    if "samplers" in raw:
        samplers = {}
        # A section or an entry that is left empty in YAML is None.
        for model, entries in (raw["samplers"] or {}).items():
            datasets_of = trained.get(model, {})
            samplers[model] = {
                name: options for name, options in (entries or {}).items() if name in datasets_of
            }
        present["samplers"] = samplers
    if "experiments" in raw:
        studies = {}
        for name, options in (raw["experiments"] or {}).items():
            is_on_images = name in experiments.ON_IMAGES
            if not is_on_images or images_of(options or {}) not in absent:
                studies[name] = options
        present["experiments"] = studies
    return present


def _names_outside(absent: Collection[str], entries: Values) -> Settings:
    return {name: value for name, value in entries.items() if name not in absent}


def _filled_by_model(section: str, entries: Mapping[str, Values]) -> dict[str, Settings]:
    """model -> data set -> settings with their defaults."""
    settings: dict[str, Settings] = {}
    for model, options_of in entries.items():
        by_dataset = {}
        for dataset, options in options_of.items():
            path = [section, model, dataset]
            by_dataset[dataset] = filled(path, options)
        settings[model] = by_dataset
    return settings


def _filled_experiment(experiment: str, options: Values) -> Settings:
    """The settings of an experiment with their defaults.

    On another data set than digits its module may have defaults that only it knows: then they are
    as given.
    """
    on_images = experiment in experiments.ON_IMAGES
    if on_images and images_of(options) != experiments.DEFAULT_DATASET:
        return dict(options)
    settings: Settings = filled(["experiments", experiment], options)
    return settings


def _of_job(sections: Values, stage: str, subject: Subject) -> Settings:
    """What of all sections a job depends on."""
    settings = {}
    for name in STAGES[stage].sections:
        # A section that was not given has its defaults, which are not written into a command.
        if name in sections:
            section = sections[name]
            settings[name] = _of_section(name, section, stage, subject)
    dataset = subject.dataset
    if stage == "fetch" and dataset is not None:
        # A section or an entry that is left empty in YAML is None.
        options_of = sections.get("datasets") or {}
        options = options_of.get(dataset) or {}
        # Of the options only where the files lie: another cut of them is no reason to look anew.
        settings["datasets"] = {dataset: _location(dataset, options)}
    return settings


def _of_section(name: str, section: Any, stage: str, subject: Subject) -> object:
    """A section of the parameters, cut down to what a job depends on."""
    dataset, model, experiment = subject.dataset, subject.model, subject.experiment
    if name == "experiments" and experiment is not None:
        options = section[experiment] or {}
        return {experiment: options}
    if name == "datasets" and dataset is not None:
        # A model only needs the name of its data set; how the set was cut reaches it as a file.
        options = {} if model else section.get(dataset) or {}
        return {dataset: options}
    if name in ("models", "samplers") and dataset is not None and model is not None:
        options = section[model][dataset] or {}
        return {model: {dataset: options}}
    if isinstance(section, Mapping):
        # A change of what a stage does not read must not run it again.
        unused = STAGES[stage].unused
        return {key: value for key, value in section.items() if f"{name}.{key}" not in unused}
    return section


def _location(name: str, options: Values) -> Settings:
    """The options of a data set that say where it lies: all that `fetch` depends on."""
    dataset = datasets.load_dataset(name)
    if not isinstance(dataset, UserDataset):
        return {}
    return {option: value for option, value in options.items() if option in dataset.location}
