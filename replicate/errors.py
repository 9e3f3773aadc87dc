"""The errors that a user is meant to read."""

import contextlib
from collections.abc import Iterator
from typing import ClassVar


def printable(text: str) -> str:
    """A text that can be printed and stored: with escapes (`\\udcf1`) for bytes of a file name that
    are no UTF-8.
    """
    content = text.encode("utf-8", "backslashreplace")
    return content.decode("utf-8")


class ReplicateError(Exception):
    """Something a user can act on: one sentence that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with `status`; every other exception
    is a defect of this project, keeps its traceback and exits with status 1.
    """

    #: 2: an input, a setting or the machine needs to be mended.
    status: ClassVar[int] = 2

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class Disagreement(ReplicateError):
    """The comparison worked, and the two sides differ."""

    status: ClassVar[int] = 1


#: What code raises on a file that is well formed and has another content than its stage writes.
MISREAD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, AssertionError)


@contextlib.contextmanager
def understanding(files: object) -> Iterator[None]:
    """Turns what code stumbles over in the content of files into a sentence.

    Only around code that takes files apart and does nothing else. The cause stays on the error
    (`__cause__`), for whoever changes that code.

    Args:
        files: the file, or what the files are, as the sentence begins.

    Raises:
        ReplicateError: the code inside raised one of `MISREAD`.
    """
    try:
        yield
    except MISREAD as error:
        # One line: messages of libraries may run over many.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise ReplicateError(
            f"{files}: the content is not what its stage writes ({reason}); "
            "make it again by that stage."
        ) from error
