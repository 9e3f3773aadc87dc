"""Conditional adversarial nets (Mirza & Osindero 2014, section 4.1): G and D are given the class.

G maps z and the class through a layer each, and one of both, to pixels; D does so with image and
class by maxout units. What the paper leaves open is as in the mnist.yaml of adversarial nets. G's
classes are drawn at random in training and taken in turn in samples.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import one_hot

from replicate.models.base import SAMPLE_CHUNK, Recipe, Recipes
from replicate.models.parts.adversarial_game import AdversarialGame, GameConfig, LossesAndGradients
from replicate.models.parts.perceptron import linear
from replicate.params import RELEASED, TUNED, setting
from replicate.training.momentum import zero_averages
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Purpose

_PAPER = "Mirza & Osindero 2014, section 4.1"
_YAML = f"{RELEASED} mnist.yaml"
Units = tuple[PositiveInt, PositiveInt, PositiveInt]
Parameters = Mapping[str, Tensor]
_DIGITS: Mapping[str, object] = {
    "epochs": 200,
    "batch_size": 32,
    "noise_dimension": 20,
    "generator_units": (100, 100, 200),
    "discriminator_units": (80, 20, 80),
    "discriminator_range": 0.05,
    "keep_input": 1.0,
    "keep_hidden": 0.8,
    "momentum_epochs": 100,
}


class ConditionalConfig(GameConfig):
    """The recipe; the defaults are the paper's where it has them. Dropout is in G too."""

    learning_rate_decay: float = setting(1.00004, "divides the rate at each update", _PAPER, ge=1)
    generator_units: Units = setting((200, 1000, 1200), "G: of z, of the class, of both", _PAPER)
    discriminator_units: Units = setting((240, 50, 240), "D: of x, of the class, of both", _PAPER)
    pieces: int = setting(5, "linear pieces of a maxout unit of x or the class", _PAPER, ge=1)
    joint_pieces: int = setting(4, "the same of the layer of both", _PAPER, ge=1)
    generator_range: PositiveFloat = setting(0.05, "G's weights start uniform on +- this", _YAML)
    discriminator_range: PositiveFloat = setting(0.005, "the same of D", _YAML)


