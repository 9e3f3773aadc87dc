"""What speeds training: better coordination of G and D, or a better p(z) (X5, section 7.5).

The paper conjectures: training could be accelerated greatly by better methods for coordinating G
and D, or by better distributions to sample z from.

The baseline is the paper's recipe in small: z uniform in 100 dimensions, both players at once from
the same samples, by momentum at a constant rate. Every variant changes one thing.

Measured: the updates, not seconds, until the Parzen estimate of validation images reaches a target.
Two variants decide the statement, one of each kind. They are fixed here, as the best of their kind
on seeds 100-105, so that the seeds of a run had no say in the choice.
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
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentResult,
    PerSeed,
    per_seed,
)
from replicate.experiments.games.image_game import (
    GameConfig,
    blur_noise,
    generate,
    gradients,
    initial,
    minibatches,
    of_network,
    pixels,
    unconditional,
)
from replicate.experiments.games.player import DECAYS
from replicate.likelihood.parzen import log_densities
from replicate.params import OURS, RELEASED, setting
from replicate.progress.loops import steps
from replicate.training.adam import adam_step, moments
from replicate.training.momentum import momentum_step
from replicate.training.streams import Purpose, Streams

Noise = Literal["uniform", "normal", "sphere"]
#: Bandwidths of the Parzen estimate; each look takes the best one.
SIGMAS = (0.16, 0.19, 0.23, 0.28)
#: Most validation images that are looked at.
VALIDATION_IMAGES = 300
TUNED = "ours: of four values the one that reaches the target first, seeds 100-105"


class AccelerationConfig(GameConfig):
    """The baseline, the rates of the variants, and how speed is measured."""

    updates: int = setting(1300, "updates of G and of D, by every variant", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting(
        (64, 64), "rectified units per layer of G, and of D", OURS, min_length=1
    )
    code_dimension: int = setting(
        100, "length of the baseline's z, which is uniform", f"{RELEASED} mnist.yaml", ge=1
    )
    learning_rate: PositiveFloat = setting(
        0.1, "of gradient descent with momentum, constant", TUNED
    )
    momentum: float = setting(
        0.5, "of both players", f"{RELEASED} mnist.yaml, at the start", ge=0, lt=1
    )
    adam_rate: PositiveFloat = setting(0.008, "of Adam, constant", TUNED)
    discriminator_speed: PositiveFloat = setting(3.0, "D's rate over G's where D is faster", TUNED)
    target: float = setting(
        3.0,
        "mean log-likelihood of validation images that counts as trained (nats)",
        "ours: the baseline reaches it before the end, seeds 100-105",
    )
    first_look: int = setting(
        200, "updates before the first look at the validation images", OURS, ge=1
    )
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


def _noise_variants() -> dict[str, Variant]:
    """Every p(z) but the baseline's, uniform in 100 dimensions."""
    baseline = ("uniform", 100)
    variants: dict[str, Variant] = {}
    for noise in get_args(Noise):
        for dimension in (4, 16, 100):
            if (noise, dimension) != baseline:
                name = f"{noise}, {dimension}"
                variants[name] = Variant(noise=noise, dimension=dimension)
    return variants


BASELINE = "baseline"
COORDINATION: Mapping[str, Variant] = {
    "Adam": Variant(adam=True),
    "alternating": Variant(alternating=True),
    "D faster": Variant(fast_discriminator=True),
    "falling rate": Variant(falling=True),
}
NOISE: Mapping[str, Variant] = _noise_variants()
VARIANTS: Mapping[str, Variant] = {BASELINE: Variant(), **COORDINATION, **NOISE}
#: The variants that decide the statement, chosen on seeds 100-105.
DECISIVE = {"coordination": "D faster", "noise": "normal, 100"}


def codes(
    streams: Streams, noise: Noise, step: int, *shape: int, purpose: Purpose = "noise"
) -> Tensor:
    """z of `shape` (n, dimension) for every seed, (seeds, n, dimension)."""
    # Every p(z) has variance 1 in each dimension, so that only its shape and dimension differ.
    if noise == "uniform":
        unit = streams.uniform(purpose, step, *shape)
        centred = 2 * unit - 1
        return math.sqrt(3) * centred
    drawn = streams.normal(purpose, step, *shape)
    if noise == "normal":
        return drawn
    # A normal vector has no direction that it prefers.
    on_unit_sphere = normalize(drawn, dim=2)
    dimension = shape[1]
    return math.sqrt(dimension) * on_unit_sphere


