"""Noise-contrastive estimation beside the adversarial game, on a density with a known p(x) (M1, section 2).

Data are N(0, S) with S_ij = correlation^|i - j|. Three ways to learn them, from equal numbers of samples:

- noise-contrastive estimation (Gutmann & Hyvarinen 2010): log p(x) = -|R^T (x - m)|^2 / 2 + c, R lower triangular, c a
  parameter of its own, told from the noise N(0, I) by the logit log p(x) - log p_noise(x);
- the same with the noise renewed before every update: samples of the model as it stands, its own density as p_noise
  (Goodfellow 2014, self-contrastive estimation);
- the adversarial game: G(z) = m + L z with z ~ N(0, I), and D with a quadratic logit, in which the optimal D lies.

All three models have a density, N(m, C), and the distance is exact: KL(N(0, S) || N(m, C)) in nats.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Checks, Experiment, ExperimentConfig, Found
from replicate.experiments.fixed.noise_contrastive import WAYS
from replicate.loops import steps, task
from replicate.params import OURS, setting
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

Noise = Literal["fixed", "renewed"]
#: Looks at the distance.
LOOKS = 60
#: The slowdown compares the fall from a quarter to a sixteenth of the first distance with that to a quarter.
FALLS = (1 / 4, 1 / 16)
#: Adam's decays in the game (Radford et al. 2016, section 4).
DECAYS = (0.5, 0.999)

Parameters = dict[str, Tensor]


class NoiseContrastiveConfig(ExperimentConfig):
    """The density and the three ways to learn it."""

    dimension: int = setting(8, "of the data", OURS, ge=2)
    correlation: float = setting(
        0.9, "of neighbouring dimensions; each has variance 1, as the noise has", OURS, gt=0, lt=1
    )
    updates: int = setting(4000, "of the model, and of D", OURS, ge=LOOKS)
    batch_size: int = setting(256, "samples of the data, and of the noise or of G, per update", OURS, ge=1)
    learning_rate: PositiveFloat = setting(
        0.01, "of Adam at the start, for the models and for D; falls linearly to 0", OURS
    )
    generator_rate: PositiveFloat = setting(0.003, "the same for G", OURS)
    decay: NonNegativeFloat = setting(
        0.1, "half of it times the squares of D's parameters is added to D's loss",
        "ours: of four settings of the game the one that comes to rest; without it p_g turns around the data",
    )  # fmt: skip


def covariance(config: NoiseContrastiveConfig) -> Tensor:
    """S, (dimension, dimension) float64."""
    places = torch.arange(config.dimension, dtype=torch.float64)
    return torch.exp(math.log(config.correlation) * (places[:, None] - places).abs())


def divergence(truth: Tensor, mean: Tensor, spread: Tensor) -> list[float]:
    """KL(N(0, truth) || N(mean, spread)) in nats, for mean (seeds, d) and spread (seeds, d, d), in float64."""
    mean, precision = mean.double().cpu(), torch.linalg.inv(spread.double().cpu())
    trace = (precision @ truth).diagonal(dim1=1, dim2=2).sum(1)
    shift = torch.einsum("si,sij,sj->s", mean, precision, mean)
    found = (trace + shift - mean.shape[1] - torch.logdet(precision) - torch.logdet(truth)) / 2
    return [float(value) for value in found]


def log_density(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The model's log p(x), not normalised, of x (seeds, n, d): (seeds, n)."""
    turned = (x - parameters["mean"]) @ parameters["root"].tril()
    return parameters["constant"][..., 0] - turned.square().sum(2) / 2