class ConditionalAdversarialNets(AdversarialGame):
    """A block of seeds of G and D. Masks are those of D's inputs, then of G's hidden units."""

    Config = ConditionalConfig
    config: ConditionalConfig
    conditional = True
    has_latent = False  # a class is no number that a line or a chain could move along
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, _PAPER),
        "digits": Recipe(_DIGITS, TUNED),
    }

    @property
    def class_count(self) -> int:
        """Classes that the weights are made for; 0 where there are none."""
        weight = self.parameters.get("generator.class.weight")
        return 0 if weight is None else weight.shape[1]

    def initialise(self, train: Tensor) -> None:
        """Uniform weights, zero biases; sigmoid pixels start at the mean training image."""
        c = self.config
        classes = train.shape[1] - self.dimension
        code, code_class, joint = c.generator_units
        image, image_class, top = c.discriminator_units
        code_pair, image_pair = code + code_class, image + image_class
        # A mask each: D's image, pair and top, then G's pair and joint layer, since the paper has
        # dropout in G too; classes are never dropped.
        self._discriminator_widths = (self.dimension, image_pair, top, code_pair, joint)
        shapes = {
            "generator.code": (c.noise_dimension, code),
            "generator.class": (classes, code_class),
            "generator.joint": (code_pair, joint),
            "generator.pixels": (joint, self.dimension),
            "discriminator.image": (self.dimension, c.pieces * image),
            "discriminator.class": (classes, c.pieces * image_class),
            "discriminator.joint": (image_pair, c.joint_pieces * top),
            "discriminator.logit": (top, 1),
        }
        ranges = {"generator": c.generator_range, "discriminator": c.discriminator_range}
        for part, (layer, (rows, columns)) in enumerate(shapes.items(), 1):
            network, _ = layer.split(".")
            weight = self._uniform(0, part, ranges[network], rows, columns)
            self.parameters[f"{layer}.weight"] = weight
            self.parameters[f"{layer}.bias"] = self._zeros(1, columns)
        if c.output == "sigmoid":
            # Of the pixels alone: behind them stand the classes. Clipped as pylearn2's
            # `init_sigmoid_bias_from_marginals` does: the log-odds of 0 are infinite.
            pixels = train[:, : self.dimension]
            mean_pixels = pixels.mean(0).clamp(1e-7, 1 - 1e-7)
            self.parameters["generator.pixels.bias"] += torch.logit(mean_pixels)
        self.slots = zero_averages(self.parameters)

    def _noise(self, purpose: Purpose, step: int, count: int, part: int) -> Tensor:
        """z and a class, (seeds, count, noise dimension + classes)."""
        code = super()._noise(purpose, step, count, part)
        classes = self.parameters["generator.class.weight"].shape[1]
        if purpose == "noise":
            # Parts of the stream above those of z: a class must not tell anything of its z.
            uniform = self.streams.uniform(purpose, step, count, part=1000 + part)
            # Clamped, so that no rounding leads beyond the last class.
            chosen = (classes * uniform).long().clamp_(max=classes - 1)
        else:
            # Counted through all chunks of a draw: every class comes equally often, whatever their
            # size.
            places = torch.arange(count, device=code.device) + part * SAMPLE_CHUNK
            chosen = (places % classes).expand(len(code), -1)
        of_classes = one_hot(chosen, classes).to(code)
        return torch.cat([code, of_classes], 2)

    def sample_chunk(self, count: int, draw: int, part: int) -> Tensor:
        """(seeds, count, dimension) images of each class in turn."""
        inputs = self._noise("evaluation", draw, count, part)
        # No dropout in samples: masks carry their factor 1 / keep, so means agree without
        # rescaling.
        return self._generate(inputs, self.parameters, (1, 1))

    def _generate(self, inputs: Tensor, p: Parameters, masks: Sequence[Tensor | int]) -> Tensor:
        """Images (seeds, n, dimension) of z and class; masks of 1 are no dropout."""
        code, classes = inputs.tensor_split([self.config.noise_dimension], 2)
        # z and the class have a layer each before they meet, as section 4.1 describes it.
        of_code = linear(code, p, "generator.code")
        of_class = linear(classes, p, "generator.class")
        pair = torch.cat([of_code, of_class], 2).relu() * masks[0]
        joint = linear(pair, p, "generator.joint").relu() * masks[1]
        pixels = linear(joint, p, "generator.pixels")
        if self.config.output == "sigmoid":
            return pixels.sigmoid()
        return pixels

    def _logits(self, rows: Tensor, p: Parameters, masks: Sequence[Tensor]) -> Tensor:
        """D's logits (seeds, n) of images and their classes, (seeds, n, dimension + classes)."""
        c = self.config
        images, classes = rows.tensor_split([self.dimension], 2)
        image = linear(images * masks[0], p, "discriminator.image")
        # The class has no mask: D without it would judge an image by no class at all.
        of_class = linear(classes, p, "discriminator.class")
        pair = torch.cat([_largest(image, c.pieces), _largest(of_class, c.pieces)], 2)
        joint = linear(pair * masks[1], p, "discriminator.joint")
        hidden = _largest(joint, c.joint_pieces)
        logit = linear(hidden * masks[2], p, "discriminator.logit")
        return logit.squeeze(2)

    def gradients(
        self, batch: Tensor, noise: Tensor, masks: list[Tensor], networks: tuple[str, ...]
    ) -> LossesAndGradients:
        """As for every game, by autograd."""
        c = self.config
        real_rows = batch.shape[1]
        p = {name: value.detach().requires_grad_() for name, value in self.parameters.items()}
        # Rows of masks: data first, then G's images; G's own masks are used on the latter alone.
        fake_masks = [mask[:, real_rows:] for mask in masks]
        with torch.enable_grad():
            generated = self._generate(noise, p, fake_masks[3:])
            # D judges an image by the class that it was made for: a good 3 is fake under the class
            # 7.
            classes = noise[..., c.noise_dimension :]
            rows = torch.cat([generated, classes], 2)
            fake = self._logits(rows, p, fake_masks)
            losses = {"generator": generator_loss(fake, c.objective)}
            # An update of G alone does not ask what D says of data.
            if "discriminator" in networks:
                real_masks = [mask[:, :real_rows] for mask in masks]
                real = self._logits(batch, p, real_masks)
                losses["discriminator"] = discriminator_loss(real, fake)
        weights = {"generator": 1.0, "discriminator": c.discriminator_weight}
        gradients: dict[str, Tensor] = {}
        for network in networks:
            names = [name for name in p if name.startswith(network)]
            leaves = [p[name] for name in names]
            # One weight a seed: no seed's loss depends on another's weights.
            weight = torch.full_like(losses[network], weights[network])
            # Kept: both losses run through the same images of G.
            slopes = torch.autograd.grad(losses[network], leaves, weight, retain_graph=True)
            gradients |= dict(zip(names, slopes, strict=True))
        # Logged losses must not hold the graph of every step in memory.
        detached = {name: loss.detach() for name, loss in losses.items()}
        return detached, gradients


def _largest(sums: Tensor, pieces: int) -> Tensor:
    """Maxout (Goodfellow et al. 2013): (seeds, n, pieces * units) -> (seeds, n, units)."""
    return torch.unflatten(sums, 2, (pieces, -1)).amax(2)


MODEL = ConditionalAdversarialNets
