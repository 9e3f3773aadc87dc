"""What the machine has, found without loading torch."""

import shutil
from pathlib import Path


def has_nvidia_gpu() -> bool:
    """Whether an NVIDIA driver shows a GPU, or its tool is on PATH."""
    driver = Path("/proc/driver/nvidia/gpus")
    return (driver.is_dir() and any(driver.iterdir())) or shutil.which("nvidia-smi") is not None
