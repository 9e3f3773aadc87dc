"""Kept bytecode against what Python itself would run."""

import os
import subprocess
import sys
from pathlib import Path

from replicate.jobs.bytecode import drop_stale_bytecode


def _value(folder: Path) -> str:
    """What the module says to a process of its own, which keeps bytecode."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
    }
    command = [sys.executable, "-c", "import module; print(module.VALUE)"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _write(source: Path, value: int, changed: float) -> None:
    source.write_text(f"VALUE = {value}\n")
    os.utime(source, (changed, changed))


def test_bytecode_of_other_code_with_the_same_size_and_time_is_removed(tmp_path: Path) -> None:
    source = tmp_path / "module.py"
    # As Emacs marks a file that is being edited.
    (tmp_path / ".#module.py").symlink_to("somebody@host.123:1")
    _write(source, 1, 1e9)
    assert _value(tmp_path) == "1"
    assert drop_stale_bytecode(tmp_path) == []
    _write(source, 2, 1e9)
    assert _value(tmp_path) == "1", "Python runs what was there before"
    assert drop_stale_bytecode(tmp_path) == [source]
    assert _value(tmp_path) == "2"
    assert drop_stale_bytecode(tmp_path) == []
