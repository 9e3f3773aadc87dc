"""Brings a run's results back from DVC, and tells Snakemake which of them are current.

Files that DVC brings have arbitrary times, and Snakemake knows nothing about them: it would run jobs again that
are up to date, and miss later changes of parameters. `snakemake --touch --forceall` puts that right, but only for
files that really belong to the parameters and the code of this checkout. This is checked first: what is costly to
make must have been made by this code, else nothing is touched; what takes seconds (panels, figures, table, metrics,
claims, report) is made again where it differs, and with the panels what their job says of the samples.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from safetensors import SafetensorError, safe_open

from replicate import datasets, models
from replicate.errors import ReplicateError
from replicate.files import read_json
from replicate.params import read_document
from replicate.plan import Plan

AGAIN = "`snakemake --cores all --forceall` makes every result anew"
#: What takes seconds to make -> the target that brings it and all before it up to date, in the order of the rules.
QUICK = {
    "inspect": "inspection", "curves": "curves", "draw": "statements", "table": "table", "metrics": "metrics",
    "claims": "claims", "report": "report",
}  # fmt: skip
#: Inputs that need not be the recorded ones: code is judged by its digests; the rest goes into what is quick alone.
JUDGED = {"Snakefile", "profiles", "replicate", "workflow", "protocol.yaml", "report/assets", "report/templates",
          "results/published", "results/reference", "tools/curves.py", "tools/metrics.py"}  # fmt: skip
#: What is made from what, among the quick ones.
FOLLOWS = {"metrics": {"table"}, "report": {"inspect", "draw", "table", "claims"}}


def stop(sentence: str) -> NoReturn:
    """Ends with a sentence for the user."""
    sys.exit(f"restore: {sentence}.")


def answer(*command: str) -> str:
    """What a command prints; its failure ends the tool, for what it did not say would pass for good news."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        stop(f"`{' '.join(command)}` did not start ({error.strerror})")
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it says no more").splitlines()[-1]
        stop(f"`{' '.join(command)}` failed ({said}), so nothing can be checked, and nothing was marked as current")
    return done.stdout


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
    text = answer("dvc", "status", "--json")
    try:
        stages = json.loads(text)
    except ValueError:
        stop(f"`dvc status --json` printed no JSON but {text[:80]!r}, so nothing was marked as current")
    found: set[str] = set()
    for entries in stages.values():
        for entry in entries:
            if isinstance(entry, dict):
                for path, state in entry.get("changed deps", {}).items():
                    names = [f"{path}: {key}" for key in state] if isinstance(state, dict) else [path]
                    found.update(names)
    return sorted(found - JUDGED)


#: Stage and folder of what every training job leads to.
COSTLY = (("train", "train"), ("bandwidth", "bandwidth"), ("evaluate", "evaluation"), ("recognise", "recognition"))


def recorded(plan: Plan) -> Iterator[tuple[Path, str, str]]:
    """Every file that is costly to make, with its recorded digest and that of this checkout's code."""
    for dataset in plan.params.datasets:
        for stage, suffix in (("fetch", ".sources.json"), ("prepare", ".json")):
            path = Path("results", "data", f"{dataset}{suffix}")
            yield path, code_of(read_json(path)), plan.logic(stage, dataset)
    for dataset in sorted({dataset for dataset, _, _ in plan.params.runs}):
        path = Path("results", "classifier", f"{dataset}.json")
        yield path, code_of(read_json(path)), plan.logic("classifier")
    for name in plan.params.experiments:
        path = Path("results", "experiments", f"{name}.json")
        yield path, code_of(read_json(path)), plan.logic("experiment", experiment=name)
    for dataset, model, block in plan.params.runs:
        path = Path("results", "samples", dataset, model, f"{block}.safetensors")
        with safe_open(path, framework="np") as stream:
            yield path, code_of(stream.metadata()), plan.logic("sample", dataset, model)
        for stage, folder in COSTLY:
            path = Path("results", folder, dataset, model, f"{block}.json")
            yield path, code_of(read_json(path)), plan.logic(stage, dataset, model)


def code_of(content: Any) -> str:
    """The digest that a result or the metadata of tensors hold; empty if there is none."""
    return str(content.get("code", "")) if isinstance(content, dict) else ""


def panels_differ(plan: Plan) -> bool:
    """Whether some panels were drawn by other code, or show another title than the registries give."""
    for dataset, model, block in plan.params.runs:
        folder = Path("results", "panels", dataset, model, block)
        title = f"{models.REGISTRY[model][0]} on {datasets.REGISTRY[dataset][0]}"
        if code_of(read_json(folder / "panels.json")) != plan.logic("panels", dataset, model):
            return True
        if not any(title in text for text in ElementTree.parse(folder / "learning.svg").getroot().itertext()):
            return True
    return False


