"""Tries settings of models on validation images, with the same number of trials for every model.

The trials are fixed in a file (tuning/DATASET.yaml), each a few settings on top of the model's
defaults. A trial trains seeds of its own, which no run uses, and counts as the mean of their best
validation log-likelihoods; test images are never read. The winner of each model is its recipe in
replicate/models (a test compares them). Trials that the result already holds, made by the same
code, are not run again.

  python -m replicate tune --trials tuning/digits.yaml --data results/data/digits.safetensors \\
      --out results/tuning/digits.json
  python -m replicate tune --trials tuning/digits.yaml --data results/data/digits.safetensors \\
      --out results/tuning/digits.json --model vae --model rbm
"""

import argparse
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import AfterValidator, Field, PositiveInt

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.jobs.subject import Subject, source_digest
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
from replicate.progress.reporting import Progress
from replicate.records.frame import read_result
from replicate.records.kept_runs import keep_in_list
from replicate.records.parameters import compute_parameters
from replicate.records.schema import Trial, Tuning, TuningParameters
from replicate.stages.device_job import DeviceJob
from replicate.stages.train import sweep_for
from replicate.storage.files import sha256_file, sha256_json, write_json
from replicate.storage.turns import turn
from replicate.training.backend import Backend
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.sweep import History


class Candidates(Section):
    """The trials of one model."""

    common: Options = Field(default_factory=dict)
    trials: tuple[Options, ...]


def _known_block(block: str) -> str:
    """The same block; ValueError where it is none, as `seeds_of`."""
    seeds_of(block)
    return block


class Trials(Section):
    """The trials file: one budget for every model.

    Attributes:
        budget: trials of every model.
        seeds: block of seeds that every trial trains.
    """

    dataset: str
    budget: PositiveInt
    seeds: Annotated[Block, AfterValidator(_known_block)]
    compute: Compute = Compute()
    selection: Selection = Selection()
    likelihood: Likelihood = Likelihood()
    models: dict[str, Candidates]


def read_trials(path: Path) -> Trials:
    """The checked trials file; a model with more or fewer trials than the budget is refused."""
    raw, where = read_document(str(path))
    if not isinstance(raw, dict):
        raise ReplicateError(
            f"{where}: the trials must be a mapping with `dataset`, `budget`, `seeds` and `models`."
        )
    trials = checked(Trials, raw, where)
    for name, candidates in trials.models.items():
        if name not in REGISTRY:
            raise ReplicateError(
                f"{where}: models.{name}: there is no such model; there are {', '.join(REGISTRY)}."
            )
        # An equal budget is the point: a model that is tried more often looks better.
        if len(candidates.trials) != trials.budget:
            raise ReplicateError(
                f"{where}: models.{name} has {len(candidates.trials)} trials; "
                f"the budget of every model is {trials.budget}."
            )
    return trials


