"""The jobs of a finished run, as their records tell them: commands, times, software, and files."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from replicate.errors import ReplicateError, understanding
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import Job, JobList
from replicate.jobs.layout import RULES
from replicate.jobs.seal import read_seal
from replicate.jobs.standing import DIGESTS, USER_FILES, Standing
from replicate.records.schema import RunRecord, SourceState
from replicate.storage.files import read_json


@dataclass(frozen=True)
class FinishedJob:
    """A job that ended, and left what the plan would make.

    Attributes:
        job: which one.
        command: the command line that makes its files.
        started, ended: of its first and its last stage, UTC, ISO 8601.
        versions: Python or package -> version.
        source: the commit in words, with a remark where tracked files differed from it.
        inputs, outputs: path -> SHA-256; the job's own record is left out.
    """

    job: Job
    command: str
    started: str
    ended: str
    versions: Mapping[str, str]
    source: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


def finished_jobs(jobs: JobList) -> list[FinishedJob]:
    """Every job of a run, after every byte of its files was read and judged.

    Raises:
        ReplicateError: a job is missing, its files are damaged, or they are not what the
            parameters and the code would make; or a record tells no times.
    """
    # Nothing is taken on trust here: what travels is looked at by people who cannot look again.
    standing = Standing(jobs, Digests(DIGESTS, fresh=True))
    findings = standing.findings(jobs.all.values())
    if findings:
        first = findings[0]
        raise ReplicateError(
            f"the run is not finished or not whole: {first.job.name}: {first.reason}; "
            "`snakemake --cores all` makes that anew."
        )
    return [_finished(jobs, job) for job in jobs.all.values()]


def _finished(jobs: JobList, job: Job) -> FinishedJob:
    record_file = Path(job.record)
    seal = read_seal(record_file)
    # It was judged a moment ago: only another process can have changed it since.
    if seal is None:
        raise ReplicateError(f"{job.record} has changed just now; start again.")
    records = list(_records(job))
    with understanding(record_file):
        # The last stage stands for the job: its stages ran in one process, with one software.
        last = records[-1]
        versions = last["versions"]
        source = _in_words(last["source"])
    # A user's own images never travel, and are known by a stamp and not by a digest.
    inputs = {path: digest for path, digest in seal.inputs.items() if path != USER_FILES}
    return FinishedJob(
        job=job,
        command=_command(jobs, job),
        started=min(_time(job, record, "started") for record in records),
        ended=max(_time(job, record, "ended") for record in records),
        versions=versions,
        source=source,
        inputs=inputs,
        outputs=seal.outputs,
    )


def _records(job: Job) -> Iterator[RunRecord]:
    """The records of a job's stages; that of the last stage, which has the seal, comes last."""
    names = job.subject.names
    patterns = RULES[job.rule].outputs
    earlier = [pattern for name, pattern in patterns.items() if name.endswith("_record")]
    for pattern in [*earlier, patterns["record"]]:
        path = pattern.format(**names)
        yield read_json(Path(path))


def _time(job: Job, record: RunRecord, name: str) -> str:
    """When a stage started or ended.

    Raises:
        ReplicateError: an earlier version wrote the record.
    """
    time = record.get(name)
    if not isinstance(time, str):
        raise ReplicateError(
            f"{job.record} does not say when {job.name} ran, because an earlier version made it; "
            "`snakemake --cores all --forceall` makes the run again."
        )
    return time


def _in_words(source: SourceState) -> str:
    commit = source["commit"]
    if commit is None:
        return "of no known commit"
    if source["dirty"]:
        return f"{commit} with changes"
    return commit


def _command(jobs: JobList, job: Job) -> str:
    """The job as one command line; the stages of one job share a process."""
    commands = [shlex.join(jobs.command(stage, job)) for stage in job.stages]
    stages = " then ".join(commands)
    return f"python -m replicate {stages}"
