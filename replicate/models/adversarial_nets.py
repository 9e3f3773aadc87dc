"""Fully connected adversarial nets (Goodfellow et al. 2014), with the released recipes.

G maps noise through rectified linear and sigmoid layers to pixels; D maps an image through maxout
layers with dropout to one logit. TFD's recipe trains twice: first without G's lowest layers, then
all of G against a new D. Recipes: goodfeli/adversarial@1720041, mnist.yaml,
tfd_pretrain/pretrain.yaml and train.yaml, cifar10_fully_connected.yaml.
"""

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import ClassVar, Self

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from replicate.models.base import Recipe, Recipes
from replicate.models.parts import maxout, rectified
from replicate.models.parts.adversarial_game import (
    AdversarialGame,
    GameConfig,
    LossesAndGradients,
)
from replicate.params import RELEASED, TUNED, setting
from replicate.training.momentum import zero_averages
from replicate.training.objectives import (
    discriminator_loss,
    discriminator_slopes,
    generator_loss,
    generator_slope,
)
from replicate.training.streams import Streams

_YAML = f"{RELEASED} mnist.yaml"
_CIFAR10 = f"{RELEASED} cifar10_fully_connected.yaml"
_PRETRAIN = f"{RELEASED} tfd_pretrain/pretrain.yaml"
_TRAIN = f"{RELEASED} tfd_pretrain/train.yaml"


class AdversarialConfig(GameConfig):
    """The recipe; defaults are the released MNIST recipe's where it has them."""

    generator_hidden: tuple[PositiveInt, ...] = setting(
        (1200, 1200), "units per hidden layer of G", _YAML
    )
    generator_sigmoid: tuple[NonNegativeInt, ...] = setting(
        (),
        "hidden layers of G, counted from 0, whose units are sigmoid; the others are rectified "
        "linear",
        _YAML,
    )
    generator_range: PositiveFloat = setting(0.05, "G's weights start uniform on +- this", _YAML)
    generator_output_range: PositiveFloat | None = setting(
        None, "the same for G's last layer, where it differs from `generator_range`", _CIFAR10
    )
    generator_output_weights: NonNegativeInt = setting(
        0,
        "each pixel starts with this many standard normal weights and no others; 0: all uniform",
        _PRETRAIN,
    )
    generator_sigmoid_bias: float = setting(
        0.0, "biases of G's hidden sigmoid layers start at this", _CIFAR10
    )
    discriminator_hidden: tuple[PositiveInt, ...] = setting(
        (240, 240), "maxout units per layer of D", _YAML
    )
    pieces: int = setting(5, "linear pieces of a maxout unit", _YAML, ge=1)
    discriminator_range: PositiveFloat = setting(
        0.005, "D's weights start uniform on +- this", _YAML
    )
    pretrain_epochs: NonNegativeInt = setting(
        0,
        "of `epochs`, the first ones, in which G lacks its lowest `prepended_layers`; then D "
        "starts anew",
        _TRAIN,
    )
    prepended_layers: NonNegativeInt = setting(
        0, "lowest layers of G that are put below the others after `pretrain_epochs`", _TRAIN
    )

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        hidden = self.generator_hidden
        last = len(hidden) - 1
        if any(layer > last for layer in self.generator_sigmoid):
            raise ValueError(f"generator_sigmoid: G has no such hidden layer, only 0 to {last}")
        # Without hidden layers pixels see z itself.
        inputs_of_pixels = hidden[-1] if hidden else self.noise_dimension
        if self.generator_output_weights > inputs_of_pixels:
            raise ValueError("generator_output_weights: more than the units that a pixel sees")
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        hidden = self.generator_hidden
        prepended = self.prepended_layers
        if (self.pretrain_epochs > 0) != (prepended > 0):
            raise ValueError("pretrain_epochs and prepended_layers: either both are 0 or none is")
        if self.pretrain_epochs and self.pretrain_epochs >= self.epochs:
            raise ValueError(
                f"epochs: must be more than the {self.pretrain_epochs} of pretrain_epochs, "
                "which it counts"
            )
        if prepended and (prepended > len(hidden) or hidden[prepended - 1] != self.noise_dimension):
            raise ValueError(
                "prepended_layers: the last of them must be a hidden layer of noise_dimension "
                f"({self.noise_dimension}) units, because it takes the place of z"
            )
        return self


# The released train.yaml puts a new net (100 - 8000 - 100) below the pre-trained one by
# `add_layers`: the second of these layers, of sigmoid units, takes the place of the Gaussian z.
_FACES: Mapping[str, object] = {
    "epochs": 72,
    "pretrain_epochs": 50,
    "prepended_layers": 2,
    "noise": "gaussian",
    "generator_hidden": (8000, 100, 8000, 8000),
    "generator_sigmoid": (1, 3),
    "generator_sigmoid_bias": -2.0,
    # pylearn2's `sparse_init`. Its column norms of about 10 are cut by `max_norm` after one update.
    "generator_output_weights": 100,
    "discriminator_hidden": (1200, 1200),
    "learning_rate": 0.05,
    "max_norm": 1.9365,
}


