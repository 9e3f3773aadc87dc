"""Annealed importance sampling of the partition function of Boltzmann machines (Salakhutdinov and Murray 2008).

Nats of bits, by log p(x) = -F(x) - log Z, are another quantity than the Parzen estimate of real-valued pixels;
the two are never set beside each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import softplus

from replicate.models.boltzmann import Draws, Layer
from replicate.training.streams import Streams

#: Half-width of the interval in standard errors of the mean weight: that of Salakhutdinov & Murray 2008.
DEVIATIONS = 3.0


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z in nats, every field float64.

    Attributes:
        estimate: (seeds,), the log of the mean importance weight; its exponential is unbiased for Z.
        low, high: (seeds,), log(mean -+ 3 standard errors of the mean) over the runs; `low` is -inf where the
            weights vary so much that the difference is not positive. Runs that miss a mode make both too low.
        log_weights: (seeds, runs).
    """

    estimate: Tensor
    low: Tensor
    high: Tensor
    log_weights: Tensor


def log_partition(
    layer: Layer, base: Tensor, temperatures: Sequence[float], runs: int, streams: Streams, draw: int = 0
) -> LogPartition:
    """Estimates log Z of a restricted machine, or of a deep one given as `folded(deep)`.

    The path (eq. 15-18 of the paper) leads from a machine without weights and hidden biases, of which Z is known,
    to `layer`: at the temperature k, log p*(x) = (1 - k) base'x + k b'x + sum_j log(1 + exp(k (c_j + x'W_j))).

    Args:
        base: (seeds, 1, visible units), visible biases of the first machine, such as the log-odds of the data's means.
        temperatures: inverse ones, ascending from 0 to 1; the more there are, the less the weights vary.
        runs: independent ones, at least 2.
        streams: the stream `evaluation` of `draw` is used.

    Raises:
        ValueError: temperatures that do not ascend from 0 to 1, or fewer than 2 runs.
    """
    steps = list(temperatures)
    if len(steps) < 2 or steps[0] != 0 or steps[-1] != 1 or any(b <= a for a, b in pairwise(steps)):
        raise ValueError("temperatures must ascend from 0 to 1")
    if runs < 2:
        raise ValueError(f"an interval needs at least 2 runs, not {runs}")
    draws = Draws(streams, "evaluation", draw)
    visible = draws.bits(base.sigmoid().expand(-1, runs, -1))
    weights = torch.zeros(len(base), runs, dtype=torch.float64, device=base.device)
    for before, after in pairwise(steps):
        field = torch.baddbmm(layer.hidden, visible, layer.weight)
        bias = torch.bmm(visible, (layer.visible - base).mT).squeeze(2)
        weights += ((after - before) * bias + (softplus(after * field) - softplus(before * field)).sum(2)).double()
        if after < 1:
            hidden = draws.bits((after * field).sigmoid_())
            towards = torch.baddbmm(layer.visible, hidden, layer.weight.mT)
            visible = draws.bits(torch.lerp(base.expand_as(towards), towards, after).sigmoid_())
    weights += softplus(base.double()).sum(2) + layer.hidden.shape[2] * math.log(2)
    return _summary(weights)


def _summary(log_weights: Tensor) -> LogPartition:
    runs = log_weights.shape[1]
    estimate = log_weights.logsumexp(1) - math.log(runs)
    relative = (log_weights - estimate[:, None]).exp().std(1) / math.sqrt(runs)
    low = torch.log1p((-DEVIATIONS * relative).clamp(min=-1.0))
    return LogPartition(estimate, estimate + low, estimate + torch.log1p(DEVIATIONS * relative), log_weights)
