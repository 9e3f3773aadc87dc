"""Files that appear whole or not at all, and the digests that name their contents."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from replicate.errors import ReplicateError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EROFS: "the file system is read-only; choose another folder or mount it writable",
    errno.EACCES: "permission denied; make the folder writable for this user",
    errno.EPERM: "permission denied; make the folder writable for this user",
    errno.EFBIG: "the file would exceed the size this process may write (see `ulimit -f`)",
    errno.EEXIST: "part of the path is a file, not a folder; move that file away",
    errno.ENOTDIR: "part of the path is a file, not a folder; move that file away",
    errno.EISDIR: "a folder stands where the file should be; move it away",
}


def write_error(path: Path, error: OSError) -> ReplicateError:
    """Turns a failed write of `path` into a sentence that says what to do."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return ReplicateError(f"cannot write {path}: {reason}.")


def sync_folder(folder: Path) -> None:
    """Flushes a folder's entries to disk, so that a rename in it survives a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _temporary_beside(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.fchmod(handle, 0o644)
    os.close(handle)
    return Path(name)


@contextlib.contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yields one temporary path per target; the targets appear when the block succeeds, one right after the other.

    Each temporary file lies in its target's folder, is flushed to disk (fsync) and then renamed, so
    that a reader sees the old file or the new one, never a part. If the block raises, or a rename
    fails, the remaining temporary files are removed; a full disk or a read-only folder becomes a
    `ReplicateError`.
    """
    temporary: list[Path] = []
    target = paths[0]
    try:
        try:
            for target in paths:
                temporary.append(_temporary_beside(target))  # noqa: PERF401 (one by one: those made are removed)
            yield tuple(temporary)
            for part in temporary:
                with part.open("rb+") as stream:
                    os.fsync(stream.fileno())
            for target, part in zip(paths, temporary, strict=True):
                part.replace(target)
                sync_folder(target.parent)
        except OSError as error:
            raise write_error(target, error) from error
        except SafetensorError as error:  # how safetensors reports a failed write
            raise ReplicateError(f"cannot write {target}: {error}.") from error
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no NaN: the same value gives the same bytes.

    Raises ValueError for NaN and infinities, which JSON does not have; store None and say why.
    """
    return json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) atomically."""
    with replacing(path) as (part,):
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as canonical JSON, atomically."""
    write_text(path, canonical_json(value))


def read_json(path: Path) -> Any:
    """Reads a JSON file; a missing or broken one is named in a `ReplicateError`."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage that makes it first.") from None
    except OSError as error:
        raise ReplicateError(f"cannot read {path}: {error.strerror}.") from None
    except ValueError as error:
        raise ReplicateError(
            f"{path} is not valid JSON ({error}); delete it and run the stage that makes it again."
        ) from None


def _sort_metadata(path: Path) -> None:
    # safetensors writes its metadata in the order of a hash map that is seeded anew at every write.
    with path.open("rb+") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length)
        if len(text) != length:
            raise SafetensorError("the sorted header does not fit where the header was")
        stream.seek(8)
        stream.write(text)


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named arrays as safetensors, atomically; equal arrays give equal bytes."""
    with replacing(path) as (part,):
        dump_tensors(part, tensors, metadata)


def dump_tensors(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named arrays as safetensors to a temporary path that `replacing` gave."""
    ordered = {name: np.ascontiguousarray(tensors[name]) for name in sorted(tensors)}
    save_file(ordered, path, metadata=dict(metadata) if metadata else None)
    if metadata:
        _sort_metadata(path)
    path.chmod(0o644)  # safetensors makes the file anew, readable by its owner only


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a safetensors file: its arrays by name, and its metadata.

    Raises `ReplicateError` if the file is missing, truncated or not safetensors.
    """
    try:
        with safe_open(path, framework="np") as stream:
            return {name: stream.get_tensor(name) for name in stream.keys()}, stream.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage that makes it first.") from None
    except (SafetensorError, OSError) as error:
        raise ReplicateError(
            f"{path} is not a whole safetensors file ({error}); delete it and run the stage that makes it again."
        ) from None


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
