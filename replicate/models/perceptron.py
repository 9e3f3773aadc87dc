"""Rectifier networks with linear outputs, for models whose gradients autograd works out."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from replicate.training.streams import Streams


def initial(streams: Streams, network: str, sizes: Sequence[int], part: int) -> dict[str, Tensor]:
    """The parameters `<network>.<layer>.weight` (seeds, in, out) and `.bias` (seeds, 1, out) at the start.

    Weights are uniform on +- sqrt(6 / (in + out)) (Glorot & Bengio 2010, equation 16), biases zero.

    Args:
        sizes: widths from the input to the output.
        part: of the stream `init`, for the first layer; each layer takes one more.
    """
    parameters: dict[str, Tensor] = {}
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        half_range = math.sqrt(6 / (rows + columns))
        drawn = streams.uniform("init", 0, rows, columns, part=part + layer)
        parameters[f"{network}.{layer}.weight"] = (2 * drawn - 1) * half_range
        parameters[f"{network}.{layer}.bias"] = torch.zeros_like(drawn[:, :1])
    return parameters


def outputs(inputs: Tensor, parameters: Mapping[str, Tensor], network: str, layers: int) -> Tensor:
    """What the network gives for `inputs` (seeds, n, in): (seeds, n, out), rectified in all layers but the last."""
    hidden = inputs
    for layer in range(layers):
        weight, bias = parameters[f"{network}.{layer}.weight"], parameters[f"{network}.{layer}.bias"]
        hidden = torch.baddbmm(bias, hidden, weight)
        if layer + 1 < layers:
            hidden = hidden.relu_()
    return hidden
