"""The run's own samples: not memorised, not correlated, drawn without a chain (F2, S1, Table 2).

The paper claims: random samples are not memorised training images, and are uncorrelated (Figure 2);
no Markov chain is needed to sample (section 6); directed models and adversarial nets are sampled
without difficulty, undirected models and generative autoencoders need Markov chains (Table 2).

Measured: memory and correlation (`replicate.diagnostics.samples`), the latter along the chain where
there is one; and effective samples (`replicate.diagnostics.effective_samples`), for models without
a chain in the order in which they were drawn, as one chain. Models are compared by what an
effective sample costs: passes of the generator, or steps of a chain. A chain's recipe keeps only
some of the states, which makes its images worth more and each of them dearer. So the cost is
bounded from both sides by what the kept images say, whatever lies between them (`cost`). Burn-in is
not counted, in favour of the chains.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.effective_samples import mixing
from replicate.diagnostics.samples import correlation, held_out_images, memorisation
from replicate.experiments.base import (
    Checks,
    ExperimentResult,
    ModelSamples,
    NotApplicable,
    PerSeed,
    SampleConfig,
    SampleStudy,
    differences,
)
from replicate.models import REGISTRY
from replicate.params import OURS, setting
from replicate.progress.loops import each

#: Families of Table 2 of the paper, by the models that this project has of them.
FAMILIES: dict[str, tuple[str, ...]] = {
    "directed": ("vae",),
    "undirected": ("rbm", "dbm"),
    "generative_autoencoders": ("denoising_autoencoder", "stacked_cae", "deep_gsn"),
    "adversarial": ("adversarial_nets",),
}

#: Where the bounds of a chain's cost leave both sides open: the doublings that the rules ask for.
OPEN = 1.0
#: Smaller correlations of consecutive images are taken for none: they are of the size of their own
#: noise.
NO_CORRELATION = 0.05


class SamplingConfig(SampleConfig):
    """How many samples are compared with the data."""

    compared: int = setting(
        1000, "samples of a model and seed whose nearest image is looked for", OURS, ge=1
    )


class Cost(NamedTuple):
    """What an effective sample costs, in passes of a generator or steps of a chain."""

    least: float
    most: float


class SampleMeasures(TypedDict):
    """Measures of a model's samples, one number a seed."""

    memorisation: PerSeed
    correlation: PerSeed
    effective_share: PerSeed


#: Model -> the measures of its samples.
ModelMeasures = Mapping[str, SampleMeasures]


def sample_measures(
    model: ModelSamples, compared: int, train: Tensor, held_out: Tensor
) -> SampleMeasures:
    """Every measure per seed; None where the seed failed.

    Args:
        compared: samples whose nearest image is looked for.
        train: training images, (n, dimension).
        held_out: as many images that no model has seen.
    """
    remembered: PerSeed = []
    correlations: PerSeed = []
    effective_shares: PerSeed = []
    # Independent images are read as one chain, in the order in which they were drawn.
    chains = model.chains or 1
    for seed in each([*model.images], "seed {}"):
        images = model.images[seed]
        if images is None:
            remembered.append(None)
            correlations.append(None)
            effective_shares.append(None)
            continue
        share_of_copies = memorisation(images[:compared], train, held_out)
        remembered.append(share_of_copies)
        # At the lag of the number of chains: image i + chains is the next one of the same chain.
        correlations.append(correlation(images, chains))
        effective_shares.append(effective_share(images, chains))
    return {
        "memorisation": remembered,
        "correlation": correlations,
        "effective_share": effective_shares,
    }


def effective_share(images: Tensor, chains: int) -> float | None:
    """Effective samples per image of (n, dimension); None where the chains are too short to say."""
    effective_samples = mixing(images.numpy(), chains).effective_samples
    if effective_samples is None:
        return None
    return effective_samples / len(images)