class Game:
    """G and D of every seed, as one variant trains them."""

    def __init__(
        self, config: AccelerationConfig, variant: Variant, streams: Streams, images: Tensor
    ) -> None:
        dimension = variant.dimension or config.code_dimension
        self.variant = variant
        self.config = config.model_copy(update={"code_dimension": dimension})
        self.parameters = initial(self.config, streams, images)
        # Adam's slots for every variant; momentum uses the first of the two.
        self.slots = moments(self.parameters)
        self._streams = streams

    def update(self, number: int, rows: Tensor, real: Tensor, blur: Sequence[Tensor]) -> None:
        """One update of each player.

        Args:
            rows: of the minibatch in the data, (seeds, n).
            real: its images, (seeds, n, dimension).
            blur: noise on what D sees of the data and of G.
        """
        config = self.config
        noise = self.variant.noise
        count = rows.shape[1]
        code = codes(self._streams, noise, number, count, config.code_dimension)
        no_condition = unconditional(number, rows)
        samples = (real, code, no_condition, blur)
        slopes = gradients(config, self.parameters, *samples)
        # Both gradients are taken before either moves, as in the release (both at once).
        self.move("discriminator", slopes, number)
        if self.variant.alternating:
            # G answers the D that has just moved.
            slopes = gradients(config, self.parameters, *samples)
        self.move("generator", slopes, number)

    def move(self, network: str, gradients: Mapping[str, Tensor], number: int) -> None:
        """Update `number` of one network, by its own of the gradients."""
        own = of_network(gradients, network)
        if self.variant.adam:
            rate = self.config.adam_rate
            adam_step(self.parameters, self.slots, own, number, rate, decays=DECAYS)
            return
        momentum_step(
            [self.parameters[name] for name in own],
            [self.slots[f"{name}.first"] for name in own],
            list(own.values()),
            self._rate(network, number),
            self.config.momentum,
            self._rate(network, number - 1),
        )

    def _rate(self, network: str, number: int) -> float:
        """The rate of an update by momentum."""
        speed = 1.0
        if self.variant.fast_discriminator and network == "discriminator":
            speed = self.config.discriminator_speed
        fade = 1.0
        if self.variant.falling:
            fade = 1 - number / self.config.updates
        return self.config.learning_rate * speed * fade

    def log_likelihoods(self, images: Tensor) -> Tensor:
        """The mean over images by samples of G, with the best bandwidth, (seeds,) float64, nats.

        Args:
            images: (n, dimension).
        """
        config = self.config
        noise = self.variant.noise
        shape = (config.samples, config.code_dimension)
        # Step 0 at every look: curves change by G alone, not by other codes.
        code = codes(self._streams, noise, 0, *shape, purpose="evaluation")
        with torch.no_grad():
            samples = generate(config, self.parameters, code)
        best = []
        for samples_of_seed in samples:
            log_likelihoods = log_densities(samples_of_seed, images, SIGMAS)
            by_sigma = log_likelihoods.mean(1)
            best.append(by_sigma.amax())
        return torch.stack(best)


def looks(config: AccelerationConfig) -> list[int]:
    """The updates after which validation images are looked at, ascending."""
    updates = config.updates
    first = min(config.first_look, updates)
    ratio = updates / first
    intervals = config.looks - 1
    growth = ratio ** (1 / intervals)
    # Rounded, neighbours may fall together: a set has each of them once.
    rounded = {round(first * growth**k) for k in range(config.looks)}
    return sorted(rounded)


