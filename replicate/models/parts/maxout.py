"""A maxout network with one logit (Goodfellow et al. 2013), with a hand-written backward pass.

The network is piecewise linear, so the gradient of a row's logit with respect to anything below it
does not depend on the objective; an objective enters only as the derivative of its loss with
respect to that logit. One backward pass with unit derivatives therefore serves both players: D's
weights take it times the derivatives of D's loss, the images times those of G's loss. Autograd
would run the pass once for each. Tests compare the result with autograd's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: (weight (seeds, in, out), bias (seeds, 1, out)) from the input up; the last has one output, the
#: others pieces * units outputs: unit u is the maximum of columns u, units + u, 2 units + u, ...
Layers = Sequence[tuple[Tensor, Tensor]]


@dataclass
class Tape:
    """The intermediate values of a forward pass that the backward pass needs.

    Attributes:
        inputs: input of each layer after dropout, (seeds, n, in).
        shares: of each maxout layer, (seeds, n, pieces, units): 1 for the winning piece, 0 for the
            others; ties share.
        masks: dropout masks of each layer's input.
    """

    inputs: list[Tensor] = field(default_factory=list)
    shares: list[Tensor] = field(default_factory=list)
    masks: Sequence[Tensor] = ()


def logits(
    images: Tensor, layers: Layers, pieces: int, masks: Sequence[Tensor] | None = None
) -> tuple[Tensor, Tape]:
    """The forward pass.

    Args:
        images: (seeds, n, dimension).
        layers: weights and biases.
        pieces: linear pieces of a maxout unit.
        masks: dropout masks of each layer's input; None: no dropout.

    Returns:
        Logits (seeds, n), and the tape of the pass.
    """
    tape = Tape(masks=masks or ())
    hidden = images
    for number, (weight, bias) in enumerate(layers):
        if masks is not None:
            # Not in place: the first input is the caller's.
            hidden = hidden * masks[number]
        tape.inputs.append(hidden)
        linear = torch.bmm(hidden, weight).add_(bias)
        is_last = number + 1 == len(layers)
        if is_last:
            return linear.squeeze(-1), tape
        seeds, rows, _ = linear.shape
        linear = linear.view(seeds, rows, pieces, -1)  # (seeds, n, pieces, units)
        largest = linear.amax(-2, keepdim=True)
        # In place: the backward pass does not need the linear pieces themselves.
        wins = linear.eq_(largest)
        # Ties share as in the gradient of `torch.amax`, with which the tests compare.
        winners = wins.sum(-2, keepdim=True)
        share = wins.div_(winners)
        tape.shares.append(share)
        hidden = largest.squeeze(-2)
    raise ValueError("a network needs at least one layer")


def backpropagate(
    tape: Tape, layers: Layers, slopes: Tensor | None, image_rows: slice | None
) -> tuple[list[tuple[Tensor, Tensor]], Tensor | None]:
    """The backward pass of the logits.

    Args:
        tape: of the forward pass.
        layers: weights and biases.
        slopes: (seeds, n), derivative of the loss with respect to each logit; None: no gradients
            with respect to the weights.
        image_rows: the rows of images that need a gradient; None: no row.

    Returns:
        Gradients of the loss with respect to each layer's (weight, bias), from the input up, and
        the gradient of the logits with respect to the images in `image_rows`, (seeds, rows,
        dimension).
    """
    gradients: list[tuple[Tensor, Tensor]] = []
    images = tape.inputs[0]
    # Gradient of each row's logit with respect to the layer's output, (seeds, n, out).
    grad_output = images.new_ones(*images.shape[:2], 1)
    for number in reversed(range(len(layers))):
        # A maxout unit passes its gradient to the winning piece.
        if number < len(tape.shares):
            shares = tape.shares[number]
            grad_pieces = shares * grad_output.unsqueeze(-2)
            grad_output = grad_pieces.flatten(-2)
        # With y = x W + b: dL/dW = x^T delta, dL/db = sum of delta over rows.
        if slopes is not None:
            delta = grad_output * slopes.unsqueeze(-1)
            inputs = tape.inputs[number]
            grad_weight = torch.bmm(inputs.mT, delta)
            grad_bias = delta.sum(1, keepdim=True)
            gradients.append((grad_weight, grad_bias))
        rows = slice(None)
        if number == 0:
            # D alone is updated: the product with the first weights, the widest, is not needed.
            if image_rows is None:
                return gradients[::-1], None
            # Data are not differentiated: only G's images need what lies below the first layer.
            rows = image_rows
        # dy/dx = W^T, then through the dropout mask of x
        weight, _ = layers[number]
        grad_output = torch.bmm(grad_output[:, rows], weight.mT)
        if tape.masks:
            mask = tape.masks[number]
            grad_output *= mask[:, rows]
    # They were collected from the last layer down.
    return gradients[::-1], grad_output
