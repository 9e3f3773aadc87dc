"""The restricted Boltzmann machine, learnt by contrastive divergence (Hinton 2002), or persistently (Tieleman 2008).

Recipe at MNIST's size: pylearn2's rbm.yaml, which is a released one; where ours differs, the recipe says so.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from replicate.models.boltzmann import RBM_YAML, RETUNED, BoltzmannConfig, Draws
from replicate.models.restricted import RestrictedMachines
from replicate.params import TUNED, setting


class RBMConfig(BoltzmannConfig):
    """The recipe."""

    hidden: int = setting(500, "hidden units", RBM_YAML, ge=1)
    negative: Literal["data", "persistent"] = setting(
        "persistent", "where the chains of an update begin: at its images (CD), or where they were left (PCD)", RBM_YAML
    )
    gibbs_steps: int = setting(5, "steps of the chains per update: k of CD-k or PCD-k", RBM_YAML, ge=1)


class RestrictedBoltzmannMachine(RestrictedMachines):
    """A block of seeds of one machine."""

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
    def widths(self) -> tuple[int, ...]:
        """One layer."""
        return (self.config.hidden,)

    @property
    def persistent(self) -> bool:
        """As configured."""
        return bool(self.config.negative == "persistent")

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update by CD-k or PCD-k."""
        draws = Draws(self.streams, "noise", step)
        data = self._presented(batch, draws)
        return self._learn(0, data, self.config.gibbs_steps, draws, self.slots.get("particles"), epoch, step)


MODEL = RestrictedBoltzmannMachine
