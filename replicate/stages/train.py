"""Trains one model on one data set for a block of seeds.

All seeds of the block train side by side in one process. Every 60 seconds, and when the run is
interrupted (Ctrl-C, SIGTERM), its state is kept in the checkpoint folder; the same command goes on
from there and ends in the same bits as an uninterrupted run. The last state stays there: with more
epochs the same command goes on from it, unless the model's recipe depends on the last epoch. A seed
that diverges is reported and recorded; the others go on.

The epoch with the best validation log-likelihood is kept. Where the data set has folds it is the
last one, as in the released recipe: no image is in no fold's test set.

  python -m replicate train --params params.yaml --dataset digits --model adversarial_nets \\
      --block 0-2 --data results/data/digits.safetensors --out weights.safetensors
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.jobs.subject import Subject
from replicate.models import load_model
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.models.parts.classes import with_classes
from replicate.params import Params, load_params, seeds_of
from replicate.progress.reporting import Progress, seconds_of
from replicate.records.parameters import training_parameters
from replicate.records.schema import Frame, Training, TrainParameters, WeightsAbout
from replicate.stages.device_job import DeviceJob
from replicate.storage.files import atomic_write, canonical_json, dump_tensors
from replicate.training.backend import Backend
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.streams import Streams
from replicate.training.sweep import History, Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", required=True, help="parameter file, or inline JSON")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument(
        "--block", required=True, help='seeds trained together, such as "0-2" or "7"'
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="weights (safetensors); the result is the .json beside it",
    )
    parser.add_argument(
        "--checkpoint-every",
        type=seconds_of,
        default=60.0,
        metavar="SECONDS",
        help="what a kill may cost (default 60)",
    )
    parser.add_argument(
        "--state", type=Path, default=Path(".replicate"), help="folder for checkpoints and progress"
    )


def model_parameters(params: Params, dataset: str, model: str) -> ModelConfig:
    """The model's whole config for a data set; faults are named with their path."""
    changes = params.models.get(model, {}).get(dataset, {})
    path = f"models.{model}.{dataset}"
    kind = load_model(model)
    return kind.config_for(dataset, changes, params.where, path)


def sweep_for(
    params: Params,
    config: ModelConfig,
    kind: type[GenerativeModel],
    seeds: tuple[int, ...],
    splits: Splits,
    backend: Backend,
    checkpoints: CheckpointFolder,
    checkpoint_every: float = 60.0,
) -> Sweep:
    """The sweep of a block of seeds of a model on a data set, ready to run."""
    train = torch.from_numpy(splits.flat("train"))
    if kind.conditional:
        if "train" not in splits.labels:
            raise ReplicateError(
                "this model needs a class of every training image, which this data set does not "
                "have; leave the model out."
            )
        train = with_classes(train, torch.from_numpy(splits.labels_of("train")))
    train = train.to(backend.device)
    valid = None
    if splits.fold_count == 1:  # a fold's validation images are another one's test images
        images = splits.validation(params.likelihood.validation_limit)
        valid = torch.from_numpy(images).to(backend.device)
    model = kind(config, splits.shape, Streams(seeds, backend.device))
    # Known before any job where the size of the set is (jobs/precheck.py); else it shows here.
    if config.batch_size * model.batches_per_step > len(train):
        raise ReplicateError(
            f"batch_size: {config.batch_size} is more than the {len(train)} training images allow; "
            "choose less."
        )
    return Sweep(
        model,
        train,
        valid,
        params.selection,
        params.likelihood,
        checkpoints,
        checkpoint_every,
        params.compute.precision,
    )


def _checkpoints(
    arguments: argparse.Namespace,
    job: DeviceJob,
    frame: Frame,
    parameters: TrainParameters,
    extends: bool,
) -> CheckpointFolder:
    """The folder of the run's checkpoints, named by everything that decides its bits.

    So a checkpoint of other settings is never used.
    """
    settings: dict[str, object] = {
        **parameters,
        "code": frame["code"],
        "data": frame["inputs"]["data"],
        # Other versions or another device may round otherwise, and a run must not change its
        # rounding half way.
        "torch": torch.__version__,
        "numpy": np.__version__,
        "backend": job.backend.facts,
    }
    # For people who look into the folder; the digest of the settings tells runs apart.
    label = f"{arguments.dataset}-{arguments.model}-{arguments.block}"
    return CheckpointFolder.of_run(arguments.state / "checkpoints", label, settings, extends)


def _block_seeds(block: str) -> tuple[int, ...]:
    """The seeds of `--block`."""
    try:
        return seeds_of(block)
    except ValueError as error:
        raise ReplicateError(f"--block: {error}.") from None


