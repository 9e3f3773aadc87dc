"""What the paper states beside Table 1, beside what this run measured, with verdicts by `protocol.yaml`.

A statement is decided by the checks that its entry names (docs/protocol.md, section 6): an exact one by its number,
any other by a one-sided test on its mean over seeds.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from replicate.errors import ReplicateError
from replicate.protocol import Check, Protocol, Statement
from replicate.statistics import Difference, State, fewest_seeds, ordering_of, simultaneous, standard_deviation

#: claim -> (name of the file, result of the stage `experiment`).
Results = Mapping[str, tuple[str, Mapping[str, Any]]]


def _above_threshold(values: Sequence[float], check: Check) -> Difference:
    """The mean over seeds less the threshold, turned so that more than 0 is what the check asks for."""
    spread = standard_deviation(values) or 0.0
    distance = check.sign * (float(np.mean(values)) - check.threshold)
    return Difference(distance, spread / math.sqrt(len(values)), len(values) - 1)


def _interval(values: Sequence[float], check: Check, level: float) -> list[float]:
    low, high = _above_threshold(values, check).interval(level)
    return sorted(check.threshold + check.sign * bound for bound in (low, high))


def seeds_to_decide(values: Sequence[float], check: Check, comparisons: int) -> int | None:
    """The fewest seeds that would decide if mean and spread stayed as they are; None if none up to 1000 would."""
    found, spread = _above_threshold(values, check), standard_deviation(values) or 0.0

    def state(count: int) -> State:
        return ordering_of(Difference(found.value, spread / math.sqrt(count), count - 1), comparisons)

    return fewest_seeds(len(values), state)


def judged_check(check: Check, value: float | Sequence[float | None], comparisons: int) -> dict[str, Any]:
    """One check with its number or numbers, intervals and state; null where there is nothing to say.

    Args:
        comparisons: checks of the claim that are tested over seeds, for the simultaneous interval.
    """
    entry: dict[str, Any] = {
        "reads": check.reads, "exact": check.exact, "side": "below" if check.sign < 0 else "above",
        "threshold": check.threshold, "value": None, "per_seed": None, "sd_over_seeds": None, "ci90": None,
        "ci95": None, "ci95_simultaneous": None, "state": None, "seeds_needed": None,
    }  # fmt: skip
    if check.exact != (not isinstance(value, Sequence)):
        raise ReplicateError(
            f"the check {check.reads!r} is {'' if check.exact else 'not '}exact; run `experiment` again."
        )
    if not isinstance(value, Sequence):
        holds = check.sign * (value - check.threshold) > 0
        return entry | {"value": value, "state": "replicated" if holds else "not replicated"}
    known = [number for number in value if number is not None]
    entry |= {"per_seed": list(value), "value": float(np.mean(known)) if known else None}
    if len(known) < 2:
        return entry
    state = ordering_of(_above_threshold(known, check), comparisons)
    return entry | {
        "sd_over_seeds": standard_deviation(known),
        "ci90": _interval(known, check, 0.90),
        "ci95": _interval(known, check, 0.95),
        "ci95_simultaneous": _interval(known, check, simultaneous(0.95, comparisons)),
        "state": state,
        "seeds_needed": seeds_to_decide(known, check, comparisons) if state == "inconclusive" else None,
    }


def _state(rule: Statement, checks: Sequence[Mapping[str, Any]]) -> tuple[State, str, int | None]:
    """State, reason and the seeds that would decide, from all checks of a statement together."""
    exact = [check for check in checks if check["exact"]]
    tested = [check for check in checks if not check["exact"]]
    if wrong := [check for check in exact if check["state"] != "replicated"]:
        return "not replicated", f"not so: {'; '.join(check['reads'] for check in wrong)}", None
    if not tested:
        return "replicated", "exact: every number lies where the protocol asks for it", None
    seeds = len(tested[0]["per_seed"])
    failed = max(sum(value is None for value in check["per_seed"]) for check in tested)
    if failed:
        chosen = f"the others' mean would be a choice among {rule.over}"
        return "inconclusive", f"{failed} of {seeds} {rule.over} failed; {chosen}", None
    if seeds < rule.minimum_seeds:
        there = f"{seeds} {rule.over if seeds != 1 else rule.over[:-1]}"
        asked = f"the protocol asks for {rule.seeds} and decides nothing with fewer than {rule.minimum_seeds}"
        return "withheld", f"{there}; {asked}", None
    if wrong := [check for check in tested if check["state"] == "not replicated"]:
        return "not replicated", f"the other way round: {'; '.join(check['reads'] for check in wrong)}", None
    if unsure := [check for check in tested if check["state"] == "inconclusive"]:
        needs = [check["seeds_needed"] for check in unsure]
        needed = None if None in needs else max(needs)
        advice = f"{needed} {rule.over} would decide" if needed else f"no number of {rule.over} up to 1,000 would"
        return "inconclusive", f"undecided: {'; '.join(check['reads'] for check in unsure)}; {advice}", needed
    return "replicated", f"one-sided tests over {seeds} {rule.over}, {len(tested)} at 5 % each", None


def judged_statement(claim: str, protocol: Protocol, results: Results) -> dict[str, Any]:
    """A statement of the paper with its checks and verdict."""
    rule = protocol.statements[claim]
    entry: dict[str, Any] = {
        "claim": claim, "section": rule.section, "says": rule.says, "kind": "statement", "experiment": None,
        "dataset": None, "result": None, "changed": None, "seeds": rule.seeds, "over": rule.over, "seeds_needed": None,
        "checks": [], "protocol_sha256": protocol.statement_sha256(claim),
    }  # fmt: skip
    if claim not in results:
        return entry | {"state": "not attempted", "reason": rule.awaits or "the preset does not run its experiment"}
    file, content = results[claim]
    entry |= {"experiment": content["experiment"], "result": file, "changed": ", ".join(content["changed"]) or None}
    entry["dataset"] = content["parameters"]["config"].get("dataset")
    if content["not_applicable"]:
        return entry | {"state": "not applicable", "reason": content["not_applicable"]}
    measured = content["checks"][claim]
    if set(measured) != set(rule.checks):
        raise ReplicateError(
            f"{file} has the checks {', '.join(sorted(measured))} of {claim}, protocol.yaml "
            f"{', '.join(sorted(rule.checks))}; run the experiment again with this version."
        )
    tested = sum(not check.exact for check in rule.checks.values())
    entry["checks"] = [judged_check(check, measured[name], tested) for name, check in rule.checks.items()]
    state, reason, needed = _state(rule, entry["checks"])
    return entry | {"state": state, "reason": reason, "seeds_needed": needed}


def build_claims(protocol: Protocol, results: Results) -> list[dict[str, Any]]:
    """Every statement of the protocol, in its order."""
    return [judged_statement(claim, protocol, results) for claim in protocol.statements]


def counts(claims: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many claims have each verdict state."""
    return dict(Counter(claim["state"] for claim in claims))
