"""What surrounds a job that an engine started: its engine's life, its inputs as they were, and its seal.

A job ends when its engine does. The engine names itself in the environment; a job holds a lock for as long as it
lives, by which the next engine knows that none of an earlier one is left.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from replicate.errors import ReplicateError
from replicate.files import read_json, sha256_json, write_text
from replicate.filesystem import lock
from replicate.jobs.digests import Digests
from replicate.jobs.seal import write_seal
from replicate.jobs.standing import DIGESTS, Standing, own_files, sealed
from replicate.jobs.table import Jobs
from replicate.plan import Plan

#: The engine of a job: host, process number and when that process began, as JSON.
ENGINE = "REPLICATE_ENGINE"
#: Held, shared, by every job that lives.
JOBS_LOCK = Path(".replicate/jobs.lock")
PLANS = Path(".replicate/plans")
#: Seconds between two looks at whether the engine lives.
LOOK_EVERY = 0.5


def _began(process: int) -> str:
    """When a process began, in clock ticks since the start of the machine; its number may be given again."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[19]
    except (OSError, IndexError):
        return ""


def announce_engine() -> None:
    """Names this process as the engine of the jobs that it starts."""
    own = {"host": socket.gethostname(), "process": os.getpid(), "began": _began(os.getpid())}
    os.environ[ENGINE] = json.dumps(own)


def _lives(engine: dict[str, Any]) -> bool:
    try:
        os.kill(engine["process"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return bool(_began(engine["process"]) == engine["began"])


def _watch(engine: dict[str, Any]) -> None:
    """Ends this process as by SIGTERM once its engine is gone: a training saves its state first."""
    while _lives(engine):
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def die_with_engine() -> None:
    """Watches the engine that started this process, if it is one of this machine."""
    try:
        engine = json.loads(os.environ.get(ENGINE, ""))
        here = engine["host"] == socket.gethostname()
    except (ValueError, TypeError, KeyError):
        return
    if here:
        threading.Thread(target=_watch, args=(engine,), daemon=True).start()


@contextlib.contextmanager
def jobs_lock(shared: bool) -> Iterator[bool]:
    """Holds the lock of living jobs; yields whether it was to be had without waiting.

    Args:
        shared: as a job does; else as an engine that asks whether any job lives.
    """
    try:
        JOBS_LOCK.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(JOBS_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:  # a folder that cannot be written
        yield True
        return
    try:
        try:
            lock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB, JOBS_LOCK)
            free = True
        except BlockingIOError:
            free = False
        yield free
    finally:
        os.close(handle)


def keep_plan(raw: Any, where: str) -> str:
    """Writes the parameters of a run where its jobs find them; returns the file's path, named by its content."""
    content = json.dumps({"raw": raw, "where": where}, sort_keys=True)
    path = PLANS / f"{sha256_json(raw)[:16]}.json"
    if not path.is_file():
        with contextlib.suppress(ReplicateError):  # then the jobs say so, if any is to run
            write_text(path, content)
    return str(path)


def read_jobs(path: Path) -> Jobs:
    """The jobs of a plan that `keep_plan` wrote."""
    content = read_json(path)
    return Jobs(Plan(content["raw"], content["where"]))


def _check_chain(jobs: Jobs, digests: Digests) -> None:
    """The page shows nothing that is not what the parameters make."""
    found = Standing(jobs, digests).findings(jobs.shown)
    if found:
        raise ReplicateError(
            f"the page is not made, because {found[0].job.name} is not current: {found[0].reason}. Start the run "
            "again; it makes that anew."
        )


@contextlib.contextmanager
def job(rule: str, about: str, plan: Path) -> Iterator[None]:
    """Runs what is inside as a job: seals it at its end, unless it fails or an input changed meanwhile."""
    die_with_engine()
    with jobs_lock(shared=True):
        jobs = read_jobs(plan)
        try:
            mine = jobs.all[rule, about]
        except KeyError:
            raise ReplicateError(f"{plan} has no job {rule} {about}; start it by snakemake or dvc repro.") from None
        digests = Digests(DIGESTS)
        code = jobs.code(mine)

        def read() -> dict[str, str]:
            found = {path: digests.of(Path(path)) for path in mine.inputs}
            return {path: digest for path, digest in found.items() if digest} | own_files(jobs, mine)

        if rule == "report":
            _check_chain(jobs, digests)
        inputs = read()
        yield
        if read() != inputs:
            raise ReplicateError(f"a file that {mine.name} reads has changed while it ran; start the run again.")
        write_seal(Path(mine.record), sealed(jobs, mine, inputs, code, digests))
        digests.save()
