"""What the machine has, and what this process takes of it, found without loading torch."""

import ctypes
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver shows a GPU, or its tool is on PATH."""
    driver = Path("/proc/driver/nvidia/gpus")
    return (driver.is_dir() and any(driver.iterdir())) or shutil.which("nvidia-smi") is not None


def forget_peak_memory() -> None:
    """Lets `peak_memory` count from here, on Linux; elsewhere, or where that is not allowed, it goes on.

    What was freed but is kept for later (`replicate/training/backend.py`) is given back first.
    """
    if sys.platform != "linux":
        return
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """Bytes of memory that this process has held at its peak.

    On Linux from /proc, since the peak of `getrusage` counts also that of the process which started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