def least_steps(correlation: float, steps: int) -> float:
    """The fewest steps of a reversible chain per effective sample, by its images' correlation.

    With the spectrum mu of the chain on [0, 1) (Geyer 1992, section 2), the correlation r of images
    t = `steps` apart is the mean of u = l^t over mu, and the number sought the mean of h(u) = (1 +
    l) / (1 - l) (the integrated autocorrelation time). The least that r allows is the convex hull
    of h at r: up to l = (t - 1) / t the tangent from h(0) = 1, from there on h itself. Where r is
    1, or differs from it by rounding, it is infinite: such chains stand still.
    """
    share_of_step = (steps - 1) / steps
    if correlation < share_of_step**steps:
        # Below the point where the tangent from h(0) touches h.
        excess = correlation * steps * math.pow(steps / (steps - 1), steps - 1)
        return 1 + 2 * excess
    # Where images are not correlated (or negatively), a step per sample is the least there is.
    root = 0.0
    if correlation > 0:
        log_root = math.log(correlation) / steps
        root = math.exp(log_root)
    return (1 + root) / (1 - root) if root < 1 else math.inf


def cost(correlation: float | None, share: float | None, steps: int | None) -> Cost | None:
    """The cost of an effective sample; None where chains are too short to say.

    Args:
        correlation: of consecutive images of a chain.
        share: effective samples per image.
        steps: of a chain from one image to the next; None for images that come from no chain, of a
            pass each.
    """
    if share is None:
        return None
    if steps is None:
        return Cost(1 / share, 1 / share)
    if correlation is None:
        return None
    most = steps / share
    # What may be noise counts as none, in favour of the chains.
    least = least_steps(correlation if correlation > NO_CORRELATION else 0.0, steps)
    return Cost(min(least, most), most)


def doublings(chain: Cost, passes: float) -> float:
    """Doublings from so many passes to a chain's cost.

    Of all numbers that the bounds of the cost allow, the one nearest to `OPEN`.
    """
    least = math.log2(chain.least / passes)
    most = math.log2(chain.most / passes)
    # `OPEN` where the bounds allow both verdicts: such a seed decides nothing.
    return min(max(OPEN, least), most)


class Sampling(SampleStudy[SamplingConfig]):
    """F2, S1 and T2.

    Args:
        substitute: what is measured in place of the samples of the adversarial nets.
    """

    Config = SamplingConfig
    statements: ClassVar[tuple[str, ...]] = ("F2", "S1", "T2")

    def __init__(
        self, substitute: Callable[[Tensor, Tensor], Tensor] = lambda samples, train: samples
    ) -> None:
        self._substitute = substitute

    def measure(
        self,
        config: SamplingConfig,
        models: Mapping[str, ModelSamples],
        seeds: Sequence[int],
        splits: Splits,
    ) -> ExperimentResult:
        """Looks at every model of the run on the data set."""
        # Before any measuring: without a family of Table 2 nothing can be said of it.
        _check_families(models)
        train = torch.from_numpy(splits.flat("train"))
        held_out = held_out_images(splits)
        models = {**models, "adversarial_nets": self._measured_nets(models, train)}
        measures: dict[str, SampleMeasures] = {}
        for name in each([*models]):
            measures[name] = sample_measures(models[name], config.compared, train, held_out)
        chains: dict[str, int | None] = {}
        steps: dict[str, int] = {}
        for name, model in models.items():
            chains[name] = model.chains
            steps[name] = model.steps
        series = {
            "models": measures,
            "chains": chains,
            "steps": steps,
            "compared": config.compared,
            "train": len(train),
            "held_out": len(held_out),
            "dataset": config.dataset,
        }
        return ExperimentResult(_checks(measures, models, len(seeds)), series)

    def _measured_nets(self, models: Mapping[str, ModelSamples], train: Tensor) -> ModelSamples:
        """What is measured in place of the samples of the adversarial nets."""
        nets = models["adversarial_nets"]
        images: dict[int, Tensor | None] = {}
        for seed, samples in nets.images.items():
            if samples is None:
                images[seed] = None
            else:
                images[seed] = self._substitute(samples, train)
        return ModelSamples(images, nets.chains)


def _check_families(models: Mapping[str, ModelSamples]) -> None:
    """Refuses a run that lacks a whole family of Table 2."""
    for family, names in FAMILIES.items():
        trained = [name for name in names if name in models]
        if not trained:
            titles = [REGISTRY[name][0] for name in names]
            choices = " or ".join(titles)
            family_title = family.replace("_", " ")
            raise NotApplicable(f"the run trains no {choices} on this data set ({family_title})")


