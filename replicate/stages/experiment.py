"""Measures what one experiment says about the paper's claims.

python -m replicate experiment --params params.yaml --name theory --out results/experiments/theory.json
"""

import argparse
from pathlib import Path
from typing import Any

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.experiments import REGISTRY, load_experiment
from replicate.experiments.base import DataConfig, Experiment, ExperimentConfig, Found, NotApplicable
from replicate.files import write_json
from replicate.params import Params, checked, load_params, seeds_of
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.training.backend import configure


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", default="{}", help="parameter file, or inline JSON")
    parser.add_argument("--name", required=True, help=f"one of {', '.join(REGISTRY)}")
    parser.add_argument("--data", type=Path, help="prepared data set (safetensors), for an experiment on images")
    parser.add_argument("--out", type=Path, required=True, help="result (JSON)")


def experiment_parameters(params: Params, name: str) -> ExperimentConfig:
    """The experiment's whole config, faults named with their path in the parameters."""
    where = f"experiments.{name}"
    config = checked(load_experiment(name).Config, params.experiments.get(name, {}), "parameters", where)
    try:
        seeds_of(config.seeds)
    except ValueError as error:
        raise ReplicateError(f"parameters: {where}.seeds: {error}.") from None
    return config


def _measured(experiment: Experiment, config: ExperimentConfig, device: Any, data: Path | None) -> dict[str, Any]:
    if isinstance(config, DataConfig) and data is None:
        raise ReplicateError("this experiment needs images; give the prepared data set with --data.")
    splits = Splits.read(data) if data is not None else None
    try:
        found = experiment.run(config, seeds_of(config.seeds), device, splits)
    except NotApplicable as reason:
        return {"not_applicable": str(reason), "checks": {claim: {} for claim in experiment.claims}, "series": {}}
    _complete(experiment, found, len(seeds_of(config.seeds)))
    return {"not_applicable": None, "checks": found.checks, "series": dict(found.series)}


def _complete(experiment: Experiment, found: Found, seeds: int) -> None:
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
    measured = _measured(experiment, config, backend.device, arguments.data)
    given = {"config": config.model_dump(mode="json"), "compute": params.compute.model_dump(mode="json")}
    code = code_digest(["replicate.stages.experiment", REGISTRY[arguments.name][1]])
    inputs = {"data": arguments.data} if arguments.data is not None else {}
    content = result(
        "experiment", code, given, inputs, experiment=arguments.name, seeds=list(seeds_of(config.seeds)), **measured
    )
    write_json(arguments.out, content)
    record.write(arguments.out, **backend.facts)
    outcome = measured["not_applicable"] or f"{sum(map(len, measured['checks'].values()))} checks measured"
    print(f"experiment {arguments.name}: {outcome} -> {arguments.out}")
