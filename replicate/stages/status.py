"""Shows what is done, running and pending, and forecasts hours, memory and disk of what is left.

The forecast comes from measured rates: the run records of jobs that are done; for a model and data set that never
ran here, a few training steps are timed now (a few seconds each, nothing is written, no data are needed).

  python -m replicate status                              # the run of params.yaml
  python -m replicate status --params presets/mnist.yaml  # before a long run starts
  python -m replicate status --json                       # the same for programs

Experiments and other long jobs are named while they run.

Data sets that users bring themselves and that are not there are named, with where to put them.
"""

import argparse
import json
from pathlib import Path

from replicate.forecast import Forecast, forecast, other_jobs, overall, side_by_side
from replicate.params import read_document
from replicate.precheck import checked_plan
from replicate.training.progress import duration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument("--params", default="params.yaml", help="parameter file (default: params.yaml)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--state", type=Path, default=Path(".replicate"), help="folder of checkpoints and progress")
    parser.add_argument("--cores", type=int, help="as in `snakemake --cores` (default: all)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _line(job: Forecast) -> str:
    name = f"{job.dataset} {job.model} seeds {job.block}"
    if job.state == "done":
        return f"  done     {name}"
    if job.state == "running":
        return f"  running  {name}: epoch {job.epoch}/{job.epochs}, {duration(job.seconds)} left"
    begun = f" (goes on from epoch {job.epoch})" if job.epoch else ""
    return f"  pending  {name}: {job.epochs} epochs, about {duration(job.seconds)}{begun}"


def run(arguments: argparse.Namespace) -> None:
    """Prints one line per training job and per other job that runs, and the forecast for all that is left."""
    plan = checked_plan(*read_document(arguments.params))
    params = plan.params
    jobs = forecast(params, arguments.results, arguments.state)
    total = overall(jobs, side_by_side(params, arguments.cores))
    others = other_jobs(arguments.state, jobs)
    if arguments.json:
        found = {"jobs": [vars(job) for job in jobs], "total": total, "absent": plan.absent, "others_running": others}
        print(json.dumps(found, indent=1))
        return
    print(f"{arguments.params}: preset {params.preset}, {len(jobs)} training job(s)")
    for notice in plan.notices:
        print(f"  {notice}")
    for job in jobs:
        print(_line(job))
    for other in others:
        print(f"  running  {other['line']}")
    if all(job.state == "done" for job in jobs):
        print("All training is done; `snakemake --cores 8` renders the report if it is not there yet.")
        return
    print(
        f"Left: about {duration(total['seconds'])} of training with {total['side_by_side']} job(s) side by side, "
        f"{total['memory_gib']:.1f} GiB of memory, {total['disk_gib']:.1f} GiB of disk. "
        f"Rates: {'; '.join(sorted({job.rate_from for job in jobs if job.state != 'done'}))}."
    )
