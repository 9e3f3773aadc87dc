"""What a running job says of itself: a small file that `replicate status` reads, and lines."""

import argparse
import math
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

from replicate.errors import ReplicateError
from replicate.progress.loops import LISTENER, Level, share_done
from replicate.storage.files import write_json
from replicate.storage.processes import this_process

#: Seconds between two lines, or two writes of the file.
LINE_EVERY, FILE_EVERY = 10.0, 1.0


def duration(seconds: float) -> str:
    """A length of time for people: 42 s, 3 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def seconds_of(text: str) -> float:
    """The seconds of a command line's word.

    Raises:
        argparse.ArgumentTypeError: it is no number; NaN, which is above no time that passes.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if math.isnan(seconds):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def on_terminal() -> bool:
    """Whether standard error is a terminal on which a line can be drawn over; engines put a pipe in
    between, for the log.
    """
    # A dumb terminal (Emacs' shell, some CI logs) shows control characters as they are.
    terminal = os.environ.get("TERM")
    return sys.stderr.isatty() and terminal != "dumb"


def clear_line() -> None:
    """Takes the refreshed line off the terminal, before something else is printed."""
    if on_terminal():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _columns() -> int:
    """Columns of the terminal behind standard error; standard output may be another, or none."""
    with suppress(OSError):  # also a stream without a file descriptor
        if columns := os.get_terminal_size(sys.stderr.fileno()).columns:
            return columns
    return shutil.get_terminal_size().columns


class ProgressWriter:
    """Writes how far a job is: a file, and one refreshed line on a terminal, else plain lines.

    Args:
        path: the progress file, in a side folder.
        waits: whether the first line is due only after the time between two, so that a short job
            says nothing.
    """

    def __init__(self, path: Path, waits: bool = False) -> None:
        self._path = path
        self._last_report = time.monotonic()
        # A training says at once that it has begun; shorter jobs only if they last.
        self._last_line = self._last_report if waits else 0.0
        self._last_file = self._last_line

    def should_report(self) -> bool:
        """Whether so much time has passed since the last report that another is worth it."""
        seconds = time.monotonic() - self._last_report
        return seconds >= FILE_EVERY

    def report(self, line: str, facts: Mapping[str, object], state: str = "running") -> None:
        """Writes the file and the line, each if enough time has passed; the file also where the
        state changed.

        A file that cannot be written is done without: it only informs, and the work goes on.
        """
        now = time.monotonic()
        self._last_report = now
        running = state == "running"
        if not running or now - self._last_file >= FILE_EVERY:
            self._last_file = now
            # With its beginning: after a restart another process may have the number.
            process = this_process()
            content = {
                "host": process.host,
                "pid": process.number,
                "began": process.began,
                "state": state,
                "line": line,
                # For jobs of another host, whose process nobody here can ask (`jobs/forecast.py`).
                "updated": time.time(),
            }
            with suppress(ReplicateError):
                write_json(self._path, content | dict(facts))
        terminal = on_terminal()
        # A log keeps every line, a terminal only the last one.
        every, end = LINE_EVERY, "\n"
        if terminal:
            every, end = FILE_EVERY, ""
        if running and now - self._last_line >= every:
            self._last_line = now
            if terminal:
                # Cut, for a line that wraps could not be drawn over.
                line = f"\r\x1b[K{line[: _columns() - 1]}"
            print(line, end=end, file=sys.stderr, flush=True)


