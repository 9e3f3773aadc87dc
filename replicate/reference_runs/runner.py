"""Runs blocks side by side as child processes until all are done, time is up, or it is stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from replicate.errors import ReplicateError
from replicate.progress.reporting import duration, stop_requests
from replicate.reference_runs.blocks import Block, Folders, Settings, differing_settings
from replicate.reference_runs.plan import Options
from replicate.reference_runs.sources import Source, begin, present, read_origin, source_of
from replicate.reference_runs.steps import steps
from replicate.storage.files import read_json, sha256_file

#: Seconds between two polls of the children, and between two lines of their progress.
POLL_EVERY, LINE_EVERY = 0.2, 600.0
#: Run as a file, by older code too.
DESCRIBE = Path(__file__).with_name("describe.py")


class EntryDescription(TypedDict):
    """What code makes of the parameters of an entry.

    `backend` is None where the entry is for a GPU and there is none; `extends` says of each model
    whether more epochs can go on from its last state.
    """

    backend: dict[str, object] | None
    extends: dict[str, bool]


class Description(TypedDict):
    """What `describe.py` prints: what code makes of this machine and of parameters."""

    versions: dict[str, str]
    device: str
    device_name: str
    entries: list[EntryDescription]


def described(source: Source, params: Sequence[Options]) -> Description:
    """What a source's code makes of the parameters of entries (`describe.py`).

    Raises:
        ReplicateError: it refuses them.
    """
    process = subprocess.run(
        # -P: else modules beside that file, such as `data`, would be found before all others.
        [sys.executable, "-P", str(DESCRIBE)],
        input=json.dumps(params),
        capture_output=True,
        text=True,
        env=source.environment(),
        check=False,
    )
    if process.returncode:
        message = process.stderr.strip() or "the code of this plan does not run"
        raise ReplicateError(message.splitlines()[-1])
    # The last line: libraries may print notes of their own before it.
    description: Description = json.loads(process.stdout.splitlines()[-1])
    return description


def _lower_priority(process: int) -> None:
    """Gives the session of a process the lowest priority.

    Linux shares the processor between sessions before it does between their processes.
    """
    with suppress(OSError):  # another system, or a Linux without such groups
        Path(f"/proc/{process}/autogroup").write_text("19")


@dataclass
class Lane:
    """A block that is worked on, and its processes one after the other.

    Attributes:
        block: the block.
        commands: of its processes that are still to start.
        environment: of its processes.
        folder: where they start.
        lock: handle of the block's lock, which they hold too.
        resources: what is closed with the lane: the lock.
        process: the one that runs.
        log_start: where the log of that process begins in the block's log.
        stop_requested: whether it got a signal to stop.
    """

    block: Block
    commands: Iterator[list[str]]
    environment: dict[str, str]
    folder: Path
    lock: int
    resources: ExitStack
    process: subprocess.Popen[bytes] | None = None
    log_start: int = 0
    stop_requested: bool = False

    @property
    def log(self) -> Path:
        """What its processes print."""
        return self.block.folder / "log"

    def start(self, command: list[str]) -> None:
        """Starts a process."""
        with self.log.open("ab") as stream:
            self.log_start = stream.tell()
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                # Ctrl-C then reaches this process alone, which asks for a checkpoint.
                start_new_session=True,
                pass_fds=(self.lock,),
            )
        _lower_priority(self.process.pid)

    def last_line(self) -> str:
        """The last line that its process printed."""
        content = self.log.read_bytes()[self.log_start :]
        text = content.decode(errors="replace").strip()
        if not text:
            return "it said nothing"
        return text.splitlines()[-1]

    def stop(self, number: int) -> None:
        """Sends a signal to its process."""
        self.stop_requested = True
        process = self.process
        if process is not None and process.poll() is None:
            os.kill(process.pid, number)


@dataclass
class Runner:
    """Works through blocks.

    Attributes:
        folders: of the reference runs.
        waiting: blocks in the order of the plan.
        at_once: how many run side by side.
        extends: (entry, model) -> whether more epochs can go on from its last state.
        checkpoint_every: seconds of a training that a kill may cost.
        write_table: writes the table of an entry anew, by its name.
        stop_at: when to ask for the last checkpoints; None for never.
        end_at: when to wait for them no longer; None for never.
        lanes: blocks that are worked on.
        finished: number of blocks that were finished.
        troubled: number of blocks that failed or could not be started.
    """

    folders: Folders
    waiting: deque[Block]
    at_once: int
    extends: dict[tuple[str, str], bool]
    checkpoint_every: float
    write_table: Callable[[str], None]
    stop_at: float | None = None
    end_at: float | None = None
    lanes: list[Lane] = field(default_factory=list)
    finished: int = 0
    troubled: int = 0

    def run(self) -> bool:
        """Runs until no block is left to start; returns whether it was stopped by a signal."""
        last_report = time.monotonic()
        try:
            with stop_requests() as stop:
                while True:
                    stopping = stop.is_set() or _past(self.stop_at)
                    if not stopping:
                        self._fill_lanes()
                    if not self.lanes:  # nothing runs, and nothing is left to start
                        return stop.is_set()
                    if stopping:
                        self._stop_lanes()
                    time.sleep(POLL_EVERY)
                    self._poll(stopping)
                    if time.monotonic() - last_report > LINE_EVERY:
                        last_report = time.monotonic()
                        self._report_progress()
        finally:  # a second signal, or a fault: a training may be killed at any time
            for lane in self.lanes:
                lane.stop(signal.SIGKILL)
                lane.resources.close()

    def _fill_lanes(self) -> None:
        while len(self.lanes) < self.at_once and self._start_next():
            pass

    def _stop_lanes(self) -> None:
        """Asks every training for its last checkpoint, or kills it where that takes too long."""
        if _past(self.end_at):
            for lane in self.lanes:
                lane.stop(signal.SIGKILL)
            return
        for lane in self.lanes:
            # Once: a second SIGTERM would stop a training without its checkpoint.
            if not lane.stop_requested:
                lane.stop(signal.SIGTERM)

    def _start_next(self) -> bool:
        """Starts the next block that can be started; False where none is left."""
        while self.waiting:
            block = self.waiting.popleft()
            # Held until the lane ends, whichever way it does.
            resources = ExitStack()
            try:
                # Another process may have finished it since the list was made.
                if block.is_finished():
                    continue
                lock = resources.enter_context(block.locked())
                if lock is None:
                    print(f"held     {block.label}: another process works on it", flush=True)
                    resources.close()
                    continue
                self._start(block, lock, resources)
                return True
            except (ReplicateError, OSError) as error:
                resources.close()
                self._report_trouble(block, "not started", str(error))
        return False

    def _start(self, block: Block, lock: int, resources: ExitStack) -> None:
        source = self._source(block)
        commands = steps(block, source, self.checkpoint_every)
        environment = source.environment()
        lane = Lane(block, commands, environment, source.folder, lock, resources)
        start = "from the beginning"
        if block.states():
            start = "goes on from its last state"
        print(f"started  {block.label}: {start}, {source.name}", flush=True)
        self._advance(lane, stopping=False)

    def _source(self, block: Block) -> Source:
        """The code of a block.

        Raises:
            ReplicateError: a block that has begun could not go on, but would start anew.
        """
        # Of the bytes, since the name of a data set does not say how it was cut.
        data = sha256_file(self.folders.data / f"{block.dataset}.safetensors")
        epochs = block.published_epochs()
        if epochs and not block.states():
            raise ReplicateError(
                f"its results of {epochs} epochs are kept and the plan asks for {block.epochs}, "
                "but its last state is not here; go on where it is, or unpack a pack that was made "
                "with --states."
            )
        if not block.has_begun():
            source = present(self.folders)
            begin(block, source, data)
            return source
        source = source_of(block, self.folders)
        origin = read_origin(block.origin_file)
        # Going on with other data would mix two trainings in one result.
        if origin["data"] != data:
            raise ReplicateError(
                f"it was started from other data ({origin['data'][:12]}) than lie in "
                f"{self.folders.data} ({data[:12]}); bring those back."
            )
        for _, settings in block.states():
            self._check(block, source, settings)
        return source

    def _check(self, block: Block, source: Source, settings: Settings) -> None:
        """Refuses to go on where a training would start anew.

        Raises:
            ReplicateError: the plan, the versions or the machine differ from those that began it.
        """
        differing = differing_settings(block, settings)
        if differing:
            names = ", ".join(differing)
            raise ReplicateError(f"it was begun with other settings than the plan's: {names}.")
        epochs = settings["config"]["epochs"]
        if epochs != block.epochs and not self.extends[block.entry.name, block.model]:
            raise ReplicateError(
                f"it was begun with {epochs} epochs and the plan asks for {block.epochs}, but its "
                "recipe depends on the last epoch, so that it cannot go on; give the plan an entry "
                "of its own for it."
            )
        description = described(source, [block.params])
        backend = description["entries"][0]["backend"]
        assert backend is not None, "blocks run only where their device is"
        facts: dict[str, object] = {**description["versions"], **backend}
        values: Mapping[str, object] = settings
        earlier_facts = {name: values[name] for name in description["versions"]}
        earlier_facts |= settings["backend"]
        for name, earlier in earlier_facts.items():
            # A fact that only one of both records knows says nothing.
            if name in facts and facts[name] != earlier:
                raise ReplicateError(
                    f"it was begun with {name} {earlier} and here it is {facts[name]}, so that it "
                    "would start anew; go on where it was begun."
                )

    def _poll(self, stopping: bool) -> None:
        """Starts the next process of each lane whose process has ended, or ends the lane."""
        # A copy: lanes are taken out and put back on the way.
        for lane in list(self.lanes):
            assert lane.process is not None
            status = lane.process.poll()
            if status is None:
                continue
            self.lanes.remove(lane)
            if status == 0:
                try:
                    self._advance(lane, stopping)
                # Such as a full disk: the other lanes go on.
                except (ReplicateError, OSError) as error:
                    lane.resources.close()
                    self._report_trouble(lane.block, "failed", str(error))
            # It was asked to: its status, 130 or that of SIGKILL, is no failure.
            elif lane.stop_requested:
                _close_stopped(lane)
            else:
                self._close_failed(lane, status)

    def _advance(self, lane: Lane, stopping: bool) -> None:
        """Starts the next process of a lane, or ends it."""
        command = next(lane.commands, None)
        if command is None:
            self._close_finished(lane)
        elif stopping:
            # Its state is saved; what is left of the block are its measurements.
            _close_stopped(lane)
        else:
            lane.start(command)
            self.lanes.append(lane)

    def _close_finished(self, lane: Lane) -> None:
        block = lane.block
        try:
            self.write_table(block.entry.name)
        except (ReplicateError, OSError) as error:  # the block is complete without it
            print(f"the table of {block.entry.name} is not written: {error}", file=sys.stderr)
        lane.resources.close()
        self.finished += 1
        results = results_text(block)
        print(f"finished {block.label}: {results}", flush=True)

    def _close_failed(self, lane: Lane, status: int) -> None:
        lane.resources.close()
        ending = f"status {status}"
        # A negative status is the number of the signal that ended the process.
        if status < 0:
            ending = f"signal {-status}"
        last_line = lane.last_line()
        message = f"{last_line} ({ending}; {lane.log})"
        self._report_trouble(lane.block, "failed", message)

    def _report_trouble(self, block: Block, outcome: str, reason: str) -> None:
        self.troubled += 1
        print(f"{outcome:8s} {block.label}: {reason}", file=sys.stderr, flush=True)

    def _report_progress(self) -> None:
        for lane in self.lanes:
            block = lane.block
            progress = progress_text(block)
            print(f"running  {block.label}: {progress}", flush=True)


def _past(moment: float | None) -> bool:
    return moment is not None and time.monotonic() >= moment


def _close_stopped(lane: Lane) -> None:
    block = lane.block
    lane.resources.close()
    progress = progress_text(block)
    print(f"stopped  {block.label}: {progress}", flush=True)


def results_text(block: Block) -> str:
    """The log-likelihoods of a finished block, and its failed seeds, in words."""
    nats = []
    failed = []
    for row in read_json(block.results_folder / "evaluation.json")["per_seed"]:
        if row["failed"]:
            failed.append(str(row["seed"]))
        else:
            nats.append(f"{row['log_likelihood']:.1f}")
    sentences = []
    if nats:
        sentences.append(f"{', '.join(nats)} nats on test images")
    if failed:
        sentences.append(f"failed seeds: {', '.join(failed)}")
    return "; ".join(sentences)


def progress_text(block: Block) -> str:
    """How far a block's training is, in words."""
    if block.trained_epochs() >= block.epochs:
        return f"trained, {block.epochs} epochs; measured next"
    progress = block.progress()
    if not progress:
        return "just begun"
    text = f"epoch {progress['epoch']}/{block.epochs}"
    if seconds := progress.get("seconds_left"):
        text += f", {duration(seconds)} left"
    return text
