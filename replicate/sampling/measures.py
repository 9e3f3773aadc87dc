"""What one sampler draws from trained weights: its likelihood, its mixing, its memory, and what is left of its start.

The correlation of two images a and b is that of their deviations from the mean training image m,
<a - m, b - m> / (|a - m| |b - m|). What is reported is the mean over chains of that of the last kept image with the
image of the state the chain started in, less its mean with the starts of other chains, which it has never seen: 0 where
the start is forgotten, near 1 for a chain that stands still.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from replicate.likelihood.parzen import choose_bandwidth, log_densities
from replicate.mixing import mixing
from replicate.models.chains import ChainModel
from replicate.samples import memorisation

#: Starts of other chains that a last image is compared with, and the draws that they are of.
OTHERS, OTHER_DRAWS = 100, 1 << 31
#: Samples whose nearest image is looked for: evenly spread over the draw.
COMPARED = 1000


@dataclass(frozen=True)
class Images:
    """The images of a data set that measuring needs, on the device, each (n, dimension).

    Attributes:
        train, held_out: for memory.
        valid, test: of every fold.
    """

    train: Tensor
    held_out: Tensor
    valid: list[Tensor]
    test: list[Tensor]


def log_likelihood(samples: Tensor, images: Images, sigmas: tuple[float, ...]) -> float:
    """The mean test log-likelihood of samples (n, dimension), mean over folds, each at its own bandwidth; nats."""
    values = []
    for valid, test in zip(images.valid, images.test, strict=True):
        sigma = choose_bandwidth(samples, valid, sigmas).sigma
        values.append(float(log_densities(samples, test, (sigma,)).mean()))
    return sum(values) / len(values)


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """(n, m) inner products of unit rows; a row of zeros has none, 0."""
    units = [rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny) for rows in (one, other)]
    products: Tensor = units[0] @ units[1].T
    return products


def remembered_start(starts: Tensor, last: Tensor, others: Tensor, mean: Tensor) -> float:
    """How much more the last images of chains resemble their own starts than those of other chains.

    Args:
        starts, last: (chains, dimension), row by row of one chain.
        others: (m, dimension) images of other starts.
        mean: (dimension,) of the training images.
    """
    own = cosines(starts.double() - mean, last.double() - mean).diagonal()
    unrelated = cosines(others.double() - mean, last.double() - mean)
    return float(own.mean() - unrelated.mean())


def _starts(model: ChainModel, draw: int) -> Tensor:
    return model.chain_images(model.starting_states(draw), draw, 0)


def _other_starts(model: ChainModel, draw: int) -> Tensor:
    """(seeds, OTHERS, dimension) images of starts of chains that were not run."""
    used = model.used_sampler
    model.sampler = used.model_copy(update={"chains": OTHERS})
    try:
        return _starts(model, OTHER_DRAWS + draw)
    finally:
        model.sampler = used


@torch.no_grad()
def measured_draw(
    model: ChainModel, count: int, draw: int, images: Images, sigmas: tuple[float, ...]
) -> Iterator[dict[str, Any]]:
    """What one draw of `count` images by the model's sampler measures, seed by seed."""
    samples = model.sample(count, draw)
    chains = model.chains
    starts, others = _starts(model, draw), _other_starts(model, draw)
    rounds = max(count // chains, 1)
    last = samples[:, (rounds - 1) * chains : rounds * chains]
    mean = images.train.double().mean(0)
    every = max(count // COMPARED, 1)
    for place in range(len(samples)):
        drawn = samples[place]
        yield {
            "log_likelihood": log_likelihood(drawn, images, sigmas),
            "effective_samples": mixing(drawn.cpu().numpy(), chains).effective_samples,
            "remembered_start": remembered_start(starts[place, : last.shape[1]], last[place], others[place], mean),
            "memorisation": memorisation(drawn[::every][:COMPARED], images.train, images.held_out),
        }


def independent_pixels(train: Tensor, count: int) -> Tensor:
    """(count, dimension) images whose every pixel is that of a training image of its own: no model, no two alike."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(len(train), (count, train.shape[1]), generator=generator).to(train.device)
    return train.gather(0, chosen)
