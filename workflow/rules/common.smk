"""What the rules share: the checked parameters, and what a job depends on. No rules here."""

import atexit
import contextlib
import shutil

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config

from replicate.jobs import precheck
from replicate.errors import ReplicateError
from replicate.storage.documents import read_values
from replicate.storage.filesystem import flush_folder
from replicate.storage.locks import Lock
from replicate.records.hardware import gpu_cards
from replicate.params import mapping_of, read_document


def given_parameters():
    """The parameters of the run and the name of their file.

    Every command reads the file by the same reader, so that it means the same everywhere; Snakemake's own is YAML 1.1
    and takes the last of two equal keys. A file given with --configfile replaces params.yaml, where Snakemake would
    merge the two; --config changes single values.
    """
    if not workflow.configfiles:
        workflow.configfiles.append("params.yaml")
    here = Path.cwd()
    paths = [Path(path).absolute() for path in workflow.configfiles]
    files = [
        str(path.relative_to(here) if path.is_relative_to(here) else path)
        for path in paths
    ]
    where = ", ".join(files)
    given = {}
    for file in files:
        update_config(given, mapping_of(*read_document(file)))
    update_config(given, read_values(workflow.config_settings.config, "--config"))
    return given, where


def checked_plan():
    """The plan of the run; a fault in the parameters ends the run with one sentence that names its path."""
    try:
        plan = precheck.checked_plan(*given_parameters())
    except ReplicateError as error:
        logger.error(str(error))
        sys.exit(1)
    if workflow.is_main_process:
        for notice in plan.notices:
            logger.warning(notice)
    return plan


def uses_gpu():
    """1 if the jobs of this run compute on a GPU, so that they ask for one; else 0.

    With `auto`, each job decides where it runs; on another machine than this one it is given no GPU unasked.
    """
    device = PLAN.params.compute.device
    finds_one = device == "auto" and workflow.local_exec and bool(gpu_cards())
    return int(device == "cuda" or finds_one)


def one_job_a_gpu():
    """On this machine as many jobs use GPUs at once as there are, unless `--resources gpu=4` says otherwise.

    A cluster knows its GPUs itself, so no profile may hold this limit, which would hold there, too.
    """
    if "gpu" not in workflow.global_resources:
        workflow.register_resource("gpu", max(1, len(gpu_cards())))


def without_conda():
    """Where no conda exists, --use-conda becomes one line, and jobs run in the active environment."""
    settings = workflow.deployment_settings
    asked = DeploymentMethod.CONDA in settings.deployment_method
    if not asked or shutil.which("conda") is not None:
        return
    settings.deployment_method = set(settings.deployment_method) - {
        DeploymentMethod.CONDA
    }
    if workflow.is_main_process:
        logger.warning(
            "There is no conda on PATH: --use-conda is set aside, jobs run in the active environment."
        )


def own_lock():
    """Removes the lock that a killed Snakemake left behind.

    Snakemake's own lock does not say whether its owner still lives. The kernel drops this one (flock)
    with the process, so whoever gets it alone knows that no other run of this folder is alive. Where the
    file system has no locks, or does not flush folders, that is said here, once for all jobs.
    """
    folder = Path(".snakemake")
    try:
        folder.mkdir(exist_ok=True)
        handle = (folder / "replicate.lock").open("w")
        flush_folder(folder)
    except OSError:
        return None  # a read-only folder
    lock = Lock(handle.fileno(), Path(handle.name))
    # A lock that is held by a file outlives the process otherwise.
    atexit.register(lock.release)
    # If another run is alive, or locking fails, Snakemake's own lock decides.
    with contextlib.suppress(OSError):
        if lock.take():
            shutil.rmtree(folder / "locks", ignore_errors=True)
            # What is complete is judged by its seal (standing.smk), which a job writes last.
            shutil.rmtree(folder / "incomplete", ignore_errors=True)
    with contextlib.suppress(OSError):
        # Waits for one that clears at this moment: without its lock, this run would count as dead.
        lock.wait(shared=True)
    return handle


without_conda()
OWN_LOCK = own_lock() if workflow.is_main_process else None

# A cluster ends a job by SIGTERM to all its processes, some time before it kills them. A training then saves its
# state, for which its shell and its log must outlive the signal. A prefix takes the place of Snakemake's own, by which a
# job fails whose command fails in front of `tee`.
BEFORE_JOBS = (
    "set -euo pipefail; trap : TERM; tee() ( trap '' TERM; command tee \"$@\" ); "
)
shell.prefix(BEFORE_JOBS)


wildcard_constraints:
    dataset=r"[a-z0-9_]+",
    model=r"[a-z0-9_]+",
    block=r"\d+(-\d+)?",
    experiment=r"[a-z0-9_]+",
