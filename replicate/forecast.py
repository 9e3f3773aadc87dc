"""How long what is left of a run will take, from measured rates."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate.datasets import load_dataset
from replicate.files import read_json
from replicate.models import load_model
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import Params, seeds_of
from replicate.runrecord import record_path

#: Seconds of training steps that are timed for a model without a rate.
CALIBRATION_SECONDS = 2.0


@dataclass
class Forecast:
    """One training job: where it stands, and what it will need.

    `seconds` of training left; `memory_gib` at its peak; `disk_gib` of all files it leaves; `rate_from`: where the
    rate was measured.
    """

    dataset: str
    model: str
    block: str
    state: str
    epoch: int
    epochs: int
    seconds: float | None
    memory_gib: float
    disk_gib: float
    rate_from: str


def _process_lives(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _progress(state: Path, label: str) -> dict[str, Any]:
    path = state / "progress" / f"{label}.json"
    if not path.is_file():
        return {}
    found: dict[str, Any] = read_json(path)
    if found["state"] == "running" and not _process_lives(found["pid"]):
        found["state"] = "stopped"
    return found


def _recorded(results: Path, dataset: str, model: str, config: ModelConfig) -> tuple[float, float] | None:
    """(seconds per epoch and seed, peak GiB) of a finished job with the same parameters but for its epochs."""
    for path in sorted((results / "train" / dataset / model).glob("*.json")):
        if path.name.endswith(".run.json") or not record_path(path).is_file():
            continue
        trained, record = read_json(path), read_json(record_path(path))
        ours = config.model_dump(mode="json") | {"epochs": None}
        if trained["parameters"]["config"] | {"epochs": None} != ours:
            continue
        passes = trained["epochs"] * len(trained["seeds"])
        return record["wall_seconds"] / passes, record["peak_memory_mib"] / 1024
    return None


class _Timed:
    """A model on random images of a data set's shape, timed over a few steps; loads torch."""

    def __init__(self, params: Params, dataset: str, kind: type[GenerativeModel], config: ModelConfig) -> None:
        import resource

        import torch

        from replicate.training.backend import configure
        from replicate.training.streams import Streams

        backend = configure(params.compute)
        shape, count = load_dataset(dataset).image_shape, load_dataset(dataset).train_count
        model = kind(config, shape, Streams((0,), backend.device))
        rows = config.batch_size * model.batches_per_step
        pixels = torch.rand(rows, model.dimension, generator=torch.Generator().manual_seed(0)).to(backend.device)
        model.initialise(pixels)
        batch = pixels[None]
        model.train_step(batch, 0, 0)
        steps, start = 0, time.monotonic()
        while time.monotonic() - start < CALIBRATION_SECONDS:
            losses = model.train_step(batch, 0, steps)
            float(next(iter(losses.values()))[0])  # waits for the device
            steps += 1
        self.seconds_per_epoch = (time.monotonic() - start) / steps * (count // rows)
        self.memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        self.numbers = sum(model.parameter_count().values())


def _disk(params: Params, dataset: str, seeds: int, numbers: int) -> float:
    """GiB of weights, samples and per-image values of a block, and of its two checkpoints while it trains."""
    channels, height, width = load_dataset(dataset).image_shape
    samples = seeds * params.likelihood.draws * params.likelihood.samples * channels * height * width
    return 4 * (samples + seeds * numbers * (1 + 2 * 3)) / 2**30


def forecast(params: Params, results: Path, state: Path) -> list[Forecast]:
    """Every training job of the run: its state, and what is left of it."""
    rates: dict[tuple[str, str], tuple[float, float, int, str]] = {}
    jobs = []
    for dataset, model, block in params.runs:
        kind = load_model(model)
        config = kind.config_for(dataset, params.models[model][dataset], prefix=f"models.{model}.{dataset}")
        seeds = len(seeds_of(block))
        done = (results / "train" / dataset / model / f"{block}.json").is_file()
        progress = _progress(state, f"{dataset}-{model}-{block}")
        epoch = 0 if done or progress.get("epochs") != config.epochs else int(progress["epoch"])
        stage = "done" if done else ("running" if progress.get("state") == "running" else "pending")
        seconds, memory, disk, source = 0.0, 0.0, 0.0, "done"
        if not done:
            if (dataset, model) not in rates:
                rates[dataset, model] = _rate(params, results, dataset, model, kind, config)
            rate, memory, numbers, source = rates[dataset, model]
            seconds = rate * seeds * (config.epochs - epoch)
            memory += seeds * numbers * 4 * 5 / 2**30  # parameters, velocities, gradients, best, one copy to save
            disk = _disk(params, dataset, seeds, numbers)
        if stage == "running" and progress["seconds_left"] is not None:
            seconds = progress["seconds_left"]
        jobs.append(Forecast(dataset, model, block, stage, epoch, config.epochs, seconds, memory, disk, source))
    return jobs


def _rate(
    params: Params, results: Path, dataset: str, model: str, kind: type[GenerativeModel], config: ModelConfig
) -> tuple[float, float, int, str]:
    recorded = _recorded(results, dataset, model, config)
    if recorded is not None:
        weights = next((results / "train" / dataset / model).glob("*.safetensors"), None)
        numbers = weights.stat().st_size // 4 if weights else 0
        return *recorded, numbers, f"{model} on {dataset} from an earlier job"
    timed = _Timed(params, dataset, kind, config)
    return timed.seconds_per_epoch, timed.memory_gib, timed.numbers, f"{model} on {dataset} timed now"


def overall(jobs: list[Forecast], cores: int | None) -> dict[str, Any]:
    """What all that is left needs: the seconds of jobs side by side, the memory of as many, all the disk."""
    left = [job for job in jobs if job.state != "done"]
    side_by_side = max(1, min(len(left), cores or os.cpu_count() or 1))
    lanes = [0.0] * side_by_side
    for job in sorted(left, key=lambda job: -(job.seconds or 0)):
        lanes[lanes.index(min(lanes))] += job.seconds or 0
    memory = sorted((job.memory_gib for job in left), reverse=True)[:side_by_side]
    return {
        "seconds": max(lanes), "side_by_side": side_by_side, "memory_gib": sum(memory),
        "disk_gib": sum(job.disk_gib for job in left),
    }  # fmt: skip
