"""Controls of the rules of statements: experiments whose verdict by `protocol.yaml` is known.

Tests of experiments take every verdict from `verdicts_of`, which records it. A test that is marked
as the negative control of a statement fails unless the statement came out "not replicated" in it,
by the rule as it stands.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from replicate.storage.paths import package_root
from replicate.verdicts.protocol import Protocol, Statement, read_protocol
from replicate.verdicts.statements import statement_verdict

#: Statement -> the tests that are its negative controls.
NEGATIVE: dict[str, list[str]] = {}
#: (statement, verdict by the rule as it stands) of the test that runs.
_VERDICTS: list[tuple[str, str]] = []


@functools.cache
def protocol() -> Protocol:
    """The project's own."""
    return read_protocol(package_root() / "protocol.yaml")


def earlier(statement: str) -> Statement:
    """The rule of a statement in version 3 of the protocol, where version 4 has another one."""
    rules = yaml.safe_load(
        (package_root() / "tests/experiments/version_3.yaml").read_text(encoding="utf-8")
    )
    return Statement.model_validate(rules[statement])


def statement_verdicts(
    rules: Protocol, checks: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Statement -> the whole verdict on the checks that an experiment measured."""
    content = {
        "experiment": "test",
        "not_applicable": None,
        "changed": [],
        "parameters": {"config": {}},
        "checks": checks,
    }
    results = dict.fromkeys(checks, ("test.json", content))
    return {statement: statement_verdict(statement, rules, results) for statement in checks}


def verdicts_of(checks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Statement -> state, by the project's own protocol."""
    verdicts = statement_verdicts(protocol(), checks)
    states = {statement: str(verdict["state"]) for statement, verdict in verdicts.items()}
    _VERDICTS.extend(states.items())
    return states


def earlier_verdict(statement: str, checks: Mapping[str, Any]) -> str:
    """The state of a statement by its rule in version 3; other checks than that rule's are left out."""
    rule = earlier(statement)
    measured = {name: checks[name] for name in rule.checks}
    rules = protocol().model_copy(update={"statements": {statement: rule}})
    return str(statement_verdicts(rules, {statement: measured})[statement]["state"])


def negative_control(*statements: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks a test as the negative control of statements: each must come out "not replicated" in it."""

    def marked(test: Callable[..., None]) -> Callable[..., None]:
        for statement in statements:
            NEGATIVE.setdefault(statement, []).append(test.__name__)

        @functools.wraps(test)
        def run(*arguments: Any, **named: Any) -> None:
            _VERDICTS.clear()
            test(*arguments, **named)
            for statement in statements:
                assert (statement, "not replicated") in _VERDICTS, f"{statement}: {_VERDICTS}"

        return run

    return marked
