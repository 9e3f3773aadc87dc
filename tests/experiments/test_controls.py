"""Every rule of `protocol.yaml` has a negative control among the tests, judged by that file's
own rule.
"""

import importlib
import json
from pathlib import Path

import pytest

from replicate.storage.files import sha256_json
from replicate.storage.paths import package_root
from replicate.verdicts.statements import check_verdict
from tests.experiments import controls
from tests.experiments.contradictions import CONTRADICTIONS

KEPT = package_root() / "results/reference/statements"
CHANGED = ("A1", "F2", "H1", "S1", "E1", "T2")


def test_every_statement_has_a_negative_control_and_no_control_is_of_another() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.experiments.{path.stem}")
    assert set(controls.NEGATIVE) == set(controls.protocol().statements)
    assert all(name.startswith("test_") for names in controls.NEGATIVE.values() for name in names)


def test_every_check_has_a_number_that_contradicts_it() -> None:
    statements = controls.protocol().statements
    assert CONTRADICTIONS.keys() == statements.keys()
    for name, rule in statements.items():
        assert CONTRADICTIONS[name].keys() == rule.checks.keys()


@pytest.mark.parametrize(
    ("statement", "name"),
    [(statement, name) for statement in CONTRADICTIONS for name in CONTRADICTIONS[statement]],
)
def test_no_threshold_lets_a_contradiction_through(statement: str, name: str) -> None:
    """A threshold that asks for nothing, or for the opposite, is found out by itself.

    A negative control of a rule sees only that one of its checks fails.
    """
    rule = controls.protocol().statements[statement]
    check, number = rule.checks[name], CONTRADICTIONS[statement][name]
    measured = number if check.exact else [number] * rule.minimum_seeds
    verdict = check_verdict(check, measured, comparisons=len(rule.checks))
    assert verdict["state"] == "not replicated"


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


@pytest.mark.parametrize("statement", CHANGED)
def test_the_earlier_rules_are_those_that_kept_runs_were_judged_by(statement: str) -> None:
    entry = controls.earlier(statement).model_dump(
        mode="json", exclude={"awaits", "over", "asks_for"}
    )
    hashes = {
        found["protocol_sha256"]
        for path in KEPT.glob("*/statements.json")
        for found in json.loads(path.read_text(encoding="utf-8"))["statements"]
        if found["statement"] == statement
    }
    assert sha256_json(entry) in hashes
    assert sha256_json(entry) != controls.protocol().statement_sha256(statement)
