"""Reads every byte of a run, and says which files are not what their records say or the parameters
would make.

  python -m replicate check                              # the run of params.yaml
  python -m replicate check --params presets/smoke.yaml

Each job's record (*.run.json) names its parameters, the code, and the SHA-256 of every file that it
read and made. What does not agree is named, and `snakemake --cores all` or `dvc repro` makes just
that anew. Both look at the same before every run; they trust a file whose size, times and place on
disk did not change since it was read, and this command trusts nothing. Exits with 1 where something
does not agree.

Kept results (results/reference/, results/tuning/) have lists of their files, SHA256SUMS, and are
held to these alone: a file that is another one is named, and the exit status is 2.
"""

import argparse
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from replicate.errors import Disagreement, ReplicateError
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import JobList
from replicate.jobs.plan import Plan, Values
from replicate.jobs.standing import DIGESTS, Finding, Standing, user_files
from replicate.params import read_document
from replicate.records.kept_runs import check_kept, kept_folders
from replicate.storage.files import atomic_write, write_text

RESULTS = Path("results")
#: Findings that are printed.
MOST_PRINTED = 20
#: An output by which the stages of DVC come after this command. It changes with users' own data
#: alone, so that no stage runs for it otherwise.
FOR_DVC = Path("results/standing.txt")
DVC_FILE = Path("dvc.yaml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the tool's arguments."""
    parser.add_argument(
        "--params", default="params.yaml", help="parameter file (default: params.yaml)"
    )
    parser.add_argument(
        "--for-dvc",
        action="store_true",
        help="read what has changed on disk alone; give damaged files a new time, "
        "by which DVC sees them; exit with 0",
    )


def _check_sections(raw: Values, where: str) -> None:
    """Refuses parameters without a section that dvc.yaml names, before DVC does in mid-run."""
    # A copy of the package alone, or a run by Snakemake in another folder, has none.
    if not DVC_FILE.is_file():
        return
    document, _ = read_document(str(DVC_FILE))
    sections: dict[str, None] = {}
    for stage in document["stages"].values():
        sections |= dict.fromkeys(stage.get("params", []))
    missing = [name for name in sections if name not in raw]
    if missing:
        named = ", ".join(f"`{name}: {{}}`" for name in missing)
        raise ReplicateError(
            f"{where}: DVC wants every section to be there, if only as {{}}; add {named}."
        )


def run(arguments: argparse.Namespace) -> None:
    """Prints what does not agree."""
    raw, where = read_document(arguments.params)
    jobs = JobList(Plan(raw, where))
    if arguments.for_dvc:
        _check_sections(raw, where)
    # By hand every byte is read: damage may leave a file's size and time as they were.
    standing = Standing(jobs, Digests(DIGESTS, fresh=not arguments.for_dvc))
    findings = standing.findings(jobs.all.values())
    _renew_times(findings)
    damages = [finding for finding in findings if finding.damaged]
    if arguments.for_dvc:
        for finding in damages:
            print(f"check: {finding.reason}; it is made anew.")
        write_text(FOR_DVC, _text_for_dvc(jobs, standing.digests))
        return
    for finding in findings[:MOST_PRINTED]:
        print(f"  {finding.job.name}: {finding.reason}")
    if len(findings) > MOST_PRINTED:
        print(f"  and {len(findings) - MOST_PRINTED} more")
    for folder in kept_folders(RESULTS):
        check_kept(folder)
    count = len(jobs.all)
    if findings:
        raise Disagreement(
            f"{len(findings)} of {count} jobs are not current "
            f"({len(damages)} with changed or damaged files); "
            "`snakemake --cores all` makes them anew."
        )
    print(f"check: all files of {count} jobs are what their records say and the parameters make")


def _text_for_dvc(jobs: JobList, digests: Digests) -> str:
    """What DVC compares with its last run: the content of users' own data, which no stage declares.

    A file that was damaged needs no word here, since it has a new time.
    """
    lines = ["What is damaged has a new time."]
    lines += [f"{name}: {content}" for name, content in sorted(user_files(jobs, digests).items())]
    text = "\n".join(lines)
    return f"{text}\n"


def _renew_times(findings: Iterable[Finding]) -> None:
    """Gives damaged files a new time: DVC sees no change of a file whose time is the old one."""
    for finding in findings:
        for path in finding.damaged:
            if path.is_file() and os.access(path, os.W_OK):
                _renew_time(path)


def _renew_time(path: Path) -> None:
    try:
        os.utime(path)
    except OSError:
        # Where times cannot be set (some network file systems), a copy in its place has another.
        with atomic_write(path) as (copy,):
            shutil.copyfile(path, copy)
