"""A maxout network with one logit (Goodfellow et al. 2013), and its back-propagation by hand.

The network is piecewise linear, so the gradient of a row's logit by anything below it does not depend on the
objective: an objective enters only as the slope of its loss by that logit. One backward pass with unit slopes
therefore serves both players: weights take it times the slopes of D's loss, images times those of G's. torch's
autograd would run the pass once for each. Tests hold it to autograd.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

#: (weight (seeds, in, out), bias (seeds, 1, out)) from the input up; the last has one output, the others
#: pieces * units outputs: unit u is the maximum of columns u, units + u, 2 units + u, ...
Layers = Sequence[tuple[Tensor, Tensor]]


@dataclass
class Tape:
    """What the backward pass needs.

    Attributes:
        inputs: input of each layer after dropout, (seeds, n, in).
        shares: of each maxout layer, (seeds, n, pieces, units): 1 for the winning piece, 0 for the others, ties share.
        masks: dropout masks of each layer's input.
    """

    inputs: list[Tensor] = field(default_factory=list)
    shares: list[Tensor] = field(default_factory=list)
    masks: Sequence[Tensor] = ()


def logits(images: Tensor, layers: Layers, pieces: int, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, Tape]:
    """Logits (seeds, n) of images (seeds, n, dimension), and the tape; without masks nothing is dropped."""
    tape = Tape(masks=masks or ())
    hidden = images
    for number, (weight, bias) in enumerate(layers):
        if masks is not None:
            hidden = hidden * masks[number]
        tape.inputs.append(hidden)
        linear = torch.bmm(hidden, weight).add_(bias)
        if number + 1 == len(layers):
            return linear.squeeze(-1), tape
        linear = linear.view(*linear.shape[:2], pieces, -1)
        largest = linear.amax(-2, keepdim=True)
        share = linear.eq_(largest)  # in floating point and in place: the linear parts are not needed again
        tape.shares.append(share.div_(share.sum(-2, keepdim=True)))
        hidden = largest.squeeze(-2)
    raise ValueError("a network needs at least one layer")


def backpropagate(
    tape: Tape, layers: Layers, slopes: Tensor | None, image_rows: slice | None
) -> tuple[list[tuple[Tensor, Tensor]], Tensor | None]:
    """Back-propagation with unit slopes.

    Args:
        slopes: (seeds, n), derivative of the loss by each logit; None leaves the weights' gradients out.
        image_rows: the rows whose images' gradients are wanted, or None.

    Returns:
        Gradients of each layer's (weight, bias), from the input up, and the gradient of the logits by the images
        in `image_rows`, (seeds, rows, dimension), to be multiplied by any slope.
    """
    found: list[tuple[Tensor, Tensor]] = []
    seeds, count, _ = tape.inputs[0].shape
    above = torch.ones(seeds, count, 1, dtype=tape.inputs[0].dtype, device=tape.inputs[0].device)
    for number in range(len(layers) - 1, -1, -1):
        if number < len(tape.shares):
            above = (tape.shares[number] * above.unsqueeze(-2)).flatten(-2)
        if slopes is not None:
            weighted = above * slopes.unsqueeze(-1)
            found.append((torch.bmm(tape.inputs[number].mT, weighted), weighted.sum(1, keepdim=True)))
        if number == 0 and image_rows is None:
            return found[::-1], None
        rows = image_rows if number == 0 and image_rows is not None else slice(None)
        above = torch.bmm(above[:, rows], layers[number][0].mT)
        if tape.masks:
            above *= tape.masks[number][:, rows]
    return found[::-1], above
