"""Training images with their classes, as a conditional model is given them."""

import torch
from torch import Tensor
from torch.nn.functional import one_hot


def with_classes(images: Tensor, labels: Tensor) -> Tensor:
    """Images (n, dimension), each followed by its class as a row of 0 and a 1: (n, dimension + k).

    Args:
        images: (n, dimension).
        labels: (n,) int64; k is the largest and one.
    """
    classes = one_hot(labels).to(images)
    # Behind the pixels, so that whoever wants images alone cuts at `dimension`.
    return torch.cat([images, classes], 1)
