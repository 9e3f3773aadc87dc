"""Controls of the rules of statements: experiments whose verdict is known, judged by the project's own `protocol.yaml`.

Every verdict that a test of an experiment asks for goes through `verdicts_of`, and is noted. A test that is marked as
the negative control of a claim must have seen it judged "not replicated" by the rule as it stands.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import yaml

from replicate.claims import judged_statement
from replicate.codedigest import package_root
from replicate.protocol import Protocol, Statement, read_protocol

#: Claim -> the tests that are its negative controls.
NEGATIVE: dict[str, list[str]] = {}
#: Of the test that runs: (claim, verdict by the rule as it stands).
_SEEN: list[tuple[str, str]] = []


@functools.cache
def protocol() -> Protocol:
    """The project's own."""
    return read_protocol(package_root() / "protocol.yaml")


def earlier(claim: str) -> Statement:
    """The rule of a claim in version 3 of the protocol, where version 4 has another one."""
    rules = yaml.safe_load((package_root() / "tests/experiments/version_3.yaml").read_text(encoding="utf-8"))
    return Statement.model_validate(rules[claim])


def judged(rules: Protocol, checks: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Claim -> the whole verdict on the checks that an experiment measured."""
    content = {
        "experiment": "test",
        "not_applicable": None,
        "changed": [],
        "parameters": {"config": {}},
        "checks": checks,
    }
    results = dict.fromkeys(checks, ("test.json", content))
    return {claim: judged_statement(claim, rules, results) for claim in checks}


def verdicts_of(checks: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Claim -> state, by the project's own protocol."""
    found = {claim: str(entry["state"]) for claim, entry in judged(protocol(), checks).items()}
    _SEEN.extend(found.items())
    return found


def earlier_verdict(claim: str, checks: Mapping[str, Any]) -> str:
    """The state of a claim by its rule in version 3; other checks than that rule's are left out."""
    rule = earlier(claim)
    kept = {name: checks[name] for name in rule.checks}
    rules = protocol().model_copy(update={"statements": {claim: rule}})
    return str(judged(rules, {claim: kept})[claim]["state"])


def negative_control(*claims: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks a test as the negative control of claims: each must come out "not replicated" in it."""

    def marked(test: Callable[..., None]) -> Callable[..., None]:
        for claim in claims:
            NEGATIVE.setdefault(claim, []).append(test.__name__)

        @functools.wraps(test)
        def run(*arguments: Any, **named: Any) -> None:
            _SEEN.clear()
            test(*arguments, **named)
            for claim in claims:
                assert (claim, "not replicated") in _SEEN, f"{claim}: {_SEEN}"

        return run

    return marked
