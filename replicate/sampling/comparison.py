"""What the samplers of a row say together: a summary of each, and why they may say nothing of the model.

The rules and their thresholds stand in protocol.yaml (`samplers`), the reasons in docs/protocol.md, section 7.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from replicate.protocol import SamplerRules
from replicate.statistics import mean_interval

#: What is measured of every draw.
MEASURES = ("log_likelihood", "effective_samples", "remembered_start", "memorisation")


def _mean(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and 95 % interval of what is known."""
    known = [value for value in values if value is not None]
    interval = mean_interval(known)
    return {"mean": float(np.mean(known)) if known else None, "interval": list(interval) if interval else None}


def _seeds(blocks: Sequence[Mapping[str, Any]], name: str) -> dict[int, Sequence[Mapping[str, Any]]]:
    """Seed -> what each draw by a sampler measured; seeds that failed are left out."""
    found: dict[int, Sequence[Mapping[str, Any]]] = {}
    for block in blocks:
        if name in block["samplers"]:
            of_seeds = zip(block["seeds"], block["samplers"][name]["per_seed"], strict=True)
            found |= {seed: draws for seed, draws in of_seeds if draws is not None}
    return dict(sorted(found.items()))


def _summary(blocks: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    """One sampler: its settings, every measure over all draws of all seeds, and the mean of each seed."""
    of_seeds = _seeds(blocks, name)
    draws = [draw for of_seed in of_seeds.values() for draw in of_seed]
    settings = next(block["samplers"][name]["settings"] for block in blocks if name in block["samplers"])
    return {
        "settings": settings,
        "draws": len(draws),
        **{measure: _mean([draw[measure] for draw in draws]) for measure in MEASURES},
        "per_seed": [
            {"seed": seed, "log_likelihood": float(np.mean([draw["log_likelihood"] for draw in of_seed]))}
            for seed, of_seed in of_seeds.items()
        ],
    }


def comparison(blocks: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any] | None:
    """The samplers of one model on one data set.

    Args:
        blocks: (file, result of the stage `samplers`) of every block of seeds.

    Returns:
        `samplers`: name -> summary, `independent_pixels`: the value without a model, `files`; None without a block.
    """
    if not blocks:
        return None
    contents = [content for _, content in blocks]
    names = dict.fromkeys(name for content in contents for name in content["samplers"])
    return {
        "samplers": {name: _summary(contents, name) for name in names},
        "independent_pixels": float(np.mean([content["independent_pixels"] for content in contents])),
        "files": [file for file, _ in blocks],
    }


def _missing(compared: Mapping[str, Any], rules: SamplerRules) -> str | None:
    """Which of the samplers that the rules look at has too few draws."""
    for name in (rules.decides, rules.beside, rules.longer):
        draws = compared["samplers"].get(name, {}).get("draws", 0)
        if draws < rules.draws:
            return f"the sampler {name} has {draws} draws, and the protocol asks for {rules.draws}"
    return None


def silence(compared: Mapping[str, Any] | None, rules: SamplerRules, margin: float) -> str | None:
    """Why the samplers say nothing of the model, in words; None where they do.

    Args:
        compared: what `comparison` returned.
        rules: the protocol's.
        margin: the claim margin of the row, nats: how far ten times the burn-in may move the value.
    """
    if compared is None:
        return "its samplers were not compared"
    if missing := _missing(compared, rules):
        return missing
    mixed, longer = compared["samplers"][rules.beside], compared["samplers"][rules.longer]
    remembered = mixed["remembered_start"]["interval"][1]
    if remembered > rules.remembered_start:
        return (
            f"the sampler decides: its chains have not forgotten where they started (correlation up to "
            f"{remembered:.2f}, at most {rules.remembered_start:g})"
        )
    move = longer["log_likelihood"]["mean"] - mixed["log_likelihood"]["mean"]
    if abs(move) > margin:
        return f"the sampler decides: ten times the burn-in moves its value by {move:+.1f} nats (at most {margin:g})"
    if mixed["log_likelihood"]["mean"] <= compared["independent_pixels"]:
        return (
            f"its samples ({mixed['log_likelihood']['mean']:.1f} nats) are no better than pixels drawn independently "
            f"({compared['independent_pixels']:.1f} nats)"
        )
    return None


def values_by(compared: Mapping[str, Any], name: str) -> list[float]:
    """The mean log-likelihood of every seed by one sampler."""
    return [seed["log_likelihood"] for seed in compared["samplers"][name]["per_seed"]]
