"""What the restricted Boltzmann machine and the deep belief net share: machines, each learnt on the one below.

One machine alone is the net with one layer.
"""

from abc import abstractmethod
from itertools import pairwise

import torch
from torch import Tensor

from replicate.models.boltzmann import DOWN_PASS, BoltzmannModel, Draws, Layer, gibbs, hidden_field, visible_field
from replicate.models.chains import START_AT_IMAGES


class RestrictedMachines(BoltzmannModel):
    """A block of seeds of machines; a chain's state is the units of the top layer."""

    @property
    @abstractmethod
    def widths(self) -> tuple[int, ...]:
        """Units of the hidden layers, from below."""

    @property
    @abstractmethod
    def persistent(self) -> bool:
        """Whether the top machine learns with chains that go on from where they were left."""

    @property
    def top(self) -> Layer:
        """The parameters of the uppermost machine."""
        return self.layer(len(self.widths) - 1)

    def layer(self, number: int) -> Layer:
        """The parameters of a machine, counted from 0 at the pixels."""
        p, name = self.parameters, f"machine.{number}"
        return Layer(p[f"{name}.weight"], p[f"{name}.visible"], p[f"{name}.hidden"])

    def initialise(self, train: Tensor) -> None:
        """Small normal weights; visible biases at the log-odds of the mean pixels; particles from the hidden biases.

        The biases of the layers above the first are 0.
        """
        c = self.config
        self.steps_per_epoch = len(train) // c.batch_size
        self.parameters = {}
        for number, (below, above) in enumerate(pairwise((self.dimension, *self.widths))):
            self.parameters[f"machine.{number}.weight"] = self._normal_weight(below, above, number)
            self.parameters[f"machine.{number}.visible"] = self._bias(below) if number else self._pixel_bias(train)
            self.parameters[f"machine.{number}.hidden"] = self._bias(above, 0.0 if number else c.hidden_bias)
        self.slots = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        if self.persistent:
            self.slots["particles"] = self._first_particles(self.top.hidden, len(self.widths))

    def _learn(
        self, number: int, data: Tensor, steps: int, draws: Draws, particles: Tensor | None, epoch: int, step: int
    ) -> dict[str, Tensor]:
        """One update of one machine by CD-k or, with particles, PCD-k, for k `steps`."""
        gradients = self._contrast(self.layer(number), data, steps, draws, particles)
        names = (f"machine.{number}.{part}" for part in ("weight", "visible", "hidden"))
        return self._descend(dict(zip(names, gradients, strict=True)), epoch, step)

    def chain_start(self, draw: int) -> Tensor:
        """Units of the top layer drawn from their biases alone."""
        return self._chain_start(self.top.hidden, draw)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """Training images passed up, bits at every layer."""
        state = self.drawn_images(draw)
        draws = Draws(self.streams, "evaluation", draw, START_AT_IMAGES + 1)
        for number in range(len(self.widths)):
            state = draws.bits(hidden_field(self.layer(number), state).sigmoid_())
        return state

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """Gibbs sampling in the top machine: its visible units given the hidden ones, then these given those."""
        return gibbs(self.top, state, 1, Draws(self.streams, "evaluation", draw, 1 + 2 * step))[2]

    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """One pass down, bits at every layer between, and at the bottom the means of p(x | h)."""
        depth = len(self.widths)
        draws = Draws(self.streams, "evaluation", draw, DOWN_PASS + depth * step)
        for number in range(depth - 1, 0, -1):
            state = draws.bits(visible_field(self.layer(number), state).sigmoid_())
        return visible_field(self.layer(0), state).sigmoid_()
