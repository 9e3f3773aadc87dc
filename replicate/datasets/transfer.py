"""One file from one address into a `.part` file: resumed where it stopped, watched for stalls, never too long.

What the bytes are worth is not judged here; `download.py` compares the finished file with its pinned SHA-256.
"""

import contextlib
import http.client
import importlib.util
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from replicate.filesystem import flush

CHUNK = 1 << 16
REPORT_EVERY = 10.0  # seconds between two lines of progress where there is no terminal


@dataclass(frozen=True)
class Limits:
    """When a transfer is given up.

    Attributes:
        timeout: seconds without a connection, an answer or a byte.
        window: seconds over which the speed is measured.
        min_speed: bytes per second; below it the next address is tried.
        last_resort: bytes per second that still do when no faster address has the file.
        tries: how often one address may break off, each time after new bytes, before it is given up.
    """

    timeout: float = 20.0
    window: float = 15.0
    min_speed: float = 50_000.0
    last_resort: float = 1_000.0
    tries: int = 5


class TransferError(Exception):
    """Why an address did not give the file: words that fit after "<address>: "."""


class Unreachable(TransferError):
    """No connection to the machine at all."""


class TooSlow(TransferError):
    """It gives bytes, but slower than the limit, or stopped giving them."""


class Interrupted(TransferError):
    """The connection ended before the file did; asking for the rest may work."""


class _Pace:
    """Raises `TooSlow` when a window passed with fewer bytes than `min_speed` allows."""

    def __init__(self, limits: Limits, min_speed: float) -> None:
        self._window, self._min_speed = limits.window, min_speed
        self._since, self._bytes = time.monotonic(), 0

    def add(self, count: int) -> None:
        self._bytes += count
        elapsed = time.monotonic() - self._since
        if elapsed < self._window:
            return
        speed = self._bytes / elapsed
        if speed < self._min_speed:
            raise TooSlow(f"too slow: {speed / 1000:.1f} kB/s over the last {elapsed:.0f} s")
        self._since, self._bytes = time.monotonic(), 0


def local_path(address: str) -> Path:
    """The file of a file:// address, which may be written as a URL or as the path is.

    In a URL %20 is a blank, and # and ? end the path; in a path they are letters like any other. A file address
    has neither query nor fragment, so # and ? are of the path; %20 is a blank unless a file is called just so.

    Raises:
        TransferError: the address names another machine.
    """
    rest = address.partition(":")[2]
    machine, slash, path = rest[2:].partition("/") if rest.startswith("//") else ("", "", rest)
    if machine not in ("", "localhost"):
        raise TransferError("a file:// address names a path on this machine: file:///path/to/folder")
    written = Path(slash + path)
    there = os.path.exists(written)  # noqa: PTH110 (never raises)
    return written if there else Path(url2pathname(slash + path))


def _open_file(address: str, offset: int, size: int) -> tuple[Any, int]:
    path = local_path(address)
    try:
        length = path.stat().st_size
        if length != size:
            raise TransferError(f"it has {length} bytes instead of {size}")
        stream = path.open("rb")
    except OSError as error:
        raise TransferError(error.strerror or str(error)) from None
    except ValueError as error:  # %00
        raise TransferError(str(error)) from None
    stream.seek(offset)
    return stream, offset


def _start_of(answer: Any, offset: int, size: int) -> int:
    """Where the answer's bytes begin in the file; an answer of another length than the file's is refused."""
    start = 0
    if answer.status == http.client.PARTIAL_CONTENT:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
        start = int(match[1]) if match else -1
        if match is None or start > offset or match[2] not in ("*", str(size)):
            raise TransferError(f"it answered a request for the bytes from {offset} on with other ones")
    length = answer.headers.get("Content-Length", "")
    if length.isdigit() and start + int(length) != size:
        raise TransferError(f"it offers {start + int(length)} bytes instead of {size}")
    return start


def _open_http(address: str, offset: int, size: int, timeout: float) -> tuple[Any, int]:
    """An HTTP answer and the place where its bytes begin; proxies come from the environment, as urllib does it."""
    headers = {"User-Agent": "replicate", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        # An opener of our own: the one behind urlopen keeps the proxies of its first use.
        opener = urllib.request.build_opener()
        answer = opener.open(urllib.request.Request(address, headers=headers), timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            return _open_http(address, 0, size, timeout)
        raise TransferError(f"HTTP {error.code} {error.reason}".strip()) from None
    except TimeoutError:
        raise Unreachable(f"no answer within {timeout:g} s") from None
    except urllib.error.URLError as error:
        timed_out = isinstance(error.reason, TimeoutError)
        raise Unreachable(f"no connection within {timeout:g} s" if timed_out else str(error.reason)) from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise TransferError(str(error) or type(error).__name__) from None
    try:
        return answer, _start_of(answer, offset, size)
    except TransferError:
        answer.close()
        raise


def _read(stream: Any, count: int, timeout: float) -> bytes:
    try:
        piece: bytes = stream.read1(count)
    except TimeoutError:
        raise TooSlow(f"stalled: not a byte for {timeout:g} s") from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise Interrupted(f"the connection broke ({error or type(error).__name__})") from None
    return piece


def transfer(
    address: str, part: Path, size: int, limits: Limits, min_speed: float, show: Callable[[int], None]
) -> None:
    """Continues `part` from `address` until it has exactly `size` bytes, and flushes it to disk.

    A server that ignores the Range request sends the file from its start; the part is then begun again. What
    has arrived when the transfer fails stays in `part`, for the next address or the next run.

    Args:
        address: file://, http:// or https://.
        min_speed: bytes per second, measured over `limits.window`.
        show: is told the number of bytes that are there.

    Raises:
        TransferError: the address did not give the file; the message says why.
        OSError: `part` could not be written.
    """
    offset = part.stat().st_size if part.exists() else 0
    if urlsplit(address).scheme == "file":
        stream, done = _open_file(address, offset, size)
    else:
        stream, done = _open_http(address, offset, size, limits.timeout)
    with contextlib.closing(stream), part.open("ab") as sink:
        sink.truncate(done)
        pace = _Pace(limits, min_speed)
        while done < size:
            piece = _read(stream, min(CHUNK, size - done), limits.timeout)
            if not piece:
                raise Interrupted(f"the connection ended after {done} of {size} bytes")
            sink.write(piece)
            done += len(piece)
            show(done)
            pace.add(len(piece))
        sink.flush()
        flush(sink.fileno(), part.parent)


@contextlib.contextmanager
def progress(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that shows how many of `size` bytes are there: a bar on a terminal, else lines in a log."""
    if sys.stderr.isatty() and importlib.util.find_spec("tqdm"):
        from tqdm import tqdm

        with tqdm(total=size, desc=name, unit="B", unit_scale=True, leave=False) as bar:

            def move(done: int) -> None:
                bar.update(done - bar.n)

            yield move
        return
    shown = time.monotonic()

    def line(done: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= REPORT_EVERY:
            shown = time.monotonic()
            print(f"fetch: {name}: {done / 1e6:.1f} of {size / 1e6:.1f} MB", file=sys.stderr, flush=True)

    yield line
