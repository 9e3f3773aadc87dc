"""Annealed importance sampling (AIS) of the partition function of Boltzmann machines.

Salakhutdinov & Murray 2008. The nats of bits, log p(x) = -F(x) - log Z, and the nats of the Parzen
estimate of real-valued pixels are different quantities; the two are never compared.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import softplus

from replicate.models.parts.boltzmann import Draws, Layer
from replicate.training.streams import Streams

#: Half-width of the interval in standard errors of the mean weight (Salakhutdinov & Murray 2008).
STANDARD_ERRORS = 3.0


@dataclass(frozen=True)
class LogPartition:
    """An estimate of log Z in nats, all in float64.

    Attributes:
        estimate: (seeds,), the log of the mean importance weight; its exponential is unbiased for
            Z.
        low, high: (seeds,), log(mean -+ 3 standard errors) over the runs; `low` is -inf where that
            difference is not positive. Runs that miss a mode make both too low.
        log_weights: (seeds, runs).
    """

    estimate: Tensor
    low: Tensor
    high: Tensor
    log_weights: Tensor


def log_partition(
    layer: Layer,
    base: Tensor,
    temperatures: Sequence[float],
    runs: int,
    streams: Streams,
    draw: int = 0,
) -> LogPartition:
    """Estimates log Z of a restricted machine, or of a deep one given as `folded(deep)`.

    The path (equations 15-18 of the paper) leads from a machine without weights and hidden biases,
    of which Z is known, to `layer`. At the inverse temperature k

        log p*(x) = (1 - k) base'x + k b'x + sum_j log(1 + exp(k (c_j + x'W_j))).

    Args:
        layer: the machine.
        base: (seeds, 1, visible units), visible biases of the first machine, such as the log-odds
            of the data's means.
        temperatures: inverse temperatures, ascending from 0 to 1; with more of them the importance
            weights vary less.
        runs: independent runs, at least 2.
        streams: the source of the stream `evaluation`.
        draw: its step.

    Raises:
        ValueError: temperatures that do not ascend from 0 to 1, or fewer than 2 runs.
    """
    _check_temperatures(temperatures)
    if runs < 2:
        raise ValueError(f"an interval needs at least 2 runs, not {runs}")
    draws = Draws(streams, "evaluation", draw)
    # An exact draw of the first machine, whose visible units are independent.
    visible = draws.bits(base.sigmoid().expand(-1, runs, -1))
    log_weights = torch.zeros(len(base), runs, dtype=torch.float64, device=base.device)
    for previous, current in pairwise(temperatures):
        # log p*(x) at the current temperature less that at the previous one.
        field = torch.baddbmm(layer.hidden, visible, layer.weight)
        bias_energy = torch.bmm(visible, (layer.visible - base).mT).squeeze(2)
        # Hidden units are summed out, which makes the weights vary less than with drawn ones.
        hidden_terms = softplus(current * field) - softplus(previous * field)
        log_ratio = (current - previous) * bias_energy + hidden_terms.sum(2)
        # In float64: thousands of small ratios are added.
        log_weights += log_ratio.double()
        # No weight follows the last temperature.
        if current < 1:
            # One Gibbs step that leaves the current distribution unchanged.
            hidden = draws.bits((current * field).sigmoid_())
            visible_log_odds = torch.baddbmm(layer.visible, hidden, layer.weight.mT)
            base_log_odds = base.expand_as(visible_log_odds)
            mixed_log_odds = torch.lerp(base_log_odds, visible_log_odds, current)
            visible = draws.bits(mixed_log_odds.sigmoid_())
    # log Z of the first machine.
    hidden_units = layer.hidden.shape[2]
    # Visible units have their biases, and each hidden one its two states: a factor of 2.
    log_weights += softplus(base.double()).sum(2) + hidden_units * math.log(2)
    return _estimate(log_weights)


def _check_temperatures(temperatures: Sequence[float]) -> None:
    ascend = all(later > earlier for earlier, later in pairwise(temperatures))
    ends = (temperatures[0], temperatures[-1]) if len(temperatures) else ()
    if ends != (0, 1) or not ascend:
        raise ValueError("temperatures must ascend from 0 to 1")


def _estimate(log_weights: Tensor) -> LogPartition:
    runs = log_weights.shape[1]
    estimate = log_weights.logsumexp(1) - math.log(runs)
    # Relative to their mean: the weights themselves overflow.
    relative_weights = (log_weights - estimate[:, None]).exp()
    relative_error = relative_weights.std(1) / math.sqrt(runs)
    # Cut at -1, where the interval of Z reaches 0: its logarithm is then -inf and not NaN.
    below = torch.log1p((-STANDARD_ERRORS * relative_error).clamp(min=-1.0))
    above = torch.log1p(STANDARD_ERRORS * relative_error)
    return LogPartition(estimate, estimate + below, estimate + above, log_weights)
