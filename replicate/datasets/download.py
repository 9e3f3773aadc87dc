"""The files of a data set, verified: what lies in the data folder is checked, what is missing is downloaded.

A file counts only with its pinned size and SHA-256. Anything else is refused and kept aside, so that nothing
is lost and nothing is half-used. Addresses are tried in order: those of the caller, those of the environment
(`REPLICATE_MIRRORS`), those of the data set.
"""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from replicate.datasets.base import PinnedDataset, Source
from replicate.datasets.transfer import Interrupted, Limits, TooSlow, TransferError, Unreachable, progress, transfer
from replicate.datasets.verify import digest_of, fault, verified_files
from replicate.errors import ReplicateError
from replicate.files import write_error
from replicate.filesystem import flush_folder, lock

DEMO = "python -m replicate preset demo && snakemake --cores 8"


def offline_by_environment() -> bool:
    """True if `REPLICATE_OFFLINE` forbids the network: any value but empty, 0, false and no."""
    return os.environ.get("REPLICATE_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder's lock, so that two fetches never write the same file; says so while it waits."""
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = path.open("a")
    except OSError as error:
        raise write_error(path, error) from error
    with stream:
        try:
            _wait_for(stream.fileno(), folder)
        except OSError as error:
            raise write_error(path, error) from error
        yield


def _wait_for(handle: int, folder: Path) -> None:
    try:
        lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, folder)
    except BlockingIOError:
        _say(f"another fetch is at work in {folder}; waiting until it is done (it holds {folder / '.lock'}).")
        lock(handle, fcntl.LOCK_EX, folder)


def _say(text: str) -> None:
    print(f"fetch: {text}", file=sys.stderr, flush=True)


def _set_aside(path: Path, words: str) -> Path:
    """Renames a refused file to NAME.rejected-<start of its sha256>; an equal one that lies there is replaced."""
    digest = digest_of(path)
    aside = path.with_name(f"{path.name}.rejected-{digest[:8]}")
    if aside.exists() and digest_of(aside) != digest:
        aside = path.with_name(f"{path.name}.rejected-{digest}")
    path.replace(aside)
    _say(f"{path} {words}; it was kept as {aside.name}.")
    return aside


@dataclass
class _Missing:
    """A file that could not be had, and what each address answered."""

    source: Source
    path: Path
    rejected: Path | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"  {self.path.absolute()}", f"    {self.source.size} bytes, sha256 {self.source.sha256}"]
        if self.rejected:
            lines.append(f"    the file that lay there was not the right one; it was kept as {self.rejected.name}")
        lines += [f"    {address}: {reason}" for address, reason in self.reasons.items()]
        return "\n".join(lines if self.reasons else [*lines, "    there is no address for it"])


def _base(address: str) -> str:
    try:
        scheme = urlsplit(address).scheme
    except ValueError:  # http://[half
        scheme = ""
    if scheme not in ("file", "http", "https"):
        raise ReplicateError(
            f"the mirror {address!r} is not an address; write file:///folder, http://... or https://..."
        )
    return address.rstrip("/") + "/"


class _Fetcher:
    """Downloads the missing files of one data set into one folder."""

    def __init__(self, dataset: PinnedDataset, mirrors: Sequence[str], offline: bool, limits: Limits) -> None:
        self.dataset, self.offline, self.limits = dataset, offline, limits
        self.bases = [_base(address) for address in (*mirrors, *os.environ.get("REPLICATE_MIRRORS", "").split())]
        self._unreachable: dict[str, str] = {}  # machines are asked once, not once per file

    def _addresses(self, source: Source) -> Iterator[str]:
        yield from (base + source.name for base in self.bases)
        yield from self.dataset.addresses(source)

    def obtain(self, source: Source, path: Path) -> _Missing | None:
        """Puts the verified file at `path`; if no address has it, says what each answered."""
        words = fault(path, source)  # again: another fetch may have brought it while this one waited
        if words is None:
            return None
        missing = _Missing(source, path, _set_aside(path, words) if path.exists() else None)
        slow: list[str] = []
        for address in self._addresses(source):
            if self._succeeds(address, missing, self.limits.min_speed, slow):
                return None
        for address in tuple(slow):  # better slow than not at all
            if self._succeeds(address, missing, min(self.limits.last_resort, self.limits.min_speed), slow):
                return None
        return missing

    def _succeeds(self, address: str, missing: _Missing, min_speed: float, slow: list[str]) -> bool:
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
                slow.append(address)
            if not self.offline:
                _say(f"{address}: {error}")
            return False
        return True

    def _download(self, address: str, source: Source, path: Path, min_speed: float) -> None:
        part = path.with_name(f"{path.name}.part")
        for attempt in range(1, self.limits.tries + 1):
            before = part.stat().st_size if part.exists() else 0
            try:
                if before < source.size:
                    with progress(source.name, source.size) as show:
                        transfer(address, part, source.size, self.limits, min_speed, show)
            except Interrupted:
                if attempt == self.limits.tries or part.stat().st_size <= before:
                    raise
                continue
            digest = digest_of(part)
            if digest == source.sha256:
                part.replace(path)
                flush_folder(path.parent)
                return
            part.unlink()
            if before == 0:
                break
            # The earlier bytes came from another run or address and may be the wrong ones: once more from the start.
        raise TransferError(f"it sent other content: sha256 {digest}")


def _refusal(dataset: PinnedDataset, missing: Sequence[_Missing]) -> ReplicateError:
    names = "file" if len(missing) == 1 else "files"
    blocks = "\n".join(str(entry) for entry in missing)
    return ReplicateError(
        f"{len(missing)} {names} of the data set {dataset.name!r} could not be had:\n{blocks}\n"
        "Put each at its path (from any source: size and sha256 are checked) and run the same command again, "
        f"or run the demo, which needs no download: {DEMO}"
    )


def fetch(
    dataset: PinnedDataset,
    folder: Path,
    mirrors: Sequence[str] = (),
    offline: bool = False,
    limits: Limits | None = None,
) -> dict[str, Path]:
    """Makes sure that every source of `dataset` is there and verified; returns name -> path.

    Where all are there, nothing is written and no lock is taken, so a shared read-only folder will do.

    Args:
        folder: the data set's folder; made if it is needed.
        mirrors: base addresses that are tried first; the file's name is appended.
        offline: use no network; file:// mirrors still count. `REPLICATE_OFFLINE=1` does the same.
        limits: when a transfer is given up.

    Raises:
        ReplicateError: what is missing, where to put it, and what each address answered.
    """
    fetcher = _Fetcher(dataset, mirrors, offline or offline_by_environment(), limits or Limits())
    paths = {source.name: dataset.locate(source, folder) for source in dataset.sources}
    wanted = [s for s in dataset.sources if paths[s.name].parent == folder and fault(paths[s.name], s)]
    if wanted:
        with locked(folder):
            try:
                answers = [fetcher.obtain(source, paths[source.name]) for source in wanted]
            except OSError as error:
                raise write_error(folder, error) from error
        missing = [answer for answer in answers if answer is not None]
        if missing:
            raise _refusal(dataset, missing)
    return verified_files(dataset, folder)
