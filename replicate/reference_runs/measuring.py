"""Every measure of finished blocks, from their kept weights, with controls and ranks.

Today's code measures, since measures are younger than many blocks; run records name its commit.
A block is measured once for its weights: of a longer training it is measured again.
"""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import yaml

from replicate.errors import ReplicateError
from replicate.progress.reporting import duration
from replicate.records.kept_runs import add_to_sums
from replicate.records.run_record import record_path
from replicate.reference_runs.blocks import Block, Folders, blocks_of
from replicate.reference_runs.data import prepared
from replicate.reference_runs.keeping import WEIGHTS, sole_writer
from replicate.reference_runs.plan import Entry, ReferencePlan
from replicate.reference_runs.sources import Source
from replicate.reference_runs.steps import (
    classifier_of,
    joined_stages,
    name_of_code_and_data,
    python,
)
from replicate.storage.files import canonical_json, read_json, sha256_json, write_text

#: A block's result, beside its others.
MEASURES = "measures.json"


def measure_blocks(
    plan: ReferencePlan,
    folders: Folders,
    source: Source,
    entries: Collection[str],
    end_at: float | None,
    write_ranks: Callable[[str], None],
) -> int:
    """Measures the finished blocks of some entries whose weights are here, one after the other.

    Args:
        plan: of the blocks.
        folders: of the reference runs.
        source: the code that measures.
        entries: names.
        end_at: moment of `time.monotonic()` after which none is begun; None for never. A block that
            is being measured is finished.
        write_ranks: writes the ranks of an entry anew, by its name.

    Returns:
        The exit status: 1 where a block could not be measured.
    """
    work = _Work(plan, folders, source)
    troubled = 0
    for block in blocks_of(plan, folders):
        if block.entry.name not in entries or not is_due(block):
            continue
        if end_at is not None and time.monotonic() >= end_at:
            print("reference: time is up; the same command goes on with the next block.")
            break
        started = time.monotonic()
        try:
            work.measure(block)
            write_ranks(block.entry.name)
        except ReplicateError as error:
            troubled += 1
            print(f"not measured {block.label}: {error}", file=sys.stderr, flush=True)
            continue
        print(f"measured {block.label}: {duration(time.monotonic() - started)}", flush=True)
    return 1 if troubled else 0


def is_due(block: Block) -> bool:
    """Whether a finished block's chosen weights are here, and no measures of them are kept."""
    return (
        block.is_finished()
        and (block.results_folder / WEIGHTS).is_file()
        and weights_of(block).is_file()
        and measured_weights(block) != _chosen(block)
    )


def _chosen(block: Block) -> str:
    """The SHA-256 of a finished block's chosen weights."""
    digest: str = read_json(block.results_folder / WEIGHTS)["chosen"]["sha256"]
    return digest


def weights_of(block: Block) -> Path:
    """Where a finished block's chosen weights are kept, if they are."""
    return block.folders.weights / f"{_chosen(block)}.safetensors"


def measured_weights(block: Block) -> str | None:
    """The SHA-256 of the weights that a block's kept measures are of; None without them."""
    path = block.results_folder / MEASURES
    if not (path.is_file() and record_path(path).is_file()):
        return None
    digest: str = read_json(path)["inputs"]["weights"]
    return digest


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """A context that SIGTERM leaves as Ctrl-C does, so that no process of ours is left behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    earlier = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, earlier)


@dataclass(frozen=True)
class _Work:
    """The measuring of blocks by one code."""

    plan: ReferencePlan
    folders: Folders
    source: Source

    def measure(self, block: Block) -> None:
        """Measures a block and its controls, and keeps both.

        Raises:
            ReplicateError: a process of it failed, or its data set is not here.
        """
        options = self.plan.datasets.get(block.dataset, {})
        prepared(block.dataset, options, self.folders, self.source)
        with block.locked() as lock:
            if lock is None:
                raise ReplicateError("another process works on it.")
            print(f"measures {block.label}: {self.source.name}", flush=True)
            # First: after a kill nobody comes back to a block whose own measures are kept.
            self._measure_controls(block, lock)
            folder = block.all_measures
            params = self._write_params(block.entry, folder)
            samples, measures = folder / "samples.safetensors", folder / MEASURES
            # What lies there from an earlier call may be of other weights.
            for path in (samples, measures):
                record_path(path).unlink(missing_ok=True)
            stages = {
                "classifier": ("classifier", classifier_of(block, self.source)),
                "sample": ("samples", samples),
                "measures": ("measures", measures),
            }
            words = joined_stages(block, stages, params, weights_of(block))
            self._run(block, words, lock)
            samples.unlink()
            self._keep(block.entry, measures, block.results_folder / MEASURES)

    def _write_params(self, entry: Entry, folder: Path) -> Path:
        """Writes the parameter file of the stages."""
        path = folder / "params.yaml"
        write_text(path, yaml.safe_dump(self.plan.measured_params_of(entry), sort_keys=False))
        return path

    def _measure_controls(self, block: Block, lock: int) -> None:
        """Measures the controls of a block's data set once for each code, data and settings."""
        params = self.plan.measured_params_of(block.entry)
        settings = sha256_json([params[name] for name in ("compute", "likelihood", "measures")])
        start = name_of_code_and_data(block, self.source, "controls")
        controls = self.folders.data / f"{start}-{settings[:8]}.json"
        stages = {
            "classifier": ("classifier", classifier_of(block, self.source)),
            "controls": ("controls", controls),
        }
        file = self._write_params(block.entry, block.all_measures)
        if words := joined_stages(block, stages, file, weights_of(block)):
            self._run(block, words, lock)
        run = self.folders.results / block.entry.name
        self._keep(block.entry, controls, run / f"controls-{block.dataset}.json")

    def _run(self, block: Block, words: list[str], lock: int) -> None:
        """Runs stages in a process of their own, which the block's log gets the words of.

        The process holds the block's lock too, and ends with this one, also by SIGTERM.
        """
        log = block.folder / "log"
        with log.open("ab") as stream, _interrupted_by_sigterm():
            process = subprocess.Popen(
                python(words),
                cwd=self.source.folder,
                env=self.source.environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                pass_fds=(lock,),
            )
            try:
                status = process.wait()
            finally:
                # Of one that has ended nothing is killed.
                process.kill()
                process.wait()
        if status:
            raise ReplicateError(f"its process ended with status {status}; see {log}.")

    def _keep(self, entry: Entry, result: Path, kept: Path) -> None:
        """Puts a result and its record into the committed folder of an entry, and into its list.

        The record is removed first and written last: where it is, the result is that of its stage.
        """
        run = self.folders.results / entry.name
        texts = {
            kept: canonical_json(read_json(result)),
            record_path(kept): canonical_json(read_json(record_path(result))),
        }
        of_run = {path.relative_to(run).as_posix(): text for path, text in texts.items()}
        with sole_writer(self.folders):
            record_path(kept).unlink(missing_ok=True)
            add_to_sums(run, of_run)
            for path, text in texts.items():
                write_text(path, text)