def _checks(measures: ModelMeasures, models: Mapping[str, ModelSamples], seeds: int) -> Checks:
    nets = measures["adversarial_nets"]
    chained = [name for name, model in models.items() if model.chains is not None]
    share = nets["effective_share"]

    def doublings_to(names: Sequence[str]) -> PerSeed:
        return _doublings_to_cheapest(measures, models, names)

    return {
        "F2": {
            "memorisation": nets["memorisation"],
            "size_of_the_correlation": [
                None if value is None else abs(value) for value in nets["correlation"]
            ],
            "correlation_of_chain_models_beyond_theirs": _correlation_excess(measures, chained),
        },
        "S1": {
            "effective_samples_per_image": share,
            "doublings_to_the_cheapest_chain": doublings_to(chained),
        },
        "T2": {
            "effective_samples_of_directed_models": _largest_shares(
                measures, _of_family("directed", measures), seeds
            ),
            "effective_samples_of_adversarial_nets": share,
            "doublings_to_undirected": doublings_to(_of_family("undirected", measures)),
            "doublings_to_generative_autoencoders": doublings_to(
                _of_family("generative_autoencoders", measures)
            ),
        },
    }


def _of_family(family: str, measures: ModelMeasures) -> list[str]:
    return [name for name in FAMILIES[family] if name in measures]


def _correlation_excess(measures: ModelMeasures, chained: Sequence[str]) -> PerSeed:
    """Per seed the mean over chain models of their correlation less that of adversarial nets."""
    nets = measures["adversarial_nets"]["correlation"]
    columns = []
    for name in chained:
        of_model = measures[name]["correlation"]
        columns.append(differences(of_model, nets))
    excess: PerSeed = []
    for excesses in zip(*columns, strict=True):
        known = [value for value in excesses if value is not None]
        # Averaging only the models that survived would bias the mean.
        if len(known) == len(excesses):
            excess.append(float(np.mean(known)))
        else:
            excess.append(None)
    return excess


def _largest_shares(measures: ModelMeasures, names: Sequence[str], seeds: int) -> PerSeed:
    """Per seed the most effective samples per image of any of these models.

    None where one of them has no number.
    """
    largest: PerSeed = []
    for seed_index in range(seeds):
        shares = [measures[name]["effective_share"][seed_index] for name in names]
        known = [share for share in shares if share is not None]
        # The largest of those that are known may not be the largest.
        if len(known) == len(shares):
            largest.append(max(known))
        else:
            largest.append(None)
    return largest


def _doublings_to_cheapest(
    measures: ModelMeasures, models: Mapping[str, ModelSamples], names: Sequence[str]
) -> PerSeed:
    """Per seed the doublings from our cost of an effective sample to the cheapest model's."""
    costs = {name: _costs(measures[name], models[name]) for name in names}
    shares = measures["adversarial_nets"]["effective_share"]
    result: PerSeed = []
    for seed_index, share in enumerate(shares):
        costs_of_seed = [costs[name][seed_index] for name in names]
        cheapest = _cheapest(costs_of_seed)
        if cheapest is None or share is None:
            result.append(None)
            continue
        # A sample of ours costs one pass; so many of them are worth one that is independent.
        passes = 1 / share
        result.append(doublings(cheapest, passes))
    return result


def _costs(measures: SampleMeasures, model: ModelSamples) -> list[Cost | None]:
    steps = None if model.chains is None else model.steps
    costs = []
    pairs = zip(measures["correlation"], measures["effective_share"], strict=True)
    for correlation_of_seed, share in pairs:
        cost_of_seed = cost(correlation_of_seed, share, steps)
        costs.append(cost_of_seed)
    return costs


def _cheapest(costs: Sequence[Cost | None]) -> Cost | None:
    """The bounds of the cheapest of some models; None where one of them has none."""
    known = [bounds for bounds in costs if bounds is not None]
    if len(known) < len(costs):
        return None
    least = min(bounds.least for bounds in known)
    most = min(bounds.most for bounds in known)
    return Cost(least, most)


EXPERIMENT = Sampling()
