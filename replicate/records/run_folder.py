"""The results of one run, found below a folder by what the files say of themselves.

Their names do not matter, so a run's own folder (`results/evaluation/D/M/B.json`) and a kept one
(`M/evaluation.json`) are read alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replicate.errors import ReplicateError
from replicate.params import mapping_of, read_document
from replicate.records.earlier_names import OLD_STATEMENTS, refuse_old_statements
from replicate.records.frame import SCHEMA
from replicate.records.kept_runs import LIST, check_kept
from replicate.records.run_record import record_path
from replicate.storage.files import read_json

#: Stages of one training job whose results are read, in their order.
JOB_STAGES = ("train", "bandwidth", "evaluate")


@dataclass(frozen=True)
class ResultFile:
    """A result file, and the run record beside it where one was kept."""

    path: Path
    content: Mapping[str, Any]
    record: Mapping[str, Any] | None


#: Stage -> its result, of one block of seeds.
Job = dict[str, ResultFile]
#: Block of seeds -> its results, for each of a run's models.
Models = dict[tuple[str, str], dict[str, Job]]


@dataclass(frozen=True)
class RunFolder:
    """What a run measured.

    Attributes:
        models: (data set, model) -> block of seeds -> its results; only what was evaluated.
        rounded: the same of weights that were exported, hence rounded, and evaluated again; with
            the training that they came from.
        experiments: name -> its result.
        statements: what the paper states in words, where the run has them.
        settings: experiment -> its section of the run's parameter file, which kept runs have.
    """

    folder: Path
    models: Models = field(default_factory=dict)
    experiments: dict[str, ResultFile] = field(default_factory=dict)
    statements: ResultFile | None = None
    settings: Mapping[str, Any] | None = None
    rounded: Models = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """All files that were read."""
        files = list(self.experiments.values())
        if self.statements is not None:
            files.append(self.statements)
        for models in (self.models, self.rounded):
            for blocks in models.values():
                for job in blocks.values():
                    files += job.values()
        return [file.path for file in files]


def _key(content: object) -> tuple[str, ...] | None:
    """Stage and subject of a result, of which a run has one.

    None for a file that is no result, or of a stage that is not read here. Of the rest of a file
    nothing is asked: it may be of another version.

    Raises:
        KeyError: the result does not say what it is of.
        TypeError: a name is no text.
    """
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return None
    stage = content.get("stage")
    if stage in JOB_STAGES:
        names = [stage, content["dataset"], content["model"], content["block"]]
        # The same block evaluated from rounded weights is no second run of it.
        if "rounded" in content:
            names.append("rounded")
    elif stage == "experiment":
        names = [stage, content["experiment"]]
    elif stage == "statements":
        names = [stage]
    else:
        return None
    if not all(isinstance(name, str) for name in names):
        raise TypeError("a name or its run record is of another type")
    return tuple(names)


def _record(path: Path) -> Mapping[str, Any] | None:
    """The run record beside a result, if there is one."""
    record_file = record_path(path)
    if not record_file.is_file():
        return None
    record = read_json(record_file)
    if record is not None and not isinstance(record, dict):
        raise TypeError("a name or its run record is of another type")
    return record


def _read(path: Path) -> tuple[tuple[str, ...], ResultFile] | None:
    """A result with its run record under its key; None for a file that is not read here."""
    content = read_json(path)
    try:
        key = _key(content)
        if key is None:
            return None
        return key, ResultFile(path, content, _record(path))
    except TypeError as error:
        raise ReplicateError(
            f"{path} is not a whole result: {error}; run its stage again."
        ) from None
    except KeyError as missing:
        raise ReplicateError(
            f"{path} calls itself a result of the stage {content['stage']!r} and has no {missing}; "
            "move it away, or run that stage again."
        ) from None


def _results(folder: Path) -> dict[tuple[str, ...], ResultFile]:
    """Every result below `folder` by stage and subject.

    Kept runs that lie below a run's own results are other runs.
    """
    results: dict[tuple[str, ...], ResultFile] = {}
    # Sorted, so that of two results of one job the same one is always named first.
    for path in sorted(folder.rglob("*.json")):
        # Records are read beside their results, and never taken for results themselves.
        if path.name.endswith(".run.json") or folder / "reference" in path.parents:
            continue
        if path.name == OLD_STATEMENTS:
            refuse_old_statements(path.parent)
        entry = _read(path)
        if entry is None:
            continue
        key, file = entry
        if key in results:
            raise ReplicateError(
                f"{results[key].path} and {path} are both of {' '.join(key)}; "
                "give the folder of one run."
            )
        results[key] = file
    return results


def read_run(folder: Path) -> RunFolder:
    """Reads the results below a folder.

    Raises:
        ReplicateError: there is no such folder, nothing of a run in it, or more than one run.
    """
    if not folder.is_dir():
        raise ReplicateError(
            f"{folder} is not a folder; give the folder that holds the results of a run."
        )
    run = results_below(folder)
    if not run.models and run.statements is None:
        raise ReplicateError(
            f"{folder} holds no evaluation and no statements; "
            "run the pipeline first: snakemake --cores 8."
        )
    return run


def results_below(folder: Path) -> RunFolder:
    """The same, also where there is nothing.

    Raises:
        ReplicateError: a file is broken, or two are of the same job; or a kept run is not what its
            list of files says.
    """
    # Before any number of it is read: a kept run that was edited is refused, not compared.
    check_kept(folder)
    models: Models = {}
    rounded: Models = {}
    experiments: dict[str, ResultFile] = {}
    statements = None
    for key, file in _results(folder).items():
        if key[0] in JOB_STAGES:
            stage, dataset, model, block, *mark = key
            blocks_of_model = rounded if mark else models
            blocks = blocks_of_model.setdefault((dataset, model), {})
            job = blocks.setdefault(block, {})
            job[stage] = file
        elif key[0] == "experiment":
            experiments[key[1]] = file
        else:
            statements = file
    _add_trainings(rounded, models)
    return RunFolder(
        folder=folder,
        models=_evaluated(models),
        experiments=experiments,
        statements=statements,
        settings=_experiment_settings(folder),
        rounded=_evaluated(rounded),
    )


def _experiment_settings(folder: Path) -> Mapping[str, Any] | None:
    """The section `experiments` of a kept run's parameter file."""
    path = folder / "params.yaml"
    if not path.is_file():
        return None
    document, source = read_document(str(path))
    settings: Mapping[str, Any] | None = mapping_of(document, source).get("experiments")
    # Not None, which stands for a run that kept no parameters.
    return settings or {}


