"""One file from one address into a `.part` file: resumed, watched for stalls, never too long.

Whether the bytes are the right ones is not asked here; `download.py` compares the finished file
with its pinned SHA-256.
"""

import contextlib
import http.client
import importlib.util
import io
import os
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from replicate.storage.filesystem import flush

CHUNK = 1 << 16
REPORT_EVERY = 10.0  # seconds between two lines of progress where there is no terminal

#: Bytes on their way: from a file, or from a server.
Stream = io.BufferedReader | http.client.HTTPResponse


@dataclass(frozen=True)
class Limits:
    """When a transfer is given up.

    Attributes:
        timeout: seconds without a connection, an answer or a byte.
        window: seconds over which the speed is measured.
        min_speed: bytes per second; below it the next address is tried.
        last_resort: bytes per second that still do when no faster address has the file.
        tries: how often one address may break off, each time after new bytes, before it is given
            up.
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
        self._window = limits.window
        self._min_speed = min_speed
        self._since = time.monotonic()
        self._bytes = 0

    def add(self, count: int) -> None:
        self._bytes += count
        # Over a window and not a single piece: networks pause without being slow.
        elapsed = time.monotonic() - self._since
        if elapsed < self._window:
            return
        speed = self._bytes / elapsed
        if speed < self._min_speed:
            raise TooSlow(f"too slow: {speed / 1000:.1f} kB/s over the last {elapsed:.0f} s")
        self._since = time.monotonic()
        self._bytes = 0


def local_path(address: str) -> Path:
    """The file of a file:// address, which may be written as a URL or as the path is.

    In a URL %20 is a blank, and # and ? end the path; in a path they are letters like any other. A
    file address has neither query nor fragment, so # and ? are of the path; %20 is a blank unless a
    file is called just so.

    Raises:
        TransferError: the address names another machine.
    """
    rest = address.partition(":")[2]
    machine, slash, path = "", "", rest
    if rest.startswith("//"):
        machine, slash, path = rest[2:].partition("/")
    # file://data/mnist names a machine called "data", where a folder was meant.
    if machine not in ("", "localhost"):
        raise TransferError(
            "a file:// address names a path on this machine: file:///path/to/folder"
        )
    literal = Path(slash + path)
    if os.path.exists(literal):  # noqa: PTH110 (never raises)
        return literal
    return Path(url2pathname(slash + path))


def _open_file(address: str, offset: int, size: int) -> tuple[Stream, int]:
    """The file, opened at `offset`, and that place."""
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


def _start_of(answer: http.client.HTTPResponse, offset: int, size: int) -> int:
    """Where the answer's bytes begin in the file; an answer of another length is refused."""
    start = 0
    # A machine may ignore the request for a part, and send the whole file from 0 on.
    if answer.status == http.client.PARTIAL_CONTENT:
        content_range = answer.headers.get("Content-Range", "").strip()
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range)
        start = int(match[1]) if match else -1
        if match is None or start > offset or match[2] not in ("*", str(size)):
            raise TransferError(
                f"it answered a request for the bytes from {offset} on with other ones"
            )
    length = answer.headers.get("Content-Length", "")
    # Some servers send none (chunked answers); then the digest alone tells a wrong file.
    if length.isdigit():
        end = start + int(length)
        if end != size:
            raise TransferError(f"it offers {end} bytes instead of {size}")
    return start


def _open_http(address: str, offset: int, size: int, timeout: float) -> tuple[Stream, int]:
    """An HTTP answer and the place where its bytes begin; urllib takes proxies from the
    environment.
    """
    # "identity": a server that compressed on the way would send other bytes at other places.
    headers = {"User-Agent": "replicate", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        # An opener of our own: the one behind urlopen keeps the proxies of its first use.
        opener = urllib.request.build_opener()
        request = urllib.request.Request(address, headers=headers)
        answer: http.client.HTTPResponse = opener.open(request, timeout=timeout)
    # Before URLError, of which it is a kind: the server did answer.
    except urllib.error.HTTPError as error:
        error.close()
        # The server's file ends before what lies here does: once more from its start.
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and offset:
            return _open_http(address, 0, size, timeout)
        raise TransferError(f"HTTP {error.code} {error.reason}".strip()) from None
    except TimeoutError:
        raise Unreachable(f"no answer within {timeout:g} s") from None
    except urllib.error.URLError as error:
        reason = str(error.reason)
        if isinstance(error.reason, TimeoutError):
            reason = f"no connection within {timeout:g} s"
        raise Unreachable(reason) from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise TransferError(str(error) or type(error).__name__) from None
    try:
        return answer, _start_of(answer, offset, size)
    except TransferError:
        answer.close()
        raise


def _read(stream: Stream, count: int, timeout: float) -> bytes:
    try:
        return stream.read1(count)
    except TimeoutError:
        raise TooSlow(f"stalled: not a byte for {timeout:g} s") from None
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise Interrupted(f"the connection broke ({error or type(error).__name__})") from None


def transfer(
    address: str,
    partial: Path,
    size: int,
    limits: Limits,
    min_speed: float,
    report: Callable[[int], None],
) -> None:
    """Continues `partial` from `address` until it has exactly `size` bytes, and flushes it to disk.

    A server that ignores the Range request sends the file from its start; `partial` is then begun
    again. What has arrived when the transfer fails stays in `partial`, for the next address or the
    next run.

    Args:
        address: file://, http:// or https://.
        partial: the file to write.
        size: bytes of the whole file.
        limits: when the transfer is given up.
        min_speed: bytes per second, measured over `limits.window`.
        report: called with the number of bytes that are there.

    Raises:
        TransferError: the address did not give the file; the message says why.
        OSError: `partial` could not be written.
    """
    offset = 0
    if partial.exists():
        offset = partial.stat().st_size
    scheme = urlsplit(address).scheme
    if scheme == "file":
        stream, done = _open_file(address, offset, size)
    else:
        stream, done = _open_http(address, offset, size, limits.timeout)
    with contextlib.closing(stream), partial.open("ab") as sink:
        # The answer may begin earlier than the file ends; nothing is to stand there twice.
        sink.truncate(done)
        pace = _Pace(limits, min_speed)
        while done < size:
            wanted = min(CHUNK, size - done)
            piece = _read(stream, wanted, limits.timeout)
            if not piece:
                raise Interrupted(f"the connection ended after {done} of {size} bytes")
            sink.write(piece)
            count = len(piece)
            done += count
            report(done)
            pace.add(count)
        # Flushed before it gets its name, so that a power cut leaves no empty file there.
        sink.flush()
        flush(sink.fileno(), partial.parent)


@contextlib.contextmanager
def progress(name: str, size: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that reports how many of `size` bytes are there: by a bar on a terminal,
    else by lines in a log.
    """
    # tqdm is no dependency of a stage; where it is missing lines will do.
    if sys.stderr.isatty() and importlib.util.find_spec("tqdm"):
        from tqdm import tqdm

        with tqdm(total=size, desc=name, unit="B", unit_scale=True, leave=False) as bar:

            def move_bar(done: int) -> None:
                bar.update(done - bar.n)

            yield move_bar
        return
    last_line = time.monotonic()

    def print_line(done: int) -> None:
        nonlocal last_line
        now = time.monotonic()
        if now - last_line >= REPORT_EVERY:
            last_line = now
            megabytes = done / 1e6
            total = size / 1e6
            line = f"fetch: {name}: {megabytes:.1f} of {total:.1f} MB"
            print(line, file=sys.stderr, flush=True)

    yield print_line
