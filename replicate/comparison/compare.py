"""A run beside another one, in numbers: cells of Table 1 and statements (`report --compare`).

Means are compared by Welch's interval of their difference (`replicate.verdicts.statistics`), which
carries the seeds' variance of both runs. It takes the two sets of seeds as independent. Runs that
have seeds in common are not: these start from the same weights and noise, which makes the interval
as a rule too wide (`replicate.comparison.verify`).
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from replicate.comparison.compared_run import (
    CellName,
    ComparedRun,
    Measured,
    Ordering,
    Sourced,
    Statement,
    Verdict,
)
from replicate.comparison.result_differences import draws_of, same_bits
from replicate.jobs.code_digest import code_digest
from replicate.records.frame import frame_of
from replicate.records.schema import (
    Change,
    ComparedCell,
    ComparedClaim,
    CompareParameters,
    ComparisonCounts,
    MeanDifference,
    RunComparison,
)
from replicate.verdicts.statistics import difference_of_means

#: What became of a verdict, in the order in which the page tells it.
CHANGES: tuple[Change, ...] = get_args(Change)
UNATTEMPTED = "not attempted"


def _no_difference(our_measured: Measured, their_measured: Measured) -> str | None:
    """Why there is no difference of means, in words; None where there is one."""
    # Densities of other spaces have no difference, under whatever name of a data set.
    if our_measured.dimension != their_measured.dimension:
        return "images of another size: another space"
    if (
        our_measured.failed
        or their_measured.failed
        or not (our_measured.values and their_measured.values)
    ):
        return "a seed failed, and averaging only surviving seeds would bias the mean"
    return None


def _difference(
    our_measured: Measured, their_measured: Measured, bits: str | None
) -> MeanDifference:
    """Our mean less theirs, nats, with its 95 % interval.

    There is no interval for the same bits, nor for fewer than two seeds.
    """
    our_values = our_measured.values
    their_values = their_measured.values
    fewest = min(len(our_values), len(their_values))
    # Equal bits leave nothing to chance, so that an interval would say the wrong thing.
    if bits == "same" or fewest < 2:
        value = float(np.mean(our_values) - np.mean(their_values))
        return {"value": value, "error": None, "degrees": None, "ci95": None}
    gap = difference_of_means(our_values, their_values)
    degrees = None
    # Seeds without any spread have infinitely many, for which JSON has no number.
    if math.isfinite(gap.degrees):
        degrees = gap.degrees
    return {
        "value": gap.value,
        "error": gap.error,
        "degrees": degrees,
        "ci95": list(gap.ci95),
    }


def _bits(
    cell: CellName, our_run: ComparedRun, their_run: ComparedRun
) -> Literal["same", "other"] | None:
    """Whether the results of a cell are the same bits; None where a run did not keep them."""
    our_jobs = our_run.run.models.get(cell)
    their_jobs = their_run.run.models.get(cell)
    if our_jobs is None or their_jobs is None:
        return None
    if same_bits(our_jobs, their_jobs):
        return "same"
    return "other"


def _draws(run: ComparedRun, cell: CellName) -> int | None:
    """Draws of samples of each seed; None where the results were not kept."""
    jobs = run.run.models.get(cell)
    if jobs is None:
        return None
    return max(draws_of(job) for job in jobs.values())


def _compared_cell(cell: CellName, our_run: ComparedRun, their_run: ComparedRun) -> ComparedCell:
    """One cell of Table 1; all measures null where a run measured nothing."""
    our_cell = our_run.measured(cell)
    their_cell = their_run.measured(cell)
    dataset, model = cell
    compared: ComparedCell = {
        "dataset": dataset,
        "model": model,
        "seeds": {
            "ours": len(our_cell.seeds) if our_cell else None,
            "theirs": len(their_cell.seeds) if their_cell else None,
        },
        "draws": {"ours": _draws(our_run, cell), "theirs": _draws(their_run, cell)},
        "shared_seeds": [],
        "bits": None,
        "difference": None,
        "reason": None,
        "other_rule": False,
    }
    if our_cell is None or their_cell is None:
        return compared
    bits = _bits(cell, our_run, their_run)
    reason = _no_difference(our_cell, their_cell)
    shared_seeds = set(our_cell.seeds) & set(their_cell.seeds)
    compared["shared_seeds"] = sorted(shared_seeds)
    compared["bits"] = bits
    compared["reason"] = reason
    if reason is None:
        compared["difference"] = _difference(our_cell, their_cell, bits)
    our_verdict = our_run.cells[cell].value.verdict
    their_verdict = their_run.cells[cell].value.verdict
    compared["other_rule"] = _other_rule(our_verdict, their_verdict)
    return compared


def _other_rule(our_verdict: Verdict, their_verdict: Verdict) -> bool:
    """Whether two verdicts were reached by different entries of the protocol."""
    our_rule = our_verdict.protocol_sha256
    their_rule = their_verdict.protocol_sha256
    # A verdict without a rule, such as "not attempted", says nothing of the protocol.
    if our_rule is None or their_rule is None:
        return False
    return our_rule != their_rule


def _change(our_state: str, their_state: str, same_numbers: bool) -> Change:
    """What became of a verdict, from both states."""
    if our_state == their_state == UNATTEMPTED:
        return "attempted by neither"
    if our_state == UNATTEMPTED:
        return "only there"
    if their_state == UNATTEMPTED:
        return "only here"
    if our_state != their_state:
        return "changed"
    if same_numbers:
        return "same numbers"
    return "same verdict"


def _compared_claim(
    claim: str,
    kind: Literal["ordering", "statement"],
    our_claim: Ordering | Statement | None,
    their_claim: Ordering | Statement | None,
) -> ComparedClaim:
    """One ordering or statement; None where a run does not have it."""
    # A run of another version may not know the claim at all: it did not attempt it either.
    our_state, their_state = UNATTEMPTED, UNATTEMPTED
    our_numbers: dict[str, object] = {}
    their_numbers: dict[str, object] = {}
    if our_claim is not None:
        our_state, our_numbers = our_claim.verdict.state, our_claim.numbers
    if their_claim is not None:
        their_state, their_numbers = their_claim.verdict.state, their_claim.numbers
    other_rule = False
    if our_claim is not None and their_claim is not None:
        other_rule = _other_rule(our_claim.verdict, their_claim.verdict)
    # Numbers of all checks together: a verdict that stays may rest on other numbers.
    same_numbers = our_numbers == their_numbers
    change = _change(our_state, their_state, same_numbers)
    return {"claim": claim, "kind": kind, "change": change, "other_rule": other_rule}


def _compared_claims(
    kind: Literal["ordering", "statement"],
    our_claims: Mapping[str, Sourced[Ordering]] | Mapping[str, Sourced[Statement]],
    their_claims: Mapping[str, Sourced[Ordering]] | Mapping[str, Sourced[Statement]],
) -> Iterator[ComparedClaim]:
    """Every ordering, or every statement, that either run has, ours first."""
    # Each once and ours first; a set would have no order.
    names = dict.fromkeys([*our_claims, *their_claims])
    for name in names:
        our_claim, their_claim = None, None
        if name in our_claims:
            our_claim = our_claims[name].value
        if name in their_claims:
            their_claim = their_claims[name].value
        yield _compared_claim(name, kind, our_claim, their_claim)


def comparison(our_run: ComparedRun, their_run: ComparedRun) -> RunComparison:
    """What two runs have in common and how they differ, without their settings."""
    names = dict.fromkeys([*our_run.cells, *their_run.cells])
    measured = [cell for cell in names if our_run.measured(cell) or their_run.measured(cell)]
    rows = [_compared_cell(cell, our_run, their_run) for cell in measured]
    claims = list(_compared_claims("ordering", our_run.orderings, their_run.orderings))
    # Without a file of statements a run is not one that attempted none.
    if our_run.statements_file and their_run.statements_file:
        claims += _compared_claims("statement", our_run.statements, their_run.statements)
    # Stable: those with one outcome keep their order.
    claims.sort(key=lambda claim: CHANGES.index(claim["change"]))
    # The digest is that of `beside`, which imports this module and fills in the settings.
    code = code_digest(["replicate.comparison.beside"])
    parameters: CompareParameters = {"other": their_run.results.name}
    inputs = _inputs(our_run) | _inputs(their_run)
    return {
        **frame_of(code, parameters, inputs),
        "stage": "compare",
        "parameters": parameters,
        "rows": rows,
        "claims": claims,
        "counts": _counts(rows, claims),
        "settings": [],
    }


def _counts(rows: list[ComparedCell], claims: list[ComparedClaim]) -> ComparisonCounts:
    both_measured = [row for row in rows if None not in row["seeds"].values()]
    same_bits_of = [row for row in rows if row["bits"] == "same"]
    changes = Counter(claim["change"] for claim in claims)
    return {
        "rows": len(both_measured),
        "rows_of_one_run": len(rows) - len(both_measured),
        "rows_same_bits": len(same_bits_of),
        "claims": {change: changes[change] for change in CHANGES},
    }


def _inputs(run: ComparedRun) -> dict[str, Path]:
    """The files that the numbers come from, by the names that the page shows."""
    files = [file for file in (run.table, run.statements_file) if file is not None]
    return {run.display_name(file): file for file in files}
