"""A moment matching network on an autoencoder's code (Li, Swersky & Zemel 2015, section 3.2).

A sigmoid autoencoder is trained first, each layer and then all of it, by cross-entropy and with
dropout in its encoder. Then the network of `gmmn.py` learns to make its codes. Recipe:
yujiali/gmmn@751796e, train.py, and yujiali/pynn, learner.py (`AutoEncoderPretrainer`).
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Self

import torch
from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from replicate.models.base import Recipe, Recipes
from replicate.models.gmmn import LAYER, RELEASED, Gmmn, GmmnConfig
from replicate.models.parts.perceptron import linear
from replicate.params import TUNED, setting
from replicate.training.momentum import momentum_step, zero_averages

Share = Annotated[float, Field(ge=0, lt=1)]
_UPDATES = f"{RELEASED}: 3,000 updates of 100"


class GmmnAutoencoderConfig(GmmnConfig):
    """The recipe; the defaults are the released ones for MNIST."""

    epochs: int = setting(818, "the autoencoder's and the network's", f"{RELEASED}: 800 + 18", ge=1)
    bandwidths: tuple[PositiveFloat, ...] = setting(
        (1.0,), "s of each kernel", RELEASED, min_length=1
    )
    encoder: tuple[PositiveInt, ...] = setting(
        (1024, 32), "sigmoid units of each layer, the code's last", RELEASED, min_length=1
    )
    dropout: tuple[Share, ...] = setting(
        (0.2, 0.5),
        "share of a layer's inputs left out; those kept are divided by the share kept",
        f"{RELEASED}; division ours: {LAYER} keeps them as they are and scales parameters later",
    )
    layer_epochs: int = setting(6, "of each layer of the autoencoder alone", _UPDATES, ge=1)
    joint_epochs: int = setting(6, "of the whole autoencoder", _UPDATES, ge=1)
    autoencoder_batch: int = setting(100, "images of an autoencoder's update", RELEASED, ge=1)
    autoencoder_rate: PositiveFloat = setting(0.1, "its learning rate", RELEASED)
    largest_gradient: PositiveFloat = setting(10.0, "norm that its gradient is cut to", RELEASED)

    @property
    def autoencoder_epochs(self) -> int:
        """Epochs before the network's first."""
        return len(self.encoder) * self.layer_epochs + self.joint_epochs

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        if len(self.dropout) != len(self.encoder):
            raise ValueError("dropout: a share from 0 to below 1 for each layer of encoder")
        if self.epochs <= self.autoencoder_epochs:
            raise ValueError(f"epochs: above the autoencoder's {self.autoencoder_epochs}")
        return self


