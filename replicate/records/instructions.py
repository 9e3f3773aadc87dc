"""Instruction sets that the loaded libraries compute with: they decide the last bits of sums.

A processor's name does not say it: virtual machines often have a generic one, and a library may be
limited to less than the processor has. So each library is asked what it chose. MKL and oneDNN do
not say: they choose by the processor's maker and vector instructions, within limits that the
environment sets, and these are recorded instead.
"""

import os
import platform
import sys
from pathlib import Path

from threadpoolctl import threadpool_info

#: Vector instructions that routines of MKL and oneDNN are written for, as torch calls them. Those
#: for 8-bit integers decide by which way Parzen sums are found.
VECTORS = (
    "avx2",
    "avx512_f",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_int8",
    "amx_bf16",
    "avx10_2",
    "neon",
    "bf16",
    "sve",
    "sve2",
)
#: Environment variables that limit the choice of a library that does not say what it chose.
LIMITS = (
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_CPU_ISA_HINTS",
    "DNNL_CPU_ISA_HINTS",
    "GLIBC_TUNABLES",
)


def cpuinfo(field: str) -> str | None:
    """A field of Linux's description of the first processor; None where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return None


def _of_numpy() -> dict[str, str]:
    """Of NumPy's own loops (that of exp stands for all), and of its BLAS."""
    from numpy.lib.introspect import opt_func_info

    sets = {"numpy": opt_func_info("^exp$", "float64")["exp"]["dd"]["current"]}
    for library in threadpool_info():
        # SciPy may have loaded a BLAS of its own.
        if library["user_api"] == "blas" and "numpy" in library["filepath"]:
            sets["numpy_products"] = library.get("architecture", "unknown")
    return sets


def _of_torch() -> dict[str, str]:
    """Of torch's own loops, and what its MKL and oneDNN choose by."""
    import torch

    # MKL and oneDNN do not say what they chose; these are all that they choose by.
    capabilities = torch.cpu.get_capabilities()
    return {
        "torch": torch.backends.cpu.get_cpu_capability(),
        "vectors": " ".join(name for name in VECTORS if capabilities.get(name)),
        "maker": cpuinfo("vendor_id") or platform.machine(),
    }


def instruction_sets() -> dict[str, str]:
    """Library, or what it chooses by -> its instruction set.

    NumPy and torch are among them where this process has loaded them.
    """
    sets = {name: os.environ[name] for name in LIMITS if os.environ.get(name)}
    # Not imported for the record's sake: a stage without tensors would load torch for nothing.
    if "numpy" in sys.modules:
        sets |= _of_numpy()
    if "torch" in sys.modules:
        sets |= _of_torch()
    return sets
