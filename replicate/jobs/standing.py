"""Whether what lies on disk is what the plan would make: judged by the seals and the bytes, not by
an engine's memory.

A job is current where all its files are there with the bytes that its seal names, the seal names
the parameters, the code and the inputs of the plan, and those inputs have the bytes that it names.
Everything else is made anew.
"""

import contextlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from replicate.datasets import data_folder, load_dataset
from replicate.datasets.base import UserDataset
from replicate.errors import ReplicateError
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import Job, JobList
from replicate.jobs.seal import Seal, read_seal, was_sealed
from replicate.params import checked
from replicate.records.schema import SourceFile
from replicate.storage.files import read_json, sha256_json

#: Where the digests of files are kept, below the folder of the run.
DIGESTS = Path(".replicate/digests.json")

#: Among the inputs of a seal: what `Plan.stamp` says of a user's own files, which are not declared
#: one by one.
USER_FILES = "own files"


@dataclass(frozen=True)
class Finding:
    """Why a job is not current.

    Attributes:
        job: which one.
        reason: for people, without the job's name.
        damaged: files that are there, and are not what their seal says; no re-run of the pipeline
            accounts for them.
    """

    job: Job
    reason: str
    damaged: tuple[Path, ...] = ()


class Standing:
    """Judges the jobs of a run.

    Args:
        jobs: the jobs.
        digests: of files; those read afresh leave nothing to trust.
    """

    def __init__(self, jobs: JobList, digests: Digests) -> None:
        self.jobs = jobs
        self.digests = digests

    def broken(self, among: Iterable[Job]) -> list[Finding]:
        """Jobs whose files are not what their seals say, whatever the parameters and the code are
        now.

        Jobs that no engine ran have no seal, and are passed over.
        """
        sealed_jobs = [job for job in among if was_sealed(Path(job.record))]
        return self._judged(sealed_jobs, against_plan=False)

    def findings(self, among: Iterable[Job]) -> list[Finding]:
        """The jobs that are not current, in their order; those that only follow from another one
        are not named.
        """
        return self._judged(among, against_plan=True)

    def _judged(self, among: Iterable[Job], against_plan: bool) -> list[Finding]:
        findings = []
        for job in among:
            finding = self._finding(job, against_plan)
            if finding is not None:
                findings.append(finding)
        # What was read now need not be read the next time.
        self.digests.save()
        return findings

    def _finding(self, job: Job, against_plan: bool) -> Finding | None:
        """What is wrong with a job's files, first its own, then what it read.

        Args:
            against_plan: whether the parameters, the code and the inputs must be the plan's too.
        """
        # The cheapest look first: most changes show before any file is hashed.
        for path in job.outputs:
            if not self.digests.has(Path(path)):
                return Finding(job, f"{path} is missing")
        record = Path(job.record)
        seal = read_seal(record)
        if seal is None and was_sealed(record):
            reason = f"{record} is not what it was written as: changed or damaged"
            return Finding(job, reason, (record,))
        if seal is None:
            return Finding(job, f"{record} does not say what was given, read and made")
        damage = self._damage(job, seal)
        if damage is not None:
            return damage
        return self._change(job, seal) if against_plan else self._other_input(job, seal)

    def _damage(self, job: Job, seal: Seal) -> Finding | None:
        """Files that are not what the job made."""
        damaged = []
        for name, digest in seal.outputs.items():
            path = Path(name)
            if self.digests.of(path, digest) != digest:
                damaged.append(path)
        # The first output is the record, which holds the seal and cannot hold its own digest.
        results = job.outputs[1:]
        # A file that the rules declare and no seal names may be of any origin.
        damaged += [Path(path) for path in results if path not in seal.outputs]
        if not damaged:
            return None
        reason = f"{damaged[0]} is not what its record says: changed or damaged"
        return Finding(job, reason, tuple(damaged))

    def _change(self, job: Job, seal: Seal) -> Finding | None:
        """What the job would be given now, and was not."""
        if (seal.rule, seal.about) != (job.rule, job.about):
            return Finding(job, f"{job.record} is that of {seal.rule} {seal.about}")
        # Snakemake's own record does not do: of a job that failed it keeps the new parameters as
        # those of its outputs (it calls `persistence.finished` on failure, too).
        if seal.given != self.jobs.given(job):
            return Finding(job, "its parameters have changed")
        if seal.code != self.jobs.code(job):
            return Finding(job, "its code has changed")
        # A user's files are no files of the layout: they are looked at below.
        inputs = seal.inputs.keys() - {USER_FILES}
        if inputs != set(job.inputs):
            return Finding(job, "it reads other files than it did")
        return self._other_input(job, seal) or self._other_user_files(job, seal)

    def _other_input(self, job: Job, seal: Seal) -> Finding | None:
        """An input that is not the one that was read."""
        for path in job.inputs:
            sealed_digest = seal.inputs.get(path)
            if self.digests.of(Path(path), sealed_digest) != sealed_digest:
                return Finding(job, f"{path} is not the one that it read")
        return None

    def _other_user_files(self, job: Job, seal: Seal) -> Finding | None:
        """A user's own data: other names, sizes, times or places, and then also another content."""
        stamp = stamp_of_user_files(self.jobs, job)
        if job.rule != "fetch" or (seal.inputs == stamp and not (stamp and self.digests.fresh)):
            return None
        # A copy has other times, and is the same data set.
        manifest = read_json(Path(job.outputs[1]))
        content = _content(self.jobs, job, stamp, self.digests)
        if content == sha256_json(manifest.get("sources")):
            return None
        return Finding(job, f"the files of the data set {job.about} are not those that it listed")


