"""What the rules share: the checked parameters, and what a job depends on. No rules here."""

import contextlib
import fcntl
import shutil

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config

from replicate import precheck
from replicate.errors import ReplicateError
from replicate.filesystem import flush_folder, lock
from replicate.hardware import has_nvidia_gpu
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
    update_config(given, workflow.config_settings.config)
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


def config_of(stage):
    """Rule `params`: the subset of the parameters that a job of `stage` depends on, as JSON."""

    def given(wildcards):
        return PLAN.config(
            stage,
            wildcards.get("dataset"),
            wildcards.get("model"),
            wildcards.get("experiment"),
        )

    return given


def of_every_run(pattern):
    """The files of a rule's output `pattern` for every data set, model and block of seeds of the run."""
    return [
        str(pattern).format(dataset=d, model=m, block=b) for d, m, b in PLAN.params.runs
    ]


def images_for(wildcards):
    """The prepared data set of an experiment on images; nothing for any other."""
    dataset = PLAN.images(wildcards.experiment)
    return f"results/data/{dataset}.safetensors" if dataset else []


def samples_for(wildcards):
    """The samples of the run, for an experiment that looks at them."""
    return PLAN.samples(wildcards.experiment)


def trials_for(wildcards):
    """The kept trials of tuning, for an experiment that looks at them."""
    return PLAN.trials(wildcards.experiment)


def uses_gpu():
    """1 if the jobs of this run compute on a GPU, so that the `gpu` resource limits them; else 0."""
    device = PLAN.params.compute.device
    return int(device == "cuda" or (device == "auto" and has_nvidia_gpu()))


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
    # If another run is alive, or locking fails, Snakemake's own lock decides.
    with contextlib.suppress(OSError):
        if lock(handle.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB, folder):
            shutil.rmtree(folder / "locks", ignore_errors=True)
            # What is complete is judged by its seal (standing.smk), which a job writes last.
            shutil.rmtree(folder / "incomplete", ignore_errors=True)
    with contextlib.suppress(OSError):
        lock(handle.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB, folder)
    return handle


without_conda()
OWN_LOCK = own_lock() if workflow.is_main_process else None


wildcard_constraints:
    dataset=r"[a-z0-9_]+",
    model=r"[a-z0-9_]+",
    block=r"\d+(-\d+)?",
    experiment=r"[a-z0-9_]+",
