"""The verdicts on a published value and on a published ordering, in words and numbers (docs/protocol.md, 3 and 4)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from replicate.errors import ReplicateError
from replicate.protocol import Estimate, Protocol, Rule
from replicate.published import PublishedRows
from replicate.statistics import (
    Published,
    State,
    difference,
    difference_of_means,
    improvement_interval,
    naive_z,
    ordering_of,
    prediction_interval,
    probability_of_improvement,
    seeds_needed,
    seeds_to_order,
    simultaneous,
    standard_deviation,
    state_of,
    wilson_interval,
)

Measured = Mapping[str, Any]


def no_verdict(state: State, reason: str) -> dict[str, Any]:
    """A verdict without a test: its state and reason, all measures null."""
    measures = (
        "seeds_needed", "difference", "ci90", "ci95", "ci90_simultaneous", "ci95_simultaneous", "simultaneous_claims",
        "number_margin", "claim_margin", "number_state", "claim_state", "naive_z", "prediction_interval", "compatible",
        "protocol_sha256",
    )  # fmt: skip
    return {"state": state, "reason": reason, **dict.fromkeys(measures)}


def _other_estimate(found: Measured, estimate: Estimate) -> str | None:
    """How a run's estimate differs from the protocol's, in words; None where it does not."""
    if found["n_samples"] != estimate.samples:
        return f"{found['n_samples']} samples instead of {estimate.samples}"
    if len(found["n_test"]) != estimate.folds:
        return f"{len(found['n_test'])} folds instead of {estimate.folds}"
    for used, available in zip(found["n_validation"], found["validation_available"], strict=True):
        wanted = estimate.validation or available
        if used != wanted:
            return f"{used} validation images instead of {wanted}"
    if list(found["sigmas"]) != list(estimate.sigmas):
        return "other bandwidths than the protocol's"
    return None


def _obstacle(found: Measured, rule: Rule, estimate: Estimate) -> tuple[State, str] | None:
    """Why no test decides: the state and the reason; None where one does."""
    if other := _other_estimate(found, estimate):
        return "withheld", f"not the protocol's estimate: {other}"
    failed, count = len(found["failed"]), len(found["per_seed"])
    if failed:
        total = failed + count
        return "inconclusive", f"{failed} of {total} seeds failed; the others' mean would be a choice among seeds"
    if count < max(rule.minimum_seeds, 2):
        return "withheld", (
            f"{count} seed{'s' if count != 1 else ''}; the protocol asks for {rule.seeds} and decides nothing "
            f"with fewer than {rule.minimum_seeds}"
        )
    return None


def values_of(found: Measured) -> list[float]:
    """The log-likelihood of every seed that did not fail."""
    return [seed["log_likelihood"] for seed in found["per_seed"]]


def _would_decide(needed: int | None) -> str:
    return f"; {needed} seeds would decide" if needed else "; no number of seeds up to 1,000 would"


def equivalence_verdict(found: Measured, row: Mapping[str, Any], protocol: Protocol, claims: int = 1) -> dict[str, Any]:
    """The verdict on a published value by its rule; the claim margin decides, the number margin is shown.

    Args:
        found: what was measured (`replicate.measured`).
        row: the published row, with its claim.
        claims: published values of this data set that the run attempted, for the simultaneous intervals.
    """
    entry = protocol.equivalence(row["claim"])
    verdict = no_verdict("withheld", "") | {
        "protocol_sha256": protocol.sha256(row["claim"]),
        "number_margin": entry.number_margin,
        "claim_margin": entry.claim_margin,
    }
    values = values_of(found)
    spread, count = standard_deviation(values), len(values)
    obstacle = _obstacle(found, entry, protocol.estimate(row["claim"]))
    if spread is None:
        state, reason = obstacle or ("withheld", "one seed has no spread")
        return verdict | {"state": state, "reason": reason}
    mean, published = float(np.mean(values)), Published(row["log_likelihood"], row["standard_error"], entry.original_df)
    between = difference(mean, spread, count, published)
    low, high = prediction_interval(mean, spread, count, published)
    verdict |= {
        "difference": between.value,
        "ci90": list(between.ci90),
        "ci95": list(between.ci95),
        "ci90_simultaneous": list(between.interval(simultaneous(0.90, claims))),
        "ci95_simultaneous": list(between.interval(simultaneous(0.95, claims))),
        "simultaneous_claims": claims,
        "naive_z": naive_z(mean, spread, count, published),
        "prediction_interval": [low, high],
        "compatible": low <= published.value <= high,
    }
    if obstacle is not None:
        return verdict | {"state": obstacle[0], "reason": obstacle[1]}
    claim, number = (state_of(between.ci90, between.ci95, m) for m in (entry.claim_margin, entry.number_margin))
    verdict |= {"state": claim, "claim_state": claim, "number_state": number}
    verdict["reason"] = f"two one-sided tests over {count} seeds, margin {entry.claim_margin:g} nats"
    if claim == "inconclusive":
        verdict["seeds_needed"] = seeds_needed(mean, spread, count, published, entry.claim_margin)
        verdict["reason"] += _would_decide(verdict["seeds_needed"])
    return verdict


def _share_ahead(ours: list[float], published: float) -> dict[str, Any]:
    """How many of our seeds lie above a rival's published value, with Wilson's interval for their share."""
    ahead = sum(value > published for value in ours)
    return {
        "published": published,
        "seeds": len(ours),
        "seeds_ahead": ahead,
        "share_ahead": ahead / len(ours) if ours else None,
        "share_interval": list(wilson_interval(ahead, len(ours))) if ours else None,
    }


def _comparison(ours: list[float], theirs: list[float], ahead: bool, comparisons: int) -> dict[str, Any]:
    """Ours less a rival's mean, and whether the claimed order holds; all null where a side has fewer than two seeds."""
    measures = (
        "difference", "ci90", "ci95", "ci95_simultaneous", "state", "seeds_needed", "probability_of_improvement",
        "improvement_interval",
    )  # fmt: skip
    if min(len(ours), len(theirs)) < 2:
        return dict.fromkeys(measures)
    between = difference_of_means(ours, theirs)
    leader, other = (ours, theirs) if ahead else (theirs, ours)
    state = ordering_of(difference_of_means(leader, other), comparisons)
    interval = improvement_interval(ours, theirs)
    return {
        "difference": between.value,
        "ci90": list(between.ci90),
        "ci95": list(between.ci95),
        "ci95_simultaneous": list(between.interval(simultaneous(0.95, comparisons))),
        "state": state,
        "seeds_needed": seeds_to_order(leader, other, comparisons) if state == "inconclusive" else None,
        "probability_of_improvement": probability_of_improvement(ours, theirs),
        "improvement_interval": list(interval) if interval else None,
    }