def settle_times(current: Iterable[Job]) -> None:
    """Gives the files of current jobs times in the order of the jobs, for an engine that also looks
    at times.

    A clock that was set back, a clone or a copy leave others. What cannot be given a time keeps its
    own.
    """
    for job in current:
        inputs = [Path(path) for path in job.inputs]
        outputs = [Path(path) for path in job.outputs]
        for path in [*inputs, *outputs]:
            # After a clock that ran ahead, every later job would look too old.
            if _time_of(path) > time.time():
                _renew_time(path)
        times_of_inputs = [_time_of(path) for path in inputs]
        times_of_outputs = [_time_of(path) for path in outputs]
        # Engines ask that no input is younger than an output.
        newest_input = max(times_of_inputs, default=0.0)
        if newest_input > min(times_of_outputs):
            for path in outputs:
                _renew_time(path)


def _time_of(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _renew_time(path: Path) -> None:
    # Of a file of another user, say: at worst an engine runs a job again.
    with contextlib.suppress(OSError):
        os.utime(path)


def stamp_of_user_files(jobs: JobList, job: Job) -> dict[str, str]:
    """For `fetch` of a data set that users bring: what its names, sizes and times are; else
    nothing.
    """
    if job.rule != "fetch":
        return {}
    stamp = jobs.plan.stamp(job.about)
    return {USER_FILES: stamp} if stamp else {}


def _content(jobs: JobList, job: Job, stamp: Mapping[str, str], digests: Digests) -> str:
    """A digest of what `fetch` would list now; it is read once for each stamp of the files."""
    name = f"{USER_FILES} of {job.about}"
    text = stamp.get(USER_FILES, "")
    content = digests.kept(name, text)
    if content is None:
        content = sha256_json(_listed(jobs, job.about))
        digests.keep(name, text, content)
    return content


def user_files(jobs: JobList, digests: Digests) -> dict[str, str]:
    """Data set that users bring -> SHA-256 of its content, or why it is not part of the run.

    The content is read only where names, sizes, times or places are others than when it was
    fetched.
    """
    content = dict(jobs.plan.absent)
    for job in jobs.all.values():
        stamp = stamp_of_user_files(jobs, job)
        if not stamp:
            continue
        manifest = Path(job.outputs[1])
        seal = read_seal(Path(job.record))
        digest = None
        if seal is not None and seal.inputs == stamp:
            digest = seal.outputs.get(job.outputs[1])
        # A manifest that was changed or damaged stands for nothing.
        if digest is not None and digests.of(manifest) == digest:
            sources = read_json(manifest).get("sources")
            # Unchanged since `fetch` read it, by names, sizes and times: the manifest stands for
            # the files.
            content[job.about] = sha256_json(sources)
        else:
            content[job.about] = _content(jobs, job, stamp, digests)
    digests.save()
    return content


def _listed(jobs: JobList, name: str) -> list[SourceFile] | None:
    """What `fetch` would list of a user's own data now; None where it would fail."""
    dataset = load_dataset(name)
    if not isinstance(dataset, UserDataset):
        return None
    given = jobs.plan.params.datasets.get(name, {})
    try:
        options = checked(dataset.Config, given, "params", f"datasets.{name}")
        path = dataset.data_path(data_folder() / name, options)
        if dataset.missing(path) is not None:
            return None
        return [dataset.inventory(path)]
    except ReplicateError:
        return None


def sealed(jobs: JobList, job: Job, inputs: Mapping[str, str], code: str, digests: Digests) -> Seal:
    """The seal of a job that has just ended.

    Args:
        inputs: as they were when it began.
        code: likewise.
    """
    outputs = {}
    for path in [*job.outputs[1:], *_undeclared_outputs(job)]:
        digest = digests.of(Path(path))
        if digest is None:
            raise ReplicateError(f"{path} was not made; run {job.name} again.")
        outputs[path] = digest
    return Seal(job.rule, job.about, jobs.given(job), code, dict(inputs), outputs)


def _undeclared_outputs(job: Job) -> list[str]:
    """Files in the job's own folder that only some jobs make."""
    if job.folder is None:
        return []
    undeclared = []
    for path in sorted(Path(job.folder).iterdir()):
        # Hidden ones are half written, or an editor's.
        is_visible = path.is_file() and not path.name.startswith(".")
        if is_visible and str(path) not in job.outputs:
            undeclared.append(str(path))
    return undeclared