def _add_trainings(rounded: Models, models: Models) -> None:
    """Puts the training of the weights that were rounded beside the results of the rounded ones."""
    for cell, blocks in rounded.items():
        trained_blocks = models.get(cell, {})
        for block, job in blocks.items():
            trained_job = trained_blocks.get(block, {})
            if "train" in trained_job:
                job["train"] = trained_job["train"]


def _evaluated(models: Models) -> Models:
    """The models and blocks of seeds that were evaluated."""
    models_with_evaluations: Models = {}
    for cell, blocks in models.items():
        evaluated = {block: job for block, job in blocks.items() if "evaluate" in job}
        if evaluated:
            models_with_evaluations[cell] = evaluated
    return models_with_evaluations


def kept_runs(folder: Path) -> list[Path]:
    """The folders of the runs that were kept below `folder`: each has its parameter file.

    Raises:
        ReplicateError: there is none, or one has lost its parameter file.
    """
    folders = sorted(path.parent for path in folder.rglob("params.yaml"))
    # A list of files without parameters beside it: `check_kept` says what was lost.
    for path in folder.rglob(LIST):
        if path.parent not in folders:
            check_kept(path.parent)
    if not folders:
        raise ReplicateError(
            f"{folder} holds no kept run (a folder with params.yaml); name one with --reference."
        )
    return folders
