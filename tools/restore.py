"""Brings a run's results back from DVC, reads every byte, and says which of them are current in this checkout.

Nothing needs to be told to Snakemake: it judges files by their records, wherever they come from.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from replicate.errors import ReplicateError
from replicate.jobs.digests import Digests
from replicate.jobs.standing import DIGESTS, Standing
from replicate.jobs.table import Jobs
from replicate.params import read_document
from replicate.plan import Plan
from replicate.sourcestate import in_git

AGAIN = "`snakemake --cores all` makes what is missing or differs"


def stop(sentence: str) -> NoReturn:
    """Ends with a sentence for the user."""
    sys.exit(f"restore: {sentence}.")


def bring_back() -> None:
    """`dvc pull` where there is a remote, else `dvc checkout` from this machine's cache."""
    if not in_git(Path()):
        stop("DVC needs git, and this folder is no git checkout; `make report` makes the results here")
    if not Path("dvc.lock").is_file():
        stop("there is no dvc.lock, so no run has been recorded; `dvc repro` records one")
    try:
        done = subprocess.run(["dvc", "remote", "list"], capture_output=True, text=True, check=False)
    except OSError as error:
        stop(f"`dvc remote list` did not start ({error.strerror})")
    remote = bool(done.stdout.strip())
    if not remote:
        print("restore: no DVC remote is configured (`dvc remote add`), so only this machine's cache is searched")
    if subprocess.run(["dvc", "pull" if remote else "checkout"], check=False).returncode:
        stop(f"DVC could not bring back every file that dvc.lock names (see above); {AGAIN}")


def main() -> None:
    """Restores and judges."""
    bring_back()
    try:
        jobs = Jobs(Plan(*read_document("params.yaml")))
    except ReplicateError as error:
        stop(f"the results are back and cannot be judged: {str(error).rstrip('.')}")
    found = Standing(jobs, Digests(DIGESTS, fresh=True)).findings(jobs.all.values())
    if found:
        stop(
            f"the results are back; {len(found)} of {len(jobs.all)} jobs are not current in this checkout, first "
            f"{found[0].job.name}: {found[0].reason}; {AGAIN}"
        )
    print("restore: the results are back and current; `snakemake -n` finds nothing to do")


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `... | head -1` ends it quietly
    main()
