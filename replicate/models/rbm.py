"""The restricted Boltzmann machine, trained by CD (Hinton 2002) or PCD (Tieleman 2008).

The MNIST recipe is pylearn2's released rbm.yaml; its source names what differs.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from replicate.models.base import Recipe, Recipes
from replicate.models.parts.boltzmann import (
    RBM_YAML,
    RETUNED,
    BoltzmannConfig,
    Draws,
    Layer,
    free_energy,
)
from replicate.models.parts.restricted import RestrictedMachines
from replicate.params import TUNED, setting


class RBMConfig(BoltzmannConfig):
    """The recipe."""

    hidden: int = setting(500, "hidden units", RBM_YAML, ge=1)
    negative: Literal["data", "persistent"] = setting(
        "persistent",
        "where the chains of an update begin: at its images (CD), or where they were left (PCD)",
        RBM_YAML,
    )
    gibbs_steps: int = setting(
        5, "steps of the chains per update: k of CD-k or PCD-k", RBM_YAML, ge=1
    )


class RestrictedBoltzmannMachine(RestrictedMachines):
    """A block of seeds of one machine."""

    Config = RBMConfig
    config: RBMConfig
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe(
            {"epochs": 60, "learning_rate": 0.01, "chains": 1000, "burn_in": 500, "thinning": 20},
            f"{RBM_YAML}; the rate and its course, the rise of the momentum, the weight decay, the "
            "first weights, no term for sparsity, the epochs and the chains of sampling are "
            f"{RETUNED}",
        ),
        "digits": Recipe(
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
        """Whether the machine learns with persistent chains."""
        return self.config.negative == "persistent"

    @property
    def partition_layer(self) -> Layer:
        """The machine itself."""
        return self.top

    def log_unnormalised(self, bits: Tensor) -> Tensor:
        """-F(x), exact: (seeds, n) nats."""
        return -free_energy(self.top, bits)

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update by CD-k or PCD-k."""
        draws = Draws(self.streams, "noise", step)
        data = self._presented(batch, draws)
        steps = self.config.gibbs_steps
        # None for CD, whose chains begin at the batch.
        particles = self.slots.get("particles")
        return self._learn(0, data, steps, draws, particles, epoch, step)


MODEL = RestrictedBoltzmannMachine
