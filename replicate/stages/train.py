"""Trains one model on one data set for a block of seeds.

All seeds of the block train side by side in one process. Every 60 seconds, and when the run is interrupted
(Ctrl-C, SIGTERM), its state is kept in the checkpoint folder; the same command goes on from there and ends in
the same bits as an uninterrupted run. The last state stays there: with more epochs the same command goes on from
it, unless the model's recipe depends on the last epoch. A seed that diverges is reported and recorded; the others
go on.

The epoch with the best validation log-likelihood is kept. Where the data set has folds it is the last one, as in the
released recipe: no image is in no fold's test set.

  python -m replicate train --params params.yaml --dataset digits --model adversarial_nets \\
      --block 0-2 --data results/data/digits.safetensors --out weights.safetensors
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch

from replicate.codedigest import code_digest
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import canonical_json, dump_tensors, replacing, sha256_file
from replicate.models import REGISTRY, load_model
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import Params, load_params, seeds_of, training_parameters
from replicate.result import result
from replicate.runrecord import RunRecord
from replicate.training.backend import Backend, configure
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.progress import Progress
from replicate.training.streams import Streams
from replicate.training.sweep import Sweep


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the stage's arguments."""
    parser.add_argument("--params", required=True, help="parameter file, or inline JSON")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--block", required=True, help='seeds trained together, such as "0-2" or "7"')
    parser.add_argument("--data", type=Path, required=True, help="prepared data set (safetensors)")
    parser.add_argument(
        "--out", type=Path, required=True, help="weights (safetensors); the result is the .json beside it"
    )
    parser.add_argument(
        "--checkpoint-every", type=float, default=60.0, metavar="SECONDS", help="what a kill may cost (default 60)"
    )
    parser.add_argument("--state", type=Path, default=Path(".replicate"), help="folder for checkpoints and progress")


def model_parameters(params: Params, dataset: str, model: str) -> ModelConfig:
    """The model's whole config for this data set, faults named with their path in the parameters."""
    changes = params.models.get(model, {}).get(dataset, {})
    return load_model(model).config_for(dataset, changes, params.where, f"models.{model}.{dataset}")


def _settings(given: dict[str, object], code: str, data_sha256: str, backend: Backend) -> dict[str, object]:
    """Everything that decides the bits of a run: a checkpoint of other settings is never used."""
    versions = {"torch": torch.__version__, "numpy": np.__version__}
    return {**given, "code": code, "data": data_sha256, **versions, "backend": backend.facts}


def sweep_for(
    params: Params, config: ModelConfig, kind: type[GenerativeModel], seeds: tuple[int, ...], splits: Splits,
    backend: Backend, checkpoints: CheckpointFolder, checkpoint_every: float = 60.0,
) -> Sweep:  # fmt: skip
    """The sweep of a block of seeds of a model on a data set, ready to run."""
    train = torch.from_numpy(splits.flat("train")).to(backend.device)
    valid = None
    if splits.fold_count == 1:  # a fold's validation images are another one's test images
        valid = torch.from_numpy(splits.validation(params.likelihood.validation_limit)).to(backend.device)
    model = kind(config, splits.shape, Streams(seeds, backend.device))
    if config.batch_size * model.batches_per_step > len(train):
        raise ReplicateError(
            f"batch_size: {config.batch_size} is more than the {len(train)} training images allow; choose less."
        )
    return Sweep(
        model, train, valid, params.selection, params.likelihood, checkpoints, checkpoint_every,
        params.compute.precision,
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Trains, or goes on training, and writes weights, result and run record."""
    record = RunRecord("train")
    params = load_params(arguments.params)
    config = model_parameters(params, arguments.dataset, arguments.model)
    try:
        seeds = seeds_of(arguments.block)
    except ValueError as error:
        raise ReplicateError(f"--block: {error}.") from None
    splits = Splits.read(arguments.data)
    backend = configure(params.compute)
    kind = load_model(arguments.model)
    code = code_digest(["replicate.stages.train", REGISTRY[arguments.model][1]])
    given = training_parameters(params, config, arguments.dataset, arguments.model, arguments.block)
    label = f"{arguments.dataset}-{arguments.model}-{arguments.block}"
    settings = _settings(given, code, sha256_file(arguments.data), backend)
    checkpoints = CheckpointFolder.of_run(arguments.state / "checkpoints", label, settings, kind.extends)
    progress = Progress(arguments.state / "progress" / f"{label}.json", label.replace("-", " ", 2), config.epochs)
    with checkpoints.locked():
        sweep = sweep_for(params, config, kind, seeds, splits, backend, checkpoints, arguments.checkpoint_every)
        if not sweep.run(progress):
            epoch = sweep.step // sweep.steps_per_epoch
            progress.update(sweep.step / sweep.steps_per_epoch, "stopped", "stopped")
            where = f"epoch {min(epoch + 1, config.epochs)} of {config.epochs}"
            print(f"stopped in {where}; the same command goes on from here.", file=sys.stderr)
            raise KeyboardInterrupt
        _write(arguments, sweep, given, code)
        parts = {
            "steps": sweep.step, "steps_in_this_process": sweep.step - sweep.resumed_at,
            "earlier_attempts": checkpoints.earlier_attempts, "earlier_seconds": round(sweep.earlier_seconds, 3),
        }  # fmt: skip
        record.write(arguments.out, **backend.facts, **parts, epochs=config.epochs, seeds=len(seeds))
        progress.update(sweep.step / sweep.steps_per_epoch, "done", "done")
        checkpoints.end()


def _write(arguments: argparse.Namespace, sweep: Sweep, given: dict[str, object], code: str) -> None:
    history, model = sweep.history, sweep.model
    content = result(
        "train", code, given, {"data": arguments.data},
        dataset=arguments.dataset, model=arguments.model, block=arguments.block, seeds=list(sweep.seeds),
        shape=list(model.shape), epochs=sweep.model.config.epochs, latent=model.has_latent,
        parameter_count=model.parameter_count(),
        curve={
            "epoch": history.epochs, "log_likelihood": history.log_likelihood,
            "sigma": history.sigma, "losses": history.losses,
        },
        chosen_epoch=history.chosen_epoch, chosen_log_likelihood=history.chosen_log_likelihood, failed=history.failed,
    )  # fmt: skip
    about = ("dataset", "model", "block", "seeds", "shape", "failed", "parameters")
    metadata = {"about": json.dumps({name: content[name] for name in about}, sort_keys=True)}
    tensors = {name: value.cpu().numpy() for name, value in sweep.best.items()}
    with replacing(arguments.out, arguments.out.with_suffix(".json")) as (weights, training):
        dump_tensors(weights, tensors, metadata)
        training.write_text(canonical_json(content), encoding="utf-8")
    for seed, epoch, value in zip(sweep.seeds, history.chosen_epoch, history.chosen_log_likelihood, strict=True):
        failed = history.failed.get(str(seed))
        outcome = f"epoch {epoch} is the last, as the data set has folds"
        if failed:
            outcome = f"failed in epoch {failed['epoch']}"
        elif value is not None:
            outcome = f"epoch {epoch} chosen, validation {value:.1f} nats"
        print(f"train {arguments.dataset} {arguments.model} seed {seed}: {outcome}")
