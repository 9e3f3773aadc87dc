"""Which instructions of the processor the loaded libraries compute with: what decides the last bits of their sums.

A processor's name does not tell: virtual machines often have a generic one, and a library may be told to use less than
the processor has. So each library is asked what it chose. MKL and oneDNN do not say it: they choose by the processor's
maker and vector instructions, within limits that the environment sets, and these are told instead.
"""

import os
import platform
import sys
from pathlib import Path

from threadpoolctl import threadpool_info

#: Vector instructions that floating-point routines of MKL and oneDNN are written for, as torch calls them.
VECTORS = ("avx2", "avx512_f", "avx512_bf16", "avx512_fp16", "amx_bf16", "avx10_2", "neon", "bf16", "sve", "sve2")
#: What limits the choice of a library that does not say what it chose.
LIMITS = (
    "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR", "MKL_DEBUG_CPU_TYPE", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS", "DNNL_CPU_ISA_HINTS", "GLIBC_TUNABLES",
)  # fmt: skip


def cpuinfo(field: str) -> str | None:
    """What Linux says of the first processor; None elsewhere, or where it does not say it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    found = (line.split(":", 1)[1].strip() for line in lines if line.split(":", 1)[0].strip() == field)
    return next(found, None)


def _of_numpy() -> dict[str, str]:
    """The kernels of NumPy's BLAS, and the instructions of its own loops (of exp, for all of them)."""
    from numpy.lib.introspect import opt_func_info

    found = {"numpy": opt_func_info("^exp$", "float64")["exp"]["dd"]["current"]}
    for library in threadpool_info():
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            found["numpy_products"] = library.get("architecture", "unknown")
    return found


def _of_torch() -> dict[str, str]:
    """What torch's own loops use, and what its MKL and oneDNN choose by."""
    import torch

    has = torch.cpu.get_capabilities()
    return {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "vectors": " ".join(name for name in VECTORS if has.get(name)),
        "maker": cpuinfo("vendor_id") or platform.machine(),
    }


def instruction_sets() -> dict[str, str]:
    """Library, or what it chooses by -> its instructions; of NumPy and torch where this process has loaded them."""
    found = {name: os.environ[name] for name in LIMITS if os.environ.get(name)}
    if "numpy" in sys.modules:
        found |= _of_numpy()
    if "torch" in sys.modules:
        found |= _of_torch()
    return found
