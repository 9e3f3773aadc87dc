"""What surrounds a job that an engine started: its engine's life, its inputs as they were, and its
seal.

A job ends when its engine does. The engine names itself in the environment; a job holds a lock for
as long as it lives, by which the next engine knows that none of an earlier one is left.
"""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import Job, JobList
from replicate.jobs.plan import Plan
from replicate.jobs.seal import write_seal
from replicate.jobs.standing import DIGESTS, Standing, sealed, stamp_of_user_files
from replicate.storage.files import read_json, sha256_json, write_text
from replicate.storage.locks import Lock
from replicate.storage.processes import Process, this_process

#: The engine of a job: host, process number and when that process began, as a list in JSON.
ENGINE = "REPLICATE_ENGINE"
#: Held, shared, by every job that lives.
JOBS_LOCK = Path(".replicate/jobs.lock")
PLANS = Path(".replicate/plans")
#: Seconds between two looks at whether the engine lives.
LOOK_EVERY = 0.5


def announce_engine() -> None:
    """Names this process as the engine of the jobs that it starts."""
    os.environ[ENGINE] = json.dumps(this_process())


def _watch(engine: Process) -> None:
    """Ends this process as by SIGTERM once its engine is gone: a training saves its state first."""
    # Left to itself it would write over what the next run makes.
    while engine.lives:
        time.sleep(LOOK_EVERY)
    os.kill(os.getpid(), signal.SIGTERM)


def die_with_engine() -> None:
    """Watches the engine that started this process, if it is one of this machine."""
    try:
        host, number, began = json.loads(os.environ.get(ENGINE, ""))
        engine = Process(str(host), int(number), str(began))
    # A stage that someone runs by hand has no engine.
    except (ValueError, TypeError, RecursionError):
        return
    # On a cluster the engine is on another machine, where its number means another process.
    if engine.is_here:
        # A daemon: a job that is done does not wait for its watch to end.
        threading.Thread(target=_watch, args=(engine,), daemon=True).start()


@contextlib.contextmanager
def jobs_lock(shared: bool) -> Iterator[str]:
    """Holds the lock of living jobs; yields who is in the way where it is not to be had without
    waiting.

    Args:
        shared: as a job does; else as an engine that asks whether any job lives.
    """
    try:
        JOBS_LOCK.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(JOBS_LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError:  # a folder that cannot be written
        yield ""
        return
    lock = Lock(handle, JOBS_LOCK)
    try:
        is_free = lock.take(shared=shared)
        who = f" ({lock.holder})" if lock.holder else ""
        yield "" if is_free else f"jobs of an earlier run{who}"
    finally:
        lock.release()
        os.close(handle)


def keep_plan(raw: object, where: str) -> str:
    """Writes the parameters of a run where its jobs find them; returns the file's path, named by
    its content.
    """
    content = json.dumps({"raw": raw, "where": where}, sort_keys=True)
    digest = sha256_json(raw)[:16]
    path = PLANS / f"{digest}.json"
    try:
        is_kept = path.read_text(encoding="utf-8") == content
    except (OSError, UnicodeDecodeError):
        is_kept = False
    if not is_kept:
        with contextlib.suppress(ReplicateError):  # then the jobs say so, if any is to run
            write_text(path, content)
    return str(path)


def read_jobs(path: Path) -> JobList:
    """The jobs of a plan that `keep_plan` wrote."""
    content = read_json(path)
    plan = Plan(content["raw"], content["where"])
    return JobList(plan)


def _check_chain(jobs: JobList, digests: Digests) -> None:
    """The page shows nothing that is not what the parameters make."""
    findings = Standing(jobs, digests).findings(jobs.before_page)
    if findings:
        first = findings[0]
        raise ReplicateError(
            f"the page is not made, because {first.job.name} is not current: {first.reason}. "
            "Start the run again; it makes that anew."
        )


def _digests_of_inputs(jobs: JobList, job: Job, digests: Digests) -> dict[str, str]:
    """File -> SHA-256 of what a job reads, as far as it is there."""
    inputs = {}
    for path in job.inputs:
        digest = digests.of(Path(path))
        if digest is not None:
            inputs[path] = digest
    return inputs | stamp_of_user_files(jobs, job)


@contextlib.contextmanager
def job(rule: str, about: str, plan: Path) -> Iterator[None]:
    """Runs what is inside as a job: seals it at its end, unless it fails or an input changed
    meanwhile.
    """
    die_with_engine()
    with jobs_lock(shared=True):
        jobs = read_jobs(plan)
        try:
            this = jobs.all[rule, about]
        except KeyError:
            raise ReplicateError(
                f"{plan} has no job {rule} {about}; start it by snakemake or dvc repro."
            ) from None
        # Code and inputs as they are now, before the stages run: a later edit is not what ran.
        digests = Digests(DIGESTS)
        code = jobs.code(this)
        if rule == "report":
            _check_chain(jobs, digests)
        inputs = _digests_of_inputs(jobs, this, digests)
        yield
        if _digests_of_inputs(jobs, this, digests) != inputs:
            raise ReplicateError(
                f"a file that {this.name} reads has changed while it ran; start the run again."
            )
        # Last of all: a job that ends before it has no seal for what it wrote, and runs again.
        write_seal(Path(this.record), sealed(jobs, this, inputs, code, digests))
        digests.save()
