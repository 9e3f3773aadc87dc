"""A failure in a re-run on top of finished results: the same command then ends in the bytes of an
undisturbed run.

`make faults` runs all of these, and `.ci/run` a fixed part.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.workflow.conftest import ROOT, Project, flip

ABOUT = "digits/adversarial_nets/0-1"
KINDS = ("kill", "term", "full", "fsync")


@dataclass(frozen=True)
class Change:
    """An edit that makes jobs of a rule run again, and what else it does."""

    rule: str
    file: str
    old: str
    new: str


def _code(rule: str, file: str) -> Change:
    return Change(rule, f"replicate/{file}", r"\A", "X = 1\n")


CHANGES = [
    _code("fetch", "datasets/sources/download.py"),
    Change("prepare", "params.yaml", "digits: {}", "digits: {split_seed: 1}"),
    Change("train", "params.yaml", "learning_rate: .*", "learning_rate: 0.05"),
    Change("measure", "params.yaml", r"samples: 200(?=\n  draws)", "samples: 300"),
    _code("classifier", "diagnostics/classifier.py"),
    _code("inspect", "stages/recognise.py"),
    _code("measures", "stages/measures.py"),
    _code("controls", "stages/controls.py"),
    _code("ranks", "stages/ranks.py"),
    Change("experiment", "params.yaml", "updates: .*, d", "updates: 60, d"),
    Change("draw", "replicate/figures/experiments/theory.py", r"C\(G\) \(nats\)", "C (nats)"),
    Change("statements", "params.yaml", "preset: smoke", "preset: other"),
    Change("table", "params.yaml", "preset: smoke", "preset: other"),
    Change("metrics", "params.yaml", "draws: .*", "draws: 2"),
    Change("curves", "params.yaml", "every: .*", "every: 1"),
    Change("report", "report/templates/page.html.j2", "</html>", "<!-- changed --></html>"),
]
#: Rules whose faults `.ci/run` tries, each by one kind.
PART = {"train": "term", "measure": "full"}


def cases() -> Iterator[object]:
    """Every rule by every kind; the part of `.ci/run` is marked slow, and the rest for `make
    faults` alone.
    """
    for change in CHANGES:
        for kind in KINDS:
            mark = pytest.mark.slow if PART.get(change.rule) == kind else pytest.mark.faults
            yield pytest.param(change, kind, marks=mark, id=f"{change.rule}-{kind}")


@pytest.fixture(scope="module")
def undisturbed(
    whole_run: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Change], Project]:
    """An edit -> a finished run in which nothing went wrong after it."""
    known: dict[Change, Project] = {}

    def of(change: Change) -> Project:
        key = Change("", change.file, change.old, change.new)
        if key not in known:
            project = whole_run.copy(tmp_path_factory.mktemp("undisturbed") / "project")
            project.edit(change.file, change.old, change.new)
            project.good("snakemake", "--cores", "2")
            known[key] = project
        return known[key]

    return of


def struck(project: Project, rule: str, kind: str) -> int:
    """A run by Snakemake in which the job of a rule meets a fault; its exit status."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    fault = {
        "PATH": path,
        "FAULT": f"{rule} {kind}",
        "PYTHONPATH": str(ROOT / "tests/workflow/accident"),
    }
    done = subprocess.Popen(
        ["snakemake", "--cores", "2"],
        cwd=project.folder,
        env=os.environ | fault,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        # A busy machine takes minutes.
        return done.wait(timeout=900)
    finally:
        if done.poll() is None:
            os.killpg(done.pid, signal.SIGKILL)


@pytest.mark.parametrize(("change", "kind"), list(cases()))
def test_after_a_failed_re_run_the_same_command_ends_in_the_right_bytes(
    finished: Project,
    undisturbed: Callable[[Change], Project],
    change: Change,
    kind: str,
) -> None:
    finished.edit(change.file, change.old, change.new)
    assert struck(finished, change.rule, kind) != 0
    finished.good("snakemake", "--cores", "2")
    finished.good(
        "python", "tools/same_results.py", str(undisturbed(change).folder), str(finished.folder)
    )
    assert finished.planned() == {}


#: A file of every kind that a run leaves.
FILES = [
    "results/data/digits.sources.json",
    "results/data/digits.safetensors",
    "results/data/digits.json",
    f"results/train/{ABOUT}.safetensors",
    f"results/train/{ABOUT}.json",
    f"results/train/{ABOUT}.run.json",
    f"results/samples/{ABOUT}.safetensors",
    f"results/bandwidth/{ABOUT}.json",
    f"results/evaluation/{ABOUT}.json",
    f"results/evaluation/{ABOUT}.safetensors",
    "results/classifier/digits.safetensors",
    "results/classifier/digits.json",
    f"results/recognition/{ABOUT}.json",
    f"results/panels/{ABOUT}/panels.json",
    f"results/panels/{ABOUT}/samples.png",
    f"results/panels/{ABOUT}/interpolation.png",
    f"results/panels/{ABOUT}/learning.svg",
    "results/experiments/theory.json",
    "results/figures/theory/figures.json",
    "results/statements.json",
    "results/table1.json",
    "results/table1.csv",
    "results/metrics.json",
    "results/curves/learning.csv",
    "report/index.html",
]
SPOILT = {
    "deleted": Path.unlink,
    "flipped": flip,
    "edited": lambda path: path.write_bytes(path.read_bytes() + b" "),
}


@pytest.mark.faults
@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("file", FILES)
def test_a_spoilt_file_is_made_anew(
    finished: Project, whole_run: Project, file: str, how: str
) -> None:
    SPOILT[how](finished / file)
    finished.good("snakemake", "--cores", "2")
    finished.good("python", "tools/same_results.py", str(whole_run.folder), str(finished.folder))
    assert finished.planned() == {}
