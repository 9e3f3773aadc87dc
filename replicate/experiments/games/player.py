"""One player of a game, or a model that learns by itself: a network, its parameters and Adam."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.models.parts import perceptron
from replicate.training.adam import adam_step, moments

#: Adam's decays: a short first memory, since the objective moves (Radford et al. 2016, section 4).
DECAYS = (0.5, 0.999)


@dataclass
class Player:
    """A network, its parameters (seeds, in, out) and Adam's state."""

    network: str
    layers: int
    parameters: dict[str, Tensor]
    slots: dict[str, Tensor]
    # Adam's corrections of its averages depend on it, so it belongs to the state.
    updates: int = 0

    def outputs(self, inputs: Tensor) -> Tensor:
        """The network's outputs (seeds, n, out) for `inputs` (seeds, n, in)."""
        return perceptron.outputs(inputs, self.parameters, self.network, self.layers)

    def descend(self, loss: Tensor, rate: float) -> None:
        """One update by Adam on `loss` (seeds), which depends on the parameters."""
        parameters = self.parameters
        leaves = list(parameters.values())
        # The sum over seeds: each seed's loss depends on its own parameters alone.
        total = loss.sum()
        slopes = torch.autograd.grad(total, leaves)
        gradients = dict(zip(parameters, slopes, strict=True))
        with torch.no_grad():
            adam_step(parameters, self.slots, gradients, self.updates, rate, DECAYS)
        self.updates += 1


def new_player(network: str, layers: int, parameters: Mapping[str, Tensor]) -> Player:
    """A player that starts at these parameters, which it owns from here on."""
    leaves = {name: value.requires_grad_() for name, value in parameters.items()}
    return Player(network, layers, leaves, moments(leaves))
