"""Every statement of `protocol.yaml` has a negative control among the tests, judged by that file's own rule."""

import importlib
import json
from pathlib import Path

import pytest

from replicate.codedigest import package_root
from replicate.files import sha256_json
from tests.experiments import controls

KEPT = package_root() / "results/reference/statements"
CHANGED = ("A1", "F2", "H1", "S1", "E1", "T2")


def test_every_statement_has_a_negative_control_and_no_control_is_of_another() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.experiments.{path.stem}")
    assert set(controls.NEGATIVE) == set(controls.protocol().statements)
    assert all(name.startswith("test_") for names in controls.NEGATIVE.values() for name in names)


def test_a_control_that_was_not_judged_or_passes_is_no_control() -> None:
    @controls.negative_control("P1")
    def idle() -> None:
        pass

    @controls.negative_control("X4")
    def passes() -> None:
        controls.verdicts_of({"X4": {"error_saved_by_features_of_d": [1.0] * 10}})

    for test in (idle, passes):
        with pytest.raises(AssertionError):
            test()
    controls.NEGATIVE["P1"].remove("idle")
    controls.NEGATIVE["X4"].remove("passes")


@pytest.mark.parametrize("claim", CHANGED)
def test_the_earlier_rules_are_those_that_kept_runs_were_judged_by(claim: str) -> None:
    entry = controls.earlier(claim).model_dump(mode="json", exclude={"awaits", "over"})
    hashes = {
        found["protocol_sha256"]
        for path in KEPT.glob("*/claims.json")
        for found in json.loads(path.read_text(encoding="utf-8"))["claims"]
        if found["claim"] == claim
    }
    assert sha256_json(entry) in hashes
    assert sha256_json(entry) != controls.protocol().statement_sha256(claim)
