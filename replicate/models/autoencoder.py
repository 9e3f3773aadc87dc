"""A plain autoencoder with a bottleneck, sampled through a density fitted to its codes.

The autoencoder itself is no density. After training, a mixture of Gaussians is fitted to the codes of all
training images, and images are the decodings of its draws. A single Gaussian leaves much of its mass between
the classes, where no training image has its code: on validation digits a mixture of ten is worth seven nats more.
Encoder and decoder are rectifier networks with a linear code (Hinton & Salakhutdinov 2006).
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from replicate.errors import ReplicateError
from replicate.models import mixture, perceptron
from replicate.models.base import SAMPLE_CHUNK, GenerativeModel, ModelConfig
from replicate.params import OURS, TUNED, setting
from replicate.training.adam import adam_step, moments

#: Bernoulli: sigmoid pixels and cross-entropy; Gaussian: linear pixels and squared error.
Pixels = Literal["bernoulli", "gaussian"]
_ADAM = "Kingma & Ba 2015, Algorithm 1"


class AutoencoderConfig(ModelConfig):
    """The recipe; the slides name the model alone, so its numbers are ours."""

    hidden: tuple[PositiveInt, ...] = setting(
        (1024,), "rectified units per layer of the encoder; the decoder mirrors it", "GMMN+AE (Li et al. 2015): 1024"
    )
    code_dimension: int = setting(8, "length of the code", "ours: re-tuning", ge=1)
    pixels: Pixels = setting(
        "bernoulli", "sigmoid pixels in [0, 1] with cross-entropy, or linear ones with squared error",
        "Hinton & Salakhutdinov 2006 (cross-entropy)",
    )  # fmt: skip
    learning_rate: PositiveFloat = setting(0.001, "of Adam", _ADAM)
    components: int = setting(10, "Gaussians of the density of the codes", "ours: re-tuning", ge=1)
    rounds: int = setting(50, "rounds of EM that fit the density", OURS, ge=1)


def start_of_pixels(train: Tensor, pixels: Pixels) -> Tensor:
    """The bias of the last layer that gives the mean training image, (dimension,); logits where Bernoulli.

    Args:
        train: (n, dimension).

    Raises:
        ReplicateError: Bernoulli pixels, and a training pixel outside [0, 1].
    """
    if pixels == "gaussian":
        return train.mean(0)
    if train.min() < 0 or train.max() > 1:
        raise ReplicateError("Bernoulli pixels are for images in [0, 1]; set `pixels: gaussian` for others.")
    return torch.logit(train.mean(0).clamp(1e-3, 1 - 1e-3))


def distance(images: Tensor, found: Tensor, pixels: Pixels) -> Tensor:
    """Cross-entropy in nats of `images` given logits, or half the squared error: (seeds, n), summed over pixels."""
    if pixels == "bernoulli":
        return binary_cross_entropy_with_logits(found, images, reduction="none").sum(2)
    return 0.5 * (images - found).square().sum(2)


class Autoencoder(GenerativeModel):
    """A block of seeds of encoder, decoder and density."""

    Config = AutoencoderConfig
    has_latent = True
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": ({}, "ours: re-tuning"),
        "digits": ({"epochs": 100, "batch_size": 64, "hidden": (400,), "components": 40}, TUNED),
    }

    def initialise(self, train: Tensor) -> None:
        """Glorot's uniform weights; the decoder's output bias is that of the mean training image."""
        c = self.config
        encoder = (self.dimension, *c.hidden, c.code_dimension)
        self.parameters = perceptron.initial(self.streams, "encoder", encoder, 0)
        self.parameters |= perceptron.initial(self.streams, "decoder", encoder[::-1], len(encoder))
        self.parameters[f"decoder.{len(c.hidden)}.bias"] += start_of_pixels(train, c.pixels)
        self.slots = moments(self.parameters)

    def _run(self, inputs: Tensor, network: str, parameters: Mapping[str, Tensor]) -> Tensor:
        return perceptron.outputs(inputs, parameters, network, len(self.config.hidden) + 1)

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update by Adam of every seed's mean reconstruction loss."""
        c = self.config
        leaves = {
            name: value.detach().requires_grad_()
            for name, value in self.parameters.items()
            if not name.startswith("density.")
        }
        code = self._run(batch, "encoder", leaves)
        loss = distance(batch, self._run(code, "decoder", leaves), c.pixels).mean(1)
        gradients = torch.autograd.grad(loss.sum(), list(leaves.values()))
        adam_step(self.parameters, self.slots, dict(zip(leaves, gradients, strict=True)), step, c.learning_rate)
        return {"reconstruction": loss.detach()}

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """Codes of the same images under every seed: (n, dimension) to (seeds, n, code dimension)."""
        chunks = torch.split(images, SAMPLE_CHUNK)
        seeds = len(self.streams.seeds)
        return torch.cat([self._run(chunk.expand(seeds, -1, -1), "encoder", self.parameters) for chunk in chunks], 1)

    def settle(self, train: Tensor) -> None:
        """Fits the density to the codes of all training images, (n, dimension), from random ones of them."""
        order = self.streams.uniform("init", 1, len(train)).argsort(dim=1, stable=True)
        density = mixture.fit(self.encode(train), order[:, : self.config.components], self.config.rounds)
        self.parameters |= {f"density.{name}": value for name, value in vars(density).items()}

    def latent(self, count: int, draw: int, part: int = 0) -> Tensor:
        """(seeds, count, code dimension) draws of the density of the codes."""
        density = mixture.Mixture(*(self.parameters[f"density.{name}"] for name in ("weight", "mean", "factor")))
        return density.draw(
            self.streams.uniform("evaluation", draw, count, part=2 * part),
            self.streams.normal("evaluation", draw, count, self.config.code_dimension, part=2 * part + 1),
        )

    @torch.no_grad()
    def decode(self, code: Tensor) -> Tensor:
        """Codes (seeds, n, code dimension) to images (seeds, n, dimension), in (0, 1) where Bernoulli."""
        found = self._run(code, "decoder", self.parameters)
        return found.sigmoid_() if self.config.pixels == "bernoulli" else found


MODEL = Autoencoder
