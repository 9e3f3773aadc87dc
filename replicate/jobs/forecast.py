"""How long what is left of a run will take, from measured rates."""

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from replicate.datasets import data_folder, load_dataset
from replicate.datasets.base import Extent
from replicate.errors import ReplicateError, understanding
from replicate.jobs.subject import Subject, source_digest
from replicate.models import load_model
from replicate.params import Params, checked, seeds_of
from replicate.records.frame import checked_content
from replicate.records.hardware import gpu_cards, peak_memory, usable_cores
from replicate.records.parameters import training_parameters
from replicate.records.run_record import record_path
from replicate.storage.files import read_json
from replicate.storage.processes import Process, is_running

if TYPE_CHECKING:  # they load torch, which `status --help` can do without
    from replicate.models.base import GenerativeModel, ModelConfig

#: Seconds of training steps that are timed for a model without a rate.
CALIBRATION_SECONDS = 2.0
#: Classes of the random images of these steps, where a model is given classes.
CLASSES = 10
#: Seconds without a word after which a job of another host counts as stopped.
SILENCE = 600.0
#: Memory of a process that runs `recognise`, without its data.
RECOGNISE_GIB = 0.33
GIB = 2**30
#: Bytes of a float32.
FLOAT = 4


@dataclass
class Forecast:
    """One training job: where it stands, and what it will need.

    Attributes:
        state: done, running or pending.
        epoch, epochs: how many are behind it, and how many there are.
        seconds: of training that are left.
        memory_gib: at the peak of its training, or of the stage `recognise` on its samples,
            whichever takes more.
        disk_gib: of all files that it leaves.
        rate_from: where the rate was measured.
        host: the machine that it runs on, while it runs.
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
    host: str | None = None


class Progress(TypedDict, total=False):
    """What a job says of itself while it runs (`replicate/progress/`)."""

    host: str
    pid: int
    began: str
    updated: float
    state: str
    epoch: float
    epochs: int
    seconds_left: float | None
    line: str


class Needs(TypedDict):
    """What all that is left of a run needs."""

    seconds: float
    side_by_side: int
    memory_gib: float
    disk_gib: float


def host_of(progress: Progress) -> str:
    """The machine of the process that wrote a progress file."""
    # Files of earlier versions name no host.
    return progress.get("host", socket.gethostname())


def _still_runs(progress: Progress) -> bool:
    """Whether the process that wrote a progress file lives; of another host's, whether it wrote
    lately.
    """
    process = Process(host_of(progress), progress["pid"], progress.get("began", ""))
    if not process.is_here:
        # Its number means nothing on this machine, where another process may have it.
        return time.time() - progress["updated"] < SILENCE
    # Files of earlier versions do not say when their process began.
    return process.lives if "began" in progress else is_running(process.number)


def _progress(path: Path) -> Progress:
    """What a job's progress file says; empty where there is none.

    The file only informs: one that is damaged is as good as none.
    """
    try:
        progress = checked_content(read_json(path), Progress, path, "it only informs")
        # A job that was killed leaves its last word behind.
        if progress["state"] == "running" and not _still_runs(progress):
            progress["state"] = "stopped"
    except (ReplicateError, KeyError):
        return {}
    return progress


def _progress_path(state: Path, dataset: str, model: str, block: str) -> Path:
    return state / "progress" / f"{dataset}-{model}-{block}.json"


def other_jobs(state: Path, training: Sequence[Forecast]) -> list[Progress]:
    """What the progress files of all jobs that run say, but for the training jobs named:
    experiments, sampling, ...
    """
    training_files = {_progress_path(state, job.dataset, job.model, job.block) for job in training}
    running = []
    for path in sorted((state / "progress").glob("*.json")):
        if path in training_files:
            continue
        # Empty where it is gone since it was listed, as the job has ended.
        progress = _progress(path)
        if progress.get("state") == "running" and "line" in progress:
            running.append(progress)
    return running


@dataclass(frozen=True)
class Rate:
    """What a model on a data set costs.

    Attributes:
        seconds_per_epoch: of one seed.
        base_gib: memory of a job without its seeds.
        parameter_count: of one seed.
        source: where it was measured.
    """

    seconds_per_epoch: float
    base_gib: float
    parameter_count: int
    source: str

    def memory_gib(self, seeds: int) -> float:
        """Peak memory of a job of so many seeds."""
        of_seeds = seeds * _state_gib(self.parameter_count)
        return self.base_gib + of_seeds


def _state_gib(parameter_count: int) -> float:
    """Parameters, velocities, gradients, the best so far, and one copy to save, in float32."""
    return parameter_count * FLOAT * 5 / GIB


def epochs_trained(training: Mapping[str, Any]) -> int:
    """The epochs that a finished training went through: fewer than asked for where all seeds
    failed.

    Args:
        training: result of the stage `train`.
    """
    failures = training["failed"].values()
    # One sound seed trains its block to the end.
    if len(failures) < len(training["seeds"]):
        return int(training["epochs"])
    return max(int(failure["epoch"]) for failure in failures)


def _recorded_rate(results: Path, dataset: str, model: str, config: "ModelConfig") -> Rate | None:
    """The rate of a finished job with the same recipe, whatever its epochs; of an interrupted one,
    of its last part.
    """
    recipe = config.model_dump(mode="json") | {"epochs": None}
    folder = results / "train" / dataset / model
    for path in sorted(folder.glob("*.json")):
        is_record = path.name.endswith(".run.json")
        if is_record or not record_path(path).is_file():
            continue
        training = read_json(path)
        record = read_json(record_path(path))
        with understanding(f"{path} or its run record"):
            # A job that went on from a checkpoint measured only its own steps.
            share = record["steps_in_this_process"] / max(record["steps"], 1)
            recorded_recipe = training["parameters"]["config"] | {"epochs": None}
            # A job that only found its result finished made no step, and measured nothing.
            if recorded_recipe != recipe or share == 0:
                continue
            seeds = len(training["seeds"])
            parameter_count = sum(training["parameter_count"].values())
            seed_epochs = share * epochs_trained(training) * seeds
            seconds = record["wall_seconds"] / seed_epochs
            peak_gib = record["peak_memory_mib"] / 1024
        base_gib = peak_gib - seeds * _state_gib(parameter_count)
        source = f"{model} on {dataset} from an earlier job"
        # What the seeds take is an estimate, which may lie above the peak that was measured.
        return Rate(seconds, max(base_gib, 0.0), parameter_count, source)
    return None


def _extent(params: Params, name: str) -> Extent:
    """How large a data set of the run is, by its options and the files that are there."""
    dataset = load_dataset(name)
    given = params.datasets[name]
    path = f"datasets.{name}"
    options = checked(dataset.Config, given, "the parameters", path)
    folder = data_folder() / name
    return dataset.extent(folder, options)


def _timed_rate(
    params: Params,
    extent: Extent,
    kind: "type[GenerativeModel]",
    config: "ModelConfig",
    source: str,
) -> Rate:
    """The rate of a model on random images of a data set's shape, over a few steps of one seed;
    loads torch.
    """
    # Not above: `status --help` and the rules read this module, and torch takes seconds to load.
    import torch

    from replicate.models.parts.classes import with_classes
    from replicate.training.backend import configure
    from replicate.training.streams import Streams

    device = configure(params.compute).device
    streams = Streams((0,), device)
    model = kind(config, extent.shape, streams)
    rows = config.batch_size * model.batches_per_step
    # Random pixels do: the time of a step hardly depends on what it is given.
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(rows, model.dimension, generator=generator)
    if kind.conditional:
        images = with_classes(images, torch.arange(rows) % CLASSES)
    images = images.to(device)
    batch = images[None]
    model.initialise(images)
    # The first call allocates and compiles, which no later step pays for.
    model.train_step(batch, 0, 0)
    steps = 0
    start = time.monotonic()
    while time.monotonic() - start < CALIBRATION_SECONDS:
        # The first step over and over: a recipe's rate may fall to 0 in later ones.
        losses = model.train_step(batch, 0, 0)
        loss = next(iter(losses.values()))
        float(loss[0])  # waits for the device
        steps += 1
    seconds_per_step = (time.monotonic() - start) / steps
    steps_per_epoch = extent.train // rows
    seconds_per_epoch = seconds_per_step * steps_per_epoch
    images_gib = FLOAT * extent.train * model.dimension / GIB
    base_gib = peak_memory() / GIB + images_gib
    counts = model.parameter_count()
    parameter_count = sum(counts.values())
    return Rate(seconds_per_epoch, base_gib, parameter_count, source)


def recognition_gib(params: Params, extent: Extent, seeds: int) -> float:
    """Peak memory of the stage `recognise` on a block's samples, on a CPU.

    The factors are those of measured peaks (tests/test_forecast.py): besides what is alive at once
    they cover what the allocator keeps. As many images are held out as half of those that are
    trained on, or fewer.
    """
    from replicate.diagnostics.classifier import CHANNELS, CHUNK

    channels, height, width = extent.shape
    dimension = channels * height * width
    draws = params.likelihood.draws
    count = params.likelihood.samples
    samples = FLOAT * seeds * draws * count * dimension
    # Bytes and float32 of the images that are trained on and held out; those held out once more.
    images_per_train_image = 1.5 * (1 + FLOAT) + 0.5 * FLOAT
    images = images_per_train_image * extent.train * dimension
    # The images of a draw in float64, and once more without their mean.
    correlation = 2 * 8 * count * dimension
    rows_at_once = min(CHUNK, draws * count)
    first_maps = CHANNELS[0] * height * width
    classifier = 4.5 * FLOAT * first_maps * rows_at_once
    total = samples + images + correlation + classifier
    return RECOGNISE_GIB + total / GIB


def _disk_gib(params: Params, extent: Extent, seeds: int, parameter_count: int) -> float:
    """Of weights, samples and per-image values of a block, and of its two checkpoints while it
    trains.
    """
    channels, height, width = extent.shape
    dimension = channels * height * width
    likelihood = params.likelihood
    images = seeds * likelihood.draws * likelihood.samples
    # Samples are most of what a run writes.
    samples = images * dimension
    # A checkpoint holds parameters, velocities and the best so far; there are two.
    copies = 1 + 2 * 3
    weights = seeds * parameter_count * copies
    return FLOAT * (samples + weights) / GIB


def _is_done(results: Path, settings: Mapping[str, object], subject: Subject) -> bool:
    """Whether a job's result is there and was made with these settings and this code."""
    path = results / "train" / f"{subject.path}.json"
    if not path.is_file():
        return False
    training = read_json(path)
    code = source_digest("train", subject)
    with understanding(path):
        has_same_settings = training["parameters"] == settings
        # Else the engine would train it again, and it is not done.
        has_same_code = training["code"] == code
    return bool(has_same_settings and has_same_code)


