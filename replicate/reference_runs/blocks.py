"""A block of the plan: one model's seeds that train together, its files, and how far it is."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypedDict

from replicate.errors import ReplicateError, understanding
from replicate.reference_runs.plan import Entry, Options, ReferencePlan
from replicate.storage.files import canonical_json, read_json, write_error
from replicate.storage.locks import Lock

#: Results of every finished block; each has its run record beside it.
RESULTS = ("train", "bandwidth", "evaluation", "recognition")


class Settings(TypedDict):
    """What decides the bits of a training: `run.json` of its checkpoints.

    Two keys more name the versions of torch and NumPy.
    """

    config: Options
    compute: Options
    selection: Options
    sigmas: list[float]
    validation_limit: int
    code: str
    data: str
    backend: dict[str, object]


class State(NamedTuple):
    """A folder of checkpoints, and the settings of their training."""

    folder: Path
    settings: Settings


class Progress(TypedDict, total=False):
    """What is used of a training's progress file; the seconds are None before the first epoch."""

    epoch: int
    seconds_per_epoch: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class Folders:
    """Where reference runs lie: `work` is ignored by git, `results` is committed."""

    work: Path
    results: Path

    @property
    def weights(self) -> Path:
        """Weights of finished blocks, named by their SHA-256."""
        return self.work / "weights"

    @property
    def data(self) -> Path:
        """Prepared data sets."""
        return self.work / "data"

    @property
    def blocks(self) -> Path:
        """Work on blocks."""
        return self.work / "blocks"


@dataclass(frozen=True)
class Block:
    """A block of seeds of one model on one data set, of one entry of the plan.

    Attributes:
        params: those of its entry.
    """

    entry: Entry
    dataset: str
    model: str
    seeds: str
    params: Options
    folders: Folders

    @property
    def label(self) -> str:
        """Its name in printed lines."""
        name = self.entry.name
        return f"{name} {self.model} seeds {self.seeds}"

    @property
    def result_names(self) -> tuple[str, ...]:
        """Names of its results; a comparison of samplers is one where the plan asks for it."""
        if self.model in self.entry.samplers:
            return (*RESULTS, "samplers")
        return RESULTS

    @property
    def result_files(self) -> list[str]:
        """Names of the files of its results and of their run records."""
        files = []
        for name in self.result_names:
            files += [f"{name}.json", f"{name}.run.json"]
        return files

    @property
    def relative_path(self) -> Path:
        """The path of its folder below `blocks/`."""
        return Path(self.entry.name, self.model, self.dataset, self.seeds)

    @property
    def folder(self) -> Path:
        """The folder of the work on it."""
        return self.folders.blocks / self.relative_path

    @property
    def results_folder(self) -> Path:
        """The committed folder of its results."""
        run = self.folders.results / self.entry.name
        return run / self.model / self.seeds

    @property
    def epochs(self) -> int:
        """How many epochs the plan asks for."""
        recipe = self.entry.models[self.model][self.dataset]
        return int(recipe["epochs"])

    @property
    def origin_file(self) -> Path:
        """What it was started from: commit, code, data."""
        return self.folder / "block.json"

    @property
    def weights(self) -> Path:
        """Those of the chosen epochs; the result and the record of the training lie beside them."""
        return self.folder / "weights.safetensors"

    @property
    def measures(self) -> Path:
        """The folder of samples and of what is measured of them."""
        return self.folder / "measured"

    @property
    def all_measures(self) -> Path:
        """The folder of what every measure says of it, until it is kept."""
        return self.folder / "measures"

    @property
    def state(self) -> Path:
        """The folder of checkpoints and progress."""
        return self.folder / "state"

    def trained_epochs(self) -> int:
        """How many epochs the last training that ended here had; 0 where none did."""
        result = self.weights.with_suffix(".json")
        record = self.weights.with_suffix(".run.json")
        files = (self.weights, result, record)
        are_there = [path.is_file() for path in files]
        if not all(are_there):
            return 0
        # A kill between the two files leaves them of different trainings.
        with understanding(f"{result} or {record}"):
            of_result = int(read_json(result)["epochs"])
            of_record = int(read_json(record)["epochs"])
        return min(of_result, of_record)

    def published_epochs(self) -> int:
        """How many epochs the training of its results had; 0 where they are not complete."""
        folder = self.results_folder
        for name in self.result_files:
            if not (folder / name).is_file():
                return 0
        training = folder / "train.json"
        with understanding(training):
            return int(read_json(training)["epochs"])

    def is_finished(self) -> bool:
        """Whether its committed results are of at least the epochs that the plan asks for."""
        # A plan may ask for less than was kept once.
        return self.published_epochs() >= self.epochs

    def has_begun(self) -> bool:
        """Whether there is work on it here."""
        return self.origin_file.is_file() or bool(self.states())

    def states(self) -> list[State]:
        """Its folders with a checkpoint, each with the settings of the training."""
        states = []
        for path in sorted((self.state / "checkpoints").glob("*/run.json")):
            folder = path.parent
            # A training that was killed before its first checkpoint leaves its settings alone.
            has_checkpoint = any(folder.glob("step-*.json"))
            if has_checkpoint:
                states.append(State(folder, read_json(path)))
        return states

    def progress(self) -> Progress:
        """The progress that its training last wrote; empty where it wrote none."""
        folder = self.state / "progress"
        path = folder / f"{self.dataset}-{self.model}-{self.seeds}.json"
        # Progress only informs: a file that is damaged is as good as none.
        with suppress(ReplicateError, AttributeError):
            progress: Progress = read_json(path)
            epoch = progress.get("epoch")
            if isinstance(epoch, int):
                return progress
        return {}

    @contextmanager
    def locked(self) -> Iterator[int | None]:
        """Locks the block; yields the lock's handle, or None where another process works on it.

        Children hold the handle too: the lock goes when the last process that has it ends. A
        training that was started by hand locks its folder of checkpoints alone, so that those locks
        count as well.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # Opened and never removed: a lock on a file that another process deletes keeps nobody
            # out.
            flags = os.O_RDWR | os.O_CREAT
            file = self.folder / "lock"
            handle = os.open(file, flags, 0o644)
        except OSError as error:
            raise write_error(self.folder, error) from error
        lock = Lock(handle, file)
        try:
            # Held by every process of the block, which inherit the handle.
            is_busy = not lock.take() or self._trains_elsewhere()
            yield None if is_busy else handle
        finally:
            lock.release()
            os.close(handle)

    def is_locked(self) -> bool:
        """Whether a process works on it now; changes nothing."""
        if not self.folder.is_dir():
            return False
        return _is_locked(self.folder / "lock") or self._trains_elsewhere()

    def _trains_elsewhere(self) -> bool:
        # A training that was started by hand locks its checkpoints, and not the block.
        locks = (self.state / "checkpoints").glob("*/lock")
        return any(_is_locked(path) for path in locks)


def _is_locked(path: Path) -> bool:
    """Whether some process has locked that file.

    Raises:
        ReplicateError: the file cannot be opened.
    """
    try:
        # To write, as NFS wants it of a file that is to be locked.
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError:
        handle = _opened_to_read(path)
    lock = Lock(handle, path)
    try:
        return not lock.take()
    finally:
        lock.release()
        os.close(handle)


def _opened_to_read(path: Path) -> int:
    """A handle of a file that may not be written, such as another user's."""
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        raise ReplicateError(
            f"cannot tell whether a process works there: {path}: {error.strerror}."
        ) from None


