"""Convolutional adversarial nets (Goodfellow et al. 2014): the released CIFAR-10 recipe and small relatives of it.

G maps noise through two fully connected layers to feature maps, and these by one deconvolution to an image. D has
convolutional maxout layers with pooling, then fully connected maxout layers, all with dropout, and one logit.
Recipe: goodfeli/adversarial@1720041, cifar10_convolutional.yaml and deconv.py.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models import convolution
from replicate.models.adversarial_game import AdversarialGame, GameConfig
from replicate.params import RELEASED, TUNED, Settings, setting
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

_YAML = f"{RELEASED} cifar10_convolutional.yaml"


class Convolution(Settings):
    """A convolutional maxout layer of D with its pooling."""

    channels: PositiveInt = Field(description="maxout channels")
    kernel: PositiveInt = Field(description="pixels of a side of a kernel")
    pad: int = Field(description="zeros put around the maps", ge=0)
    pool: PositiveInt = Field(description="pixels of a side of a pooled square")
    pool_stride: PositiveInt = Field(description="pixels from one pooled square to the next; at most `pool`")


def _layer(channels: int, kernel: int, pad: int, pool: int, pool_stride: int) -> Convolution:
    return Convolution(channels=channels, kernel=kernel, pad=pad, pool=pool, pool_stride=pool_stride)


class ConvolutionalConfig(GameConfig):
    """The recipe; defaults are the released CIFAR-10 recipe's where it has them."""

    epochs: int = setting(100, "passes over the training images", "the released recipe has no end; ours", ge=1)
    batch_size: int = setting(128, "images, and noise vectors, per minibatch", _YAML, ge=1)
    noise: Literal["uniform", "gaussian"] = setting(
        "gaussian", "p(z): uniform on (-sqrt 3, sqrt 3), which has unit variance, or standard normal", _YAML
    )
    output: Literal["sigmoid", "linear"] = setting(
        "linear", "G's pixels: sigmoid where they lie in [0, 1], linear where they are unbounded", _YAML
    )
    learning_rate: PositiveFloat = setting(0.004, "of the first update", _YAML)
    generator_hidden: PositiveInt = setting(8000, "rectified linear units of G's first layer", _YAML)
    generator_maps: tuple[PositiveInt, PositiveInt, PositiveInt] = setting(
        (80, 10, 10), "channels, height and width that G's second layer, of sigmoid units, is laid out in", _YAML
    )
    generator_kernel: PositiveInt = setting(5, "pixels of a side of the deconvolution's kernels", _YAML)
    generator_stride: PositiveInt = setting(3, "pixels between the places that two neighbours reach", _YAML)
    generator_range: PositiveFloat = setting(0.05, "G's weights start uniform on +- this", _YAML)
    convolutions: tuple[Convolution, ...] = setting(
        (_layer(32, 8, 4, 4, 2), _layer(32, 8, 3, 4, 2), _layer(192, 5, 3, 2, 2)),
        "convolutional maxout layers of D, from the image up",
        _YAML,
        min_length=1,
    )
    convolution_pieces: PositiveInt = setting(2, "linear pieces of a convolutional maxout unit", _YAML)
    discriminator_hidden: tuple[PositiveInt, ...] = setting(
        (500,), "maxout units per fully connected layer of D", _YAML
    )
    pieces: PositiveInt = setting(5, "linear pieces of a fully connected maxout unit", _YAML)
    discriminator_range: PositiveFloat = setting(0.005, "D's weights start uniform on +- this", _YAML)


