"""`python -m replicate score` on samples of MNIST's size, from the start of Python on."""

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.images import handwriting

#: Samples, test images, validation images and training images.
SIZES = {"samples": 10_000, "test": 10_000, "valid": 1_000, "train": 50_000}


def _write(folder: Path) -> dict[str, str]:
    """Files of images by name; the samples are of another draw than all others."""
    files = {}
    for number, (name, count) in enumerate(SIZES.items()):
        path = folder / f"{name}.npy"
        np.save(path, handwriting(count, number).numpy())
        files[name] = str(path)
    return files


def command(files: dict[str, str]) -> list[str]:
    """The command on files of one's own."""
    words = [sys.executable, "-m", "replicate", "score", files["samples"]]
    for name in ("test", "valid", "train"):
        words += [f"--{name}-file", files[name]]
    return words


def processor_seconds(words: list[str]) -> float:
    """Seconds of the processor of a process and its threads.

    Raises:
        CalledProcessError: it failed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def benchmark(repeats: int) -> dict[str, str]:
    """The one row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        words = command(_write(Path(folder)))
        seconds = [processor_seconds(words) for _ in range(repeats)]
    row = f"score, {SIZES['samples']:,} samples of 784 pixels, {SIZES['test']:,} test images"
    return {row: f"{statistics.median(seconds):.1f} s of the processor (at most 10)"}
