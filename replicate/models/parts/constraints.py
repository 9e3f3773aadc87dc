"""Limits on weights that are enforced after every update."""

from torch import Tensor


def limit_norms(weight: Tensor, limit: float) -> None:
    """In place, scales the incoming weights of every unit to a norm of at most `limit`.

    pylearn2's `max_col_norm` and `max_kernel_norm` (goodfeli/adversarial
    tfd_pretrain/pretrain.yaml: 1.9365): w <- w * min(norm, limit) / (norm + 1e-7), so that even
    weights within the limit shrink by 1e-7 / norm.

    Args:
        weight: (seeds, in, out), one norm per column; or kernels (seeds, out, in, height, width),
            one norm per channel of dimension 1: output channels of a convolution, input channels
            of a deconvolution.
        limit: the largest Euclidean norm.
    """
    axes = weight.ndim
    summed_axes: int | tuple[int, ...] = 1
    if axes != 3:
        summed_axes = tuple(range(2, axes))
    # Down columns many times faster than torch.linalg.vector_norm.
    squares = weight.square()
    squared_norm = squares.sum(summed_axes, keepdim=True)
    norm = squared_norm.sqrt()
    limited = norm.clamp(max=limit)
    # As pylearn2 adds it: units whose weights are all 0 have no norm to divide by.
    factor = limited / (norm + 1e-7)
    weight *= factor