def figures_differ(plan: Plan) -> bool:
    """Whether the figures of some experiment were drawn by other code."""
    drawn = {name: Path("results", "figures", name, "figures.json") for name in plan.params.experiments}
    return any(code_of(read_json(path)) != plan.logic("draw", experiment=name) for name, path in drawn.items())


def commands(plan: Plan, folder: str) -> Iterator[tuple[str, list[str], dict[str, str]]]:
    """Rule, command that makes its files in `folder`, and {file there: file here}."""
    python, table = [sys.executable, "-m", "replicate"], "results/table1.json"
    curves = {f"{folder}/{name}.csv": f"results/curves/{name}.csv" for name in ("learning", "bandwidth")}
    files = [*plan.results("train"), *plan.results("bandwidth")]
    yield "curves", [sys.executable, "tools/curves.py", folder, *files], curves
    yield (
        "table",
        [*python, "table", "--params", plan.config("table"), "--protocol", "protocol.yaml",
         "--absent", json.dumps(plan.absent, sort_keys=True), "--published", "results/published/table1.csv",
         "--context", "results/published/context.csv", "--out", f"{folder}/table1.json", *plan.results("evaluation")],
        {f"{folder}/table1.json": table, f"{folder}/table1.csv": "results/table1.csv"},
    )  # fmt: skip
    metrics = f"{folder}/metrics.json"
    yield "metrics", [sys.executable, "tools/metrics.py", table, metrics], {metrics: "results/metrics.json"}
    claims = f"{folder}/claims.json"
    words = ["--params", plan.config("claims"), "--protocol", "protocol.yaml", "--out", claims]
    files = [f"results/experiments/{name}.json" for name in plan.params.experiments]
    yield "claims", [*python, "claims", *words, *files], {claims: "results/claims.json"}
    page = f"{folder}/index.html"
    words = ["--params", plan.config("report"), "--table", table, "--results", "results", "--out", page]
    yield "report", [*python, "report", *words], {page: "report/index.html"}


def to_make_again(plan: Plan) -> list[str]:
    """The quick rules whose files are not what this checkout makes of the others; they are made aside and compared."""
    found = {"inspect"} if panels_differ(plan) else set()
    found |= {"draw"} if figures_differ(plan) else set()
    with tempfile.TemporaryDirectory() as folder:
        for rule, command, files in commands(plan, folder):
            if not found & FOLLOWS.get(rule, set()):
                answer(*command)
                if all(Path(new).read_bytes() == Path(old).read_bytes() for new, old in files.items()):
                    continue
            found.add(rule)
    return [rule for rule in QUICK if rule in found]


def checked(plan: Plan) -> list[str]:
    """The quick rules to run again; ends the tool if something costly was made by other code."""
    stale = [str(path) for path, made_by, current in recorded(plan) if made_by != current]
    if stale:
        more = f" and {len(stale) - 1} more" if stale[1:] else ""
        stop(f"the results were made by other code ({stale[0]}{more}); {AGAIN}")
    return to_make_again(plan)


def main() -> None:
    """Restores, checks, and touches."""
    bring_back()
    if changed := changed_since():
        stop(f"the results were made with other inputs ({', '.join(changed)}); put those back, or {AGAIN}")
    try:
        plan = Plan(*read_document("params.yaml"))
        again = checked(plan)
    except (ReplicateError, OSError, SafetensorError, ElementTree.ParseError) as error:
        stop(f"the results cannot be checked: {str(error).rstrip('.')}")
    current = [target for rule, target in QUICK.items() if rule not in again]
    touch = ["snakemake", "--cores", "1", "--touch", "--forceall", "--quiet", "all", "--"]
    costly = [f"results/experiments/{name}.json" for name in plan.params.experiments]
    costly += [f"results/classifier/{dataset}.json" for dataset in sorted({run[0] for run in plan.params.runs})]
    subprocess.run([*touch, "likelihood", *costly, *current], check=True)
    if again:
        print(f"restore: not as this checkout makes them, so made again now: {', '.join(again)}", flush=True)
        subprocess.run(["snakemake", "--cores", "all", "--forcerun", *again, "--", "all"], check=True)
    print("restore: the results are back and current; `snakemake -n` finds nothing to do")


if __name__ == "__main__":
    main()
