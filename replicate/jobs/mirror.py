"""The project's folder in small: where the jobs of a run compute whose files lie in a store of
objects.

Snakemake keeps copies of what a job reads and makes in a folder of its own
(`workflow/rules/storage.smk`). Links to what no job makes turn that folder into one in which every
command means what it means in the project's folder.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from replicate.datasets import data_folder
from replicate.errors import ReplicateError
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import KEPT_RUNS, TEMPLATES, Job
from replicate.jobs.seal import read_seal

#: Of the project's folder: what jobs read and none makes, and their state, such as checkpoints.
LINKED = (
    *("protocol.yaml", "workflow/schema", "results/published"),
    *(*KEPT_RUNS, *TEMPLATES),
    ".replicate",
)


def make_mirror(project: Path, mirror: Path) -> None:
    """Makes the folder, or what it lacks; several processes may do so at once.

    Args:
        project: the project's folder.
        mirror: the folder of local copies.

    Raises:
        ReplicateError: it cannot be made.
    """
    (project / ".replicate").mkdir(exist_ok=True)
    for name in LINKED:
        link = mirror / name
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):  # of an earlier run, or another job's
                link.symlink_to((project / name).absolute())
        except OSError as error:
            raise ReplicateError(
                f"{link} cannot be made ({error.strerror}); jobs whose files lie in a store "
                "compute in that folder."
            ) from error


def lead_jobs_back(project: Path) -> None:
    """Lets this process and its jobs find the code, and the raw files of data sets, in the project.

    Args:
        project: the project's folder.
    """
    os.environ["REPLICATE_DATA"] = str(data_folder().absolute())
    # Snakemake's plug-ins may have been found by what is there.
    earlier = os.environ.get("PYTHONPATH")
    folders = [str(project), earlier] if earlier else [str(project)]
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)


class StoredDigests(Digests):
    """The digests of a run of which only the records are here: what a job made is what its record
    says.

    A store keeps the bytes that it was given, so they are not brought here to be judged. Whether an
    object is there Snakemake asks itself, and the page is made of nothing that is not read whole.

    Args:
        path: where digests of files that are here are kept.
        jobs: the jobs of the run; their records lie below the current folder.
    """

    def __init__(self, path: Path, jobs: Iterable[Job]) -> None:
        super().__init__(path)
        self._stored: dict[str, str] = {}
        for job in jobs:
            seal = read_seal(Path(job.record))
            if seal is not None:
                self._stored |= seal.outputs

    def has(self, path: Path) -> bool:
        """Whether the store has a file, as far as the records tell, or it lies here."""
        return str(path) in self._stored or super().has(path)

    def of(self, path: Path, expected: str | None = None) -> str | None:
        """The digest that the record of its job gives a file; of any other that of its bytes."""
        stored = self._stored.get(str(path))
        return super().of(path, expected) if stored is None else stored
