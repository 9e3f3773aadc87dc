"""Runs blocks side by side as child processes, until all are done, time is up, or somebody stops it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from replicate.errors import ReplicateError
from replicate.files import read_json, sha256_file
from replicate.reference.blocks import Block, Folders, other_settings
from replicate.reference.sources import Source, begin, present, source_of
from replicate.reference.steps import steps
from replicate.training.progress import duration, stop_requests

#: Seconds between two looks at the children, and between two lines of how far they are.
LOOK_EVERY, LINE_EVERY = 0.2, 600.0
#: Run as a file, by older code too.
DESCRIBE = Path(__file__).with_name("describe.py")


def described(source: Source, params: Sequence[Any]) -> dict[str, Any]:
    """What a source's code makes of parameters (`describe.py`).

    Raises:
        ReplicateError: it refuses them.
    """
    done = subprocess.run(
        [sys.executable, "-P", str(DESCRIBE)], input=json.dumps(params), capture_output=True, text=True,
        env=source.environment(), check=False,
    )  # fmt: skip
    if done.returncode:
        raise ReplicateError((done.stderr.strip() or "the code of this plan does not run").splitlines()[-1])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _lower(process: int) -> None:
    """Gives a process's session the lowest priority: Linux weighs sessions against each other before processes."""
    with suppress(OSError):  # another system, or a Linux without such groups
        Path(f"/proc/{process}/autogroup").write_text("19")


@dataclass
class Lane:
    """A block that is worked on.

    Attributes:
        commands: of its processes, still to come.
        process: the one that runs.
        log: what it prints, from the place where it began.
        holds: the block's lock, and the log.
    """

    block: Block
    commands: Iterator[list[str]]
    environment: dict[str, str]
    folder: Path
    lock: int
    holds: ExitStack
    process: subprocess.Popen[bytes] | None = None
    began: int = 0
    asked: bool = False

    def start(self, command: list[str]) -> None:
        """Starts a process."""
        log = self.block.folder / "log"
        with log.open("ab") as stream:
            self.began = stream.tell()
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=stream,
                stderr=subprocess.STDOUT, start_new_session=True, pass_fds=(self.lock,),
            )  # fmt: skip
        _lower(self.process.pid)

    def last_line(self) -> str:
        """What its process said last."""
        text = (self.block.folder / "log").read_bytes()[self.began :].decode(errors="replace")
        return (text.strip() or "it said nothing").splitlines()[-1]

    def stop(self, number: int) -> None:
        """Sends a signal to its process."""
        self.asked = True
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, number)


