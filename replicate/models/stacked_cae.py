"""The stacked contractive autoencoder (Rifai et al. 2012), sampled by its Jacobian-noise walk.

A layer has tied weights W and sigmoid units: h = s(x W + c), r = s(h W^T + b). It descends the cross-entropy of x
and r, summed over the inputs, plus `penalty` times the squared Frobenius norm of J = dh/dx, which is closed:
sum_j (h_j (1 - h_j))^2 sum_i W_ij^2. Layers are trained greedily, each on the codes of the finished one below.

A step of the walk maps x to s((h + J J^T alpha) W^T + b) with normal alpha: noise along the directions in which the
code still moves, then a projection by the decoder (Rifai et al. 2012, algorithm 1; Y. Dauphin & S. Rifai, cae.py,
`sample`). It runs in the space of the top layer's inputs, as in caglar/autoencoders tests/cae_stack_sample.py;
images are the decoded means. The published layer sizes, rates and lengths are not known: ours are a re-tuning.

Chains start at training images, with a burn-in: the walk's noise vanishes where the units saturate, and a start far
from the data need not come back to it.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple, Self

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from replicate.models.chains import ChainConfig, ChainModel
from replicate.params import OURS, TUNED, setting

_LIBRARY = "Y. Dauphin & S. Rifai, cae.py (2012-01-17)"
_STACK = "caglar/autoencoders tests/cae_stack_sample.py"


class StackedCAEConfig(ChainConfig):
    """The recipe; per-layer settings go from the image up."""

    epochs: int = setting(140, "passes over the training images, all layers together", f"{_STACK}: 60 + 80", ge=1)
    batch_size: int = setting(128, "images per minibatch", _STACK, ge=1)
    hidden: tuple[PositiveInt, ...] = setting((900, 900), "units per layer", _STACK, min_length=1)
    penalty: tuple[NonNegativeFloat, ...] = setting(
        (0.1, 0.1), "factor of the squared Frobenius norm of dh/dx, per layer", _LIBRARY
    )
    learning_rate: tuple[PositiveFloat, ...] = setting(
        (0.0288, 0.095), "per layer, on a sum over inputs and a mean over the minibatch", _STACK
    )
    walk_noise: PositiveFloat = setting(1.0, "standard deviation of alpha in the sampling walk", _LIBRARY)
    chains: int = setting(1000, "Markov chains that run side by side when images are drawn", OURS, ge=1)

    @model_validator(mode="after")
    def _settings_for_every_layer(self) -> Self:
        layers = len(self.hidden)
        if len(self.penalty) != layers or len(self.learning_rate) != layers:
            raise ValueError(f"penalty and learning_rate need one value for each of the {layers} layers in hidden")
        if self.epochs < layers:
            raise ValueError(f"{layers} layers learn one after the other, so epochs must be at least as many")
        return self


class Layer(NamedTuple):
    """One autoencoder: weight (seeds, in, out), hidden bias (seeds, 1, out), visible bias (seeds, 1, in)."""

    weight: Tensor
    hidden: Tensor
    visible: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """(seeds, n, in) to (seeds, n, out)."""
        return torch.baddbmm(self.hidden, x, self.weight).sigmoid_()

    def logits(self, code: Tensor) -> Tensor:
        """Of the reconstruction: (seeds, n, out) to (seeds, n, in)."""
        return torch.baddbmm(self.visible, code, self.weight.mT)

    def jacobian_noise(self, code: Tensor, alpha: Tensor) -> Tensor:
        """J J^T alpha = slope * W^T W (slope * alpha), shape of `code`; no matrix of (out, out) per row is made."""
        slope = code * (1 - code)
        return torch.bmm(torch.bmm(slope * alpha, self.weight.mT), self.weight).mul_(slope)

    def gradients(self, x: Tensor, penalty: float) -> tuple[Tensor, Tensor, "Layer"]:
        """Cross-entropy and squared Jacobian norm, (seeds,) means over the rows of `x`, and the gradient of their sum.

        Args:
            x: (seeds, n, in) in [0, 1].
            penalty: factor of the norm in the sum.
        """
        n = x.shape[1]
        code = self.encode(x)
        logits = self.logits(code)
        cross_entropy = binary_cross_entropy_with_logits(logits, x, reduction="none").sum((1, 2)) / n
        squares = (code * (1 - code)).square_()
        norms = self.weight.square().sum(1, keepdim=True)
        visible = logits.sigmoid_().sub_(x).div_(n)
        hidden = torch.ops.aten.sigmoid_backward(torch.bmm(visible, self.weight), code)
        hidden += squares * (1 - 2 * code) * norms * (2 * penalty / n)
        mass = squares.sum(1, keepdim=True)
        weight = torch.bmm(x.mT, hidden).baddbmm_(visible.mT, code).addcmul_(self.weight, mass, value=2 * penalty / n)
        norm = (mass * norms).sum((1, 2)) / n
        return cross_entropy, norm, Layer(weight, hidden.sum(1, keepdim=True), visible.sum(1, keepdim=True))


class StackedCAE(ChainModel):
    """A block of seeds of stacks; a chain's state is the input of the top layer."""

    Config = StackedCAEConfig
    samples_from_train = True  # the chains' start
    own_start = "images"
    extends: ClassVar[bool] = False  # every layer has a share of the epochs
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": (
            {"batch_size": 20, "learning_rate": (0.1, 0.1), "walk_noise": 0.3, "burn_in": 20, "thinning": 2},
            f"ours: re-tuning; sizes from {_STACK}, the rest the best of eight settings on validation images",
        ),
        "digits": (
            {
                "epochs": 100,
                "batch_size": 20,
                "hidden": (150, 150),
                "penalty": (0.1, 0.1),
                "learning_rate": (0.2, 0.2),
                "walk_noise": 0.3,
                "burn_in": 100,
                "thinning": 2,
            },
            TUNED,
        ),
    }

    def _layer(self, number: int) -> Layer:
        return Layer(*(self.parameters[f"autoencoder.{number}.{part}"] for part in Layer._fields))

    @property
    def _top(self) -> int:
        return len(self.config.hidden) - 1

    @property
    def _starts(self) -> list[int]:
        """The first epoch of every layer: equal shares, as far as they divide."""
        layers = len(self.config.hidden)
        return [number * self.config.epochs // layers for number in range(layers)]

    @property
    def whole_from(self) -> int:
        """The first epoch of the top layer, counted from 1."""
        return self._starts[-1] + 1

    def initialise(self, train: Tensor) -> None:
        """Weights uniform on +- 4 sqrt(6 / (in + out)), biases zero (cae.py `fit`)."""
        seeds = len(self.streams.seeds)
        for number, (rows, columns) in enumerate(pairwise((self.dimension, *self.config.hidden))):
            drawn = self.streams.uniform("init", 0, rows, columns, part=number)
            weight = (2 * drawn - 1) * (4 * math.sqrt(6 / (rows + columns)))
            layer = Layer(
                weight,
                *(torch.zeros(seeds, 1, size, dtype=train.dtype, device=train.device) for size in (columns, rows)),
            )
            self.parameters |= {f"autoencoder.{number}.{part}": value for part, value in layer._asdict().items()}

    def _encoded(self, images: Tensor, layers: int) -> Tensor:
        """The input of layer number `layers`."""
        for number in range(layers):
            images = self._layer(number).encode(images)
        return images

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One step of plain gradient descent of the layer whose turn it is; the others rest."""
        c = self.config
        number = max(layer for layer, start in enumerate(self._starts) if start <= epoch)
        layer = self._layer(number)
        cross_entropy, norm, gradients = layer.gradients(self._encoded(batch, number), c.penalty[number])
        for value, gradient in zip(layer, gradients, strict=True):
            value.sub_(gradient, alpha=c.learning_rate[number])
        return {"reconstruction": cross_entropy, "contraction": norm}

    @torch.no_grad()
    def chain_start(self, draw: int) -> Tensor:
        """Training images, drawn with replacement, as the top layer sees them."""
        return self._encoded(self.drawn_images(draw, part=0), self._top)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """The only start there is."""
        return self.chain_start(draw)

    @torch.no_grad()
    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """y = s((h + J J^T alpha) W^T + b) in the top layer."""
        layer = self._layer(self._top)
        code = layer.encode(state)
        alpha = self.streams.normal("evaluation", draw, *code.shape[1:], part=step + 1).mul_(self.config.walk_noise)
        return layer.logits(layer.jacobian_noise(code, alpha).add_(code)).sigmoid_()

    @torch.no_grad()
    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """Decoded down to the pixels: means, no sampling on the way."""
        for number in range(self._top - 1, -1, -1):
            state = self._layer(number).logits(state).sigmoid_()
        return state


MODEL = StackedCAE
