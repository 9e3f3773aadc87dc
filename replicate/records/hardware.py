"""The machine's GPU and the memory of this process, found without loading torch."""

import ctypes
import resource
import shutil
import sys
from contextlib import suppress
from pathlib import Path


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver shows a GPU, or its tool is on PATH."""
    driver = Path("/proc/driver/nvidia/gpus")
    if driver.is_dir() and any(driver.iterdir()):
        return True
    # In a container the driver's folder may be hidden where the tool is not.
    return shutil.which("nvidia-smi") is not None


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
