"""What starting and steering cost: the command line, both engines with nothing to do, and Snakemake around real jobs.

Everything runs in temporary clones of this checkout, in the state that is committed.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.timing import interleaved, seconds_of
from benchmarks.training import CPU

ROOT = Path(__file__).resolve().parents[1]
#: A job's command in Snakemake's dry run, up to where its log begins.
COMMAND = re.compile(r"^Shell command:(.*?)2>&1", re.MULTILINE | re.DOTALL)
SNAKEMAKE = ("-m", "snakemake", "--cores", "1")
#: Modules are imported from the clone alone: -P leaves out the folder of the script.
ONE_PROCESS = ("-P", str(ROOT / "benchmarks" / "one_process.py"))


def python(folder: Path, *words: str, given: str = "") -> str:
    """What a Python command prints in a folder, with the environment's programs on the path."""
    here = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",  # as Snakemake gives its jobs
    }
    command = [sys.executable, *words]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | here, input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def clone(folder: Path, preset: str) -> Path:
    """A clone of this checkout with a preset's parameters; nothing has run in it."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    python(folder, "-m", "replicate", "preset", preset)
    return folder


def commands(dry_run: str) -> list[list[str]]:
    """The words of every job's command, in an order in which they can run."""
    return [shlex.split(found) for found in COMMAND.findall(dry_run)]


def jobs(folder: Path) -> list[list[str]]:
    """The commands of a clone's whole run."""
    return commands(python(folder, *SNAKEMAKE, "--workflow-profile", "none", "--dry-run", "--printshellcmds"))


def _start_up(finished: Path, repeats: int) -> dict[str, str]:
    """Seconds of commands that have nothing to do; the first `dvc repro`, which records the run, warms up."""
    contenders: dict[str, Callable[[], object]] = {
        "python -m replicate --help": partial(python, finished, "-m", "replicate", "--help"),
        "snakemake, nothing to do": partial(python, finished, *SNAKEMAKE),
        "dvc repro, nothing to do": partial(python, finished, "-m", "dvc", "repro"),
    }
    return {name: str(time) for name, time in interleaved(contenders, repeats).items()}


def _overhead(base: Path, preset: str) -> dict[str, str]:
    """One run each, from nothing: an engine's start is a small part of either, and a run of the demo takes minutes."""
    steered, plain = clone(base / f"{preset}-snakemake", preset), clone(base / f"{preset}-plain", preset)
    wanted = jobs(plain)
    engine = seconds_of(partial(python, steered, *SNAKEMAKE), CPU)
    alone = seconds_of(partial(python, plain, *ONE_PROCESS, given=json.dumps(wanted)), CPU)
    python(plain, "tools/same_results.py", str(steered), str(plain))
    return {
        f"{preset}, {len(wanted)} jobs in one process": f"{alone:.1f} s",
        f"{preset}, snakemake --cores 1": f"{engine:.1f} s, {engine / alone:.2f} times (at most 1.25 on the demo)",
    }


def benchmark(repeats: int, demo: bool) -> dict[str, str]:
    """Rows of the table; the demo adds minutes."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        rows = _overhead(base, "smoke")
        rows |= _start_up(base / "smoke-snakemake", repeats)
        return rows | (_overhead(base, "demo") if demo else {})
