"""What all adversarial nets share: noise, dropout masks, the schedule of updates and their size.

By default both players move at once from the same generated images and the same dropout masks, as the released
code does (pylearn2's SGD on one joint cost); `schedule: alternating` is Algorithm 1 as printed.
Recipe: goodfeli/adversarial@1720041, the yaml files and __init__.py (`AdversaryCost2`).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig
from replicate.models.constraints import limit_norms
from replicate.params import RELEASED, setting
from replicate.training.momentum import decayed, momentum_step, ramped
from replicate.training.objectives import Objective

_YAML = f"{RELEASED} mnist.yaml"
_CODE = f"{RELEASED} __init__.py"

#: Losses (seeds,) by network, and gradients by parameter, of: data, noise, D's masks and the networks that are to move.
Gradients = Callable[[Tensor, Tensor, list[Tensor], tuple[str, ...]], tuple[dict[str, Tensor], dict[str, Tensor]]]


class GameConfig(ModelConfig):
    """Settings of the game; defaults are the released MNIST recipe's where it has them."""

    epochs: int = setting(500, "passes over the training images", "the released recipe has no end; ours", ge=1)
    batch_size: int = setting(100, "images, and noise vectors, per minibatch", _YAML, ge=1)
    noise: Literal["uniform", "gaussian"] = setting(
        "uniform", "p(z): uniform on (-sqrt 3, sqrt 3), which has unit variance, or standard normal", _YAML
    )
    noise_dimension: int = setting(100, "length of z", _YAML, ge=1)
    output: Literal["sigmoid", "linear"] = setting(
        "sigmoid", "G's pixels: sigmoid where they lie in [0, 1], linear where they are unbounded", _YAML
    )
    keep_input: float = setting(0.8, "probability that dropout keeps an input of D", _YAML, gt=0, le=1)
    keep_hidden: float = setting(0.5, "probability that dropout keeps a hidden unit of D", _YAML, gt=0, le=1)
    objective: Objective = setting(
        "non_saturating", "what G descends: -log D(G(z)), or log(1 - D(G(z))) (saturating)", f"section 3; {_CODE}"
    )
    discriminator_weight: PositiveFloat = setting(
        0.5, "factor of D's loss beside G's (the released cost halves it)", _CODE
    )
    schedule: Literal["simultaneous", "alternating"] = setting(
        "simultaneous", "one joint update, or k steps of D and then one of G (Algorithm 1)", _YAML
    )
    discriminator_steps: int = setting(1, "k of Algorithm 1; only for the alternating schedule", "Algorithm 1", ge=1)
    learning_rate: PositiveFloat = setting(0.1, "of the first update", _YAML)
    learning_rate_decay: float = setting(1.000004, "the rate is divided by this after every update", _YAML, ge=1)
    learning_rate_floor: PositiveFloat = setting(1e-6, "the rate never falls below this", _YAML)
    momentum_initial: float = setting(0.5, "momentum of the first epoch", _YAML, ge=0, lt=1)
    momentum_final: float = setting(0.7, "momentum from epoch `momentum_epochs` on", _YAML, ge=0, lt=1)
    momentum_epochs: int = setting(250, "epochs over which the momentum rises", _YAML, ge=1)
    max_norm: PositiveFloat | None = setting(
        None, "largest norm of a unit's incoming weights, enforced after every update; null: no limit", _YAML
    )


