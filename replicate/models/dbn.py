"""The deep belief net (Hinton, Osindero and Teh 2006): restricted Boltzmann machines, each learnt on the one below.

The joint of a net is the top machine's, from which directed layers lead down to the pixels. The sizes and rates of
the published row are not known (Bengio et al. 2013 do not print them), so ours are a re-tuning.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor

from replicate.models.boltzmann import RBM_YAML, RETUNED, BoltzmannConfig, Draws, hidden_field
from replicate.models.restricted import RestrictedMachines
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


class DeepBeliefNet(RestrictedMachines):
    """A block of seeds of one net."""

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

    @property
    def widths(self) -> tuple[int, ...]:
        """As configured."""
        found: tuple[int, ...] = self.config.hidden
        return found

    @property
    def persistent(self) -> bool:
        """As configured."""
        return bool(self.config.top_negative == "persistent")

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
        steps, particles = (c.top_gibbs_steps, self.slots.get("particles")) if top else (c.gibbs_steps, None)
        return self._learn(number, data, steps, draws, particles, epoch, step)


MODEL = DeepBeliefNet
