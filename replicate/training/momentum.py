"""Gradient descent with classical momentum, and the released recipe's schedules."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.sgd import sgd


def zero_averages(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The averages of `momentum_step` at the start: zero, one of the shape of each parameter."""
    return {name: torch.zeros_like(value) for name, value in parameters.items()}


def momentum_step(
    parameters: Sequence[Tensor],
    averages: Sequence[Tensor],
    gradients: Sequence[Tensor],
    learning_rate: float,
    momentum: float,
    previous_rate: float,
) -> None:
    """In place, one update by classical momentum with a changing rate (pylearn2's `Momentum`).

        v <- momentum * v - rate * g,  theta <- theta + v.

    torch's fused update stores a = -v / rate instead and reads and writes memory once:

        a <- momentum * (previous_rate / rate) * a + g,  theta <- theta - rate * a.

    Args:
        parameters: theta.
        averages: a, zero at the start; same shapes as the parameters.
        gradients: g.
        learning_rate: the rate of this update.
        momentum: see above.
        previous_rate: the rate of the update before (any value at the first).
    """
    # A rate that falls by a factor an epoch is below the smallest number in the end: then nothing
    # moves any more, and the ratio of the rates is 0 / 0.
    if learning_rate == 0:
        return
    if momentum == 0:
        # torch leaves averages alone then, and those of before would come back with the momentum.
        for average, gradient in zip(averages, gradients, strict=True):
            average.copy_(gradient)
    # torch keeps a <- momentum * a + g, so the ratio of the rates goes into its momentum.
    # One pass over memory: an update of millions of weights waits for memory, not for arithmetic.
    sgd(
        params=list(parameters),
        d_p_list=list(gradients),
        momentum_buffer_list=list(averages),
        foreach=False,
        fused=True,
        weight_decay=0.0,
        momentum=momentum * previous_rate / learning_rate,
        lr=learning_rate,
        # Classical momentum: gradients enter the average whole.
        dampening=0.0,
        nesterov=False,
        maximize=False,
    )


def decayed(initial: float, decay: float, floor: float, updates: int) -> float:
    """The learning rate after `updates` minibatches: initial / decay**updates, at least `floor`.

    pylearn2's `ExponentialDecay` (goodfeli/adversarial mnist.yaml: .1, 1.000004, 1e-6).
    """
    # From the count and not from the last rate: a resumed run needs no other state.
    try:
        rate = initial / decay**updates
    except OverflowError:
        # The power is beyond the largest number, and so the rate long below any floor.
        return floor
    return max(rate, floor)


def ramped(initial: float, final: float, saturate: int, epoch: int) -> float:
    """The momentum in an epoch: linear from the first one to number `saturate`, then constant.

    pylearn2's `MomentumAdjustor` (goodfeli/adversarial mnist.yaml: .5 to .7, start 1, saturate
    250), which counts from 1: its monitor runs once before the first epoch.

    Args:
        initial, final: momentum of the first and of the last epoch of the ramp.
        saturate: number of that last epoch, counted from 1.
        epoch: counted from 0.
    """
    # A ramp without length is at its end at once, as pylearn2 has it where saturate is start.
    if saturate <= 1:
        return final
    share = min(epoch / (saturate - 1), 1.0)
    return initial + share * (final - initial)
