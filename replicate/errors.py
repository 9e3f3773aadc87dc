"""The one error that a user is meant to read."""


def shown(text: str) -> str:
    """A text that can be printed and stored: bytes of a file name that are no UTF-8 are written out (`\\udcf1`)."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class ReplicateError(Exception):
    """Something a user can act on: one sentence that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with status 1; every other exception
    is a defect of this project and keeps its traceback.
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(shown(sentence))
