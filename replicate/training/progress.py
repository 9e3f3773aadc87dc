"""What a running job says of itself: a small file that `replicate status` reads, and lines on the terminal."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from replicate.files import write_json

#: Seconds between two lines, or two writes of the file.
LINE_EVERY, FILE_EVERY = 10.0, 1.0


def duration(seconds: float) -> str:
    """A length of time for people: 42 s, 3 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Reports the epochs of one job.

    Args:
        path: the progress file, in a side folder.
        label: names the job in lines.
        epochs: of the whole run.
    """

    def __init__(self, path: Path, label: str, epochs: int) -> None:
        self._path, self._label, self._epochs = path, label, epochs
        self._started = time.monotonic()
        self._first: int | None = None
        self._line = self._file = 0.0

    def update(self, epoch: int, text: str, state: str = "running") -> None:
        """`epoch` epochs are done; writes the file and a line if enough time has passed or the state changed."""
        now = time.monotonic()
        if self._first is None:
            self._first = epoch
        done = epoch - self._first
        rate = (now - self._started) / done if done else None
        left = rate * (self._epochs - epoch) if rate else None
        if state != "running" or now - self._file >= FILE_EVERY:
            self._file = now
            write_json(
                self._path,
                {
                    "pid": os.getpid(), "state": state, "label": self._label, "epoch": epoch, "epochs": self._epochs,
                    "seconds_per_epoch": rate, "seconds_left": left, "text": text, "updated": time.time(),
                },
            )  # fmt: skip
        if state == "running" and now - self._line >= LINE_EVERY:
            self._line = now
            rest = f", {duration(left)} left" if left is not None else ""
            print(f"{self._label}: epoch {epoch}/{self._epochs}, {text}{rest}", file=sys.stderr, flush=True)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turns the first SIGINT or SIGTERM into a set event, so that a step ends whole; a second one stops at once."""
    asked = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        with suppress(OSError):  # not print: the signal may have come in the middle of one, which would raise
            os.write(2, b"stopping after this step; once more to stop at once.\n")

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set handlers
        yield asked
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
