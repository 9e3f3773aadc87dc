"""The standard streams of a command, and its end: names of any kind are shown, and a reader may go away."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn

#: Exit status where nobody reads any more (`... | head -1`), as of a program that SIGPIPE ended.
UNREAD = 141
#: Exit status where what was printed could not be written.
UNWRITTEN = 2


class _Output(io.FileIO):
    """A standard stream that ends the command where it cannot be written: no part of the work has failed."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise SystemExit(UNREAD) from None
        except OSError as error:
            sentence = f"replicate: what was printed could not be written: {error.strerror}.\n"
            with contextlib.suppress(OSError):
                os.write(2, sentence.encode())
            raise SystemExit(UNWRITTEN) from None


def _opened(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same stream as `_Output`, with escapes for what its encoding lacks."""
    raw = _Output(stream.fileno(), "w", closefd=False)
    unbuffered = stream.write_through  # python -u
    return io.TextIOWrapper(
        raw if unbuffered else io.BufferedWriter(raw),  # as Python itself does
        stream.encoding,
        "backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=unbuffered,
    )


def _status_of(end: SystemExit) -> int:
    if isinstance(end.code, str):
        print(end.code, file=sys.stderr)
        return 1
    return end.code or 0


def _ended(command: Callable[[], int]) -> int:
    """The exit status of a command, by whatever way it ends; a defect keeps its traceback."""
    try:
        status = command()
    except SystemExit as end:
        status = _status_of(end)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except SystemExit as end:  # all was done, and nobody needs to read it
            status = status if end.code == UNREAD else status or UNWRITTEN
    return status


def run(command: Callable[[], int]) -> NoReturn:
    """Runs a command and ends the process with its status.

    It does without taking torch apart object by object, which is a tenth of a second for nothing: what waits for the
    end of the process is not called, except under a profiler or a debugger, which trace it.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # not closed by who called
        sys.stdout = _opened(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _opened(sys.stderr)
    status = _ended(command)
    if sys.getprofile() is None and sys.gettrace() is None:
        os._exit(status)
    sys.exit(status)
