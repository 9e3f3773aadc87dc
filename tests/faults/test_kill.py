"""kill -9 at random moments of a real training process: the run ends in the bits of an undisturbed
one.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.pipeline import Pipeline


def _killed_in_training(words: list[str], progress: Path, seconds: float) -> bool:
    """Starts the command and kills it `seconds` after it has reported an epoch; False if it ended
    before.
    """
    progress.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "replicate", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not progress.is_file() and process.poll() is None:
        time.sleep(0.01)
    try:
        return process.wait(seconds) != 0
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(2, marks=pytest.mark.slow),
        pytest.param(20, marks=pytest.mark.faults),
    ],
)
def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path, kills: int) -> None:
    pipeline = Pipeline(tmp_path)
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call(
        "prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data
    )
    epochs = 20 * kills
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    command = pipeline.training_words(whole, tmp_path / "a", epochs=epochs)
    subprocess.run([sys.executable, "-m", "replicate", *command], check=True, capture_output=True)
    command = [
        *pipeline.training_words(parts, tmp_path / "b", epochs=epochs),
        "--checkpoint-every",
        "0.05",
    ]
    progress = tmp_path / "b" / "progress" / "digits-adversarial_nets-0-1.json"
    chance, killed = random.Random(kills), 0
    for _ in range(kills):
        if not _killed_in_training(command, progress, chance.uniform(0, 0.6)):
            break
        killed += 1
    assert killed > 0
    subprocess.run([sys.executable, "-m", "replicate", *command], check=True, capture_output=True)
    for suffix in (".safetensors", ".json"):
        assert parts.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    assert not list(tmp_path.glob("**/.*.part"))
