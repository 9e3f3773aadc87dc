"""What can be tested of the container without an engine: what goes in, and its entry."""

import fnmatch
import os
import subprocess

from tests.workflow.conftest import ROOT
from tests.workflow.test_make import KEPT, MADE

#: In a used checkout, besides what `make clean` removes.
LEFT = {
    ".git/HEAD",
    ".venv/bin/python",
    "replicate/__pycache__/x.pyc",
    "results/.a.json.12345678.part",
    ".dvc/cache/x",
}


def goes_in(path: str) -> bool:
    """Whether the build takes a file: the last pattern that matches it or a folder above it
    decides.
    """
    taken = True
    parts = path.split("/")
    for line in (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!").removeprefix("**/")
        names = parts if "**/" in line else ["/".join(parts[: k + 1]) for k in range(len(parts))]
        if any(
            fnmatch.fnmatch(name, pattern) and name.count("/") == pattern.count("/")
            for name in names
        ):
            taken = line.startswith("!")
    return taken


def test_a_container_holds_the_project_and_no_results_of_a_used_checkout():
    own = {
        name for name in KEPT if name.startswith(("data/", ".replicate/"))
    }  # what the checkout's user gathered
    assert {name for name in KEPT | MADE | LEFT if goes_in(name)} == KEPT - own
    if not (ROOT / ".git").exists():
        return  # what is tracked is not known
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert [name for name in tracked.splitlines() if not goes_in(name)] == []


def test_its_entry_runs_a_command_and_hands_its_results_and_status_on(tmp_path):
    project, out = tmp_path / "project", tmp_path / "out"
    for folder in (project, out):
        folder.mkdir()
    environment = os.environ | {"PROJECT": str(project), "OUT": str(out)}
    entry = ["sh", str(ROOT / "tools/container.sh"), "sh", "-c"]
    made = "mkdir report results && touch report/index.html results/table1.json"
    subprocess.run([*entry, made], env=environment, check=True)
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*")) == [
        "index.html", "results", "results/table1.json",
    ]  # fmt: skip
    assert subprocess.run([*entry, "exit 3"], env=environment, check=False).returncode == 3
