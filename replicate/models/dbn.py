"""The deep belief net (Hinton, Osindero and Teh 2006): a stack of restricted Boltzmann machines.

Each machine learns on the units of the one below. The top machine's joint distribution generates
the top layers; directed layers lead from there to the pixels. The sizes and rates of the published
row are unknown (Bengio et al. 2013 do not print them), so ours are re-tuned.
"""

from typing import ClassVar, Literal, Self

import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor

from replicate.models.base import Recipe, Recipes
from replicate.models.parts.boltzmann import RBM_YAML, RETUNED, BoltzmannConfig, Draws, hidden_means
from replicate.models.parts.restricted import RestrictedMachines
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
        "the top machine learns by CD (`data`) or PCD (`persistent`): it alone is sampled by "
        "chains",
        RBM_YAML,
    )
    top_gibbs_steps: int = setting(5, "k of the top machine's CD-k or PCD-k", RBM_YAML, ge=1)
    pass_up: Literal["means", "samples"] = setting(
        "means",
        "what a finished layer gives to the next: the means of its units, or bits drawn from them",
        _TUTORIAL,
    )

    @model_validator(mode="after")
    def _check_epochs(self) -> Self:
        layers = len(self.hidden)
        if self.epochs < layers:
            raise ValueError(
                f"{layers} layers learn one after the other, so epochs must be at least as many"
            )
        return self


class DeepBeliefNet(RestrictedMachines):
    """A block of seeds of one net."""

    Config = DBNConfig
    config: DBNConfig
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe(
            {"epochs": 100, "learning_rate": 0.02, "chains": 1000, "burn_in": 500, "thinning": 20},
            f"sizes, rates and the length of sampling are unpublished: {RETUNED}",
        ),
        "digits": Recipe(
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
        """The first epoch of each layer; all layers have equal shares, up to rounding."""
        epochs = self.config.epochs
        layers = len(self.config.hidden)
        starts = []
        for number in range(layers):
            start = number * epochs // layers
            starts.append(start)
        return tuple(starts)

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of the hidden layers, from below."""
        return self.config.hidden

    @property
    def persistent(self) -> bool:
        """Whether the top machine learns with persistent chains."""
        return self.config.top_negative == "persistent"

    def _input_of(self, number: int, data: Tensor, draws: Draws) -> Tensor:
        """The visible units of machine `number`, given the image's."""
        # Finished machines are frozen: what they pass up changes by their random bits alone.
        for below in range(number):
            data = hidden_means(self.layer(below), data)
            if self.config.pass_up == "samples":
                data = draws.bits(data)
        return data

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of the machine that learns in this epoch."""
        phase = self.phase(epoch)
        number = phase.number
        hidden = self.config.hidden
        top = len(hidden) - 1
        draws = Draws(self.streams, "noise", step)
        image = self._presented(batch, draws)
        data = self._input_of(number, image, draws)
        steps = self.config.gibbs_steps
        # The machines below the top are never sampled by chains, so CD is enough for them.
        particles = None
        if number == top:
            steps = self.config.top_gibbs_steps
            particles = self.slots.get("particles")
        return self._learn(number, data, steps, draws, particles, epoch, step)


MODEL = DeepBeliefNet