def configs_of(trials: Trials, model: str, where: str = "trials") -> list[ModelConfig]:
    """The whole config of each trial of a model: defaults, `common`, and the trial's changes."""
    kind = load_model(model).Config
    candidates = trials.models[model]
    configs = []
    for number, changes in enumerate(candidates.trials):
        settings = {**candidates.common, **changes}
        prefix = f"models.{model}.trials[{number}]"
        configs.append(checked(kind, settings, where, prefix=prefix))
    return configs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument(
        "--trials", type=Path, required=True, help="the trials (YAML), such as tuning/digits.yaml"
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument(
        "--out", type=Path, required=True, help="result (JSON); grows by every trial"
    )
    parser.add_argument(
        "--model", action="append", help="only this model (may be repeated; default: all)"
    )
    parser.add_argument(
        "--state", type=Path, default=Path(".replicate"), help="folder for checkpoints and progress"
    )


@dataclass(frozen=True)
class _Tuner:
    """What all trials have in common.

    Attributes:
        trials: the trials file.
        splits: the prepared data set, and the SHA-256 of its file.
        state: folder for checkpoints and progress.
    """

    trials: Trials
    splits: Splits
    data_sha256: str
    backend: Backend
    state: Path

    def key(self, config: ModelConfig, code: str) -> str:
        """Digest of everything that decides what a trial measures."""
        trials = self.trials
        return sha256_json(
            {
                "config": config.model_dump(mode="json"),
                "seeds": trials.seeds,
                "data": self.data_sha256,
                "selection": trials.selection.model_dump(mode="json"),
                "likelihood": trials.likelihood.model_dump(mode="json"),
                # Device and threads too: the digits of a sum depend on them.
                "compute": trials.compute.model_dump(mode="json"),
                "code": code,
            }
        )

    def _label(self, model: str, key: str) -> str:
        """The name of a trial's state: an interrupted trial goes on, and a changed one starts anew,
        as does one on another machine or with other versions, which would end in other bits.
        """
        decisive = {
            "key": key,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "backend": self.backend.facts,
        }
        digest = sha256_json(decisive)
        return f"{self.trials.dataset}-{model}-{digest[:16]}"

    def _checkpoints(self, model: str, key: str) -> CheckpointFolder:
        return CheckpointFolder(self.state / "tuning" / self._label(model, key))

    def forget(self, model: str, key: str) -> None:
        """Removes the state of a trial whose result is written: it is never made longer."""
        checkpoints = self._checkpoints(model, key)
        if not checkpoints.folder.is_dir():
            return
        # Where another process is at it, it will remove it itself.
        with suppress(ReplicateError), checkpoints.locked():
            checkpoints.remove()

    def trained(self, model: str, config: ModelConfig, key: str) -> tuple[History, float]:
        """Trains the seeds of a trial: what they looked like, and the seconds that it took."""
        started = time.monotonic()
        trials = self.trials
        kind = load_model(model)
        seeds = seeds_of(trials.seeds)
        params = Params(
            compute=trials.compute, selection=trials.selection, likelihood=trials.likelihood
        )
        label = self._label(model, key)
        checkpoints = self._checkpoints(model, key)
        progress_path = self.state / "progress" / f"{label}.json"
        progress = Progress(progress_path, f"tuning {label}", config.epochs)
        with checkpoints.locked():
            sweep = sweep_for(params, config, kind, seeds, self.splits, self.backend, checkpoints)
            if not sweep.run(progress):
                # A signal: the state is saved, and the same command goes on from it.
                raise KeyboardInterrupt
        seconds = time.monotonic() - started
        return sweep.history, round(seconds, 1)

    def earlier(
        self, model: str, configs: Sequence[ModelConfig], trials: Sequence[Trial]
    ) -> dict[int, Trial]:
        """Number -> trial, of those that an earlier run has measured by the same code.

        Args:
            configs: of the model's trials, in their order.
            trials: of the earlier run, in any order.
        """
        code = source_digest("tune", Subject(model=model))
        # Of two with one recipe the first counts.
        by_key = {trial["key"]: trial for trial in reversed(trials)}
        measured = {}
        for number, config in enumerate(configs):
            key = self.key(config, code)
            if key in by_key:
                # The key says what was measured; where it stands in the file may have changed.
                trial = by_key[key].copy()
                trial["trial"] = number
                trial["changes"] = self.trials.models[model].trials[number]
                trial["seeds"] = self.trials.seeds
                measured[number] = trial
        return measured

    def trial(self, model: str, number: int, config: ModelConfig) -> Trial:
        """One trial of a model, measured now."""
        code = source_digest("tune", Subject(model=model))
        key = self.key(config, code)
        history, seconds = self.trained(model, config, key)
        return {
            "trial": number,
            "changes": self.trials.models[model].trials[number],
            "seeds": self.trials.seeds,
            "key": key,
            "code": code,
            "config": config.model_dump(mode="json"),
            "epochs": config.epochs,
            "log_likelihood": _mean(history),
            "per_seed": history.chosen_log_likelihood,
            "chosen_epoch": history.chosen_epoch,
            "failed": history.failed,
            "seconds": seconds,
        }


def _mean(history: History) -> float | None:
    """The mean over seeds of the best validation log-likelihood; None if a seed failed."""
    best_values = history.chosen_log_likelihood
    values = [value for value in best_values if value is not None]
    is_complete = len(values) == len(best_values)
    # A recipe that some seeds do not survive is not a better one for its other seeds.
    if history.failed or not is_complete:
        return None
    mean = np.mean(values)
    return float(mean)


def run(arguments: argparse.Namespace) -> None:
    """Runs the trials that the result does not hold yet; the result is written after each."""
    trials = read_trials(arguments.trials)
    job = DeviceJob("tune", trials.compute)
    splits = Splits.read(arguments.data)
    if splits.fold_count > 1:
        raise ReplicateError(
            f"{arguments.data} has folds, each of whose validation images are test images of "
            "another one; there are none to choose settings by."
        )
    models = arguments.model or list(trials.models)
    for model in models:
        if model not in trials.models:
            raise ReplicateError(
                f"{arguments.trials} has no trials of {model!r}; it has {', '.join(trials.models)}."
            )
    digest = sha256_file(arguments.data)
    tuner = _Tuner(trials, splits, digest, job.backend, arguments.state)
    own: dict[str, list[Trial]] = {}
    for model in models:
        configs = configs_of(trials, model, str(arguments.trials))
        # A trial that the file no longer has must not stay in the result; those that it still has
        # stay while earlier ones are measured, whatever ends this command.
        done = tuner.earlier(model, configs, _kept(arguments.out).get(model, []))
        for number, config in enumerate(configs):
            if number not in done:
                done[number] = tuner.trial(model, number, config)
            trial = done[number]
            own[model] = [done[place] for place in sorted(done)]
            # After every trial: each may have taken an hour.
            # Read again: another command may have added trials of other models meanwhile.
            with turn(_lock_of(arguments)):
                _write(arguments, job, trials, _kept(arguments.out) | own)
            tuner.forget(model, trial["key"])
            value = trial["log_likelihood"]
            outcome = "a seed failed"
            if value is not None:
                outcome = f"validation {value:.2f} nats"
            position = f"{number + 1}/{trials.budget}"
            line = f"tune {trials.dataset} {model} {position}: {outcome}  {trial['changes']}"
            print(line, flush=True)
    job.close(arguments.out)
    keep_in_list(arguments.out.with_suffix(".run.json"))


def _kept(out: Path) -> dict[str, list[Trial]]:
    """Model -> its trials in a result, which may be there already."""
    if not out.is_file():
        return {}
    return dict(read_result(out, Tuning)["models"])


def _lock_of(arguments: argparse.Namespace) -> Path:
    """The file of the lock that other commands wait for which would add trials to the result."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(arguments.out))).hexdigest()
    file: Path = arguments.state / "tuning" / f"{name[:16]}.lock"
    return file


def _write(
    arguments: argparse.Namespace,
    job: DeviceJob,
    trials: Trials,
    results: Mapping[str, list[Trial]],
) -> None:
    """Writes the trials that are done, of the models of the trials file."""
    parameters: TuningParameters = {
        "dataset": trials.dataset,
        "budget": trials.budget,
        "seeds": trials.seeds,
        "compute": compute_parameters(trials.compute),
        "selection": {"every": trials.selection.every, "samples": trials.selection.samples},
        "likelihood": trials.likelihood.model_dump(mode="json"),
    }
    inputs = {"trials": arguments.trials, "data": arguments.data}
    content: Tuning = {
        **job.frame(parameters, inputs),
        "stage": "tune",
        "parameters": parameters,
        "dataset": trials.dataset,
        "budget": trials.budget,
        # Models that this command was not asked for keep what they have.
        "models": {model: results[model] for model in trials.models if results.get(model)},
    }
    write_json(arguments.out, content)
    keep_in_list(arguments.out)
