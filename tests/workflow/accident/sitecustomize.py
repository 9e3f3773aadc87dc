"""Makes one job fail as an accident would: on PYTHONPATH of a whole run, by the variable FAULT,
`RULE KIND`.

Python imports this module at its start, in every process; only the job of that rule does anything,
at the first rename of one of its results: `kill` (SIGKILL of the stage), `term` (SIGTERM to the
whole process group, as a container stop or a batch system sends it), `full` (no space left),
`fsync` (the disk fails to keep what was written).
"""

import errno
import os
import signal
from pathlib import Path
from typing import Any

RULE, KIND = (os.environ.get("FAULT") or " ").split(" ")


def _strike(path: Any) -> None:
    """What happens instead of a rename or a flush of a result."""
    if KIND == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if KIND == "term":
        os.killpg(0, signal.SIGTERM)
        signal.pause()
    if KIND == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def _arm() -> None:
    rename, flush = os.replace, os.fsync

    def replaced(source: Any, target: Any, **options: Any) -> None:
        if Path(target).parts[0] in ("results", "report") and KIND != "fsync":
            _strike(target)
        rename(source, target, **options)

    def flushed(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if KIND == "fsync" and {"results", "report"} & set(path.parts) and path.suffix == ".part":
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        flush(descriptor)

    os.replace, os.fsync = replaced, flushed


WORDS = Path("/proc/self/cmdline").read_bytes().split(b"\0") if RULE else []
if RULE and b"job" in WORDS and WORDS[WORDS.index(b"job") + 1] == RULE.encode():
    _arm()
