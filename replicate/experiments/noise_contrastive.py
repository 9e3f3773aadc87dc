"""Noise-contrastive estimation beside the adversarial game, where p(x) is known (M1, section 2).

The paper claims: noise-contrastive estimation slows down once the model is roughly right, because
its noise stays fixed.

Data are N(0, S) with S_ij = correlation^|i - j|. Three ways learn them, from equal numbers of
samples:

- noise-contrastive estimation (Gutmann & Hyvarinen 2010): log p(x) = -|R^T (x - m)|^2 / 2 + c, with
  R lower triangular and c a parameter of its own, told from the noise N(0, I) by the logit
  log p(x) - log p_noise(x);
- the same with the noise renewed before every update: samples of the model as it stands, with its
  own density as p_noise (Goodfellow 2014, self-contrastive estimation);
- the adversarial game: G(z) = m + L z with z ~ N(0, I), and D with a quadratic logit, in which the
  optimal D lies.

All three models have a density, N(m, C), so their distance to the data is exact: KL(N(0, S) ||
N(m, C)) in nats. Measured: how much longer its fall from a quarter to a sixteenth of the first
distance takes than the fall to a quarter; and the distances at the end.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    PerSeed,
    differences,
    geometric_looks,
)
from replicate.experiments.constants import WAYS
from replicate.experiments.games.player import DECAYS
from replicate.params import OURS, setting
from replicate.progress.loops import steps, task
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

Noise = Literal["fixed", "renewed"]
#: Looks at the distance.
LOOKS = 60
#: The slowdown compares the fall from a quarter to a sixteenth of the first distance with that to a
#: quarter.
QUARTER, SIXTEENTH = 1 / 4, 1 / 16

Parameters = dict[str, Tensor]
#: The distance to the data at every look, rows of one number a seed.
Curve = list[list[float]]


class NoiseContrastiveConfig(ExperimentConfig):
    """The density and the three ways to learn it."""

    dimension: int = setting(8, "of the data", OURS, ge=2)
    correlation: float = setting(
        0.9, "of neighbouring dimensions; each has variance 1, as the noise has", OURS, gt=0, lt=1
    )
    updates: int = setting(4000, "of the model, and of D", OURS, ge=LOOKS)
    batch_size: int = setting(
        256, "samples of the data, and of the noise or of G, per update", OURS, ge=1
    )
    learning_rate: PositiveFloat = setting(
        0.01, "of Adam at the start, for the models and for D; falls linearly to 0", OURS
    )
    generator_rate: PositiveFloat = setting(0.003, "the same for G", OURS)
    decay: NonNegativeFloat = setting(
        0.1,
        "half of it times the squares of D's parameters is added to D's loss",
        "ours: of four settings of the game the one that comes to rest; without it p_g turns "
        "around the data",
    )


# The data, and the distance of a model to it.


def covariance(config: NoiseContrastiveConfig) -> Tensor:
    """S, (dimension, dimension) float64."""
    indices = torch.arange(config.dimension, dtype=torch.float64)
    distances = (indices[:, None] - indices).abs()
    log_correlation = math.log(config.correlation)
    return torch.exp(log_correlation * distances)


def inverse(matrices: Tensor) -> Tensor:
    """The inverses of matrices (seeds, d, d); NaN for a seed whose matrix has none."""
    # `torch.linalg.inv` would end all seeds where one is singular.
    inverses, faults = torch.linalg.inv_ex(matrices)
    is_singular = faults != 0
    known: Tensor = inverses.masked_fill(is_singular[:, None, None], math.nan)
    return known


def divergence(truth: Tensor, mean: Tensor, spread: Tensor) -> list[float]:
    """KL(N(0, truth) || N(mean, spread)) per seed, in nats and float64.

    Args:
        truth: covariance of the data, (d, d).
        mean: (seeds, d).
        spread: covariance of the model, (seeds, d, d).
    """
    mean = mean.double().cpu()
    spread = spread.double().cpu()
    dimension = mean.shape[1]
    precision = inverse(spread)
    product = precision @ truth
    trace = product.diagonal(dim1=1, dim2=2).sum(1)
    shift = torch.einsum("si,sij,sj->s", mean, precision, mean)
    log_determinant_of_precision = torch.logdet(precision)
    log_determinant_of_truth = torch.logdet(truth)
    doubled = trace + shift - dimension - log_determinant_of_precision - log_determinant_of_truth
    divergences = doubled / 2
    return [float(value) for value in divergences]


# Noise-contrastive estimation.


def log_density(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The model's log p(x), not normalised, of x (seeds, n, d): (seeds, n)."""
    # Above the diagonal nothing is learnt: R is triangular, and a density has one such root.
    root = parameters["root"].tril()
    deviations = x - parameters["mean"]
    turned = deviations @ root
    squares = turned.square().sum(2)
    constant = parameters["constant"][..., 0]
    return constant - squares / 2


