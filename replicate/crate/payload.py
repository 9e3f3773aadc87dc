"""The files of a crate: which of a run travel, and how they are written into a folder or a zip."""

import hashlib
import os
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from replicate.crate.finished import FinishedJob
from replicate.errors import ReplicateError
from replicate.jobs.layout import FILES, RULES
from replicate.storage.files import atomic_write, sha256_file, write_error

#: What describes a crate, and lies at its top.
METADATA = "ro-crate-metadata.json"
README = "README.md"
#: For people who unpack a crate.
INTRODUCTION = """# A finished run

`report/index.html` is its page. `ro-crate-metadata.json` describes every job: its command, its
times, the versions of its software, and what it read and made, by SHA-256.

    python tools/recompute.py

in this folder computes every verdict again: those of Table 1 from the log-likelihood of every test
image, those of the statements from the numbers that the experiments measured. It needs numpy, scipy
and PyYAML, and nothing else of the project.
"""
#: Files that hold images of a data set, or may: some models remember theirs. Whoever sends them on
#: needs the right to, and they are nearly all bytes of a run.
TENSORS = ("data", "weights", "samples")
#: What of the project travels beside the files that the jobs read: what ran, and what recomputes.
PROJECT_FILES = ("Snakefile", "LICENSE", "CITATION.cff", "requirements.lock", "tools/recompute.py")
WORKFLOW = Path("workflow")
#: Bytes that are read at a time.
CHUNK = 1 << 20
#: zip files know no earlier one. Times are no content: the same run gives the same bytes.
NO_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class CrateFile:
    """A file that a run read or made.

    Attributes:
        path: relative to the project's folder, and to the crate.
        size: bytes.
        sha256: digest of its content.
        travels: whether it is in the crate; else the crate has its digest alone.
        content: its bytes, where it is no file on disk.
    """

    path: str
    size: int
    sha256: str
    travels: bool = True
    content: bytes | None = None


def crate_files(
    jobs: Iterable[FinishedJob], parameters: bytes, with_tensors: bool
) -> list[CrateFile]:
    """Every file that a run read or made, and those of the project that explain it, by path.

    Args:
        jobs: of the run.
        parameters: what `params.yaml` holds.
        with_tensors: whether images, weights and samples travel too.

    Raises:
        ReplicateError: a file of the project is not there.
    """
    paths = set(_project_files())
    tensors: set[str] = set()
    for job in jobs:
        # The record too: it is none of the outputs that it seals.
        paths |= {job.job.record, *job.inputs, *job.outputs}
        tensors |= set(_tensors(job))
    # In place of the file of that name: a run may have been given another one.
    paths.discard("params.yaml")
    files = [file_of("params.yaml", parameters), file_of(README, INTRODUCTION.encode())]
    for path in paths:
        travels = with_tensors or path not in tensors
        files.append(_on_disk(path, travels))
    return sorted(files, key=lambda file: file.path)


def file_of(path: str, content: bytes) -> CrateFile:
    """A file of the crate that is made for it."""
    digest = hashlib.sha256(content).hexdigest()
    return CrateFile(path, len(content), digest, content=content)


def _project_files() -> Iterator[str]:
    yield from PROJECT_FILES
    for path in WORKFLOW.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            yield path.as_posix()


def _tensors(job: FinishedJob) -> Iterator[str]:
    """The files of a job that hold images, or may."""
    for name in RULES[job.job.rule].makes:
        if name in TENSORS:
            yield FILES[name].format(**job.job.subject.names)


def _on_disk(path: str, travels: bool) -> CrateFile:
    try:
        size = os.stat(path).st_size  # noqa: PTH116 (a link counts as what it leads to)
        digest = sha256_file(Path(path))
    except OSError as error:
        raise ReplicateError(
            f"cannot read {path} ({error.strerror}), which a crate holds; run this in the folder "
            "of the project."
        ) from None
    return CrateFile(path, size, digest, travels)


def check_target(target: Path) -> None:
    """Refuses to write over what is there, before every byte of a run is read."""
    if os.path.lexists(target):
        raise ReplicateError(f"{target} is there already; move it away, or name another path.")


def write_crate(target: Path, metadata: str, files: Sequence[CrateFile]) -> None:
    """Writes a crate whole or not at all: a zip file where the name says so, else a folder.

    The bytes hang on the run alone: no time, no order of a file system goes into them.

    Args:
        target: must not be there.
        metadata: the text of `ro-crate-metadata.json`.
        files: those that do not travel are passed over.

    Raises:
        ReplicateError: the target is there or cannot be written, or a file has changed since its
            digest was taken.
    """
    check_target(target)
    contents = [file_of(METADATA, metadata.encode()), *files]
    travelling = [file for file in contents if file.travels]
    if target.suffix == ".zip":
        _write_zip(target, travelling)
    else:
        _write_folder(target, travelling)


def _write_zip(target: Path, files: Iterable[CrateFile]) -> None:
    with (
        atomic_write(target) as (temporary,),
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for file in files:
            entry = zipfile.ZipInfo(file.path, NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # A plain file that its owner may write; Unix, whatever writes it.
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            with archive.open(entry, "w", force_zip64=file.size > 1 << 31) as stream:
                _copy(file, stream)


def _write_folder(target: Path, files: Iterable[CrateFile]) -> None:
    with _new_folder(target) as folder:
        for file in files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as stream:
                _copy(file, stream)


@contextmanager
def _new_folder(target: Path) -> Iterator[Path]:
    """A folder beside `target` that takes its name if the block succeeds, and goes if it fails."""
    # Two crates of one name may be written at the same time; the first to end has the name.
    suffix = secrets.token_hex(4)
    temporary = target.with_name(f".{target.name}.{suffix}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        # Last, so that what has the name is whole.
        temporary.rename(target)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        # After a success there is no such folder any more.
        shutil.rmtree(temporary, ignore_errors=True)


def _copy(file: CrateFile, target: IO[bytes]) -> None:
    """Writes a file's bytes, and holds them to the digest that the crate names."""
    digest = hashlib.sha256()
    for chunk in _chunks(file):
        digest.update(chunk)
        target.write(chunk)
    if digest.hexdigest() != file.sha256:
        raise ReplicateError(
            f"{file.path} has changed while the crate was written; wait for the run to end."
        )


def _chunks(file: CrateFile) -> Iterator[bytes]:
    if file.content is not None:
        yield file.content
        return
    with Path(file.path).open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk
