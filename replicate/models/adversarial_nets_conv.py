"""Convolutional adversarial nets (Goodfellow et al. 2014): the released CIFAR-10 recipe.

G maps noise through two fully connected layers to feature maps, and these by one deconvolution to
an image. D has convolutional maxout layers with pooling, then fully connected maxout layers, all
with dropout, and one logit. Recipe: goodfeli/adversarial@1720041, cifar10_convolutional.yaml and
deconv.py; those for other data sets are smaller.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models.base import Recipe, Recipes
from replicate.models.parts import convolution
from replicate.models.parts.adversarial_game import (
    AdversarialGame,
    GameConfig,
    LossesAndGradients,
)
from replicate.params import RELEASED, TUNED, Settings, setting
from replicate.training.momentum import zero_averages
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

_YAML = f"{RELEASED} cifar10_convolutional.yaml"


class Convolution(Settings):
    """A convolutional maxout layer of D with its pooling."""

    channels: PositiveInt = Field(description="maxout channels")
    kernel: PositiveInt = Field(description="pixels of a side of a kernel")
    pad: int = Field(description="zeros put around the maps", ge=0)
    pool: PositiveInt = Field(description="pixels of a side of a pooled square")
    pool_stride: PositiveInt = Field(
        description="pixels from one pooled square to the next; at most `pool`"
    )


def _convolution(channels: int, kernel: int, pad: int, pool: int, pool_stride: int) -> Convolution:
    return Convolution(
        channels=channels, kernel=kernel, pad=pad, pool=pool, pool_stride=pool_stride
    )


class ConvolutionalConfig(GameConfig):
    """The recipe; defaults are the released CIFAR-10 recipe's where it has them."""

    epochs: int = setting(
        100, "passes over the training images", "the released recipe has no end; ours", ge=1
    )
    batch_size: int = setting(128, "images, and noise vectors, per minibatch", _YAML, ge=1)
    noise: Literal["uniform", "gaussian"] = setting(
        "gaussian",
        "p(z): uniform on (-sqrt 3, sqrt 3), which has unit variance, or standard normal",
        _YAML,
    )
    output: Literal["sigmoid", "linear"] = setting(
        "linear",
        "G's pixels: sigmoid where they lie in [0, 1], linear where they are unbounded",
        _YAML,
    )
    learning_rate: PositiveFloat = setting(0.004, "of the first update", _YAML)
    generator_hidden: PositiveInt = setting(
        8000, "rectified linear units of G's first layer", _YAML
    )
    generator_maps: tuple[PositiveInt, PositiveInt, PositiveInt] = setting(
        (80, 10, 10),
        "channels, height and width that G's second layer, of sigmoid units, is laid out in",
        _YAML,
    )
    generator_kernel: PositiveInt = setting(
        5, "pixels of a side of the deconvolution's kernels", _YAML
    )
    generator_stride: PositiveInt = setting(
        3, "pixels between the places that two neighbours reach", _YAML
    )
    generator_range: PositiveFloat = setting(0.05, "G's weights start uniform on +- this", _YAML)
    convolutions: tuple[Convolution, ...] = setting(
        (_convolution(32, 8, 4, 4, 2), _convolution(32, 8, 3, 4, 2), _convolution(192, 5, 3, 2, 2)),
        "convolutional maxout layers of D, from the image up",
        _YAML,
        min_length=1,
    )
    convolution_pieces: PositiveInt = setting(
        2, "linear pieces of a convolutional maxout unit", _YAML
    )
    discriminator_hidden: tuple[PositiveInt, ...] = setting(
        (500,), "maxout units per fully connected layer of D", _YAML
    )
    pieces: PositiveInt = setting(5, "linear pieces of a fully connected maxout unit", _YAML)
    discriminator_range: PositiveFloat = setting(
        0.005, "D's weights start uniform on +- this", _YAML
    )


class _LayerShape(NamedTuple):
    """A layer's name, the range of its initial weights, and its shapes without the seeds."""

    name: str
    half_range: float
    weight: tuple[int, ...]
    bias: tuple[int, ...]


