"""What one draw of images by a sampler shows: likelihood, mixing, memorisation, remembered start.

The correlation of two images a and b is that of their deviations from the mean training image m,
<a - m, b - m> / (|a - m| |b - m|). The remembered start is the mean correlation of a chain's last
image with the image of its first state, less the mean correlation with first states of other
chains: 0 where the start is forgotten, near 1 for a chain that does not move.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.diagnostics.effective_samples import mixing
from replicate.diagnostics.samples import memorisation
from replicate.likelihood.parzen import choose_bandwidth, log_densities
from replicate.models.parts.chains import ChainModel
from replicate.records.schema import SamplerDraw

#: First states of other chains that the last images are compared with.
UNRELATED_STARTS = 100
#: Added to the draw for these states, so that they differ from those of the chains themselves.
UNRELATED_DRAW_OFFSET = 1 << 31
#: Samples that memorisation is measured on, evenly spread over the draw.
COMPARED = 1000


@dataclass(frozen=True)
class Images:
    """The images of a data set that the measures need, on the device, each (n, dimension).

    Attributes:
        train, held_out: for memorisation.
        valid, test: of every fold.
    """

    train: Tensor
    held_out: Tensor
    valid: list[Tensor]
    test: list[Tensor]


def log_likelihood(samples: Tensor, images: Images, sigmas: tuple[float, ...]) -> float:
    """The mean test log-likelihood of samples (n, dimension), in nats.

    The mean over folds, each at its own bandwidth.
    """
    values = []
    for valid, test in zip(images.valid, images.test, strict=True):
        bandwidth = choose_bandwidth(samples, valid, sigmas)
        densities = log_densities(samples, test, (bandwidth.sigma,))
        values.append(float(densities.mean()))
    return sum(values) / len(values)


def _unit_rows(rows: Tensor) -> Tensor:
    """Rows divided by their norms; a row of zeros stays zero."""
    smallest = torch.finfo(rows.dtype).tiny
    norms = rows.norm(dim=1, keepdim=True)
    divisors = norms.clamp_min(smallest)
    units: Tensor = rows / divisors
    return units


def cosines(left: Tensor, right: Tensor) -> Tensor:
    """Cosines (n, m) of the angles of rows (n, d) and (m, d); 0 for a row of zeros."""
    left_units = _unit_rows(left)
    right_units = _unit_rows(right)
    return left_units @ right_units.T


def remembered_start(starts: Tensor, last: Tensor, unrelated: Tensor, mean: Tensor) -> float:
    """The mean correlation of last images with their own starts less that with unrelated starts.

    Args:
        starts, last: (chains, dimension), images of the chains' first and last states.
        unrelated: (m, dimension) images of other chains' first states.
        mean: (dimension,) of the training images.
    """
    # Less the mean image, else any two digits correlate by what all digits share.
    last_deviations = last.double() - mean
    start_deviations = starts.double() - mean
    unrelated_deviations = unrelated.double() - mean
    own_cosines = cosines(start_deviations, last_deviations).diagonal()
    unrelated_cosines = cosines(unrelated_deviations, last_deviations)
    difference = own_cosines.mean() - unrelated_cosines.mean()
    return float(difference)


def _start_images(model: ChainModel, draw: int) -> Tensor:
    """(seeds, chains, dimension) images of the chains' first states."""
    states = model.starting_states(draw)
    return model.chain_images(states, draw, 0)


def _unrelated_start_images(model: ChainModel, draw: int) -> Tensor:
    """(seeds, UNRELATED_STARTS, dimension) images of first states of chains that were not run."""
    sampler = model.used_sampler
    # Starts alone are drawn, none of these chains walks.
    model.sampler = sampler.model_copy(update={"chains": UNRELATED_STARTS})
    try:
        return _start_images(model, UNRELATED_DRAW_OFFSET + draw)
    finally:
        model.sampler = sampler


@torch.no_grad()
def measured_draw(
    model: ChainModel, count: int, draw: int, images: Images, sigmas: tuple[float, ...]
) -> Iterator[SamplerDraw]:
    """The measures of one draw of `count` images by the model's sampler, seed by seed."""
    samples = model.sample(count, draw)
    starts = _start_images(model, draw)
    unrelated = _unrelated_start_images(model, draw)
    chains = model.chains
    # Images come from the chains in turn; a last round that lacks some chains is no round of
    # states.
    complete_rounds = max(count // chains, 1)
    last_round = slice((complete_rounds - 1) * chains, complete_rounds * chains)
    mean = images.train.double().mean(0)
    spacing = spacing_over_chains(count, chains)
    for seed_index, samples_of_seed in enumerate(samples):
        # One image of every chain, in the order of the chains.
        last = samples_of_seed[last_round]
        # Of fewer images than chains, only the first chains have an image to compare.
        own_starts = starts[seed_index, : len(last)]
        compared = samples_of_seed[::spacing][:COMPARED]
        mixing_of_seed = mixing(samples_of_seed.cpu().numpy(), chains)
        yield {
            "log_likelihood": log_likelihood(samples_of_seed, images, sigmas),
            "effective_samples": mixing_of_seed.effective_samples,
            "remembered_start": remembered_start(own_starts, last, unrelated[seed_index], mean),
            "memorisation": memorisation(compared, images.train, images.held_out),
        }


def spacing_over_chains(count: int, chains: int) -> int:
    """How far apart the images are that memorisation is measured on.

    Images of a draw come chain by chain in turn. The distance is the largest that leaves `COMPARED`
    of them and shares no factor with the number of chains, so that each chain has its part.

    Args:
        count: images of the draw.
        chains: that they come from.
    """
    largest = max(count // COMPARED, 1)
    candidates = range(largest, 0, -1)
    return next(spacing for spacing in candidates if math.gcd(spacing, chains) == 1)


def independent_pixels(train: Tensor, count: int) -> Tensor:
    """(count, dimension) images whose pixels are each from an independently drawn training image.

    A baseline without any model.
    """
    population, dimension = train.shape
    # Fixed: the floor that a row is held against must not move from run to run.
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(population, (count, dimension), generator=generator)
    return train.gather(0, rows.to(train.device))
