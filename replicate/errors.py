"""The one error that a user is meant to read."""


class ReplicateError(Exception):
    """Something a user can act on: one sentence that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with status 1; every other exception
    is a defect of this project and keeps its traceback.
    """
