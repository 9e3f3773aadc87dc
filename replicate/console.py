"""The standard streams of a command, and its end: names are printable, and a reader may leave."""

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
    """A standard stream that ends the command where it cannot be written: no work has failed."""

    def write(self, data: Any, /) -> int:  # Any: bytes of any kind, as the class has it
        try:
            return super().write(data)
        except BrokenPipeError:
            # Of `head -1`, which has what it wanted: no fault, and nobody is left to tell.
            raise SystemExit(UNREAD) from None
        except OSError as error:
            sentence = f"replicate: what was printed could not be written: {error.strerror}.\n"
            with contextlib.suppress(OSError):
                # Not by print: standard error may be the stream that failed.
                os.write(2, sentence.encode())
            raise SystemExit(UNWRITTEN) from None


def _safe_stream(stream: io.TextIOWrapper) -> io.TextIOWrapper:
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
    # `sys.exit()` without anything means success.
    return end.code or 0


def _exit_status(command: Callable[[], int]) -> int:
    """The exit status of a command, by whatever way it ends; a defect keeps its traceback."""
    try:
        status = command()
    except SystemExit as end:
        status = _status_of(end)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except SystemExit as end:
            # With no reader left, all work is done all the same, and the status stays.
            if end.code != UNREAD:
                status = status or UNWRITTEN
    return status


def run(command: Callable[[], int]) -> NoReturn:
    """Runs a command and ends the process with its status.

    The process ends at once: to take torch apart object by object would cost a tenth of a second
    for nothing. So exit handlers are not called, except under a profiler or a debugger, which need
    them.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # the caller may have closed it
        sys.stdout = _safe_stream(sys.stdout)
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _safe_stream(sys.stderr)
    status = _exit_status(command)
    if sys.getprofile() is None and sys.gettrace() is None:
        os._exit(status)
    sys.exit(status)
