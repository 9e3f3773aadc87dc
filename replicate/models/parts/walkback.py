"""Walkback training of a generative stochastic network, and the chain that samples from it.

Layer 0 is the image, layers 1 .. K are hidden, and neighbours are joined by tied weights: upwards
W, downwards its transpose. One update sets the odd layers, each from its neighbours, and then the
even ones. The image's update gives p(x | layer 1); the image is sampled from it and corrupted again
by salt and pepper. Training starts at a corrupted training image with silent hidden layers and
makes `walkback` updates; the cost is the cross-entropy of the training image and every
p(x | layer 1) on the way (Bengio, Thibodeau-Laufer & Yosinski 2013, algorithm 1; the order of the
updates is that of yaoli/GSN model.py, `update_layers` and `simple_update_layer`).

A sampled image is a step function of its probabilities, so no gradient flows through it; gradients
do flow through the hidden layers. The backward pass is written by hand, with one matrix product per
weight for all updates. Odd layers depend only on the even ones and vice versa, so the odd layers
are the chain's state.

Chains start at training images, with a burn-in, because a start that is unrelated to the data can
stay away from it: from fair coins the deep network on MNIST falls into a state that no walk in
training has visited, and does not leave it (400-400 units after two epochs: two thirds of the
pixels on, validation log-likelihood -955 nats).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from replicate.models.parts.chains import ChainConfig, ChainModel
from replicate.params import OURS, setting
from replicate.training.momentum import momentum_step, zero_averages
from replicate.training.streams import Purpose

SOURCE = "yaoli/GSN@9f342de"

Activation = Callable[[Tensor], Tensor]
#: Maps (gradient with respect to the output, output) to the gradient with respect to the input.
Derivative = Callable[[Tensor, Tensor], Tensor]

ACTIVATIONS: dict[str, tuple[Activation, Derivative]] = {
    "tanh": (torch.tanh, torch.ops.aten.tanh_backward),
    "sigmoid": (torch.sigmoid, torch.ops.aten.sigmoid_backward),
}


def corrupted(images: Tensor, uniform: Tensor, noise: float) -> Tensor:
    """Salt and pepper: a pixel becomes 0 or 1, each with probability noise / 2, else it stays.

    Args:
        images: any shape.
        uniform: uniform on [0, 1), of the same shape.
        noise: share of the pixels that are replaced.
    """
    # One uniform number decides both: whether a pixel is hit, and by what.
    is_corrupted = uniform < noise
    is_salt = uniform >= noise / 2
    salt_or_pepper = is_salt.to(images.dtype)
    return torch.where(is_corrupted, salt_or_pepper, images)


def sampled_and_corrupted(probabilities: Tensor, uniform: Tensor, noise: float) -> Tensor:
    """Bernoulli pixels under salt and pepper in one draw: 1 with (1 - noise) p + noise / 2."""
    untouched = 1 - noise
    probability_of_one = untouched * probabilities + noise / 2
    is_one = uniform < probability_of_one
    return is_one.to(probabilities.dtype)


class WalkbackConfig(ChainConfig):
    """Settings of deep GSN and denoising autoencoder; defaults are those of the deep GSN."""

    chains: int = setting(
        1000, "Markov chains that run side by side when images are drawn", OURS, ge=1
    )
    burn_in: int = setting(100, "steps of every chain before its first image is kept", OURS, ge=0)
    hidden: tuple[PositiveInt, ...] = setting(
        (1500, 1500), "units per hidden layer", f"{SOURCE} run_gsn.py", min_length=1
    )
    activation: Literal["tanh", "sigmoid"] = setting(
        "tanh", "of the hidden units", f"{SOURCE} run_gsn.py --act"
    )
    walkback: int = setting(
        4, "updates of the network per training image", f"{SOURCE} run_gsn.py --N", ge=1
    )
    input_noise: float = setting(
        0.4, "share of the pixels that salt and pepper replaces", f"{SOURCE} run_gsn.py", ge=0, lt=1
    )
    hidden_noise: float = setting(
        2.0,
        "standard deviation of the Gaussian noise before and after the activation, in every hidden "
        "layer but the first",
        f"{SOURCE} run_gsn.py --hidden_add_noise_sigma, --noiseless_h1",
        ge=0,
    )
    learning_rate: PositiveFloat = setting(
        0.25, "in the first epoch, on a mean over pixels", f"{SOURCE} run_gsn.py"
    )
    learning_rate_decay: PositiveFloat = setting(
        0.995, "factor of the rate after every epoch", f"{SOURCE} run_gsn.py --annealing"
    )
    momentum: float = setting(
        0.5,
        "share of the old average: m <- momentum m + (1 - momentum) gradient",
        f"{SOURCE} model.py",
        ge=0,
        lt=1,
    )


class _Update(NamedTuple):
    """One update of one layer.

    Attributes:
        layer: its number.
        below, above: the neighbours' states that drove it; None: silent.
        value: its activation before the noise that follows it; of layer 0 the logits of p(x | h).
    """

    layer: int
    below: Tensor | None
    above: Tensor | None
    value: Tensor


#: The state of every layer, (seeds, rows, width) each; None: the layer is silent.
State = list[Tensor | None]


class WalkbackModel(ChainModel):
    """A block of seeds of networks trained by walkback.

    `network.i.weight` joins layers i and i + 1, `network.i.bias` is that of layer i.
    """

    Config = WalkbackConfig
    config: WalkbackConfig
    #: The chains start at training images.
    samples_from_train = True
    own_start = "images"

    def initialise(self, train: Tensor) -> None:
        """Weights uniform on +- sqrt(6 / (in + out)), biases zero.

        yaoli/GSN model.py, `weights_list` and `bias_list`.
        """
        widths = (self.dimension, *self.config.hidden)
        for layer, (rows, columns) in enumerate(pairwise(widths)):
            half_range = math.sqrt(6 / (rows + columns))
            uniform = self.streams.uniform("init", 0, rows, columns, part=layer)
            centred = 2 * uniform - 1
            self.parameters[f"network.{layer}.weight"] = centred * half_range
        for layer, width in enumerate(widths):
            bias = train.new_zeros(self.seed_count, 1, width)
            self.parameters[f"network.{layer}.bias"] = bias
        self.slots = zero_averages(self.parameters)

    @property
    def _top(self) -> int:
        """The number of the highest layer."""
        return len(self.config.hidden)

    def _silent(self) -> State:
        layers = self._top + 1
        return [None] * layers

    def _weight(self, layer: int) -> Tensor:
        """W between layers `layer` and `layer` + 1."""
        return self.parameters[f"network.{layer}.weight"]

    def _stream_part(self, update: int, layer: int) -> int:
        """The first of two parts of a stream: noise before and after the activation.

        Layer 0 uses only the first.
        """
        layers = self._top + 1
        number = update * layers + layer
        return 2 * number

    def _pixel_uniform(self, purpose: Purpose, step: int, update: int, rows: int) -> Tensor:
        """The uniform numbers that corrupt or draw the image, (seeds, rows, dimension)."""
        part = self._stream_part(update, 0)
        return self.streams.uniform(purpose, step, rows, self.dimension, part=part)

    def _neighbours(self, state: State, layer: int) -> tuple[Tensor | None, Tensor | None]:
        """The states of the layers below and above; None where there is none or it is silent."""
        below = None
        if layer > 0:
            below = state[layer - 1]
        above = None
        if layer < self._top:
            above = state[layer + 1]
        return below, above

    def _input(self, state: State, layer: int, rows: int) -> Tensor:
        """A layer's bias plus the weighted states of its neighbours, (seeds, rows, width)."""
        below, above = self._neighbours(state, layer)
        # A silent neighbour adds nothing, so the bias is where every sum begins.
        bias = self.parameters[f"network.{layer}.bias"]
        total = bias.expand(-1, rows, -1)
        if below is not None:
            weight_below = self._weight(layer - 1)
            total = torch.baddbmm(total, below, weight_below)
        if above is not None:
            # The weights are tied: down, a layer uses the transpose of what leads up.
            weight_above = self._weight(layer).mT
            total = torch.baddbmm(total, above, weight_above)
        return total

    def _hidden(
        self, total_input: Tensor, layer: int, purpose: Purpose, step: int, update: int
    ) -> tuple[Tensor, Tensor]:
        """A hidden layer's activation, and the same plus noise; layer 1 has no noise."""
        activate, _ = ACTIVATIONS[self.config.activation]
        deviation = self.config.hidden_noise
        if layer == 1 or deviation == 0:
            value = activate(total_input)
            return value, value
        shape = total_input.shape[1:]
        part = self._stream_part(update, layer)
        # Two independent draws: the source adds noise before and after the activation.
        noise_before = self.streams.normal(purpose, step, *shape, part=part)
        noise_after = self.streams.normal(purpose, step, *shape, part=part + 1)
        value = activate(total_input.add(noise_before, alpha=deviation))
        noisy = noise_after.mul_(deviation).add_(value)
        return value, noisy

    def _layer_order(self, is_last: bool) -> list[int]:
        """The layers of an update in their order: the odd ones, then the even ones.

        In the last update no hidden layer but the first reaches the cost.
        """
        if is_last:
            # The cost is of layer 0, which layer 1 alone feeds: other updates would be computed in
            # vain.
            return [1, 0]
        odd = range(1, self._top + 1, 2)
        even = range(0, self._top + 1, 2)
        return [*odd, *even]

    def _walk(self, batch: Tensor, step: int) -> list[_Update]:
        """The updates of the walk from a corrupted batch, in order."""
        c = self.config
        rows = batch.shape[1]
        state = self._silent()
        uniform = self._pixel_uniform("noise", step, 0, rows)
        state[0] = corrupted(batch, uniform, c.input_noise)
        updates: list[_Update] = []
        for update in range(1, c.walkback + 1):
            is_last = update == c.walkback
            for layer in self._layer_order(is_last):
                below, above = self._neighbours(state, layer)
                value = self._input(state, layer, rows)
                if layer == 0:
                    # The walk goes on from a drawn image, the cost is of the logits themselves.
                    probabilities = value.sigmoid()
                    uniform = self._pixel_uniform("noise", step, update, rows)
                    state[0] = sampled_and_corrupted(probabilities, uniform, c.input_noise)
                else:
                    value, state[layer] = self._hidden(value, layer, "noise", step, update)
                updates.append(_Update(layer, below, above, value))
        return updates

    def gradients(self, batch: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The cost and its gradients, with the noise of `step`.

        Args:
            batch: (seeds, b, dimension).
            step: of the stream `noise`.

        Returns:
            (seeds,): binary cross-entropy in nats per pixel, mean over b, summed over the walk; and
            the gradient with respect to each parameter that the walk reaches.
        """
        _, derivative = ACTIVATIONS[self.config.activation]
        cost = torch.zeros_like(batch[:, 0, 0])
        # The gradient with respect to each layer's value at this point of the backward pass.
        grad_value = self._silent()
        # All deltas of each layer, and all pairs (rows of layer i, rows of layer i + 1) of which
        # one is a delta: the weight's gradient is the sum of their products.
        deltas: list[list[Tensor]] = [[] for _ in grad_value]
        weight_factors: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.config.hidden]
        for layer, below, above, value in reversed(self._walk(batch, step)):
            grad_output = grad_value[layer]
            if layer == 0:
                cost += _cross_entropy(value, batch)
                # The derivative of the cross-entropy with respect to the logits.
                # Means over rows and pixels, as in the source: its learning rate is meant for them.
                delta = (value.sigmoid() - batch).div_(batch[0].numel())
            elif grad_output is None:  # no gradient reaches this layer
                continue
            else:
                delta = derivative(grad_output, value)
                # Consumed: the update before this one of the same layer collects its own sum.
                grad_value[layer] = None
            deltas[layer].append(delta)
            if below is not None:
                weight_factors[layer - 1].append((below, delta))
                # Not into layer 0: its pixels are drawn bits, which pass no gradient on.
                if layer > 1:
                    weight = self._weight(layer - 1)
                    grad_value[layer - 1] = _accumulated(grad_value[layer - 1], delta, weight.mT)
            if above is not None:
                weight_factors[layer].append((delta, above))
                weight = self._weight(layer)
                grad_value[layer + 1] = _accumulated(grad_value[layer + 1], delta, weight)

        # A short walk does not reach the top of a deep network.
        gradients: dict[str, Tensor] = {}
        for layer, factors in enumerate(weight_factors):
            if factors:
                # The sum over the walk by one long product, instead of one product an update.
                lower = torch.cat([pair[0] for pair in factors], 1)
                upper = torch.cat([pair[1] for pair in factors], 1)
                gradients[f"network.{layer}.weight"] = torch.bmm(lower.mT, upper)
        for layer, layer_deltas in enumerate(deltas):
            if layer_deltas:
                stacked = torch.cat(layer_deltas, 1)
                gradients[f"network.{layer}.bias"] = stacked.sum(1, keepdim=True)
        return cost, gradients

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One descent step, with momentum as a moving average of gradients.

        yaoli/GSN model.py, `m_gradient`.
        """
        c = self.config
        cost, gradients = self.gradients(batch, step)
        # The source's average is (1 - momentum) times the one of `momentum_step`,
        # a <- momentum * a + gradient; the factor goes into the rate.
        rate = c.learning_rate * c.learning_rate_decay**epoch * (1 - c.momentum)
        momentum_step(
            [self.parameters[name] for name in gradients],
            [self.slots[name] for name in gradients],
            list(gradients.values()),
            learning_rate=rate,
            momentum=c.momentum,
            previous_rate=rate,
        )
        return {"reconstruction": cost}

    def _odd_layers(self, state: State, draw: int, update: int) -> Tensor:
        """The odd layers given the even ones, side by side: (seeds, chains, sum of widths)."""
        states = []
        odd_layers = range(1, self._top + 1, 2)
        for layer in odd_layers:
            total_input = self._input(state, layer, self.chains)
            _, noisy = self._hidden(total_input, layer, "evaluation", draw, update)
            states.append(noisy)
        return torch.cat(states, -1)

    def _split(self, odd: Tensor) -> State:
        """The state with these odd layers and silent even ones."""
        hidden = self.config.hidden
        # `hidden` begins with layer 1, so its even places are the odd layers.
        odd_widths = list(hidden[::2])
        state = self._silent()
        state[1::2] = torch.split(odd, odd_widths, -1)
        return state

    @torch.no_grad()
    def chain_start(self, draw: int) -> Tensor:
        """The odd layers above corrupted training images; all other layers are silent."""
        # Layer 0 needs one of its two parts for its pixels; the other one chooses the images.
        part = self._stream_part(0, 0) + 1
        images = self.drawn_images(draw, part=part)
        uniform = self._pixel_uniform("evaluation", draw, 0, self.chains)
        state = self._silent()
        state[0] = corrupted(images, uniform, self.config.input_noise)
        return self._odd_layers(state, draw, 0)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """The same as `chain_start`."""
        return self.chain_start(draw)

    @torch.no_grad()
    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """Even layers given the odd ones, then odd layers given the even ones.

        Layer 0 among the even ones is sampled and corrupted.
        """
        layers = self._split(state)
        noise = self.config.input_noise
        rows = state.shape[1]
        # Update 0 drew the start.
        update = step + 1
        for layer in range(0, self._top + 1, 2):
            total_input = self._input(layers, layer, rows)
            if layer == 0:
                probabilities = total_input.sigmoid_()
                uniform = self._pixel_uniform("evaluation", draw, update, rows)
                layers[0] = sampled_and_corrupted(probabilities, uniform, noise)
            else:
                _, noisy = self._hidden(total_input, layer, "evaluation", draw, update)
                layers[layer] = noisy
        return self._odd_layers(layers, draw, update)

    @torch.no_grad()
    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The means of p(x | layer 1), (seeds, chains, dimension)."""
        rows = state.shape[1]
        layers = self._split(state)
        # Layer 1 alone feeds the pixels, and it is among the odd layers of the state.
        logits = self._input(layers, 0, rows)
        return logits.sigmoid_()


def _cross_entropy(logits: Tensor, images: Tensor) -> Tensor:
    """Binary cross-entropy in nats per pixel, mean over rows: (seeds,)."""
    cross_entropy = binary_cross_entropy_with_logits(logits, images, reduction="none")
    return cross_entropy.mean((1, 2))


def _accumulated(total: Tensor | None, rows: Tensor, weight: Tensor) -> Tensor:
    """total + rows @ weight, in place where there is a total."""
    if total is None:
        return torch.bmm(rows, weight)
    # In place: the sum is this pass's own.
    return total.baddbmm_(rows, weight)