def _ordering(
    claim: str, found: Mapping[str, Measured | None], comparisons: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str], protocol: Protocol,
) -> dict[str, Any]:  # fmt: skip
    """The verdict on all comparisons together: state, reason, the seeds needed where it is inconclusive."""

    def decided(state: State, reason: str, needed: int | None = None) -> dict[str, Any]:
        return {
            "state": state, "reason": reason, "seeds_needed": needed, "protocol_sha256": protocol.sha256(claim)
        }  # fmt: skip

    rule = protocol.directional[claim]
    models = (rule.model, *rule.rivals)
    if absent := [titles[name] for name in models if found.get(name) is None]:
        return decided("not attempted", f"not measured on this data set: {', '.join(absent)}")
    if rule.awaits:
        return decided("withheld", rule.awaits)
    for name in models:
        if obstacle := _obstacle(found[name] or {}, rule, protocol.estimate(claim)):
            return decided(obstacle[0], f"{titles[name]}: {obstacle[1]}")
    states = [one["state"] for one in comparisons]
    if "not replicated" in states:
        wrong = [titles[one["rival"]] for one in comparisons if one["state"] == "not replicated"]
        return decided("not replicated", f"the order is the other way round for {', '.join(wrong)}")
    if "inconclusive" not in states:
        return decided("replicated", f"one-sided tests against {len(states)} models, each at 5 %")
    open_ones = [one for one in comparisons if one["state"] == "inconclusive"]
    needs = [one["seeds_needed"] for one in open_ones]
    needed = None if None in needs else max(needs)
    reason = f"undecided for {', '.join(titles[one['rival']] for one in open_ones)}{_would_decide(needed)}"
    return decided("inconclusive", reason, needed)


def ordering_verdict(
    claim: str, found: Mapping[str, Measured | None], published: PublishedRows, protocol: Protocol
) -> dict[str, Any]:
    """The verdict on a published ordering: every comparison must hold.

    Args:
        claim: its name in the protocol.
        found: model -> what was measured on the claim's data set, None where nothing was.
        published: the rows of Table 1.

    Returns:
        The claim, its data set and model, `comparisons` with every rival, and the `verdict`.
    """
    rule = protocol.directional[claim]
    rows = {model: row for (model, dataset), row in published.items() if dataset == rule.dataset}
    if unknown := {rule.model, *rule.rivals} - rows.keys():
        raise ReplicateError(f"{claim}: no published value of {min(unknown)} on {rule.dataset}; correct protocol.yaml.")
    titles = {model: row["title"] for model, row in rows.items()}
    values = {model: values_of(one) if (one := found.get(model)) else [] for model in rows}
    comparisons = [
        {
            "rival": rival,
            "title": titles[rival],
            "expected": "ahead" if rival in rule.ahead_of else "behind",
            **_comparison(values[rule.model], values[rival], rival in rule.ahead_of, len(rule.rivals)),
            **_share_ahead(values[rule.model], rows[rival]["log_likelihood"]),
        }
        for rival in rule.rivals
    ]
    return {
        "claim": claim, "dataset": rule.dataset, "model": rule.model, "title": titles[rule.model],
        "comparisons": comparisons, "verdict": _ordering(claim, found, comparisons, titles, protocol),
    }  # fmt: skip
