"""What is to be made anew: decided by the seals and the bytes of what is there, not by Snakemake's memory. No rules here."""

import shlex
import time

from replicate.jobs.context import announce_engine, jobs_lock, keep_plan
from replicate.jobs.digests import Digests
from replicate.jobs.standing import DIGESTS, Standing, settle_times
from replicate.jobs.table import KEPT, TEMPLATES, Jobs, files_below

#: Seconds that a new run waits for jobs that outlived a killed one; they end as soon as they notice.
PATIENCE = 120

JOBS = Jobs(PLAN, BASE)
KEPT_PLAN = keep_plan(PLAN.given, PLAN.where)


def job_of(rule):
    """Rule `params`: the words that make the stages of a command a job of `rule`, which seals what it made."""

    def given(wildcards):
        named = [wildcards.get(name) for name in ("dataset", "model", "block")]
        about = wildcards.get("experiment") or "/".join(filter(None, named))
        return shlex.join(["job", rule, about, "--plan", KEPT_PLAN])

    return given


def judged(asked=lambda wildcards: []):
    """The input function `asked`, before whose first answer the run is judged.

    Every job is of a rule that asks through this, or needs one that is.
    """

    def answer(wildcards):
        if workflow.is_main_process and not JUDGED:
            JUDGED.append(make_anew())
        return asked(wildcards)

    return answer


JUDGED = []


def make_anew():
    """Forces the jobs that are not current, and lets the times of the others be no reason. Returns those forced."""
    found = Standing(JOBS, Digests(DIGESTS)).findings(JOBS.all.values())
    for one in found:
        if one.damaged:
            logger.warning(f"{one.reason}; it is made anew.")
    stale = {one.job.record for one in found}
    settle_times(job for job in JOBS.all.values() if job.record not in stale)
    workflow.dag_settings.rerun_triggers = frozenset()
    workflow.dag.forcefiles.update(stale)
    return stale


def wait_for_orphans():
    """Jobs whose engine was killed end by themselves; what they would write must not come after what is made now."""
    told = False
    for _ in range(2 * PATIENCE):
        with jobs_lock(shared=False) as alone:
            if alone:
                return
        if not told:
            logger.warning("Waiting for jobs of an earlier run to end ...")
            told = True
        time.sleep(0.5)
    logger.error(
        "Jobs of an earlier run still go on; end them, and start this one again."
    )
    sys.exit(1)


if workflow.is_main_process:
    announce_engine()
    if OWN_LOCK is not None and not workflow.dryrun:
        wait_for_orphans()
