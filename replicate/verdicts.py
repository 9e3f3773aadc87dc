"""The verdict on one cell of Table 1: its state, and the reason in words (docs/protocol.md, section 3)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from replicate.protocol import Entry, Estimate, Protocol
from replicate.statistics import Published, State, difference, seeds_needed, standard_deviation, state_of


def no_verdict(state: State, reason: str) -> dict[str, Any]:
    """A verdict without a test: its state and reason, all measures null."""
    return {
        "state": state, "reason": reason, "seeds_needed": None, "difference": None, "ci90": None, "ci95": None,
        "number_margin": None, "claim_margin": None, "number_state": None, "claim_state": None, "protocol_sha256": None,
    }  # fmt: skip


def _other_estimate(found: Mapping[str, Any], estimate: Estimate) -> str | None:
    """How a run's estimate differs from the protocol's, in words; None where it does not."""
    for name, wanted, word in (
        ("n_samples", estimate.samples, "samples"),
        ("n_validation", estimate.validation, "validation images"),
    ):
        if found[name] != wanted:
            return f"{found[name]} {word} instead of {wanted}"
    if list(found["sigmas"]) != list(estimate.sigmas):
        return "other bandwidths than the protocol's"
    return None


def _obstacle(found: Mapping[str, Any], entry: Entry, estimate: Estimate) -> tuple[State, str] | None:
    """Why no test decides: the state and the reason; None where one does."""
    if other := _other_estimate(found, estimate):
        return "withheld", f"not the protocol's estimate: {other}"
    failed, count = len(found["failed"]), len(found["per_seed"])
    if failed:
        total = failed + count
        return "inconclusive", f"{failed} of {total} seeds failed; the others' mean would be a choice among seeds"
    if count < max(entry.minimum_seeds, 2):
        return "withheld", (
            f"{count} seed{'s' if count != 1 else ''}; the protocol asks for {entry.seeds} and decides nothing "
            f"with fewer than {entry.minimum_seeds}"
        )
    return None


def equivalence_verdict(found: Mapping[str, Any], row: Mapping[str, Any], protocol: Protocol) -> dict[str, Any]:
    """The verdict on a published value by its rule; the claim margin decides, the number margin is shown.

    Args:
        found: what was measured (`replicate.table.measured`).
        row: the published row, with its claim.
    """
    entry = protocol.claims[row["claim"]]
    verdict = no_verdict("withheld", "") | {
        "protocol_sha256": protocol.sha256(row["claim"]),
        "number_margin": entry.number_margin,
        "claim_margin": entry.claim_margin,
    }
    values = [seed["log_likelihood"] for seed in found["per_seed"]]
    spread, count = standard_deviation(values), len(values)
    published = Published(row["log_likelihood"], row["standard_error"], entry.original_df)
    obstacle = _obstacle(found, entry, protocol.estimate)
    if spread is not None:
        between = difference(float(np.mean(values)), spread, count, published)
        verdict |= {"difference": between.value, "ci90": list(between.ci90), "ci95": list(between.ci95)}
    if obstacle is not None or spread is None:
        state, reason = obstacle or ("withheld", "one seed has no spread")
        return verdict | {"state": state, "reason": reason}
    claim, number = (state_of(between, margin) for margin in (entry.claim_margin, entry.number_margin))
    verdict |= {"state": claim, "claim_state": claim, "number_state": number}
    verdict["reason"] = f"two one-sided tests over {count} seeds, margin {entry.claim_margin:g} nats"
    if claim == "inconclusive":
        needed = seeds_needed(float(np.mean(values)), spread, count, published, entry.claim_margin)
        verdict["seeds_needed"] = needed
        verdict["reason"] += f"; {needed} seeds would decide" if needed else "; no number of seeds up to 1,000 would"
    return verdict
