"""Growth of the peak resident memory over calls, in a fresh process; Linux only.

A fresh one, because this process may hold freed memory that a call would use without any growth.
"""

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

#: glibc returns every freed block above 128 KiB, so that no case can use memory of an earlier one.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
ROOT = Path(__file__).resolve().parents[1]


def peak_growths(
    cases: Callable[..., Iterator[Callable[[], object]]], *numbers: int
) -> list[float]:
    """MiB by which each case's call raises the resident memory at its peak.

    Args:
        cases: a function of a module. The fresh process calls it with the numbers; it yields calls
            one by one, and makes what a call needs before it yields it.
    """
    command = [sys.executable, "-m", "benchmarks.memory"]
    command += [cases.__module__, cases.__qualname__, json.dumps(numbers)]
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | GIVE_BACK | threads,
    )
    return [float(line) for line in process.stdout.splitlines()]


def _status(name: str) -> int:
    """A memory figure of this process in KiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return int(line.split()[1])
    raise LookupError(f"/proc/self/status has no {name}")


def _growth(call: Callable[[], object]) -> float:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the peak
    before = _status("VmRSS")
    call()
    return (_status("VmHWM") - before) / 1024


def main() -> None:
    """Prints the growth of each case, one per line; see `peak_growths`."""
    module, name, numbers = sys.argv[1:]
    # The BLAS library makes its own buffers here, so that no case counts them.
    torch.mm(torch.ones(2048, 784), torch.ones(784, 2048))
    cases = getattr(importlib.import_module(module), name)
    for call in cases(*json.loads(numbers)):
        print(_growth(call))


if __name__ == "__main__":
    main()
