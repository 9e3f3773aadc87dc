"""Whether the files of a data set are the pinned ones: size first, then SHA-256."""

import errno
import stat
from pathlib import Path

from replicate.datasets.base import PinnedDataset, Source
from replicate.errors import ReplicateError
from replicate.storage.files import sha256_file

#: What the system says of a path that leads to nothing.
MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def digest_of(path: Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits; one that cannot be read is named in a
    `ReplicateError`.
    """
    try:
        return sha256_file(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ReplicateError(
            f"cannot read {path}: {reason}; make it readable or move it away."
        ) from None


def fault(path: Path, source: Source) -> str | None:
    """What is wrong with the file at `path`, in words that fit after its name; None if nothing is.

    Raises:
        ReplicateError: a folder stands there, or the file cannot be looked at or read.
    """
    try:
        status = path.stat()
    except OSError as error:
        if error.errno in MISSING:
            return "is missing"
        raise ReplicateError(
            f"cannot look at {path}: {error.strerror}; name another data folder."
        ) from None
    if stat.S_ISDIR(status.st_mode):
        raise ReplicateError(f"{path} is a folder where a file should be; move it away.")
    # The size first: it is known without a byte being read.
    size = status.st_size
    if size != source.size:
        cut_short = "is cut short: it " if size < source.size else ""
        return f"{cut_short}has {size} bytes instead of {source.size}"
    digest = digest_of(path)
    if digest != source.sha256:
        return f"has other content: sha256 {digest} instead of {source.sha256}"
    return None


def verified_files(dataset: PinnedDataset, folder: Path) -> dict[str, Path]:
    """Every source of `dataset` with the path of its verified file; nothing is downloaded or moved.

    Raises:
        ReplicateError: a file is missing or is not the pinned one; names every such file.
    """
    paths = {source.name: dataset.locate(source, folder) for source in dataset.sources}
    faults: dict[str, str] = {}
    for source in dataset.sources:
        reason = fault(paths[source.name], source)
        if reason is not None:
            faults[source.name] = reason
    if not faults:
        return paths
    clauses = [f"{paths[name]} {reason}" for name, reason in faults.items()]
    message = "; ".join(clauses)
    folders = {paths[name].parent for name in faults}
    # A file elsewhere is one that came with an installed package.
    if folder not in folders:
        raise ReplicateError(
            f"{message}. It ships with a dependency: install requirements.lock again."
        )
    raise ReplicateError(
        f"{message}. Run `python -m replicate fetch --dataset {dataset.name} "
        f"--data-dir {folder.parent} --out MANIFEST`, which keeps a wrong file aside and gets the "
        "right one."
    )