def run(arguments: argparse.Namespace) -> None:
    """Trains, or goes on training, and writes weights, result and run record."""
    dataset = arguments.dataset
    model = arguments.model
    block = arguments.block
    params = load_params(arguments.params)
    job = DeviceJob("train", params.compute)
    config = model_parameters(params, dataset, model)
    seeds = _block_seeds(block)
    splits = Splits.read(arguments.data)
    kind = load_model(model)
    parameters = training_parameters(params, config, dataset, model, block)
    frame = job.frame(parameters, {"data": arguments.data}, Subject(model=model))
    checkpoints = _checkpoints(arguments, job, frame, parameters, kind.extends)
    state = arguments.state / "progress" / f"{dataset}-{model}-{block}.json"
    progress = Progress(state, f"{dataset} {model} {block}", config.epochs)
    # Before any checkpoint is read: another process could be writing one.
    with checkpoints.locked():
        sweep = sweep_for(
            params,
            config,
            kind,
            seeds,
            splits,
            job.backend,
            checkpoints,
            arguments.checkpoint_every,
        )
        if not sweep.run(progress):
            progress.update(sweep.step / sweep.steps_per_epoch, "stopped", "stopped")
            # Stopped at the end of the last epoch, there is no next one to be in.
            epoch = min(sweep.step // sweep.steps_per_epoch + 1, config.epochs)
            position = f"epoch {epoch} of {config.epochs}"
            print(f"stopped in {position}; the same command goes on from here.", file=sys.stderr)
            # Status 130: an engine must not take a job that was stopped for one that is done.
            raise KeyboardInterrupt
        _write(arguments, sweep, frame, parameters)
        job.facts |= {
            "steps": sweep.step,
            "steps_in_this_process": sweep.step - sweep.resumed_at,
            "earlier_attempts": checkpoints.earlier_attempts,
            "earlier_seconds": round(sweep.earlier_seconds, 3),
            "epochs": config.epochs,
            "seeds": len(seeds),
        }
        job.close(arguments.out)
        progress.update(sweep.step / sweep.steps_per_epoch, "done", "done")
        # Only now: until the result lies there whole, a kill must not cost the training.
        checkpoints.end()


def _write(
    arguments: argparse.Namespace, sweep: Sweep, frame: Frame, parameters: TrainParameters
) -> None:
    """Writes the weights and the result together, and prints a line for every seed."""
    history = sweep.history
    model = sweep.model
    content: Training = {
        **frame,
        "stage": "train",
        "parameters": parameters,
        "dataset": arguments.dataset,
        "model": arguments.model,
        "block": arguments.block,
        "seeds": list(sweep.seeds),
        "shape": list(model.shape),
        "epochs": model.config.epochs,
        "latent": model.has_latent,
        "parameter_count": model.parameter_count(),
        "curve": {
            "epoch": history.epochs,
            "log_likelihood": history.log_likelihood,
            "sigma": history.sigma,
            "losses": history.losses,
        },
        "chosen_epoch": history.chosen_epoch,
        "chosen_log_likelihood": history.chosen_log_likelihood,
        "failed": history.failed,
    }
    about: WeightsAbout = {
        "dataset": content["dataset"],
        "model": content["model"],
        "block": content["block"],
        "seeds": content["seeds"],
        "shape": content["shape"],
        "failed": content["failed"],
        "parameters": dict(parameters),
    }
    # Weights are read by many stages, which then need no second file to know what they are of.
    metadata = {"about": json.dumps(about, sort_keys=True)}
    tensors = {name: value.cpu().numpy() for name, value in sweep.best.items()}
    result = arguments.out.with_suffix(".json")
    # Together, so that a result never speaks of other weights than those beside it.
    with atomic_write(arguments.out, result) as (weights, training):
        dump_tensors(weights, tensors, metadata)
        training.write_text(canonical_json(content), encoding="utf-8")
    for seed_index, seed in enumerate(sweep.seeds):
        outcome = _outcome(history, seed, seed_index)
        print(f"train {arguments.dataset} {arguments.model} seed {seed}: {outcome}")


def _outcome(history: History, seed: int, seed_index: int) -> str:
    """What became of a seed, in words."""
    failure = history.failed.get(str(seed))
    epoch = history.chosen_epoch[seed_index]
    log_likelihood = history.chosen_log_likelihood[seed_index]
    if failure:
        return f"failed in epoch {failure['epoch']}"
    if log_likelihood is None:
        return f"epoch {epoch} is the last, as the data set has folds"
    return f"epoch {epoch} chosen, validation {log_likelihood:.1f} nats"
