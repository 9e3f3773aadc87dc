"""What a training says while it runs: rates in closed form, plain lines in a log, one refreshed
line on a terminal.
"""

import io
import json
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from replicate.__main__ import main
from replicate.progress import reporting as progress
from replicate.progress.loops import steps
from replicate.progress.reporting import Progress
from replicate.storage.paths import package_root
from tests.stages.pipeline import Pipeline


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(progress, "time", found)
    return found


def noted(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "p.json").read_text())
    return found


def test_images_a_second_and_time_left_are_those_of_this_process(
    tmp_path: Path, clock: Clock
) -> None:
    """Goes on at epoch 4 of 10; 1.5 epochs of 600 images in 30 s: 30 images/s, and 4.5 epochs of 20
    s are left.
    """
    report = Progress(tmp_path / "p.json", "digits vae 0-2", 10)
    clock.now += 100  # what reading the checkpoint took is no training
    with report.running(4, 600):
        clock.now += 30
        report.update(5.5, "text")
    found = noted(tmp_path)
    assert (found["epoch"], found["epochs"]) == (5, 10)
    assert found["seconds_per_epoch"] == 20.0
    assert found["images_per_second"] == 30.0
    assert found["seconds_left"] == 90.0


@pytest.mark.parametrize("command", ["train", "reference"])
@pytest.mark.parametrize("word", ["nan", "-nan", "often"])
def test_seconds_that_never_pass_are_refused(
    command: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No time is above NaN, so that no checkpoint would ever have been due."""
    with pytest.raises(SystemExit):
        main([command, f"--checkpoint-every={word}"])
    assert f"{word!r} is no number of seconds" in capsys.readouterr().err
    assert progress.seconds_of("-1") == -1.0


def test_where_its_file_cannot_be_written_the_work_goes_on(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is read-only, say; here a file stands where the folder of state should."""
    state = tmp_path / "state"
    state.write_text("mine")
    with progress.reporting(state, "sample digits"):
        clock.now += 20
        for _ in steps(2):
            clock.now += 20
    assert "sample digits: update 1/2" in capsys.readouterr().err
    assert state.read_text() == "mine"


def test_in_a_log_a_line_every_ten_seconds(
    tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Progress(tmp_path / "p.json", "digits vae 0-2", 100)
    with report.running(0, 50_000):
        for epoch in range(1, 22):
            clock.now += 2
            report.update(epoch, "best 3.0 nats")
    assert capsys.readouterr().err.splitlines() == [
        "digits vae 0-2: epoch 1/100, 25,000 images/s, 3 min left, best 3.0 nats",
        "digits vae 0-2: epoch 6/100, 25,000 images/s, 3 min left, best 3.0 nats",
        "digits vae 0-2: epoch 11/100, 25,000 images/s, 3 min left, best 3.0 nats",
        "digits vae 0-2: epoch 16/100, 25,000 images/s, 3 min left, best 3.0 nats",
        "digits vae 0-2: epoch 21/100, 25,000 images/s, 3 min left, best 3.0 nats",
    ]


def test_on_a_terminal_one_line_that_is_drawn_over_and_goes_away(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    report = Progress(tmp_path / "p.json", "digits vae 0-2", 100)
    with report.running(0, 1000):
        for epoch in (1, 2, 3):
            clock.now += 1
            report.update(epoch, "best validation log-likelihood 3.0 nats")
    drawn = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "\n" not in drawn
    lines = drawn.split("\r\x1b[K")
    assert lines[0] == lines[-1] == "", "begins at the line's start, and leaves it empty"
    assert [line.split(",")[0] for line in lines[1:-1]] == [
        f"digits vae 0-2: epoch {epoch}/100" for epoch in (1, 2, 3)
    ]
    assert max(map(len, lines)) == 59, "a line that wraps could not be drawn over"


def test_the_line_is_cut_to_the_terminal_of_standard_error(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard output goes elsewhere, and the environment tells the columns of another terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with terminal() as (master, slave), os.fdopen(slave, "w") as stream:
        termios.tcsetwinsize(slave, (24, 40))
        monkeypatch.setattr(sys, "stderr", stream)
        report = Progress(tmp_path / "p.json", "digits vae 0-2", 100)
        report.update(0, "best validation log-likelihood 3.0 nats")
        assert (
            os.read(master, 1000).decode()
            == "\r\x1b[K" + "digits vae 0-2: epoch 0/100, best validation"[:39]
        )


def test_a_dumb_terminal_gets_plain_lines(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "dumb")
    report = Progress(tmp_path / "p.json", "a", 2)
    with report.running(0, 100):
        clock.now += 4
        report.update(1, "text")
    assert sys.stderr.getvalue() == "a: epoch 1/2, 25 images/s, 4 s left, text\n"  # type: ignore[attr-defined]


def test_a_long_epoch_is_reported_before_its_end(tmp_path: Path, clock: Clock) -> None:
    report = Progress(tmp_path / "p.json", "a", 2)
    with report.running(0, 100):
        assert not report.should_report()
        clock.now += 1.0
        assert report.should_report()
        report.update(0.25, "text")
        assert not report.should_report()
    assert noted(tmp_path)["epoch"] == 0
    assert noted(tmp_path)["seconds_left"] == 7.0


@contextmanager
def terminal() -> Iterator[tuple[int, int]]:
    master, slave = pty.openpty()
    try:
        yield master, slave
    finally:
        os.close(master)


def said_on_a_terminal(*words: str, start: tuple[str, str] = ("-m", "replicate")) -> str:
    """What `python -m replicate`, or another start, writes where its standard output and error are
    a terminal.
    """
    with terminal() as (master, slave):
        environment = os.environ | {
            "TERM": "xterm",
            "COLUMNS": "200",
            "PYTHONPATH": str(package_root()),
        }
        process = subprocess.Popen(
            [sys.executable, *start, *words], stdout=slave, stderr=slave, env=environment
        )
        os.close(slave)
        pieces = []
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:  # Linux's end of a terminal that nobody writes to any more
                break
            if not piece:
                break
            pieces.append(piece)
        assert process.wait() == 0
    return b"".join(pieces).decode()


def test_a_real_training_on_a_terminal_and_into_a_pipe(tmp_path: Path) -> None:
    pipeline = Pipeline(tmp_path)
    pipeline.call("fetch", "--dataset", "digits", "--out", pipeline.manifest)
    pipeline.call(
        "prepare", "--dataset", "digits", "--manifest", pipeline.manifest, "--out", pipeline.data
    )
    words = pipeline.training_words(tmp_path / "a.safetensors", tmp_path / "state")
    drawn = said_on_a_terminal(*words)
    line = r"digits adversarial_nets 0-1: epoch \d/4, [\d,]+ images/s, [^,\r\n]+ left, [^\r\n]+"
    assert re.search(rf"\r\x1b\[K{line}\r\x1b\[K", drawn)
    last = drawn.rstrip().split("\x1b[K")[-1].splitlines()
    assert [text.split(":")[0] for text in last] == [
        f"train digits adversarial_nets seed {seed}" for seed in (0, 1)
    ]
    words = pipeline.training_words(tmp_path / "b.safetensors", tmp_path / "another state")
    done = subprocess.run(
        [sys.executable, "-m", "replicate", *words], capture_output=True, text=True, check=True
    )
    device, first, *_ = done.stderr.splitlines()
    assert device.startswith("computes on the ")
    assert re.fullmatch(line, first)
    assert "\r" not in done.stderr
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
