"""A run beside another one, in numbers: rows of Table 1, statements, and how they differ (`report --compare`).

Means are compared by Welch's interval of their difference (`replicate.statistics`), which carries the seeds' variance
of both runs. It takes the two sets of seeds as independent. Runs that have seeds in common are not: these start from
the same weights and noise, which makes the interval as a rule too wide (`replicate.verify`).
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from replicate.codedigest import code_digest
from replicate.comparison.side import CellName, Measured, Ordering, Placed, Side, Statement, Verdict
from replicate.result import result
from replicate.statistics import difference_of_means
from replicate.verify import draws_of, same_bits

#: What became of a verdict, in the order in which the page tells it.
Change = Literal["changed", "only here", "only there", "same verdict", "same numbers", "attempted by neither"]
CHANGES: tuple[Change, ...] = (
    "changed", "only here", "only there", "same verdict", "same numbers", "attempted by neither",
)  # fmt: skip
UNATTEMPTED = "not attempted"


def _no_difference(ours: Measured, theirs: Measured) -> str | None:
    """Why no difference of means is told, in words; None where it is."""
    if ours.dimension != theirs.dimension:
        return "images of another size: another space"
    if ours.failed or theirs.failed or not (ours.values and theirs.values):
        return "a seed failed, and the mean of the others would be a choice among seeds"
    return None


def _difference(ours: Measured, theirs: Measured, bits: str | None) -> dict[str, Any] | None:
    """Our mean less theirs, nats, with its 95 % interval; none for the same bits, nor for fewer than two seeds."""
    if _no_difference(ours, theirs):
        return None
    value = float(np.mean(ours.values) - np.mean(theirs.values))
    without = {"value": value, "error": None, "degrees": None, "ci95": None}
    if bits == "same" or min(len(ours.values), len(theirs.values)) < 2:
        return without
    found = difference_of_means(ours.values, theirs.values)
    degrees = found.degrees if math.isfinite(found.degrees) else None
    return {"value": found.value, "error": found.error, "degrees": degrees, "ci95": list(found.ci95)}


def _bits(cell: CellName, ours: Side, theirs: Side) -> Literal["same", "other"] | None:
    """Whether the results of a cell are the same bits; None where a side did not keep them."""
    if cell not in ours.run.models or cell not in theirs.run.models:
        return None
    return "same" if same_bits(ours.run.models[cell], theirs.run.models[cell]) else "other"


def _draws(side: Side, cell: CellName) -> int | None:
    """Draws of samples of each seed; None where the results were not kept."""
    return max(map(draws_of, side.run.models[cell].values())) if cell in side.run.models else None


def _row(cell: CellName, ours: Side, theirs: Side) -> dict[str, Any]:
    """One row of Table 1 on one data set; all measures null where a side has nothing."""
    one, other = ours.measured(cell), theirs.measured(cell)
    entry: dict[str, Any] = {
        "dataset": cell[0], "model": cell[1], "shared_seeds": [], "bits": None, "difference": None, "reason": None,
        "other_rule": False,
        "seeds": {"ours": one and len(one.seeds), "theirs": other and len(other.seeds)},
        "draws": {"ours": _draws(ours, cell), "theirs": _draws(theirs, cell)},
    }  # fmt: skip
    if one is None or other is None:
        return entry
    bits = _bits(cell, ours, theirs)
    return entry | {
        "shared_seeds": sorted(set(one.seeds) & set(other.seeds)),
        "bits": bits,
        "difference": _difference(one, other, bits),
        "reason": _no_difference(one, other),
        "other_rule": _other_rule(ours.cells[cell].value.verdict, theirs.cells[cell].value.verdict),
    }


def _other_rule(ours: Verdict, theirs: Verdict) -> bool:
    """Whether two verdicts were reached by different entries of the protocol."""
    rules = (ours.protocol_sha256, theirs.protocol_sha256)
    return None not in rules and rules[0] != rules[1]


def _change(ours: str, theirs: str, same_numbers: bool) -> Change:
    """What became of a verdict, from both states."""
    if UNATTEMPTED in (ours, theirs):
        if ours == theirs:
            return "attempted by neither"
        return "only there" if ours == UNATTEMPTED else "only here"
    if ours != theirs:
        return "changed"
    return "same numbers" if same_numbers else "same verdict"


def _judged(
    kind: str, ours: Mapping[str, Placed[Ordering] | Placed[Statement]],
    theirs: Mapping[str, Placed[Ordering] | Placed[Statement]],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Every claim of one kind that either run has, ours first."""
    for claim in dict.fromkeys([*ours, *theirs]):
        one, other = (side[claim].value if claim in side else None for side in (ours, theirs))
        states = [side.verdict.state if side else UNATTEMPTED for side in (one, other)]
        numbers = [side.numbers if side else {} for side in (one, other)]
        change = _change(states[0], states[1], numbers[0] == numbers[1])
        other_rule = one is not None and other is not None and _other_rule(one.verdict, other.verdict)
        yield {"claim": claim, "kind": kind, "change": change, "other_rule": other_rule}


def comparison(ours: Side, theirs: Side) -> dict[str, Any]:
    """What two runs have in common and how they differ, as a result.

    Returns:
        The frame of a result; `rows`: every cell of Table 1 that either run measured, with the number of `seeds` and of
        `draws` of each, the `shared_seeds`, `bits` ("same", "other", or null where they were not kept), the
        `difference` of means (nats: value, error, degrees of freedom or null for infinitely many, ci95) and the
        `reason` why there is none; `claims`: every claim with what became of its verdict; `counts` of both.
    """
    names = [
        cell for cell in dict.fromkeys([*ours.cells, *theirs.cells]) if ours.measured(cell) or theirs.measured(cell)
    ]
    rows = [_row(cell, ours, theirs) for cell in names]
    claims = [*_judged("ordering", ours.orderings, theirs.orderings)]
    if ours.claims and theirs.claims:
        claims += _judged("statement", ours.statements, theirs.statements)
    claims.sort(key=lambda claim: CHANGES.index(claim["change"]))
    both = [row for row in rows if None not in row["seeds"].values()]
    counts = {
        "rows": len(both),
        "rows_of_one_run": len(rows) - len(both),
        "rows_same_bits": sum(row["bits"] == "same" for row in both),
        "claims": dict.fromkeys(CHANGES, 0) | Counter(claim["change"] for claim in claims),
    }
    inputs = {
        side.shown(path): path for side in (ours, theirs) for path in (side.table, side.claims) if path is not None
    }
    # The digest is that of `beside`, which imports this module and adds the settings to the same file.
    return result(
        "compare", code_digest(["replicate.comparison.beside"]), {"other": theirs.results.name}, inputs,
        rows=rows, claims=claims, counts=counts,
    )  # fmt: skip
