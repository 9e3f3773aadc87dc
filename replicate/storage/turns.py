"""A lock file that processes take in turn: each waits until the one before it is done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from replicate.storage.files import write_error
from replicate.storage.locks import Lock


@contextmanager
def turn(file: Path) -> Iterator[None]:
    """Holds a lock file, which is made where it is missing, with its folder.

    Raises:
        ReplicateError: the file cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        stream = file.open("a")
    except OSError as error:
        raise write_error(file, error) from error
    with stream:
        lock = Lock(stream.fileno(), file)
        lock.wait()
        try:
            yield
        finally:
            lock.release()
