"""The adversarial game on a line, for experiments: p_data = N(0, 1), z uniform on [-1, 1), small rectifier networks.

All seeds play side by side. What is measured comes from a regular grid of z, so it has no sampling error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from replicate.models import perceptron
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import Objective, discriminator_loss, generator_loss
from replicate.training.streams import Streams

Array = NDArray[np.float64]
#: Adam's decays in a game: with less memory of the gradients than usual (Radford et al. 2016, section 4).
DECAYS = (0.5, 0.999)
#: Of the line that G starts from: its images have standard deviation 1.
SLOPE = math.sqrt(3)
#: Values of z on which G is measured: the middles of equal intervals.
MEASURED = 4096
LATENTS = np.linspace(-1, 1, 2 * MEASURED + 1)[1::2]
EDGES = np.linspace(-8.0, 8.0, 321)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
#: The mass of p_data in every bin, and the density there.
_HALF = np.diff(ndtr(EDGES[: len(CENTRES) // 2 + 1]))
DATA_MASS = np.concatenate([_HALF, _HALF[::-1]])  # the upper tail would round away in differences near 1
DATA_DENSITY = DATA_MASS / np.diff(EDGES)


@dataclass
class Player:
    """A network, its parameters (seeds, in, out) and Adam's state."""

    network: str
    layers: int
    parameters: dict[str, Tensor]
    slots: dict[str, Tensor]
    updates: int = 0

    def outputs(self, inputs: Tensor) -> Tensor:
        """What it gives for `inputs` (seeds, n, 1): (seeds, n, 1)."""
        return perceptron.outputs(inputs, self.parameters, self.network, self.layers)

    def descend(self, loss: Tensor, rate: float) -> None:
        """One update by Adam on `loss` (seeds), which depends on the parameters."""
        leaves = list(self.parameters.values())
        gradients = dict(zip(self.parameters, torch.autograd.grad(loss.sum(), leaves), strict=True))
        with torch.no_grad():
            adam_step(self.parameters, self.slots, gradients, self.updates, rate, DECAYS)
        self.updates += 1


@dataclass
class Game:
    """G and D, and the streams that both draw from.

    G(z) is a straight line through `shift` plus its network, so that its images are spread from the start and in the
    order of z, as in the paper's figure; bending the line to the shape of p_data is left to the network.
    """

    streams: Streams
    generator: Player
    discriminator: Player
    shift: float

    def generate(self, latent: Tensor) -> Tensor:
        """G(z) of z (seeds, n, 1): (seeds, n, 1)."""
        return self.shift + SLOPE * latent + self.generator.outputs(latent)

    def real(self, update: int, count: int, part: int = 0) -> Tensor:
        """`count` samples of the data, (seeds, count, 1)."""
        return self.streams.normal("noise", update, count, 1, part=3 * part)

    def latent(self, update: int, count: int, part: int = 0) -> Tensor:
        """`count` samples of z, (seeds, count, 1)."""
        return 2 * self.streams.uniform("noise", update, count, 1, part=3 * part + 1) - 1

    def update_discriminator(self, real: Tensor, latent: Tensor, rate: float) -> None:
        """D descends on -V(D, G), equation 1."""
        with torch.no_grad():
            fake = self.generate(latent)
        logits = self.discriminator.outputs(torch.cat([real, fake], 1))[..., 0]
        count = real.shape[1]
        self.discriminator.descend(discriminator_loss(logits[:, :count], logits[:, count:]), rate)

    def update_generator(self, latent: Tensor, rate: float, objective: Objective = "non_saturating") -> None:
        """G descends on its objective."""
        logits = self.discriminator.outputs(self.generate(latent))[..., 0]
        self.generator.descend(generator_loss(logits, objective), rate)

    def round(self, update: int, count: int, rates: tuple[float, float], objective: Objective) -> None:
        """One round of Algorithm 1 with k = 1, at the rates (D, G)."""
        self.update_discriminator(self.real(update, count), self.latent(update, count), rates[0])
        self.update_generator(self.latent(update, count, part=1), rates[1], objective)

    def images(self) -> Array:
        """G at `LATENTS`, (seeds, MEASURED)."""
        with torch.no_grad():
            return self.generate(self.grid(LATENTS))[..., 0].double().cpu().numpy()

    def opinions(self) -> Array:
        """D(x) at the centres of the bins, (seeds, bins)."""
        with torch.no_grad():
            return torch.sigmoid(self.discriminator.outputs(self.grid(CENTRES))[..., 0].double()).cpu().numpy()

    def grid(self, points: Array) -> Tensor:
        """Points (n,) for every seed, (seeds, n, 1)."""
        column = torch.from_numpy(points).to(self.streams.device, self.streams.dtype)
        return column[None, :, None].expand(len(self.streams.seeds), -1, -1)


def player(streams: Streams, network: str, hidden: Sequence[int], part: int) -> Player:
    """A network from one number to one number at its start; `part` as in `perceptron.initial`."""
    sizes = (1, *hidden, 1)
    parameters = perceptron.initial(streams, network, sizes, part)
    return Player(network, len(sizes) - 1, {n: p.requires_grad_() for n, p in parameters.items()}, moments(parameters))


def new_game(streams: Streams, hidden: Sequence[int], shift: float) -> Game:
    """The game at its start, where p_g is close to uniform, with mean about `shift` and standard deviation about 1.

    The units of G's first layer bend at points spread over z; with biases 0 all would bend at z = 0.
    """
    game = Game(streams, player(streams, "generator", hidden, 0), player(streams, "discriminator", hidden, 100), shift)
    made = game.generator.parameters
    bends = 2 * streams.uniform("init", 0, 1, hidden[0], part=200) - 1
    with torch.no_grad():
        made["generator.0.bias"] -= made["generator.0.weight"] * bends
    return game


def distance_to_data(images: Array) -> list[float]:
    """The Wasserstein-1 distance of images, (seeds, n) and equally likely, to N(0, 1): between quantiles, per seed."""
    quantiles = ndtri((np.arange(images.shape[1]) + 0.5) / images.shape[1])
    return [float(e) for e in np.abs(np.sort(images, 1) - quantiles).mean(1)]


def masses(images: Array) -> Array:
    """The mass of p_g in every bin, (seeds, bins), with its distribution function linear between the images.

    Mass outside of the bins is lost; a G that has moved there is shown by `distance_to_data`.
    """
    levels = (np.arange(images.shape[1]) + 0.5) / images.shape[1]
    cumulative = [np.interp(EDGES, row, levels, left=0.0, right=1.0) for row in np.sort(images, 1)]
    return np.diff(np.stack(cumulative), axis=1)


def straightest_distance() -> float:
    """The Wasserstein-1 distance to N(0, 1) of the best uniform distribution: the best that a straight G can do."""
    levels = (np.arange(MEASURED) + 0.5) / MEASURED
    slopes = np.linspace(1.0, 2.2, 1201)[:, None]
    return float(np.abs(ndtri(levels) - slopes * (2 * levels - 1)).mean(1).min())
