"""What the figures were measured on, one line each."""

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
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1] if found else platform.processor() or platform.machine()


def _numpy_blas() -> str:
    built = np.show_config(mode="dicts") or {}
    blas = built["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _torch_blas() -> str:
    shown = torch.__config__.show()
    found = re.search(r"BLAS_INFO=(\w+)", shown)
    return f"{found[1] if found else 'unknown'}, instructions {torch.backends.cpu.get_cpu_capability()}"


def facts(backend: Backend) -> dict[str, str]:
    """Rows of the table above all others."""
    gpu = {"GPU": backend.name} if backend.device.type == "cuda" else {}
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(backend.threads),
        **gpu,
        "Python": platform.python_version(),
        "torch": f"{torch.__version__}, BLAS {_torch_blas()}",
        "NumPy": f"{np.__version__}, BLAS {_numpy_blas()}",
    }
