"""Limits on weights that are enforced after every update."""

from torch import Tensor


def limit_norms(weight: Tensor, limit: float) -> None:
    """In place, scales the incoming weights of every unit to a norm of at most `limit`.

    pylearn2's `max_col_norm` and `max_kernel_norm` (goodfeli/adversarial tfd_pretrain/pretrain.yaml: 1.9365):
    w <- w * min(norm, limit) / (norm + 1e-7), so that even weights within the limit shrink by 1e-7 / norm.

    Args:
        weight: (seeds, in, out), a norm for each column; or kernels (seeds, out, in, height, width), a norm for each
            channel of dimension 1: of a convolution its output channels, of a deconvolution its input channels.
        limit: the largest Euclidean norm.
    """
    over = 1 if weight.ndim == 3 else tuple(range(2, weight.ndim))
    norm = weight.square().sum(over, keepdim=True).sqrt()  # many times quicker down columns than torch's vector_norm
    weight *= norm.clamp(max=limit) / (norm + 1e-7)
