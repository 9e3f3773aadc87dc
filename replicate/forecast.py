"""How long what is left of a run will take, from measured rates."""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from replicate.codedigest import code_digest
from replicate.datasets import data_folder, load_dataset
from replicate.datasets.base import Extent
from replicate.errors import ReplicateError
from replicate.files import read_json
from replicate.hardware import has_nvidia_gpu, peak_memory
from replicate.models import REGISTRY, load_model
from replicate.params import Params, checked, seeds_of, training_parameters
from replicate.runrecord import record_path

if TYPE_CHECKING:  # they load torch, which `status --help` can do without
    from replicate.models.base import GenerativeModel, ModelConfig

#: Seconds of training steps that are timed for a model without a rate.
CALIBRATION_SECONDS = 2.0
#: Memory of a process that runs `recognise`, without its data.
RECOGNISE_GIB = 0.33


@dataclass
class Forecast:
    """One training job: where it stands, and what it will need.

    `seconds` of training left; `memory_gib` at the peak of its training, or of the stage `recognise` on its samples,
    whichever takes more; `disk_gib` of all files it leaves; `rate_from`: where the rate was measured.
    """

    dataset: str
    model: str
    block: str
    state: str
    epoch: int
    epochs: int
    seconds: float
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


def _progress(path: Path) -> dict[str, Any]:
    """What a job's progress file says; empty where there is none."""
    if not path.is_file():
        return {}
    found: dict[str, Any] = read_json(path)
    if found["state"] == "running" and not _process_lives(found["pid"]):
        found["state"] = "stopped"
    return found


def _progress_path(state: Path, dataset: str, model: str, block: str) -> Path:
    return state / "progress" / f"{dataset}-{model}-{block}.json"


def other_jobs(state: Path, training: Sequence[Forecast]) -> list[dict[str, Any]]:
    """What the progress files of all jobs that run say, but for the training jobs named: experiments, sampling, ..."""
    known = {_progress_path(state, job.dataset, job.model, job.block) for job in training}
    found = []
    for path in sorted((state / "progress").glob("*.json")):
        with suppress(ReplicateError):  # gone since it was listed, as the job has ended
            if path not in known and (said := _progress(path)).get("state") == "running":
                found.append(said)
    return found


@dataclass(frozen=True)
class Rate:
    """What a model on a data set costs: seconds an epoch and seed, a job's GiB without its seeds, numbers of a seed."""

    seconds_per_epoch: float
    base_gib: float
    numbers: int
    source: str

    def memory_gib(self, seeds: int) -> float:
        """Peak memory of a job of so many seeds."""
        return self.base_gib + seeds * _state_gib(self.numbers)


def _state_gib(numbers: int) -> float:
    """Parameters, velocities, gradients, the best so far, and one copy to save, in float32."""
    return numbers * 4 * 5 / 2**30


def _recorded(results: Path, dataset: str, model: str, config: "ModelConfig") -> Rate | None:
    """The rate of a finished job with the same recipe, whatever its epochs; of an interrupted one, of its last part."""
    ours = config.model_dump(mode="json") | {"epochs": None}
    for path in sorted((results / "train" / dataset / model).glob("*.json")):
        if path.name.endswith(".run.json") or not record_path(path).is_file():
            continue
        content, record = read_json(path), read_json(record_path(path))
        share = record["steps_in_this_process"] / max(record["steps"], 1)
        if content["parameters"]["config"] | {"epochs": None} == ours and share > 0:
            seeds, numbers = len(content["seeds"]), sum(content["parameter_count"].values())
            seconds = record["wall_seconds"] / (share * content["epochs"] * seeds)
            base = max(record["peak_memory_mib"] / 1024 - seeds * _state_gib(numbers), 0.0)
            return Rate(seconds, base, numbers, f"{model} on {dataset} from an earlier job")
    return None


def _extent(params: Params, dataset: str) -> Extent:
    """How large a data set of the run is, by its options and the files that are there."""
    found = load_dataset(dataset)
    options = checked(found.Config, params.datasets[dataset], "the parameters", f"datasets.{dataset}")
    return found.extent(data_folder() / dataset, options)


