"""What a stage cost and where it ran: kept beside each result, outside every scientific comparison."""

import hashlib
import importlib.metadata
import os
import platform
import time
from pathlib import Path
from typing import Any

from replicate.codedigest import package_root
from replicate.files import write_json
from replicate.hardware import forget_peak_memory, peak_memory
from replicate.instructions import cpuinfo, instruction_sets
from replicate.sourcestate import source_state

SCHEMA = 1
PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pandas", "matplotlib", "snakemake", "dvc")


def record_path(result: Path) -> Path:
    """Where the record of a result file lies: `x.json` -> `x.run.json`."""
    return result.with_name(f"{result.stem}.run.json")


def _lock_digest() -> str | None:
    lock = package_root() / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    return cpuinfo("model name") or platform.processor() or platform.machine()


class RunRecord:
    """Measures a stage from its construction to `write`."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._started = time.monotonic()
        forget_peak_memory()  # of stages that ran before in this process

    def write(self, result: Path, **facts: Any) -> None:
        """Writes the record beside `result`; `facts` are the stage's own (device, backend, threads)."""
        record = {
            "schema": SCHEMA,
            "stage": self.stage,
            "result": result.name,
            "wall_seconds": round(time.monotonic() - self._started, 3),
            "peak_memory_mib": round(peak_memory() / 2**20, 1),
            "versions": _versions(),
            "processor": _processor(),
            "instructions": instruction_sets(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "source": source_state(),
            "lock_sha256": _lock_digest(),
            **facts,
        }
        write_json(record_path(result), record)
