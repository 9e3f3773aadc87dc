"""Section 7.5: better coordination of G and D, or a better p(z), would speed training (X5, a conjecture of the paper).

The baseline is the paper's recipe in small: z uniform in 100 dimensions, both players at once from the same samples, by
momentum at a constant rate. Every variant changes one thing. Speed is counted in updates, not seconds: those until the
Parzen estimate of validation images reaches a target.

Two variants decide the claim, one of each kind. They are fixed here, as the best of their kind on seeds 100-105, so
that the seeds of a run had no say in the choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import normalize

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, Found
from replicate.experiments.game import (
    DECAYS,
    GameConfig,
    generate,
    gradients,
    initial,
    minibatches,
    per_seed,
    pixels,
    unconditional,
)
from replicate.likelihood.parzen import log_densities
from replicate.loops import steps
from replicate.params import OURS, RELEASED, setting
from replicate.training.adam import adam_step, moments
from replicate.training.momentum import momentum_step
from replicate.training.streams import Streams

Noise = Literal["uniform", "normal", "sphere"]
#: Bandwidths of the Parzen estimate; each look takes the best one.
SIGMAS = (0.16, 0.19, 0.23, 0.28)
#: Most validation images that are looked at.
VALIDATION_IMAGES = 300
TUNED = "ours: of four values the one that reaches the target first, seeds 100-105"


class AccelerationConfig(GameConfig):
    """The baseline, the rates of the variants, and how speed is measured."""

    updates: int = setting(1300, "updates of G and of D, by every variant", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting((64, 64), "rectified units per layer of G, and of D", OURS, min_length=1)
    code_dimension: int = setting(100, "length of the baseline's z, which is uniform", f"{RELEASED} mnist.yaml", ge=1)
    learning_rate: PositiveFloat = setting(0.1, "of gradient descent with momentum, constant", TUNED)
    momentum: float = setting(0.5, "of both players", f"{RELEASED} mnist.yaml, at the start", ge=0, lt=1)
    adam_rate: PositiveFloat = setting(0.008, "of Adam, constant", TUNED)
    discriminator_speed: PositiveFloat = setting(3.0, "D's rate over G's where D is faster", TUNED)
    target: float = setting(
        3.0, "mean log-likelihood of validation images that counts as trained (nats)",
        "ours: the baseline reaches it before the end, seeds 100-105",
    )  # fmt: skip
    first_look: int = setting(200, "updates before the first look at the validation images", OURS, ge=1)
    looks: int = setting(24, "looks, after updates in geometric progression", OURS, ge=2)
    samples: int = setting(1000, "samples of G at each look", OURS, ge=2)


@dataclass(frozen=True)
class Variant:
    """What it changes of the baseline, which is `Variant()`.

    Attributes:
        noise: p(z); each has mean 0 and covariance the identity.
        dimension: length of z; None: the baseline's.
        adam: both players move by Adam.
        alternating: G's gradient is taken at the D that has already moved, from the same samples.
        fast_discriminator: D's rate is `discriminator_speed` times G's.
        falling: the rate falls linearly to 0.
    """

    noise: Noise = "uniform"
    dimension: int | None = None
    adam: bool = False
    alternating: bool = False
    fast_discriminator: bool = False
    falling: bool = False


BASELINE = "baseline"
COORDINATION: Mapping[str, Variant] = {
    "Adam": Variant(adam=True),
    "alternating": Variant(alternating=True),
    "D faster": Variant(fast_discriminator=True),
    "falling rate": Variant(falling=True),
}
#: Without the baseline, uniform in 100 dimensions.
NOISE: Mapping[str, Variant] = {
    f"{noise}, {dimension}": Variant(noise=noise, dimension=dimension)
    for noise in get_args(Noise)
    for dimension in (4, 16, 100)
    if (noise, dimension) != ("uniform", 100)
}
VARIANTS: Mapping[str, Variant] = {BASELINE: Variant(), **COORDINATION, **NOISE}
#: What the checks judge, chosen on seeds 100-105.
JUDGED = {"coordination": "D faster", "noise": "normal, 100"}


def codes(streams: Streams, noise: Noise, step: int, *shape: int, look: bool = False) -> Tensor:
    """Draws z of `shape` (n, dimension), (seeds, n, dimension); a look has numbers of its own."""
    purpose: Literal["evaluation", "noise"] = "evaluation" if look else "noise"
    if noise == "uniform":
        return math.sqrt(3) * (2 * streams.uniform(purpose, step, *shape) - 1)
    drawn = streams.normal(purpose, step, *shape)
    return drawn if noise == "normal" else math.sqrt(shape[1]) * normalize(drawn, dim=2)


class Game:
    """G and D of every seed, as one variant trains them."""

    def __init__(self, config: AccelerationConfig, variant: Variant, streams: Streams, images: Tensor) -> None:
        dimension = variant.dimension or config.code_dimension
        self.config, self.variant = config.model_copy(update={"code_dimension": dimension}), variant
        self.parameters = initial(self.config, streams, images)
        self.slots = moments(self.parameters)
        self._streams = streams

    def update(self, number: int, rows: Tensor, real: Tensor, blur: Sequence[Tensor]) -> None:
        """One update of each player on images `real` (seeds, n, dimension), which are at `rows` of the data."""
        code = codes(self._streams, self.variant.noise, number, rows.shape[1], self.config.code_dimension)
        samples = (real, code, unconditional(number, rows), blur)
        found = gradients(self.config, self.parameters, *samples)
        self.move("discriminator", found, number)
        if self.variant.alternating:
            found = gradients(self.config, self.parameters, *samples)
        self.move("generator", found, number)

    def move(self, network: str, found: Mapping[str, Tensor], number: int) -> None:
        """Update `number` of one network, by its gradients in `found`."""
        config, own = self.config, {name: slope for name, slope in found.items() if name.startswith(network)}
        if self.variant.adam:
            adam_step(self.parameters, self.slots, own, number, config.adam_rate, decays=DECAYS)
            return
        faster = self.variant.fast_discriminator and network == "discriminator"
        top = config.learning_rate * (config.discriminator_speed if faster else 1.0)
        rate, before = (top * (1 - k / config.updates if self.variant.falling else 1.0) for k in (number, number - 1))
        averages = [self.slots[f"{name}.first"] for name in own]
        momentum_step(
            [self.parameters[name] for name in own], averages, list(own.values()), rate, config.momentum, before
        )

    def log_likelihoods(self, images: Tensor) -> Tensor:
        """The mean of images (n, dimension) by samples of G, with the best bandwidth: (seeds,) float64, nats."""
        shape = (self.config.samples, self.config.code_dimension)
        with torch.no_grad():
            samples = generate(
                self.config, self.parameters, codes(self._streams, self.variant.noise, 0, *shape, look=True)
            )
        return torch.stack([log_densities(own, images, SIGMAS).mean(1).amax() for own in samples])


def looks(config: AccelerationConfig) -> list[int]:
    """The updates after which validation images are looked at, ascending."""
    first = min(config.first_look, config.updates)
    growth = (config.updates / first) ** (1 / (config.looks - 1))
    return sorted({round(first * growth**k) for k in range(config.looks)})


def play(
    config: AccelerationConfig, variants: Mapping[str, Variant], streams: Streams, images: Tensor, valid: Tensor
) -> dict[str, Tensor]:
    """Trains every variant on the same minibatches of images (n, dimension), with the same blur.

    Returns:
        Variant -> the log-likelihood of `valid` (m, dimension) at every look, (looks, seeds) float64.
    """
    games = {name: Game(config, variant, streams, images) for name, variant in variants.items()}
    curves: dict[str, list[Tensor]] = {name: [] for name in variants}
    turns, at = minibatches(streams, len(images), config.batch_size), set(looks(config))
    for update, rows in zip(steps(config.updates), turns, strict=False):
        real = images[rows]
        blur = [config.blur * streams.normal("noise", update, *real.shape[1:], part=part) for part in (1, 2)]
        for name, game in games.items():
            game.update(update, rows, real, blur)
            if update + 1 in at:
                curves[name].append(game.log_likelihoods(valid))
    return {name: torch.stack(curve) for name, curve in curves.items()}


def updates_until(target: float, curve: Tensor, updates: Sequence[int]) -> Tensor:
    """The updates at the first look where a curve (looks, seeds) is at least `target`: (seeds,) float64.

    Where none is, the last one, as if reached there; NaN where the curve ends in no number.
    """
    reached = curve >= target
    first = torch.where(reached.any(0), reached.byte().argmax(0), len(curve) - 1)
    counts = torch.tensor(updates, dtype=torch.float64, device=curve.device)[first]
    return counts.where(curve[-1].isfinite(), torch.nan)


class Acceleration(Experiment):
    """X5.

    Args:
        variants: by name; the baseline and what `JUDGED` names must be among them.
    """

    Config = AccelerationConfig
    claims: ClassVar[tuple[str, ...]] = ("X5",)

    def __init__(self, variants: Mapping[str, Variant] = VARIANTS) -> None:
        self._variants = variants

    def run(
        self, config: AccelerationConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None
    ) -> Found:
        """Trains all variants side by side; validation images need no labels, and test images are not used."""
        assert splits is not None
        train, valid = (pixels(splits, split, device) for split in ("train", "valid"))
        valid = valid[:VALIDATION_IMAGES]
        curves = play(config, self._variants, Streams(seeds, device), train, valid)
        counts = {name: updates_until(config.target, curve, looks(config)) for name, curve in curves.items()}
        checks: dict[str, dict[str, float | list[float | None]]] = {
            "X5": {
                f"log_ratio_of_updates_by_{kind}": per_seed((counts[BASELINE] / counts[name]).log())
                for kind, name in JUDGED.items()
            }
        }
        series = {
            "looks": looks(config), "target": config.target, "validation_images": len(valid), "judged": JUDGED,
            "order": list(self._variants), "noise": [name for name in self._variants if name in NOISE],
            "updates": {name: per_seed(count) for name, count in counts.items()},
            "censored": {name: (curve < config.target).all(0).tolist() for name, curve in curves.items()},
            "best": {name: per_seed(curve.amax(0)) for name, curve in curves.items()},
            "curves": {name: [per_seed(row) for row in curve] for name, curve in curves.items()},
        }  # fmt: skip
        return Found(checks, series)


EXPERIMENT = Acceleration()
