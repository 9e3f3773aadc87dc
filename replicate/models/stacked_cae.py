"""The stacked contractive autoencoder (Rifai et al. 2012), sampled by its Jacobian-noise walk.

A layer has tied weights W and sigmoid units: h = s(x W + c), r = s(h W^T + b). It descends the
cross-entropy of x and r, summed over the inputs, plus `penalty` times the squared Frobenius norm of
J = dh/dx, in closed form sum_j (h_j (1 - h_j))^2 sum_i W_ij^2. Layers are trained greedily, each on
the codes of the finished one below.

A step of the walk maps x to s((h + J J^T alpha) W^T + b) with normal alpha: noise along the
directions in which the code varies, then a projection by the decoder (Rifai et al. 2012, algorithm
1; Y. Dauphin & S. Rifai, cae.py, `sample`). It runs in the space of the top layer's inputs, as in
caglar/autoencoders tests/cae_stack_sample.py; images are the decoded means. The published layer
sizes, rates and numbers of steps are unknown: ours are re-tuned.

Chains start at training images, with a burn-in: the walk's noise vanishes where the units saturate,
so a chain that starts far from the data may never reach it.
"""

import math
from itertools import pairwise
from typing import ClassVar, NamedTuple, Self

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from replicate.models.base import Recipe, Recipes
from replicate.models.parts.chains import ChainConfig, ChainModel
from replicate.params import OURS, TUNED, setting

_LIBRARY = "Y. Dauphin & S. Rifai, cae.py (2012-01-17)"
_STACK = "caglar/autoencoders tests/cae_stack_sample.py"


class StackedCAEConfig(ChainConfig):
    """The recipe; per-layer settings go from the image up."""

    epochs: int = setting(
        140, "passes over the training images, all layers together", f"{_STACK}: 60 + 80", ge=1
    )
    batch_size: int = setting(128, "images per minibatch", _STACK, ge=1)
    hidden: tuple[PositiveInt, ...] = setting((900, 900), "units per layer", _STACK, min_length=1)
    penalty: tuple[NonNegativeFloat, ...] = setting(
        (0.1, 0.1), "factor of the squared Frobenius norm of dh/dx, per layer", _LIBRARY
    )
    learning_rate: tuple[PositiveFloat, ...] = setting(
        (0.0288, 0.095), "per layer, on a sum over inputs and a mean over the minibatch", _STACK
    )
    walk_noise: PositiveFloat = setting(
        1.0, "standard deviation of alpha in the sampling walk", _LIBRARY
    )
    chains: int = setting(
        1000, "Markov chains that run side by side when images are drawn", OURS, ge=1
    )

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        layers = len(self.hidden)
        if len(self.penalty) != layers or len(self.learning_rate) != layers:
            raise ValueError(
                f"penalty and learning_rate need one value for each of the {layers} layers in "
                "hidden"
            )
        if self.epochs < layers:
            raise ValueError(
                f"{layers} layers learn one after the other, so epochs must be at least as many"
            )
        return self


class Layer(NamedTuple):
    """One autoencoder.

    Attributes:
        weight: W, (seeds, in, out).
        hidden, visible: the biases c (seeds, 1, out) and b (seeds, 1, in).
    """

    weight: Tensor
    hidden: Tensor
    visible: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """The codes h, (seeds, n, out), of inputs (seeds, n, in)."""
        field = torch.baddbmm(self.hidden, x, self.weight)
        return field.sigmoid_()

    def logits(self, code: Tensor) -> Tensor:
        """The logits of the reconstruction, (seeds, n, in), of codes (seeds, n, out)."""
        return torch.baddbmm(self.visible, code, self.weight.mT)

    def jacobian_noise(self, code: Tensor, alpha: Tensor) -> Tensor:
        """J J^T alpha = slope * W^T W (slope * alpha), of the shape of `code`.

        Row by row, without the (out, out) matrices J J^T.
        """
        # J = diag(slope) W^T, the derivative of the code by the input.
        slope = code * (1 - code)
        sloped = slope * alpha
        # Two products with W: matrices (out, out) of a thousand chains would take 3 GB with 900
        # units.
        through_jacobian = torch.bmm(sloped, self.weight.mT)
        back_to_code = torch.bmm(through_jacobian, self.weight)
        return back_to_code.mul_(slope)

    def gradients(self, x: Tensor, penalty: float) -> tuple[Tensor, Tensor, "Layer"]:
        """Cross-entropy, squared Jacobian norm, and gradients of cross-entropy + penalty * norm.

        Args:
            x: (seeds, n, in) in [0, 1].
            penalty: factor of the norm.

        Returns:
            Cross-entropy and norm, (seeds,) means over the rows of `x`, and the gradients.
        """
        n = x.shape[1]
        code = self.encode(x)
        logits = self.logits(code)
        cross_entropies = binary_cross_entropy_with_logits(logits, x, reduction="none")
        cross_entropy = cross_entropies.sum((1, 2)) / n

        # ||J||^2 = sum_j (h_j (1 - h_j))^2 sum_i W_ij^2
        squared_slopes = (code * (1 - code)).square_()
        # Squares before the sum. A public port sums first, and sees no penalty in opposite weights.
        squared_norms = self.weight.square().sum(1, keepdim=True)
        slope_sums = squared_slopes.sum(1, keepdim=True)
        jacobian_norm = (slope_sums * squared_norms).sum((1, 2)) / n

        # Gradients with respect to the logits of the reconstruction, and to x W + c.
        delta_visible = logits.sigmoid_().sub_(x).div_(n)
        grad_code = torch.bmm(delta_visible, self.weight)
        delta_hidden = torch.ops.aten.sigmoid_backward(grad_code, code)
        # With s = h (1 - h): d s^2 / d(x W + c) = 2 s^2 (1 - 2 h).
        delta_hidden += squared_slopes * (1 - 2 * code) * squared_norms * (2 * penalty / n)

        # W is in both halves, encoder and decoder, and in the norm.
        grad_weight = torch.bmm(x.mT, delta_hidden)
        grad_weight.baddbmm_(delta_visible.mT, code)
        grad_weight.addcmul_(self.weight, slope_sums, value=2 * penalty / n)
        gradients = Layer(
            weight=grad_weight,
            hidden=delta_hidden.sum(1, keepdim=True),
            visible=delta_visible.sum(1, keepdim=True),
        )
        return cross_entropy, jacobian_norm, gradients