class AdversarialNets(AdversarialGame):
    """A block of seeds of G and D."""

    Config = AdversarialConfig
    config: AdversarialConfig
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, _YAML),
        "digits": Recipe(
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
        "tfd": Recipe(_FACES, f"{_PRETRAIN} (50 epochs), then {_TRAIN} (22 epochs)"),
        "faces": Recipe(_FACES, "TFD's recipe, whose layout the stand-in has"),
        "cifar10": Recipe(
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
        "images": Recipe(
            {"epochs": 100, "learning_rate": 0.02},
            "ours: the MNIST recipe at a fifth of its rate, by which it diverged",
        ),
    }

    def __init__(
        self, config: AdversarialConfig, shape: tuple[int, int, int], streams: Streams
    ) -> None:
        super().__init__(config, shape, streams)
        hidden = config.generator_hidden
        self._generator_widths = (config.noise_dimension, *hidden, self.dimension)
        self._discriminator_widths = (self.dimension, *config.discriminator_hidden)
        self._units: list[rectified.Unit] = []
        for layer in range(len(hidden)):
            if layer in config.generator_sigmoid:
                self._units.append("sigmoid")
            else:
                self._units.append("rectified")
        self._units.append(config.output)

    @property
    def first_complete_epoch(self) -> int:
        """The first epoch in which all of G is trained, counted from 1."""
        return self.config.pretrain_epochs + 1

    def initialise(self, train: Tensor) -> None:
        """The recipe's weights and biases; sigmoid pixels start at the mean training image.

        Layers of a later stage start here too, so that every checkpoint has the same tensors.
        """
        config = self.config
        self.parameters |= self._initial_generator(train)
        self.parameters |= self._initial_discriminator(0)
        self.slots = zero_averages(self.parameters)
        images_per_step = config.batch_size * self.batches_per_step
        steps_per_epoch = len(train) // images_per_step
        # The learning rate starts anew there, and so its count of updates.
        first_step = config.pretrain_epochs * steps_per_epoch
        self._second_stage_step = first_step

    def _initial_generator(self, train: Tensor) -> dict[str, Tensor]:
        c = self.config
        parameters: dict[str, Tensor] = {}
        top = len(c.generator_hidden)
        for layer, (rows, columns) in enumerate(pairwise(self._generator_widths)):
            name = f"generator.{layer}"
            part = layer + 1
            is_top = layer == top
            half_range = c.generator_range
            # CIFAR-10's linear pixels start at ten times the range of the hidden layers (irange .5
            # and .05).
            if is_top and c.generator_output_range is not None:
                half_range = c.generator_output_range
            if is_top and c.generator_output_weights > 0:
                weight = self._sparse_weight(part, rows, columns)
            else:
                weight = self._uniform(0, part, half_range, rows, columns)
            bias = self._zeros(1, columns)
            if layer in c.generator_sigmoid:
                bias += c.generator_sigmoid_bias
            parameters[f"{name}.weight"] = weight
            parameters[f"{name}.bias"] = bias
        if c.output == "sigmoid":
            # Clipped as pylearn2's `init_sigmoid_bias_from_marginals` does: the log-odds of 0 are
            # infinite.
            mean_pixels = train.mean(0).clamp(1e-7, 1 - 1e-7)
            log_odds = torch.logit(mean_pixels)
            output_bias = parameters[f"generator.{top}.bias"]
            output_bias += log_odds
        return parameters

    def _sparse_weight(self, part: int, rows: int, columns: int) -> Tensor:
        """`generator_output_weights` standard normal weights per column, at distinct random rows.

        The other weights are 0.
        """
        count = self.config.generator_output_weights
        # The rows of the largest of as many random numbers are a random set without repetition.
        uniform = self.streams.uniform("init", 0, columns, rows, part=part)
        nonzero_rows = uniform.topk(count).indices
        # Parts 1000 and above: the values of the layer whose rows are drawn from `part`.
        values = self.streams.normal("init", 0, columns, count, part=1000 + part)
        zeros = self._zeros(columns, rows)
        transposed = zeros.scatter_(2, nonzero_rows, values)
        # (seeds, columns, rows) -> (seeds, rows, columns)
        return transposed.mT.contiguous()

    def _initial_discriminator(self, step: int) -> dict[str, Tensor]:
        """Uniform weights and zero biases of D; another `step` draws others."""
        c = self.config
        parameters: dict[str, Tensor] = {}
        # G's layers have used the parts below.
        first_part = len(self._generator_widths)
        output_widths = [units * c.pieces for units in c.discriminator_hidden]
        output_widths.append(1)
        widths = zip(self._discriminator_widths, output_widths, strict=True)
        for layer, (rows, columns) in enumerate(widths):
            part = first_part + layer
            name = f"discriminator.{layer}"
            weight = self._uniform(step, part, c.discriminator_range, rows, columns)
            parameters[f"{name}.weight"] = weight
            parameters[f"{name}.bias"] = self._zeros(1, columns)
        return parameters

    def _layers(self, network: str, first: int, count: int) -> list[tuple[Tensor, Tensor]]:
        """(weight, bias) of a network's layers from number `first` up to `count`."""
        layers = []
        for layer in range(first, count):
            name = f"{network}.{layer}"
            weight = self.parameters[f"{name}.weight"]
            bias = self.parameters[f"{name}.bias"]
            layers.append((weight, bias))
        return layers

    def _generator_layers(self, first: int = 0) -> list[tuple[Tensor, Tensor]]:
        count = len(self._units)
        return self._layers("generator", first, count)

    def _discriminator_layers(self) -> list[tuple[Tensor, Tensor]]:
        count = len(self._discriminator_widths)
        return self._layers("discriminator", 0, count)

    def decode(self, code: Tensor) -> Tensor:
        """G: noise (seeds, n, noise dimension) to images (seeds, n, dimension).

        Sigmoid pixels are in (0, 1).
        """
        layers = self._generator_layers()
        units = self._units
        activations = rectified.outputs(code, layers, units)
        return activations[-1]

    def gradients(
        self,
        batch: Tensor,
        noise: Tensor,
        masks: list[Tensor],
        networks: tuple[str, ...],
        first: int = 0,
    ) -> LossesAndGradients:
        """As for every game.

        Args:
            batch, noise, masks, networks: as for every game.
            first: the lowest layer of G in use; it takes the noise.
        """
        c = self.config
        real_rows = batch.shape[1]
        generator = self._generator_layers(first)
        discriminator = self._discriminator_layers()
        units = self._units[first:]

        # x = data, then G(z); logits a = logit D(x) and b = logit D(G(z))
        activations = rectified.outputs(noise, generator, units)
        # One pass of D over both, under masks of their own rows; G is trained through a dropped-out
        # D, as in the release, whose option against that (`no_drop_in_d_for_g`) drops all the same.
        images = torch.cat([batch, activations[-1]], 1)
        logits, tape = maxout.logits(images, discriminator, c.pieces, masks)
        real = logits[:, :real_rows]
        fake = logits[:, real_rows:]

        losses = {"generator": generator_loss(fake, c.objective)}
        # Of D's loss with respect to every logit.
        slopes = None
        if "discriminator" in networks:
            losses["discriminator"] = discriminator_loss(real, fake)
            real_slopes, fake_slopes = discriminator_slopes(real, fake)
            # AdversaryCost2 halves D's objective, not G's: at one learning rate D takes half the
            # step.
            slopes = c.discriminator_weight * torch.cat([real_slopes, fake_slopes], 1)
        image_rows = None
        if "generator" in networks:
            # Of the generated half alone: data do not move, so their gradient is never asked for.
            image_rows = slice(real_rows, None)

        # D's own weights take `slopes`; what comes back to the images is the gradient of the bare
        # logits.
        layer_gradients, grad_images = maxout.backpropagate(tape, discriminator, slopes, image_rows)
        gradients = _by_name("discriminator", 0, layer_gradients)
        if grad_images is not None:
            # The gradient of the logits becomes that of G's loss.
            slope = generator_slope(fake, c.objective)
            grad_images *= slope.unsqueeze(-1)
            layer_gradients = rectified.backpropagate(
                noise, activations, generator, units, grad_images
            )
            gradients |= _by_name("generator", first, layer_gradients)
        return losses, gradients

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One joint update of D and G, or one round of Algorithm 1, in the stage of `epoch`."""
        c = self.config
        if epoch < c.pretrain_epochs:
            # As in pretrain.yaml: z goes straight into the layers that will be the upper ones.
            without_prepended = partial(self.gradients, first=c.prepended_layers)
            return self._play(batch, epoch, step, without_prepended)
        first_step = self._second_stage_step
        if c.pretrain_epochs and step == first_step:
            self._begin_second_stage()
        epoch_in_stage = epoch - c.pretrain_epochs
        return self._play(batch, epoch_in_stage, step, self.gradients, first_step)

    def _begin_second_stage(self) -> None:
        """Starts D, velocities, learning rate and momentum anew.

        The released train.yaml is a run of its own. It takes over only G's pre-trained layers
        (`add_layers`); those below them have not been trained yet.
        """
        # In place: `parameters` and what holds its tensors stay the same objects.
        fresh = self._initial_discriminator(1)
        for name, value in fresh.items():
            parameter = self.parameters[name]
            parameter.copy_(value)
        for velocity in self.slots.values():
            # G's too: a run of its own starts without velocity, also where weights are taken over.
            velocity.zero_()


def _by_name(
    network: str, first: int, layer_gradients: list[tuple[Tensor, Tensor]]
) -> dict[str, Tensor]:
    """Parameter name -> gradient, for the layers from number `first` on."""
    gradients: dict[str, Tensor] = {}
    for layer, (grad_weight, grad_bias) in enumerate(layer_gradients, first):
        name = f"{network}.{layer}"
        gradients[f"{name}.weight"] = grad_weight
        gradients[f"{name}.bias"] = grad_bias
    return gradients


MODEL = AdversarialNets
