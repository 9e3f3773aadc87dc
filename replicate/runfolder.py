"""The results of one run, found below a folder by what the files say of themselves, not by their names.

So a run's own folder (`results/evaluation/D/M/B.json`) and a kept one (`M/evaluation.json`) are read alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replicate.errors import ReplicateError
from replicate.files import read_json
from replicate.kept import check_kept
from replicate.params import mapping_of, read_document
from replicate.result import SCHEMA
from replicate.runrecord import record_path

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
        rounded: the same of weights that were exported, hence rounded, and evaluated again; with the training that
            they came from.
        experiments: name -> its result.
        claims: all claims, where the run has them.
        settings: experiment -> its section of the run's parameter file, which kept runs have.
    """

    folder: Path
    models: Models = field(default_factory=dict)
    experiments: dict[str, ResultFile] = field(default_factory=dict)
    claims: ResultFile | None = None
    settings: Mapping[str, Any] | None = None
    rounded: Models = field(default_factory=dict)


def _key(content: Any) -> tuple[str, ...] | None:
    """What a result is of; None for a file that is no result, or of a stage that is not read here."""
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return None
    stage = content.get("stage")
    if stage in JOB_STAGES:
        rounded = ["rounded"] if "rounded" in content else []
        return stage, content["dataset"], content["model"], content["block"], *rounded
    if stage == "experiment":
        return stage, content["experiment"]
    return ("claims",) if stage == "claims" else None


def _is_object(record: Any) -> bool:
    return record is None or isinstance(record, dict)


def _results(folder: Path) -> dict[tuple[str, ...], ResultFile]:
    """Every result below `folder` by what it is of; kept runs that lie below a run's own results are others'."""
    found: dict[tuple[str, ...], ResultFile] = {}
    for path in sorted(folder.rglob("*.json")):
        if path.name.endswith(".run.json") or folder / "reference" in path.parents:
            continue
        content = read_json(path)
        try:
            key = _key(content)
            record = record_path(path)
            found_record = read_json(record) if record.is_file() else None
            if key is not None and not (all(isinstance(word, str) for word in key) and _is_object(found_record)):
                raise TypeError("a name or its run record is of another type")
        except TypeError as error:
            raise ReplicateError(f"{path} is not a whole result: {error}; run its stage again.") from None
        except KeyError as missing:
            raise ReplicateError(
                f"{path} calls itself a result of the stage {content['stage']!r} and has no {missing}; move it away, "
                "or run that stage again."
            ) from None
        if key is None:
            continue
        if key in found:
            raise ReplicateError(
                f"{found[key].path} and {path} are both of {' '.join(key)}; give the folder of one run."
            )
        found[key] = ResultFile(path, content, found_record)
    return found


def read_run(folder: Path) -> RunFolder:
    """Reads the results below a folder.

    Raises:
        ReplicateError: there is no such folder, nothing of a run in it, or more than one run.
    """
    if not folder.is_dir():
        raise ReplicateError(f"{folder} is not a folder; give the folder that holds the results of a run.")
    run = results_below(folder)
    if not run.models and run.claims is None:
        raise ReplicateError(
            f"{folder} holds no evaluation and no claims; run the pipeline first: snakemake --cores 8."
        )
    return run


def results_below(folder: Path) -> RunFolder:
    """The same, also where there is nothing.

    Raises:
        ReplicateError: a file is broken, or two are of the same job; or a kept run is not what its list of files says.
    """
    check_kept(folder)
    document = folder / "params.yaml"
    settings = (mapping_of(*read_document(str(document))).get("experiments") or {}) if document.is_file() else None
    run, claims = RunFolder(folder), None
    for key, result in _results(folder).items():
        if key[0] in JOB_STAGES:
            stage, dataset, model, block, *rounded = key
            models = run.rounded if rounded else run.models
            models.setdefault((dataset, model), {}).setdefault(block, {})[stage] = result
        elif key[0] == "experiment":
            run.experiments[key[1]] = result
        else:
            claims = result
    for cell, blocks in run.rounded.items():
        for block, job in blocks.items():
            training = run.models.get(cell, {}).get(block, {}).get("train")
            job.update({"train": training} if training else {})
    return RunFolder(folder, _evaluated(run.models), run.experiments, claims, settings, _evaluated(run.rounded))


def _evaluated(models: Models) -> Models:
    """The models and blocks of seeds that were evaluated."""
    found = {}
    for cell, blocks in models.items():
        if evaluated := {block: job for block, job in blocks.items() if "evaluate" in job}:
            found[cell] = evaluated
    return found


def kept_runs(folder: Path) -> list[Path]:
    """The folders of the runs that were kept below `folder`: each has its parameter file.

    Raises:
        ReplicateError: there is none.
    """
    if not (found := sorted(path.parent for path in folder.rglob("params.yaml"))):
        raise ReplicateError(f"{folder} holds no kept run (a folder with params.yaml); name one with --reference.")
    return found
