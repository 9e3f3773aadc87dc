"""What a running job says of itself: a small file that `replicate status` reads, and lines on the terminal."""

import argparse
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from replicate.files import write_json
from replicate.loops import LISTENER, Level, share_done

#: Seconds between two lines, or two writes of the file.
LINE_EVERY, FILE_EVERY = 10.0, 1.0


def duration(seconds: float) -> str:
    """A length of time for people: 42 s, 3 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def on_terminal() -> bool:
    """Whether lines go to a terminal on which one can be drawn over; engines put a pipe in between, for the log."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def clear_line() -> None:
    """Takes the refreshed line off the terminal, before something else is printed."""
    if on_terminal():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _columns() -> int:
    """Columns of the terminal behind standard error; standard output may be another one, or none."""
    with suppress(OSError):  # also a stream without a file descriptor
        if columns := os.get_terminal_size(sys.stderr.fileno()).columns:
            return columns
    return shutil.get_terminal_size().columns


class Notice:
    """Where a job says how far it is: a file, and one refreshed line on a terminal, else plain lines.

    Args:
        path: the progress file, in a side folder.
        waits: whether a first line is only due after the time between two; a short job then says nothing.
    """

    def __init__(self, path: Path, waits: bool = False) -> None:
        self._path = path
        self._looked = time.monotonic()
        self._line = self._file = self._looked if waits else 0.0

    def due(self) -> bool:
        """Whether so much time has passed since the last word that another one is worth it."""
        return time.monotonic() - self._looked >= FILE_EVERY

    def say(self, line: str, facts: Mapping[str, Any], state: str = "running") -> None:
        """Writes the file and the line, each if enough time has passed; the file also where the state changed."""
        now = self._looked = time.monotonic()
        if state != "running" or now - self._file >= FILE_EVERY:
            self._file = now
            about = {"pid": os.getpid(), "state": state, "line": line, "updated": time.time()}
            write_json(self._path, about | dict(facts))
        fresh = on_terminal()
        if state == "running" and now - self._line >= (FILE_EVERY if fresh else LINE_EVERY):
            self._line = now
            if fresh:  # cut, for a line that wraps could not be drawn over
                line = f"\r\x1b[K{line[: _columns() - 1]}"
            print(line, end="" if fresh else "\n", file=sys.stderr, flush=True)


class Progress:
    """Reports the epochs of one training.

    Args:
        path: the progress file, in a side folder.
        label: names the job in lines.
        epochs: of the whole run.
    """

    def __init__(self, path: Path, label: str, epochs: int) -> None:
        self._notice, self._label, self._epochs = Notice(path), label, epochs
        self._begun, self._images = 0.0, 0
        self._started = time.monotonic()

    @contextmanager
    def running(self, epoch: float, images: int) -> Iterator[None]:
        """Measures rates from here, where `epoch` epochs are done; one shows `images` images, counted once a seed."""
        self._begun, self._images = epoch, images
        self._started = time.monotonic()
        try:
            yield
        finally:
            clear_line()

    def due(self) -> bool:
        """Whether so much time has passed since the last update that one is worth it in the middle of an epoch."""
        return self._notice.due()

    def update(self, epoch: float, text: str, state: str = "running") -> None:
        """`epoch` epochs are done; writes the file and a line if enough time has passed or the state changed."""
        done = epoch - self._begun
        rate = (time.monotonic() - self._started) / done if done else None
        left = rate * (self._epochs - epoch) if rate else None
        speed = self._images / rate if rate else None
        parts = [f"epoch {int(epoch)}/{self._epochs}"]
        if speed is not None and left is not None:
            parts += [f"{speed:,.0f} images/s", f"{duration(left)} left"]
        facts = {
            "label": self._label, "epoch": int(epoch), "epochs": self._epochs, "seconds_per_epoch": rate,
            "images_per_second": speed, "seconds_left": left, "text": text,
        }  # fmt: skip
        self._notice.say(f"{self._label}: {', '.join([*parts, text])}", facts, state)


class Work:
    """Reports the loops of one job, as `replicate.loops` tells them; see `reporting`."""

    def __init__(self, path: Path, label: str) -> None:
        self._notice, self._label = Notice(path, waits=True), label
        self._started = time.monotonic()
        self.levels = [Level()]

    def due(self) -> bool:
        """Whether it is time to be told again."""
        return self._notice.due()

    def tell(self) -> None:
        """Writes the file and a line if enough time has passed."""
        share = share_done(self.levels)
        left = (time.monotonic() - self._started) * (1 - share) / share if share else None
        parts = [level.text for level in self.levels if level.text]
        loops = [level for level in self.levels if level.unit is not None]
        if loops:
            parts += _steps(loops[-1])
        parts.append(f"{int(100 * share + 1e-9)} % done")
        if left and share >= 0.01:  # of less, the start is most of the time so far
            parts.append(f"{duration(left)} left")
        facts = {"label": self._label, "share": share, "seconds_left": left}
        self._notice.say(f"{self._label}: {', '.join(parts)}", facts)


def _steps(loop: Level) -> list[str]:
    """How far a loop of steps is, and its speed."""
    seconds = time.monotonic() - loop.started
    rate = loop.number / seconds if seconds else 0.0
    counts = f"{loop.unit} {loop.number:,}/{loop.count:,}"
    return [counts, f"{rate:,.0f} {loop.unit}s/s" if rate >= 10 else f"{rate:.2g} {loop.unit}s/s"] if rate else [counts]


@contextmanager
def reporting(state: Path, label: str) -> Iterator[None]:
    """The loops inside are reported: in lines, and in a file of the folder `state` that goes away at the end.

    Args:
        label: names the job in lines, and the file; no other job that may run at the same time has it.
    """
    path = state / "progress" / f"{label.replace(' ', '-').replace('/', '-of-')}.json"
    before = LISTENER.set(Work(path, label))
    try:
        yield
    finally:
        LISTENER.reset(before)
        clear_line()
        path.unlink(missing_ok=True)


def add_state_argument(parser: argparse.ArgumentParser) -> None:
    """Declares where a stage keeps its progress file."""
    parser.add_argument("--state", type=Path, default=Path(".replicate"), help="folder for progress")


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a set event, so that a step ends whole; a second one stops at once."""
    asked = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        with suppress(OSError):  # not print: the signal may have come in the middle of one, which would raise
            start = b"\n" if os.isatty(2) else b""  # below the refreshed line
            os.write(2, start + b"stopping after this step; once more to stop at once.\n")

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield asked
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