class Forecasts:
    """Forecasts the training jobs of a run.

    Args:
        params: of the run.
        results: folder of its results.
        state: folder of checkpoints and progress.
    """

    def __init__(self, params: Params, results: Path, state: Path) -> None:
        self.params = params
        self.results = results
        self.state = state
        # Both are asked for by every block of a model and a data set.
        self._rates: dict[tuple[str, str], Rate] = {}
        self._extents: dict[str, Extent] = {}

    def job(self, dataset: str, model: str, block: str) -> Forecast:
        """The forecast of one job."""
        params = self.params
        kind = load_model(model)
        subject = Subject(dataset, model, block)
        changes = params.models[model][dataset]
        config = kind.config_for(dataset, changes, params.where, f"models.{model}.{dataset}")
        settings = training_parameters(params, config, dataset, model, block)
        if _is_done(self.results, settings, subject):
            return self._done(dataset, model, block, config.epochs)
        return self._left(dataset, model, block, kind, config)

    @staticmethod
    def _done(dataset: str, model: str, block: str, epochs: int) -> Forecast:
        return Forecast(
            dataset,
            model,
            block,
            state="done",
            epoch=epochs,
            epochs=epochs,
            seconds=0.0,
            memory_gib=0.0,
            disk_gib=0.0,
            rate_from="done",
        )

    def _left(
        self,
        dataset: str,
        model: str,
        block: str,
        kind: "type[GenerativeModel]",
        config: "ModelConfig",
    ) -> Forecast:
        rate = self._rate(dataset, model, kind, config)
        extent = self._extent(dataset)
        seeds = len(seeds_of(block))
        progress = _progress(_progress_path(self.state, dataset, model, block))
        epoch = 0
        # What an earlier run with other epochs left there says nothing of this one.
        state = progress.get("state")
        if progress.get("epochs") == config.epochs and state in ("running", "stopped"):
            epoch = int(progress.get("epoch", 0))
        running = state == "running"
        seconds = rate.seconds_per_epoch * seeds * (config.epochs - epoch)
        # The job knows its own rate; the one above may be that of an earlier job.
        own_seconds = progress.get("seconds_left")
        if running and own_seconds is not None:
            seconds = own_seconds
        recognition = recognition_gib(self.params, extent, seeds)
        return Forecast(
            dataset,
            model,
            block,
            state="running" if running else "pending",
            epoch=epoch,
            epochs=config.epochs,
            seconds=seconds,
            memory_gib=max(rate.memory_gib(seeds), recognition),
            disk_gib=_disk_gib(self.params, extent, seeds, rate.parameter_count),
            rate_from=rate.source,
            host=host_of(progress) if running else None,
        )

    def _extent(self, dataset: str) -> Extent:
        extent = self._extents.get(dataset)
        if extent is None:
            extent = _extent(self.params, dataset)
            self._extents[dataset] = extent
        return extent

    def _rate(
        self, dataset: str, model: str, kind: "type[GenerativeModel]", config: "ModelConfig"
    ) -> Rate:
        """From a recorded job where there is one; else a few steps are timed, once for all
        blocks.
        """
        rate = self._rates.get((dataset, model))
        if rate is None:
            rate = _recorded_rate(self.results, dataset, model, config)
        if rate is None:
            extent = self._extent(dataset)
            source = f"{model} on {dataset} timed now"
            rate = _timed_rate(self.params, extent, kind, config, source)
        self._rates[dataset, model] = rate
        return rate


