"""Compares the claims of a run with those of a kept one, by the rules of `replicate.verify`.

A kept run may have its claims without the results of their experiments. Then their settings are known by what the
claim says of them and by the parameter file, and bits cannot be asked for.
"""

from collections.abc import Mapping
from typing import Any

from replicate.experiments import DEFAULT_DATASET, ON_IMAGES, ON_SAMPLES
from replicate.runfolder import RunFolder
from replicate.verify import Numbers, Pair, data_digest, differences, differs, flat, made_otherwise, unlike

Claim = Mapping[str, Any]


def _measured(claim: Claim) -> dict[str, Any]:
    """What was measured of a claim, and its verdict."""
    checks = [{name: check[name] for name in ("reads", "value", "per_seed")} for check in claim["checks"]]
    return {"checks": checks, "state": claim["state"]}


def _recipe(claim: Claim, run: RunFolder) -> dict[str, Any]:
    """The settings of a claim's experiment by their path, as far as the run tells them; without seeds and device."""
    name, found = claim["experiment"], {"changed settings": claim["changed"]}
    if name in run.experiments:
        content = run.experiments[name].content
        config = {key: value for key, value in content["parameters"]["config"].items() if key != "seeds"}
        return found | flat(config) | {"data": data_digest(content)}
    if name in ON_IMAGES and run.settings is not None:
        found["dataset"] = (run.settings.get(name) or {}).get("dataset", DEFAULT_DATASET)
    return found


def _other_recipe(ours: tuple[Claim, RunFolder], theirs: tuple[Claim, RunFolder]) -> list[str]:
    """How the settings and checks of a claim differ; also that they cannot be told to be the same."""
    one, other = _recipe(*ours), _recipe(*theirs)
    name, whole = ours[0]["experiment"], all(ours[0]["experiment"] in run.experiments for _, run in (ours, theirs))
    known = one.keys() | other.keys() if whole else one.keys() & other.keys()
    found = differences(*({key: side.get(key) for key in sorted(known)} for side in (one, other)))
    if [check["reads"] for check in ours[0]["checks"]] != [check["reads"] for check in theirs[0]["checks"]]:
        found.append("the claim has other checks")
    if not found and not whole and ours[0]["changed"]:
        found.append(f"both changed {ours[0]['changed']}, and not both kept {name}.json with the values")
    return found


def _reasons(name: str, ours: RunFolder, theirs: RunFolder) -> list[str]:
    """Why the bits of an experiment cannot be asked for, its settings aside."""
    if missing := [run for run in (ours, theirs) if name not in run.experiments]:
        assert ours.claims is not None
        assert theirs.claims is not None
        where = f"in {missing[0].folder}" if len(missing) == 1 else "on either side"
        return [f"no result of {name} was kept {where}", *made_otherwise(ours.claims, theirs.claims)]
    one, other = ours.experiments[name], theirs.experiments[name]
    return [*differs("seeds", one.content["seeds"], other.content["seeds"]), *made_otherwise(one, other)]


def _other_rule(ours: Claim, theirs: Claim) -> list[str]:
    """That the claims were judged by different entries of the protocol, if they were."""
    return list(differs("rule", *(claim["protocol_sha256"][:16] for claim in (ours, theirs))))


def _numbers(ours: Claim, theirs: Claim) -> tuple[tuple[Numbers, ...], str]:
    """The checks over seeds; and in words the exact ones, which involve no chance."""
    tested, exact = [], []
    for one, other in zip(ours["checks"], theirs["checks"], strict=True):
        if one["exact"]:
            exact.append(f"{one['reads']}: {one['value']:.4g} here, {other['value']:.4g} there")
        else:
            tested.append(Numbers(one["reads"], tuple(one["per_seed"]), tuple(other["per_seed"])))
    return tuple(tested), "; ".join(exact)


def _failed_seeds(claim: Claim) -> int:
    """Seeds of a claim that failed in some check."""
    return max((check["per_seed"] or []).count(None) for check in claim["checks"])


def _statistical(subject: str, reference: str, ours: Claim, theirs: Claim, reasons: list[str]) -> Pair:
    states = f"{ours['state']} here, {theirs['state']} there"
    opposite = {ours["state"], theirs["state"]} == {"replicated", "not replicated"}
    if opposite and not _other_rule(ours, theirs):
        return Pair(subject, reference, "failed", f"opposite verdicts by the same rule: {states}", tuple(reasons))
    if any(map(_failed_seeds, (ours, theirs))):
        return Pair(subject, reference, "inconclusive", f"{states}; a seed failed", tuple(reasons))
    numbers, exact = _numbers(ours, theirs)
    verdict = f"{ours['state']} in both" if ours["state"] == theirs["state"] else states
    return Pair(subject, reference, None, "; ".join(filter(None, (verdict, exact))), tuple(reasons), numbers)


def _compare(ours: tuple[Claim, RunFolder], theirs: tuple[Claim, RunFolder]) -> Pair:
    """One claim that both runs measured."""
    (one, run), (other, kept) = ours, theirs
    name, subject, reference = one["experiment"], f"claim {one['claim']}", str(kept.folder)
    both = name in run.experiments and name in kept.experiments
    place = unlike(run.experiments[name], kept.experiments[name]) if both else None
    if place is None and _measured(one) == _measured(other):
        return Pair(subject, reference, "same bits", f"{one['state']} in both")
    settings, reasons = _other_recipe(ours, theirs), [*_other_rule(one, other), *_reasons(name, run, kept)]
    states = f"{one['state']} here, {other['state']} there"
    if name in ON_SAMPLES:
        says = f"not compared: it rests on the samples of each run's own models; {states}"
        return Pair(subject, reference, "different runs", says)
    if settings:
        return Pair(subject, reference, "different runs", f"not compared: {'; '.join(settings)}; {states}")
    if not reasons:
        fault = place or "the experiment is the same, what the claim says of it is not"
        return Pair(subject, reference, "failed", f"the bits must be the same: {fault}")
    return _statistical(subject, reference, one, other, reasons)


def compare_claims(ours: RunFolder, theirs: RunFolder) -> list[Pair]:
    """Every claim that both runs measured; none where a run has no claims."""
    if ours.claims is None or theirs.claims is None:
        return []
    kept = {claim["claim"]: claim for claim in theirs.claims.content["claims"] if claim["checks"]}
    return [
        _compare((claim, ours), (kept[claim["claim"]], theirs))
        for claim in ours.claims.content["claims"]
        if claim["checks"] and claim["claim"] in kept
    ]