class AdversarialGame(GenerativeModel):
    """A block of seeds of G and D; a subclass has the networks and sets `_discriminator_widths`.

    Attributes:
        _discriminator_widths: numbers that each layer of D takes in, from the image up; each has its dropout mask.
    """

    has_latent: ClassVar[bool] = True
    _discriminator_widths: tuple[int, ...]

    @property
    def batches_per_step(self) -> int:
        """k minibatches for k steps of D (Algorithm 1), else one."""
        return self.config.discriminator_steps if self.config.schedule == "alternating" else 1

    @abstractmethod
    def gradients(
        self, batch: Tensor, noise: Tensor, masks: list[Tensor], networks: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The losses, and the gradients of the named networks, at the present parameters.

        Both objectives share G's images, D's logits on them and its dropout masks.

        Args:
            batch: (seeds, b, dimension) data; none (b = 0) where only G is to move.
            noise: (seeds, n, noise dimension).
            masks: D's dropout masks for the data followed by G's images, (seeds, b + n, width) for each layer.
            networks: "generator", "discriminator" or both.
        """

    def _uniform(self, step: int, part: int, half_range: float, *shape: int) -> Tensor:
        """Initial weights, uniform on +- half_range, (seeds, *shape)."""
        return (2 * self.streams.uniform("init", step, *shape, part=part) - 1) * half_range

    def _zeros(self, *shape: int) -> Tensor:
        return torch.zeros(len(self.streams.seeds), *shape, dtype=self.streams.dtype, device=self.streams.device)

    def _noise(self, purpose: Literal["noise", "evaluation"], step: int, count: int, part: int) -> Tensor:
        if self.config.noise == "gaussian":
            return self.streams.normal(purpose, step, count, self.config.noise_dimension, part=part)
        drawn = self.streams.uniform(purpose, step, count, self.config.noise_dimension, part=part)
        return (2 * drawn - 1) * math.sqrt(3)

    def _masks(self, rows: int, step: int, part: int) -> list[Tensor]:
        """Dropout masks for every layer of D, already divided by the probability to keep."""
        masks = []
        for layer, width in enumerate(self._discriminator_widths):
            keep = self.config.keep_hidden if layer else self.config.keep_input
            masks.append(self.streams.mask(keep, step, rows, width, part=100 * part + layer))
        return masks

    def _move(self, gradients: Mapping[str, Tensor], epoch: int, step: int, earlier: int) -> None:
        """Updates what has gradients, at the rate of `step`; its last update was at that of the step `earlier`."""
        c = self.config
        rate, before = (
            decayed(c.learning_rate, c.learning_rate_decay, c.learning_rate_floor, update) for update in (step, earlier)
        )
        momentum_step(
            [self.parameters[name] for name in gradients],
            [self.slots[name] for name in gradients],
            list(gradients.values()),
            rate,
            ramped(c.momentum_initial, c.momentum_final, c.momentum_epochs, epoch),
            before,
        )
        if c.max_norm is not None:
            for name in gradients:
                if name.endswith("weight"):
                    limit_norms(self.parameters[name], c.max_norm)

    def _play(
        self, batch: Tensor, epoch: int, step: int, gradients: Gradients, first_step: int = 0
    ) -> dict[str, Tensor]:
        """One joint update of D and G, or Algorithm 1: k updates of D, each on its own minibatch, then one of G.

        Args:
            batch: (seeds, batches_per_step * batch_size, dimension).
            epoch: counted from the first of this stage of training.
            step: updates before this one, over all stages: what random numbers are keyed by.
            gradients: this stage's losses and gradients.
            first_step: of this stage: the learning rate starts there.
        """
        size = self.config.batch_size
        losses: dict[str, Tensor] = {}
        updates = step - first_step

        def update(data: Tensor, part: int, *networks: str) -> None:
            noise = self._noise("noise", step, size, part)
            masks = self._masks(data.shape[1] + size, step, part)
            measured, found = gradients(data, noise, masks, networks)
            again = part > 0 and "discriminator" in networks  # D's second to k-th update of this step
            self._move(found, epoch, updates, updates if again else max(updates - 1, 0))
            losses.update(measured)

        if self.config.schedule == "simultaneous":
            update(batch, 0, "discriminator", "generator")
        else:
            for k, minibatch in enumerate(torch.split(batch, size, dim=1)):
                update(minibatch, k, "discriminator")
            update(batch[:, :0], self.config.discriminator_steps, "generator")
        return losses

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One joint update of D and G, or one round of Algorithm 1."""
        return self._play(batch, epoch, step, self.gradients)

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, noise dimension) draws of p(z)."""
        return self._noise("evaluation", draw, count, part)
