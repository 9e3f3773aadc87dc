"""The errors that a user is meant to read."""

import contextlib
from collections.abc import Iterator
from typing import ClassVar


def shown(text: str) -> str:
    """A text that can be printed and stored: bytes of a file name that are no UTF-8 are written out (`\\udcf1`)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class ReplicateError(Exception):
    """Something a user can act on: one sentence that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with `status`; every other exception
    is a defect of this project, keeps its traceback and exits with status 1.
    """

    #: 2: an input, a setting or the machine is to be mended.
    status: ClassVar[int] = 2

    def __init__(self, sentence: str) -> None:
        super().__init__(shown(sentence))


class Disagreement(ReplicateError):
    """All went well, and what was compared differs."""

    status: ClassVar[int] = 1


#: What is raised where a file that was read is well formed and has another content than its stage writes.
MISREAD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError)


@contextlib.contextmanager
def understanding(files: object) -> Iterator[None]:
    """Around what does nothing but take apart the content of files: what it stumbles over becomes a sentence.

    The cause stays on the error (`__cause__`), for whoever changes that code.

    Args:
        files: the file, or what the files are, as the sentence begins.
    """
    try:
        yield
    except MISREAD as error:
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ReplicateError(
            f"{files}: the content is not what its stage writes ({what}); make it again by that stage."
        ) from error
