"""A store of objects on loopback (moto), and the packages that talk to one; tests skip with a reason where they are missing."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

BUCKET = "runs"
#: Of the answers of a store.
NAMESPACE = "{http://s3.amazonaws.com/doc/2006-03-01/}"


def free_port() -> int:
    """A port of loopback that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@dataclass(frozen=True)
class Store:
    """A store of objects with one bucket.

    Attributes:
        address: its URL.
        packages: the folder of the packages that talk to it.
    """

    address: str
    packages: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a command needs to reach it by Snakemake's plug-in and by DVC."""
        return {
            "PYTHONPATH": str(self.packages),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "SNAKEMAKE_STORAGE_S3_ENDPOINT_URL": self.address,
        }

    def ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
        """The store's answer."""
        # Named, and signed by anything: objects are their owner's, and moto checks no signature.
        headers = {"Authorization": "AWS test:anything", "Content-Type": "application/octet-stream"}
        address = f"{self.address}/{path}"
        request = urllib.request.Request(address, content, headers, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            answered: bytes = answer.read()
        return answered

    def names(self, prefix: str) -> list[str]:
        """The objects of the bucket whose names begin so, without what Snakemake marks folders by."""
        found: list[str] = []
        after = ""
        while True:
            query = f"{BUCKET}?list-type=2&prefix={prefix}&start-after={after}"
            listed = ElementTree.fromstring(self.ask("GET", query))
            page = [key.text or "" for key in listed.iter(f"{NAMESPACE}Key")]
            found += [name for name in page if not name.endswith(".snakemake_timestamp")]
            if listed.findtext(f"{NAMESPACE}IsTruncated") != "true":
                return found
            after = page[-1]

    def download(self, prefix: str, folder: Path) -> None:
        """Writes all objects below a prefix into a folder."""
        for name in self.names(prefix):
            path = folder / name.removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.ask("GET", f"{BUCKET}/{name}"))


@pytest.fixture(scope="session")
def packages() -> Path:
    """The folder of the packages of requirements-cloud.txt."""
    folder = os.environ.get("REPLICATE_TEST_CLOUD")
    if not folder or not Path(folder, "moto").is_dir():
        pytest.skip(
            "needs requirements-cloud.txt: set REPLICATE_TEST_CLOUD to a folder with its packages"
        )
    return Path(folder)


@pytest.fixture
def store(packages: Path, tmp_path: Path) -> Iterator[Store]:
    """An empty store on loopback."""
    port = free_port()
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    environment = os.environ | {"PYTHONPATH": str(packages)}
    with (tmp_path / "store.log").open("wb") as log:
        server = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
    here = Store(f"http://127.0.0.1:{port}", packages)
    try:
        _wait_for(here, server)
        yield here
    finally:
        server.terminate()
        server.wait(20)


def _wait_for(store: Store, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while True:
        assert server.poll() is None, "the store ended"
        assert time.monotonic() < end, "the store does not answer"
        try:
            store.ask("PUT", BUCKET)
        except urllib.error.URLError:
            time.sleep(0.2)
        else:
            return
