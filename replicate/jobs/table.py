"""The table of jobs: every rule of the workflow with what it is about, the files it reads and the files it makes.

The rules below workflow/ declare the same files to Snakemake (a test compares both).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from replicate.files import sha256_json
from replicate.plan import Plan

#: Where what a person may edit lies that the page shows.
TEMPLATES, KEPT = ("report/templates", "report/assets"), ("results/reference", "results/tuning")
PUBLISHED = ("protocol.yaml", "results/published/table1.csv", "results/published/context.csv")


@dataclass(frozen=True)
class Job:
    """One job of a run.

    Attributes:
        rule: its rule in the workflow.
        about: what distinguishes it from the rule's other jobs: `digits/vae/0-2`, `digits`, `theory`, or nothing.
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


def _record(result: str) -> str:
    return f"{result.removesuffix('.json')}.run.json"


def files_below(base: Path, folders: Iterable[str]) -> list[str]:
    """Every visible file below folders of the project, relative to `base`, so that an edit of any is noticed."""
    found = [path for folder in folders for path in (base / folder).rglob("*") if path.is_file()]
    return sorted(str(path.relative_to(base)) for path in found if not path.name.startswith("."))


class Jobs:
    """The jobs of a plan in an order in which they can run, and what each is given.

    Args:
        plan: the run.
        base: the project's folder, to which paths are relative.
    """

    def __init__(self, plan: Plan, base: Path = Path()) -> None:
        self.plan, self.base = plan, base

    @cached_property
    def all(self) -> dict[tuple[str, str], Job]:
        """(rule, what it is about) -> job."""
        found = [*self._data(), *self._runs(), *self._experiments(), *self._ends()]
        return {(job.rule, job.about): job for job in found}

    def _data(self) -> Iterator[Job]:
        for dataset in self.plan.params.datasets:
            stem = f"results/data/{dataset}"
            manifest = f"{stem}.sources.json"
            yield Job("fetch", dataset, ("fetch",), (), (_record(manifest), manifest))
            made = (f"{stem}.run.json", f"{stem}.safetensors", f"{stem}.json")
            yield Job("prepare", dataset, ("prepare",), (manifest,), made)
        for dataset in dict.fromkeys(dataset for dataset, _, _ in self.plan.params.runs):
            stem = f"results/classifier/{dataset}"
            made = (f"{stem}.run.json", f"{stem}.safetensors", f"{stem}.json")
            yield Job("classifier", dataset, ("classifier",), (f"results/data/{dataset}.safetensors",), made)

    def _runs(self) -> Iterator[Job]:
        for dataset, model, block in self.plan.params.runs:
            about = f"{dataset}/{model}/{block}"
            data = f"results/data/{dataset}.safetensors"
            weights, training = f"results/train/{about}.safetensors", f"results/train/{about}.json"
            trained = (_record(training), weights, training)
            yield Job("train", about, ("train",), (data,), trained)
            samples, width = f"results/samples/{about}.safetensors", f"results/bandwidth/{about}.json"
            evaluation = f"results/evaluation/{about}"
            measured = (
                f"{evaluation}.run.json", samples, f"results/samples/{about}.run.json", width, _record(width),
                f"{evaluation}.json", f"{evaluation}.safetensors",
            )  # fmt: skip
            yield Job("measure", about, ("sample", "bandwidth", "evaluate"), (weights, data), measured)
            if (dataset, model, block) in self.plan.compared:
                compared = f"results/samplers/{about}.json"
                yield Job("samplers", about, ("samplers",), (weights, data), (_record(compared), compared))
            classifier = f"results/classifier/{dataset}"
            reads = (
                data, samples, f"{classifier}.safetensors", f"{classifier}.json", weights, training, width,
            )  # fmt: skip
            recognition, panels = f"results/recognition/{about}.json", f"results/panels/{about}"
            shown = (
                f"{panels}/panels.run.json", recognition, _record(recognition), f"{panels}/panels.json",
                f"{panels}/samples.png", f"{panels}/learning.svg", f"{panels}/bandwidth.svg",
            )  # fmt: skip
            yield Job("inspect", about, ("recognise", "panels"), reads, shown, panels)

    def _experiments(self) -> Iterator[Job]:
        for name in self.plan.params.experiments:
            result = f"results/experiments/{name}.json"
            dataset = self.plan.images(name)
            images = (f"results/data/{dataset}.safetensors",) if dataset else ()
            reads = (*images, *self.plan.samples(name), *self.plan.trials(name))
            yield Job("experiment", name, ("experiment",), reads, (_record(result), result))
            folder = f"results/figures/{name}"
            made = (f"{folder}/figures.run.json", f"{folder}/figures.json")
            yield Job("draw", name, ("draw",), (result,), made, folder)

    def _ends(self) -> Iterator[Job]:
        plan = self.plan
        experiments = tuple(f"results/experiments/{name}.json" for name in plan.params.experiments)
        judged = ("results/claims.run.json", "results/claims.json")
        yield Job("claims", "", ("claims",), (PUBLISHED[0], *experiments), judged)
        tables = ("results/table1.run.json", "results/table1.json", "results/table1.csv")
        reads = (*plan.results("evaluation"), *plan.results("train"), *plan.samplers_results, *PUBLISHED)
        yield Job("table", "", ("table",), reads, tables)
        metrics = ("results/metrics.run.json", "results/metrics.json")
        yield Job("metrics", "", ("metrics",), ("results/table1.json",), metrics)
        folder = "results/curves"
        curves = (f"{folder}/curves.run.json", f"{folder}/learning.csv", f"{folder}/bandwidth.csv")
        reads = (*plan.results("train"), *plan.results("bandwidth"))
        yield Job("curves", "", ("curves",), reads, curves)
        page = ("report/index.run.json", "report/index.html")
        yield Job("report", "", ("report",), self._shown(), page)

    def _shown(self) -> tuple[str, ...]:
        plan = self.plan
        data = [f"results/data/{dataset}.json" for dataset in plan.params.datasets]
        experiments = [f"results/figures/{name}/figures.json" for name in plan.params.experiments]
        return (
            "results/table1.json", *data, *plan.results("train"), *plan.results("evaluation"),
            *plan.samplers_results, *plan.results("bandwidth"), *plan.results("panels", "/panels.json"),
            "results/claims.json", *experiments, *plan.results("recognition"), *files_below(self.base, KEPT),
            *files_below(self.base, TEMPLATES),
        )  # fmt: skip

    def given(self, job: Job) -> str:
        """A digest of the parameters of the job with their defaults, blind to what it does not read."""
        about = self.subject(job)
        return sha256_json([self.plan.settings(stage, *about) for stage in job.stages] + self._more(job))

    def _more(self, job: Job) -> list[object]:
        return [self.plan.absent] if job.rule == "table" else []

    def code(self, job: Job) -> str:
        """The digests of the logic of the job's stages."""
        return " ".join(self.plan.code(stage, *self.subject(job)) for stage in job.stages)

    @staticmethod
    def subject(job: Job) -> tuple[str | None, str | None, str | None]:
        """Data set, model and experiment of a job."""
        if job.rule in ("experiment", "draw"):
            return None, None, job.about
        dataset, model, *_ = [*job.about.split("/"), "", ""]
        return dataset or None, model or None, None

    @property
    def shown(self) -> list[Job]:
        """The jobs before the page, all that it may show."""
        return [job for job in self.all.values() if job.rule not in ("metrics", "curves", "report")]
