"""Gradient descent with classical momentum, and the released recipe's schedules."""

from collections.abc import Sequence

from torch import Tensor
from torch.optim.sgd import sgd


def momentum_step(
    parameters: Sequence[Tensor],
    averages: Sequence[Tensor],
    gradients: Sequence[Tensor],
    learning_rate: float,
    momentum: float,
    previous_rate: float,
) -> None:
    """In place, classical momentum with a changing rate: v <- momentum * v - rate * g, theta <- theta + v.

    pylearn2's `Momentum`. What is kept is a = -v / rate, the form of torch's fused update, which reads and
    writes memory once: a <- momentum * (previous_rate / rate) * a + g, then theta <- theta - rate * a.

    Args:
        averages: a, zero at the start; same shapes as the parameters.
        learning_rate, previous_rate: of this update and of the one before it (any value at the first).
    """
    sgd(
        list(parameters), list(gradients), list(averages), fused=True, foreach=False, weight_decay=0.0, dampening=0.0,
        momentum=momentum * previous_rate / learning_rate, lr=learning_rate, nesterov=False, maximize=False,
    )  # fmt: skip


def decayed(initial: float, decay: float, floor: float, updates: int) -> float:
    """The learning rate after `updates` minibatches: initial / decay**updates, at least `floor`.

    pylearn2's `ExponentialDecay` (goodfeli/adversarial mnist.yaml: .1, 1.000004, 1e-6).
    """
    return max(initial / decay**updates, floor)


def ramped(initial: float, final: float, saturate: int, epoch: int) -> float:
    """The momentum in `epoch` (counted from 0): linear from the first epoch to number `saturate`, then constant.

    pylearn2's `MomentumAdjustor` (goodfeli/adversarial mnist.yaml: .5 to .7, start 1, saturate 250), which counts
    from 1: its monitor runs once before the first epoch.
    """
    share = min(epoch / max(saturate - 1, 1), 1.0)
    return initial + share * (final - initial)