def forecast(params: Params, results: Path, state: Path) -> list[Forecast]:
    """Every training job of the run: its state, and what is left of it."""
    forecasts = Forecasts(params, results, state)
    return [forecasts.job(*run) for run in params.runs]


def side_by_side(params: Params, cores: int | None) -> int:
    """Training jobs that run at once: one on each GPU, else as many as the cores hold at this
    number of threads.
    """
    compute = params.compute
    cards = len(gpu_cards())
    # `auto` is the GPU where there is one.
    # The rules give each GPU of this machine one job at a time (workflow/rules/common.smk).
    if compute.device == "cuda" or (compute.device == "auto" and cards):
        return max(1, cards)
    lanes = (cores or usable_cores()) // compute.threads
    return max(1, lanes)


def dominating(jobs: Sequence[Forecast], at_once: int) -> Forecast | None:
    """The job that alone makes all the training take twice as long as it would without it."""
    left = [job for job in jobs if job.state != "done"]
    # A job that is the only one left dominates nothing.
    if len(left) < 2:
        return None
    longest = max(left, key=lambda job: job.seconds)
    others = [job for job in left if job is not longest]
    without_it = overall(others, at_once)["seconds"]
    if overall(left, at_once)["seconds"] < 2 * without_it:
        return None
    return longest


def overall(jobs: Sequence[Forecast], at_once: int) -> Needs:
    """What all that is left needs: the seconds of `at_once` jobs side by side, their memory, all
    the disk.
    """
    left = [job for job in jobs if job.state != "done"]
    at_once = min(len(left), at_once)
    at_once = max(1, at_once)
    # The longest job goes to the lane that is free first.
    lanes = [0.0] * at_once
    longest_first = sorted((job.seconds for job in left), reverse=True)
    for seconds in longest_first:
        first_free = lanes.index(min(lanes))
        lanes[first_free] += seconds
    # At worst the largest jobs run at the same time.
    largest_first = sorted((job.memory_gib for job in left), reverse=True)
    memory_gib = sum(largest_first[:at_once])
    disk_gib = sum(job.disk_gib for job in left)
    return Needs(seconds=max(lanes), side_by_side=at_once, memory_gib=memory_gib, disk_gib=disk_gib)
