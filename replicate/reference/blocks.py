"""A block of the plan: one model's seeds that train together, its files, and how far it is."""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from replicate.errors import ReplicateError
from replicate.files import canonical_json, read_json, write_error
from replicate.filesystem import lock
from replicate.reference.plan import Entry, ReferencePlan

#: Results of every finished block, as they are kept, each with its run record beside it.
RESULTS = ("train", "bandwidth", "evaluation", "recognition")


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
    params: Mapping[str, Any]
    folders: Folders

    @property
    def label(self) -> str:
        """Its name in lines."""
        return f"{self.entry.name} {self.model} seeds {self.seeds}"

    @property
    def results(self) -> tuple[str, ...]:
        """Its results; a comparison of samplers among them where the plan asks for one."""
        return (*RESULTS, "samplers") if self.model in self.entry.samplers else RESULTS

    @property
    def place(self) -> Path:
        """Its folder below `blocks/`."""
        return Path(self.entry.name, self.model, self.dataset, self.seeds)

    @property
    def folder(self) -> Path:
        """Where it is worked on."""
        return self.folders.work / "blocks" / self.place

    @property
    def kept(self) -> Path:
        """Where its results are kept."""
        return self.folders.results / self.entry.name / self.model / self.seeds

    @property
    def epochs(self) -> int:
        """How many the plan asks for."""
        return int(self.entry.models[self.model][self.dataset]["epochs"])

    @property
    def note(self) -> Path:
        """What it was started from: commit, code, data."""
        return self.folder / "block.json"

    @property
    def weights(self) -> Path:
        """Those of the chosen epochs; the result and the record of the training lie beside them."""
        return self.folder / "weights.safetensors"

    @property
    def measured(self) -> Path:
        """Samples and what is measured of them."""
        return self.folder / "measured"

    @property
    def state(self) -> Path:
        """Checkpoints and progress."""
        return self.folder / "state"

    def trained_epochs(self) -> int:
        """How many epochs the training that ended here last had; 0 where none did."""
        training, record = self.weights.with_suffix(".json"), self.weights.with_suffix(".run.json")
        if not (self.weights.is_file() and training.is_file() and record.is_file()):
            return 0
        return min(int(read_json(training)["epochs"]), int(read_json(record)["epochs"]))

    def kept_epochs(self) -> int:
        """How many epochs the training had whose results are kept; 0 where they are not whole."""
        names = [f"{name}{suffix}" for name in self.results for suffix in (".json", ".run.json")]
        if not all((self.kept / name).is_file() for name in names):
            return 0
        return int(read_json(self.kept / "train.json")["epochs"])

    def is_finished(self) -> bool:
        """Whether results of at least the epochs that the plan asks for are kept."""
        return self.kept_epochs() >= self.epochs

    def is_begun(self) -> bool:
        """Whether some work on it lies here."""
        return self.note.is_file() or bool(self.states())

    def states(self) -> list[tuple[Path, dict[str, Any]]]:
        """Its folders of checkpoints that hold one, each with the settings of its run."""
        settings = sorted((self.state / "checkpoints").glob("*/run.json"))
        return [(path.parent, read_json(path)) for path in settings if any(path.parent.glob("step-*.json"))]

    def progress(self) -> dict[str, Any]:
        """What its training last said of itself; empty where it never did."""
        path = self.state / "progress" / f"{self.dataset}-{self.model}-{self.seeds}.json"
        with suppress(ReplicateError):
            return dict(read_json(path))
        return {}

    @contextmanager
    def held(self) -> Iterator[int | None]:
        """Holds the block; yields the lock's handle for children to hold too, or None where another process works.

        The lock goes when the last process that has the handle ends. A training that was started by hand holds its
        folder of checkpoints alone, which is looked at here.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise write_error(self.folder, error) from error
        try:
            mine = _locked(handle, self.folder) and not self._training_elsewhere()
            yield handle if mine else None
        finally:
            os.close(handle)

    def is_held(self) -> bool:
        """Whether a process works on it now; changes nothing."""
        if not self.folder.is_dir():
            return False
        return _is_locked(self.folder / "lock") or self._training_elsewhere()

    def _training_elsewhere(self) -> bool:
        return any(_is_locked(path) for path in (self.state / "checkpoints").glob("*/lock"))


def _locked(handle: int, place: Path) -> bool:
    """Locks an open file unless another process holds it; where there are no locks, nobody does."""
    try:
        lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, place)
    except BlockingIOError:
        return False
    return True


def _is_locked(path: Path) -> bool:
    """Whether some process holds the lock of that file."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _locked(handle, path.parent)
    finally:
        os.close(handle)


def blocks_of(plan: ReferencePlan, folders: Folders) -> list[Block]:
    """Every block in the order of the plan: entry by entry, model by model, block of seeds by block of seeds."""
    return [
        Block(entry, dataset, model, seeds, plan.params_of(entry), folders)
        for entry in plan.entries
        for model, recipes in entry.models.items()
        for dataset in recipes
        for seeds in entry.seeds
    ]


def other_settings(block: Block, given: Mapping[str, Any]) -> list[str]:
    """The settings in which a training differs from what the plan asks for, but for its number of epochs.

    Args:
        given: as `run.json` of a training's checkpoints has them, or `parameters` of its result.
    """
    likelihood = block.params["likelihood"]
    asked: dict[str, Mapping[str, Any]] = {
        "config": block.entry.models[block.model][block.dataset],
        "compute": block.params["compute"],
        "selection": block.params["selection"],
        "likelihood": {name: likelihood[name] for name in ("sigmas", "validation_limit") if name in likelihood},
    }
    found = {
        **{name: given[name] for name in ("config", "compute", "selection")},
        "likelihood": {name: given[name] for name in ("sigmas", "validation_limit")},
    }
    names = []
    for section, values in asked.items():
        for name, value in values.items():
            same = canonical_json(found[section].get(name)) == canonical_json(value)
            if not same and (section, name) != ("config", "epochs"):
                names.append(f"{section}.{name}")
    return names
