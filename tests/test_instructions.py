"""The instruction sets of libraries, asked of processes that were told to use others."""

import functools
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from replicate.records.instructions import LIMITS, cpuinfo, instruction_sets
from replicate.records.run_record import StageMeter

ON_X86 = pytest.mark.skipif(platform.machine() != "x86_64", reason="names of x86-64 processors")
SAID = "import {loaded}, json; from replicate.records.instructions import instruction_sets; print(json.dumps(instruction_sets()))"


@functools.cache  # a start of torch is dear
def said(loaded: str, **told: str) -> dict[str, str]:
    """What a new process says that has loaded these libraries, with this in its environment."""
    known = {name: value for name, value in os.environ.items() if name not in LIMITS}
    code = SAID.format(loaded=loaded)
    done = subprocess.run(
        [sys.executable, "-c", code], env=known | told, capture_output=True, check=True
    )
    return dict(json.loads(done.stdout))


def changed(loaded: str, **told: str) -> dict[str, str]:
    """What it says otherwise than one that was told nothing."""
    before = said(loaded)
    return {
        name: value for name, value in said(loaded, **told).items() if before.get(name) != value
    }


@pytest.mark.slow
def test_what_limits_torch_shows_and_nothing_else_changes() -> None:
    if said("torch")["torch"] == "DEFAULT":
        pytest.skip("this processor has no vector instructions that torch uses")
    assert changed("torch", ATEN_CPU_CAPABILITY="default") == {"torch": "DEFAULT"}


@ON_X86
@pytest.mark.parametrize(
    ("told", "shows"),
    [
        ({"OPENBLAS_CORETYPE": "Nehalem"}, {"numpy_products": "Nehalem"}),
        ({"NPY_DISABLE_CPU_FEATURES": "X86_V4 X86_V3"}, {"numpy": "baseline(X86_V2)"}),
        ({"MKL_CBWR": "COMPATIBLE"}, {"MKL_CBWR": "COMPATIBLE"}),
        ({"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ],
)
def test_what_limits_other_libraries_shows(told: dict[str, str], shows: dict[str, str]) -> None:
    assert changed("numpy", **told) == shows


def test_a_library_that_is_not_loaded_is_not_loaded_to_be_asked() -> None:
    assert said("json") == {}
    assert said("numpy").keys() == {"numpy", "numpy_products"}
    assert said("torch").keys() == {"numpy", "numpy_products", "torch", "vectors", "maker"}


def test_the_record_of_a_stage_has_them(tmp_path: Path) -> None:
    StageMeter("x").write(tmp_path / "x.json")
    record = json.loads((tmp_path / "x.run.json").read_text())
    assert record["instructions"] == instruction_sets()


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="Linux tells of its processors")
def test_a_field_of_cpuinfo_is_read_whole() -> None:
    assert cpuinfo("processor") == "0"
    assert cpuinfo("model") != cpuinfo("model name")
    assert cpuinfo("nothing of that kind") is None
