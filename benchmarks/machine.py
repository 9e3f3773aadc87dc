"""The machine that the figures were measured on."""

import os
import platform
import re
from pathlib import Path

import numpy as np
import torch

from replicate.training.backend import Backend


def _processor() -> str:
    """The model's name as Linux knows it, or what Python can say elsewhere."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    if match:
        return match[1]
    return platform.processor() or platform.machine()


def _numpy_blas() -> str:
    build = np.show_config(mode="dicts") or {}
    blas = build["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _torch_blas() -> str:
    match = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    library = match[1] if match else "unknown"
    return f"{library}, instructions {torch.backends.cpu.get_cpu_capability()}"


def facts(backend: Backend) -> dict[str, str]:
    """Rows of the first table."""
    rows = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(backend.threads),
    }
    if backend.device.type == "cuda":
        rows["GPU"] = backend.name
    rows["Python"] = platform.python_version()
    rows["torch"] = f"{torch.__version__}, BLAS {_torch_blas()}"
    rows["NumPy"] = f"{np.__version__}, BLAS {_numpy_blas()}"
    return rows
