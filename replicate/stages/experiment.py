"""Measures what one experiment says about the paper's claims.

python -m replicate experiment --params params.yaml --name theory --out results/experiments/theory.json
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError, understanding
from replicate.experiments import REGISTRY, load_experiment
from replicate.experiments.base import (
    DataConfig,
    Experiment,
    ExperimentConfig,
    Found,
    ModelSamples,
    NotApplicable,
    SampleConfig,
    SampleStudy,
    Study,
    TrialConfig,
    TrialStudy,
)
from replicate.files import write_json
from replicate.params import Params, checked, load_params, seeds_of
from replicate.result import read_result, result
from replicate.runrecord import RunRecord
from replicate.samples import Samples
from replicate.training.backend import configure
from replicate.training.progress import add_state_argument, reporting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--name", required=True, help=f"one of {', '.join(REGISTRY)}")
    parser.add_argument("--data", type=Path, help="prepared data set (safetensors), for an experiment on images")
    parser.add_argument(
        "--samples",
        type=Path,
        nargs="*",
        default=[],
        help="samples of the run's models on it (safetensors), for a study of them",
    )
    parser.add_argument("--trials", type=Path, help="result of `tune` on it (JSON), for a study of tuning")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")
    add_state_argument(parser)


Config = ExperimentConfig | SampleConfig | TrialConfig


def experiment_parameters(params: Params, name: str) -> Config:
    """The experiment's whole config, faults named with their path in the parameters."""
    where, study, given = f"experiments.{name}", load_experiment(name), params.experiments.get(name, {})
    return checked(study.Config, {**study.recipe(given), **given}, params.where, where)


def changed(study: Study, config: Config) -> list[str]:
    """The settings that are not those of the experiment's full form on its data set; the seeds aside."""
    ours = config.model_dump(mode="json", exclude={"seeds"})
    full = study.Config(**study.recipe(ours)).model_dump(mode="json")
    return [name for name, value in ours.items() if name != "dataset" and value != full[name]]


def _steps_between(path: Path, about: Mapping[str, Any]) -> int:
    """The steps of a chain from one kept image to the next; 1 of images that come from no chain."""
    if about["chains"] is None:
        return 1
    # Samples drawn before samplers had names say it among the model's settings.
    sampler = about.get("sampler") or (about.get("parameters") or {}).get("config") or {}
    steps = sampler.get("thinning")
    if not isinstance(steps, int) or steps < 1:
        raise ReplicateError(
            f"{path} does not say how many steps of a chain lie between two of its images; run `sample` again."
        )
    return steps


def read_samples(paths: Sequence[Path], dataset: str) -> dict[str, ModelSamples]:
    """Model -> the first draw of every seed, in the order of the seeds, from files of the stage `sample`."""
    images: dict[str, dict[int, Tensor | None]] = {}
    chains: dict[str, tuple[int | None, int]] = {}
    for path in paths:
        samples = Samples.read(path)
        model = samples.about["model"]
        if samples.about["dataset"] != dataset:
            raise ReplicateError(f"{path} holds samples of {samples.about['dataset']}, and not of {dataset}.")
        of_model = images.setdefault(model, {})
        for seed, draws, _ in samples.per_seed():
            if seed in of_model:
                raise ReplicateError(f"{path} has samples of {model}, seed {seed}, that another file has too.")
            of_model[seed] = None if draws is None else draws[0].clone()  # the other draws can go
        chains[model] = samples.chains, _steps_between(path, samples.about)
    return {model: ModelSamples(dict(sorted(found.items())), *chains[model]) for model, found in images.items()}


def read_trials(path: Path | None, dataset: str) -> dict[str, list[float | None]]:
    """Model -> the validation log-likelihood of each of its trials, None where a seed failed, from a file of `tune`."""
    if path is None:
        raise ReplicateError("this experiment needs the trials of tuning; give them with --trials.")
    content = read_result(path, "tune")
    with understanding(path):
        if content["dataset"] != dataset:
            raise ReplicateError(f"{path} holds trials on {content['dataset']}, and not on {dataset}.")
        return {model: [trial["log_likelihood"] for trial in trials] for model, trials in content["models"].items()}