class StackedCAE(ChainModel):
    """A block of seeds of stacks; a chain's state is the input of the top layer."""

    Config = StackedCAEConfig
    config: StackedCAEConfig
    #: The chains start at training images.
    samples_from_train = True
    own_start = "images"
    #: Every layer has a share of the epochs.
    extends: ClassVar[bool] = False
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe(
            {
                "batch_size": 20,
                "learning_rate": (0.1, 0.1),
                "walk_noise": 0.3,
                "burn_in": 20,
                "thinning": 2,
            },
            f"ours: re-tuning; sizes from {_STACK}, the rest the best of eight settings on "
            "validation images",
        ),
        "digits": Recipe(
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
        name = f"autoencoder.{number}"
        return Layer(
            weight=self.parameters[f"{name}.weight"],
            hidden=self.parameters[f"{name}.hidden"],
            visible=self.parameters[f"{name}.visible"],
        )

    @property
    def _top(self) -> int:
        """The number of the highest layer."""
        return len(self.config.hidden) - 1

    @property
    def _starts(self) -> list[int]:
        """The first epoch of each layer; all layers have equal shares, up to rounding."""
        epochs = self.config.epochs
        layers = len(self.config.hidden)
        return [layer * epochs // layers for layer in range(layers)]

    @property
    def first_complete_epoch(self) -> int:
        """The first epoch of the top layer, counted from 1."""
        starts = self._starts
        return starts[-1] + 1

    def initialise(self, train: Tensor) -> None:
        """Weights uniform on +- 4 sqrt(6 / (in + out)), biases zero (cae.py `fit`)."""
        widths = (self.dimension, *self.config.hidden)
        seeds = self.seed_count
        for number, (rows, columns) in enumerate(pairwise(widths)):
            # Four times the range of Glorot & Bengio 2010, equation 16: the slope of a sigmoid at 0
            # is 1/4.
            half_range = 4 * math.sqrt(6 / (rows + columns))
            uniform = self.streams.uniform("init", 0, rows, columns, part=number)
            centred = 2 * uniform - 1
            name = f"autoencoder.{number}"
            self.parameters[f"{name}.weight"] = centred * half_range
            self.parameters[f"{name}.hidden"] = train.new_zeros(seeds, 1, columns)
            self.parameters[f"{name}.visible"] = train.new_zeros(seeds, 1, rows)

    def _input_of(self, number: int, images: Tensor) -> Tensor:
        """The input of layer `number`: the images, encoded by all layers below it."""
        encoded = images
        for below in range(number):
            encoded = self._layer(below).encode(encoded)
        return encoded

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One step of plain gradient descent of the layer that learns in this epoch."""
        config = self.config
        # The last layer that has begun is the one that learns; those below it stay.
        begun = [start for start in self._starts if start <= epoch]
        number = len(begun) - 1
        layer = self._layer(number)
        penalty = config.penalty[number]
        rate = config.learning_rate[number]
        # Encoded anew at every step: codes of all images would take as much memory as the data.
        x = self._input_of(number, batch)
        cross_entropy, jacobian_norm, gradients = layer.gradients(x, penalty)
        pairs = zip(layer, gradients, strict=True)
        for value, gradient in pairs:
            # Without momentum: there are no slots, and a checkpoint holds the weights alone.
            value.sub_(gradient, alpha=rate)
        return {"reconstruction": cross_entropy, "contraction": jacobian_norm}

    @torch.no_grad()
    def chain_start(self, draw: int) -> Tensor:
        """Training images, drawn with replacement, as inputs of the top layer."""
        images = self.drawn_images(draw, part=0)
        return self._input_of(self._top, images)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """The same as `chain_start`."""
        return self.chain_start(draw)

    @torch.no_grad()
    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """y = s((h + J J^T alpha) W^T + b) in the top layer."""
        layer = self._layer(self._top)
        code = layer.encode(state)
        _, *shape = code.shape
        # Part 0 chose the starting images.
        normal = self.streams.normal("evaluation", draw, *shape, part=step + 1)
        alpha = normal.mul_(self.config.walk_noise)
        # h + J J^T alpha
        noise = layer.jacobian_noise(code, alpha)
        noisy_code = noise.add_(code)
        logits = layer.logits(noisy_code)
        return logits.sigmoid_()

    @torch.no_grad()
    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The states decoded to pixels, with the means of every layer."""
        # The state is what the top layer reads, so the top decoder has had its turn in
        # `chain_step`.
        for number in reversed(range(self._top)):
            logits = self._layer(number).logits(state)
            state = logits.sigmoid_()
        return state


MODEL = StackedCAE
