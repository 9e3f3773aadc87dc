"""Maxout (Goodfellow et al. 2013): the largest of several linear pieces."""

import torch
from torch import Tensor


class _Maxout(torch.autograd.Function):
    """The maximum over the pieces; its gradient goes to the piece that won, shared where several tie.

    What `amax` does, but counted in floating point; its own backward pass counts ties in integers, which is slower.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, linear: Tensor) -> Tensor:
        largest = linear.amax(-2)
        ctx.save_for_backward(linear, largest)
        return largest

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        linear, largest = ctx.saved_tensors  # type: ignore[attr-defined]
        won = (linear == largest.unsqueeze(-2)).to(linear.dtype)
        shared: Tensor = won * (gradient / won.sum(-2)).unsqueeze(-2)
        return shared


def maxout(linear: Tensor, pieces: int) -> Tensor:
    """(..., pieces * units) to (..., units): unit u is the maximum of columns u, units + u, 2 units + u, ...

    Keeping the units together, not the pieces, lets the processor compare whole rows.
    """
    result: Tensor = _Maxout.apply(linear.unflatten(-1, (pieces, -1)))  # type: ignore[no-untyped-call]
    return result
