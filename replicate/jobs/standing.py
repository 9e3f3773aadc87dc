"""Whether what lies on disk is what the plan would make: judged by the seals and the bytes, not by an engine's memory.

A job is current where all its files are there with the bytes that its seal names, the seal names the parameters, the
code and the inputs of the plan, and those inputs have the bytes that it names. Everything else is made anew.
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
from replicate.files import read_json
from replicate.jobs.digests import Digests
from replicate.jobs.seal import Seal, read_seal, was_sealed
from replicate.jobs.table import Job, Jobs
from replicate.params import checked

#: Where the digests of files are kept, below the folder of the run.
DIGESTS = Path(".replicate/digests.json")

#: Among the inputs of a seal: what `Plan.stamp` says of a user's own files, which are not declared one by one.
OWN_FILES = "own files"


@dataclass(frozen=True)
class Finding:
    """Why a job is not current.

    Attributes:
        job: which one.
        reason: for people, without the job's name.
        damaged: files that are there, and are not what their seal says; no re-run of the pipeline accounts for them.
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

    def __init__(self, jobs: Jobs, digests: Digests) -> None:
        self.jobs, self.digests = jobs, digests

    def broken(self, among: Iterable[Job]) -> list[Finding]:
        """Jobs whose files are not what their seals say, whatever the parameters and the code are now.

        Jobs that no engine ran have no seal, and are passed over.
        """
        with_seal = [job for job in among if was_sealed(Path(job.record))]
        found = [self._whole(job) for job in with_seal]
        self.digests.save()
        return [one for one in found if one is not None]

    def _whole(self, job: Job) -> Finding | None:
        finding = self._there(job)
        if finding is not None:
            return finding
        seal = read_seal(Path(job.record))
        if seal is None:
            return Finding(job, f"{job.record} is not what it was written as", (Path(job.record),))
        return self._damage(job, seal) or self._moved(job, seal)

    @staticmethod
    def _there(job: Job) -> Finding | None:
        missing = [path for path in job.outputs if not Path(path).is_file()]
        return Finding(job, f"{missing[0]} is missing") if missing else None

    def findings(self, among: Iterable[Job]) -> list[Finding]:
        """The jobs that are not current, in their order; those that only follow from another one are not named."""
        found = [self._finding(job) for job in among]
        self.digests.save()
        return [one for one in found if one is not None]

    def _finding(self, job: Job) -> Finding | None:
        finding = self._there(job)
        if finding is not None:
            return finding
        record = Path(job.record)
        seal = read_seal(record)
        if seal is None and was_sealed(record):
            return Finding(job, f"{record} is not what it was written as: changed or damaged", (record,))
        if seal is None:
            return Finding(job, f"{record} does not say what was given, read and made")
        return self._damage(job, seal) or self._change(job, seal)

    def _damage(self, job: Job, seal: Seal) -> Finding | None:
        """Files that are not what the job made."""
        differing = [Path(path) for path, digest in seal.outputs.items() if self.digests.of(Path(path)) != digest]
        unsealed = [Path(path) for path in job.outputs[1:] if path not in seal.outputs]
        damaged = [*differing, *unsealed]
        if damaged:
            return Finding(job, f"{damaged[0]} is not what its record says: changed or damaged", tuple(damaged))
        return None

    def _change(self, job: Job, seal: Seal) -> Finding | None:
        """What the job would be given now, and was not."""
        if (seal.rule, seal.about) != (job.rule, job.about):
            return Finding(job, f"{job.record} is that of {seal.rule} {seal.about}")
        if seal.given != self.jobs.given(job):
            return Finding(job, "its parameters have changed")
        if seal.code != self.jobs.code(job):
            return Finding(job, "its code has changed")
        if set(seal.inputs) - {OWN_FILES} != set(job.inputs):
            return Finding(job, "it reads other files than it did")
        return self._moved(job, seal) or self._brought(job, seal)

    def _moved(self, job: Job, seal: Seal) -> Finding | None:
        """An input that is not the one that was read."""
        for path in job.inputs:
            if self.digests.of(Path(path)) != seal.inputs.get(path):
                return Finding(job, f"{path} is not the one that it read")
        return None

    def _brought(self, job: Job, seal: Seal) -> Finding | None:
        """A user's own data: other names, sizes or times, and then also another content."""
        if job.rule != "fetch" or seal.inputs == own_files(self.jobs, job):
            return None
        if _listed(self.jobs, job.about) == read_json(Path(job.outputs[1])).get("sources"):
            return None
        return Finding(job, f"the files of the data set {job.about} are not those that it listed")


def settle_times(current: Iterable[Job]) -> None:
    """Gives the files of current jobs times in the order of the jobs, for an engine that also looks at times.

    A clock that was set back, a clone or a copy leave others. What cannot be given a time keeps its own.
    """
    for job in current:
        inputs, outputs = [Path(path) for path in job.inputs], [Path(path) for path in job.outputs]
        for path in [*inputs, *outputs]:
            if _time_of(path) > time.time():
                _renew_time(path)
        newest = max((_time_of(path) for path in inputs), default=0.0)
        if newest > min(_time_of(path) for path in outputs):
            for path in outputs:
                _renew_time(path)


def _time_of(path: Path) -> float:
    return path.stat().st_mtime if path.exists() else 0.0


def _renew_time(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)


def own_files(jobs: Jobs, job: Job) -> dict[str, str]:
    """For `fetch` of a data set that users bring: what its names, sizes and times are; else nothing."""
    stamp = jobs.plan.stamp(job.about) if job.rule == "fetch" else ""
    return {OWN_FILES: stamp} if stamp else {}


def _listed(jobs: Jobs, name: str) -> list[dict[str, object]] | None:
    """What `fetch` would list of a user's own data now; None where it would fail."""
    dataset = load_dataset(name)
    if not isinstance(dataset, UserDataset):
        return None
    try:
        options = checked(dataset.Config, jobs.plan.params.datasets.get(name, {}), "params", f"datasets.{name}")
        path = dataset.place(data_folder() / name, options)
        return [dataset.inventory(path)] if dataset.missing(path) is None else None
    except ReplicateError:
        return None


def sealed(jobs: Jobs, job: Job, inputs: Mapping[str, str], code: str, digests: Digests) -> Seal:
    """The seal of a job that has just ended.

    Args:
        inputs: as they were when it began.
        code: likewise.
    """
    paths = list(job.outputs[1:])
    if job.folder is not None:
        beside = (path for path in sorted(Path(job.folder).iterdir()) if path.is_file())
        paths += [str(path) for path in beside if str(path) not in job.outputs and not path.name.startswith(".")]
    outputs = {path: digests.of(Path(path)) for path in paths}
    lost = [path for path, digest in outputs.items() if digest is None]
    if lost:
        raise ReplicateError(f"{lost[0]} was not made; run {job.name} again.")
    made = {path: digest for path, digest in outputs.items() if digest is not None}
    return Seal(job.rule, job.about, jobs.given(job), code, dict(inputs), made)
