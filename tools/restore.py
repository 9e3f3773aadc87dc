"""Brings a run's results back from DVC, and checks every byte of them against this checkout.

Snakemake needs no word of it: it judges files by their records, wherever they come from.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from replicate.errors import ReplicateError
from replicate.jobs.digests import Digests
from replicate.jobs.job_list import JobList
from replicate.jobs.plan import Plan
from replicate.jobs.standing import DIGESTS, Standing
from replicate.params import read_document
from replicate.records.source_state import in_git

AGAIN = "`snakemake --cores all` makes what is missing or differs"


def stop(sentence: str) -> NoReturn:
    """Ends the program with a sentence for the user."""
    sys.exit(f"restore: {sentence}.")


def bring_back() -> None:
    """`dvc pull` where there is a remote, else `dvc checkout` from this machine's cache."""
    if not in_git(Path()):
        stop(
            "DVC needs git, and this folder is no git checkout; `make report` makes the results "
            "here"
        )
    if not Path("dvc.lock").is_file():
        stop("there is no dvc.lock, so no run has been recorded; `dvc repro` records one")
    command = ["dvc", "remote", "list"]
    try:
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        stop(f"`dvc remote list` did not start ({error.strerror})")
    verb = "pull"
    if not process.stdout.strip():
        verb = "checkout"
        print(
            "restore: no DVC remote is configured (`dvc remote add`), so only this machine's cache "
            "is searched"
        )
    if subprocess.run(["dvc", verb], check=False).returncode:
        stop(f"DVC could not bring back every file that dvc.lock names (see above); {AGAIN}")


def main() -> None:
    """Restores the results and checks them."""
    bring_back()
    try:
        jobs = JobList(Plan(*read_document("params.yaml")))
    except ReplicateError as error:
        stop(f"the results are back and cannot be judged: {str(error).rstrip('.')}")
    findings = Standing(jobs, Digests(DIGESTS, fresh=True)).findings(jobs.all.values())
    if findings:
        first = findings[0]
        stop(
            f"the results are back; {len(findings)} of {len(jobs.all)} jobs are not current in "
            f"this checkout, first {first.job.name}: {first.reason}; {AGAIN}"
        )
    print("restore: the results are back and current; `snakemake -n` finds nothing to do")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
