"""Adversarial nets (Goodfellow et al. 2014), fully connected: the released recipes for MNIST, TFD and CIFAR-10.

G maps noise through rectified linear and sigmoid layers to pixels; D maps an image through maxout layers with
dropout to one logit. TFD's recipe trains twice: first without G's lowest layers, then all of G against a new D.
Recipes: goodfeli/adversarial@1720041, mnist.yaml, tfd_pretrain/pretrain.yaml and train.yaml,
cifar10_fully_connected.yaml.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar, Self

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from replicate.models import maxout, rectified
from replicate.models.adversarial_game import AdversarialGame, GameConfig
from replicate.params import RELEASED, TUNED, setting
from replicate.training.objectives import discriminator_loss, discriminator_slopes, generator_loss, generator_slope
from replicate.training.streams import Streams

_YAML = f"{RELEASED} mnist.yaml"
_CIFAR10 = f"{RELEASED} cifar10_fully_connected.yaml"
_PRETRAIN, _TRAIN = f"{RELEASED} tfd_pretrain/pretrain.yaml", f"{RELEASED} tfd_pretrain/train.yaml"


class AdversarialConfig(GameConfig):
    """The recipe; defaults are the released MNIST recipe's where it has them."""

    generator_hidden: tuple[PositiveInt, ...] = setting((1200, 1200), "units per hidden layer of G", _YAML)
    generator_sigmoid: tuple[NonNegativeInt, ...] = setting(
        (), "hidden layers of G, counted from 0, whose units are sigmoid; the others are rectified linear", _YAML
    )
    generator_range: PositiveFloat = setting(0.05, "G's weights start uniform on +- this", _YAML)
    generator_output_range: PositiveFloat | None = setting(
        None, "the same for G's last layer, where it differs from `generator_range`", _CIFAR10
    )
    generator_output_weights: NonNegativeInt = setting(
        0, "each pixel starts with this many standard normal weights and no others; 0: all uniform", _PRETRAIN
    )
    generator_sigmoid_bias: float = setting(0.0, "biases of G's hidden sigmoid layers start at this", _CIFAR10)
    discriminator_hidden: tuple[PositiveInt, ...] = setting((240, 240), "maxout units per layer of D", _YAML)
    pieces: int = setting(5, "linear pieces of a maxout unit", _YAML, ge=1)
    discriminator_range: PositiveFloat = setting(0.005, "D's weights start uniform on +- this", _YAML)
    pretrain_epochs: NonNegativeInt = setting(
        0, "of `epochs`, the first ones, in which G lacks its lowest `prepended_layers`; then D starts anew", _TRAIN
    )
    prepended_layers: NonNegativeInt = setting(
        0, "lowest layers of G that are put below the others after `pretrain_epochs`", _TRAIN
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        hidden, prepended = self.generator_hidden, self.prepended_layers
        if any(layer >= len(hidden) for layer in self.generator_sigmoid):
            raise ValueError(f"generator_sigmoid: G has no such hidden layer, only 0 to {len(hidden) - 1}")
        if self.generator_output_weights > (hidden[-1] if hidden else self.noise_dimension):
            raise ValueError("generator_output_weights: more than the units that a pixel sees")
        if (self.pretrain_epochs > 0) != (prepended > 0):
            raise ValueError("pretrain_epochs and prepended_layers: either both are 0 or none is")
        if self.pretrain_epochs and self.pretrain_epochs >= self.epochs:
            raise ValueError(
                f"epochs: must be more than the {self.pretrain_epochs} of pretrain_epochs, which it counts"
            )
        if prepended and (prepended > len(hidden) or hidden[prepended - 1] != self.noise_dimension):
            raise ValueError(
                "prepended_layers: the last of them must be a hidden layer of noise_dimension "
                f"({self.noise_dimension}) units, because it takes the place of z"
            )
        return self


_FACES: Mapping[str, Any] = {
    "epochs": 72,
    "pretrain_epochs": 50,
    "prepended_layers": 2,
    "noise": "gaussian",
    "generator_hidden": (8000, 100, 8000, 8000),
    "generator_sigmoid": (1, 3),
    "generator_sigmoid_bias": -2.0,
    "generator_output_weights": 100,
    "discriminator_hidden": (1200, 1200),
    "learning_rate": 0.05,
    "max_norm": 1.9365,
}


class AdversarialNets(AdversarialGame):
    """A block of seeds of G and D."""

    Config = AdversarialConfig
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": ({}, _YAML),
        "digits": (
            {
                "epochs": 300,
                "batch_size": 64,
                "noise_dimension": 20,
                "generator_hidden": (200, 200),
                "discriminator_hidden": (80, 80),
                "discriminator_range": 0.05,
                "keep_input": 1.0,
                "keep_hidden": 0.8,
                "learning_rate": 0.1,
                "momentum_epochs": 100,
            },
            TUNED,
        ),
        "tfd": (_FACES, f"{_PRETRAIN} (50 epochs), then {_TRAIN} (22 epochs)"),
        "faces": (_FACES, "TFD's recipe, whose layout the stand-in has"),
        "cifar10": (
            {
                "noise": "gaussian",
                "generator_hidden": (8000, 8000),
                "generator_sigmoid": (1,),
                "generator_output_range": 0.5,
                "output": "linear",
                "discriminator_hidden": (1600, 1600),
                "learning_rate": 0.025,
            },
            _CIFAR10,
        ),
        "images": (
            {"epochs": 100, "learning_rate": 0.02},
            "ours: the MNIST recipe at a fifth of its rate, by which it diverged",
        ),
    }

    def __init__(self, config: AdversarialConfig, shape: tuple[int, int, int], streams: Streams) -> None:
        super().__init__(config, shape, streams)
        c = config
        self._generator_sizes = (c.noise_dimension, *c.generator_hidden, self.dimension)
        self._units: list[rectified.Unit] = [
            "sigmoid" if layer in c.generator_sigmoid else "rectified" for layer in range(len(c.generator_hidden))
        ]
        self._units.append(c.output)
        self._discriminator_widths = (self.dimension, *c.discriminator_hidden)

    @property
    def whole_from(self) -> int:
        """The first epoch in which all of G is trained."""
        epochs: int = self.config.pretrain_epochs
        return epochs + 1

    def initialise(self, train: Tensor) -> None:
        """The recipe's weights and biases; the bias of sigmoid pixels is the logit of the mean training image.

        Layers of a later stage start here too, so that every checkpoint has the same tensors.
        """
        c, parameters = self.config, self.parameters
        top = len(c.generator_hidden)
        for layer, (rows, columns) in enumerate(pairwise(self._generator_sizes)):
            half_range = c.generator_output_range or c.generator_range if layer == top else c.generator_range
            sparse = layer == top and c.generator_output_weights > 0
            parameters[f"generator.{layer}.weight"] = (
                self._sparse(layer + 1, rows, columns)
                if sparse
                else self._uniform(0, layer + 1, half_range, rows, columns)
            )
            parameters[f"generator.{layer}.bias"] = self._zeros(1, columns)
            if layer in c.generator_sigmoid:
                parameters[f"generator.{layer}.bias"] += c.generator_sigmoid_bias
        if c.output == "sigmoid":
            marginals = train.mean(0).clamp(1e-7, 1 - 1e-7)  # clipped as the released `init_bias_target_marginals`
            parameters[f"generator.{top}.bias"] += torch.logit(marginals)
        parameters |= self._new_discriminator(0)
        self.slots = {name: torch.zeros_like(value) for name, value in parameters.items()}
        steps_per_epoch = len(train) // (c.batch_size * self.batches_per_step)
        self._second_stage = c.pretrain_epochs * steps_per_epoch

    def _sparse(self, part: int, rows: int, columns: int) -> Tensor:
        """`generator_output_weights` standard normal weights for each column, at distinct random rows; else 0."""
        count = self.config.generator_output_weights
        places = self.streams.uniform("init", 0, columns, rows, part=part).topk(count).indices
        # Parts 1000 and above: the values of the layer whose places are drawn from `part`.
        values = self.streams.normal("init", 0, columns, count, part=1000 + part)
        return self._zeros(columns, rows).scatter_(2, places, values).mT.contiguous()

    def _new_discriminator(self, step: int) -> dict[str, Tensor]:
        """D as it starts: uniform weights, zero biases; another `step` draws others."""
        c, found = self.config, {}
        outs = [units * c.pieces for units in c.discriminator_hidden] + [1]
        first = len(self._generator_sizes)
        for layer, (rows, columns) in enumerate(zip(self._discriminator_widths, outs, strict=True)):
            weight = self._uniform(step, first + layer, c.discriminator_range, rows, columns)
            found[f"discriminator.{layer}.weight"] = weight
            found[f"discriminator.{layer}.bias"] = self._zeros(1, columns)
        return found

    def _layers(self, network: str, first: int = 0) -> list[tuple[Tensor, Tensor]]:
        count = len(getattr(self.config, f"{network}_hidden")) + 1
        names = [f"{network}.{layer}" for layer in range(first, count)]
        return [(self.parameters[f"{name}.weight"], self.parameters[f"{name}.bias"]) for name in names]

    def decode(self, code: Tensor) -> Tensor:
        """G: noise (seeds, n, noise dimension) to images (seeds, n, dimension), in (0, 1) where pixels are sigmoid."""
        return rectified.outputs(code, self._layers("generator"), self._units)[-1]

    def gradients(
        self, batch: Tensor, noise: Tensor, masks: list[Tensor], networks: tuple[str, ...], first: int = 0
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As for every game; `first` is the lowest of G's layers that takes part, the one that takes the noise."""
        c, real_rows = self.config, batch.shape[1]
        learn_d, learn_g = "discriminator" in networks, "generator" in networks
        generator, discriminator = self._layers("generator", first), self._layers("discriminator")
        units = self._units[first:]
        generated = rectified.outputs(noise, generator, units)
        found, tape = maxout.logits(torch.cat([batch, generated[-1]], 1), discriminator, c.pieces, masks)
        real, fake = found[:, :real_rows], found[:, real_rows:]
        losses, slopes = {"generator": generator_loss(fake, c.objective)}, None
        if learn_d:
            losses["discriminator"] = discriminator_loss(real, fake)
            slopes = c.discriminator_weight * torch.cat(discriminator_slopes(real, fake), 1)
        image_rows = slice(real_rows, None) if learn_g else None
        gradients, by_image = maxout.backpropagate(tape, discriminator, slopes, image_rows)
        named = self._named("discriminator", 0, gradients)
        if by_image is not None:
            by_image *= generator_slope(fake, c.objective).unsqueeze(-1)
            gradients = rectified.backpropagate(noise, generated, generator, units, by_image)
            named |= self._named("generator", first, gradients)
        return losses, named

    @staticmethod
    def _named(network: str, first: int, gradients: list[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        return {
            f"{network}.{layer}.{part}": value
            for layer, pair in enumerate(gradients, first)
            for part, value in zip(("weight", "bias"), pair, strict=True)
        }

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One joint update of D and G, or one round of Algorithm 1, of the stage that `epoch` belongs to."""
        c = self.config
        if epoch < c.pretrain_epochs:
            return self._play(batch, epoch, step, partial(self.gradients, first=c.prepended_layers))
        if c.pretrain_epochs and step == self._second_stage:
            self._begin_second_stage()
        return self._play(batch, epoch - c.pretrain_epochs, step, self.gradients, self._second_stage)

    def _begin_second_stage(self) -> None:
        """The released train.yaml is a run of its own: D is new, and so are velocities, learning rate and momentum.

        Only G's pre-trained layers are taken over (`add_layers`); those below them have not moved yet.
        """
        for name, value in self._new_discriminator(1).items():
            self.parameters[name].copy_(value)
        for velocity in self.slots.values():
            velocity.zero_()


MODEL = AdversarialNets
