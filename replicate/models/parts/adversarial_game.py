"""The adversarial game of all adversarial nets: noise, dropout masks, schedule and update rule.

By default G and D are updated at once, from the same generated images and the same dropout masks,
as the released code does (pylearn2's SGD on one joint cost); `schedule: alternating` is Algorithm 1
as printed. Recipe: goodfeli/adversarial@1720041, the yaml files and __init__.py (`AdversaryCost2`).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig
from replicate.models.parts import priors
from replicate.models.parts.constraints import limit_norms
from replicate.models.parts.priors import Prior
from replicate.params import RELEASED, setting
from replicate.training.momentum import decayed, momentum_step, ramped
from replicate.training.objectives import Objective
from replicate.training.streams import Purpose

_YAML = f"{RELEASED} mnist.yaml"
_CODE = f"{RELEASED} __init__.py"

#: Network -> its loss (seeds,), and parameter -> its gradient.
LossesAndGradients = tuple[dict[str, Tensor], dict[str, Tensor]]
#: `AdversarialGame.gradients`, or a stage's version of it.
GradientsOf = Callable[[Tensor, Tensor, list[Tensor], tuple[str, ...]], LossesAndGradients]


class GameConfig(ModelConfig):
    """Settings of the game; defaults are the released MNIST recipe's where it has them."""

    epochs: int = setting(
        500, "passes over the training images", "the released recipe has no end; ours", ge=1
    )
    batch_size: int = setting(
        100,
        "images, and noise vectors, per minibatch; a last partial batch is left out of its epoch, "
        "which the release trains on",
        _YAML,
        ge=1,
    )
    noise: Literal["uniform", "gaussian"] = setting(
        "uniform",
        "p(z): uniform on (-sqrt 3, sqrt 3), which has unit variance, or standard normal",
        _YAML,
    )
    noise_dimension: int = setting(100, "length of z", _YAML, ge=1)
    output: Literal["sigmoid", "linear"] = setting(
        "sigmoid",
        "G's pixels: sigmoid where they lie in [0, 1], linear where they are unbounded",
        _YAML,
    )
    keep_input: float = setting(
        0.8, "probability that dropout keeps an input of D", _YAML, gt=0, le=1
    )
    keep_hidden: float = setting(
        0.5, "probability that dropout keeps a hidden unit of D", _YAML, gt=0, le=1
    )
    objective: Objective = setting(
        "non_saturating",
        "what G descends: -log D(G(z)), or log(1 - D(G(z))) (saturating)",
        f"section 3; {_CODE}",
    )
    discriminator_weight: PositiveFloat = setting(
        0.5, "factor of D's loss beside G's (the released cost halves it)", _CODE
    )
    schedule: Literal["simultaneous", "alternating"] = setting(
        "simultaneous", "one joint update, or k steps of D and then one of G (Algorithm 1)", _YAML
    )
    discriminator_steps: int = setting(
        1, "k of Algorithm 1; only for the alternating schedule", "Algorithm 1", ge=1
    )
    learning_rate: PositiveFloat = setting(0.1, "of the first update", _YAML)
    learning_rate_decay: float = setting(
        1.000004, "the rate is divided by this after every update", _YAML, ge=1
    )
    learning_rate_floor: PositiveFloat = setting(1e-6, "the rate never falls below this", _YAML)
    momentum_initial: float = setting(0.5, "momentum of the first epoch", _YAML, ge=0, lt=1)
    momentum_final: float = setting(
        0.7, "momentum from epoch `momentum_epochs` on", _YAML, ge=0, lt=1
    )
    momentum_epochs: int = setting(250, "epochs over which the momentum rises", _YAML, ge=1)
    max_norm: PositiveFloat | None = setting(
        None,
        "largest norm of a unit's incoming weights, enforced after every update; null: no limit",
        _YAML,
    )


