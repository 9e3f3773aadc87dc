"""Brings a run's results back from DVC, and tells Snakemake that they are current.

Files that DVC brings have arbitrary times, and Snakemake knows nothing about them: it would run jobs again that
are up to date, and miss later changes of parameters. `snakemake --touch --forceall` puts that right, but only
where the files really belong to the parameters and the code of this checkout; this is checked first.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from replicate.params import read_document
from replicate.plan import Plan

AGAIN = "`snakemake --cores all --forceall` makes every result anew"


def stop(sentence: str) -> NoReturn:
    """Ends with a sentence for the user."""
    sys.exit(f"restore: {sentence}.")


def answer(*command: str) -> str:
    """What a command prints; empty if it fails."""
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def bring_back() -> None:
    """`dvc pull` where there is a remote, else `dvc checkout` from this machine's cache."""
    if not Path(".git").exists():
        stop("DVC needs git, and this folder is no git checkout; `make report` makes the results here")
    if not Path("dvc.lock").is_file():
        stop("there is no dvc.lock, so no run has been recorded; `dvc repro` records one")
    remote = bool(answer("dvc", "remote", "list").strip())
    if not remote:
        print("restore: no DVC remote is configured (`dvc remote add`), so only this machine's cache is searched")
    if subprocess.run(["dvc", "pull" if remote else "checkout"], check=False).returncode:
        stop("DVC could not bring back every file that dvc.lock names (see above); " + AGAIN)


def changed_since() -> list[str]:
    """The parameters and inputs that differ from what dvc.lock recorded."""
    found: set[str] = set()
    for entries in json.loads(answer("dvc", "status", "--json") or "{}").values():
        for entry in entries:
            if isinstance(entry, dict):
                for path, state in entry.get("changed deps", {}).items():
                    names = [f"{path}: {key}" for key in state] if isinstance(state, dict) else [path]
                    found.update(names)
    code = ("Snakefile", "profiles", "replicate", "workflow")  # judged by their logic, see below
    return sorted(name for name in found if name not in code)


def made_by_other_code() -> list[str]:
    """The results whose recorded digest is not that of this checkout's code."""
    plan = Plan(*read_document("params.yaml"))
    stale = []
    for dataset, model, block in plan.params.runs:
        for stage, folder in (("train", "train"), ("bandwidth", "bandwidth"), ("evaluate", "evaluation")):
            path = Path("results", folder, dataset, model, f"{block}.json")
            if json.loads(path.read_text(encoding="utf-8"))["code"] != plan.code(stage, dataset, model):
                stale.append(str(path))
    return stale


def main() -> None:
    """Restores, checks, and touches."""
    bring_back()
    if changed := changed_since():
        stop(f"the results were made with other inputs ({', '.join(changed)}); put those back, or {AGAIN}")
    if stale := made_by_other_code():
        stop(f"the results were made by other code ({stale[0]} and {len(stale) - 1} more); {AGAIN}")
    subprocess.run(["snakemake", "--cores", "1", "--touch", "--forceall", "--quiet", "all"], check=True)
    print("restore: the results are back and current; `snakemake -n` finds nothing to do")


if __name__ == "__main__":
    main()
