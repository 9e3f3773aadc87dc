"""What the run's own samples say: not memorised, not correlated, and drawn without a chain (F2, S1, Table 2).

Memory and correlation: `replicate.samples`, the latter along the chain where there is one. Effective
samples: `replicate.mixing`, and for models without a chain in the order in which they were drawn, as one chain.

Models are compared by what an effective sample costs: passes of the generator, steps of a chain. A chain's recipe keeps
only every so-manieth state, which makes its images worth more and each of them dearer; so the cost is bounded from both
sides by what the kept images tell, whatever lies between them (`cost`). Burn-in is not counted, in favour of
the chains.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Found,
    ModelSamples,
    NotApplicable,
    SampleConfig,
    SampleStudy,
)
from replicate.loops import each
from replicate.mixing import mixing
from replicate.models import REGISTRY
from replicate.params import OURS, setting
from replicate.samples import correlation, held_out_images, memorisation

#: Families of table 2 of the paper, by the models that this project has of them.
FAMILIES: dict[str, tuple[str, ...]] = {
    "directed": ("vae",),
    "undirected": ("rbm", "dbm"),
    "generative_autoencoders": ("denoising_autoencoder", "stacked_cae", "deep_gsn"),
    "adversarial": ("adversarial_nets",),
}


#: Where the bounds of a chain's cost leave both sides open: the doublings that the rules ask for.
OPEN = 1.0
#: Correlations of consecutive images that are smaller are taken for none: they are of the size of their own noise.
NO_CORRELATION = 0.05

#: What an effective sample costs, in passes or steps: at the least and at the most.
Cost = tuple[float, float]


class SamplingConfig(SampleConfig):
    """How many samples are compared with the data."""

    compared: int = setting(1000, "samples of a model and seed whose nearest image is looked for", OURS, ge=1)


def effective_share(images: Tensor, chains: int) -> float | None:
    """Effective samples per image of (n, dimension); None where the chains are too short to say."""
    found = mixing(images.numpy(), chains).effective_samples
    return None if found is None else found / len(images)


def least_steps(correlation: float, steps: int) -> float:
    """The fewest steps of a reversible chain per effective sample, from the correlation r of images `steps` = t apart.

    With the spectrum mu of the chain on [0, 1) (Geyer 1992, section 2), r is the mean of u = l^t over mu, and what is
    asked for the mean of h(u) = (1 + l) / (1 - l) (the integrated autocorrelation time). The least that r allows is the
    convex hull of h at r: up to l = (t - 1) / t the tangent from h(0) = 1, from there on h itself.
    """
    if correlation < ((steps - 1) / steps) ** steps:
        return 1 + 2 * correlation * steps * math.pow(steps / (steps - 1), steps - 1)
    root = math.exp(math.log(correlation) / steps) if correlation > 0 else 0.0
    return (1 + root) / (1 - root)


def cost(correlation: float | None, share: float | None, steps: int | None) -> Cost | None:
    """Steps, or passes, per effective sample, at the least and at the most; None where chains are too short to say.

    Args:
        correlation: of consecutive images of a chain.
        share: effective samples per image.
        steps: of a chain from one image to the next; None of images that come from no chain, of a pass each.
    """
    if share is None:
        return None
    if steps is None:
        return 1 / share, 1 / share
    if correlation is None:
        return None
    most = steps / share
    return min(least_steps(correlation if correlation > NO_CORRELATION else 0.0, steps), most), most


def measured(model: ModelSamples, compared: int, train: Tensor, held_out: Tensor) -> dict[str, list[float | None]]:
    """Every number per seed; None where the seed failed."""
    values: dict[str, list[float | None]] = {"memorisation": [], "correlation": [], "effective_share": []}
    for seed in each([*model.images], "seed {}"):
        images = model.images[seed]
        if images is None:
            for column in values.values():
                column.append(None)
            continue
        values["memorisation"].append(memorisation(images[:compared], train, held_out))
        values["correlation"].append(correlation(images, model.chains or 1))
        values["effective_share"].append(effective_share(images, model.chains or 1))
    return values


class Sampling(SampleStudy):
    """F2, S1 and T2.

    Args:
        seen: what is judged in place of the samples of the adversarial nets.
    """

    Config = SamplingConfig
    claims: ClassVar[tuple[str, ...]] = ("F2", "S1", "T2")

    def __init__(self, seen: Callable[[Tensor, Tensor], Tensor] = lambda samples, train: samples) -> None:
        self._seen = seen

    def judge(
        self, config: SamplingConfig, models: Mapping[str, ModelSamples], seeds: Sequence[int], splits: Splits
    ) -> Found:
        """Looks at every model of the run on the data set."""
        _every_family(models)
        train = torch.from_numpy(splits.flat("train"))
        held_out = held_out_images(splits)
        ours = models["adversarial_nets"]
        seen = {s: None if images is None else self._seen(images, train) for s, images in ours.images.items()}
        models = {**models, "adversarial_nets": ModelSamples(seen, ours.chains)}
        chains = {name: model.chains for name, model in models.items()}
        steps = {name: model.steps for name, model in models.items()}
        found = {name: measured(models[name], config.compared, train, held_out) for name in each([*models])}
        series = {
            "models": found, "chains": chains, "steps": steps, "compared": config.compared, "train": len(train),
            "held_out": len(held_out), "dataset": config.dataset,
        }  # fmt: skip
        return Found(_checks(found, models, len(seeds)), series)


def _every_family(models: Mapping[str, ModelSamples]) -> None:
    for family, names in FAMILIES.items():
        if not any(name in models for name in names):
            titles = " or ".join(REGISTRY[name][0] for name in names)
            raise NotApplicable(f"the run trains no {titles} on this data set ({family.replace('_', ' ')})")


def _shares(
    found: Mapping[str, Mapping[str, list[float | None]]], names: Sequence[str], seeds: int
) -> list[float | None]:
    """Per seed the most effective samples per image of any of these models; None where one of them has no number."""
    columns = [found[name]["effective_share"] for name in names if name in found]
    rows = [[column[k] for column in columns] for k in range(seeds)]
    return [max(value for value in row if value is not None) if None not in row else None for row in rows]


def _costs(found: Mapping[str, list[float | None]], model: ModelSamples) -> list[Cost | None]:
    steps = None if model.chains is None else model.steps
    pairs = zip(found["correlation"], found["effective_share"], strict=True)
    return [cost(correlation, share, steps) for correlation, share in pairs]


def _cheapest(costs: Sequence[Cost | None]) -> Cost | None:
    """The bounds of the cheapest of some models; None where one of them has none."""
    known = [bounds for bounds in costs if bounds is not None]
    if len(known) < len(costs):
        return None
    return min(least for least, _ in known), min(most for _, most in known)


def dearer(chain: Cost, passes: float) -> float:
    """Doublings from so many passes to a chain's cost: of all that its bounds allow the number nearest to `OPEN`."""
    least, most = (math.log2(bound / passes) for bound in chain)
    return min(max(OPEN, least), most)


