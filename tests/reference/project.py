"""A project of its own for a test: this package in a folder, with a plan of a tiny model."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from replicate.reference_runs.sources import has_commit
from replicate.storage.paths import package_root

#: The last commit before the modules moved; reference runs that go on were started from it.
BEFORE_MOVES = "17e3f4f54d6ccf4799153af2c06c92295f2872a4"
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")

PLAN: dict[str, Any] = {
    "plan": 1,
    "likelihood": {"samples": 200, "draws": 1, "validation_limit": 100, "sigmas": [0.1, 0.2, 0.4]},
    "selection": {"every": 5, "samples": 100},
    "datasets": {"digits": {}},
    "entries": [
        {
            "name": "first",
            "about": "A tiny one.",
            "seeds": ["0"],
            "compute": {"device": "cpu", "threads": 1},
            "models": {"k_means": {"digits": {"epochs": 2}}},
        }
    ],
}


def plan_of(model: str, epochs: int, *seeds: str, **recipe: Any) -> dict[str, Any]:
    """A plan of one model."""
    entry = PLAN["entries"][0] | {
        "seeds": list(seeds),
        "models": {model: {"digits": {"epochs": epochs, **recipe}}},
    }
    return PLAN | {"entries": [entry]}


def run_git(folder: Path, *words: str) -> str:
    """What git prints."""
    process = subprocess.run(
        ["git", "-C", str(folder), *IDENTITY, *words], capture_output=True, text=True, check=True
    )
    return process.stdout.strip()


def write_older_package(folder: Path) -> None:
    """Writes the package as it was before its modules moved."""
    root = package_root()
    if not has_commit(root, BEFORE_MOVES):
        pytest.skip(f"there is no git history with commit {BEFORE_MOVES[:12]} here")
    archive = subprocess.run(
        ["git", "-C", str(root), "archive", "--format=zip", BEFORE_MOVES, "replicate"],
        capture_output=True,
        check=True,
    )
    # No tar archive: Python before 3.11.4 knows no filter for those, and later ones warn without it.
    with zipfile.ZipFile(io.BytesIO(archive.stdout)) as files:
        files.extractall(folder)


def shorten_classifier(path: Path) -> None:
    """Makes its training 20 updates long: 2,000 would be most of a test's time."""
    text, count = re.subn(
        r"^(UPDATES, .*= )2000,", r"\g<1>20,", path.read_text(), flags=re.MULTILINE
    )
    assert count == 1
    path.write_text(text)


class Project:
    """Paths and commands of a copy of the project."""

    def __init__(self, folder: Path, plan: dict[str, Any] = PLAN, git: bool = True) -> None:
        self.root = folder
        self.work = folder / ".replicate" / "reference"
        self.results = folder / "results" / "reference"
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("GIT_")
        }
        no_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(package_root() / "replicate", folder / "replicate", ignore=no_caches)
        shorten_classifier(folder / "replicate/diagnostics/classifier.py")
        (folder / ".gitignore").write_text("__pycache__/\n/.replicate/\n/data/\n")
        shutil.copytree(package_root() / "results/published", folder / "results/published")
        shutil.copy(package_root() / "protocol.yaml", folder)
        self.results.mkdir(parents=True)
        self.plan(plan)
        if git:
            self.git("init", "--quiet")
            self.commit("the first")

    def plan(self, plan: dict[str, Any]) -> None:
        """Writes the plan."""
        (self.results / "plan.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))

    def git(self, *words: str) -> str:
        """What git prints."""
        return run_git(self.root, *words)

    def commit(self, message: str) -> str:
        """Commits everything; the commit."""
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        """Starts the command."""
        return subprocess.Popen(
            [sys.executable, "-m", "replicate", "reference", *words],
            cwd=self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | environment,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def call(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Runs the command to its end: exit status, standard output, standard error."""
        with self.start(*words, **environment) as process:
            out, err = process.communicate(timeout=500)
            return process.returncode, out, err

    def folder_of(self, model: str, seeds: str, entry: str = "first") -> Path:
        """Where a block is worked on."""
        return self.work / "blocks" / entry / model / "digits" / seeds

    def kept(self, model: str, seeds: str, name: str = "train.json", entry: str = "first") -> Any:
        """A kept result of a block."""
        return json.loads((self.results / entry / model / seeds / name).read_text())

    def waits_for_epoch(self, model: str, seeds: str, epoch: int, entry: str = "first") -> None:
        """Returns once a block's training says that it has passed an epoch."""
        progress = self.folder_of(model, seeds, entry) / "state/progress"
        path = progress / f"digits-{model}-{seeds}.json"
        for _ in range(3000):
            if path.is_file() and json.loads(path.read_text())["epoch"] >= epoch:
                return
            time.sleep(0.05)
        raise AssertionError(f"{path} never said epoch {epoch}")


def bits(project: Project, model: str, seeds: str) -> tuple[Any, ...]:
    """All that a block measured, and the digests of its weights."""
    weights = project.kept(model, seeds, "weights.json")
    evaluation = project.kept(model, seeds, "evaluation.json")
    training = project.kept(model, seeds)
    return weights, evaluation["per_seed"], training["curve"], training["chosen_epoch"]
