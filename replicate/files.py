"""Files that appear whole or not at all, and the digests that name their contents."""

import contextlib
import errno
import fcntl
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from safetensors import SafetensorError, safe_open

from replicate.errors import ReplicateError
from replicate.filesystem import flush, flush_folder, lock
from replicate.paths import dangling_link, output_place, unmounted

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

#: numpy's types and safetensors' names for them, in the order in which a file holds them: aligned without gaps.
_TYPES = {
    "uint64": "U64", "int64": "I64", "float64": "F64", "float32": "F32", "uint32": "U32", "int32": "I32",
    "float16": "F16", "uint16": "U16", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip


#: safetensors' names -> numpy's types.
_KINDS = {kind: np.dtype(name) for name, kind in _TYPES.items()}

#: In the metadata of a tensor file: the digest of all else in it.
CONTENT = "content_sha256"
#: Levels of lists and objects in each other that a result may have; the deepest has about ten.
DEEPEST = 50


def write_error(path: Path, error: OSError) -> ReplicateError:
    """Turns a failed write of `path` into a sentence that says what to do."""
    link = dangling_link(path)
    if link is not None:
        return ReplicateError(f"cannot write {path}: {unmounted(link)}.")
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return ReplicateError(f"cannot write {path}: {reason}.")


def is_part_of(name: str, target: str) -> bool:
    """Whether `name` is how `replacing` calls a temporary file of `target`."""
    return re.fullmatch(rf"\.{re.escape(target)}\.[a-z0-9_]{{8}}\.part", name) is not None


@contextlib.contextmanager
def _at_work_in(folder: Path, targets: list[str]) -> Iterator[None]:
    """Makes `folder`, and clears the temporary files that killed writers of `targets` left in it.

    A writer holds a shared kernel lock on the folder, which goes with the process: who gets it alone knows that no
    temporary file there is in use. On a file system without such locks nothing is cleared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # a folder that may be written and not read: nobody could list what was left there
        yield
        return
    try:
        with contextlib.suppress(BlockingIOError):
            if lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, folder):
                for path in folder.glob(".*.part"):
                    if any(is_part_of(path.name, target) for target in targets):
                        path.unlink(missing_ok=True)
        lock(handle, fcntl.LOCK_SH, folder)
        yield
    finally:
        os.close(handle)


def _temporary_beside(path: Path) -> Path:
    """A new empty file in the folder of `path`, with the rights that umask (or the folder's default list) gives."""
    while True:
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            return part


@contextlib.contextmanager
def replacing(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yields one temporary path per target; the targets appear when the block succeeds, one right after the other.

    Each temporary file lies in its target's folder, is flushed to disk (fsync) and then renamed, so
    that a reader sees the old file or the new one, never a part. Where a target is a link, the file that it
    leads to is replaced (`output_place`). If the block raises, or a rename fails, the remaining temporary
    files are removed; a full disk or a read-only folder becomes a `ReplicateError`. What a kill leaves, the
    next write of the same target removes.
    """
    temporary: list[Path] = []
    paths = tuple(output_place(path) for path in paths)
    target = paths[0]
    with contextlib.ExitStack() as stack:
        try:
            for target in paths:
                stack.enter_context(_at_work_in(target.parent, [path.name for path in paths]))
            for target in paths:
                temporary.append(_temporary_beside(target))  # noqa: PERF401 (one by one: those made are removed)
            yield tuple(temporary)
            for part in temporary:
                with part.open("rb+") as stream:
                    flush(stream.fileno(), part.parent)
            for target, part in zip(paths, temporary, strict=True):
                part.replace(target)
                flush_folder(target.parent)
        except OSError as error:
            raise write_error(target, error) from error
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


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not finite, and no number of JSON")


def check_plain(value: Any) -> None:
    """Refuses what `json.loads` takes and no result holds: numbers that became infinite, half letters, endless nesting.

    Raises ValueError that says which.
    """
    level = [value]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                below += entry
                below += entry.values()
            elif isinstance(entry, list):
                below += entry
            elif isinstance(entry, str):
                entry.encode()  # fails for half of a pair of surrogates
            elif isinstance(entry, float) and not math.isfinite(entry):
                raise ValueError("a number is not finite")
        if not below:
            return
        level = below
    raise ValueError(f"it is nested more than {DEEPEST} deep")


def read_json(path: Path) -> Any:
    """Reads a JSON file; a missing or broken one is named in a `ReplicateError`."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refused)
        check_plain(value)
        return value
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage that makes it first.") from None
    except OSError as error:
        raise ReplicateError(f"cannot read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ReplicateError(
            f"{path} is not valid JSON ({error}); delete it and run the stage that makes it again."
        ) from None


def _bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array without gaps, in place."""
    return array.reshape(-1).view(np.uint8).data


def content_digest(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """SHA-256 of what a tensor file holds: names, types, shapes and bytes of its tensors, and its metadata."""
    of_tensors = {
        name: [array.dtype.name, list(array.shape), hashlib.sha256(_bytes(np.ascontiguousarray(array))).hexdigest()]
        for name, array in tensors.items()
    }
    return sha256_json({"tensors": of_tensors, "metadata": {**metadata}})


def write_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None, digest: bool = True
) -> None:
    """Writes named arrays as safetensors, atomically; equal arrays give equal bytes."""
    with replacing(path) as (part,):
        dump_tensors(part, tensors, metadata, digest)


def _header(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None) -> bytes:
    """The length and the JSON at the start of a safetensors file that holds `arrays` in their order."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    start = 0
    for name, array in arrays.items():
        stop = start + array.nbytes
        header[name] = {"dtype": _TYPES[array.dtype.name], "shape": array.shape, "data_offsets": (start, stop)}
        start = stop
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def dump_tensors(
    path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None, digest: bool = True
) -> None:
    """Writes named arrays as safetensors to a temporary path that `replacing` gave.

    The bytes are those of the safetensors library, with sorted metadata. The library itself writes to a file of its
    own naming and renames it, so that a kill leaves a file that nobody may remove.

    Args:
        path: to write to.
        tensors: name -> values.
        metadata: name -> text.
        digest: whether the metadata also get the digest of the content, which every reader checks (`read_tensors`).
    """
    order = list(_TYPES)
    names = sorted(tensors, key=lambda name: (order.index(tensors[name].dtype.name), name))
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in names}
    about = dict(metadata or {})
    if digest:
        about[CONTENT] = content_digest(arrays, about)
    with path.open("wb") as stream:
        stream.write(_header(arrays, about))
        for array in arrays.values():
            stream.write(_bytes(array))


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file that the library found whole.

    The library itself maps the file into memory and copies from there, which takes twice the memory while it does.
    """
    arrays = {}
    with path.open("rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(size))
        for name in names:
            entry = header[name]
            start, stop = entry["data_offsets"]
            kind = _KINDS[entry["dtype"]]
            stream.seek(8 + size + start)
            arrays[name] = np.fromfile(stream, kind, (stop - start) // kind.itemsize).reshape(entry["shape"])
    return arrays


def read_tensors(path: Path, stage: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a safetensors file: its arrays by name, and its metadata without the digest of the content.

    Args:
        path: of the file.
        stage: the one that makes it, for messages.

    Raises:
        ReplicateError: the file is missing, truncated or not safetensors, or its content is not what its digest says;
            files of earlier versions have none.
    """
    again = f"run `{stage}` again" if stage else "run the stage that makes it again"
    try:
        with safe_open(path, framework="np") as checked:
            names, metadata = list(checked.keys()), dict(checked.metadata() or {})
        tensors = _arrays(path, names)
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; {again.removesuffix(' again')} first.") from None
    except (SafetensorError, OSError, TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
        raise ReplicateError(f"{path} is not a whole safetensors file ({error}); delete it and {again}.") from None
    digest = metadata.pop(CONTENT, None)
    if digest is not None and digest != content_digest(tensors, metadata):
        raise ReplicateError(
            f"{path} is not what it was written as: its content differs from its own SHA-256; delete it and {again}."
        )
    return tensors, metadata


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()
