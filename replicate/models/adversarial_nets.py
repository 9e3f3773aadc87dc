"""Adversarial nets (Goodfellow et al. 2014), fully connected: the released MNIST recipe and its variants.

G maps noise through rectified linear layers to sigmoid pixels; D maps an image through maxout layers with
dropout to one logit. By default both move at once from the same generated images and the same dropout
masks, as the released code does (pylearn2's SGD on one joint cost); `schedule: alternating` is Algorithm 1
as printed. Recipe: goodfeli/adversarial@1720041, mnist.yaml and __init__.py (`AdversaryCost2`).
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.models import maxout, rectified
from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import RELEASED, setting
from replicate.training.momentum import decayed, momentum_step, ramped
from replicate.training.objectives import (
    Objective,
    discriminator_loss,
    discriminator_slopes,
    generator_loss,
    generator_slope,
)
from replicate.training.streams import Streams

_YAML = f"{RELEASED} mnist.yaml"
_CODE = f"{RELEASED} __init__.py"


class AdversarialConfig(ModelConfig):
    """The recipe; defaults are the released MNIST recipe's where it has them."""

    epochs: int = setting(500, "passes over the training images", "the released recipe has no end; ours", ge=1)
    batch_size: int = setting(100, "images, and noise vectors, per minibatch", _YAML, ge=1)
    noise: Literal["uniform", "gaussian"] = setting(
        "uniform", "p(z): uniform on (-sqrt 3, sqrt 3), which has unit variance, or standard normal", _YAML
    )
    noise_dimension: int = setting(100, "length of z", _YAML, ge=1)
    generator_hidden: tuple[int, ...] = setting((1200, 1200), "rectified linear units per layer of G", _YAML)
    generator_range: PositiveFloat = setting(0.05, "G's weights start uniform on +- this", _YAML)
    discriminator_hidden: tuple[int, ...] = setting((240, 240), "maxout units per layer of D", _YAML)
    pieces: int = setting(5, "linear pieces of a maxout unit", _YAML, ge=1)
    discriminator_range: PositiveFloat = setting(0.005, "D's weights start uniform on +- this", _YAML)
    keep_input: float = setting(0.8, "probability that dropout keeps an input of D", _YAML, gt=0, le=1)
    keep_hidden: float = setting(0.5, "probability that dropout keeps a hidden unit of D", _YAML, gt=0, le=1)
    objective: Objective = setting(
        "non_saturating", "what G descends: -log D(G(z)), or log(1 - D(G(z))) (saturating)", f"section 3; {_CODE}"
    )
    discriminator_weight: PositiveFloat = setting(
        0.5, "factor of D's loss beside G's (the released cost halves it)", _CODE
    )
    schedule: Literal["simultaneous", "alternating"] = setting(
        "simultaneous", "one joint update, or k steps of D and then one of G (Algorithm 1)", _YAML
    )
    discriminator_steps: int = setting(1, "k of Algorithm 1; only for the alternating schedule", "Algorithm 1", ge=1)
    learning_rate: PositiveFloat = setting(0.1, "of the first update", _YAML)
    learning_rate_decay: float = setting(1.000004, "the rate is divided by this after every update", _YAML, ge=1)
    learning_rate_floor: PositiveFloat = setting(1e-6, "the rate never falls below this", _YAML)
    momentum_initial: float = setting(0.5, "momentum of the first epoch", _YAML, ge=0, lt=1)
    momentum_final: float = setting(0.7, "momentum from epoch `momentum_epochs` on", _YAML, ge=0, lt=1)
    momentum_epochs: int = setting(250, "epochs over which the momentum rises", _YAML, ge=1)


