"""Parameters as results record them: what decided a job, with all defaults filled in."""

from pydantic import BaseModel

from replicate.params import Compute, Params
from replicate.records.schema import ComputeParameters, MeasuresParameters, TrainParameters


def training_parameters(
    params: Params, config: BaseModel, dataset: str, model: str, block: str
) -> TrainParameters:
    """Everything that decides a training job, defaults filled in: what its result records."""
    selection = params.selection
    return {
        "dataset": dataset,
        "model": model,
        "block": block,
        "config": config.model_dump(mode="json"),
        "compute": compute_parameters(params.compute),
        "selection": {"every": selection.every, "samples": selection.samples},
        "sigmas": list(params.likelihood.sigmas),
        "validation_limit": params.likelihood.validation_limit,
    }


def compute_parameters(compute: Compute) -> ComputeParameters:
    """The section `compute`, as results record it."""
    return {
        "device": compute.device,
        "threads": compute.threads,
        "precision": compute.precision,
    }


def measures_parameters(params: Params) -> MeasuresParameters:
    """Everything that decides what is measured, as results record it."""
    return {
        "compute": compute_parameters(params.compute),
        # Samples are read from a file, which says how many there are.
        "likelihood": params.likelihood.model_dump(mode="json", exclude={"samples", "draws"}),
        "measures": params.measures.model_dump(mode="json"),
    }