def play(
    config: AccelerationConfig,
    variants: Mapping[str, Variant],
    streams: Streams,
    images: Tensor,
    valid: Tensor,
) -> dict[str, Tensor]:
    """Trains every variant on the same minibatches of images (n, dimension), with the same blur.

    Returns:
        Variant -> the log-likelihood of `valid` (m, dimension) at every look, (looks, seeds)
        float64.
    """
    games: dict[str, Game] = {}
    curves: dict[str, list[Tensor]] = {}
    for name, variant in variants.items():
        # The same streams for all: variants differ by what they change, not by their luck.
        games[name] = Game(config, variant, streams, images)
        curves[name] = []
    batches = minibatches(streams, len(images), config.batch_size)
    updates_of_looks = set(looks(config))
    # Not strict: minibatches never end.
    for update, rows in zip(steps(config.updates), batches, strict=False):
        real = images[rows]
        blur = blur_noise(config, streams, update, real)
        for name, game in games.items():
            game.update(update, rows, real, blur)
            if update + 1 in updates_of_looks:
                log_likelihoods = game.log_likelihoods(valid)
                curves[name].append(log_likelihoods)
    return {name: torch.stack(curve) for name, curve in curves.items()}


def updates_until(target: float, curve: Tensor, updates: Sequence[int]) -> Tensor:
    """The updates at the first look where a curve is at least `target`: (seeds,) float64.

    Where none is, the last one, as if reached there; NaN where the curve ends in no number.

    Args:
        curve: (looks, seeds).
        updates: of every look.
    """
    last_look = len(curve) - 1
    reached = curve >= target
    is_reached = reached.any(0)
    # `argmax` names the first of equal values: the first look that reached the target.
    first_reached = reached.byte().argmax(0)
    # Censored seeds count as reached at the end, which understates the delay of those that were not
    # there.
    first = torch.where(is_reached, first_reached, last_look)
    updates_of_looks = torch.tensor(updates, dtype=torch.float64, device=curve.device)
    counts = updates_of_looks[first]
    is_sound = curve[-1].isfinite()
    return counts.where(is_sound, torch.nan)


class Acceleration(Experiment[AccelerationConfig]):
    """X5.

    Args:
        variants: by name; the baseline and what `DECISIVE` names must be among them.
    """

    Config = AccelerationConfig
    statements: ClassVar[tuple[str, ...]] = ("X5",)

    def __init__(self, variants: Mapping[str, Variant] = VARIANTS) -> None:
        self._variants = variants

    def run(
        self,
        config: AccelerationConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains all variants side by side; needs no labels and no test images."""
        assert splits is not None
        train = pixels(splits, "train", device)
        valid = pixels(splits, "valid", device)[:VALIDATION_IMAGES]
        streams = Streams(seeds, device)
        curves = play(config, self._variants, streams, train, valid)
        updates_of_looks = looks(config)
        counts: dict[str, Tensor] = {}
        censored: dict[str, list[bool]] = {}
        for name, curve in curves.items():
            counts[name] = updates_until(config.target, curve, updates_of_looks)
            is_below = curve < config.target
            censored[name] = is_below.all(0).tolist()
        best: dict[str, PerSeed] = {}
        curves_by_look: dict[str, list[PerSeed]] = {}
        for name, curve in curves.items():
            best[name] = per_seed(curve.amax(0))
            curves_by_look[name] = _rows(curve)
        series = {
            "looks": updates_of_looks,
            "target": config.target,
            "validation_images": len(valid),
            "judged": DECISIVE,
            "order": list(self._variants),
            "noise": [name for name in self._variants if name in NOISE],
            "updates": {name: per_seed(count) for name, count in counts.items()},
            "censored": censored,
            "best": best,
            "curves": curves_by_look,
        }
        return ExperimentResult(_checks(counts), series)


def _rows(curve: Tensor) -> list[PerSeed]:
    """The looks of a curve to a thousandth of a nat, which is more than its figure shows."""
    rounded = curve.double().round(decimals=3)
    return [per_seed(row) for row in rounded]


def _checks(counts: Mapping[str, Tensor]) -> Checks:
    of_baseline = counts[BASELINE]
    checks: dict[str, PerSeed] = {}
    for kind, name in DECISIVE.items():
        ratio = of_baseline / counts[name]
        # In logarithms half as many updates and twice as many weigh the same.
        log_ratio = ratio.log()
        name_of_check = f"log_ratio_of_updates_by_{kind}"
        checks[name_of_check] = per_seed(log_ratio)
    return {"X5": checks}


EXPERIMENT = Acceleration()
