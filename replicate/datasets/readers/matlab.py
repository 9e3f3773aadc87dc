"""Arrays of a MATLAB file, looked at before they are read, and never unpickled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from replicate.errors import ReplicateError

#: How HDF5 files begin; MATLAB's version 7.3 puts it behind its own header of 512 bytes.
HDF5 = b"\x89HDF\r\n\x1a\n"


#: Bytes of the header of a file of version 5 to 7, and of the tag of an element.
HEADER_BYTES, TAG_BYTES = 128, 8
#: The end of that header -> the order of bytes in a number.
ORDERS: dict[bytes, Literal["little", "big"]] = {b"IM": "little", b"MI": "big"}


def _refuse_unreadable(path: Path) -> None:
    if path.is_dir():
        raise ReplicateError(f"{path} is a folder where a MATLAB file should be; move it away.")
    try:
        with path.open("rb") as stream:
            start = stream.read(512 + len(HDF5))
    except OSError as error:
        raise ReplicateError(
            f"cannot read {path}: {error.strerror}; make it readable for this user."
        ) from None
    if HDF5 in (start[: len(HDF5)], start[512:]):
        raise ReplicateError(
            f"{path} is a MATLAB 7.3 (HDF5) file, which is not read here; load it in MATLAB and "
            "save it again with `save(FILE, '-v7')`."
        )


def _missing_bytes(path: Path) -> int:
    """How many bytes at least are missing at the end of a file of version 5 to 7; 0 for any other.

    Its elements follow each other, each after its kind and its length (MAT-File Format, "Level 5"):
    a reader that skips the last one never notices that it is cut short.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        header = stream.read(HEADER_BYTES)
        order = ORDERS.get(header[-2:])
        if order is None or len(header) < HEADER_BYTES:
            return 0
        end = HEADER_BYTES
        while end + TAG_BYTES <= size:
            stream.seek(end + TAG_BYTES // 2)
            length = int.from_bytes(stream.read(TAG_BYTES // 2), order)
            end += TAG_BYTES + length
    # The bytes that fill up a word may be left out.
    return max(0, end - size)


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Variable -> shape, from the headers alone.

    Raises:
        ReplicateError: the file is not a whole MATLAB file of version 4 to 7.
    """
    from scipy.io import whosmat  # imported here, so that naming a data set stays cheap

    _refuse_unreadable(path)
    missing = _missing_bytes(path)
    if missing:
        raise ReplicateError(
            f"{path} is not a whole MATLAB file (at least {missing} bytes are missing at its end, "
            "as of a copy that was broken off); copy it again from where it came."
        )
    try:
        return {name: tuple(shape) for name, shape, _ in whosmat(path)}
    except Exception as error:  # a damaged file makes its reader raise anything
        raise _damaged(path, error) from None


def read_arrays(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.number]]:
    """The named numeric arrays.

    Raises:
        ReplicateError: the file is not whole, or one of them is missing or holds no numbers.
    """
    # Not above: a plan loads every data set's module, and needs no SciPy.
    from scipy.io import loadmat

    _refuse_unreadable(path)
    try:
        # Only these: who asks for the folds of TFD has no need of its images.
        variables = loadmat(path, variable_names=list(names))
    except Exception as error:  # a damaged file makes its reader raise anything
        raise _damaged(path, error) from None
    arrays = {}
    for name in names:
        values = variables.get(name)
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
            raise ReplicateError(
                f"{path}: the variable {name!r} is missing or is no array of real numbers."
            )
        arrays[name] = values
    return arrays


def _damaged(path: Path, error: Exception) -> ReplicateError:
    text = " ".join(str(error).split())
    # Some of the reader's errors have no text.
    reason = text or type(error).__name__
    return ReplicateError(
        f"{path} is not a whole MATLAB file ({reason}); copy it again from where it came."
    )
