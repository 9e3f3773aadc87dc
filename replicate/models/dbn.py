"""The deep belief net (Hinton, Osindero and Teh 2006): restricted Boltzmann machines, each learnt on the one below.

The joint of a net is the top machine's, from which directed layers lead down to the pixels. The sizes and rates of
the published row are not known (Bengio et al. 2013 do not print them), so ours are a re-tuning.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor

from replicate.models.boltzmann import (
    DOWN_PASS,
    RBM_YAML,
    RETUNED,
    BoltzmannConfig,
    BoltzmannModel,
    Draws,
    Layer,
    gibbs,
    hidden_field,
    visible_field,
)
from replicate.params import TUNED, setting

_TUTORIAL = "DeepLearningTutorials code/DBN.py"


class DBNConfig(BoltzmannConfig):
    """The recipe."""

    hidden: tuple[PositiveInt, ...] = setting(
        (500, 500), "units of the hidden layers, from below", RETUNED, min_length=2
    )
    gibbs_steps: int = setting(1, "k of CD-k in all machines but the top one", _TUTORIAL, ge=1)
    top_negative: Literal["data", "persistent"] = setting(
        "persistent",
        "the top machine learns by CD (`data`) or PCD (`persistent`): it alone is sampled by chains",
        RBM_YAML,
    )
    top_gibbs_steps: int = setting(5, "k of the top machine's CD-k or PCD-k", RBM_YAML, ge=1)
    pass_up: Literal["means", "samples"] = setting(
        "means", "what a finished layer gives to the next: the means of its units, or bits drawn from them", _TUTORIAL
    )

    @model_validator(mode="after")
    def _an_epoch_for_every_layer(self) -> Self:
        if self.epochs < len(self.hidden):
            raise ValueError(f"{len(self.hidden)} layers learn one after the other, so epochs must be at least as many")
        return self


class DeepBeliefNet(BoltzmannModel):
    """A block of seeds of one net; a chain's state is the units of the top layer."""

    Config = DBNConfig
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": (
            {"epochs": 100, "learning_rate": 0.02, "chains": 1000, "burn_in": 500, "thinning": 20},
            f"sizes, rates and the length of sampling are unpublished: {RETUNED}",
        ),
        "digits": (
            {
                "epochs": 150,
                "batch_size": 64,
                "hidden": (200, 200),
                "learning_rate": 0.4,
                "pass_up": "samples",
                "chains": 1000,
                "burn_in": 100,
                "thinning": 10,
            },
            TUNED,
        ),
    }

    @property
    def starts(self) -> tuple[int, ...]:
        """Every layer has an equal share of the epochs, as far as they divide."""
        depth = len(self.config.hidden)
        return tuple(layer * self.config.epochs // depth for layer in range(depth))

    def layer(self, number: int) -> Layer:
        """The parameters of a machine, counted from 0 at the pixels."""
        p, name = self.parameters, f"machine.{number}"
        return Layer(p[f"{name}.weight"], p[f"{name}.visible"], p[f"{name}.hidden"])

    def initialise(self, train: Tensor) -> None:
        """As the restricted machine; the biases of the layers above the first are 0."""
        c = self.config
        self.steps_per_epoch = len(train) // c.batch_size
        for number, (below, above) in enumerate(pairwise((self.dimension, *c.hidden))):
            self.parameters[f"machine.{number}.weight"] = self._normal_weight(below, above, number)
            self.parameters[f"machine.{number}.visible"] = self._bias(below) if number else self._pixel_bias(train)
            self.parameters[f"machine.{number}.hidden"] = self._bias(above, 0.0 if number else c.hidden_bias)
        self.slots = {name: torch.zeros_like(value) for name, value in self.parameters.items()}
        top = len(c.hidden) - 1
        if c.top_negative == "persistent":
            self.slots["particles"] = self._first_particles(self.layer(top).hidden, top + 1)

    def _passed_up(self, data: Tensor, number: int, draws: Draws) -> Tensor:
        for below in range(number):
            data = hidden_field(self.layer(below), data).sigmoid_()
            if self.config.pass_up == "samples":
                data = draws.bits(data)
        return data

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of the machine whose turn it is; the others rest."""
        c, number = self.config, self.phase(epoch).number
        draws = Draws(self.streams, "noise", step)
        data = self._passed_up(self._presented(batch, draws), number, draws)
        top = number == len(c.hidden) - 1
        gradients = self._contrast(
            self.layer(number),
            data,
            c.top_gibbs_steps if top else c.gibbs_steps,
            draws,
            self.slots.get("particles") if top else None,
        )
        names = (f"machine.{number}.{part}" for part in ("weight", "visible", "hidden"))
        return self._descend(dict(zip(names, gradients, strict=True)), epoch, step)

    def chain_start(self, draw: int) -> Tensor:
        """Units of the top layer drawn from their biases alone."""
        return self._chain_start(self.layer(len(self.config.hidden) - 1).hidden, draw)

    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """Gibbs sampling in the top machine."""
        top = self.layer(len(self.config.hidden) - 1)
        return gibbs(top, state, 1, Draws(self.streams, "evaluation", draw, 1 + 2 * step))[2]

    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """One pass down, bits at every layer between, and at the bottom the means of p(x | h)."""
        depth = len(self.config.hidden)
        draws = Draws(self.streams, "evaluation", draw, DOWN_PASS + depth * step)
        for number in range(depth - 1, 0, -1):
            state = draws.bits(visible_field(self.layer(number), state).sigmoid_())
        return visible_field(self.layer(0), state).sigmoid_()


MODEL = DeepBeliefNet
