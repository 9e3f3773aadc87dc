"""Which process: by its host, its number and when it began, since numbers are given again."""

import os
import socket
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process of some host.

    Attributes:
        host: the name of its machine.
        number: its process id there.
        began: when it began, in clock ticks since the start of the machine; empty where the system
            does not tell.
    """

    host: str
    number: int
    began: str

    @property
    def is_here(self) -> bool:
        """Whether it is, or was, one of this machine."""
        return self.host == socket.gethostname()

    @property
    def lives(self) -> bool:
        """Whether it is at work; of one of another machine nobody here can tell, so it counts."""
        if not self.is_here:
            return True
        # Of a process of another user the system may tell no beginning.
        return is_running(self.number) and _began(self.number) in (self.began, "")

    def __str__(self) -> str:
        """For people: `pid 12 of node7`."""
        return f"pid {self.number} of {self.host}"


def is_running(number: int) -> bool:
    """Whether this machine has a process of that number."""
    try:
        # Signal 0 is sent to nobody: it only asks whether the process is there.
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    # A process of another user has that number.
    except PermissionError:
        pass
    return True


def this_process() -> Process:
    """The process that asks."""
    number = os.getpid()
    return Process(socket.gethostname(), number, _began(number))


def _began(number: int) -> str:
    """When a process began.

    The name of a program may be any bytes, and is cut after 15 of them, be it in mid-letter.
    """
    try:
        # Linux alone tells it here; elsewhere the number has to do.
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8", errors="replace")
        # The name of the program stands in parentheses, and may have blanks and more of them.
        after_name = stat.rsplit(")", 1)[1]
        # Field 22 of proc(5); the first one after the name is field 3.
        return after_name.split()[19]
    # Without /proc, as on macOS, the number alone decides.
    except (OSError, IndexError):
        return ""
