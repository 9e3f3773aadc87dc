"""Rectifier networks with linear outputs, differentiated by torch's autograd."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from replicate.training.streams import Streams


def initial(streams: Streams, network: str, sizes: Sequence[int], part: int) -> dict[str, Tensor]:
    """Initial `<network>.<layer>.weight` (seeds, in, out) and `.bias` (seeds, 1, out).

    Weights are uniform on +- sqrt(6 / (in + out)) (Glorot & Bengio 2010, equation 16), biases zero.

    Args:
        streams: of the block.
        network: first word of the parameters' names.
        sizes: widths from the input to the output.
        part: of the stream `init`, for the first layer; each further layer takes the next one.
    """
    parameters: dict[str, Tensor] = {}
    for layer, (rows, columns) in enumerate(pairwise(sizes)):
        half_range = math.sqrt(6 / (rows + columns))
        uniform = streams.uniform("init", 0, rows, columns, part=part + layer)
        # The streams give numbers on [0, 1); the range is symmetric about 0.
        centred = 2 * uniform - 1
        name = f"{network}.{layer}"
        parameters[f"{name}.weight"] = centred * half_range
        # One row for all inputs of a seed, so that `baddbmm` broadcasts it over the batch.
        parameters[f"{name}.bias"] = torch.zeros_like(uniform[:, :1])
    return parameters


def linear(inputs: Tensor, parameters: Mapping[str, Tensor], layer: str) -> Tensor:
    """x W + b (seeds, n, out) of inputs (seeds, n, in), by `<layer>.weight` and `.bias`."""
    # One batched product for all seeds, which reads nothing across them.
    return torch.baddbmm(parameters[f"{layer}.bias"], inputs, parameters[f"{layer}.weight"])


def outputs(inputs: Tensor, parameters: Mapping[str, Tensor], network: str, layers: int) -> Tensor:
    """Outputs (seeds, n, out) of inputs (seeds, n, in); all layers but the last are rectified."""
    hidden = inputs
    for layer in range(layers):
        hidden = linear(hidden, parameters, f"{network}.{layer}")
        is_last = layer + 1 == layers
        if not is_last:
            # In place under autograd too: the product before it does not need its own output again.
            hidden = hidden.relu_()
    return hidden