def _timed(params: Params, extent: Extent, kind: "type[GenerativeModel]", config: "ModelConfig", source: str) -> Rate:
    """The rate of a model on random images of a data set's shape, over a few steps of one seed; loads torch."""

    import torch

    from replicate.training.backend import configure
    from replicate.training.streams import Streams

    backend = configure(params.compute)
    model = kind(config, extent.shape, Streams((0,), backend.device))
    rows = config.batch_size * model.batches_per_step
    pixels = torch.rand(rows, model.dimension, generator=torch.Generator().manual_seed(0)).to(backend.device)
    model.initialise(pixels)
    model.train_step(pixels[None], 0, 0)
    steps, start = 0, time.monotonic()
    while time.monotonic() - start < CALIBRATION_SECONDS:
        losses = model.train_step(pixels[None], 0, 0)  # the first one over and over: a rate may fall to 0 in later ones
        float(next(iter(losses.values()))[0])  # waits for the device
        steps += 1
    seconds = (time.monotonic() - start) / steps * (extent.train // rows)
    data = 4 * extent.train * model.dimension / 2**30
    base = peak_memory() / 2**30 + data
    return Rate(seconds, base, sum(model.parameter_count().values()), source)


def recognition_gib(params: Params, extent: Extent, seeds: int) -> float:
    """Peak memory of the stage `recognise` on a block's samples, on a CPU.

    The factors are those of measured peaks (tests/test_forecast.py): besides what is alive at once they cover what the
    allocator keeps. As many images are held out as half of those that are trained on, or fewer.
    """
    from replicate.classifier import CHANNELS, CHUNK

    (channels, height, width), draws, count = extent.shape, params.likelihood.draws, params.likelihood.samples
    dimension = channels * height * width
    samples = 4 * seeds * draws * count * dimension
    images = (1.5 * (1 + 4) + 0.5 * 4) * extent.train * dimension  # bytes, and as float32; those held out once more
    correlation = 2 * 8 * count * dimension
    classifier = 4.5 * 4 * CHANNELS[0] * height * width * min(CHUNK, draws * count)
    return RECOGNISE_GIB + (samples + images + correlation + classifier) / 2**30


def _disk(params: Params, extent: Extent, seeds: int, numbers: int) -> float:
    """GiB of weights, samples and per-image values of a block, and of its two checkpoints while it trains."""
    channels, height, width = extent.shape
    samples = seeds * params.likelihood.draws * params.likelihood.samples * channels * height * width
    return 4 * (samples + seeds * numbers * (1 + 2 * 3)) / 2**30


def _is_done(results: Path, given: dict[str, Any], code: str) -> bool:
    """Whether a job's result is there and was made with these parameters and this code."""
    path = results / "train" / given["dataset"] / given["model"] / f"{given['block']}.json"
    if not path.is_file():
        return False
    content = read_json(path)
    return bool(content["parameters"] == given and content["code"] == code)


def forecast(params: Params, results: Path, state: Path) -> list[Forecast]:
    """Every training job of the run: its state, and what is left of it."""
    rates: dict[tuple[str, str], Rate] = {}
    extents = {dataset: _extent(params, dataset) for dataset in dict.fromkeys(name for name, _, _ in params.runs)}
    jobs = []
    for dataset, model, block in params.runs:
        kind = load_model(model)
        changes = params.models[model][dataset]
        config = kind.config_for(dataset, changes, params.where, f"models.{model}.{dataset}")
        code = code_digest(["replicate.stages.train", REGISTRY[model][1]])
        if _is_done(results, training_parameters(params, config, dataset, model, block), code):
            jobs.append(Forecast(dataset, model, block, "done", config.epochs, config.epochs, 0.0, 0.0, 0.0, "done"))
            continue
        if (dataset, model) not in rates:
            rates[dataset, model] = _recorded(results, dataset, model, config) or _timed(
                params, extents[dataset], kind, config, f"{model} on {dataset} timed now"
            )
        rate, extent, seeds = rates[dataset, model], extents[dataset], len(seeds_of(block))
        disk = _disk(params, extent, seeds, rate.numbers)
        memory = max(rate.memory_gib(seeds), recognition_gib(params, extent, seeds))
        jobs.append(_left(state, dataset, model, block, config.epochs, rate, memory, disk))
    return jobs


def _left(
    state: Path, dataset: str, model: str, block: str, epochs: int, rate: Rate, memory: float, disk: float
) -> Forecast:
    progress, seeds = _progress(_progress_path(state, dataset, model, block)), len(seeds_of(block))
    running = progress.get("state") == "running"
    known = progress.get("epochs") == epochs and progress["state"] in ("running", "stopped")
    epoch = int(progress["epoch"]) if known else 0
    seconds = rate.seconds_per_epoch * seeds * (epochs - epoch)
    if running and progress["seconds_left"] is not None:
        seconds = progress["seconds_left"]
    return Forecast(
        dataset, model, block, "running" if running else "pending", epoch, epochs, seconds,
        memory, disk, rate.source,
    )  # fmt: skip


def side_by_side(params: Params, cores: int | None) -> int:
    """Training jobs that run at once: one on a GPU, else as many as the cores hold at this number of threads."""
    if params.compute.device == "cuda" or (params.compute.device == "auto" and has_nvidia_gpu()):
        return 1
    return max(1, (cores or os.cpu_count() or 1) // params.compute.threads)


def overall(jobs: list[Forecast], at_once: int) -> dict[str, Any]:
    """What all that is left needs: the seconds of `at_once` jobs side by side, their memory, all the disk."""
    left = [job for job in jobs if job.state != "done"]
    at_once = max(1, min(len(left), at_once))
    lanes = [0.0] * at_once
    for job in sorted(left, key=lambda job: -job.seconds):
        lanes[lanes.index(min(lanes))] += job.seconds
    memory = sorted((job.memory_gib for job in left), reverse=True)[:at_once]
    return {
        "seconds": max(lanes), "side_by_side": at_once, "memory_gib": sum(memory),
        "disk_gib": sum(job.disk_gib for job in left),
    }  # fmt: skip
