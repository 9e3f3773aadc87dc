"""Where a run's files lie if not in this folder: in a store of objects, such as S3 (--default-storage-provider). No rules here.

Snakemake brings a job's inputs from the store into a folder below .snakemake/storage, and its outputs from there into
the store. Jobs run in that folder, which is the project's folder in small (replicate/jobs/mirror.py), by the same commands.
"""

import shlex

from snakemake.io import get_flag_value

from replicate.jobs.mirror import StoredDigests, lead_jobs_back, make_mirror


def stored(path):
    """A file of the run with the default storage provider's flag; its text is the path of the local copy."""
    return workflow.modifier.path_modifier.apply_default_storage(path)


def mirror_folder():
    """The folder of the local copies; None where the files of the run lie in this folder."""
    if workflow.storage_settings.default_storage_provider is None:
        return None
    return Path(stored("results")).parent


def run_in_mirror():
    """Jobs find the code and the raw files of data sets here, and everything else in the folder of local copies."""
    make_mirror(BASE, MIRROR)
    lead_jobs_back(BASE)
    return f'python() ( cd {shlex.quote(str(MIRROR))} && exec python "$@" ); '


def bring_records():
    """Brings from the store what says of each job what it was given, read and made; returns the local copies."""
    copies = []
    for job in JOBS.all.values():
        # Of `fetch` also the list of a user's own files, which is compared with those that are here.
        paths = job.outputs if job.rule == "fetch" else [job.record]
        for path in paths:
            copy = get_flag_value(stored(path), "storage_object")
            if copy.exists():
                copy.local_path().parent.mkdir(parents=True, exist_ok=True)
                copy.retrieve_object()
                copies.append(copy.local_path())
    return copies


def found_in_store():
    """The jobs that are not current, of a run whose files lie in a store."""
    copies = bring_records()
    try:
        with contextlib.chdir(MIRROR):
            jobs = JOBS.all.values()
            return Standing(JOBS, StoredDigests(DIGESTS, jobs)).findings(jobs)
    finally:
        for copy in copies:
            copy.unlink()


def local_copy(path):
    """Where a file of the run is for Snakemake: its local copy, if it lies in a store."""
    return path if MIRROR is None else str(MIRROR / path)


def in_store(name, inputs):
    """The inputs of a job by their names: what no job makes stays in this folder; the page has all that it may show."""
    made = {path for job in JOBS.all.values() for path in job.outputs}
    inputs = {
        file: [path if path in made else local(path) for path in paths]
        for file, paths in inputs.items()
    }
    if name == "report":
        shown = JOBS.before_page
        inputs["results"] = [path for job in shown for path in job.outputs]
        inputs["folders"] = [job.folder for job in shown if job.folder is not None]
    return inputs


MIRROR = mirror_folder()
if MIRROR is not None:
    shell.prefix(BEFORE_JOBS + run_in_mirror())
