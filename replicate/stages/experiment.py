"""Measures what one experiment says about the paper's statements.

python -m replicate experiment --params params.yaml --name theory \\
    --out results/experiments/theory.json
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.samples import Samples
from replicate.errors import ReplicateError
from replicate.experiments import REGISTRY, load_experiment
from replicate.experiments.base import (
    Checks,
    DataConfig,
    Experiment,
    ExperimentConfig,
    MeasureConfig,
    MeasureStudy,
    ModelMeasures,
    ModelSamples,
    NotApplicable,
    SampleConfig,
    SampleStudy,
    Study,
    TrialConfig,
    TrialStudy,
)
from replicate.experiments.base import ExperimentResult as Measurements
from replicate.jobs.subject import Subject
from replicate.measures.ranking import label
from replicate.params import Params, checked, load_params, seeds_of
from replicate.progress.reporting import add_state_argument, reporting
from replicate.records.frame import read_result
from replicate.records.parameters import compute_parameters
from replicate.records.schema import (
    ExperimentParameters,
    ExperimentResult,
    MeasuresOfBlock,
    SamplesAbout,
    Tuning,
)
from replicate.stages.device_job import DeviceJob


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--name", required=True, help=f"one of {', '.join(REGISTRY)}")
    parser.add_argument(
        "--data", type=Path, help="prepared data set (safetensors), for an experiment on images"
    )
    parser.add_argument(
        "--samples",
        type=Path,
        nargs="*",
        default=[],
        help="samples of the run's models on it (safetensors), for a study of them",
    )
    parser.add_argument(
        "--trials", type=Path, help="result of `tune` on it (JSON), for a study of tuning"
    )
    parser.add_argument(
        "--measures",
        type=Path,
        nargs="*",
        default=[],
        help="results of `measures` on the run's models (JSON), for a study of them",
    )
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


Config = ExperimentConfig | SampleConfig | TrialConfig | MeasureConfig


def experiment_parameters(params: Params, name: str) -> Config:
    """The experiment's whole config; faults are named with their path in the parameters."""
    study = load_experiment(name)
    changes = params.experiments.get(name, {})
    # The recipe depends on the changes, as they may name another data set.
    settings = {**study.recipe(changes), **changes}
    prefix = f"experiments.{name}"
    return checked(study.Config, settings, params.where, prefix)


def changed(study: Study, config: Config) -> list[str]:
    """The settings that are not those of the full form on the data set; the seeds aside."""
    settings = config.model_dump(mode="json", exclude={"seeds"})
    recipe = study.recipe(settings)
    # Dumped too, so that a tuple and the list that JSON makes of it are the same setting.
    full_form = study.Config(**recipe).model_dump(mode="json")
    # Another data set is no reduced form: its recipe is the full form there.
    names = [name for name in settings if name != "dataset"]
    return [name for name in names if settings[name] != full_form[name]]


def _steps_between(path: Path, about: SamplesAbout) -> int:
    """The steps of a chain from one of its images to the next; 1 of independent images."""
    if about["chains"] is None:
        return 1
    steps: object = None
    sampler = about.get("sampler")
    config = about.get("parameters", {}).get("config")
    if sampler:
        steps = sampler["thinning"]
    elif isinstance(config, dict):
        # Samples drawn before samplers had names say it among the model's settings.
        steps = config.get("thinning")
    if not isinstance(steps, int) or steps < 1:
        raise ReplicateError(
            f"{path} does not say how many steps of a chain lie between two of its images; "
            "run `sample` again."
        )
    return steps


def read_samples(paths: Sequence[Path], dataset: str) -> dict[str, ModelSamples]:
    """Model -> the first draw of every seed, ascending, from files of the stage `sample`."""
    images: dict[str, dict[int, Tensor | None]] = {}
    chains: dict[str, tuple[int | None, int]] = {}
    for path in paths:
        samples = Samples.read(path)
        about = samples.about
        model = about["model"]
        if about["dataset"] != dataset:
            raise ReplicateError(
                f"{path} holds samples of {about['dataset']}, and not of {dataset}."
            )
        images_by_seed = images.setdefault(model, {})
        for seed, draws, _ in samples.per_seed():
            # Which of both counted would hang on the order of the files.
            if seed in images_by_seed:
                raise ReplicateError(
                    f"{path} has samples of {model}, seed {seed}, that another file has too."
                )
            # a copy, so that the memory of the other draws is freed
            first_draw = None if draws is None else draws[0].clone()
            images_by_seed[seed] = first_draw
        chains[model] = samples.chains, _steps_between(path, about)
    models = {}
    for model, images_by_seed in images.items():
        ascending = dict(sorted(images_by_seed.items()))
        models[model] = ModelSamples(ascending, *chains[model])
    return models


