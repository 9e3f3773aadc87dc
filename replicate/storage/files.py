"""Files that appear whole or not at all, and the digests that name their contents."""

import contextlib
import errno
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
from safetensors import SafetensorError, deserialize, safe_open

from replicate.errors import ReplicateError
from replicate.storage.filesystem import flush, flush_folder
from replicate.storage.locks import LockState, try_lock, wait_for_lock
from replicate.storage.paths import dangling_link, output_path, unmounted

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

#: numpy's types and safetensors' names for them, in the order in which a file holds them: aligned
#: without gaps.
_DTYPE_NAMES = {
    "uint64": "U64",
    "int64": "I64",
    "float64": "F64",
    "float32": "F32",
    "uint32": "U32",
    "int32": "I32",
    "float16": "F16",
    "uint16": "U16",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}
#: safetensors' names -> numpy's types.
_DTYPES = {code: np.dtype(name) for name, code in _DTYPE_NAMES.items()}
#: What the safetensors library and the parsing of a header raise on a file that is not whole.
_DAMAGE = (
    SafetensorError,
    OSError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    OverflowError,
)

#: In the metadata of a tensor file: the digest of all else in it.
CONTENT = "content_sha256"
#: Bytes of a JSON file, far more than any result has.
MAX_JSON_BYTES = 1 << 29
#: Levels of lists and objects in each other that a result may have; the deepest has about ten.
MAX_DEPTH = 50


def write_error(path: Path, error: OSError) -> ReplicateError:
    """Turns a failed write of `path` into a sentence that says what to do."""
    link = dangling_link(path)
    if link is not None:
        return ReplicateError(f"cannot write {path}: {unmounted(link)}.")
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    return ReplicateError(f"cannot write {path}: {reason}.")


def _failure(error: OSError, target: Path, targets: Sequence[Path]) -> ReplicateError:
    """The sentence of a failure while files are written: of the target at work, unless the error
    names a file that has nothing to do with any of them, such as one that is read meanwhile.
    """
    named = error.filename
    if isinstance(named, str | bytes):
        path = Path(os.fsdecode(named))
        if not any(_is_on_the_way(path, each) for each in targets):
            return ReplicateError(f"cannot use {path}: {error.strerror}.")
    return write_error(target, error)


def _is_on_the_way(path: Path, target: Path) -> bool:
    """Whether it is the target, a folder above it, or a temporary file of it."""
    is_temporary = path.parent == target.parent and is_part_of(path.name, target.name)
    return is_temporary or path == target or path in target.parents


def is_part_of(name: str, target: str) -> bool:
    """Whether `name` is how `atomic_write` calls a temporary file of `target`, or one of that."""
    # Eight characters of a wider set than is used now: earlier versions let `tempfile` choose.
    end = r"\.[a-z0-9_]{8}\.part"
    own = rf"\.{re.escape(target)}{end}"
    # What writes into a temporary file may do so atomically itself, as data sets do.
    pattern = rf"{own}|\.{own}{end}"
    return re.fullmatch(pattern, name) is not None


