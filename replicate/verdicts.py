"""The verdicts on a published value and on a published ordering, in words and numbers (docs/protocol.md, 3 and 4)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from replicate.errors import ReplicateError
from replicate.protocol import Directional, Estimate, Protocol, Rising, Rule, SamplerRules
from replicate.published import PublishedRows
from replicate.sampling.comparison import silence, values_by
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


def _other_sampler(found: Measured, model: str, rules: SamplerRules) -> str | None:
    """How the chains that drew a row's samples differ from the protocol's, in words; None where they do not."""
    wanted = rules.deciding(model)
    if wanted is None:
        return None
    used = found["sampler"] or {"chains": found["chains"]}
    for name, value in wanted.model_dump().items():
        if name in used and used[name] != value:
            return f"{name.replace('_', ' ')} {used[name]} instead of {value} (the sampler `{rules.decides}`)"
    return None if found["sampler"] else "its sampler is not known"


def _obstacle(found: Measured, model: str, rule: Rule, protocol: Protocol) -> tuple[State, str] | None:
    """Why no test decides: the state and the reason; None where one does."""
    other = _other_estimate(found, protocol.estimates[rule.dataset])
    if other := other or _other_sampler(found, model, protocol.samplers):
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


def unfinished(found: Measured, model: str, dataset: str, published_error: float | None, rules: Rising) -> str | None:
    """Why a training had not ended, in words; None where it had (docs/protocol.md, section 8)."""
    ending, end = found["ending"], rules.end(dataset, model)
    if ending is None:
        return "the training that it is of is not known, and so not whether that had ended"
    if end is not None:
        short = ending["epochs"] is not None and ending["epochs"] < end.epochs
        return f"{ending['epochs']} epochs of the recipe's {end.epochs} ({end.source})" if short else None
    limit = rules.otherwise if published_error is None else published_error
    if ending["rise"] is None:
        return f"{ending['looks']} looks do not show whether training had ended"
    if ending["rise"] <= limit:
        return None
    return (
        f"still rising: {ending['rise']:+.1f} nats over the last {rules.over:.0%} of {ending['epochs']} epochs, more "
        f"than {limit:g}; the value depends on where the run was cut"
    )


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
    model, published_error = row["claim"].rsplit("/", 1)[-1], row["standard_error"]
    obstacle = _obstacle(found, model, entry, protocol)
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
    rising = unfinished(found, model, entry.dataset, published_error, protocol.rising)
    if rising and claim != "exceeds":
        return verdict | {"state": "withheld", "reason": rising}
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


def _silent(
    found: Measured, model: str, rule: Directional, published_error: float, protocol: Protocol
) -> tuple[State, str] | None:
    """Why a row says nothing of its model: the state and the reason; None where it does."""
    if rising := unfinished(found, model, rule.dataset, published_error, protocol.rising):
        return "withheld", rising
    if model not in protocol.samplers.rows:
        return None
    margin = protocol.equivalence(f"T1/{rule.dataset}/{model}").claim_margin
    reason = silence(found["samplers"], protocol.samplers, margin)
    return ("withheld", reason) if reason else None


def _ordering(
    claim: str, found: Mapping[str, Measured | None], comparisons: Sequence[Mapping[str, Any]],
    titles: Mapping[str, str], errors: Mapping[str, float], protocol: Protocol,
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
    turned = [titles[one["rival"]] for one in comparisons if one["published_sampler_agrees"] is False]
    by_sampler = f"the sampler decides: the order differs between samplers for {', '.join(turned)}"
    if rule.awaits:
        return decided("withheld", f"{rule.awaits}; besides, {by_sampler}" if turned else rule.awaits)
    for name in models:
        measured = found[name] or {}
        obstacle = _obstacle(measured, name, rule, protocol) or _silent(measured, name, rule, errors[name], protocol)
        if obstacle:
            return decided(obstacle[0], f"{titles[name]}: {obstacle[1]}")
    if turned:
        return decided("withheld", by_sampler)
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


def _model_values(found: Measured | None, published: list[float], rules: SamplerRules) -> list[float]:
    """The values of a row's seeds that speak of its model: by the sampler `beside` where chains sample it."""
    compared = found["samplers"] if found else None
    if compared is None or rules.beside not in compared["samplers"]:
        return published
    return values_by(compared, rules.beside)


def _same_order(ours: list[float], theirs: list[float], *published: list[float]) -> bool | None:
    """Whether two means are in the same order by both samplers; None where a side has no value."""
    if not all((ours, theirs, *published)):
        return None
    by_model, as_published = (float(np.mean(one) - np.mean(other)) for one, other in ((ours, theirs), published))
    return by_model * as_published > 0


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
    errors = {model: row["standard_error"] for model, row in rows.items()}
    published_values = {model: values_of(one) if (one := found.get(model)) else [] for model in rows}
    values = {model: _model_values(found.get(model), published_values[model], protocol.samplers) for model in rows}
    comparisons = [
        {
            "rival": rival,
            "title": titles[rival],
            "expected": "ahead" if rival in rule.ahead_of else "behind",
            **_comparison(values[rule.model], values[rival], rival in rule.ahead_of, len(rule.rivals)),
            "published_sampler_agrees": _same_order(
                values[rule.model], values[rival], published_values[rule.model], published_values[rival]
            ),
            **_share_ahead(values[rule.model], rows[rival]["log_likelihood"]),
        }
        for rival in rule.rivals
    ]
    return {
        "claim": claim, "dataset": rule.dataset, "model": rule.model, "title": titles[rule.model],
        "comparisons": comparisons, "verdict": _ordering(claim, found, comparisons, titles, errors, protocol),
    }  # fmt: skip
