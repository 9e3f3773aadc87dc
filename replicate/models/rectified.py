"""A feed-forward network of rectified linear, sigmoid and linear layers, and its back-propagation by hand."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

#: (weight (seeds, in, out), bias (seeds, 1, out)) from the input up.
Layers = Sequence[tuple[Tensor, Tensor]]

#: What a layer does with its weighted sums.
Unit = Literal["rectified", "sigmoid", "linear"]


def outputs(code: Tensor, layers: Layers, units: Sequence[Unit]) -> list[Tensor]:
    """What each layer gives, (seeds, n, out); `units` names the kind of each layer, from the input up."""
    found: list[Tensor] = []
    hidden = code
    for (weight, bias), unit in zip(layers, units, strict=True):
        hidden = torch.bmm(hidden, weight).add_(bias)
        if unit == "rectified":
            hidden.relu_()
        elif unit == "sigmoid":
            hidden.sigmoid_()
        found.append(hidden)
    return found


def backpropagate(
    code: Tensor, found: Sequence[Tensor], layers: Layers, units: Sequence[Unit], towards: Tensor
) -> list[tuple[Tensor, Tensor]]:
    """Gradients of each layer's (weight, bias), from the input up.

    Args:
        code: what `outputs` was given, (seeds, n, in).
        found: what it returned.
        units: the kinds it was given.
        towards: gradient of the loss by the last layer's outputs, (seeds, n, out).
    """
    gradients: list[tuple[Tensor, Tensor]] = []
    for number in range(len(layers) - 1, -1, -1):
        delta = _through(units[number], towards, found[number])
        below = found[number - 1] if number else code
        gradients.append((torch.bmm(below.mT, delta), delta.sum(1, keepdim=True)))
        if number:
            towards = torch.bmm(delta, layers[number][0].mT)
    return gradients[::-1]


def _through(unit: Unit, towards: Tensor, output: Tensor) -> Tensor:
    """The gradient by a layer's weighted sums, of that by its outputs; both (seeds, n, out)."""
    if unit == "linear":
        return towards
    by_sums: Tensor = (
        torch.ops.aten.sigmoid_backward(towards, output)
        if unit == "sigmoid"
        else torch.ops.aten.threshold_backward(towards, output, 0)
    )
    return by_sums
