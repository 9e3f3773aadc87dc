"""What is to be made anew: decided by the seals and the bytes of what is there, not by Snakemake's memory. No rules here."""

import shlex
import time

from replicate.jobs.bytecode import drop_stale_bytecode
from replicate.jobs.context import announce_engine, jobs_lock, keep_plan
from replicate.jobs.digests import Digests
from replicate.jobs.standing import DIGESTS, Standing, settle_times
from replicate.jobs.job_list import JobList
from replicate.jobs.layout import FILES, RULES
from replicate.jobs.resources import RESOURCES, needed, read_needs
from replicate.jobs.subject import WHOLE_RUN, Subject

#: Seconds that a new run waits for jobs that outlived a killed one; they end as soon as they notice.
PATIENCE = 120

#: Rules whose jobs compute with torch, on a GPU where there is one.
COMPUTE = {
    *("train", "measure", "samplers", "inspect", "measures"),
    *("classifier", "controls", "experiment"),
}
#: For SLURM: a job is told two minutes before its time limit, so that a training ends by a checkpoint.
TOLD_BEFORE = "--signal=TERM@120"

JOBS = JobList(PLAN, BASE)
KEPT_PLAN = keep_plan(PLAN.given, PLAN.where)


def subject_of(name, wildcards):
    """What a job of a rule is about."""
    return Subject(**{wildcard: wildcards[wildcard] for wildcard in RULES[name].about})


def files_of(name):
    """The input function of a rule: the files that a job reads, by the names of replicate/jobs/layout.py."""

    def files(wildcards):
        subject = subject_of(name, wildcards)
        inputs = {file: JOBS.files(file, subject) for file in RULES[name].reads}
        if MIRROR is not None:
            inputs = in_store(name, inputs)
        # One file is a word and not a list: captions ask for it by its name.
        return {
            file: paths[0] if file in FILES else paths for file, paths in inputs.items()
        }

    return files


def every(name):
    """All files of one kind in the run, by the names of replicate/jobs/layout.py."""
    return JOBS.files(name, WHOLE_RUN)


def outputs_of(name):
    """The outputs of a rule; in a store also the folder with the files that only some of its jobs make, such as figures."""
    outputs = dict(RULES[name].outputs)
    folder = RULES[name].folder
    if MIRROR is not None and folder is not None:
        outputs["folder"] = directory(FILES[folder])
    return outputs


def captioned(name, **captions):
    """The outputs of a rule, some of them for `snakemake --report`: the arguments of `report` by the output's name."""
    outputs = outputs_of(name)
    for file, arguments in captions.items():
        outputs[file] = report(outputs[file], **arguments)
    return outputs


def command_of(name):
    """Rule `params`: the command of a job, which seals what its stages made; the same that the page prints."""

    def command(wildcards):
        subject = subject_of(name, wildcards)
        job = JOBS.all[name, subject.path]
        job_words = ["job", name, job.about, "--plan", KEPT_PLAN]
        words = ["python", "-m", "replicate", *job_words]
        for stage in job.stages:
            words += ["then", *JOBS.command(stage, job)]
        return shlex.join(words)

    return command


def forecast_needs():
    """What `status --write-resources` has forecast; nothing where it did not run."""
    try:
        return read_needs(RESOURCES)
    except ReplicateError as error:
        logger.error(str(error))
        sys.exit(1)


def needs(name):
    """Rule `resources`: memory and time, which clusters ask for, and a GPU for the rules that may compute on one."""

    def part(resource):
        def asked(wildcards, attempt):
            about = subject_of(name, wildcards).path
            return needed(NEEDS, name, about, attempt)[resource]

        return asked

    resources = {resource: part(resource) for resource in ("mem_mb", "runtime")}
    resources["slurm_extra"] = TOLD_BEFORE
    # A function, since Snakemake says only after reading the rules whether jobs run here or elsewhere.
    gpu = {"gpu": lambda wildcards: uses_gpu()} if name in COMPUTE else {}
    return resources | gpu


def judged(asked=lambda wildcards: []):
    """The input function `asked`, before whose first answer the run is judged.

    Every job is of a rule that asks through this, or needs one that is.
    """

    def answer(wildcards):
        if workflow.is_main_process and not JUDGED:
            drop_stale_bytecode(BASE / "replicate")
            take_place()
            JUDGED.append(make_anew())
        return asked(wildcards)

    return answer


JUDGED = []
NEEDS = forecast_needs()


def make_anew():
    """Forces the jobs that are not current, and lets the times of the others be no reason. Returns those forced."""
    if MIRROR is None:
        found = Standing(JOBS, Digests(DIGESTS)).findings(JOBS.all.values())
    else:
        found = found_in_store()
    for one in found:
        if one.damaged:
            logger.warning(f"{one.reason}; it is made anew.")
    stale = {one.job.record for one in found}
    if MIRROR is None:
        settle_times(job for job in JOBS.all.values() if job.record not in stale)
    workflow.dag_settings.rerun_triggers = frozenset()
    workflow.dag.forcefiles.update(map(local_copy, stale))
    return stale


def wait_for_orphans():
    """Jobs whose engine was killed end by themselves; what they would write must not come after what is made now.

    On this machine they notice that it is gone. On a cluster they go on to their end, so that nothing is lost.
    """
    told = False
    end = time.monotonic() + PATIENCE
    # A number of nodes is what only a cluster needs; which executor it is, Snakemake says after reading the rules.
    on_cluster = workflow.resource_settings.nodes is not None
    while on_cluster or time.monotonic() < end:
        with jobs_lock(shared=False) as in_the_way:
            if not in_the_way:
                return
        if not told:
            logger.warning(f"Waiting for {in_the_way} to end ...")
            told = True
        time.sleep(0.5)
    logger.error(
        "Jobs of an earlier run still go on; end them, and start this one again."
    )
    sys.exit(1)


def take_place():
    """What hangs on whether jobs run here or on a cluster, which Snakemake says only after reading the rules."""
    if workflow.local_exec:
        announce_engine()
        one_job_a_gpu()


# Now, since Snakemake looks at the files that are there as soon as it has read the rules.
if workflow.is_main_process and OWN_LOCK is not None and not workflow.dryrun:
    wait_for_orphans()
