"""The restricted Boltzmann machine, learnt by contrastive divergence (Hinton 2002), or persistently (Tieleman 2008).

Recipe at MNIST's size: pylearn2's rbm.yaml, which is a released one; where ours differs, the recipe says so.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from replicate.models.boltzmann import (
    RBM_YAML,
    RETUNED,
    BoltzmannConfig,
    BoltzmannModel,
    Draws,
    Layer,
    gibbs,
    visible_field,
)
from replicate.params import TUNED, setting


class RBMConfig(BoltzmannConfig):
    """The recipe."""

    hidden: int = setting(500, "hidden units", RBM_YAML, ge=1)
    negative: Literal["data", "persistent"] = setting(
        "persistent", "where the chains of an update begin: at its images (CD), or where they were left (PCD)", RBM_YAML
    )
    gibbs_steps: int = setting(5, "steps of the chains per update: k of CD-k or PCD-k", RBM_YAML, ge=1)


class RestrictedBoltzmannMachine(BoltzmannModel):
    """A block of seeds of one machine; a chain's state is its hidden units."""

    Config = RBMConfig
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": (
            {"epochs": 60, "learning_rate": 0.01, "chains": 1000, "burn_in": 500, "thinning": 20},
            f"{RBM_YAML}; the rate and its course, the epochs and the chains of sampling are {RETUNED}",
        ),
        "digits": (
            {
                "epochs": 150,
                "batch_size": 64,
                "hidden": 400,
                "learning_rate": 0.2,
                "chains": 1000,
                "burn_in": 100,
                "thinning": 10,
            },
            TUNED,
        ),
    }

    @property
    def starts(self) -> tuple[int, ...]:
        """One phase."""
        return (0,)

    @property
    def layer(self) -> Layer:
        """The machine's parameters."""
        p = self.parameters
        return Layer(p["machine.0.weight"], p["machine.0.visible"], p["machine.0.hidden"])

    def initialise(self, train: Tensor) -> None:
        """Small normal weights; visible biases at the log-odds of the mean pixels; particles from the hidden biases."""
        c = self.config
        self.steps_per_epoch = len(train) // c.batch_size
        self.parameters = {
            "machine.0.weight": self._normal_weight(self.dimension, c.hidden, 0),
            "machine.0.visible": self._pixel_bias(train),
            "machine.0.hidden": self._bias(c.hidden, c.hidden_bias),
        }
        self.slots = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        if c.negative == "persistent":
            self.slots["particles"] = self._first_particles(self.layer.hidden, 1)

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update by CD-k or PCD-k."""
        draws = Draws(self.streams, "noise", step)
        data = self._presented(batch, draws)
        gradients = self._contrast(self.layer, data, self.config.gibbs_steps, draws, self.slots.get("particles"))
        names = ("machine.0.weight", "machine.0.visible", "machine.0.hidden")
        return self._descend(dict(zip(names, gradients, strict=True)), epoch, step)

    def chain_start(self, draw: int) -> Tensor:
        """Hidden units drawn from their biases alone."""
        return self._chain_start(self.layer.hidden, draw)

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """x given h, then h given x."""
        return gibbs(self.layer, state, 1, Draws(self.streams, "evaluation", draw, 1 + 2 * step))[2]

    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The means of p(x | h)."""
        return visible_field(self.layer, state).sigmoid_()


MODEL = RestrictedBoltzmannMachine
