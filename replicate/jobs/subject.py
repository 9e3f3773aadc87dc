"""What a job is about, and the digest of the code that a stage runs on it.

Plan and results have the same digest from here. The module decides which modules are digested and
computes no value of a result, so it is no part of a digest itself (`NOT_FOLLOWED` in
`replicate.jobs.code_digest`).
"""

from dataclasses import dataclass

from replicate import datasets, experiments, models
from replicate.jobs.code_digest import code_digest
from replicate.jobs.layout import STAGES, PlugIn


@dataclass(frozen=True)
class Subject:
    """What a job is about: a data set, a training job on it, an experiment, or the whole run."""

    dataset: str | None = None
    model: str | None = None
    block: str | None = None
    experiment: str | None = None

    @property
    def names(self) -> dict[str, str]:
        """What is there, by name."""
        # In the order of the fields, which is that of folders: data set, model, block.
        return {name: value for name, value in vars(self).items() if value is not None}

    @property
    def path(self) -> str:
        """`digits/vae/0-2`, `digits`, `theory`, or nothing."""
        return "/".join(self.names.values())


#: What the table, the statements and the page are about.
WHOLE_RUN = Subject()
#: Commands that write results and are no part of the pipeline, and whose module they run.
TOOLS: dict[str, PlugIn | None] = {
    "tune": "model",
    "score": "dataset",
    "multiverse": None,
    "round": None,
}


def source_modules(stage: str, subject: Subject) -> list[str]:
    """The modules that a stage runs: its own, and that of the plug-in that it is about."""
    modules = [f"replicate.stages.{stage}"]
    plug_in = TOOLS[stage] if stage in TOOLS else STAGES[stage].plug_in
    dataset, model, experiment = subject.dataset, subject.model, subject.experiment
    if plug_in == "dataset" and dataset is not None:
        modules.append(datasets.REGISTRY[dataset][1])
    elif plug_in == "model" and model is not None:
        modules.append(models.REGISTRY[model][1])
    elif plug_in == "experiment" and experiment is not None:
        modules.append(experiments.REGISTRY[experiment][1])
    elif plug_in == "drawing" and experiment is not None:
        modules.append(experiments.drawing_module(experiment))
    return modules


def source_digest(stage: str, subject: Subject) -> str:
    """The digest of the modules that a stage runs, as its result records it."""
    modules = source_modules(stage, subject)
    return code_digest(modules)