class AdversarialGame(GenerativeModel):
    """A block of seeds of G and D; a subclass has the networks and sets `_discriminator_widths`.

    Attributes:
        _discriminator_widths: input width of each layer of D, from the image up; each input has a
            dropout mask.
    """

    config: GameConfig
    has_latent: ClassVar[bool] = True
    _discriminator_widths: tuple[int, ...]

    @property
    def batches_per_step(self) -> int:
        """k minibatches for k steps of D (Algorithm 1), else one."""
        if self.config.schedule == "alternating":
            return self.config.discriminator_steps
        return 1

    @abstractmethod
    def gradients(
        self, batch: Tensor, noise: Tensor, masks: list[Tensor], networks: tuple[str, ...]
    ) -> LossesAndGradients:
        """The losses, and the gradients of the given networks, at the current parameters.

        Both objectives share G's images, D's logits on them and its dropout masks.

        Args:
            batch: (seeds, b, dimension) data; empty (b = 0) where only G is updated.
            noise: (seeds, n, noise dimension).
            masks: D's dropout masks for the data followed by G's images, (seeds, b + n, width) for
                each layer.
            networks: "generator", "discriminator" or both.
        """

    def _uniform(self, step: int, part: int, half_range: float, *shape: int) -> Tensor:
        """Initial weights, uniform on +- half_range, (seeds, *shape)."""
        uniform = self.streams.uniform("init", step, *shape, part=part)
        centred = 2 * uniform - 1
        return centred * half_range

    def _zeros(self, *shape: int) -> Tensor:
        """(seeds, *shape)."""
        streams = self.streams
        of_seeds = (self.seed_count, *shape)
        dtype = streams.dtype
        device = streams.device
        return torch.zeros(of_seeds, dtype=dtype, device=device)

    def _noise(self, purpose: Purpose, step: int, count: int, part: int) -> Tensor:
        """Draws of p(z), (seeds, count, noise dimension)."""
        dimension = self.config.noise_dimension
        if self.config.noise == "gaussian":
            return self.streams.normal(purpose, step, count, dimension, part=part)
        uniform = self.streams.uniform(purpose, step, count, dimension, part=part)
        # On +- sqrt(3) the variance is 1, that of the normal code.
        centred = 2 * uniform - 1
        return centred * math.sqrt(3)

    def _masks(self, rows: int, step: int, part: int) -> list[Tensor]:
        """Dropout masks for every layer of D, already divided by the probability to keep."""
        masks = []
        for layer, width in enumerate(self._discriminator_widths):
            keep = self.config.keep_hidden
            if layer == 0:
                keep = self.config.keep_input
            # A hundred parts an update: no two masks share random numbers.
            mask_part = 100 * part + layer
            # A mask for every example, as released, and not one for a whole minibatch.
            mask = self.streams.mask(keep, step, rows, width, part=mask_part)
            masks.append(mask)
        return masks

    def _rate(self, update: int) -> float:
        """The learning rate of an update, counted from 0."""
        c = self.config
        decay = c.learning_rate_decay
        floor = c.learning_rate_floor
        return decayed(c.learning_rate, decay, floor, update)

    def _descend(
        self, gradients: Mapping[str, Tensor], epoch: int, update: int, previous_update: int
    ) -> None:
        """Updates the parameters that have gradients.

        Args:
            gradients: by parameter.
            epoch: for the momentum.
            update: number of this update, for the learning rate.
            previous_update: number of the last update of the same parameters.
        """
        c = self.config
        momentum_step(
            [self.parameters[name] for name in gradients],
            [self.slots[name] for name in gradients],
            list(gradients.values()),
            learning_rate=self._rate(update),
            # By the epoch, the rate by the update: pylearn2 adjusts the one once an epoch, the
            # other each batch.
            momentum=ramped(c.momentum_initial, c.momentum_final, c.momentum_epochs, epoch),
            previous_rate=self._rate(previous_update),
        )
        if c.max_norm is not None:
            for name in gradients:
                # `max_col_norm` limits columns of W; biases have none.
                if name.endswith("weight"):
                    limit_norms(self.parameters[name], c.max_norm)

    def _play(
        self, batch: Tensor, epoch: int, step: int, gradients_of: GradientsOf, first_step: int = 0
    ) -> dict[str, Tensor]:
        """One joint update of D and G, or one round of Algorithm 1.

        A round is k updates of D, each on its own minibatch, and then one of G.

        Args:
            batch: (seeds, batches_per_step * batch_size, dimension).
            epoch: counted from the first of this stage of training.
            step: updates before this one, over all stages: the key of the random numbers.
            gradients_of: this stage's losses and gradients.
            first_step: of this stage, where the learning rate starts.
        """
        size = self.config.batch_size
        losses: dict[str, Tensor] = {}
        # Of this stage: the rate falls anew in each, while the random numbers go on by `step`.
        current = step - first_step
        # The first update has none before it, and no velocity that a wrong rate could scale.
        previous = max(current - 1, 0)

        def update(data: Tensor, part: int, previous_update: int, *networks: str) -> None:
            noise = self._noise("noise", step, size, part)
            rows = data.shape[1] + size
            masks = self._masks(rows, step, part)
            network_losses, gradients = gradients_of(data, noise, masks, networks)
            self._descend(gradients, epoch, current, previous_update)
            losses.update(network_losses)

        # The yaml files train by pylearn2's SGD: one update of both from the same images and masks.
        # The repository's own sgd.py, which alternates, is named by none of them.
        if self.config.schedule == "simultaneous":
            update(batch, 0, previous, "discriminator", "generator")
            return losses
        # Algorithm 1: "for k steps do ... update the discriminator ... end for"
        for k, minibatch in enumerate(torch.split(batch, size, dim=1)):
            # D's second to k-th update follow one of the same step.
            previous_of_d = current if k > 0 else previous
            update(minibatch, k, previous_of_d, "discriminator")
        # "... update the generator"
        # The data's term of equation 1 does not depend on G, so D sees G's images alone.
        no_data = batch[:, :0]
        # The part after D's k: G sees fresh noise, as Algorithm 1 samples it anew.
        update(no_data, self.config.discriminator_steps, previous, "generator")
        return losses

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One joint update of D and G, or one round of Algorithm 1."""
        return self._play(batch, epoch, step, self.gradients)

    def prior(self) -> Prior:
        """p(z)."""
        is_uniform = self.config.noise == "uniform"
        return priors.normal(self.streams, self.config.noise_dimension, is_uniform)

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, noise dimension) draws of p(z)."""
        return self._noise("evaluation", draw, count, part)
