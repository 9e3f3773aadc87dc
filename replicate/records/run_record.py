"""What a stage cost and where it ran: a file beside each result, of no part in comparisons."""

import hashlib
import importlib.metadata
import os
import platform
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from replicate.records.hardware import forget_peak_memory, peak_memory
from replicate.records.instructions import cpuinfo, instruction_sets
from replicate.records.source_state import source_state
from replicate.storage.files import write_json
from replicate.storage.paths import package_root

SCHEMA = 1
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "matplotlib",
    "snakemake",
    "dvc",
)


def record_path(result: Path) -> Path:
    """Where the record of a result file lies: `x.json` -> `x.run.json`."""
    name = f"{result.stem}.run.json"
    return result.with_name(name)


def _lock_digest() -> str | None:
    """Digest of requirements.lock; None where an installation has none."""
    lock = package_root() / "requirements.lock"
    if not lock.is_file():
        return None
    content = lock.read_bytes()
    return hashlib.sha256(content).hexdigest()


def _versions() -> dict[str, str]:
    """Python and each package that is installed -> its version."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            # By the metadata: importing packages to ask them would load torch into every stage.
            versions[name] = importlib.metadata.version(name)
    return versions


def _processor() -> str:
    # `platform.processor` is empty on most Linux systems, and not every processor names its model.
    return cpuinfo("model name") or platform.processor() or platform.machine()


class StageMeter:
    """Measures the time and the memory of a stage, from its construction to `write`."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._began = datetime.now(UTC)
        # For the duration, since the clock of the day may be set while a job runs.
        self._started = time.monotonic()
        forget_peak_memory()  # that of stages before, in the same process

    def write(self, result: Path, **facts: object) -> None:
        """Writes the record beside a result; `facts` are the stage's own, such as its device."""
        seconds = time.monotonic() - self._started
        # Not the clock again: it may have been set meanwhile.
        ended = self._began + timedelta(seconds=seconds)
        record: dict[str, object] = {
            "schema": SCHEMA,
            "stage": self.stage,
            "result": result.name,
            "started": self._began.isoformat(timespec="milliseconds"),
            "ended": ended.isoformat(timespec="milliseconds"),
            "wall_seconds": round(seconds, 3),
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