def blocks_of(plan: ReferencePlan, folders: Folders) -> list[Block]:
    """Every block in the order of the plan: by entry, then by block of seeds, then by model."""
    blocks = []
    for entry in plan.entries:
        params = plan.params_of(entry)
        for seeds in entry.seeds:
            for model, recipes in entry.models.items():
                (dataset,) = recipes  # a plan names one for each model
                blocks.append(Block(entry, dataset, model, seeds, params, folders))
    return blocks


def differing_settings(block: Block, settings: Settings) -> list[str]:
    """Names of the settings of a training that are not the plan's; its epochs may differ.

    Args:
        block: whose plan counts.
        settings: as `run.json` of a training's checkpoints has them.
    """
    likelihood = block.params["likelihood"]
    planned_sections: dict[str, Mapping[str, object]] = {
        "config": block.entry.models[block.model][block.dataset],
        "compute": block.params["compute"],
        "selection": block.params["selection"],
        "likelihood": {
            name: likelihood[name] for name in ("sigmas", "validation_limit") if name in likelihood
        },
    }
    sections: dict[str, Mapping[str, object]] = {
        "config": settings["config"],
        "compute": settings["compute"],
        "selection": settings["selection"],
        "likelihood": {
            "sigmas": settings["sigmas"],
            "validation_limit": settings["validation_limit"],
        },
    }
    differing = []
    for section, planned in planned_sections.items():
        for name, value in planned.items():
            # As JSON: a tuple of the parameters and a list of a file are the same setting.
            actual = sections[section].get(name)
            is_same = canonical_json(actual) == canonical_json(value)
            is_epochs = (section, name) == ("config", "epochs")
            if not is_same and not is_epochs:
                differing.append(f"{section}.{name}")
    return differing