class Progress:
    """Reports the epochs of one training.

    Args:
        path: the progress file, in a side folder.
        label: names the job in lines.
        epochs: of the whole run.
    """

    def __init__(self, path: Path, label: str, epochs: int) -> None:
        self._writer = ProgressWriter(path)
        self._label = label
        self._epochs = epochs
        self._first_epoch = 0.0
        self._images_per_epoch = 0
        self._started = time.monotonic()

    @contextmanager
    def running(self, epoch: float, images: int) -> Iterator[None]:
        """Measures rates from here.

        Args:
            epoch: epochs that are done.
            images: that one epoch shows, counted once for every seed.
        """
        self._first_epoch = epoch
        self._images_per_epoch = images
        self._started = time.monotonic()
        try:
            yield
        finally:
            clear_line()

    def should_report(self) -> bool:
        """Whether so much time has passed since the last update that one is worth it in the middle
        of an epoch.
        """
        return self._writer.should_report()

    def update(self, epoch: float, text: str, state: str = "running") -> None:
        """Writes the file and a line if enough time has passed or the state changed.

        Args:
            epoch: epochs that are done.
            text: what else the line says.
            state: `running`, or how the training ended.
        """
        epoch_seconds, seconds_left, speed = None, None, None
        # A training that was resumed has epochs that this process did not time.
        timed_epochs = epoch - self._first_epoch
        if timed_epochs:
            epoch_seconds = (time.monotonic() - self._started) / timed_epochs
        # In the first step nothing is timed yet.
        if epoch_seconds:
            seconds_left = epoch_seconds * (self._epochs - epoch)
            speed = self._images_per_epoch / epoch_seconds
        clauses = [f"epoch {int(epoch)}/{self._epochs}"]
        if speed is not None and seconds_left is not None:
            clauses += [f"{speed:,.0f} images/s", f"{duration(seconds_left)} left"]
        clauses.append(text)
        facts = {
            "label": self._label,
            "epoch": int(epoch),
            "epochs": self._epochs,
            "seconds_per_epoch": epoch_seconds,
            "images_per_second": speed,
            "seconds_left": seconds_left,
            "text": text,
        }
        self._writer.report(f"{self._label}: {', '.join(clauses)}", facts, state)


class JobProgress:
    """Reports the loops of one job, as `replicate.progress.loops` has them; see `reporting`."""

    def __init__(self, path: Path, label: str) -> None:
        self._writer = ProgressWriter(path, waits=True)
        self._label = label
        self._started = time.monotonic()
        self.levels = [Level()]

    def should_report(self) -> bool:
        """Whether it is time for another report."""
        return self._writer.should_report()

    def report(self) -> None:
        """Writes the file and a line if enough time has passed."""
        share = share_done(self.levels)
        seconds = time.monotonic() - self._started
        seconds_left = None
        # Nothing is done yet, so nothing tells how long it takes.
        if share:
            seconds_left = seconds * (1 - share) / share
        clauses = [level.text for level in self.levels if level.text]
        loops = [level for level in self.levels if level.unit is not None]
        if loops:
            clauses += _steps(loops[-1])
        # 0.29 * 100 is 28.999999999999996.
        per_cent = int(100 * share + 1e-9)
        clauses.append(f"{per_cent} % done")
        # Of less than a hundredth, the start is most of the time so far.
        if seconds_left and share >= 0.01:
            clauses.append(f"{duration(seconds_left)} left")
        facts = {"label": self._label, "share": share, "seconds_left": seconds_left}
        self._writer.report(f"{self._label}: {', '.join(clauses)}", facts)


def _steps(loop: Level) -> list[str]:
    """How far a loop of steps is, and its speed."""
    seconds = time.monotonic() - loop.started
    counts = f"{loop.unit} {loop.number:,}/{loop.count:,}"
    if not loop.number or not seconds:
        return [counts]
    rate = loop.number / seconds
    digits = f"{rate:.2g}"
    if rate >= 10:
        digits = f"{rate:,.0f}"
    return [counts, f"{digits} {loop.unit}s/s"]


@contextmanager
def reporting(state: Path, label: str) -> Iterator[None]:
    """Reports the loops inside: in lines, and in a file that goes away at the end.

    Args:
        state: the folder of the file.
        label: names the job in lines, and the file; no other job that may run at the same time has
            it.
    """
    path = state / "progress" / f"{label.replace(' ', '-').replace('/', '-of-')}.json"
    outer = LISTENER.set(JobProgress(path, label))
    try:
        yield
    finally:
        LISTENER.reset(outer)
        clear_line()
        # The file is of running jobs; what a finished one did stands in its record.
        with suppress(OSError):
            path.unlink()


def add_state_argument(parser: argparse.ArgumentParser) -> None:
    """Declares where a stage keeps its progress file."""
    parser.add_argument(
        "--state", type=Path, default=Path(".replicate"), help="folder for progress"
    )


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a set event, so that a step ends whole; a second one
    stops at once.
    """
    stop = threading.Event()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        # os.write and not print: the signal may have come in the middle of one, which would raise.
        with suppress(OSError):
            start = b"\n" if os.isatty(2) else b""  # below the refreshed line
            os.write(2, start + b"stopping after this step; once more to stop at once.\n")

    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread may set handlers
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    earlier_handlers = {number: signal.signal(number, handle) for number in signals}
    try:
        yield stop
    finally:
        for number, handler in earlier_handlers.items():
            signal.signal(number, handler)
