"""The machine's GPUs and the memory of this process, found without loading torch."""

import ctypes
import functools
import os
import re
import resource
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

#: Where Linux tells of NVIDIA's driver.
DRIVER_VERSION = Path("/proc/driver/nvidia/version")


@functools.cache
def gpu_cards() -> tuple[str, ...]:
    """The NVIDIA GPUs that a job of this process may use, as CUDA_VISIBLE_DEVICES names them.

    Where that variable is not set, all that the driver shows, or its tool, by their numbers.
    """
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        names = [name.strip() for name in allowed.split(",")]
        # -1 stands for none.
        return tuple(name for name in names if name not in ("", "-1"))
    driver = Path("/proc/driver/nvidia/gpus")
    # In a container the driver's folder may be hidden where the tool is not.
    count = len(list(driver.iterdir())) if driver.is_dir() else _listed_by_tool()
    return tuple(str(number) for number in range(count))


def _listed_by_tool() -> int:
    """GPUs that nvidia-smi lists; none where there is no such tool, or no driver below it."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        listing = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return 0
    return sum(line.startswith("GPU ") for line in listing.stdout.splitlines())


def gpu_driver() -> str | None:
    """Version of NVIDIA's driver; None where Linux does not tell it."""
    if not DRIVER_VERSION.is_file():
        return None
    # NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023
    text = DRIVER_VERSION.read_text(encoding="utf-8")
    match = re.search(r"Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return match[1] if match else None


def usable_cores() -> int:
    """Cores that this process may use: in containers and under job schedulers fewer than the
    machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def forget_peak_memory() -> None:
    """Lets `peak_memory` count from here; only on Linux, and where that is allowed.

    Memory that was freed but is kept for later (`replicate.training.backend`) is given back first.
    """
    if sys.platform != "linux":
        return
    # Of glibc alone.
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    with suppress(OSError):
        # 5 sets the peak (VmHWM) back to what is in use now; proc(5).
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """Bytes of memory that this process has held at its peak.

    On Linux from /proc: the peak of `getrusage` would count that of the parent process, too.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        for line in lines:
            if line.startswith("VmHWM:"):
                _, kibibytes, *_ = line.split()
                return int(kibibytes) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, the other systems KiB.
    if sys.platform == "darwin":
        return peak
    return peak * 1024