@contextlib.contextmanager
def _writer_lock(folder: Path, targets: list[str]) -> Iterator[None]:
    """Makes `folder`, and clears the temporary files that killed writers of `targets` left in it.

    Every writer holds a shared lock on the folder, which goes with its process: who gets the lock
    alone knows that no temporary file there is in use. On a file system without locks nothing is
    cleared.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        # The folder may be written and not read: nobody could list what was left there.
        yield
        return
    try:
        if try_lock(handle, folder) is LockState.HELD:
            _clear_temporary(folder, targets)
        # Shared, so that other outputs of the same folder can be written meanwhile.
        wait_for_lock(handle, folder, shared=True)
        yield
    finally:
        os.close(handle)


def _clear_temporary(folder: Path, targets: list[str]) -> None:
    for path in folder.glob(".*.part"):
        # A user's own file may end in .part too.
        is_ours = any(is_part_of(path.name, target) for target in targets)
        if is_ours:
            path.unlink(missing_ok=True)


def _new_temporary_beside(path: Path) -> Path:
    """A new empty file beside `path`, with the rights that umask (or the folder's default list)
    gives.
    """
    # O_EXCL: the name is taken, or the file is ours alone.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    while True:
        suffix = secrets.token_hex(4)
        temporary = path.with_name(f".{path.name}.{suffix}.part")
        with contextlib.suppress(FileExistsError):
            # `tempfile` would make files that only their owner reads, whatever the umask says.
            handle = os.open(temporary, flags, 0o666)
            os.close(handle)
            return temporary


@contextlib.contextmanager
def atomic_write(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yields one temporary path per target; all targets appear when the block succeeds.

    Each temporary file lies in its target's folder, is flushed to disk (fsync) and then renamed, so
    that a reader sees the old file or the new one, never a part; the renames follow right after
    each other. Where a target is a link, the file that it leads to is replaced (`output_path`). If
    the block raises, or a rename fails, the remaining temporary files are removed. What a kill
    leaves, the next write of the same target removes.

    Raises:
        ReplicateError: a target cannot be written, as on a full disk or in a read-only folder; or
            the block fails at another file, which is named then.
    """
    targets = tuple(output_path(path) for path in paths)
    for target in targets:
        # By one name the last of them would replace the others, without a word.
        if targets.count(target) > 1:
            raise ReplicateError(
                f"{target} would be written twice, with different contents; name two files."
            )
    # Links are followed first, so that a temporary file lies on the disk of the file it replaces.
    names = [target.name for target in targets]
    temporaries: list[Path] = []
    target = targets[0]  # the one at work, for the message
    with contextlib.ExitStack() as locks:
        try:
            for target in targets:
                locks.enter_context(_writer_lock(target.parent, names))
            for target in targets:
                temporaries.append(_new_temporary_beside(target))  # noqa: PERF401 (if one fails, those made are removed)
            yield tuple(temporaries)
            for target, temporary in zip(targets, temporaries, strict=True):  # noqa: B007 (`target`: for the message)
                with temporary.open("rb+") as stream:
                    # Before any rename: after a power cut a name could stand for bytes
                    # that never reached the disk.
                    flush(stream.fileno(), temporary.parent)
            for target, temporary in zip(targets, temporaries, strict=True):
                temporary.replace(target)
                flush_folder(target.parent)
        except OSError as error:
            raise _failure(error, target, targets) from error
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no NaN: the same value gives the same bytes.

    Raises:
        ValueError: NaN or an infinity, which JSON does not have; store None, and say why.
    """
    text = json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return f"{text}\n"


def write_text(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) atomically."""
    with atomic_write(path) as (temporary,):
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Writes `value` as canonical JSON, atomically."""
    text = canonical_json(value)
    write_text(path, text)


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not finite, and no number of JSON")


def check_plain(value: object) -> None:
    """Refuses what `json.loads` takes and no result holds: infinite numbers, half letters, endless
    nesting.

    Raises:
        ValueError: says which.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for entry in level:
            # Level by level and not by recursion: a deep file would end in a RecursionError.
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
    raise ValueError(f"it is nested more than {MAX_DEPTH} deep")


def _bounded(path: Path) -> bytes:
    """The bytes of a file; of one without an end, such as /dev/zero, ValueError."""
    with path.open("rb") as stream:
        content = stream.read(MAX_JSON_BYTES + 1)
    if len(content) > MAX_JSON_BYTES:
        raise ValueError(f"it has more than {MAX_JSON_BYTES} bytes")
    return content


def read_json(path: Path) -> Any:  # Any: whoever reads a file knows what its stage writes
    """The value of a JSON file.

    Raises:
        ReplicateError: it is missing, cannot be read or is not plain JSON.
    """
    try:
        # Python's own reader takes NaN and Infinity, which are no JSON.
        text = _bounded(path).decode("utf-8")
        value = json.loads(text, parse_constant=_refuse_constant)
        check_plain(value)
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; run the stage that makes it first.") from None
    except OSError as error:
        raise ReplicateError(f"cannot read {path}: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise ReplicateError(
            f"{path} is not valid JSON ({error}); run the stage that makes it again."
        ) from None
    return value


def _bytes(array: np.ndarray) -> memoryview:
    """The bytes of an array without gaps, in place."""
    flat = array.reshape(-1)
    # A view, since arrays of samples take most of a job's memory.
    as_bytes = flat.view(np.uint8)
    return as_bytes.data


def content_digest(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> str:
    """SHA-256 of what a tensor file holds: names, types, shapes and bytes of its tensors, and its
    metadata.
    """
    described: dict[str, list[object]] = {}
    for name, array in tensors.items():
        content = _bytes(np.ascontiguousarray(array))
        digest = hashlib.sha256(content).hexdigest()
        described[name] = [array.dtype.name, list(array.shape), digest]
    # Not of the file's bytes: the digest itself stands among them.
    return sha256_json({"tensors": described, "metadata": {**metadata}})


def write_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    digest: bool = True,
) -> None:
    """Writes named arrays as safetensors, atomically; see `dump_tensors`."""
    with atomic_write(path) as (temporary,):
        dump_tensors(temporary, tensors, metadata, digest)


def _header(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None) -> bytes:
    """The start of a safetensors file of `arrays` in their order: a length, and so much JSON."""
    header: dict[str, object] = {}
    if metadata:
        # The library keeps them in the order of a hash table, which differs from process to
        # process.
        header["__metadata__"] = dict(sorted(metadata.items()))
    start = 0
    for name, array in arrays.items():
        stop = start + array.nbytes
        header[name] = {
            "dtype": _DTYPE_NAMES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": (start, stop),
        }
        start = stop
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    # Padded, so that the tensors begin at a multiple of 8 bytes, as the library writes them.
    padding = -len(text) % 8
    text += b" " * padding
    length = len(text).to_bytes(8, "little")
    return length + text


def dump_tensors(
    path: Path,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str] | None = None,
    digest: bool = True,
) -> None:
    """Writes named arrays as safetensors to a temporary path of `atomic_write`; equal arrays give
    equal bytes.

    The writer is our own because the library writes to a file that it names itself and then
    renames, so that a kill would leave a file which nobody knows to be safe to remove. The bytes
    are those of the library, with sorted metadata.

    Args:
        path: to write to.
        tensors: name -> array.
        metadata: name -> text.
        digest: whether the metadata also hold the digest of the content, which `read_tensors`
            checks.
    """
    dtypes = list(_DTYPE_NAMES)
    by_type_and_name = []
    for name, tensor in tensors.items():
        type_number = dtypes.index(tensor.dtype.name)
        by_type_and_name.append((type_number, name))
    arrays: dict[str, np.ndarray] = {}
    # The order of the library: widest types first, so that every tensor stays aligned.
    for _, name in sorted(by_type_and_name):
        arrays[name] = np.ascontiguousarray(tensors[name])
    described = dict(metadata or {})
    if digest:
        described[CONTENT] = content_digest(arrays, described)
    header = _header(arrays, described)
    with path.open("wb") as stream:
        stream.write(header)
        for array in arrays.values():
            content = _bytes(array)
            stream.write(content)