class GmmnAutoencoder(Gmmn):
    """A block of seeds of autoencoder and network."""

    Config = GmmnAutoencoderConfig
    config: GmmnAutoencoderConfig
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, RELEASED),
        "digits": Recipe(
            {"epochs": 200, "batch_size": 200, "hidden": (64, 256), "drop_update": 700}
            | {"encoder": (200, 32), "joint_epochs": 40, "autoencoder_batch": 20},
            TUNED,
        ),
    }

    @property
    def first_complete_epoch(self) -> int:
        """The network's first, counted from 1."""
        return self.config.autoencoder_epochs + 1

    def initialise(self, train: Tensor) -> None:
        """Normal weights, zero biases."""
        c = self.config
        network = (c.noise_dimension, *c.hidden, c.encoder[-1])
        encoder = (self.dimension, *c.encoder)
        # Each network begins behind the parts of the stream that the ones before it have used.
        encoder_part = len(network)
        decoder_part = encoder_part + len(encoder)
        self.add_layers("generator", network, 0)
        self.add_layers("encoder", encoder, encoder_part)
        self.add_layers("decoder", encoder[::-1], decoder_part)
        self.slots = zero_averages(self.parameters)
        self._steps_per_epoch = len(train) // c.batch_size

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One update of the network, or as many of the autoencoder as the batch has images for."""
        c = self.config
        depth = len(c.encoder)
        if epoch >= c.autoencoder_epochs:
            # The network's schedule counts its own updates, not those of the autoencoder before it.
            update = step - c.autoencoder_epochs * self._steps_per_epoch
            # Without dropout: the network is to learn the codes themselves, not their noise.
            codes = self._encoded(batch, depth)
            return {"discrepancy": self.match(codes, step, update)}
        layer_stages = depth * c.layer_epochs
        # The network needs 1,000 images an update, the autoencoder 100: a step is ten of its
        # updates.
        minibatches = torch.split(batch, c.autoencoder_batch, 1)
        losses = []
        for number, images in enumerate(minibatches):
            if epoch < layer_stages:
                layer = epoch // c.layer_epochs
                # The layers' own training keeps one momentum; that of the whole rises
                # (`_joint_momentum`).
                loss = self._reconstruct(images, layer, layer + 1, step, number, 0.5)
            else:
                joint_steps = step - layer_stages * self._steps_per_epoch
                update = joint_steps * len(minibatches) + number
                momentum = _joint_momentum(update)
                loss = self._reconstruct(images, 0, depth, step, number, momentum)
            losses.append(loss)
        # One number a step, as every model logs it.
        return {"reconstruction": torch.stack(losses).mean(0)}

    def _reconstruct(
        self, images: Tensor, bottom: int, top: int, step: int, number: int, momentum: float
    ) -> Tensor:
        """Cross-entropy (seeds,) of layers `bottom` up to `top`; makes one update of them."""
        c = self.config
        # What the layers below make of images is what these layers are to reconstruct.
        inputs = self._encoded(images, bottom)
        encoder = [f"encoder.{layer}" for layer in range(bottom, top)]
        # The decoder mirrors the encoder: its last layers undo the encoder's first.
        first = len(c.encoder) - top
        decoder = [f"decoder.{first + layer}" for layer in range(top - bottom)]
        layers = encoder + decoder
        names = [name for name in self.parameters if name.rsplit(".", 1)[0] in layers]
        leaves = {name: self.parameters[name].detach().requires_grad_() for name in names}
        with torch.enable_grad():
            hidden = inputs
            for layer, name in enumerate(encoder, bottom):
                # Several updates a step: a hundred parts each keep their masks apart.
                part = 100 * number + layer
                keep = 1 - c.dropout[layer]
                mask = self.streams.mask(keep, step, *hidden.shape[1:], part=part)
                hidden = linear(hidden * mask, leaves, name).sigmoid()
            # No dropout in the decoder, as released.
            for name in decoder[:-1]:
                hidden = linear(hidden, leaves, name).sigmoid()
            logits = linear(hidden, leaves, decoder[-1])
            # Of the logits: the logarithm of a sigmoid that rounds to 0 would be infinite.
            entropy = binary_cross_entropy_with_logits(logits, inputs, reduction="none")
            loss = entropy.sum(2).mean(1)
        gradients = torch.autograd.grad(loss, list(leaves.values()), torch.ones_like(loss))
        parameters = [self.parameters[name] for name in names]
        averages = [self.slots[name] for name in names]
        cut = self._cut(gradients)
        rate = c.autoencoder_rate
        # The rate is constant, so the one before is the same.
        momentum_step(parameters, averages, cut, rate, momentum, previous_rate=rate)
        return loss.detach()

    def _cut(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients (seeds, rows, columns) of all layers, cut to the largest norm seed by seed."""
        squares = [gradient.square().sum((1, 2)) for gradient in gradients]
        # One norm over all gradients of a seed, so that the direction stays; another seed's does
        # not count.
        norm = torch.stack(squares).sum(0).sqrt()
        # A norm of 0 gives an infinite ratio, which the bound of 1 makes harmless.
        scale = (self.config.largest_gradient / norm).clamp(max=1)[:, None, None]
        return [scale * gradient for gradient in gradients]

    def _encoded(self, codes: Tensor, layers: int) -> Tensor:
        """What the first layers make, without dropout, of images (seeds, n, dimension)."""
        for layer in range(layers):
            codes = linear(codes, self.parameters, f"encoder.{layer}").sigmoid()
        return codes

    def decode(self, code: Tensor) -> Tensor:
        """Images (seeds, n, dimension) of codes (seeds, n, noise dimension), in (0, 1)."""
        images = self.generate(code, self.parameters)
        for layer in range(len(self.config.encoder)):
            images = linear(images, self.parameters, f"decoder.{layer}").sigmoid()
        return images


def _joint_momentum(update: int) -> float:
    """The momentum of an update of the whole autoencoder, counted from 0; the release from 1."""
    # Without at first, so that nothing is left of the layers' own training.
    if update < 49:
        return 0.0
    if update < 199:
        return 0.5
    return 0.9


MODEL = GmmnAutoencoder
