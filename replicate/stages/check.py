"""Reads every byte of a run, and says which files are not what their records say or the parameters would make.

  python -m replicate check                              # the run of params.yaml
  python -m replicate check --params presets/smoke.yaml

Each job's record (*.run.json) names its parameters, the code, and the SHA-256 of every file that it read and made.
What does not agree is named, and `snakemake --cores all` or `dvc repro` makes just that anew. Both look at the same
before every run; they trust a file whose size, times and place on disk did not change since it was read, and this
command trusts nothing. Exits with 1 where something does not agree.

Kept runs (results/reference/) have lists of their files, SHA256SUMS, and are held to these alone: a file that is
another one is named, and the exit status is 2.
"""

import argparse
import os
from pathlib import Path

from replicate.errors import Disagreement
from replicate.files import write_text
from replicate.jobs.digests import Digests
from replicate.jobs.standing import DIGESTS, Finding, Standing
from replicate.jobs.table import Jobs
from replicate.kept import check_kept
from replicate.params import read_document
from replicate.plan import Plan

KEPT_RUNS = Path("results/reference")
#: Findings that are printed.
SHOWN = 20
#: An output that never changes: by it the stages of DVC come after this command, and none of them runs for it.
FOR_DVC = Path("results/standing.txt")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument("--params", default="params.yaml", help="parameter file (default: params.yaml)")
    parser.add_argument(
        "--for-dvc", action="store_true",
        help="read what has changed on disk alone; give damaged files a new time, by which DVC sees them; exit with 0",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    """Prints what does not agree."""
    jobs = Jobs(Plan(*read_document(arguments.params)))
    standing = Standing(jobs, Digests(DIGESTS, fresh=not arguments.for_dvc))
    found = standing.findings(jobs.all.values())
    _renew_times(found)
    damaged = [one for one in found if one.damaged]
    if arguments.for_dvc:
        for one in damaged:
            print(f"check: {one.reason}; it is made anew.")
        write_text(FOR_DVC, "What is damaged has a new time.\n")
        return
    for one in found[:SHOWN]:
        print(f"  {one.job.name}: {one.reason}")
    if found[SHOWN:]:
        print(f"  and {len(found) - SHOWN} more")
    for document in sorted(KEPT_RUNS.rglob("params.yaml")):
        check_kept(document.parent)
    if found:
        raise Disagreement(
            f"{len(found)} of {len(jobs.all)} jobs are not current ({len(damaged)} with changed or damaged files); "
            "`snakemake --cores all` makes them anew."
        )
    print(f"check: all files of {len(jobs.all)} jobs are what their records say and the parameters make")


def _renew_times(found: list[Finding]) -> None:
    """DVC knows files by their times: a damaged one with its old time would be no change to it."""
    for one in found:
        for path in one.damaged:
            if path.is_file() and os.access(path, os.W_OK):
                os.utime(path)