def model_samples(parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """x = m + R^-T z, samples of the normalised model, from z ~ N(0, I) of (seeds, n, d)."""
    turned: Tensor = torch.linalg.solve_triangular(parameters["root"].tril().mT, z.mT, upper=True)
    return parameters["mean"] + turned.mT


def contrast(parameters: Mapping[str, Tensor], x: Tensor, z: Tensor, noise: Noise) -> Tensor:
    """The loss of noise-contrastive estimation, (seeds,), on data x and noise made of z, both (seeds, n, d)."""
    if noise == "fixed":
        drawn, mean = z, torch.zeros_like(z[:, :1])
        constant = torch.full_like(mean[..., :1], -x.shape[2] * math.log(2 * math.pi) / 2)
        reference = {"root": torch.ones_like(mean[:, 0]).diag_embed(), "mean": mean, "constant": constant}
    else:
        reference = {name: value.detach() for name, value in parameters.items()}
        drawn = model_samples(reference, z)
    logits = [log_density(parameters, rows) - log_density(reference, rows) for rows in (x, drawn)]
    return discriminator_loss(*logits)


def opinion(parameters: Mapping[str, Tensor], x: Tensor) -> Tensor:
    """The logit of D, quadratic in x (seeds, n, d): (seeds, n)."""
    linear = x @ parameters["linear"]
    return ((x @ parameters["quadratic"]) * x).sum(2) + (linear + parameters["constant"])[..., 0]


def generate(parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
    """G(z) = m + L z: (seeds, n, d)."""
    return parameters["mean"] + z @ parameters["factor"].tril().mT


class Learner:
    """Data, random numbers and the distance; the three ways draw the same data."""

    def __init__(self, config: NoiseContrastiveConfig, streams: Streams) -> None:
        self.config, self.streams = config, streams
        self.truth = covariance(config)
        self._root = torch.linalg.cholesky(self.truth).to(streams.device, streams.dtype)
        self.looks = sorted({round(config.updates ** (k / (LOOKS - 1))) for k in range(LOOKS)})

    def _drawn(self, update: int, part: int) -> Tensor:
        return self.streams.normal("noise", update, self.config.batch_size, self.config.dimension, part=part)

    def _rate(self, update: int, start: float) -> float:
        return start * (1 - update / self.config.updates)

    def _start(self) -> tuple[Tensor, Tensor, Tensor]:
        """The identity, a mean of 1 in every dimension, and 0: (seeds, d, d), (seeds, 1, d), (seeds, 1, 1)."""
        shape = (len(self.streams.seeds), 1, self.config.dimension)
        mean = torch.ones(shape, device=self.streams.device, dtype=self.streams.dtype)
        return mean[:, 0].diag_embed(), mean, torch.zeros_like(mean[..., :1])

    def _data(self, update: int) -> Tensor:
        return torch.matmul(self._drawn(update, 0), self._root.mT)

    def estimate(self, noise: Noise) -> list[list[float]]:
        """The distance at every look, (looks, seeds), of noise-contrastive estimation."""
        root, mean, constant = self._start()
        constant -= self.config.dimension * math.log(2 * math.pi) / 2
        parameters = {"root": root, "mean": mean, "constant": constant}
        slots, found = moments(parameters), []
        for update in steps(self.config.updates):
            leaves = _leaves(parameters)
            loss = contrast(leaves, self._data(update), self._drawn(update, 1), noise)
            rate = self._rate(update, self.config.learning_rate)
            adam_step(parameters, slots, _slopes(loss, leaves), update, rate)
            if update + 1 in self.looks:
                inverse = torch.linalg.inv(parameters["root"].tril().double())
                found.append(divergence(self.truth, parameters["mean"][:, 0], inverse.mT @ inverse))
        return found

    def play(self) -> list[list[float]]:
        """The distance at every look, (looks, seeds), of the adversarial game: an update of D, then one of G."""
        factor, mean, constant = self._start()
        generator = {"factor": factor, "mean": mean}
        judge = {"quadratic": torch.zeros_like(factor), "linear": torch.zeros_like(mean.mT), "constant": constant}
        slots, found = moments(generator) | moments(judge), []
        for update in steps(self.config.updates):
            leaves = _leaves(judge)
            made = generate(generator, self._drawn(update, 1))
            loss = discriminator_loss(opinion(leaves, self._data(update)), opinion(leaves, made))
            loss = loss + self.config.decay / 2 * torch.stack(
                [value.square().sum((1, 2)) for value in leaves.values()]
            ).sum(0)
            adam_step(
                judge, slots, _slopes(loss, leaves), update, self._rate(update, self.config.learning_rate), DECAYS
            )
            leaves = _leaves(generator)
            loss = generator_loss(opinion(judge, generate(leaves, self._drawn(update, 2))), "non_saturating")
            adam_step(
                generator, slots, _slopes(loss, leaves), update, self._rate(update, self.config.generator_rate), DECAYS
            )
            if update + 1 in self.looks:
                root = generator["factor"].tril().double()
                found.append(divergence(self.truth, generator["mean"][:, 0], root @ root.mT))
        return found


def _leaves(parameters: Mapping[str, Tensor]) -> Parameters:
    return {name: value.detach().requires_grad_() for name, value in parameters.items()}


def _slopes(loss: Tensor, leaves: Mapping[str, Tensor]) -> Parameters:
    """Of losses (seeds,), by every leaf; zero where a loss does not depend on it (the constant, with renewed noise)."""
    found = torch.autograd.grad(loss.sum(), list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def slowdown(looks: Sequence[int], distances: Sequence[float], least: bool = False) -> float | None:
    """log of the updates from a quarter to a sixteenth of the first distance, over those to a quarter.

    Updates are interpolated between looks, in logarithms of both. None where a distance is not finite, or one of the
    falls is not reached.

    Args:
        least: a sixteenth that the run does not reach counts as reached at its end: the result is a lower bound.
    """
    if not np.isfinite(distances).all() or min(distances) > FALLS[not least] * distances[0]:
        return None
    quarter, sixteenth = (_reached(looks, distances, share * distances[0]) for share in FALLS)
    return math.log((sixteenth - quarter) / quarter)


def _reached(looks: Sequence[int], distances: Sequence[float], level: float) -> float:
    place = next((k for k, distance in enumerate(distances) if distance <= level), None)
    if place is None:
        return float(looks[-1])
    before, after = math.log(distances[place - 1]), math.log(distances[place])
    share = (before - math.log(level)) / (before - after)
    return math.exp((1 - share) * math.log(looks[place - 1]) + share * math.log(looks[place]))


def _less(ones: Sequence[float | None], others: Sequence[float | None]) -> list[float | None]:
    return [None if a is None or b is None else a - b for a, b in zip(ones, others, strict=True)]


class NoiseContrastive(Experiment):
    """M1.

    Args:
        noise: of the estimation that the claim is about.
    """

    Config = NoiseContrastiveConfig
    claims: ClassVar[tuple[str, ...]] = ("M1",)

    def __init__(self, noise: Noise = "fixed") -> None:
        self._noise = noise

    def run(
        self, config: NoiseContrastiveConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None
    ) -> Found:
        """All three ways; `splits` is not used."""
        learner = Learner(config, Streams(seeds, device))
        curves = {}
        with task(WAYS["fixed"], 0.3):
            curves["fixed"] = learner.estimate(self._noise)
        with task(WAYS["renewed"], 0.3):
            curves["renewed"] = learner.estimate("renewed")
        with task(WAYS["game"], 0.4):
            curves["game"] = learner.play()
        columns = {way: list(zip(*rows, strict=True)) for way, rows in curves.items()}
        slow = {way: [slowdown(learner.looks, column, way == "fixed") for column in columns[way]] for way in WAYS}
        last = {
            way: [math.log(column[-1]) if np.isfinite(column[-1]) else None for column in columns[way]] for way in WAYS
        }
        checks: Checks = {
            "M1": {
                "slowdown_with_fixed_noise": slow["fixed"],
                "slowdown_beyond_that_with_renewed_noise": _less(slow["fixed"], slow["renewed"]),
                "slowdown_beyond_that_of_the_game": _less(slow["fixed"], slow["game"]),
                "log_ratio_of_distances_at_the_end": _less(last["fixed"], last["game"]),
            }
        }
        shown = {way: [[v if math.isfinite(v) else None for v in row] for row in rows] for way, rows in curves.items()}
        return Found(checks, {"update": learner.looks, "distance": shown, "dimension": config.dimension})


EXPERIMENT = NoiseContrastive()