def _of_trials(study: TrialStudy, config: TrialConfig, path: Path | None) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What the result says, and the numbers of the trials, which take the place of seeds."""
    trials = read_trials(path, config.dataset)
    found = study.judge(config, trials)
    numbers = tuple(range(max(map(len, trials.values()), default=0)))
    _complete(study, found, len(numbers))
    return {"not_applicable": None, "checks": _finite(found.checks), "series": _finite(found.series)}, numbers


def _measured(
    study: Study, config: Config, device: Any, data: Path | None, samples: Sequence[Path]
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """What the result says, and its seeds."""
    assert not isinstance(config, TrialConfig)
    if isinstance(config, DataConfig | SampleConfig) and data is None:
        raise ReplicateError("this experiment needs images; give the prepared data set with --data.")
    splits = Splits.read(data) if data is not None else None
    models: dict[str, ModelSamples] = {}
    if isinstance(config, SampleConfig):
        if not samples:
            raise ReplicateError("this experiment needs the samples of the run's models; give them with --samples.")
        models = read_samples(samples, config.dataset)
        seeds = tuple(sorted({seed for model in models.values() for seed in model.images}))
    else:
        seeds = seeds_of(config.seeds)
    try:
        if isinstance(study, SampleStudy):
            assert splits is not None
            found = study.judge(config, models, seeds, splits)
        else:
            assert isinstance(study, Experiment)
            found = study.run(config, seeds, device, splits)
    except NotApplicable as reason:
        nothing: dict[str, Any] = {"checks": {claim: {} for claim in study.claims}, "series": {}}
        return {"not_applicable": str(reason), **nothing}, seeds
    _complete(study, found, len(seeds))
    return {"not_applicable": None, "checks": _finite(found.checks), "series": _finite(found.series)}, seeds


def _finite(value: Any) -> Any:
    """The same with None for every number that is not finite: of a seed that failed."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _complete(experiment: Study, found: Found, seeds: int) -> None:
    """Refuses an experiment that leaves out one of its claims, or a seed."""
    if set(found.checks) != set(experiment.claims):
        raise AssertionError(f"checks of {sorted(found.checks)} instead of {sorted(experiment.claims)}")
    for claim, checks in found.checks.items():
        for check, value in checks.items():
            if isinstance(value, list) and len(value) != seeds:
                raise AssertionError(f"{claim}, {check}: {len(value)} values of {seeds} seeds")


def run(arguments: argparse.Namespace) -> None:
    """Writes the result and the run record."""
    record = RunRecord("experiment")
    experiment, params = load_experiment(arguments.name), load_params(arguments.params)
    config = experiment_parameters(params, arguments.name)
    backend = configure(params.compute)
    with reporting(arguments.state, f"experiment {arguments.name}"):
        if isinstance(experiment, TrialStudy) and isinstance(config, TrialConfig):
            measured, seeds = _of_trials(experiment, config, arguments.trials)
        else:
            measured, seeds = _measured(experiment, config, backend.device, arguments.data, arguments.samples)
    given = {"config": config.model_dump(mode="json"), "compute": params.compute.model_dump(mode="json")}
    code = code_digest(["replicate.stages.experiment", REGISTRY[arguments.name][1]])
    inputs = {"data": arguments.data} if arguments.data is not None else {}
    inputs |= {f"samples/{number}": path for number, path in enumerate(arguments.samples)}
    inputs |= {"trials": arguments.trials} if arguments.trials is not None else {}
    measured |= {"seeds": list(seeds), "changed": changed(experiment, config)}
    content = result("experiment", code, given, inputs, experiment=arguments.name, **measured)
    write_json(arguments.out, content)
    record.write(arguments.out, **backend.facts)
    outcome = measured["not_applicable"] or f"{sum(map(len, measured['checks'].values()))} checks measured"
    print(f"experiment {arguments.name}: {outcome} -> {arguments.out}")
