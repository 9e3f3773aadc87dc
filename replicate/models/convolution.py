"""Convolution, deconvolution and pooling for a block of seeds: the seeds are the groups of one grouped convolution.

Maps of a block are (n, seeds * channels, height, width): the batch in front, each seed's channels side by side, so
that group s of a convolution sees the channels of seed s alone. Shapes and rounding are those of pylearn2's
`MaxoutConvC01B` and `max_pool_c01b` and of the released `deconv.py` (goodfeli/adversarial@1720041).
"""

from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, max_pool2d


def fold(rows: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Rows (seeds, n, channels * height * width) as maps (n, seeds * channels, height, width)."""
    seeds, count, _ = rows.shape
    return rows.view(seeds, count, channels, height, width).transpose(0, 1).reshape(count, -1, height, width)


def unfold(maps: Tensor, seeds: int) -> Tensor:
    """The inverse of `fold`: maps of a block as rows (seeds, n, channels * height * width)."""
    count, channels, height, width = maps.shape
    return maps.view(count, seeds, channels // seeds * height * width).transpose(0, 1)


def convolve(maps: Tensor, weight: Tensor, bias: Tensor, pad: int) -> Tensor:
    """Stride 1, `pad` zeros at every border; weight (seeds, out, in, k, k), bias (seeds, out), one for each channel."""
    return conv2d(maps, weight.flatten(0, 1), bias.flatten(), padding=pad, groups=len(weight))


def deconvolve(maps: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """A strided convolution's transpose; weight (seeds, in, out, k, k), bias (seeds, out, height, width)."""
    return conv_transpose2d(maps, weight.flatten(0, 1), stride=stride, groups=len(weight)) + bias.flatten(0, 1)


def largest_piece(maps: Tensor, seeds: int, pieces: int) -> Tensor:
    """Maxout: channel c is the maximum of channels c, channels + c, 2 channels + c, ... of its seed."""
    count, _, height, width = maps.shape
    largest = maps.view(count, seeds, pieces, -1, height, width).amax(2)
    return largest.flatten(1, 2)


def pool(maps: Tensor, size: int, stride: int) -> Tensor:
    """Maxima over size x size squares; the last may hang over the border, so that every pixel is covered."""
    return max_pool2d(maps, size, stride, ceil_mode=True)


def convolved(side: int, kernel: int, pad: int) -> int:
    """Pixels of a side after `convolve`."""
    return side + 2 * pad - kernel + 1


def deconvolved(side: int, kernel: int, stride: int) -> int:
    """Pixels of a side after `deconvolve`."""
    return stride * (side - 1) + kernel


def pooled(side: int, size: int, stride: int) -> int:
    """Pixels of a side after `pool`."""
    return -(-(side - size) // stride) + 1
