"""A rectifier network with sigmoid outputs, and its back-propagation by hand."""

from collections.abc import Sequence

import torch
from torch import Tensor

#: (weight (seeds, in, out), bias (seeds, 1, out)) from the input up.
Layers = Sequence[tuple[Tensor, Tensor]]


def outputs(code: Tensor, layers: Layers) -> list[Tensor]:
    """What each layer gives, (seeds, n, out): rectified in the hidden layers, in (0, 1) in the last."""
    found: list[Tensor] = []
    hidden = code
    for number, (weight, bias) in enumerate(layers):
        linear = torch.bmm(hidden, weight).add_(bias)
        hidden = linear.relu_() if number + 1 < len(layers) else linear.sigmoid_()
        found.append(hidden)
    return found


def backpropagate(
    code: Tensor, found: Sequence[Tensor], layers: Layers, towards: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Gradients of each layer's (weight, bias), from the input up.

    Args:
        code: what `outputs` was given, (seeds, n, in).
        found: what it returned.
        towards: gradient of the loss by the last layer's outputs, (seeds, n, out).
    """
    delta = torch.ops.aten.sigmoid_backward(towards, found[-1])
    gradients: list[tuple[Tensor, Tensor]] = []
    for number in range(len(layers) - 1, -1, -1):
        below = found[number - 1] if number else code
        gradients.append((torch.bmm(below.mT, delta), delta.sum(1, keepdim=True)))
        if number:
            delta = torch.ops.aten.threshold_backward(torch.bmm(delta, layers[number][0].mT), below, 0)
    return gradients[::-1]
