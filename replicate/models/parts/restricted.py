"""Stacks of restricted Boltzmann machines, each learnt on the one below: RBM and DBN."""

from abc import abstractmethod
from itertools import pairwise

from torch import Tensor

from replicate.models.parts.boltzmann import (
    DOWN_PASS,
    BoltzmannModel,
    Draws,
    Layer,
    gibbs,
    hidden_means,
    visible_means,
)
from replicate.models.parts.chains import START_AT_IMAGES
from replicate.training.momentum import zero_averages


class RestrictedMachines(BoltzmannModel):
    """A block of seeds of machines; a chain's state is the units of the top layer."""

    @property
    @abstractmethod
    def widths(self) -> tuple[int, ...]:
        """Units of the hidden layers, from below."""

    @property
    @abstractmethod
    def persistent(self) -> bool:
        """Whether the top machine learns with persistent chains."""

    @property
    def top(self) -> Layer:
        """The parameters of the uppermost machine."""
        number = len(self.widths) - 1
        return self.layer(number)

    def layer(self, number: int) -> Layer:
        """The parameters of a machine, counted from 0 at the pixels."""
        name = f"machine.{number}"
        return Layer(
            weight=self.parameters[f"{name}.weight"],
            visible=self.parameters[f"{name}.visible"],
            hidden=self.parameters[f"{name}.hidden"],
        )

    def initialise(self, train: Tensor) -> None:
        """Small normal weights; visible biases are the log-odds of the mean pixels.

        The biases of the layers above the first are 0. Particles are drawn from the hidden biases.
        """
        self.steps_per_epoch = len(train) // self.config.batch_size
        self.parameters = {}
        widths = (self.dimension, *self.widths)
        for number, (rows, columns) in enumerate(pairwise(widths)):
            if number == 0:
                # The pixels' marginals are right from the start, so weights need not learn them.
                visible_bias = self._pixel_bias(train)
                hidden_bias = self._bias(columns, self.config.hidden_bias)
            else:
                visible_bias = self._bias(rows)
                hidden_bias = self._bias(columns)
            name = f"machine.{number}"
            weight = self._normal_weight(rows, columns, number)
            self.parameters[f"{name}.weight"] = weight
            self.parameters[f"{name}.visible"] = visible_bias
            self.parameters[f"{name}.hidden"] = hidden_bias
        self.slots = zero_averages(self.parameters)
        if self.persistent:
            # The weights have used the parts below.
            part = len(self.widths)
            self.slots["particles"] = self._first_particles(self.top.hidden, part)

    def _learn(
        self,
        number: int,
        data: Tensor,
        steps: int,
        draws: Draws,
        particles: Tensor | None,
        epoch: int,
        step: int,
    ) -> dict[str, Tensor]:
        """One update of one machine by CD-k or, with particles, PCD-k, for k `steps`."""
        layer = self.layer(number)
        weight, visible, hidden = self._contrast(layer, data, steps, draws, particles)
        name = f"machine.{number}"
        gradients = {
            f"{name}.weight": weight,
            f"{name}.visible": visible,
            f"{name}.hidden": hidden,
        }
        return self._descend(gradients, epoch, step)

    def chain_start(self, draw: int) -> Tensor:
        """Units of the top layer, drawn from their biases."""
        hidden_bias = self.top.hidden
        return self._chain_start(hidden_bias, draw)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """Training images passed up, with bits drawn at every layer."""
        state = self.drawn_images(draw)
        # The part before it has drawn the images.
        first_part = START_AT_IMAGES + 1
        draws = Draws(self.streams, "evaluation", draw, first_part)
        for number in range(len(self.widths)):
            layer = self.layer(number)
            means = hidden_means(layer, state)
            state = draws.bits(means)
        return state

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """One step of Gibbs sampling in the top machine."""
        # Two parts a step: bits of the visible units and of the hidden ones.
        # Part 0 drew the start.
        draws = Draws(self.streams, "evaluation", draw, 1 + 2 * step)
        sampled = gibbs(self.top, state, 1, draws)
        return sampled.hidden

    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """One pass down: bits at every hidden layer, then the means of p(x | h)."""
        depth = len(self.widths)
        draws = Draws(self.streams, "evaluation", draw, DOWN_PASS + depth * step)
        for number in range(depth - 1, 0, -1):
            layer = self.layer(number)
            means = visible_means(layer, state)
            # Bits and not means below the top: p(x) of a DBN is of bits in every hidden layer.
            state = draws.bits(means)
        lowest = self.layer(0)
        return visible_means(lowest, state)
