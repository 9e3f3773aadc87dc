"""The adversarial game on a line: p_data = N(0, 1), z uniform on [-1, 1), small rectifier networks.

All seeds play side by side. What is measured comes from a regular grid of z, so it has no sampling
error.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from torch import Tensor

from replicate.experiments.games.player import Player, new_player
from replicate.models.parts import perceptron
from replicate.training.objectives import Objective, discriminator_loss, generator_loss
from replicate.training.streams import Streams

Array = NDArray[np.float64]
#: Slope of the line that G starts from: its images have standard deviation 1.
SLOPE = math.sqrt(3)
#: Values of z on which G is measured: the middles of equal intervals.
MEASURED = 4096
LATENTS = np.linspace(-1, 1, 2 * MEASURED + 1)[1::2]
EDGES = np.linspace(-8.0, 8.0, 321)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
#: Farthest from 0 that p_g may begin: all but 2 % of its images still lie in the bins.
FARTHEST = 6.0
#: The mass of p_data in every bin, and the density there. The upper half mirrors the lower one: as
#: differences of numbers near 1, its tail would round away.
_HALF = np.diff(ndtr(EDGES[: len(CENTRES) // 2 + 1]))
DATA_MASS = np.concatenate([_HALF, _HALF[::-1]])
DATA_DENSITY = DATA_MASS / np.diff(EDGES)


@dataclass
class Game:
    """G and D, and the streams that both draw from.

    G(z) is a straight line through `shift` plus its network. So its images are spread from the
    start and in the order of z, as in the paper's figure; the network bends the line to the shape
    of p_data.
    """

    streams: Streams
    generator: Player
    discriminator: Player
    shift: float

    def generate(self, latent: Tensor) -> Tensor:
        """G(z) of z (seeds, n, 1): (seeds, n, 1)."""
        # z is uniform on (-1, 1), with standard deviation 1 / sqrt 3; the slope makes it 1.
        straight = self.shift + SLOPE * latent
        bend = self.generator.outputs(latent)
        return straight + bend

    def real(self, update: int, count: int, part: int = 0) -> Tensor:
        """`count` samples of the data, (seeds, count, 1)."""
        return self.streams.normal("noise", update, count, 1, part=3 * part)

    def latent(self, update: int, count: int, part: int = 0) -> Tensor:
        """`count` samples of z, (seeds, count, 1)."""
        unit = self.streams.uniform("noise", update, count, 1, part=3 * part + 1)
        return 2 * unit - 1

    def update_discriminator(self, real: Tensor, latent: Tensor, rate: float) -> None:
        """D descends on -V(D, G), equation 1."""
        count = real.shape[1]
        # An update of D leaves G alone.
        with torch.no_grad():
            fake = self.generate(latent)
        rows = torch.cat([real, fake], 1)
        outputs = self.discriminator.outputs(rows)
        logits = outputs[..., 0]
        real_logits = logits[:, :count]
        fake_logits = logits[:, count:]
        loss = discriminator_loss(real_logits, fake_logits)
        self.discriminator.descend(loss, rate)

    def update_generator(
        self, latent: Tensor, rate: float, objective: Objective = "non_saturating"
    ) -> None:
        """G descends on its objective."""
        fake = self.generate(latent)
        outputs = self.discriminator.outputs(fake)
        logits = outputs[..., 0]
        loss = generator_loss(logits, objective)
        self.generator.descend(loss, rate)

    def round(
        self, update: int, count: int, rates: tuple[float, float], objective: Objective
    ) -> None:
        """One round of Algorithm 1 with k = 1, at the rates (D, G)."""
        discriminator_rate, generator_rate = rates
        real = self.real(update, count)
        latent = self.latent(update, count)
        self.update_discriminator(real, latent, discriminator_rate)
        # Algorithm 1 draws a minibatch of z for each of the two updates.
        fresh_latent = self.latent(update, count, part=1)
        self.update_generator(fresh_latent, generator_rate, objective)

    def images(self) -> Array:
        """G at `LATENTS`, (seeds, MEASURED)."""
        latents = self.grid(LATENTS)
        with torch.no_grad():
            images = self.generate(latents)
        points = images[..., 0]
        return points.double().cpu().numpy()

    def probabilities(self) -> Array:
        """D(x) at the centres of the bins, (seeds, bins)."""
        centres = self.grid(CENTRES)
        with torch.no_grad():
            outputs = self.discriminator.outputs(centres)
        logits = outputs[..., 0]
        # Float64 before the sigmoid, which float32 rounds to 1 where D is sure.
        probabilities = torch.sigmoid(logits.double())
        return probabilities.cpu().numpy()

    def grid(self, points: Array) -> Tensor:
        """Points (n,) for every seed, (seeds, n, 1)."""
        streams = self.streams
        column = torch.from_numpy(points).to(streams.device, streams.dtype)
        of_one_seed = column[None, :, None]
        return of_one_seed.expand(len(streams.seeds), -1, -1)


def _scalar_player(streams: Streams, network: str, hidden: Sequence[int], part: int) -> Player:
    """A network from one number to one number at its start; `part` as in `perceptron.initial`."""
    sizes = (1, *hidden, 1)
    parameters = perceptron.initial(streams, network, sizes, part)
    return new_player(network, len(sizes) - 1, parameters)


def new_game(streams: Streams, hidden: Sequence[int], shift: float) -> Game:
    """The game at its start; p_g is close to uniform, with mean near `shift` and deviation near 1.

    The units of G's first layer bend at points spread over z; with biases 0 all would bend at 0.
    """
    generator = _scalar_player(streams, "generator", hidden, 0)
    discriminator = _scalar_player(streams, "discriminator", hidden, 100)
    weight = generator.parameters["generator.0.weight"]
    bias = generator.parameters["generator.0.bias"]
    # A unit w z + b bends at -b / w: spread over the whole of z, and not all of them at 0.
    unit = streams.uniform("init", 0, 1, hidden[0], part=200)
    bends = 2 * unit - 1
    with torch.no_grad():
        bias -= weight * bends
    return Game(streams, generator, discriminator, shift)


def _levels(count: int) -> Array:
    """The levels at which `count` equally likely values stand for a distribution, (count,)."""
    # Middles of equal parts: the ends 0 and 1 are infinite quantiles.
    return (np.arange(count) + 0.5) / count


def distance_to_data(images: Array) -> list[float]:
    """The Wasserstein-1 distance to N(0, 1) per seed, between quantiles.

    Args:
        images: (seeds, n), equally likely.
    """
    quantiles = ndtri(_levels(images.shape[1]))
    # In one dimension the best transport takes the sorted to the sorted.
    ascending = np.sort(images, 1)
    distances = np.abs(ascending - quantiles).mean(1)
    return [float(distance) for distance in distances]


def masses(images: Array) -> Array:
    """The mass of p_g in every bin, (seeds, bins).

    The distribution function is linear between the images. Mass outside of the bins is lost;
    `distance_to_data` shows a G that has moved there.
    """
    count = images.shape[1]
    levels = _levels(count)
    cumulative = []
    for ascending in np.sort(images, 1):
        # Not a histogram: 4096 images in 320 bins would have steps of their own.
        at_edges = np.interp(EDGES, ascending, levels, left=0.0, right=1.0)
        cumulative.append(at_edges)
    of_seeds = np.stack(cumulative)
    return np.diff(of_seeds, axis=1)


def straightest_distance() -> float:
    """The least Wasserstein-1 distance that a straight G, a uniform p_g, can have to N(0, 1)."""
    levels = _levels(MEASURED)
    quantiles = ndtri(levels)
    latents = 2 * levels - 1
    slopes = np.linspace(1.0, 2.2, 1201)
    straight = slopes[:, None] * latents
    distances = np.abs(quantiles - straight).mean(1)
    return float(distances.min())
