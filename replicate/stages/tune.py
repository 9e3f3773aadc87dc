"""Tries settings of models on a data set's validation images: every model gets the same number of trials.

The trials are fixed in a file (tuning/DATASET.yaml), each a setting on top of the model's defaults. A trial trains its
own seeds, which no run uses, and counts as the mean of their best validation log-likelihoods; test images are never
read. The winner of each model is its recipe in replicate/models (a test compares them). Trials that the result
already holds, made by the same code, are not run again.

  python -m replicate tune --trials tuning/digits.yaml --data results/data/digits.safetensors \\
      --out results/tuning/digits.json
  python -m replicate tune --trials tuning/digits.yaml --data results/data/digits.safetensors \\
      --out results/tuning/digits.json --model vae --model rbm
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field, PositiveInt

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError, understanding
from replicate.files import sha256_file, sha256_json, write_json
from replicate.models import REGISTRY, load_model
from replicate.models.base import ModelConfig
from replicate.params import (
    Block,
    Compute,
    Likelihood,
    Options,
    Params,
    Section,
    Selection,
    checked,
    read_document,
    seeds_of,
)
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.stages.train import sweep_for
from replicate.training.backend import Backend, configure
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.progress import Progress


class Candidates(Section):
    """The trials of one model."""

    common: Options = Field(default_factory=dict)
    trials: tuple[Options, ...]


class Trials(Section):
    """The trials file: one budget for every model.

    Attributes:
        budget: trials of every model.
        seeds: block of seeds that every trial trains.
        why: what the file is for.
    """

    dataset: str
    budget: PositiveInt
    seeds: Block
    compute: Compute = Compute()
    selection: Selection = Selection()
    likelihood: Likelihood = Likelihood()
    models: dict[str, Candidates]


def read_trials(path: Path) -> Trials:
    """The checked trials file; a model with more or fewer trials than the budget is refused."""
    raw, where = read_document(str(path))
    if not isinstance(raw, dict):
        raise ReplicateError(f"{where}: the trials must be a mapping with `dataset`, `budget`, `seeds` and `models`.")
    trials = checked(Trials, raw, where)
    for name, candidates in trials.models.items():
        if name not in REGISTRY:
            raise ReplicateError(f"{where}: models.{name}: there is no such model; there are {', '.join(REGISTRY)}.")
        if len(candidates.trials) != trials.budget:
            raise ReplicateError(
                f"{where}: models.{name} has {len(candidates.trials)} trials; the budget of every model is "
                f"{trials.budget}."
            )
    return trials


def settings(trials: Trials, model: str, where: str = "trials") -> list[ModelConfig]:
    """The whole config of every trial of a model: its defaults, `common`, and the trial's own changes."""
    candidates = trials.models[model]
    return [
        checked(
            load_model(model).Config, {**candidates.common, **changes}, where, prefix=f"models.{model}.trials[{at}]"
        )
        for at, changes in enumerate(candidates.trials)
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--trials", type=Path, required=True, help="the trials (YAML), such as tuning/digits.yaml")
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON); grows by every trial")
    parser.add_argument("--model", action="append", help="only this model (may be repeated; default: all)")
    parser.add_argument("--state", type=Path, default=Path(".replicate"), help="folder for checkpoints and progress")


def _trial(
    trials: Trials, model: str, config: ModelConfig, splits: Splits, backend: Backend, state: Path, label: str
) -> dict[str, Any]:
    """Trains the seeds of one trial; what it measured."""
    started = time.monotonic()
    params = Params(compute=trials.compute, selection=trials.selection, likelihood=trials.likelihood)
    checkpoints = CheckpointFolder(state / "tuning" / label)
    seeds = seeds_of(trials.seeds)
    with checkpoints.locked():
        sweep = sweep_for(params, config, load_model(model), seeds, splits, backend, checkpoints)
        if not sweep.run(Progress(state / "progress" / f"{label}.json", f"tuning {label}", config.epochs)):
            raise KeyboardInterrupt
        checkpoints.remove()
    best = sweep.history.chosen_log_likelihood
    found = [value for seed, value in zip(seeds, best, strict=True) if str(seed) not in sweep.history.failed]
    whole = len(found) == len(seeds) and None not in found
    return {
        "log_likelihood": float(np.mean([value for value in found if value is not None])) if whole else None,
        "per_seed": best,
        "chosen_epoch": sweep.history.chosen_epoch,
        "failed": sweep.history.failed,
        "seconds": round(time.monotonic() - started, 1),
    }


def _known(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The trials of a result that was written before, by model."""
    content = read_result(path, "tune")
    with understanding(path):
        found = {str(name): [dict(entry) for entry in trials] for name, trials in content["models"].items()}
        for entry in (entry for trials in found.values() for entry in trials):
            if not isinstance(entry["key"], str) or not isinstance(entry["log_likelihood"], float | None):
                raise TypeError("a trial has no key, or its log-likelihood is no number")
    return found


def run(arguments: argparse.Namespace) -> None:
    """Runs the trials that the result does not hold yet; the result is written after each."""
    record = RunRecord("tune")
    trials = read_trials(arguments.trials)
    splits, backend = Splits.read(arguments.data), configure(trials.compute)
    if splits.fold_count > 1:
        raise ReplicateError(
            f"{arguments.data} has folds, each of whose validation images are test images of another one; there are "
            "none to choose settings by."
        )
    wanted = arguments.model or list(trials.models)
    for model in wanted:
        if model not in trials.models:
            raise ReplicateError(f"{arguments.trials} has no trials of {model!r}; it has {', '.join(trials.models)}.")
    before = _known(arguments.out) if arguments.out.is_file() else {}
    data = sha256_file(arguments.data)
    done: dict[str, list[dict[str, Any]]] = {name: before.get(name, []) for name in trials.models}
    for model in wanted:
        code = code_digest(["replicate.stages.tune", REGISTRY[model][1]])
        old, done[model] = done[model], []
        for number, config in enumerate(settings(trials, model, str(arguments.trials))):
            given = {
                "config": config.model_dump(mode="json"), "seeds": trials.seeds, "data": data,
                "selection": trials.selection.model_dump(mode="json"),
                "likelihood": trials.likelihood.model_dump(mode="json"),
                "compute": trials.compute.model_dump(mode="json"),
            }  # fmt: skip
            key = sha256_json({**given, "code": code})
            entry = next((known for known in old if known["key"] == key), None)
            if entry is None:
                label = f"{trials.dataset}-{model}-{key[:16]}"
                measured = _trial(trials, model, config, splits, backend, arguments.state, label)
                entry = {"key": key, "code": code, "config": given["config"], "epochs": config.epochs, **measured}
            changes = trials.models[model].trials[number]
            done[model].append({**entry, "trial": number, "changes": changes, "seeds": trials.seeds})
            _write(arguments, trials, done)
            value = entry["log_likelihood"]
            shown = "a seed failed" if value is None else f"validation {value:.2f} nats"
            print(f"tune {trials.dataset} {model} {number + 1}/{trials.budget}: {shown}  {changes}", flush=True)
    record.write(arguments.out, **backend.facts)


def _write(arguments: argparse.Namespace, trials: Trials, done: dict[str, list[dict[str, Any]]]) -> None:
    shared = trials.model_dump(mode="json", exclude={"models"})
    files = {"trials": arguments.trials, "data": arguments.data}
    content = result("tune", code_digest(["replicate.stages.tune"]), shared, files, dataset=trials.dataset,
                     budget=trials.budget, models={name: found for name, found in done.items() if found})  # fmt: skip
    write_json(arguments.out, content)