class AdversarialNets(GenerativeModel):
    """A block of seeds of G and D."""

    Config = AdversarialConfig
    has_latent = True
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": ({}, _YAML),
        "digits": (
            {
                "epochs": 300,
                "batch_size": 64,
                "noise_dimension": 20,
                "generator_hidden": (200, 200),
                "discriminator_hidden": (80, 80),
                "discriminator_range": 0.05,
                "learning_rate": 0.2,
                "momentum_epochs": 100,
            },
            "ours: seven settings tried on validation digits (docs/protocol.md, section 2)",
        ),
    }

    def __init__(self, config: AdversarialConfig, shape: tuple[int, int, int], streams: Streams) -> None:
        super().__init__(config, shape, streams)
        c = config
        self._generator_sizes = (c.noise_dimension, *c.generator_hidden, self.dimension)
        self._discriminator_sizes = (self.dimension, *c.discriminator_hidden)

    @property
    def batches_per_step(self) -> int:
        """k minibatches for k steps of D (Algorithm 1), else one."""
        return self.config.discriminator_steps if self.config.schedule == "alternating" else 1

    def initialise(self, train: Tensor) -> None:
        """Uniform weights, zero biases; G's output bias is the logit of the mean training image."""
        c, parameters = self.config, self.parameters
        part = 0

        def uniform(rows: int, columns: int, half_range: float) -> Tensor:
            nonlocal part
            part += 1
            return (2 * self.streams.uniform("init", 0, rows, columns, part=part) - 1) * half_range

        def zeros(width: int) -> Tensor:
            return torch.zeros(len(self.streams.seeds), 1, width, dtype=train.dtype, device=train.device)

        for layer, (rows, columns) in enumerate(pairwise(self._generator_sizes)):
            parameters[f"generator.{layer}.weight"] = uniform(rows, columns, c.generator_range)
            parameters[f"generator.{layer}.bias"] = zeros(columns)
        marginals = train.mean(0).clamp(1e-7, 1 - 1e-7)  # clipped as the released `init_bias_target_marginals`
        parameters[f"generator.{len(c.generator_hidden)}.bias"] += torch.logit(marginals)
        sizes = self._discriminator_sizes
        for layer, (rows, units) in enumerate(pairwise(sizes)):
            parameters[f"discriminator.{layer}.weight"] = uniform(rows, units * c.pieces, c.discriminator_range)
            parameters[f"discriminator.{layer}.bias"] = zeros(units * c.pieces)
        top = len(c.discriminator_hidden)
        parameters[f"discriminator.{top}.weight"] = uniform(sizes[-1], 1, c.discriminator_range)
        parameters[f"discriminator.{top}.bias"] = zeros(1)
        self.slots = {name: torch.zeros_like(value) for name, value in parameters.items()}

    def _noise(self, purpose: Literal["noise", "evaluation"], step: int, count: int, part: int) -> Tensor:
        if self.config.noise == "gaussian":
            return self.streams.normal(purpose, step, count, self.config.noise_dimension, part=part)
        drawn = self.streams.uniform(purpose, step, count, self.config.noise_dimension, part=part)
        return (2 * drawn - 1) * math.sqrt(3)

    def _layers(self, network: str) -> list[tuple[Tensor, Tensor]]:
        count = len(getattr(self.config, f"{network}_hidden")) + 1
        names = [f"{network}.{layer}" for layer in range(count)]
        return [(self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]) for name in names]

    def decode(self, code: Tensor) -> Tensor:
        """G: noise (seeds, n, noise dimension) to images (seeds, n, dimension) in (0, 1)."""
        return rectified.outputs(code, self._layers("generator"))[-1]

    def _masks(self, rows: int, step: int, part: int) -> list[Tensor]:
        """Dropout masks for every layer of D, already divided by the probability to keep."""
        masks = []
        for layer, width in enumerate(self._discriminator_sizes):
            keep = self.config.keep_hidden if layer else self.config.keep_input
            masks.append(self.streams.mask(keep, step, rows, width, part=100 * part + layer))
        return masks

    def _move(self, gradients: Mapping[str, Tensor], epoch: int, step: int, earlier: int) -> None:
        """Updates what has gradients, at the rate of `step`; its last update was at that of the step `earlier`."""
        c = self.config
        rate, before = (
            decayed(c.learning_rate, c.learning_rate_decay, c.learning_rate_floor, update) for update in (step, earlier)
        )
        momentum_step(
            [self.parameters[name] for name in gradients],
            [self.slots[name] for name in gradients],
            list(gradients.values()),
            rate,
            ramped(c.momentum_initial, c.momentum_final, c.momentum_epochs, epoch),
            before,
        )

    def gradients(
        self, batch: Tensor, noise: Tensor, masks: list[Tensor], networks: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses, and the gradients of the named networks, at the present parameters.

        Both objectives share G's images, D's logits on them and its dropout masks.

        Args:
            batch: (seeds, b, dimension) data; none (b = 0) where only G is to move.
            noise: (seeds, n, noise dimension).
            masks: D's dropout masks for the data followed by G's images.
            networks: "generator", "discriminator" or both.
        """
        c, real_rows = self.config, batch.shape[1]
        learn_d, learn_g = "discriminator" in networks, "generator" in networks
        generator, discriminator = self._layers("generator"), self._layers("discriminator")
        generated = rectified.outputs(noise, generator)
        found, tape = maxout.logits(torch.cat([batch, generated[-1]], 1), discriminator, c.pieces, masks)
        real, fake = found[:, :real_rows], found[:, real_rows:]
        losses, slopes = {"generator": generator_loss(fake, c.objective)}, None
        if learn_d:
            losses["discriminator"] = discriminator_loss(real, fake)
            slopes = c.discriminator_weight * torch.cat(discriminator_slopes(real, fake), 1)
        image_rows = slice(real_rows, None) if learn_g else None
        gradients, by_image = maxout.backpropagate(tape, discriminator, slopes, image_rows)
        named = self._named("discriminator", gradients)
        if by_image is not None:
            by_image *= generator_slope(fake, c.objective).unsqueeze(-1)
            named |= self._named("generator", rectified.backpropagate(noise, generated, generator, by_image))
        return losses, named

    @staticmethod
    def _named(network: str, gradients: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        return {
            f"{network}.{layer}.{part}": value
            for layer, pair in enumerate(gradients)
            for part, value in zip(("weight", "bias"), pair, strict=True)
        }

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One joint update of D and G, or Algorithm 1: k updates of D, each on its own minibatch, then one of G."""
        size = self.config.batch_size
        losses: dict[str, Tensor] = {}

        def update(data: Tensor, part: int, *networks: str) -> None:
            noise = self._noise("noise", step, size, part)
            masks = self._masks(data.shape[1] + size, step, part)
            measured, gradients = self.gradients(data, noise, masks, networks)
            again = part > 0 and "discriminator" in networks  # D's second to k-th update of this step
            self._move(gradients, epoch, step, step if again else max(step - 1, 0))
            losses.update(measured)

        if self.config.schedule == "simultaneous":
            update(batch, 0, "discriminator", "generator")
        else:
            for k, minibatch in enumerate(torch.split(batch, size, dim=1)):
                update(minibatch, k, "discriminator")
            update(batch[:, :0], self.config.discriminator_steps, "generator")
        return losses

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, noise dimension) draws of p(z)."""
        return self._noise("evaluation", draw, count, part)

    @torch.no_grad()
    def sample_chunk(self, count: int, draw: int, part: int) -> Tensor:
        """G of fresh noise: (seeds, count, dimension)."""
        return self.decode(self.latent(count, draw, part))


MODEL = AdversarialNets