def read_measures(paths: Sequence[Path], dataset: str) -> dict[str, ModelMeasures]:
    """Model -> what the measures say of every seed, from files of the stage `measures`."""
    values: dict[str, dict[int, dict[str, float] | None]] = {}
    samplers: dict[str, str | None] = {}
    gaps: dict[str, dict[int, float]] = {}
    for path in paths:
        content = read_result(path, MeasuresOfBlock)
        if content["dataset"] != dataset:
            raise ReplicateError(f"{path} is of {content['dataset']}, and not of {dataset}.")
        model = content["model"]
        samplers[model] = content["sampler_name"]
        of_model = values.setdefault(model, {})
        for entry in content["per_seed"]:
            if entry["seed"] in of_model:
                raise ReplicateError(
                    f"{path} has measures of {model}, seed {entry['seed']}, that another file has "
                    "too."
                )
            of_seed = {}
            for measured in entry["measures"]:
                if measured["value"] is not None:
                    of_seed[label(measured)] = measured["value"]
                # Of the measures, annealed importance sampling alone has bounds on both sides.
                if "gap" in measured["details"]:
                    gaps.setdefault(model, {})[entry["seed"]] = measured["details"]["gap"]
            # A failed seed stays in, so that no mean is silently one of fewer seeds.
            of_model[entry["seed"]] = None if entry["failed"] else of_seed
    return {
        model: ModelMeasures(dict(sorted(of_model.items())), samplers[model], gaps.get(model, {}))
        for model, of_model in values.items()
    }


def read_trials(path: Path | None, dataset: str) -> dict[str, list[float | None]]:
    """Model -> the validation log-likelihood of each of its trials; None where a seed failed."""
    if path is None:
        raise ReplicateError("this experiment needs the trials of tuning; give them with --trials.")
    content = read_result(path, Tuning)
    if content["dataset"] != dataset:
        raise ReplicateError(f"{path} holds trials on {content['dataset']}, and not on {dataset}.")
    values: dict[str, list[float | None]] = {}
    for model, trials in content["models"].items():
        values[model] = [trial["log_likelihood"] for trial in trials]
    return values


@dataclass(frozen=True)
class _Outcome:
    """What an experiment measured, or why it says nothing.

    Attributes:
        seeds: those of the numbers; of a study of tuning the trials' numbers take their place.
        checks: statement -> check -> one number, or one a seed.
        series: what the figures show.
        not_applicable: why the data set cannot answer, or None.
    """

    seeds: tuple[int, ...]
    checks: Checks
    series: Mapping[str, Any]
    not_applicable: str | None = None

    @classmethod
    def of(cls, study: Study, measured: Measurements, seeds: tuple[int, ...]) -> "_Outcome":
        """What a study measured, once it is complete."""
        checks = measured.checks
        _check_complete(study, checks, len(seeds))
        return cls(seeds, checks, measured.series)

    @classmethod
    def none(cls, study: Study, reason: str, seeds: tuple[int, ...]) -> "_Outcome":
        """Of a data set that cannot answer."""
        # Every statement is there without a check: `statements` then says "not applicable" for
        # each.
        no_checks: Checks = {statement: {} for statement in study.statements}
        return cls(seeds, no_checks, {}, reason)


def _of_trials(study: TrialStudy, config: TrialConfig, path: Path | None) -> _Outcome:
    """What a study of tuning says; its seeds are the numbers of the trials."""
    trials = read_trials(path, config.dataset)
    count = max(map(len, trials.values()), default=0)
    # Trials have no seeds of their own to be named by: all trained the same ones.
    numbers = tuple(range(count))
    measured = study.measure(config, trials)
    return _Outcome.of(study, measured, numbers)


def _of_samples(
    study: SampleStudy[Any], config: SampleConfig, paths: Sequence[Path], splits: Splits
) -> _Outcome:
    """What a study of the run's samples says; its seeds are those of the run."""
    if not paths:
        raise ReplicateError(
            "this experiment needs the samples of the run's models; give them with --samples."
        )
    models = read_samples(paths, config.dataset)
    all_seeds: set[int] = set()
    for model in models.values():
        all_seeds |= model.images.keys()
    seeds = tuple(sorted(all_seeds))
    # The union: a seed that one model lacks counts as failed there, and is not passed over.
    for name, model in models.items():
        models[name] = replace(model, images={seed: model.images.get(seed) for seed in seeds})
    try:
        measured = study.measure(config, models, seeds, splits)
    except NotApplicable as reason:
        return _Outcome.none(study, str(reason), seeds)
    return _Outcome.of(study, measured, seeds)


