"""The deep Boltzmann machine with two hidden layers (Salakhutdinov and Hinton 2009).

Two restricted machines are learnt first, one on the other, with the weights doubled on the side where the deep machine
has another neighbour. Then all layers learn together: the data's statistics by mean field, the model's by
persistent chains.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from pydantic import model_validator
from torch import Tensor

from replicate.models.boltzmann import (
    RETUNED,
    BoltzmannConfig,
    BoltzmannModel,
    Deep,
    Draws,
    Layer,
    Phase,
    deep_gibbs,
    hidden_field,
    mean_difference,
    mean_field,
)
from replicate.models.chains import START_AT_IMAGES
from replicate.params import TUNED, setting

_PAPER = "Salakhutdinov & Hinton 2009, section 4.1"


class DBMConfig(BoltzmannConfig):
    """The recipe."""

    hidden: int = setting(500, "units of the first hidden layer", _PAPER, ge=1)
    top: int = setting(1000, "units of the second hidden layer", _PAPER, ge=1)
    pretraining_epochs: int = setting(
        20, "epochs of each restricted machine; the rest is learnt jointly", RETUNED, ge=1
    )
    pretraining_rate: float = setting(0.05, "learning rate of the pre-training, else as `learning_rate`", RETUNED, gt=0)
    mean_field_steps: int = setting(10, "updates of both layers' means for the data", RETUNED, ge=1)
    gibbs_steps: int = setting(5, "steps of the persistent chains per joint update", RETUNED, ge=1)

    @model_validator(mode="after")
    def _some_joint_epochs(self) -> Self:
        if self.epochs <= 2 * self.pretraining_epochs:
            raise ValueError("epochs must be more than twice pretraining_epochs, so that all layers learn jointly")
        return self


class DeepBoltzmannMachine(BoltzmannModel):
    """A block of seeds of one machine; a chain's state is the units of its first hidden layer."""

    Config = DBMConfig
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": (
            {
                "epochs": 60,
                "pretraining_epochs": 10,
                "learning_rate": 0.01,
                "mean_field_steps": 5,
                "chains": 1000,
                "burn_in": 500,
                "thinning": 20,
            },
            f"sizes: {_PAPER}; rates, epochs and the chains of sampling are {RETUNED}",
        ),
        "digits": (
            {
                "epochs": 150,
                "pretraining_epochs": 20,
                "batch_size": 64,
                "hidden": 400,
                "top": 100,
                "learning_rate": 0.2,
                "mean_field_steps": 5,
                "chains": 1000,
                "burn_in": 100,
                "thinning": 10,
            },
            TUNED,
        ),
    }

    @property
    def starts(self) -> tuple[int, ...]:
        """Lower machine, upper machine, all."""
        each: int = self.config.pretraining_epochs
        return (0, each, 2 * each)

    @property
    def deep(self) -> Deep:
        """The machine's parameters."""
        p = self.parameters
        return Deep(
            p["machine.0.weight"], p["machine.1.weight"], p["machine.0.bias"], p["machine.1.bias"], p["machine.2.bias"]
        )

    def initial_rate(self, phase: Phase) -> float:
        """The learning rate of a phase's first update."""
        rate: float = self.config.learning_rate if phase.number == 2 else self.config.pretraining_rate
        return rate

    def initialise(self, train: Tensor) -> None:
        """Small normal weights; visible biases at the log-odds of the mean pixels; particles from the hidden biases."""
        c = self.config
        self.steps_per_epoch = len(train) // c.batch_size
        self.parameters = {
            "machine.0.weight": self._normal_weight(self.dimension, c.hidden, 0),
            "machine.1.weight": self._normal_weight(c.hidden, c.top, 1),
            "machine.0.bias": self._pixel_bias(train),
            "machine.1.bias": self._bias(c.hidden, c.hidden_bias),
            "machine.2.bias": self._bias(c.top),
        }
        self.slots = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        self.slots["particles"] = self._first_particles(self.deep.hidden, 2)

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of the machine whose turn it is, or of all layers."""
        draws = Draws(self.streams, "noise", step)
        data = self._presented(batch, draws)
        phase = self.phase(epoch)
        if phase.number < 2:
            names = [f"machine.{phase.number}.weight", *(f"machine.{phase.number + k}.bias" for k in range(2))]
            gradients = self._pretraining_gradients(data, phase.number, draws)
        else:
            names = list(self.parameters)
            gradients = self._joint_gradients(data, draws)
        return self._descend(dict(zip(names, gradients, strict=True)), epoch, step)

    def _pretraining_gradients(self, data: Tensor, number: int, draws: Draws) -> tuple[Tensor, ...]:
        """CD-1; both machines have the bias of the layer between them in common."""
        deep = self.deep
        lower = Layer(deep.lower, deep.visible, deep.hidden, up=2)
        if number == 0:
            return self._contrast(lower, data, 1, draws)
        upper = Layer(deep.upper, deep.hidden, deep.top, down=2)
        return self._contrast(upper, hidden_field(lower, data).sigmoid_(), 1, draws)

    def _joint_gradients(self, data: Tensor, draws: Draws) -> tuple[Tensor, ...]:
        """Of the mean of the variational bound on -log p(x), in the order of `parameters`; moves the particles."""
        c, deep, particles = self.config, self.deep, self.slots["particles"]
        hidden, top = mean_field(deep, data, c.mean_field_steps)
        model_visible, model_top, model_hidden, end = deep_gibbs(deep, particles, c.gibbs_steps, draws)
        particles.copy_(end)
        seen, found = (data, hidden, top), (model_visible, model_hidden, model_top)
        weights = (
            mean_difference((data, hidden), (model_visible, model_hidden)),
            mean_difference((hidden, top), (model_hidden, model_top)),
        )
        biases = [b.mean(1, keepdim=True) - a.mean(1, keepdim=True) for a, b in zip(seen, found, strict=True)]
        return (*weights, *biases)

    def chain_start(self, draw: int) -> Tensor:
        """Units of the first hidden layer drawn from their biases alone."""
        return self._chain_start(self.deep.hidden, draw)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """Bits of the first hidden layer, by their mean-field means given training images."""
        hidden, _ = mean_field(self.deep, self.drawn_images(draw), self.config.mean_field_steps)
        return Draws(self.streams, "evaluation", draw, START_AT_IMAGES + 1).bits(hidden)

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """Image and top layer given the layer between, then that given both."""
        return deep_gibbs(self.deep, state, 1, Draws(self.streams, "evaluation", draw, 1 + 3 * step))[3]

    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The means of p(x | h)."""
        return torch.baddbmm(self.deep.visible, state, self.deep.lower.mT).sigmoid_()


MODEL = DeepBoltzmannMachine
