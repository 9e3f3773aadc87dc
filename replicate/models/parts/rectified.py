"""Networks of rectified linear, sigmoid and linear layers, with a hand-written backward pass."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

#: (weight (seeds, in, out), bias (seeds, 1, out)) from the input up.
Layers = Sequence[tuple[Tensor, Tensor]]

#: The activation of a layer.
Unit = Literal["rectified", "sigmoid", "linear"]


def outputs(code: Tensor, layers: Layers, units: Sequence[Unit]) -> list[Tensor]:
    """The forward pass.

    Args:
        code: (seeds, n, in).
        layers: weights and biases.
        units: the activation of each layer.

    Returns:
        The output of each layer from the input up, (seeds, n, out).
    """
    activations: list[Tensor] = []
    hidden = code
    for (weight, bias), unit in zip(layers, units, strict=True):
        hidden = torch.bmm(hidden, weight).add_(bias)
        # In place: the backward pass needs outputs alone, from which both derivatives follow.
        if unit == "rectified":
            hidden.relu_()
        elif unit == "sigmoid":
            hidden.sigmoid_()
        activations.append(hidden)
    return activations


def backpropagate(
    code: Tensor,
    activations: Sequence[Tensor],
    layers: Layers,
    units: Sequence[Unit],
    grad_output: Tensor,
) -> list[tuple[Tensor, Tensor]]:
    """The backward pass.

    Args:
        code: the argument of `outputs`, (seeds, n, in).
        activations: the result of `outputs`.
        layers: weights and biases.
        units: the activation of each layer.
        grad_output: gradient of the loss with respect to the last output, (seeds, n, out).

    Returns:
        Gradients with respect to each layer's (weight, bias), from the input up.
    """
    gradients: list[tuple[Tensor, Tensor]] = []
    inputs = [code, *activations[:-1]]
    for number in reversed(range(len(layers))):
        unit = units[number]
        # With y = f(x W + b): delta = dL/dy f', dL/dW = x^T delta, dL/db = sum of delta over rows.
        delta = _grad_input(unit, grad_output, activations[number])
        layer_input = inputs[number]
        grad_weight = torch.bmm(layer_input.mT, delta)
        grad_bias = delta.sum(1, keepdim=True)
        gradients.append((grad_weight, grad_bias))
        # dL/dx = delta W^T; nothing needs that of the code.
        if number:
            weight, _ = layers[number]
            grad_output = torch.bmm(delta, weight.mT)
    # Found from the top down.
    return gradients[::-1]


def _grad_input(unit: Unit, grad_output: Tensor, output: Tensor) -> Tensor:
    """The gradient with respect to an activation's input, from that with respect to its output.

    Args:
        unit: the activation.
        grad_output, output: (seeds, n, out), as is the result.
    """
    if unit == "linear":
        return grad_output
    grad_input: Tensor
    if unit == "sigmoid":
        grad_input = torch.ops.aten.sigmoid_backward(grad_output, output)
    else:
        # The output is above 0 exactly where the input is.
        grad_input = torch.ops.aten.threshold_backward(grad_output, output, 0)
    return grad_input
