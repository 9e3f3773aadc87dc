"""The jobs of a run: every rule of the layout filled in for what the run is about."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from replicate.jobs.layout import EVERY, EXPERIMENT, FILES, RULES, RUN, STAGES, Rule
from replicate.jobs.plan import Plan
from replicate.jobs.subject import WHOLE_RUN, Subject
from replicate.storage.files import sha256_json

#: Where what a person may edit lies that the page shows.
TEMPLATES = ("report/templates", "report/assets")
KEPT_RUNS = ("results/reference", "results/tuning")
#: The model whose generator the page computes with: its G is a stack of fully connected layers.
PLAYED = "adversarial_nets"
#: What experiments read, each as far as it needs it.
OF_EXPERIMENTS = ("images", "samples_of_images", "trials_of_images", "measures_of_images")


@dataclass(frozen=True)
class Job:
    """One job of a run.

    Attributes:
        rule: its rule in the workflow.
        about: what distinguishes it from the rule's other jobs: `digits/vae/0-2`, `digits`,
            `theory`, or nothing.
        stages: the commands of `python -m replicate` that it runs.
        inputs: the files that it reads, as declared.
        outputs: the files that it always makes, as declared, the record first.
        folder: all files in it are the job's own, also those that only some jobs make.
    """

    rule: str
    about: str
    stages: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    folder: str | None = None

    @property
    def record(self) -> str:
        """The run record that seals the job."""
        return self.outputs[0]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.rule} {self.about}".rstrip()

    @property
    def subject(self) -> Subject:
        """What it is about, by the names of its rule's wildcards."""
        names = RULES[self.rule].about
        # The empty text would split into one empty name.
        values = self.about.split("/") if names else []
        by_name = dict(zip(names, values, strict=True))
        return Subject(**by_name)


def files_below(base: Path, folders: Iterable[str]) -> list[str]:
    """Every visible file below folders of the project, relative to `base`, so that an edit of any
    is noticed.
    """
    paths: list[str] = []
    for folder in folders:
        files = [path for path in (base / folder).rglob("*") if path.is_file()]
        # Hidden files are those of editors and file systems, such as .DS_Store.
        visible = [path for path in files if not path.name.startswith(".")]
        paths += [str(path.relative_to(base)) for path in visible]
    # The order of a file system differs from machine to machine, and seals hold these names.
    return sorted(paths)


class JobList:
    """The jobs of a plan in an order in which they can run, and what each depends on.

    Args:
        plan: the run.
        base: the project's folder, to which paths are relative.
    """

    def __init__(self, plan: Plan, base: Path = Path()) -> None:
        self.plan = plan
        self.base = base

    @cached_property
    def all(self) -> dict[tuple[str, str], Job]:
        """(rule, what it is about) -> job."""
        jobs = {}
        for rule in RULES:
            for subject in self.subjects(rule):
                job = self._job(rule, subject)
                jobs[rule, job.about] = job
        return jobs

    def _job(self, name: str, subject: Subject) -> Job:
        rule = RULES[name]
        names = subject.names
        inputs = []
        for file in rule.reads:
            inputs += self.files(file, subject)
        outputs = [pattern.format(**names) for pattern in rule.outputs.values()]
        folder = FILES[rule.folder].format(**names) if rule.folder else None
        return Job(name, subject.path, rule.stages, tuple(inputs), tuple(outputs), folder)

    def subjects(self, rule: str) -> Iterator[Subject]:
        """What the jobs of a rule are about."""
        params = self.plan.params
        if rule in ("classifier", "controls"):
            # Of data sets that no model is trained on, nothing is to be recognised or measured.
            names = dict.fromkeys(dataset for dataset, _, _ in params.runs)
            yield from (Subject(dataset=name) for name in names)
        elif rule == "samplers":
            yield from (Subject(*run) for run in self.plan.compared)
        else:
            yield from self._all_subjects(RULES[rule])

    def _all_subjects(self, rule: Rule) -> Iterator[Subject]:
        params = self.plan.params
        if rule.about == RUN:
            yield from (Subject(*run) for run in params.runs)
        elif rule.about == EXPERIMENT:
            yield from (Subject(experiment=name) for name in params.experiments)
        elif rule.about:
            yield from (Subject(dataset=name) for name in params.datasets)
        else:
            yield WHOLE_RUN

    def files(self, name: str, subject: Subject) -> list[str]:
        """The files that a rule reads under a name of the layout; none where it needs none.

        Args:
            name: of one file, or of many.
            subject: what the job is about.
        """
        if name in EVERY:
            return self._every(EVERY[name])
        if name == "kept_runs":
            return files_below(self.base, KEPT_RUNS)
        if name == "templates":
            return files_below(self.base, TEMPLATES)
        if name == "generators":
            names = [run.names for run in self.subjects("train") if run.model == PLAYED]
            # The page computes with the generator itself, so its weights are an input of it.
            return [FILES["weights"].format(**each) for each in names]
        if name in OF_EXPERIMENTS:
            return self._files_of_experiment(name, subject)
        return [FILES[name].format(**subject.names)]

    def _every(self, name: str) -> list[str]:
        """A file of the layout for everything in the run that it can be about."""
        # Of the rule that makes it, since that rule knows which jobs there are.
        (rule,) = [rule for rule, entry in RULES.items() if name in entry.makes]
        pattern = FILES[name]
        return [pattern.format(**subject.names) for subject in self.subjects(rule)]

    def _files_of_experiment(self, name: str, subject: Subject) -> list[str]:
        """What an experiment reads: images, samples of the run's models, or trials of tuning."""
        plan = self.plan
        experiment = subject.experiment
        if experiment is None:
            raise KeyError(name)
        if name == "samples_of_images":
            return plan.samples(experiment)
        if name == "trials_of_images":
            return plan.trials(experiment)
        if name == "measures_of_images":
            return plan.measures(experiment)
        dataset = plan.images(experiment)
        return [FILES["data"].format(dataset=dataset)] if dataset else []

    def command(self, stage: str, job: Job) -> list[str]:
        """The words of `python -m replicate` that make the job's files, one stage of it.

        The parameters stand in it as JSON, cut down to those that the stage depends on.
        """
        subject = job.subject
        values: dict[str, str | list[str]] = dict(subject.names)
        for name in STAGES[stage].names:
            if name == "params":
                values[name] = self.plan.config(stage, subject)
            elif name == "absent":
                # Sorted, so that the printed command is the same however the parameters were
                # written.
                values[name] = json.dumps(self.plan.absent, sort_keys=True)
            elif name not in values:
                values[name] = self.files(name, subject)
        return [stage, *STAGES[stage].words(values)]

    def given(self, job: Job) -> str:
        """A digest of the parameters of the job with their defaults, blind to what it does not
        read.
        """
        settings: list[object] = [self.plan.settings(stage, job.subject) for stage in job.stages]
        if job.rule == "table":
            # Whether a user's data are there is no parameter, and the table says what was left out.
            settings.append(self.plan.absent)
        return sha256_json(settings)

    def code(self, job: Job) -> str:
        """The digests of the logic of the job's stages."""
        subject = job.subject
        # A job runs all of its stages or none, so it hangs on the code of each.
        keys = [self.plan.rerun_key(stage, subject) for stage in job.stages]
        return " ".join(keys)

    @property
    def before_page(self) -> list[Job]:
        """The jobs before the page, all that it may show."""
        # Metrics and curves are for DVC; the page reads what they are made from.
        not_shown = ("metrics", "curves", "report")
        return [job for job in self.all.values() if job.rule not in not_shown]