def _header_of(path: Path) -> tuple[list[str], dict[str, str]]:
    """The names of the tensors of a file that the safetensors library finds whole, and its
    metadata.
    """
    try:
        with safe_open(path, framework="np") as tensor_file:
            return list(tensor_file.keys()), dict(tensor_file.metadata() or {})
    except FileNotFoundError:
        raise
    except OSError:
        # The library maps files into memory, which some file systems cannot (FUSE, 9p: ENODEV).
        content = path.read_bytes()
        tensors = deserialize(content)  # type: ignore[no-untyped-call]
        names = [name for name, _ in tensors]
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        return sorted(names), dict(header.get("__metadata__", {}))


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file that the library found whole.

    The library itself maps the file into memory and copies from there, which takes twice the memory
    while it does.
    """
    arrays = {}
    with path.open("rb") as stream:
        length = stream.read(8)
        size = int.from_bytes(length, "little")
        header = json.loads(stream.read(size))
        for name in names:
            entry = header[name]
            start, stop = entry["data_offsets"]
            dtype = _DTYPES[entry["dtype"]]
            count = (stop - start) // dtype.itemsize
            # Offsets count from the end of the header, which has its length before it.
            position = 8 + size + start
            stream.seek(position)
            values = np.fromfile(stream, dtype, count)
            arrays[name] = values.reshape(entry["shape"])
    return arrays


def read_tensors(
    path: Path, stage: str | None = None
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads a safetensors file: its arrays by name, and its metadata but for the content's digest.

    Args:
        path: of the file.
        stage: the one that makes it, for messages.

    Raises:
        ReplicateError: the file is missing, truncated or not safetensors, or its content is not
            what its digest says; files of earlier versions have none.
    """
    command = f"run `{stage}`" if stage else "run the stage that makes it"
    try:
        names, metadata = _header_of(path)
        tensors = _arrays(path, names)
    except FileNotFoundError:
        raise ReplicateError(f"{path} does not exist; {command} first.") from None
    except _DAMAGE as error:
        raise ReplicateError(
            f"{path} is not a whole safetensors file ({error}); {command} again."
        ) from None
    # Popped: it is the file's own matter, and no stage puts it into a result.
    digest = metadata.pop(CONTENT, None)
    if digest is not None and digest != content_digest(tensors, metadata):
        raise ReplicateError(
            f"{path} is not what it was written as: its content differs from its own SHA-256; "
            f"{command} again."
        )
    return tensors, metadata


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        # In pieces, since files of samples are large.
        digest = hashlib.file_digest(stream, "sha256")
    return digest.hexdigest()


def sha256_json(value: object) -> str:
    """SHA-256 of the canonical JSON of `value`."""
    text = canonical_json(value)
    digest = hashlib.sha256(text.encode())
    return digest.hexdigest()
