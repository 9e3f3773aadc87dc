"""kill -9 at random moments of a real training process: the run ends in the bits of an undisturbed one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.stages.pipeline import Pipeline


def _killed_after(words: list[str], seconds: float) -> int:
    """Runs the command and kills it after `seconds` of its life; its exit status."""
    process = subprocess.Popen(
        [sys.executable, "-m", "replicate", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        return process.wait()


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path, kills: int) -> None:
    pipeline = Pipeline(tmp_path)
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call("prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data)
    epochs = 40
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    start = time.monotonic()
    command = pipeline.training_words(whole, tmp_path / "a", epochs=epochs)
    subprocess.run([sys.executable, "-m", "replicate", *command], check=True, capture_output=True)
    life = time.monotonic() - start
    command = [*pipeline.training_words(parts, tmp_path / "b", epochs=epochs), "--checkpoint-every", "0.05"]
    chance, killed = random.Random(kills), 0
    for _ in range(kills):
        status = _killed_after(command, chance.uniform(0.3, 0.8) * life)
        killed += status == -signal.SIGKILL
        if status == 0:
            break
    assert killed > 0
    subprocess.run([sys.executable, "-m", "replicate", *command], check=True, capture_output=True)
    for suffix in (".safetensors", ".json"):
        assert parts.with_suffix(suffix).read_bytes() == whole.with_suffix(suffix).read_bytes()
    assert not list(tmp_path.glob("**/.*.part"))
