"""What the run's own samples say: not memorised, not correlated, and drawn without a chain (F2, S1, Table 2).

Memory and correlation: `replicate.samples`, the latter along the chain where there is one. Effective
samples: `replicate.mixing`, and for models without a chain in the order in which they were drawn, as one chain.
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


class SamplingConfig(SampleConfig):
    """How many samples are compared with the data."""

    compared: int = setting(1000, "samples of a model and seed whose nearest image is looked for", OURS, ge=1)


def effective_share(images: Tensor, chains: int) -> float | None:
    """Effective samples per image of (n, dimension); None where the chains are too short to say."""
    found = mixing(images.numpy(), chains).effective_samples
    return None if found is None else found / len(images)


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
        found = {name: measured(models[name], config.compared, train, held_out) for name in each([*models])}
        series = {
            "models": found, "chains": chains, "compared": config.compared, "train": len(train),
            "held_out": len(held_out), "dataset": config.dataset,
        }  # fmt: skip
        return Found(_checks(found, chains, len(seeds)), series)


def _every_family(models: Mapping[str, ModelSamples]) -> None:
    for family, names in FAMILIES.items():
        if not any(name in models for name in names):
            titles = " or ".join(REGISTRY[name][0] for name in names)
            raise NotApplicable(f"the run trains no {titles} on this data set ({family.replace('_', ' ')})")


def _best(
    found: Mapping[str, Mapping[str, list[float | None]]], names: Sequence[str], seeds: int
) -> list[float | None]:
    """Per seed the most effective samples per image of any of these models; None where one of them has no number."""
    columns = [found[name]["effective_share"] for name in names if name in found]
    rows = [[column[k] for column in columns] for k in range(seeds)]
    return [max(value for value in row if value is not None) if None not in row else None for row in rows]


def _combined(
    ones: Sequence[float | None], others: Sequence[float | None], rule: Callable[[float, float], float]
) -> list[float | None]:
    return [None if a is None or b is None else rule(a, b) for a, b in zip(ones, others, strict=True)]


def _log_ratio(one: float, other: float) -> float:
    return math.log(one / other)


def _checks(
    found: Mapping[str, Mapping[str, list[float | None]]], chains: Mapping[str, int | None], seeds: int
) -> Checks:
    ours = found["adversarial_nets"]
    chained = [name for name, count in chains.items() if count is not None]
    correlations = [
        _combined(found[name]["correlation"], ours["correlation"], lambda theirs, own: theirs - own) for name in chained
    ]
    behind = [
        None if None in column else float(np.mean([value for value in column if value is not None]))
        for column in zip(*correlations, strict=True)
    ]
    share = ours["effective_share"]
    against = {
        family: _combined(share, _best(found, FAMILIES[family], seeds), _log_ratio)
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
            "log_ratio_to_the_best_chain": _combined(share, _best(found, chained, seeds), _log_ratio),
        },
        "T2": {
            "effective_samples_of_directed_models": _best(found, FAMILIES["directed"], seeds),
            "effective_samples_of_adversarial_nets": share,
            **{f"log_ratio_to_{family}": values for family, values in against.items()},
        },
    }


EXPERIMENT = Sampling()
