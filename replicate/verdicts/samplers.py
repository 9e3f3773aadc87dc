"""What the samplers of a row say together, and why they may tell nothing about the model.

The rules and their thresholds stand in protocol.yaml (`samplers`), the reasons in docs/protocol.md,
section 7.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from replicate.errors import ReplicateError
from replicate.records.schema import (
    MeanWithInterval,
    SamplerComparison,
    SamplerDraw,
    SamplerSettings,
    SamplersOfRow,
    SamplerSummary,
)
from replicate.verdicts.protocol import SamplerRules
from replicate.verdicts.statistics import as_list, mean_interval

#: A number that is measured of every draw.
Measure = Literal["log_likelihood", "effective_samples", "remembered_start", "memorisation"]
#: Seed -> what each of its draws measured.
DrawsOfSeeds = dict[int, Sequence[SamplerDraw]]


def _mean(draws_of_seeds: DrawsOfSeeds, measure: Measure) -> MeanWithInterval:
    """Mean and 95 % interval of a measure, of what is known.

    Draws of one seed share its weights, so that only seeds are independent of each other: with two
    seeds or more both are of the seeds' means. The draws of a single seed stand for themselves.
    """
    values_of_seeds = []
    for draws in draws_of_seeds.values():
        values = _known_values(draws, measure)
        if values:
            values_of_seeds.append(values)
    if not values_of_seeds:
        return {"mean": None, "interval": None}
    values = values_of_seeds[0]
    if len(values_of_seeds) > 1:
        # Draws of a seed are not independent of each other, so a seed counts as one value.
        values = [float(np.mean(of_seed)) for of_seed in values_of_seeds]
    mean = float(np.mean(values))
    interval = mean_interval(values)
    return {"mean": mean, "interval": as_list(interval)}


def _known_values(draws: Sequence[SamplerDraw], measure: Measure) -> list[float]:
    values = []
    for draw in draws:
        value = draw[measure]
        if value is not None:
            values.append(value)
    return values


def _draws_of_seeds(blocks: Sequence[SamplerComparison], name: str) -> DrawsOfSeeds:
    """The draws by a sampler of every seed that did not fail."""
    draws_of_seeds: DrawsOfSeeds = {}
    for block in blocks:
        # Blocks of older kept runs may have been sampled by fewer samplers.
        if name not in block["samplers"]:
            continue
        per_seed = block["samplers"][name]["per_seed"]
        for seed, draws in zip(block["seeds"], per_seed, strict=True):
            if draws is not None:
                draws_of_seeds[seed] = draws
    # By seed and not by block: the rounding of a mean depends on the order.
    return dict(sorted(draws_of_seeds.items()))


def _settings_of(blocks: Sequence[SamplerComparison], name: str) -> SamplerSettings:
    """The settings of a sampler, which all blocks that have it share.

    Raises:
        ReplicateError: one of them ran it otherwise.
    """
    runs = [block["samplers"][name] for block in blocks if name in block["samplers"]]
    first = runs[0]["settings"]
    for run in runs:
        settings = run["settings"]
        # Their values would be of two samplers, whose mean is none's.
        if settings != first:
            raise ReplicateError(
                f"blocks of seeds ran the sampler {name!r} with {settings} and with {first}; run "
                "`samplers` of all of them alike."
            )
    return first


def _summary(blocks: Sequence[SamplerComparison], name: str) -> SamplerSummary:
    """One sampler: its settings, every measure over all seeds, and the mean of each seed."""
    draws_of_seeds = _draws_of_seeds(blocks, name)
    summary: SamplerSummary = {
        "settings": _settings_of(blocks, name),
        "draws": sum(len(draws) for draws in draws_of_seeds.values()),
        "log_likelihood": _mean(draws_of_seeds, "log_likelihood"),
        "effective_samples": _mean(draws_of_seeds, "effective_samples"),
        "remembered_start": _mean(draws_of_seeds, "remembered_start"),
        "memorisation": _mean(draws_of_seeds, "memorisation"),
        "per_seed": [],
    }
    for seed, draws in draws_of_seeds.items():
        values = [draw["log_likelihood"] for draw in draws]
        mean = float(np.mean(values))
        summary["per_seed"].append({"seed": seed, "log_likelihood": mean})
    return summary


def comparison(blocks: Sequence[tuple[str, SamplerComparison]]) -> SamplersOfRow | None:
    """The samplers of one model on one data set; None without a block.

    Args:
        blocks: (file, result of the stage `samplers`) of every block of seeds.

    Raises:
        ReplicateError: blocks ran a sampler of one name in different ways.
    """
    if not blocks:
        return None
    contents = [content for _, content in blocks]
    # A dictionary keeps the order in which blocks name them; a set would not.
    names: dict[str, None] = {}
    for content in contents:
        names |= dict.fromkeys(content["samplers"])
    # Every block has computed it; of equal numbers the mean is the number.
    floors = [content["independent_pixels"] for content in contents]
    return {
        "samplers": {name: _summary(contents, name) for name in names},
        "independent_pixels": float(np.mean(floors)),
        "files": [file for file, _ in blocks],
    }


def _missing(compared: SamplersOfRow, rules: SamplerRules) -> str | None:
    """Which of the samplers that the rules look at has too few draws."""
    for name in (rules.decides, rules.beside, rules.longer):
        summary = compared["samplers"].get(name)
        draws = 0
        if summary is not None:
            draws = summary["draws"]
        if draws < rules.draws:
            return f"the sampler {name} has {draws} draws, and the protocol asks for {rules.draws}"
    return None


def _deviation(compared: SamplersOfRow, model: str, rules: SamplerRules) -> str | None:
    """Which of the samplers that the rules look at ran otherwise than the protocol has it."""
    for name in (rules.decides, rules.beside, rules.longer):
        # Their types differ, and not their content.
        used: Mapping[str, object] = {**compared["samplers"][name]["settings"]}
        for setting, value in rules.rows[model][name].model_dump().items():
            if used[setting] != value:
                words = setting.replace("_", " ")
                return f"the sampler {name} had {words} {used[setting]} instead of {value}"
    return None


def silence(
    compared: SamplersOfRow | None, model: str, rules: SamplerRules, margin: float
) -> str | None:
    """Why the samplers tell nothing about the model, in words; None where they do.

    Args:
        compared: what `comparison` returned.
        model: its name.
        rules: the protocol's.
        margin: the claim margin of the row, nats: how far ten times the burn-in may move the value.
    """
    if compared is None:
        return "its samplers were not compared"
    if missing := _missing(compared, rules):
        return missing
    if deviation := _deviation(compared, model, rules):
        return deviation
    mixed = compared["samplers"][rules.beside]
    longer = compared["samplers"][rules.longer]
    remembered = mixed["remembered_start"]["interval"]
    value, longer_value = mixed["log_likelihood"]["mean"], longer["log_likelihood"]["mean"]
    # The protocol asks for more draws than one, so that there are means and an interval.
    assert remembered is not None
    assert value is not None
    assert longer_value is not None
    # The whole interval has to be small: a mean below the limit may be luck.
    _, upper = remembered
    if upper > rules.remembered_start:
        return (
            "the sampler decides: its chains have not forgotten where they started "
            f"(correlation up to {upper:.2f}, at most {rules.remembered_start:g})"
        )
    move = longer_value - value
    # Either way: chains that drift have not mixed, wherever they drift to.
    if abs(move) > margin:
        return (
            f"the sampler decides: ten times the burn-in moves its value by {move:+.1f} nats "
            f"(at most {margin:g})"
        )
    # What samples reach that draw every pixel on its own, and so know nothing of images.
    floor = compared["independent_pixels"]
    if value <= floor:
        return (
            f"its samples ({value:.1f} nats) are no better than pixels drawn independently "
            f"({floor:.1f} nats)"
        )
    return None


def values_by(compared: SamplersOfRow, name: str) -> list[float]:
    """The mean log-likelihood of every seed by one sampler."""
    summary = compared["samplers"][name]
    return [seed["log_likelihood"] for seed in summary["per_seed"]]
