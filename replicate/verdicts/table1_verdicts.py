"""The verdicts on published values and on published orderings (docs/protocol.md, 3 and 4)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from replicate.errors import ReplicateError
from replicate.records.schema import (
    CellVerdict,
    MeasuredCell,
    OrderingState,
    OrderingVerdict,
    PooledSeeds,
    PublishedValue,
    RivalComparison,
    SamplersOfRow,
    TrainingEnd,
    VerdictState,
)
from replicate.verdicts.protocol import (
    Directional,
    End,
    Equivalence,
    Estimate,
    Protocol,
    Rising,
    Rule,
    SamplerRules,
)
from replicate.verdicts.published import PublishedRow, PublishedRows
from replicate.verdicts.samplers import silence, values_by
from replicate.verdicts.statistics import (
    Published,
    as_list,
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
from replicate.verdicts.verdict_state import Decision, fewest_to_decide


def no_verdict(state: VerdictState, reason: str) -> CellVerdict:
    """A verdict without a test: its state and reason, all measures null."""
    return {
        "state": state,
        "reason": reason,
        "seeds_needed": None,
        "difference": None,
        "ci90": None,
        "ci95": None,
        "ci90_simultaneous": None,
        "ci95_simultaneous": None,
        "simultaneous_claims": None,
        "number_margin": None,
        "claim_margin": None,
        "number_state": None,
        "claim_state": None,
        "naive_z": None,
        "prediction_interval": None,
        "compatible": None,
        "protocol_sha256": None,
    }


def values_of(cell: PooledSeeds) -> list[float]:
    """The log-likelihood of every seed that did not fail, nats."""
    per_seed = cell["per_seed"]
    return [seed["log_likelihood"] for seed in per_seed]


# ------------------------------------------------------------------------ what keeps tests back


def estimate_deviation(cell: PooledSeeds, estimate: Estimate) -> str | None:
    """How a run's estimate differs from the protocol's, in words; None where it does not."""
    if cell["n_samples"] != estimate.samples:
        return f"{cell['n_samples']} samples instead of {estimate.samples}"
    folds = len(cell["n_test"])
    if folds != estimate.folds:
        return f"{folds} folds instead of {estimate.folds}"
    counts = zip(cell["n_validation"], cell["validation_available"], strict=True)
    for used, available in counts:
        # The protocol names no number where all validation images of a fold choose.
        wanted = estimate.validation or available
        if used != wanted:
            return f"{used} validation images instead of {wanted}"
    # Exactly, since both are written as decimals in the same digits.
    if list(cell["sigmas"]) != list(estimate.sigmas):
        return "other bandwidths than the protocol's"
    return None


def sampler_deviation(cell: PooledSeeds, model: str, rules: SamplerRules) -> str | None:
    """How a row's chains differ from the protocol's, in words; None where they do not."""
    sampler = rules.deciding(model)
    if sampler is None:
        return None
    recorded = cell.get("sampler")
    # Kept results from before the sampler was recorded know the number of chains alone.
    used: Mapping[str, object] = recorded or {"chains": cell["chains"]}
    for name, value in sampler.model_dump().items():
        if name in used and used[name] != value:
            setting = name.replace("_", " ")
            return f"{setting} {used[name]} instead of {value} (the sampler `{rules.decides}`)"
    if not recorded:
        return "its sampler is not known"
    return None


def _obstacle(cell: PooledSeeds, model: str, rule: Rule, protocol: Protocol) -> Decision | None:
    """Why no test decides on what a cell measured; None where one does."""
    deviation = estimate_deviation(cell, protocol.estimates[rule.dataset])
    # Deviations first: another estimate is another quantity, whatever its seeds say.
    deviation = deviation or sampler_deviation(cell, model, protocol.samplers)
    if deviation:
        return Decision("withheld", f"not the protocol's estimate: {deviation}")
    failed = len(cell["failed"])
    count = len(cell["per_seed"])
    # Seeds that diverge may be those with the lowest values: the others are no fair sample.
    if failed:
        return Decision(
            "inconclusive",
            f"{failed} of {failed + count} seeds failed; "
            "averaging only surviving seeds would bias the mean",
        )
    # With five seeds even a two-sided sign-flip test cannot reach 5 % (docs/protocol.md, section
    # 3).
    if count < max(rule.minimum_seeds, 2):
        plural = "s" if count != 1 else ""
        return Decision(
            "withheld",
            f"{count} seed{plural}; the protocol asks for {rule.seeds} and decides nothing "
            f"with fewer than {rule.minimum_seeds}",
        )
    return None


def unfinished(
    cell: MeasuredCell, model: str, dataset: str, published_error: float | None, rules: Rising
) -> str | None:
    """Why a training had not ended, in words; None where it had (docs/protocol.md, section 8)."""
    ending = cell.get("ending")
    if ending is None:
        return "the training that it is of is not known, and so not whether that had ended"
    # A recipe that says where it ends is done there, whether its curve still rises or not. A run
    # that goes on beyond has an end that somebody chose, as a recipe without one has.
    fixed_end = rules.end(dataset, model)
    if fixed_end is not None and ending["epochs"] <= fixed_end.epochs:
        return _cut_short(ending, fixed_end)
    # The published error is the limit of docs/protocol.md, section 8; a row without any has this
    # one.
    limit = rules.otherwise
    if published_error is not None:
        limit = published_error
    if ending["rise"] is None:
        return f"{ending['looks']} looks do not show whether training had ended"
    if ending["rise"] <= limit:
        return None
    return (
        f"still rising: {ending['rise']:+.1f} nats over the last {rules.over:.0%} of "
        f"{ending['epochs']} epochs, more than {limit:g}; "
        "the value depends on where the run was cut"
    )


class Unsettled(NamedTuple):
    """Why a verdict is held back, since its training may not have ended.

    Attributes:
        reason: in words.
        exceeds_stands: whether "exceeds" stands all the same.
    """

    reason: str
    exceeds_stands: bool


def unsettled(
    cell: MeasuredCell, claim: str, published: PublishedValue, protocol: Protocol
) -> Unsettled | None:
    """Why the verdict on a published value is held back; None where its training had ended.

    Whole runs of half and of twice the epochs say it, where there are such, else the curve.
    """
    rule = protocol.equivalence(claim)
    lengths = _other_lengths(cell, claim, published, protocol)
    if lengths:
        reason = _depends_on_length(values_of(cell), lengths, published, rule)
        # Not even "exceeds" stands: a longer run is another one, and its value may be lower.
        return Unsettled(reason, exceeds_stands=False) if reason else None
    _, _, model = claim.rpartition("/")
    error = published["standard_error"]
    reason = unfinished(cell, model, rule.dataset, error, protocol.rising)
    if reason is None:
        return None
    # More training could only raise the value. Not where a source fixed the end: a shorter run is
    # not that recipe, and where no images choose the epoch (TFD) more training may lower it.
    fixed_end = protocol.rising.end(rule.dataset, model)
    exceeds_stands = fixed_end is None or _went_on_beyond(cell, fixed_end)
    return Unsettled(reason, exceeds_stands)


def _went_on_beyond(cell: MeasuredCell, fixed_end: End) -> bool:
    """Whether a training is known to have passed a fixed end, with looks that choose its epoch."""
    ending = cell.get("ending")
    if ending is None or ending["rise"] is None:
        return False
    return ending["epochs"] > fixed_end.epochs


class _Length(NamedTuple):
    """A run of the same recipe with another number of epochs, and what the tests say of it."""

    epochs: int
    values: list[float]
    state: VerdictState


def _other_lengths(
    cell: MeasuredCell, claim: str, published: PublishedValue, protocol: Protocol
) -> list[_Length]:
    """The runs of half and of twice the epochs, shorter first; none unless tests decide on both."""
    rule = protocol.equivalence(claim)
    _, _, model = claim.rpartition("/")
    ending = cell.get("ending")
    if ending is None or model not in protocol.rising.whole_runs:
        return []
    # Lengths are compared by their verdicts, and this run must have one.
    if _obstacle(cell, model, rule, protocol):
        return []
    lengths = []
    for run in cell.get("whole_runs", []):
        measured = run["measured"]
        if _obstacle(measured, model, rule, protocol) is None:
            values = values_of(measured)
            state = _tested(values, _published_number(published, rule), rule)
            lengths.append(_Length(run["epochs"], values, state))
    lengths.sort()
    epochs = ending["epochs"]
    is_complete = [length.epochs for length in lengths] == [epochs / 2, epochs * 2]
    return lengths if is_complete else []


def _depends_on_length(
    values: Sequence[float],
    lengths: Sequence[_Length],
    published: PublishedValue,
    rule: Equivalence,
) -> str | None:
    """That a verdict depends on the number of epochs, in words; None where it does not."""
    number = _published_number(published, rule)
    state = _tested(values, number, rule)
    if any(length.state != state for length in lengths):
        others = [f"{length.state} with {_told(length)}" for length in lengths]
        return f"the verdict depends on the epochs: {state} with these, {' and '.join(others)}"
    if state != "not replicated":
        return None
    longest = lengths[-1]
    _, gain = difference_of_means(longest.values, values).ci90
    # What doubling the epochs gained at most; a loss promises no gain.
    gain = max(gain, 0.0)
    reached = float(np.mean(longest.values)) + gain
    if reached < number.value - rule.claim_margin:
        return None
    return (
        f"still rising: {_told(longest)}, and doubling the epochs once more might bring "
        f"up to {gain:.1f} nats more"
    )


def _told(length: _Length) -> str:
    """A run of another length, in words."""
    mean = float(np.mean(length.values))
    return f"{length.epochs} epochs ({mean:.1f} nats, {len(length.values)} seeds)"


def _cut_short(ending: TrainingEnd, end: End) -> str | None:
    """That a training ended before its recipe does, in words; None where it did not."""
    epochs = ending["epochs"]
    if epochs >= end.epochs:
        return None
    return f"{epochs} epochs of the recipe's {end.epochs} ({end.source})"


def _would_decide(needed: int | None) -> str:
    """How many seeds would decide, as the end of a sentence."""
    if not needed:
        return "; no number of seeds up to 1,000 would"
    return f"; {needed} seeds would decide"


# ---------------------------------------------------------------------------- published values


def equivalence_verdict(
    cell: MeasuredCell, row: PublishedRow, protocol: Protocol, claims: int = 1
) -> CellVerdict:
    """The verdict on a published value by its rule.

    The claim margin decides; the state by the number margin stands beside it.

    Args:
        cell: what was measured (`replicate.verdicts.pooled_seeds`).
        row: the published row, with its claim.
        protocol: the rules.
        claims: published values of this data set that the run attempted, for the simultaneous
            intervals.
    """
    claim = row["claim"]
    rule = protocol.equivalence(claim)
    # The name of a published number is T1/DATASET/MODEL.
    _, _, model = claim.rpartition("/")
    obstacle = _obstacle(cell, model, rule, protocol)
    # Without an obstacle there are seeds enough for the decision below, which replaces this.
    state, reason, _ = obstacle or Decision("withheld", "not decided yet")
    verdict = no_verdict(state, reason)
    # With every verdict, decided or not: a later change of the rule shows.
    verdict["protocol_sha256"] = protocol.sha256(claim)
    verdict["number_margin"] = rule.number_margin
    verdict["claim_margin"] = rule.claim_margin
    values = values_of(cell)
    # One seed has no spread, and so no interval to show.
    if len(values) < 2:
        return verdict
    published = _published_number(row, rule)
    # The differences are shown also where nothing may be decided on them.
    _compare_with_published(verdict, values, published, claims)
    if obstacle is None:
        decided = _decide_equivalence(verdict, values, published, rule)
        held_back = unsettled(cell, claim, row, protocol)
        if held_back is None:
            lengths = _other_lengths(cell, claim, row, protocol)
            verdict["reason"] = "; ".join([verdict["reason"], *_same_with(lengths)])
        elif not (held_back.exceeds_stands and decided == "exceeds"):
            verdict["state"] = "withheld"
            verdict["reason"] = held_back.reason
            verdict["seeds_needed"] = None
    return verdict


def _published_number(published: PublishedValue, rule: Equivalence) -> Published:
    return Published(published["log_likelihood"], published["standard_error"], rule.original_df)


def _same_with(lengths: Sequence[_Length]) -> list[str]:
    """That runs of other lengths get the same verdict, in words; nothing where there are none."""
    if not lengths:
        return []
    told = [f"{length.epochs} epochs ({np.mean(length.values):.1f} nats)" for length in lengths]
    return [f"so too after {' and '.join(told)}"]


def _compare_with_published(
    verdict: CellVerdict, values: Sequence[float], published: Published, claims: int
) -> None:
    """Fills in the difference to the published value with its intervals, and measures beside it."""
    count = len(values)
    mean = float(np.mean(values))
    spread = _spread(values)
    gap = difference(mean, spread, count, published)
    low, high = prediction_interval(mean, spread, count, published)
    verdict["difference"] = gap.value
    verdict["ci90"] = list(gap.ci90)
    verdict["ci95"] = list(gap.ci95)
    simultaneous_90 = gap.interval(simultaneous(0.90, claims))
    simultaneous_95 = gap.interval(simultaneous(0.95, claims))
    verdict["ci90_simultaneous"] = list(simultaneous_90)
    verdict["ci95_simultaneous"] = list(simultaneous_95)
    verdict["simultaneous_claims"] = claims
    verdict["naive_z"] = naive_z(mean, spread, count, published)
    verdict["prediction_interval"] = [low, high]
    # For information: with few seeds the interval is wide, and holds nearly anything.
    verdict["compatible"] = low <= published.value <= high


def _spread(values: Sequence[float]) -> float:
    """The standard deviation over two seeds or more."""
    spread = standard_deviation(values)
    assert spread is not None
    return spread


def _tested(values: Sequence[float], published: Published, rule: Equivalence) -> VerdictState:
    """What two one-sided tests by the claim margin say of the values of all seeds."""
    gap = difference(float(np.mean(values)), _spread(values), len(values), published)
    return state_of(gap.ci90, gap.ci95, rule.claim_margin)


def _decide_equivalence(
    verdict: CellVerdict, values: Sequence[float], published: Published, rule: Equivalence
) -> VerdictState:
    """Fills in the states of two one-sided tests by both margins, and the seeds needed.

    Returns:
        The state by the claim margin, which decides.
    """
    count = len(values)
    mean = float(np.mean(values))
    spread = _spread(values)
    margin = rule.claim_margin
    gap = difference(mean, spread, count, published)
    state = state_of(gap.ci90, gap.ci95, margin)
    verdict["state"] = state
    verdict["claim_state"] = state
    # The number's margin only informs: the paper's claim rests on the gap to the next row.
    verdict["number_state"] = state_of(gap.ci90, gap.ci95, rule.number_margin)
    verdict["reason"] = f"two one-sided tests over {count} seeds, margin {margin:g} nats"
    if state == "inconclusive":
        needed = seeds_needed(mean, spread, count, published, margin)
        verdict["seeds_needed"] = needed
        verdict["reason"] += _would_decide(needed)
    return state


# -------------------------------------------------------------------------- published orderings


class _Row(NamedTuple):
    """A row of Table 1 as an ordering compares it.

    Attributes:
        model: its name.
        title: its title.
        published: the paper's value.
        published_error: its standard error, nats.
        cell: what was measured, or None.
        table_values: log-likelihood of every seed, as the table has it.
        model_values: the values that tell about the model: by the sampler `beside` where chains
            draw the images, otherwise the same.
    """

    model: str
    title: str
    published: float
    published_error: float
    cell: MeasuredCell | None
    table_values: list[float]
    model_values: list[float]


def _row(
    model: str, cell: MeasuredCell | None, published: PublishedRow, rules: SamplerRules
) -> _Row:
    values: list[float] = []
    if cell is not None:
        values = values_of(cell)
    samplers = _samplers_of(cell)
    # Published values are by the sampler that decides, whose chains may not have mixed.
    model_values = values
    if samplers is not None and rules.beside in samplers["samplers"]:
        model_values = values_by(samplers, rules.beside)
    return _Row(
        model,
        published["title"],
        published["log_likelihood"],
        published["standard_error"],
        cell,
        values,
        model_values,
    )


def _samplers_of(cell: MeasuredCell | None) -> SamplersOfRow | None:
    """What the samplers of a cell say together; None where they were not compared."""
    if cell is None:
        return None
    return cell.get("samplers")


def _compared_with(row: _Row, rival: _Row, rule: Directional) -> RivalComparison:
    """A model's values less a rival's, and whether the claimed order holds.

    Null where either has fewer than two seeds.
    """
    ours = row.model_values
    rival_values = rival.model_values
    is_ahead = rival.model in rule.ahead_of
    # Against the published rival, and only shown: the test below compares our own means.
    ahead = sum(value > rival.published for value in ours)
    share_ahead, share_interval = None, None
    if ours:
        share_ahead = ahead / len(ours)
        share_interval = list(wilson_interval(ahead, len(ours)))
    comparison: RivalComparison = {
        "rival": rival.model,
        "title": rival.title,
        "expected": "ahead" if is_ahead else "behind",
        "difference": None,
        "ci90": None,
        "ci95": None,
        "ci95_simultaneous": None,
        "state": None,
        "seeds_needed": None,
        "probability_of_improvement": None,
        "improvement_interval": None,
        "published_sampler_agrees": _same_order(row, rival),
        "published": rival.published,
        "seeds": len(ours),
        "seeds_ahead": ahead,
        "share_ahead": share_ahead,
        "share_interval": share_interval,
    }
    if min(len(ours), len(rival_values)) < 2:
        return comparison
    # Of the rule and not of the rows that were measured: a claim is not easier because rows lack.
    comparisons = len(rule.rivals)
    gap = difference_of_means(ours, rival_values)
    simultaneous_95 = gap.interval(simultaneous(0.95, comparisons))
    improvement = improvement_interval(ours, rival_values)
    comparison["difference"] = gap.value
    comparison["ci90"] = list(gap.ci90)
    comparison["ci95"] = list(gap.ci95)
    comparison["ci95_simultaneous"] = list(simultaneous_95)
    comparison["probability_of_improvement"] = probability_of_improvement(ours, rival_values)
    comparison["improvement_interval"] = as_list(improvement)
    # The test is on "the paper's leader is ahead", the numbers above on ours less the rival's.
    leader, follower = ours, rival_values
    if not is_ahead:
        leader, follower = rival_values, ours
    lead = difference_of_means(leader, follower)
    state = ordering_of(lead, comparisons)
    comparison["state"] = state
    if state == "inconclusive":
        comparison["seeds_needed"] = seeds_to_order(leader, follower, comparisons)
    return comparison


def _same_order(row: _Row, rival: _Row) -> bool | None:
    """Whether two means are in the same order by both samplers; None where one has no value."""
    has_model_values = row.model_values and rival.model_values
    has_table_values = row.table_values and rival.table_values
    if not has_model_values or not has_table_values:
        return None
    by_model = float(np.mean(row.model_values) - np.mean(rival.model_values))
    by_table = float(np.mean(row.table_values) - np.mean(rival.table_values))
    # A tie by one of them is no order that the other could share.
    return by_model * by_table > 0


def _silence(row: _Row, rule: Directional, protocol: Protocol) -> Decision | None:
    """Why a measured row tells nothing about its model; None where it does."""
    assert row.cell is not None
    rising = unfinished(row.cell, row.model, rule.dataset, row.published_error, protocol.rising)
    if rising:
        return Decision("withheld", rising)
    if row.model not in protocol.samplers.rows:
        return None
    # Rows that Markov chains sample say something of their model only once the chains have mixed.
    claim = f"T1/{rule.dataset}/{row.model}"
    margin = protocol.equivalence(claim).claim_margin
    reason = silence(_samplers_of(row.cell), row.model, protocol.samplers, margin)
    if reason:
        return Decision("withheld", reason)
    # The comparisons take the values by this sampler, of the seeds that it was tried on.
    count = len(row.model_values)
    if count < max(rule.minimum_seeds, 2):
        sampler = protocol.samplers.beside
        return Decision(
            "withheld",
            f"{count} seeds by the sampler {sampler!r}; the protocol decides nothing with fewer "
            f"than {rule.minimum_seeds}",
        )
    return None


def _ordering_obstacle(
    rows: Sequence[_Row], reversed_by_sampler: str | None, rule: Directional, protocol: Protocol
) -> Decision | None:
    """Why the comparisons decide nothing on an ordering; None where they do.

    Args:
        rows: the model, then its rivals.
        reversed_by_sampler: that the sampler decides some comparison, in words; None if none.
        rule: of the ordering.
        protocol: all rules.
    """
    # One reason is shown: what is not there comes before what the rule awaits, and that before what
    # the rows themselves say.
    absent = [row.title for row in rows if row.cell is None]
    if absent:
        reason = f"not measured on this data set: {', '.join(absent)}"
        return Decision("not attempted", reason)
    if rule.awaits:
        reason = rule.awaits
        if reversed_by_sampler:
            reason += f"; besides, {reversed_by_sampler}"
        return Decision("withheld", reason)
    for row in rows:
        assert row.cell is not None
        # One row that tells nothing leaves the whole order open.
        obstacle = _obstacle(row.cell, row.model, rule, protocol)
        obstacle = obstacle or _silence(row, rule, protocol)
        if obstacle:
            return Decision(obstacle.state, f"{row.title}: {obstacle.reason}")
    if reversed_by_sampler:
        return Decision("withheld", reversed_by_sampler)
    return None


def _reversed_by_sampler(comparisons: Sequence[RivalComparison]) -> str | None:
    """Which comparisons the choice of the sampler turns round, in words; None where none."""
    turned = [each for each in comparisons if each["published_sampler_agrees"] is False]
    if not turned:
        return None
    return f"the sampler decides: the order differs between samplers for {_titles(turned)}"


def _all_comparisons(comparisons: Sequence[RivalComparison]) -> Decision:
    """The decision of all comparisons together."""
    # One comparison the other way round denies the order, whatever the others say.
    wrong = _with_state("not replicated", comparisons)
    if wrong:
        return Decision("not replicated", f"the order is the other way round for {_titles(wrong)}")
    undecided = [each for each in comparisons if each["state"] != "replicated"]
    if not undecided:
        reason = f"one-sided tests against {len(comparisons)} models, each at 5 %"
        return Decision("replicated", reason)
    # All comparisons must hold, so the slowest one says how many seeds that takes; but one that is
    # the other way round denies the order by itself.
    against = [each["seeds_needed"] for each in undecided if _lead(each) < 0]
    together = [each["seeds_needed"] for each in undecided]
    needed = fewest_to_decide(against, together)
    reason = f"undecided for {_titles(undecided)}{_would_decide(needed)}"
    return Decision("inconclusive", reason, needed)


def _lead(comparison: RivalComparison) -> float:
    """Nats by which the model that leads in the paper is ahead in a comparison with seeds."""
    assert comparison["difference"] is not None
    sign = 1 if comparison["expected"] == "ahead" else -1
    return sign * comparison["difference"]


def _with_state(
    state: VerdictState, comparisons: Sequence[RivalComparison]
) -> list[RivalComparison]:
    return [comparison for comparison in comparisons if comparison["state"] == state]


def _titles(comparisons: Sequence[RivalComparison]) -> str:
    titles = [comparison["title"] for comparison in comparisons]
    return ", ".join(titles)


def ordering_verdict(
    claim: str,
    cells: Mapping[str, MeasuredCell | None],
    published: PublishedRows,
    protocol: Protocol,
) -> OrderingVerdict:
    """The verdict on a published ordering: every comparison must hold.

    Args:
        claim: its identifier in the protocol.
        cells: model -> what was measured on the claim's data set, None where nothing was.
        published: the rows of Table 1.
        protocol: the rules.

    Raises:
        ReplicateError: the protocol compares a model that the paper has no number for.
    """
    rule = protocol.directional[claim]
    published_on = {}
    for (model, dataset), row in published.items():
        if dataset == rule.dataset:
            published_on[model] = row
    models = (rule.model, *rule.rivals)
    unknown = set(models) - published_on.keys()
    if unknown:
        raise ReplicateError(
            f"{claim}: no published value of {min(unknown)} on {rule.dataset}; "
            "correct protocol.yaml."
        )
    rules = protocol.samplers
    rows = [_row(model, cells.get(model), published_on[model], rules) for model in models]
    own_row, *rivals = rows
    comparisons = [_compared_with(own_row, rival, rule) for rival in rivals]
    reversed_by_sampler = _reversed_by_sampler(comparisons)
    obstacle = _ordering_obstacle(rows, reversed_by_sampler, rule, protocol)
    decision = obstacle or _all_comparisons(comparisons)
    verdict: OrderingState = {
        "state": decision.state,
        "reason": decision.reason,
        "seeds_needed": decision.seeds_needed,
        "protocol_sha256": protocol.sha256(claim),
    }
    return {
        "claim": claim,
        "dataset": rule.dataset,
        "model": rule.model,
        "title": own_row.title,
        "comparisons": comparisons,
        "verdict": verdict,
    }