def _combined(
    ones: Sequence[float | None], others: Sequence[float | None], rule: Callable[[float, float], float]
) -> list[float | None]:
    return [None if a is None or b is None else rule(a, b) for a, b in zip(ones, others, strict=True)]


def _checks(
    found: Mapping[str, Mapping[str, list[float | None]]], models: Mapping[str, ModelSamples], seeds: int
) -> Checks:
    ours = found["adversarial_nets"]
    chained = [name for name, model in models.items() if model.chains is not None]
    correlations = [
        _combined(found[name]["correlation"], ours["correlation"], lambda theirs, own: theirs - own) for name in chained
    ]
    behind = [
        None if None in column else float(np.mean([value for value in column if value is not None]))
        for column in zip(*correlations, strict=True)
    ]
    share = ours["effective_share"]

    def against(names: Sequence[str]) -> list[float | None]:
        """Per seed the doublings from our cost of an effective sample to that of the cheapest of these models."""
        of_models = [_costs(found[name], models[name]) for name in names]
        cheapest = [_cheapest([costs[k] for costs in of_models]) for k in range(seeds)]
        return [
            None if theirs is None or own is None else dearer(theirs, 1 / own)
            for theirs, own in zip(cheapest, share, strict=True)
        ]

    of_family = {
        family: [name for name in FAMILIES[family] if name in found]
        for family in ("undirected", "generative_autoencoders")
    }
    return {
        "F2": {
            "memorisation": ours["memorisation"],
            "size_of_the_correlation": [None if value is None else abs(value) for value in ours["correlation"]],
            "correlation_of_chain_models_beyond_theirs": behind,
        },
        "S1": {
            "effective_samples_per_image": share,
            "doublings_to_the_cheapest_chain": against(chained),
        },
        "T2": {
            "effective_samples_of_directed_models": _shares(found, FAMILIES["directed"], seeds),
            "effective_samples_of_adversarial_nets": share,
            **{f"doublings_to_{family}": against(names) for family, names in of_family.items()},
        },
    }


EXPERIMENT = Sampling()
