"""Generative moment matching networks (Li, Swersky & Zemel 2015).

A network maps z, uniform on (-1, 1), to images x. Training descends their distance from a minibatch
y of data under a sum of Gaussian kernels,

    L = sqrt(mean k(x, x') - 2 mean k(x, y) + mean k(y, y')),  k = sum_s exp(-|x - y|^2 / (2 s)),

each mean over all pairs, those of an image with itself too: the biased estimate, which is never
below 0. Recipe: yujiali/gmmn@751796e, train.py and `SqrtGaussianKernelMmdLoss`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig, Recipe, Recipes
from replicate.models.parts import perceptron, priors
from replicate.models.parts.priors import Prior
from replicate.params import TUNED, setting
from replicate.training.momentum import momentum_step, zero_averages

RELEASED = "yujiali/gmmn@751796e train.py"
LAYER = "yujiali/pynn@1ce47fb layer.py"


class GmmnConfig(ModelConfig):
    """The recipe; the defaults are the released ones for MNIST."""

    epochs: int = setting(800, "passes over the data", f"{RELEASED}: 40,000 updates", ge=1)
    batch_size: int = setting(1000, "images, and codes, of an update", RELEASED, ge=2)
    noise_dimension: int = setting(10, "length of z", RELEASED, ge=1)
    hidden: tuple[PositiveInt, ...] = setting((64, 256, 256, 1024), "rectified units", RELEASED)
    weight_scale: PositiveFloat = setting(0.1, "standard deviation of the first weights", LAYER)
    bandwidths: tuple[PositiveFloat, ...] = setting(
        (2.0, 5.0, 10.0, 20.0, 40.0, 80.0), "s of each kernel", RELEASED, min_length=1
    )
    learning_rate: PositiveFloat = setting(2.0, "of the first updates", RELEASED)
    momentum: float = setting(0.9, "of the first updates", RELEASED, ge=0, lt=1)
    drop_update: int = setting(10_000, "then rate and 1 - momentum are a tenth", RELEASED, ge=1)


def discrepancy(
    generated: Tensor, images: Tensor, bandwidths: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """L (seeds,) and its gradient by x, (seeds, n, d), for x (seeds, n, d) and y (seeds, m, d)."""
    count = generated.shape[1]
    # With r = (x, y) and w = 1 / n for each x, -1 / m for each y: L^2 = sum_ij w_i w_j k_ij. The
    # three means of L are the three kinds of pairs in this one sum.
    rows = torch.cat([generated, images], 1)
    weights = torch.full_like(rows[:, :, :1], 1 / count)
    weights[:, count:] = -1 / images.shape[1]
    distances = _squared_distances(rows)
    slopes = torch.zeros_like(distances)
    squared = torch.zeros_like(rows[:, 0, 0])
    for bandwidth in bandwidths:
        # s is a variance, not a deviation: it is not squared.
        kernel = torch.exp(distances / (-2 * bandwidth))
        # By the vector w, so that no second matrix of the size of k is made.
        weighted_sums = torch.bmm(kernel, weights)
        squared += (weights * weighted_sums).sum((1, 2))
        slopes.add_(kernel, alpha=1 / bandwidth)
    # The square root and not the square, whose gradient would fade as the discrepancy gets small.
    # Clamped, since rounding may leave the sum of equal sets a little below 0.
    loss = squared.clamp(min=0).sqrt()
    # d L^2 / d x_i = 2 w_i sum_j w_j a_ij (r_j - x_i), with a = sum_s k / s.
    # Only of generated rows: data do not move.
    of_generated = slopes[:, :count]
    total = torch.bmm(of_generated, weights)
    towards_rows = torch.bmm(of_generated, weights * rows) - total * generated
    # dL = d L^2 / (2 L); the released code adds 1e-10 too, without which equal sets would divide 0
    # by 0.
    of_square = 2 / count * towards_rows
    doubled_loss = 2 * loss + 1e-10
    return loss, of_square / doubled_loss[:, None, None]


def _squared_distances(rows: Tensor) -> Tensor:
    """|r_i - r_j|^2 of rows (seeds, n, d), (seeds, n, n)."""
    # |r_i|^2 + |r_j|^2 - 2 r_i r_j: one matrix product, where differences would take n^2 d numbers.
    norms = rows.square().sum(2, keepdim=True)
    sums_of_norms = norms + norms.mT
    distances = torch.baddbmm(sums_of_norms, rows, rows.mT, alpha=-2)
    # Rounding leaves distances a little below 0.
    return distances.clamp_(min=0)


class Gmmn(GenerativeModel):
    """A block of seeds of the network."""

    Config: ClassVar[type[ModelConfig]] = GmmnConfig
    config: GmmnConfig
    has_latent = True
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, RELEASED),
        "digits": Recipe(
            {"epochs": 200, "batch_size": 200, "hidden": (64, 256), "drop_update": 900}
            | {"bandwidths": (0.5, 1.0, 2.0, 4.0)},
            TUNED,
        ),
    }

    def initialise(self, train: Tensor) -> None:
        """Normal weights, zero biases."""
        c = self.config
        widths = (c.noise_dimension, *c.hidden, self.dimension)
        self.add_layers("generator", widths, 0)
        self.slots = zero_averages(self.parameters)

    def add_layers(self, network: str, widths: Sequence[int], part: int) -> None:
        """Adds a network's first layers; they use the stream `init` from `part` on."""
        for layer, (rows, columns) in enumerate(pairwise(widths)):
            normal = self.streams.normal("init", 0, rows, columns, part=part + layer)
            self.parameters[f"{network}.{layer}.weight"] = self.config.weight_scale * normal
            self.parameters[f"{network}.{layer}.bias"] = torch.zeros_like(normal[:, :1])

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of every seed towards its minibatch."""
        return {"discrepancy": self.match(batch, step, step)}

    def match(self, targets: Tensor, step: int, update: int) -> Tensor:
        """Makes update number `update` of the network, towards (seeds, n, d): L, (seeds,)."""
        c = self.config
        # As many codes as targets: the estimate is of two samples of one size.
        uniform = self.streams.uniform("noise", step, targets.shape[1], c.noise_dimension)
        code = 2 * uniform - 1
        # The subclass has an autoencoder among its parameters, which stays as it is here.
        names = [name for name in self.parameters if name.startswith("generator.")]
        leaves = {name: self.parameters[name].detach().requires_grad_() for name in names}
        with torch.enable_grad():
            generated = self.generate(code, leaves)
        loss, slope = discrepancy(generated.detach(), targets, c.bandwidths)
        # The gradient over pairs is in closed form above, so autograd sees the network alone.
        gradients = torch.autograd.grad(generated, list(leaves.values()), slope)
        parameters = [self.parameters[name] for name in names]
        averages = [self.slots[name] for name in names]
        rate, momentum = self._schedule(update)
        # `momentum_step` keeps velocities in units of the rate, which drops once to a tenth.
        previous_rate, _ = self._schedule(update - 1)
        momentum_step(parameters, averages, gradients, rate, momentum, previous_rate)
        return loss

    def _schedule(self, update: int) -> tuple[float, float]:
        """Learning rate and momentum of an update, counted from 0; the source counts from 1."""
        c = self.config
        factor = 0.1 if update + 1 >= c.drop_update else 1.0
        rate = factor * c.learning_rate
        # rate / (1 - momentum), the length of a step that goes on in one direction, stays what it
        # was.
        momentum = 1 - factor * (1 - c.momentum)
        return rate, momentum

    def generate(self, code: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        """The network's outputs (seeds, n, d) of codes (seeds, n, noise dimension)."""
        layers = len(self.config.hidden) + 1
        logits = perceptron.outputs(code, parameters, "generator", layers)
        # Sigmoids: pixels lie in [0, 1], and so do the codes of the subclass's autoencoder.
        return logits.sigmoid()

    def prior(self) -> Prior:
        """p(z), uniform on (-1, 1)."""
        unit = priors.normal(self.streams, self.config.noise_dimension, uniform_codes=True)

        def code(position: Tensor) -> Tensor:
            # Codes of unit variance are uniform on (-sqrt 3, sqrt 3).
            return unit.code(position) / math.sqrt(3)

        return replace(unit, code=code)

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, noise dimension) draws of p(z)."""
        dimension = self.config.noise_dimension
        uniform = self.streams.uniform("evaluation", draw, count, dimension, part=part)
        return 2 * uniform - 1

    def decode(self, code: Tensor) -> Tensor:
        """Images (seeds, n, dimension) of codes (seeds, n, noise dimension), in (0, 1)."""
        return self.generate(code, self.parameters)


MODEL = Gmmn
