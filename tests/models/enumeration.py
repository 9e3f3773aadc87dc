"""Tiny Boltzmann machines by brute force over all their states, in float64, from the energy
alone.
"""

from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.stats import chisquare
from torch import Tensor

from replicate.models.parts.boltzmann import Deep, Layer


def states(width: int) -> Tensor:
    """(2**width, width): every state of so many bits."""
    return torch.tensor(list(product((0.0, 1.0), repeat=width)), dtype=torch.float64)


def random_layer(visible: int, hidden: int, seed: int = 0, scale: float = 1.0) -> Layer:
    random = torch.Generator().manual_seed(seed)
    shapes = ((1, visible, hidden), (1, 1, visible), (1, 1, hidden))
    weight, below, above = (
        torch.randn(*shape, dtype=torch.float64, generator=random) * scale for shape in shapes
    )
    return Layer(weight, below, above)


def random_deep(sizes: tuple[int, int, int], seed: int = 0, scale: float = 1.0) -> Deep:
    random = torch.Generator().manual_seed(seed)
    shapes = ((1, sizes[0], sizes[1]), (1, sizes[1], sizes[2]), *((1, 1, size) for size in sizes))
    return Deep(
        *(torch.randn(*shape, dtype=torch.float64, generator=random) * scale for shape in shapes)
    )


def log_joint(layer: Layer) -> Tensor:
    """-E of every pair (x, h) of the first seed, (2**visible, 2**hidden), term by term."""
    weight, b, c = layer.weight[0], layer.visible[0, 0], layer.hidden[0, 0]
    x, h = states(len(b)), states(len(c))
    return torch.stack(
        [
            torch.stack([torch.dot(u, weight @ w) + torch.dot(b, u) + torch.dot(c, w) for w in h])
            for u in x
        ]
    )


def log_joint_deep(deep: Deep) -> Tensor:
    """-E of every triple (x, h, t) of the first seed, one dimension for each."""
    x, h, t = (states(bias.shape[2]) for bias in deep[2:])
    lower = torch.einsum("ai,ij,bj->ab", x, deep.lower[0], h)
    upper = torch.einsum("bj,jk,ck->bc", h, deep.upper[0], t)
    fields = [state @ bias[0, 0] for state, bias in zip((x, h, t), deep[2:], strict=True)]
    return (lower + fields[0][:, None])[:, :, None] + (upper + fields[1][:, None])[None] + fields[2]


def log_probability(log_weights: Tensor) -> Tensor:
    """log p(x) of every x, of -E with x first."""
    return log_weights.flatten(1).logsumexp(1) - log_weights.logsumexp(
        tuple(range(log_weights.ndim))
    )


def number_of(bits: Tensor) -> Tensor:
    """The row of `states` that each row of bits is."""
    return (bits * 2.0 ** torch.arange(bits.shape[-1] - 1, -1, -1, dtype=bits.dtype)).sum(-1).long()


def assert_distributed(bits: Tensor, probabilities: Tensor) -> None:
    """Independent rows of bits are distributed as said over `states`: chi-square at 0.1 % (the
    streams are fixed).
    """
    counts = np.bincount(number_of(bits).numpy(), minlength=len(probabilities))
    assert counts.sum() * probabilities.min() > 5, "too few expected in a cell"
    assert chisquare(counts, counts.sum() * probabilities.numpy()).pvalue > 1e-3


def train(model: Any, data: Tensor, start: int = 0, stop: int | None = None) -> Any:
    """Every step of `model` from `start` until `stop`, as the sweep makes them."""
    size = model.config.batch_size
    per_epoch = len(data) // size
    losses = {}
    for step in range(start, per_epoch * model.config.epochs if stop is None else stop):
        epoch, place = divmod(step, per_epoch)
        rows = model.streams.order(epoch, len(data))[:, place * size : (place + 1) * size]
        losses = model.train_step(data[rows], epoch, step)
    return losses