@dataclass
class Runner:
    """Works through blocks.

    Attributes:
        waiting: in the order of the plan.
        at_once: how many run side by side.
        stop_at: when to ask for the last checkpoint, and `end_at` when not to wait for it any longer; None for never.
        extends: (entry, model) -> whether more epochs can go on from its last state.
        checkpoint_every: seconds of a training that a kill may cost.
    """

    folders: Folders
    waiting: deque[Block]
    at_once: int
    extends: dict[tuple[str, str], bool]
    checkpoint_every: float
    stop_at: float | None = None
    end_at: float | None = None
    lanes: list[Lane] = field(default_factory=list)
    finished: int = 0
    troubled: int = 0
    held: list[Block] = field(default_factory=list)

    def run(self) -> bool:
        """Runs until nothing is left to take; returns whether somebody stopped it."""
        said = time.monotonic()
        try:
            with stop_requests() as stop:
                while True:
                    over = stop.is_set() or _past(self.stop_at)
                    while not over and len(self.lanes) < self.at_once and self._take():
                        pass
                    if not self.lanes:
                        return stop.is_set()
                    if over:
                        self._ask(signal.SIGKILL if _past(self.end_at) else signal.SIGTERM)
                    time.sleep(LOOK_EVERY)
                    self._look(over)
                    if time.monotonic() - said > LINE_EVERY:
                        said = time.monotonic()
                        self._say()
        finally:  # a second signal, or a fault: what trains is safe at any byte
            for lane in self.lanes:
                lane.stop(signal.SIGKILL)
                lane.holds.close()

    def _ask(self, number: int) -> None:
        for lane in self.lanes:
            if not lane.asked or number == signal.SIGKILL:
                lane.stop(number)

    def _take(self) -> bool:
        """Starts the next block that can be; False where none is left."""
        while self.waiting:
            block = self.waiting.popleft()
            if block.is_finished():
                continue
            holds = ExitStack()
            try:
                lock = holds.enter_context(block.held())
                if lock is None:
                    self.held.append(block)
                    print(f"held     {block.label}: another process works on it", flush=True)
                    holds.close()
                    continue
                self._start(block, lock, holds)
                return True
            except ReplicateError as error:
                holds.close()
                self._trouble(block, "not started", str(error))
        return False

    def _start(self, block: Block, lock: int, holds: ExitStack) -> None:
        source = self._source(block)
        lane = Lane(
            block, steps(block, source, self.checkpoint_every), source.environment(), source.folder, lock, holds
        )
        going_on = "goes on from its last state" if block.states() else "from the beginning"
        print(f"started  {block.label}: {going_on}, {source.name}", flush=True)
        self._next(lane, over=False)

    def _source(self, block: Block) -> Source:
        """The code of a block, once it is sure that it goes on and does not start anew."""
        data = sha256_file(self.folders.data / f"{block.dataset}.safetensors")
        if (epochs := block.kept_epochs()) and not block.states():
            raise ReplicateError(
                f"its results of {epochs} epochs are kept and the plan asks for {block.epochs}, but its last state is "
                "not here; go on where it is, or unpack a pack that was made with --states."
            )
        if not block.is_begun():
            source = present(self.folders)
            begin(block, source, data)
            return source
        source = source_of(block, self.folders)
        origin = read_json(block.note)
        if origin["data"] != data:
            raise ReplicateError(
                f"it was started from other data ({origin['data'][:12]}) than lie in {self.folders.data} "
                f"({data[:12]}); bring those back."
            )
        for _, settings in block.states():
            self._check(block, source, settings)
        return source

    def _check(self, block: Block, source: Source, settings: dict[str, Any]) -> None:
        """Refuses to go on where a training would start anew.

        Raises:
            ReplicateError: the plan, the versions or the machine differ from those that began it.
        """
        if others := other_settings(block, settings):
            raise ReplicateError(f"it was begun with other settings than the plan's: {', '.join(others)}.")
        began = settings["config"]["epochs"]
        if began != block.epochs and not self.extends[block.entry.name, block.model]:
            raise ReplicateError(
                f"it was begun with {began} epochs and the plan asks for {block.epochs}, but its recipe depends on the "
                "last epoch, so that it cannot go on; give the plan an entry of its own for it."
            )
        here = described(source, [block.params])
        now = {**here["versions"], **here["entries"][0]["backend"]}
        before = {name: settings[name] for name in here["versions"]} | settings["backend"]
        other = [name for name, value in before.items() if name in now and now[name] != value]
        if other:
            name = other[0]
            raise ReplicateError(
                f"it was begun with {name} {before[name]} and here it is {now[name]}, so that it would start anew; go "
                "on where it was begun."
            )

    def _look(self, over: bool) -> None:
        """Takes up what the children that have ended leave."""
        for lane in list(self.lanes):
            assert lane.process is not None
            status = lane.process.poll()
            if status is None:
                continue
            self.lanes.remove(lane)
            if status == 0:
                self._go_on(lane, over)
            elif lane.asked:
                _end(lane)
            else:
                self._fail(lane, status)

    def _go_on(self, lane: Lane, over: bool) -> None:
        try:
            self._next(lane, over)
        except ReplicateError as error:
            lane.holds.close()
            self._trouble(lane.block, "failed", str(error))

    def _next(self, lane: Lane, over: bool) -> None:
        """Starts a lane's next process, or ends the lane."""
        command = next(lane.commands, None)
        if command is None:
            self._finish(lane)
        elif over:
            _end(lane)
        else:
            lane.start(command)
            self.lanes.append(lane)

    def _finish(self, lane: Lane) -> None:
        lane.holds.close()
        self.finished += 1
        print(f"finished {lane.block.label}: {found_in(lane.block)}", flush=True)

    def _fail(self, lane: Lane, status: int) -> None:
        lane.holds.close()
        how = f"signal {-status}" if status < 0 else f"status {status}"
        self._trouble(lane.block, "failed", f"{lane.last_line()} ({how}; {lane.block.folder / 'log'})")

    def _trouble(self, block: Block, what: str, why: str) -> None:
        self.troubled += 1
        print(f"{what:8s} {block.label}: {why}", file=sys.stderr, flush=True)

    def _say(self) -> None:
        for lane in self.lanes:
            print(f"running  {lane.block.label}: {how_far(lane.block)}", flush=True)


def _past(moment: float | None) -> bool:
    return moment is not None and time.monotonic() >= moment


def _end(lane: Lane) -> None:
    lane.holds.close()
    print(f"stopped  {lane.block.label}: {how_far(lane.block)}", flush=True)


def found_in(block: Block) -> str:
    """What the results of a finished block say, in words."""
    seeds = read_json(block.kept / "evaluation.json")["per_seed"]
    nats = [f"{one['log_likelihood']:.1f}" for one in seeds if not one["failed"]]
    failed = [str(one["seed"]) for one in seeds if one["failed"]]
    said = [f"{', '.join(nats)} nats on test images"] if nats else []
    return "; ".join([*said, *([f"failed seeds: {', '.join(failed)}"] if failed else [])])


def how_far(block: Block) -> str:
    """How far a block's training is, in words."""
    if block.trained_epochs() >= block.epochs:
        return f"trained, {block.epochs} epochs; measured next"
    said = block.progress()
    if not said:
        return "just begun"
    left = f", {duration(said['seconds_left'])} left" if said.get("seconds_left") else ""
    return f"epoch {said['epoch']}/{block.epochs}{left}"
