"""The density p(z) of codes, as samplers of the posterior p(z | x) need it.

A chain moves in positions u of which p(u) is smooth everywhere; a code is a function of its
position. For a normal or a mixture z = u; for z uniform on (-sqrt 3, sqrt 3), u is standard normal
and z = sqrt 3 erf(u / sqrt 2), which is exactly uniform.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.training.streams import Streams


@dataclass(frozen=True)
class Prior:
    """p(u), and the code z of a position u.

    Attributes:
        draw: (count, draw, part) -> positions (seeds, count, k), draws of p(u).
        log_density: positions (seeds, n, k) -> log p(u), (seeds, n) nats, differentiable.
        code: positions (seeds, n, k) -> codes (seeds, n, k), differentiable.
    """

    draw: Callable[[int, int, int], Tensor]
    log_density: Callable[[Tensor], Tensor]
    code: Callable[[Tensor], Tensor]


def _standard_normal(position: Tensor) -> Tensor:
    # With its constant: bounds on log p(x) are absolute numbers of nats, not differences.
    log_norm = 0.5 * position.shape[2] * math.log(2 * math.pi)
    return -0.5 * position.square().sum(2) - log_norm


def _uniform_code(position: Tensor) -> Tensor:
    # sqrt(3) (2 Phi(u) - 1): a chain in z itself would run into the walls of the uniform density.
    return math.sqrt(3) * torch.erf(position / math.sqrt(2))


def _same(position: Tensor) -> Tensor:
    # Where the density is given in codes, positions and codes are the same thing.
    return position


def normal(streams: Streams, dimension: int, uniform_codes: bool = False) -> Prior:
    """Standard normal positions, whose codes are the same, or uniform on (-sqrt 3, sqrt 3).

    Args:
        streams: of the model; positions are of the stream `evaluation`.
        dimension: k.
        uniform_codes: of unit variance, as adversarial nets have them.
    """

    def draw(count: int, draw: int, part: int) -> Tensor:
        return streams.normal("evaluation", draw, count, dimension, part=part)

    return Prior(draw, _standard_normal, _uniform_code if uniform_codes else _same)


def of_codes(
    draw: Callable[[int, int, int], Tensor], log_density: Callable[[Tensor], Tensor]
) -> Prior:
    """A prior whose density is given in codes themselves."""
    return Prior(draw, log_density, _same)
