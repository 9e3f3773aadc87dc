"""The generator of adversarial nets without torch: its layers from z up, and its images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from replicate.records.schema import WeightsAbout


@dataclass(frozen=True)
class Layer:
    """A fully connected layer of G.

    Attributes:
        weight: (inputs, outputs).
        bias: (outputs,).
        unit: what it does with its sums: "rectified", "sigmoid" or "linear".
    """

    weight: NDArray[np.floating]
    bias: NDArray[np.floating]
    unit: str


def generator_layers(
    tensors: Mapping[str, NDArray[np.floating]], about: WeightsAbout, seed: int
) -> list[Layer]:
    """The layers of one seed's G, from z up.

    Args:
        tensors: of a weights file of adversarial nets.
        about: of the same.
        seed: one of its seeds.
    """
    config = about["parameters"]["config"]
    row = about["seeds"].index(seed)
    count = sum(name.startswith("generator.") and name.endswith(".weight") for name in tensors)
    layers = []
    for number in range(count):
        unit = "rectified"
        if number in config["generator_sigmoid"]:
            unit = "sigmoid"
        if number == count - 1:
            unit = config["output"]
        weight = tensors[f"generator.{number}.weight"][row]
        bias = tensors[f"generator.{number}.bias"][row]
        layers.append(Layer(weight, bias.reshape(-1), unit))
    return layers


def widths_of(layers: Sequence[Layer]) -> list[int]:
    """The widths of G from z up: the length of z, of every hidden layer, and the pixels."""
    widths = [layer.weight.shape[0] for layer in layers]
    return [*widths, layers[-1].weight.shape[1]]


def images_of(layers: Sequence[Layer], codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """G(z), computed in float64.

    Args:
        layers: from z up.
        codes: z, (n, length of z).

    Returns:
        (n, pixels).
    """
    values = codes
    for layer in layers:
        sums = values @ layer.weight.astype(np.float64) + layer.bias
        if layer.unit == "rectified":
            values = np.maximum(sums, 0.0)
        elif layer.unit == "sigmoid":
            # 1 / (1 + exp(-a)), without an exponential that overflows.
            values = 0.5 * (1.0 + np.tanh(0.5 * sums))
        else:
            values = sums
    return values