def model_samples(parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """x = m + R^-T z, samples of the normalised model, from z ~ N(0, I) of (seeds, n, d)."""
    root = parameters["root"].tril()
    turned: Tensor = torch.linalg.solve_triangular(root.mT, z.mT, upper=True)
    return parameters["mean"] + turned.mT


def contrast(parameters: Mapping[str, Tensor], x: Tensor, z: Tensor, noise: Noise) -> Tensor:
    """The loss of noise-contrastive estimation, (seeds,).

    Args:
        x: data, (seeds, n, d).
        z: standard normal numbers that the noise is made of, (seeds, n, d).
        noise: "fixed" for N(0, I), or "renewed" for the model as it stands.
    """
    if noise == "fixed":
        reference = _standard_normal(z)
        drawn = z
    else:
        # The model as it stands; no gradient reaches it by way of the noise.
        reference = {name: value.detach() for name, value in parameters.items()}
        drawn = model_samples(reference, z)
    model_of_real = log_density(parameters, x)
    model_of_noise = log_density(parameters, drawn)
    reference_of_real = log_density(reference, x)
    reference_of_noise = log_density(reference, drawn)
    # D's logit is log p_model - log p_noise: nothing else is learnt.
    real_logits = model_of_real - reference_of_real
    noise_logits = model_of_noise - reference_of_noise
    return discriminator_loss(real_logits, noise_logits)


def _standard_normal(z: Tensor) -> Parameters:
    """The parameters of N(0, I) for numbers like z (seeds, n, d)."""
    dimension = z.shape[2]
    mean = torch.zeros_like(z[:, :1])
    of_seeds = mean[:, 0]
    root = torch.ones_like(of_seeds).diag_embed()
    log_normaliser = -dimension * math.log(2 * math.pi) / 2
    constant = torch.full_like(mean[..., :1], log_normaliser)
    return {"root": root, "mean": mean, "constant": constant}


# The game.


def discriminator_logits(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The logit of D, quadratic in x (seeds, n, d): (seeds, n)."""
    linear = x @ parameters["linear"]
    turned = x @ parameters["quadratic"]
    quadratic = (turned * x).sum(2)
    affine = linear + parameters["constant"]
    return quadratic + affine[..., 0]


def generate(parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """G(z) = m + L z: (seeds, n, d)."""
    factor = parameters["factor"].tril()
    return parameters["mean"] + z @ factor.mT


class Learner:
    """Data, random numbers and the distance; the three ways draw the same data."""

    def __init__(self, config: NoiseContrastiveConfig, streams: Streams) -> None:
        self.config = config
        self.streams = streams
        self.truth = covariance(config)
        root = torch.linalg.cholesky(self.truth)
        self._root = root.to(streams.device, streams.dtype)
        self.looks = geometric_looks(config.updates, LOOKS)

    def _drawn(self, update: int, part: int) -> Tensor:
        count = self.config.batch_size
        dimension = self.config.dimension
        return self.streams.normal("noise", update, count, dimension, part=part)

    def _data(self, update: int) -> Tensor:
        standard = self._drawn(update, 0)
        return torch.matmul(standard, self._root.mT)

    def _rate(self, update: int, start: float) -> float:
        fade = 1 - update / self.config.updates
        return start * fade

    def _start(self) -> tuple[Tensor, Tensor, Tensor]:
        """Per seed the identity (d, d), a mean of 1 in every dimension (1, d), and 0 (1, 1)."""
        streams = self.streams
        shape = (len(streams.seeds), 1, self.config.dimension)
        mean = torch.ones(shape, device=streams.device, dtype=streams.dtype)
        identity = mean[:, 0].diag_embed()
        zero = torch.zeros_like(mean[..., :1])
        return identity, mean, zero

    def estimate(self, noise: Noise) -> Curve:
        """The distance at every look of noise-contrastive estimation."""
        root, mean, constant = self._start()
        # The normaliser is a parameter of its own, and starts at its value for N(m, I).
        constant -= self.config.dimension * math.log(2 * math.pi) / 2
        parameters = {"root": root, "mean": mean, "constant": constant}
        slots = moments(parameters)
        curve: Curve = []
        for update in steps(self.config.updates):
            leaves = _leaves(parameters)
            x = self._data(update)
            z = self._drawn(update, 1)
            loss = contrast(leaves, x, z, noise)
            slopes = _slopes(loss, leaves)
            rate = self._rate(update, self.config.learning_rate)
            adam_step(parameters, slots, slopes, update, rate)
            if update + 1 in self.looks:
                root = parameters["root"].tril().double()
                inverse_root = inverse(root)
                spread = inverse_root.mT @ inverse_root
                mean = parameters["mean"][:, 0]
                distances = divergence(self.truth, mean, spread)
                curve.append(distances)
        return curve

    def play(self) -> Curve:
        """The distance at every look of the adversarial game: an update of D, then one of G."""
        factor, mean, constant = self._start()
        generator = {"factor": factor, "mean": mean}
        discriminator = {
            # D starts at 1/2 everywhere.
            "quadratic": torch.zeros_like(factor),
            "linear": torch.zeros_like(mean.mT),
            "constant": constant,
        }
        slots = moments(generator) | moments(discriminator)
        curve: Curve = []
        for update in steps(self.config.updates):
            leaves = _leaves(discriminator)
            real = self._data(update)
            z = self._drawn(update, 1)
            fake = generate(generator, z)
            loss = self._discriminator_loss(leaves, real, fake)
            slopes = _slopes(loss, leaves)
            rate = self._rate(update, self.config.learning_rate)
            # With a short memory, which suits an objective that moves; estimation keeps Adam's own.
            adam_step(discriminator, slots, slopes, update, rate, DECAYS)
            leaves = _leaves(generator)
            # Fresh z for G: part 1 was D's.
            z = self._drawn(update, 2)
            fake = generate(leaves, z)
            logits = discriminator_logits(discriminator, fake)
            loss = generator_loss(logits, "non_saturating")
            slopes = _slopes(loss, leaves)
            rate = self._rate(update, self.config.generator_rate)
            adam_step(generator, slots, slopes, update, rate, DECAYS)
            if update + 1 in self.looks:
                factor = generator["factor"].tril().double()
                spread = factor @ factor.mT
                mean = generator["mean"][:, 0]
                distances = divergence(self.truth, mean, spread)
                curve.append(distances)
        return curve

    def _discriminator_loss(self, leaves: Parameters, real: Tensor, fake: Tensor) -> Tensor:
        """-V(D, G) and the decay of D's parameters, (seeds,)."""
        real_logits = discriminator_logits(leaves, real)
        fake_logits = discriminator_logits(leaves, fake)
        loss = discriminator_loss(real_logits, fake_logits)
        half_decay = self.config.decay / 2
        squares = [value.square().sum((1, 2)) for value in leaves.values()]
        squared_norm = torch.stack(squares).sum(0)
        return loss + half_decay * squared_norm


def _leaves(parameters: Mapping[str, Tensor]) -> Parameters:
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}


def _slopes(loss: Tensor, leaves: Mapping[str, Tensor]) -> Parameters:
    """Of losses (seeds,), by every leaf.

    Zero where a loss does not depend on it (the constant, with renewed noise).
    """
    tensors = list(leaves.values())
    total = loss.sum()
    # The sum over seeds: no loss depends on another seed's parameters.
    slopes = torch.autograd.grad(total, tensors, materialize_grads=True)
    return dict(zip(leaves, slopes, strict=True))


# The comparison.


def slowdown(looks: Sequence[int], distances: Sequence[float], least: bool = False) -> float | None:
    """log of the updates from a quarter to a sixteenth of the first distance over those to it.

    The updates are interpolated between looks, in logarithms of both. None where a distance is not
    finite, or one of the falls is not reached.

    Args:
        least: a sixteenth that the run does not reach counts as reached at its end: the result is a
            lower bound.
    """
    start = distances[0]
    level_of_quarter = QUARTER * start
    level_of_sixteenth = SIXTEENTH * start
    needed = level_of_quarter if least else level_of_sixteenth
    if not np.isfinite(distances).all() or min(distances) > needed:
        return None
    quarter = _updates_until(looks, distances, level_of_quarter)
    sixteenth = _updates_until(looks, distances, level_of_sixteenth)
    # 1 where the distance falls exponentially: every factor of 4 takes as long.
    ratio = (sixteenth - quarter) / quarter
    return math.log(ratio)


def _updates_until(looks: Sequence[int], distances: Sequence[float], level: float) -> float:
    """The updates after which the distance is `level`; the last look where it never is."""
    reached = [k for k, distance in enumerate(distances) if distance <= level]
    if not reached:
        return float(looks[-1])
    index = reached[0]
    # Between two looks the curve is taken for a straight line in both logarithms.
    log_level = math.log(level)
    before = math.log(distances[index - 1])
    after = math.log(distances[index])
    share = (before - log_level) / (before - after)
    earlier = math.log(looks[index - 1])
    later = math.log(looks[index])
    log_updates = (1 - share) * earlier + share * later
    return math.exp(log_updates)


class NoiseContrastive(Experiment[NoiseContrastiveConfig]):
    """M1.

    Args:
        noise: of the estimation that the statement is about.
    """

    Config = NoiseContrastiveConfig
    statements: ClassVar[tuple[str, ...]] = ("M1",)

    def __init__(self, noise: Noise = "fixed") -> None:
        self._noise: Noise = noise

    def run(
        self,
        config: NoiseContrastiveConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """All three ways; `splits` is not used."""
        learner = Learner(config, Streams(seeds, device))
        curves: dict[str, Curve] = {}
        with task(WAYS["fixed"], 0.3):
            curves["fixed"] = learner.estimate(self._noise)
        with task(WAYS["renewed"], 0.3):
            curves["renewed"] = learner.estimate("renewed")
        with task(WAYS["game"], 0.4):
            curves["game"] = learner.play()
        distances: dict[str, list[PerSeed]] = {}
        for way, curve in curves.items():
            distances[way] = [_finite(row) for row in curve]
        series = {
            "update": learner.looks,
            "distance": distances,
            "dimension": config.dimension,
        }
        return ExperimentResult(_checks(learner.looks, curves), series)


def _finite(row: Sequence[float]) -> PerSeed:
    return [number if math.isfinite(number) else None for number in row]


def _checks(looks: Sequence[int], curves: Mapping[str, Curve]) -> Checks:
    slowdowns: dict[str, PerSeed] = {}
    log_ends: dict[str, PerSeed] = {}
    for way, curve in curves.items():
        is_fixed = way == "fixed"
        of_seeds = list(zip(*curve, strict=True))
        slowdowns[way] = [slowdown(looks, distances, is_fixed) for distances in of_seeds]
        log_ends[way] = [_log_if_finite(distances[-1]) for distances in of_seeds]
    fixed = slowdowns["fixed"]
    return {
        "M1": {
            "slowdown_with_fixed_noise": fixed,
            "slowdown_beyond_that_with_renewed_noise": differences(fixed, slowdowns["renewed"]),
            "slowdown_beyond_that_of_the_game": differences(fixed, slowdowns["game"]),
            "log_ratio_of_distances_at_the_end": differences(log_ends["fixed"], log_ends["game"]),
        }
    }


def _log_if_finite(distance: float) -> float | None:
    return math.log(distance) if np.isfinite(distance) else None


EXPERIMENT = NoiseContrastive()
