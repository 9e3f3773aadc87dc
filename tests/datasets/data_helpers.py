"""A real HTTP server with chosen faults, a data set of any bytes, and an MNIST of a few images."""

import contextlib
import gzip
import hashlib
import struct
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.datasets import mnist
from replicate.datasets.base import Dataset, Source, Splits
from replicate.datasets.transfer import Limits
from replicate.params import Section

#: Faults show within fractions of a second in tests.
QUICK = Limits(timeout=0.8, window=0.2, min_speed=100_000, last_resort=1_000)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def source_of(name: str, content: bytes, *addresses: str) -> Source:
    return Source(name, len(content), hashlib.sha256(content).hexdigest(), addresses)


class Toy(Dataset):
    """A data set whose files are given; it lies in the data folder and is never cut."""

    name, title, Config, sources = "toy", "Toy", Section, ()

    def __init__(self, **contents: bytes) -> None:
        self.sources = tuple(source_of(name, content) for name, content in contents.items())  # type: ignore[misc]

    def locate(self, source: Source, folder: Path) -> Path:
        return folder / source.name

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        raise NotImplementedError


def noise(size: int, seed: int = 0) -> bytes:
    return np.random.default_rng(seed).bytes(size)


@dataclass
class Mirror:
    """What the server has and how it misbehaves; may be changed while it runs.

    Attributes:
        ranges: honours Range requests.
        status: sent instead of a file if it is not 200.
        cut: the connection ends after this many bytes of each answer.
        stall: after `cut` bytes the connection stays open and silent.
        pause: seconds of sleep before each piece of `piece` bytes.
        length: sends Content-Length.
        silent: accepts connections and never answers.
        requests: (path, Range header) of every request.
        sent: bytes of file content sent so far.
    """

    files: dict[str, bytes]
    ranges: bool = True
    status: int = 200
    cut: int | None = None
    stall: bool = False
    pause: float = 0.0
    piece: int = 16384
    length: bool = True
    silent: bool = False
    address: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    mirror: Mirror

    def log_message(self, format: str, *values: Any) -> None:
        pass

    def do_GET(self) -> None:
        mirror, asked = self.mirror, self.headers.get("Range")
        mirror.requests.append((self.path, asked))
        if mirror.silent:
            mirror.stopped.wait(30)
            return
        content = mirror.files.get(self.path.rsplit("/", 1)[-1])
        if content is None or mirror.status != 200:
            self.send_error(404 if content is None else mirror.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and mirror.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if mirror.length:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self._body(content[start:] if mirror.cut is None else content[start : start + mirror.cut])

    def _body(self, content: bytes) -> None:
        for begin in range(0, len(content), self.mirror.piece):
            if self.mirror.stopped.is_set():
                return
            time.sleep(self.mirror.pause)
            piece = content[begin : begin + self.mirror.piece]
            self.wfile.write(piece)
            self.mirror.sent += len(piece)
        if self.mirror.stall:
            self.mirror.stopped.wait(30)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # clients in these tests are killed and hang up


@contextlib.contextmanager
def serving(mirror: Mirror) -> Iterator[Mirror]:
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"mirror": mirror}))
    mirror.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield mirror
    finally:
        mirror.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy, mirror or offline switch of the machine that runs the tests."""
    for name in (*PROXIES, *(name.upper() for name in PROXIES)):
        monkeypatch.delenv(name, raising=False)
    for name in ("REPLICATE_MIRRORS", "REPLICATE_OFFLINE", "REPLICATE_DATA"):
        monkeypatch.delenv(name, raising=False)


def idx(array: np.ndarray) -> bytes:
    """An idx file of unsigned bytes, written from the format's description (two zero bytes, 8, rank, sizes)."""
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def tiny_mnist(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, np.ndarray]:
    """Writes four small idx files into `folder` and pins the MNIST data set to them: 50 + 10 and 10 images."""
    generator = np.random.default_rng(7)
    arrays, sources = {}, []
    folder.mkdir(parents=True, exist_ok=True)
    for source in mnist.DATASET.sources:
        n = 60 if source.name.startswith("train") else 10
        images = "images" in source.name
        array = generator.integers(0, 256, (n, 28, 28)) if images else generator.integers(0, 10, n)
        content = gzip.compress(idx(array), mtime=0)
        (folder / source.name).write_bytes(content)
        arrays[source.name] = array.astype(np.uint8)
        sources.append(replace(source, size=len(content), sha256=hashlib.sha256(content).hexdigest()))
    monkeypatch.setattr(mnist.Mnist, "sources", tuple(sources))
    for name, value in (("N_TRAINING_FILE", 60), ("N_TRAIN", 50), ("N_TEST", 10)):
        monkeypatch.setattr(mnist, name, value)
    return arrays