def _of_measures(study: MeasureStudy, config: MeasureConfig, paths: Sequence[Path]) -> _Outcome:
    """What a study of measures says; its seeds are those of the run."""
    if not paths:
        raise ReplicateError(
            "this experiment needs the measures of the run's models; give them with --measures."
        )
    models = read_measures(paths, config.dataset)
    seeds = tuple(sorted(set().union(*(model.values for model in models.values()))))
    try:
        return _Outcome.of(study, study.measure(config, models, seeds), seeds)
    except NotApplicable as reason:
        return _Outcome.none(study, str(reason), seeds)


def _of_experiment(
    study: Experiment[Any], config: ExperimentConfig, device: torch.device, splits: Splits | None
) -> _Outcome:
    """What an experiment says that trains or computes what it judges."""
    seeds = seeds_of(config.seeds)
    try:
        measured = study.run(config, seeds, device, splits)
    except NotApplicable as reason:
        return _Outcome.none(study, str(reason), seeds)
    return _Outcome.of(study, measured, seeds)


def _outcome(
    study: Study, config: Config, device: torch.device, arguments: argparse.Namespace
) -> _Outcome:
    """What a study of any kind says."""
    if isinstance(config, TrialConfig):
        assert isinstance(study, TrialStudy)
        return _of_trials(study, config, arguments.trials)
    if isinstance(config, MeasureConfig):
        assert isinstance(study, MeasureStudy)
        return _of_measures(study, config, arguments.measures)
    splits = None if arguments.data is None else Splits.read(arguments.data)
    if splits is None and isinstance(config, DataConfig | SampleConfig):
        raise ReplicateError(
            "this experiment needs images; give the prepared data set with --data."
        )
    if isinstance(config, SampleConfig):
        assert isinstance(study, SampleStudy)
        assert splits is not None
        return _of_samples(study, config, arguments.samples, splits)
    assert isinstance(study, Experiment)
    return _of_experiment(study, config, device, splits)


def _finite(value: Any) -> Any:
    """The same with None for every number that is not finite: of a seed that failed."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    # JSON has neither NaN nor infinities.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check_complete(study: Study, checks: Checks, seeds: int) -> None:
    """Refuses an experiment that leaves out a statement or a seed: a defect of its own."""
    expected = set(study.statements)
    if set(checks) != expected:
        raise AssertionError(f"checks of {sorted(checks)} instead of {sorted(expected)}")
    for statement, values in checks.items():
        for check, value in values.items():
            # A single number is one of all seeds together.
            if not isinstance(value, list):
                continue
            count = len(value)
            if count != seeds:
                name = f"{statement}, {check}"
                raise AssertionError(f"{name}: {count} values of {seeds} seeds")


def _input_files(arguments: argparse.Namespace) -> dict[str, Path]:
    files: dict[str, Path] = {}
    if arguments.data is not None:
        files["data"] = arguments.data
    # Numbered, because names of blocks repeat from model to model.
    for number, path in enumerate(arguments.samples):
        files[f"samples/{number}"] = path
    for number, path in enumerate(arguments.measures):
        files[f"measures/{number}"] = path
    if arguments.trials is not None:
        files["trials"] = arguments.trials
    return files


def run(arguments: argparse.Namespace) -> None:
    """Writes the result and the run record."""
    name = arguments.name
    study = load_experiment(name)
    params = load_params(arguments.params)
    config = experiment_parameters(params, name)
    job = DeviceJob("experiment", params.compute)
    with reporting(arguments.state, f"experiment {name}"):
        outcome = _outcome(study, config, job.backend.device, arguments)
    parameters: ExperimentParameters = {
        "config": config.model_dump(mode="json"),
        "compute": compute_parameters(params.compute),
    }
    inputs = _input_files(arguments)
    frame = job.frame(parameters, inputs, Subject(experiment=name))
    content: ExperimentResult = {
        **frame,
        "stage": "experiment",
        "parameters": parameters,
        "experiment": name,
        "seeds": list(outcome.seeds),
        "changed": changed(study, config),
        "not_applicable": outcome.not_applicable,
        "checks": _finite(outcome.checks),
        "series": _finite(outcome.series),
    }
    count = sum(map(len, outcome.checks.values()))
    words = "1 check" if count == 1 else f"{count} checks"
    summary = outcome.not_applicable or f"{words} measured"
    line = f"experiment {name}: {summary} -> {arguments.out}"
    job.write(arguments.out, content, line)
