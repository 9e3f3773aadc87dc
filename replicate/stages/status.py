"""Shows what is done, running and pending, and forecasts hours, memory and disk of what is left.

The forecast comes from measured rates: the run records of jobs that are done; for a model and data
set that never ran here, a few training steps are timed now (a few seconds each, nothing is written,
no data are needed).

  python -m replicate status                              # the run of params.yaml
  python -m replicate status --params presets/mnist.yaml  # before a long run starts
  python -m replicate status --json                       # the same for programs
  python -m replicate status --write-resources            # for a cluster (docs/clusters.md)

Experiments and other long jobs are named while they run, and so are absent data sets that users
bring themselves, with where to put them. What runs is named with its host.
"""

import argparse
import json
import sys
from pathlib import Path

from replicate.errors import ReplicateError
from replicate.jobs.forecast import (
    Forecast,
    dominating,
    forecast,
    host_of,
    other_jobs,
    overall,
    side_by_side,
)
from replicate.jobs.precheck import checked_plan
from replicate.jobs.resources import RESOURCES, write_needs
from replicate.params import read_document
from replicate.progress.reporting import duration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument(
        "--params", default="params.yaml", help="parameter file (default: params.yaml)"
    )
    parser.add_argument(
        "--results", type=Path, default=Path("results"), help="folder of the results"
    )
    parser.add_argument(
        "--state", type=Path, default=Path(".replicate"), help="folder of checkpoints and progress"
    )
    parser.add_argument("--cores", type=int, help="as in `snakemake --cores` (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--write-resources",
        action="store_true",
        help="also write the memory and minutes that a cluster is asked for each training",
    )


def _line(job: Forecast) -> str:
    name = f"{job.dataset} {job.model} seeds {job.block}"
    time_left = duration(job.seconds)
    if job.state == "done":
        return f"  done     {name}"
    if job.state == "running":
        return f"  running  {name}: epoch {job.epoch}/{job.epochs}, {time_left} left, on {job.host}"
    line = f"  pending  {name}: {job.epochs} epochs, about {time_left}"
    if job.epoch:
        line += f" (goes on from epoch {job.epoch})"
    return line


def run(arguments: argparse.Namespace) -> None:
    """Prints a line for every training job and every other running job, and the forecast."""
    if arguments.cores is not None and arguments.cores < 1:
        raise ReplicateError(f"--cores {arguments.cores}: a whole number from 1 is needed.")
    plan = checked_plan(*read_document(arguments.params))
    params = plan.params
    jobs = forecast(params, arguments.results, arguments.state)
    at_once = side_by_side(params, arguments.cores)
    total = overall(jobs, at_once)
    running = other_jobs(arguments.state, jobs)
    if arguments.write_resources:
        path = arguments.state / RESOURCES.name
        count = write_needs(jobs, path)
        # To standard error, since --json has the other stream to itself.
        print(f"wrote what {count} training job(s) need to {path}", file=sys.stderr)
    if arguments.json:
        document = {
            "jobs": [vars(job) for job in jobs],
            "total": total,
            "absent": plan.absent,
            "others_running": running,
        }
        print(json.dumps(document, indent=1))
        return
    print(f"{arguments.params}: preset {params.preset}, {len(jobs)} training job(s)")
    for notice in plan.notices:
        print(f"  {notice}")
    for job in jobs:
        print(_line(job))
    for progress in running:
        print(f"  running  {progress['line']}, on {host_of(progress)}")
    sources = {job.rate_from for job in jobs if job.state != "done"}
    if not sources:
        print(
            "All training is done; `snakemake --cores 8` renders the report if it is not there yet."
        )
        return
    print(
        f"Left: about {duration(total['seconds'])} of training with {total['side_by_side']} job(s) "
        f"side by side, {total['memory_gib']:.1f} GiB of memory, "
        f"{total['disk_gib']:.1f} GiB of disk. Rates: {'; '.join(sorted(sources))}."
    )
    longest = dominating(jobs, at_once)
    if longest is not None:
        others = [job for job in jobs if job is not longest]
        # What one slow model costs: a user may leave it out before a run, and not after it.
        without_it = overall(others, at_once)["seconds"]
        print(
            f"{longest.model} on {longest.dataset} alone takes {duration(longest.seconds)}; "
            f"without it, or with fewer epochs of it, all takes about {duration(without_it)}."
        )
