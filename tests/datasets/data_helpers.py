"""A real HTTP server with chosen faults, a data set of any bytes, and small data in the formats of
the real ones.
"""

import contextlib
import gzip
import hashlib
import io
import struct
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.datasets import cifar10, mnist
from replicate.datasets.base import PinnedDataset, Source, Splits
from replicate.datasets.sources.transfer import Limits
from replicate.params import Section

#: Faults show within fractions of a second in tests.
QUICK = Limits(timeout=0.8, window=0.2, min_speed=100_000, last_resort=1_000)
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def source_of(name: str, content: bytes, *addresses: str) -> Source:
    return Source(name, len(content), hashlib.sha256(content).hexdigest(), addresses)


class Toy(PinnedDataset):
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
        start = (
            int(asked.removeprefix("bytes=").removesuffix("-")) if asked and mirror.ranges else 0
        )
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
            # Before it is sent: whoever has all of it may look at the number at once.
            self.mirror.sent += len(piece)
            self.wfile.write(piece)
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
    """An idx file of unsigned bytes, written from the format's description (two zero bytes, 8,
    rank, sizes).
    """
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def tiny_mnist(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, np.ndarray]:
    """Writes four small idx files into `folder` and pins the MNIST data set to them: 50 + 10 and 10
    images.
    """
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
        sources.append(
            replace(source, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        )
    monkeypatch.setattr(mnist.Mnist, "sources", tuple(sources))
    for name, value in (("N_TRAINING_FILE", 60), ("N_TRAIN", 50), ("N_TEST", 10)):
        monkeypatch.setattr(mnist, name, value)
    return arrays


def faces_arrays(unlabelled: int = 7, labelled: int = 20, seed: int = 3) -> dict[str, np.ndarray]:
    """A face database of random pixels: labelled and unlabelled images in mixed order, five
    rotations 14 : 2 : 4.
    """
    generator, n = np.random.default_rng(seed), unlabelled + labelled
    rows = generator.permutation(n)[:labelled]
    folds, labels = np.zeros((n, 5), np.uint8), np.full((n, 1), -1, np.int16)
    labels[rows, 0] = generator.integers(1, 8, labelled)
    codes = np.repeat([1, 2, 3], [labelled - 6, 2, 4])
    for fold in range(5):
        folds[np.roll(rows, 4 * fold), fold] = codes
    images = generator.integers(0, 256, (n, 48, 48), dtype=np.uint8)
    return {
        "images": images,
        "labs_ex": labels,
        "labs_id": np.full((n, 1), -1, np.int16),
        "folds": folds,
    }


def write_faces(
    path: Path, arrays: Mapping[str, Any] | None = None, compress: bool = True
) -> dict[str, Any]:
    """Writes a MATLAB 5 file in the layout of TFD_48x48.mat and returns its arrays."""
    from scipy.io import savemat

    written = faces_arrays() if arrays is None else dict(arrays)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, written, do_compression=compress)
    return written


def cifar_members(records: int = 10, seed: int = 5) -> dict[str, bytes]:
    """The six members of the binary CIFAR-10 archive, with so many random records each."""
    generator = np.random.default_rng(seed)
    members = {}
    for name in (*cifar10.TRAINING, cifar10.TEST):
        rows = generator.integers(0, 256, (records, 3073), dtype=np.uint8)
        rows[:, 0] = generator.integers(0, 10, records)
        members[name] = rows.tobytes()
    return members


def tar_gz(members: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A .tar.gz archive of plain files, or of whatever a given header says."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            header = tarfile.TarInfo(name)
            header.size = len(content)
            archive.addfile(header, io.BytesIO(content))
    return stream.getvalue()


def tiny_cifar(monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, bytes]:
    """Writes an archive of 60 images into `folder` and pins CIFAR-10 to it: 40, 10 and 10
    images.
    """
    members = cifar_members()
    extra = {
        "cifar-10-batches-bin/batches.meta.txt": b"airplane\n",
        "cifar-10-batches-bin/readme.html": b"<html>",
    }
    content = tar_gz(extra | members)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cifar-10-binary.tar.gz").write_bytes(content)
    monkeypatch.setattr(cifar10.Cifar10, "sources", (source_of("cifar-10-binary.tar.gz", content),))
    monkeypatch.setattr(cifar10, "RECORDS", 10)
    monkeypatch.setattr(cifar10, "N_TRAIN", 40)
    return members


def write_images(
    folder: Path, names: Mapping[str, np.ndarray] | list[str], seed: int = 1
) -> dict[str, np.ndarray]:
    """Writes PNG files, by default random 8x8 colour images, and returns their pixels (height,
    width[, channels]).
    """
    from PIL import Image

    generator = np.random.default_rng(seed)
    given = names if isinstance(names, Mapping) else {}
    written = {
        name: given.get(name, generator.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        for name in names
    }
    for name, array in written.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / name)
    return written


def zipped(folder: Path, path: Path, prefix: str = "") -> Path:
    """A zip archive of all files below `folder`, in an order of its own."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, prefix + file.relative_to(folder).as_posix())
    return path