class ConvolutionalNets(AdversarialGame):
    """A block of seeds of a deconvolutional G and a convolutional D.

    Raises:
        ReplicateError: the layers do not fit the images; it says which, and the sizes.
    """

    Config = ConvolutionalConfig
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "cifar10": ({}, _YAML),
        "digits": (
            {
                "epochs": 70,
                "batch_size": 64,
                "noise_dimension": 20,
                "output": "sigmoid",
                "learning_rate": 0.3,
                "generator_hidden": 200,
                "generator_maps": (16, 3, 3),
                "generator_kernel": 4,
                "generator_stride": 2,
                "generator_range": 0.5,
                "convolutions": (_layer(8, 3, 1, 2, 2),),
                "discriminator_hidden": (80,),
                "discriminator_range": 0.05,
                "momentum_epochs": 100,
            },
            TUNED,
        ),
        "images": (
            {
                "epochs": 100,
                "output": "sigmoid",
                "learning_rate": 0.005,
                "generator_hidden": 1000,
                "generator_maps": (40, 10, 10),
                "convolutions": (_layer(16, 5, 2, 3, 2), _layer(32, 5, 2, 3, 2), _layer(64, 3, 1, 2, 2)),
                "discriminator_hidden": (200,),
            },
            "ours: a small relative of the released CIFAR-10 recipe, for two cores; of the rates 0.1, 0.02 and 0.005 "
            "the last was best",
        ),
    }

    def __init__(self, config: ConvolutionalConfig, shape: tuple[int, int, int], streams: Streams) -> None:
        super().__init__(config, shape, streams)
        self._check_generator()
        #: (channels, height, width) that each convolution of D takes in, and what the last one gives.
        self._maps = self._discriminator_maps()
        self._discriminator_widths = (*map(math.prod, self._maps), *config.discriminator_hidden)

    def _check_generator(self) -> None:
        c, (height, width) = self.config, self.shape[1:]
        made = tuple(
            convolution.deconvolved(side, c.generator_kernel, c.generator_stride) for side in c.generator_maps[1:]
        )
        if made != (height, width):
            raise ReplicateError(
                f"generator_maps, generator_kernel and generator_stride: maps of {c.generator_maps[1]}x"
                f"{c.generator_maps[2]}, kernel {c.generator_kernel} and stride {c.generator_stride} give images of "
                f"{made[0]}x{made[1]}, but those of the data set are {height}x{width}; a side becomes "
                "stride * (side - 1) + kernel."
            )

    def _discriminator_maps(self) -> list[tuple[int, int, int]]:
        maps = [self.shape]
        for number, layer in enumerate(self.config.convolutions):
            sides = [convolution.convolved(side, layer.kernel, layer.pad) for side in maps[-1][1:]]
            if min(sides) < layer.pool:
                raise ReplicateError(
                    f"convolutions[{number}]: maps of {maps[-1][1]}x{maps[-1][2]} with kernel {layer.kernel} and pad "
                    f"{layer.pad} give {sides[0]}x{sides[1]}, too few for squares of {layer.pool}x{layer.pool}."
                )
            if layer.pool_stride > layer.pool or layer.pad >= layer.kernel:
                raise ReplicateError(
                    f"convolutions[{number}]: pool_stride must be at most pool, and pad less than kernel."
                )
            height, width = (convolution.pooled(side, layer.pool, layer.pool_stride) for side in sides)
            maps.append((layer.channels, height, width))
        return maps

    def _layers(self) -> Iterator[tuple[str, float, tuple[int, ...], tuple[int, ...]]]:
        """Every layer's name, the range of its first weights, and the shapes of its weights and of its biases."""
        c = self.config
        code = math.prod(c.generator_maps)
        for layer, (rows, columns) in enumerate(pairwise((c.noise_dimension, c.generator_hidden, code))):
            yield f"generator.{layer}", c.generator_range, (rows, columns), (1, columns)
        kernel = (c.generator_maps[0], self.shape[0], c.generator_kernel, c.generator_kernel)
        yield "generator.2", c.generator_range, kernel, self.shape  # a bias for each pixel, as released (tied_b: 0)
        for number, ((channels, _, _), layer) in enumerate(zip(self._maps, c.convolutions, strict=False)):
            out = layer.channels * c.convolution_pieces
            kernel = (out, channels, layer.kernel, layer.kernel)
            yield f"discriminator.{number}", c.discriminator_range, kernel, (out,)
        outs = [units * c.pieces for units in c.discriminator_hidden] + [1]
        widths = self._discriminator_widths[len(c.convolutions) :]
        for number, (rows, columns) in enumerate(zip(widths, outs, strict=True), len(c.convolutions)):
            yield f"discriminator.{number}", c.discriminator_range, (rows, columns), (1, columns)

    def initialise(self, train: Tensor) -> None:
        """Uniform weights, zero biases; where pixels are sigmoid, their bias is the logit of the mean image."""
        for part, (name, half_range, weights, biases) in enumerate(self._layers(), 1):
            self.parameters[f"{name}.weight"] = self._uniform(0, part, half_range, *weights)
            self.parameters[f"{name}.bias"] = self._zeros(*biases)
        if self.config.output == "sigmoid":
            marginals = train.mean(0).clamp(1e-7, 1 - 1e-7)
            self.parameters["generator.2.bias"] += torch.logit(marginals).view(self.shape)
        self.slots = {name: torch.zeros_like(value) for name, value in self.parameters.items()}

    def decode(self, code: Tensor) -> Tensor:
        """G: noise (seeds, n, noise dimension) to images (seeds, n, dimension), in (0, 1) where pixels are sigmoid."""
        return self._generate(code, self.parameters)

    def _generate(self, code: Tensor, p: Mapping[str, Tensor]) -> Tensor:
        hidden = torch.baddbmm(p["generator.0.bias"], code, p["generator.0.weight"]).relu()
        hidden = torch.baddbmm(p["generator.1.bias"], hidden, p["generator.1.weight"]).sigmoid()
        maps = convolution.fold(hidden, *self.config.generator_maps)
        maps = convolution.deconvolve(
            maps, p["generator.2.weight"], p["generator.2.bias"], self.config.generator_stride
        )
        images = convolution.unfold(maps, len(code))
        return images.sigmoid() if self.config.output == "sigmoid" else images

    def _logits(self, images: Tensor, masks: Sequence[Tensor], p: Mapping[str, Tensor]) -> Tensor:
        """D's logits (seeds, n) of images (seeds, n, dimension)."""
        c, seeds = self.config, len(images)
        maps = convolution.fold(images, *self.shape)
        for number, (layer, below) in enumerate(zip(c.convolutions, self._maps, strict=False)):
            name = f"discriminator.{number}"
            maps = maps * convolution.fold(masks[number], *below)
            maps = convolution.convolve(maps, p[f"{name}.weight"], p[f"{name}.bias"], layer.pad)
            maps = convolution.pool(
                convolution.largest_piece(maps, seeds, c.convolution_pieces), layer.pool, layer.pool_stride
            )
        hidden = convolution.unfold(maps, seeds)
        for number in range(len(c.convolutions), len(masks)):
            name = f"discriminator.{number}"
            hidden = torch.baddbmm(p[f"{name}.bias"], hidden * masks[number], p[f"{name}.weight"])
            if number + 1 < len(masks):
                hidden = hidden.view(*hidden.shape[:2], c.pieces, -1).amax(-2)
        return hidden.squeeze(-1)

    def gradients(
        self, batch: Tensor, noise: Tensor, masks: list[Tensor], networks: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As for every game, by automatic differentiation: one forward pass, and a backward pass for each network.

        D sees data and generated images in two calls, so that G's backward pass runs through the latter alone. Written
        out by hand as in `maxout.py`, one pass would serve both and save D's backward pass towards its inputs on the
        generated half: about an eighth of D's products.
        """
        c, real_rows = self.config, batch.shape[1]
        leaves = {
            name: value.detach().requires_grad_(name.split(".")[0] in networks)
            for name, value in self.parameters.items()
        }
        losses: dict[str, Tensor] = {}
        named: dict[str, Tensor] = {}
        with torch.enable_grad():
            generated = self._generate(noise, leaves)
            fake = self._logits(generated, [mask[:, real_rows:] for mask in masks], leaves)
            losses["generator"] = generator_loss(fake, c.objective)
            if "discriminator" in networks:
                real = self._logits(batch, [mask[:, :real_rows] for mask in masks], leaves)
                losses["discriminator"] = discriminator_loss(real, fake)
        for network in networks:
            names = [name for name in leaves if name.startswith(network)]
            share = c.discriminator_weight if network == "discriminator" else 1.0
            slopes = torch.full_like(losses[network], share)  # a sum over seeds: each has its own weights
            found = torch.autograd.grad(
                losses[network], [leaves[name] for name in names], slopes, retain_graph=network != networks[-1]
            )
            named |= dict(zip(names, found, strict=True))
        return {name: loss.detach() for name, loss in losses.items()}, named


MODEL = ConvolutionalNets
