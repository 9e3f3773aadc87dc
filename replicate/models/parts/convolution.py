"""Convolution, deconvolution and pooling for a block of seeds, as one grouped convolution.

Maps of a block are (n, seeds * channels, height, width): the batch in front, each seed's channels
side by side, so that group s of a convolution sees the channels of seed s alone. Shapes and
rounding are those of pylearn2's `MaxoutConvC01B` and `max_pool_c01b` and of the released
`deconv.py` (goodfeli/adversarial@1720041).
"""

from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, max_pool2d


def fold(rows: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Rows (seeds, n, channels * height * width) as maps (n, seeds * channels, height, width)."""
    seeds, count, _ = rows.shape
    maps_of_seeds = rows.view(seeds, count, channels, height, width)
    # Image by image, since a grouped convolution takes seeds for channels.
    by_image = maps_of_seeds.transpose(0, 1)
    return by_image.reshape(count, -1, height, width)


def unfold(maps: Tensor, seeds: int) -> Tensor:
    """The inverse of `fold`: maps of a block as rows (seeds, n, channels * height * width)."""
    count, block_channels, height, width = maps.shape
    channels = block_channels // seeds
    dimension = channels * height * width
    rows = maps.view(count, seeds, dimension)
    return rows.transpose(0, 1)


def convolve(maps: Tensor, weight: Tensor, bias: Tensor, pad: int) -> Tensor:
    """A convolution with stride 1.

    Args:
        maps: (n, seeds * in, height, width).
        weight: (seeds, out, in, k, k).
        bias: (seeds, out), one per channel.
        pad: zeros at every border.
    """
    seeds = len(weight)
    # A group a seed: no kernel sees another seed's maps.
    # (seeds, out, in, k, k) -> (seeds * out, in, k, k): what a grouped convolution takes.
    kernels = weight.flatten(0, 1)
    biases = bias.flatten()
    return conv2d(maps, kernels, biases, padding=pad, groups=seeds)


def deconvolve(maps: Tensor, weight: Tensor, bias: Tensor, stride: int) -> Tensor:
    """The transpose of a strided convolution.

    Args:
        maps: (n, seeds * in, height, width).
        weight: (seeds, in, out, k, k).
        bias: (seeds, out, height, width), one per pixel.
        stride: of the convolution.
    """
    seeds = len(weight)
    # Input channels first, as a transposed convolution wants them: (seeds * in, out, k, k).
    kernels = weight.flatten(0, 1)
    biases = bias.flatten(0, 1)
    linear = conv_transpose2d(maps, kernels, stride=stride, groups=seeds)
    # Not by the convolution itself, which knows one bias a channel and not one a pixel.
    return linear + biases


def largest_piece(maps: Tensor, seeds: int, pieces: int) -> Tensor:
    """Maxout: channel c is the maximum of a seed's channels c, channels + c, 2 channels + c, ..."""
    count, _, height, width = maps.shape
    by_piece = maps.view(count, seeds, pieces, -1, height, width)
    largest = by_piece.amax(2)
    return largest.flatten(1, 2)


def pool(maps: Tensor, size: int, stride: int) -> Tensor:
    """Maxima over size x size squares; the last may overhang the border, to cover every pixel."""
    # pylearn2 pads at the end so that no pixel is left out; torch's default would drop the border.
    return max_pool2d(maps, size, stride, ceil_mode=True)


def convolved(side: int, kernel: int, pad: int) -> int:
    """Pixels of a side after `convolve`."""
    padded = side + 2 * pad
    return padded - kernel + 1


def deconvolved(side: int, kernel: int, stride: int) -> int:
    """Pixels of a side after `deconvolve`."""
    return stride * (side - 1) + kernel


def pooled(side: int, size: int, stride: int) -> int:
    """Pixels of a side after `pool`."""
    strides = -(-(side - size) // stride)  # rounded up
    return strides + 1
