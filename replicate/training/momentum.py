"""Gradient descent with classical momentum, and the released recipe's schedules."""

from collections.abc import Sequence

import torch
from torch import Tensor


def momentum_step(
    parameters: Sequence[Tensor],
    velocities: Sequence[Tensor],
    gradients: Sequence[Tensor],
    learning_rate: float,
    momentum: float,
) -> None:
    """In place: v <- momentum * v - learning_rate * g, then theta <- theta + v (pylearn2's `Momentum`)."""
    torch._foreach_mul_(list(velocities), momentum)
    torch._foreach_add_(list(velocities), list(gradients), alpha=-learning_rate)
    torch._foreach_add_(list(parameters), list(velocities))


def decayed(initial: float, decay: float, floor: float, updates: int) -> float:
    """The learning rate after `updates` minibatches: initial / decay**updates, at least `floor`.

    pylearn2's `ExponentialDecay` (goodfeli/adversarial mnist.yaml: .1, 1.000004, 1e-6).
    """
    return max(initial / decay**updates, floor)


def ramped(initial: float, final: float, saturate: int, epoch: int) -> float:
    """The momentum in `epoch` (counted from 0): linear from epoch 1 to epoch `saturate`, then constant.

    pylearn2's `MomentumAdjustor` (goodfeli/adversarial mnist.yaml: .5 to .7, start 1, saturate 250).
    """
    share = min(max((epoch - 1) / max(saturate - 1, 1), 0.0), 1.0)
    return initial + share * (final - initial)
