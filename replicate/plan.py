"""The jobs of a run: what each is given and what it depends on. Knows no engine and loads no torch.

Snakemake's rules, `replicate status` and the tests all read the same plan.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replicate import datasets, models
from replicate.codedigest import code_digest
from replicate.errors import ReplicateError
from replicate.files import canonical_json, sha256_json
from replicate.params import Params

#: The parameter sections that each stage is given; `models` and `datasets` are cut down to the job's own entry.
SECTIONS: dict[str, tuple[str, ...]] = {
    "fetch": (),
    "prepare": ("datasets",),
    "train": ("compute", "likelihood", "selection", "datasets", "models"),
    "sample": ("compute", "likelihood"),
    "bandwidth": ("compute", "likelihood"),
    "evaluate": ("compute",),
    "panels": (),
    "table": ("preset", "seeds", "datasets", "models"),
    "report": ("preset", "seeds", "datasets", "models"),
}
#: Settings of a section that a stage does not read, so that changing them leaves it alone.
UNUSED: dict[str, frozenset[str]] = {
    "train": frozenset({"likelihood.samples", "likelihood.draws"}),
    "sample": frozenset({"likelihood.sigmas", "likelihood.validation_limit"}),
    "bandwidth": frozenset({"likelihood.samples", "likelihood.draws"}),
}


def _narrowed(section: str, value: Any, dataset: str | None, model: str | None, unused: frozenset[str]) -> Any:
    if section == "datasets" and dataset is not None:
        # A model only needs the name of its data set; how the set was cut reaches it as a file.
        return {dataset: {} if model else value.get(dataset) or {}}
    if section == "models" and dataset is not None and model is not None:
        return {model: {dataset: value[model][dataset] or {}}}
    if isinstance(value, Mapping):
        return {key: entry for key, entry in value.items() if f"{section}.{key}" not in unused}
    return value


class Plan:
    """The jobs of the parameters `raw`, a mapping as read from a parameter file."""

    def __init__(self, raw: Mapping[str, Any], where: str = "params.yaml") -> None:
        self.raw = raw
        self.params = Params.parse(raw, where)
        for kind, known, named in (
            ("data set", datasets.REGISTRY, self.params.datasets),
            ("model", models.REGISTRY, self.params.models),
        ):
            for name in named:
                if name not in known:
                    raise ReplicateError(
                        f"{where}: there is no {kind} {name!r}; the registered ones are {', '.join(known)}."
                    )
        if not self.params.runs:
            raise ReplicateError(f"{where}: no model is to be trained; name at least one under `models`.")

    def config(self, stage: str, dataset: str | None = None, model: str | None = None) -> str:
        """The parameters that a job is given, as one line of JSON; a change of them re-runs the job."""
        given = {
            section: _narrowed(section, self.raw[section], dataset, model, UNUSED.get(stage, frozenset()))
            for section in SECTIONS[stage]
            if section in self.raw
        }
        return " ".join(canonical_json(given).split("\n")).strip()

    def logic(self, stage: str, dataset: str | None = None, model: str | None = None) -> str:
        """The digest of the modules that a job runs, as its result records it: its stage, model and data set."""
        entries = [f"replicate.stages.{stage}"]
        if dataset is not None and stage in ("fetch", "prepare"):
            entries.append(datasets.REGISTRY[dataset][1])
        if model is not None and stage in ("train", "sample", "panels"):
            entries.append(models.REGISTRY[model][1])
        return code_digest(entries)

    def code(self, stage: str, dataset: str | None = None, model: str | None = None) -> str:
        """What a job runs, and what it shows of the registries, which no digest of modules follows.

        The table names every data set and model there is, the panels their own; nothing else shows a title.
        """
        shown: list[Any] = []
        if stage == "table":
            shown = [datasets.REGISTRY, models.REGISTRY]
        elif stage == "panels" and dataset is not None and model is not None:
            shown = [datasets.REGISTRY[dataset][0], models.REGISTRY[model][0]]
        digest = self.logic(stage, dataset, model)
        return f"{digest}-{sha256_json(shown)[:8]}" if shown else digest

    def results(self, kind: str, suffix: str = ".json") -> list[str]:
        """The result files of one kind, one per training job, such as `results/evaluation/digits/vae/0-2.json`."""
        return [
            str(Path("results", kind, dataset, model, f"{block}{suffix}")) for dataset, model, block in self.params.runs
        ]
