"""The run record of a stage: what it measures against the clock and the kernel, and what it names."""

import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from replicate.records import run_record
from replicate.records.hardware import (
    forget_peak_memory,
    gpu_cards,
    gpu_driver,
    peak_memory,
)
from replicate.records.run_record import PACKAGES, StageMeter, record_path
from replicate.records.source_state import source_state

ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for its memory")
MIB = 2**20


def test_the_record_lies_beside_its_result() -> None:
    assert record_path(Path("a/x.y.json")) == Path("a/x.y.run.json")


def test_a_record_names_the_machine_and_the_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements.lock").write_bytes(b"pins")
    monkeypatch.setattr(run_record, "package_root", lambda: tmp_path)
    meter = StageMeter("train")
    time.sleep(0.05)
    before = time.monotonic()
    meter.write(tmp_path / "x.json", device="cpu", cores=3)
    record = json.loads((tmp_path / "x.run.json").read_text())
    assert 0.05 <= record["wall_seconds"] < 5 + time.monotonic() - before
    assert record["wall_seconds"] == round(record["wall_seconds"], 3)
    assert record["peak_memory_mib"] == pytest.approx(peak_memory() / MIB, rel=0.05)
    versions = record["versions"]
    assert versions.pop("python") == platform.python_version()
    assert versions == {name: importlib.metadata.version(name) for name in PACKAGES}
    assert record["lock_sha256"] == hashlib.sha256(b"pins").hexdigest()
    assert record["source"] == source_state()
    named = {name: record[name] for name in ("schema", "stage", "result", "system", "device")}
    assert named == {
        "schema": 1,
        "stage": "train",
        "result": "x.json",
        "system": platform.system(),
        "device": "cpu",
    }
    assert record["cores"] == 3, "the stage's own facts come last"
    assert record["processor"]


def test_a_record_counts_the_cores_and_an_installation_has_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_record, "package_root", lambda: tmp_path)
    monkeypatch.setattr(run_record, "PACKAGES", ("numpy", "no package of this name"))
    StageMeter("table").write(tmp_path / "x.json")
    record = json.loads((tmp_path / "x.run.json").read_text())
    assert record["cores"] == os.cpu_count()
    assert record["lock_sha256"] is None
    assert record["versions"].keys() == {"python", "numpy"}


def test_a_record_says_when_its_stage_began_and_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Seoul")
    time.tzset()
    try:
        before = time.time()
        meter = StageMeter("table")
        time.sleep(0.05)
        meter.write(tmp_path / "x.json")
        after = time.time()
    finally:
        monkeypatch.undo()
        time.tzset()
    record = json.loads((tmp_path / "x.run.json").read_text())
    moments = [datetime.fromisoformat(record[name]) for name in ("started", "ended")]
    assert [moment.utcoffset() for moment in moments] == [timedelta(0)] * 2
    began, ended = (moment.timestamp() for moment in moments)
    assert before - 1e-3 <= began <= ended <= after + 1e-3
    assert ended - began == pytest.approx(record["wall_seconds"], abs=2e-3)


def test_a_clock_that_is_set_back_meanwhile_ends_no_stage_before_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime):
        """A clock that is an hour behind whenever it is asked again."""

        hours = 0

        @classmethod
        def now(cls, tz=None):  # type: ignore[no-untyped-def]
            cls.hours += 1
            return datetime(2026, 1, 31, 12, tzinfo=UTC) - timedelta(hours=cls.hours)

    monkeypatch.setattr(run_record, "datetime", Clock)
    StageMeter("table").write(tmp_path / "x.json")
    record = json.loads((tmp_path / "x.run.json").read_text())
    assert record["started"] == "2026-01-31T11:00:00.000+00:00"
    assert record["ended"].startswith("2026-01-31T11:00:0")


@ON_LINUX
def test_the_peak_is_counted_anew_after_it_was_forgotten() -> None:
    forget_peak_memory()
    start = peak_memory()
    block = np.ones(64 * MIB, dtype=np.uint8)
    grown = peak_memory()
    assert 60 * MIB <= grown - start <= 96 * MIB
    del block
    assert peak_memory() > grown - 4 * MIB  # the kernel counts in batches
    forget_peak_memory()
    assert peak_memory() < grown - 32 * MIB


@ON_LINUX
def test_the_peak_is_that_of_getrusage_where_the_kernel_does_not_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(Path, "is_file", lambda path: False)
    assert peak_memory() == pytest.approx(1024 * largest, rel=0.05)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_memory() == pytest.approx(largest, rel=0.05)


@pytest.fixture
def asked_anew() -> Iterator[None]:
    """The machine's GPUs are looked for, and not those of an earlier look."""
    gpu_cards.cache_clear()
    yield
    gpu_cards.cache_clear()


def tool_that_prints(folder: Path, lines: str) -> None:
    """An nvidia-smi in the folder."""
    tool = folder / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{lines}\n", encoding="utf-8")
    tool.chmod(0o755)


@pytest.mark.skipif(Path("/proc/driver/nvidia/gpus").is_dir(), reason="has GPUs of its own")
@pytest.mark.parametrize(
    ("lines", "cards"),
    [
        ("echo 'GPU 0: A (UUID: x)'; echo 'GPU 1: A (UUID: y)'", ("0", "1")),
        ("echo 'NVIDIA-SMI has failed'; exit 9", ()),
    ],
)
@pytest.mark.usefixtures("asked_anew")
def test_the_tool_tells_of_gpus_where_the_driver_s_folder_is_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str, cards: tuple[str, ...]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_cards() == ()
    gpu_cards.cache_clear()
    tool_that_prints(tmp_path, lines)
    assert gpu_cards() == cards


@pytest.mark.parametrize(
    ("allowed", "cards"), [("2, 3", ("2", "3")), ("", ()), ("-1", ()), ("GPU-8d2", ("GPU-8d2",))]
)
@pytest.mark.usefixtures("asked_anew")
def test_a_job_may_use_the_gpus_that_it_was_given(
    monkeypatch: pytest.MonkeyPatch, allowed: str, cards: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert gpu_cards() == cards


@pytest.mark.parametrize(
    ("line", "version"),
    [
        # As two kinds of NVIDIA's driver write it.
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023",
            "535.104.05",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (x)",
            "570.86.15",
        ),
        ("something else", None),
    ],
)
def test_the_version_of_the_driver_is_read_where_linux_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, version: str | None
) -> None:
    file = tmp_path / "version"
    file.write_text(f"{line}\n", encoding="utf-8")
    monkeypatch.setattr("replicate.records.hardware.DRIVER_VERSION", file)
    assert gpu_driver() == version
    file.unlink()
    assert gpu_driver() is None