class ConvolutionalNets(AdversarialGame):
    """A block of seeds of a deconvolutional G and a convolutional D.

    Raises:
        ReplicateError: a layer does not fit the images; the message names it and the sizes.
    """

    Config = ConvolutionalConfig
    config: ConvolutionalConfig
    recipes: ClassVar[Recipes] = {
        "cifar10": Recipe({}, _YAML),
        "digits": Recipe(
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
                "convolutions": (_convolution(8, 3, 1, 2, 2),),
                "discriminator_hidden": (80,),
                "discriminator_range": 0.05,
                "momentum_epochs": 100,
            },
            TUNED,
        ),
        "images": Recipe(
            {
                "epochs": 100,
                "output": "sigmoid",
                "learning_rate": 0.005,
                "generator_hidden": 1000,
                "generator_maps": (40, 10, 10),
                "convolutions": (
                    _convolution(16, 5, 2, 3, 2),
                    _convolution(32, 5, 2, 3, 2),
                    _convolution(64, 3, 1, 2, 2),
                ),
                "discriminator_hidden": (200,),
            },
            "ours: a small relative of the released CIFAR-10 recipe, for two cores; of the rates "
            "0.1, 0.02 and 0.005 "
            "the last was best",
        ),
    }

    def __init__(
        self, config: ConvolutionalConfig, shape: tuple[int, int, int], streams: Streams
    ) -> None:
        super().__init__(config, shape, streams)
        self._check_generator()
        #: (channels, height, width) of D's maps: the image, then the output of each convolution.
        self._maps = self._discriminator_maps()
        hidden = config.discriminator_hidden
        widths_of_maps = [math.prod(maps) for maps in self._maps]
        self._discriminator_widths = (*widths_of_maps, *hidden)

    def _check_generator(self) -> None:
        """Raises ReplicateError where G's images have another size than those of the data set."""
        c = self.config
        _, height, width = self.shape
        _, map_height, map_width = c.generator_maps
        kernel = c.generator_kernel
        stride = c.generator_stride
        image_height = convolution.deconvolved(map_height, kernel, stride)
        image_width = convolution.deconvolved(map_width, kernel, stride)
        image_size = (image_height, image_width)
        if image_size != (height, width):
            raise ReplicateError(
                "generator_maps, generator_kernel and generator_stride: maps of "
                f"{map_height}x{map_width}, kernel {kernel} and stride {stride} give images of "
                f"{image_height}x{image_width}, but those of the data set are {height}x{width}; "
                "a side becomes stride * (side - 1) + kernel."
            )

    def _discriminator_maps(self) -> list[tuple[int, int, int]]:
        """(channels, height, width) of the image and of each convolution's output.

        Raises:
            ReplicateError: a convolution does not fit its input.
        """
        maps = [self.shape]
        for number, layer in enumerate(self.config.convolutions):
            _, below_height, below_width = maps[-1]
            height = convolution.convolved(below_height, layer.kernel, layer.pad)
            width = convolution.convolved(below_width, layer.kernel, layer.pad)
            if min(height, width) < layer.pool:
                raise ReplicateError(
                    f"convolutions[{number}]: maps of {below_height}x{below_width} with kernel "
                    f"{layer.kernel} and pad {layer.pad} give {height}x{width}, too few for "
                    f"squares of {layer.pool}x{layer.pool}."
                )
            # Else squares would leave out pixels between them, or kernels see nothing but padding.
            if layer.pool_stride > layer.pool or layer.pad >= layer.kernel:
                raise ReplicateError(
                    f"convolutions[{number}]: pool_stride must be at most pool, and pad less than "
                    "kernel."
                )
            pooled_height = convolution.pooled(height, layer.pool, layer.pool_stride)
            pooled_width = convolution.pooled(width, layer.pool, layer.pool_stride)
            maps.append((layer.channels, pooled_height, pooled_width))
        return maps

    def _layer_shapes(self) -> Iterator[_LayerShape]:
        """The shapes of all layers: those of G, then those of D, each from its input up."""
        c = self.config
        code = math.prod(c.generator_maps)
        widths = (c.noise_dimension, c.generator_hidden, code)
        for number, (rows, columns) in enumerate(pairwise(widths)):
            name = f"generator.{number}"
            yield _LayerShape(name, c.generator_range, (rows, columns), (1, columns))
        map_channels = c.generator_maps[0]
        image_channels = self.shape[0]
        kernel = (map_channels, image_channels, c.generator_kernel, c.generator_kernel)
        # One bias per pixel, as released (tied_b: 0).
        yield _LayerShape("generator.2", c.generator_range, kernel, bias=self.shape)

        for number, layer in enumerate(c.convolutions):
            name = f"discriminator.{number}"
            channels = self._maps[number][0]
            pieces = layer.channels * c.convolution_pieces
            kernel = (pieces, channels, layer.kernel, layer.kernel)
            yield _LayerShape(name, c.discriminator_range, kernel, (pieces,))
        first_dense = len(c.convolutions)
        input_widths = self._discriminator_widths[first_dense:]
        output_widths = [units * c.pieces for units in c.discriminator_hidden]
        output_widths.append(1)
        dense_widths = zip(input_widths, output_widths, strict=True)
        for number, (rows, columns) in enumerate(dense_widths, first_dense):
            name = f"discriminator.{number}"
            yield _LayerShape(name, c.discriminator_range, (rows, columns), (1, columns))

    def initialise(self, train: Tensor) -> None:
        """Uniform weights, zero biases; sigmoid pixels start at the mean training image."""
        for part, layer in enumerate(self._layer_shapes(), 1):
            weight = self._uniform(0, part, layer.half_range, *layer.weight)
            bias = self._zeros(*layer.bias)
            self.parameters[f"{layer.name}.weight"] = weight
            self.parameters[f"{layer.name}.bias"] = bias
        if self.config.output == "sigmoid":
            # Clipped as pylearn2's `init_sigmoid_bias_from_marginals` does: the log-odds of 0 are
            # infinite.
            mean_pixels = train.mean(0).clamp(1e-7, 1 - 1e-7)
            output_bias = self.parameters["generator.2.bias"]
            output_bias += torch.logit(mean_pixels).view(self.shape)
        self.slots = zero_averages(self.parameters)

    def decode(self, code: Tensor) -> Tensor:
        """G: noise (seeds, n, noise dimension) to images (seeds, n, dimension).

        Sigmoid pixels are in (0, 1).
        """
        return self._generate(code, self.parameters)

    def _generate(self, code: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        c = self.config
        weights = [parameters[f"generator.{layer}.weight"] for layer in range(3)]
        biases = [parameters[f"generator.{layer}.bias"] for layer in range(3)]
        # Two fully connected layers: rectified linear, then sigmoid units laid out as maps.
        hidden = torch.baddbmm(biases[0], code, weights[0]).relu()
        hidden = torch.baddbmm(biases[1], hidden, weights[1]).sigmoid()
        maps = convolution.fold(hidden, *c.generator_maps)
        maps = convolution.deconvolve(maps, weights[2], biases[2], c.generator_stride)
        pixels = convolution.unfold(maps, seeds=len(code))
        if c.output == "sigmoid":
            return pixels.sigmoid()
        return pixels

    def _logits(
        self, images: Tensor, masks: Sequence[Tensor], parameters: Mapping[str, Tensor]
    ) -> Tensor:
        """D's logits (seeds, n) of images (seeds, n, dimension)."""
        c = self.config
        seeds = len(images)
        # Convolutional maxout layers, each with dropout on its input and pooling.
        maps = convolution.fold(images, *self.shape)
        for number, layer in enumerate(c.convolutions):
            weight = parameters[f"discriminator.{number}.weight"]
            bias = parameters[f"discriminator.{number}.bias"]
            mask = convolution.fold(masks[number], *self._maps[number])
            maps = maps * mask
            maps = convolution.convolve(maps, weight, bias, layer.pad)
            maps = convolution.largest_piece(maps, seeds, c.convolution_pieces)
            maps = convolution.pool(maps, layer.pool, layer.pool_stride)
        # Fully connected maxout layers, and at last one linear unit.
        hidden = convolution.unfold(maps, seeds)
        for number in range(len(c.convolutions), len(masks)):
            weight = parameters[f"discriminator.{number}.weight"]
            bias = parameters[f"discriminator.{number}.bias"]
            inputs = hidden * masks[number]
            hidden = torch.baddbmm(bias, inputs, weight)
            is_last = number + 1 == len(masks)
            if not is_last:
                rows = hidden.shape[1]
                pieces = hidden.view(seeds, rows, c.pieces, -1)
                hidden = pieces.amax(-2)
        return hidden.squeeze(-1)

    def gradients(
        self, batch: Tensor, noise: Tensor, masks: list[Tensor], networks: tuple[str, ...]
    ) -> LossesAndGradients:
        """As for every game, by autograd: one forward pass, and a backward pass per network.

        D sees data and generated images in two calls, so that G's backward pass runs through the
        latter alone. By hand, as in `maxout.py`, one pass would serve both networks and save D's
        backward pass to its inputs on the generated half: about an eighth of D's products.
        """
        c = self.config
        real_rows = batch.shape[1]
        leaves: dict[str, Tensor] = {}
        for name, value in self.parameters.items():
            network = name.split(".")[0]
            # Of the networks that move alone: the others' gradients would be computed for nothing.
            leaves[name] = value.detach().requires_grad_(network in networks)

        losses: dict[str, Tensor] = {}
        with torch.enable_grad():
            generated = self._generate(noise, leaves)
            fake_masks = [mask[:, real_rows:] for mask in masks]
            fake = self._logits(generated, fake_masks, leaves)
            losses["generator"] = generator_loss(fake, c.objective)
            if "discriminator" in networks:
                real_masks = [mask[:, :real_rows] for mask in masks]
                real = self._logits(batch, real_masks, leaves)
                losses["discriminator"] = discriminator_loss(real, fake)

        gradients: dict[str, Tensor] = {}
        for network in networks:
            weight_of_loss = 1.0
            if network == "discriminator":
                weight_of_loss = c.discriminator_weight
            names = [name for name in leaves if name.startswith(network)]
            is_last = network == networks[-1]
            loss = losses[network]
            # The sum over seeds: no seed's loss depends on another's weights.
            weights = torch.full_like(loss, weight_of_loss)
            network_gradients = torch.autograd.grad(
                loss,
                [leaves[name] for name in names],
                grad_outputs=weights,
                # Both losses share the pass through G and D.
                retain_graph=not is_last,
            )
            gradients |= dict(zip(names, network_gradients, strict=True))
        return {name: loss.detach() for name, loss in losses.items()}, gradients


MODEL = ConvolutionalNets
