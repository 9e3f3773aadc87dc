"""The cost of the engines: start-up with nothing to do, and Snakemake around real jobs.

Everything runs in temporary clones of the last commit of this checkout.
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


def python(folder: Path, *words: str, standard_input: str = "") -> str:
    """What a Python command prints in a folder, with the environment's programs on the path."""
    variables = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder),
        "DVC_NO_ANALYTICS": "1",
        "OMP_NUM_THREADS": "1",  # as Snakemake gives its jobs
    }
    command = [sys.executable, *words]
    process = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | variables,
        input=standard_input,
        capture_output=True,
        text=True,
        check=False,
    )
    output = process.stdout + process.stderr
    if process.returncode:
        raise RuntimeError(f"{shlex.join(command)} failed:\n{output}")
    return output


def clone(folder: Path, preset: str) -> Path:
    """A clone of this checkout with a preset's parameters; nothing has run in it."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    python(folder, "-m", "replicate", "preset", preset)
    return folder


def commands(dry_run: str) -> list[list[str]]:
    """The words of every job's command, in an order in which they can run."""
    return [shlex.split(command) for command in COMMAND.findall(dry_run)]


def jobs(folder: Path) -> list[list[str]]:
    """The commands of all jobs of a clone's run."""
    options = ["--workflow-profile", "none", "--dry-run", "--printshellcmds"]
    return commands(python(folder, *SNAKEMAKE, *options))


def _start_up(finished: Path, repeats: int) -> dict[str, str]:
    """Seconds of commands that have nothing to do.

    The first call of each is not timed: the first `dvc repro` records the run.
    """
    contenders: dict[str, Callable[[], object]] = {
        "python -m replicate --help": partial(python, finished, "-m", "replicate", "--help"),
        "snakemake, nothing to do": partial(python, finished, *SNAKEMAKE),
        "dvc repro, nothing to do": partial(python, finished, "-m", "dvc", "repro"),
    }
    timings = interleaved(contenders, repeats)
    return {name: str(timing) for name, timing in timings.items()}


def _overhead(base: Path, preset: str) -> dict[str, str]:
    """Seconds of a preset's jobs by Snakemake, and one after another in one process.

    Each runs once, from nothing: the start of an engine is a small part of it, and the demo takes
    minutes.
    """
    by_snakemake = clone(base / f"{preset}-snakemake", preset)
    by_one_process = clone(base / f"{preset}-plain", preset)
    words = jobs(by_one_process)
    in_one_process = partial(python, by_one_process, *ONE_PROCESS, standard_input=json.dumps(words))
    engine = seconds_of(partial(python, by_snakemake, *SNAKEMAKE), CPU)
    alone = seconds_of(in_one_process, CPU)
    python(by_one_process, "tools/same_results.py", str(by_snakemake), str(by_one_process))
    factor = f"{engine / alone:.2f} times (at most 1.25 on the demo)"
    return {
        f"{preset}, {len(words)} jobs in one process": f"{alone:.1f} s",
        f"{preset}, snakemake --cores 1": f"{engine:.1f} s, {factor}",
    }


def benchmark(repeats: int, demo: bool) -> dict[str, str]:
    """Rows of the table; the demo adds minutes."""
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        rows = _overhead(base, "smoke")
        rows |= _start_up(base / "smoke-snakemake", repeats)
        if demo:
            rows |= _overhead(base, "demo")
        return rows
