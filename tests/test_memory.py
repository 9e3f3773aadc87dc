"""Memory above that of the same stage with next to no input: at most twice the bytes of what it
reads.

`pytest -m slow -rP tests/test_memory.py` prints the figures of docs/performance.md.
"""

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from replicate.datasets.base import Splits
from replicate.storage.files import write_tensors
from replicate.storage.paths import package_root

pytestmark = pytest.mark.slow

#: Runs a stage and prints its largest resident set in bytes: of this program alone, whatever
#: started it.
PROGRAM = """
import sys
from pathlib import Path
from replicate.__main__ import main
if main(sys.argv[1:]) != 0: sys.exit(1)
line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(f"peak {int(line.split()[1]) * 1024}")
"""
CPU = '{"compute": {"device": "cpu"}, "likelihood": {"sigmas": [0.1, 0.2, 0.4]}}'
#: Pixels of a sample.
DIMENSION = 64


def peak(*words: object) -> int:
    """Bytes of the largest resident set of a stage in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=package_root(), check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.splitlines()[-1].removeprefix("peak "))


def told(stage: str, bytes_in: int, idle: int, full: int) -> float:
    """Bytes above the idle ones for each byte of input."""
    share = (full - idle) / bytes_in
    print(
        f"{stage}: {bytes_in / 2**20:.0f} MiB read, {(full - idle) / 2**20:.0f} MiB above an "
        f"idle start: {share:.2f}"
    )
    return share


def samples(folder: Path, count: int) -> Path:
    """A file of random samples, as `sample` writes it."""
    about = {
        "dataset": "digits", "model": "vae", "block": "0", "seeds": [0], "shape": [1, 8, 8], "failed": {},
        "parameters": {}, "chains": None,
    }  # fmt: skip
    images = np.random.default_rng(0).random((1, 1, count, DIMENSION), dtype=np.float32)
    path = folder / f"{count}.safetensors"
    write_tensors(path, {"samples": images}, {"about": json.dumps(about), "code": "x"})
    return path


@pytest.mark.parametrize("count", [200_000, 1_000_000])
def test_samples_are_held_once(tmp_path: Path, count: int) -> None:
    data = tmp_path / "digits.safetensors"
    images = np.random.default_rng(1).random((600, 1, 8, 8), dtype=np.float32)
    Splits({"train": images[:400], "valid": images[400:500], "test": images[500:]}).write(data)
    found: dict[str, list[int]] = {"bandwidth": [], "evaluate": []}
    for number in (1000, count):
        path = samples(tmp_path, number)
        given = ["--params", CPU, "--samples", path, "--data", data]
        chosen = path.with_suffix(".b.json")
        found["bandwidth"].append(peak("bandwidth", *given, "--out", chosen))
        found["evaluate"].append(
            peak("evaluate", *given, "--bandwidth", chosen, "--out", path.with_suffix(".e.json"))
        )
    size = (count - 1000) * DIMENSION * 4
    assert [
        stage for stage, (idle, full) in found.items() if told(stage, size, idle, full) > 2
    ] == []


def archive(path: Path, count: int, side: int) -> Path:
    """A zip archive of random colour images in two classes; there are fifty different ones."""
    generator, contents = np.random.default_rng(0), []
    for _ in range(50):
        stream = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(
            stream, "PNG"
        )
        contents.append(stream.getvalue())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as target:
        for number in range(count):
            target.writestr(f"{'ab'[number % 2]}/{number:06d}.png", contents[number % 50])
    return path


@pytest.mark.parametrize(("count", "side"), [(1400, 128), (100_000, 32)])
def test_images_are_held_once(tmp_path: Path, count: int, side: int) -> None:
    found = []
    for number in (50, count):
        folder = archive(tmp_path / f"{number}.zip", number, side)
        params = [
            "--params",
            json.dumps({"datasets": {"images": {"folder": str(folder), "size": side}}}),
        ]
        manifest = tmp_path / f"{number}.sources.json"
        peak("fetch", *params, "--dataset", "images", "--out", manifest)
        words = ["prepare", *params, "--dataset", "images", "--manifest", manifest]
        found.append(peak(*words, "--out", tmp_path / f"{number}.safetensors"))
    assert told("prepare", (count - 50) * side * side * 3, *found) <= 2
