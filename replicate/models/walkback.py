"""Walkback training of a generative stochastic network, and the chain that samples from it.

Layer 0 is the image, layers 1 .. K are hidden, and neighbours are joined by tied weights: upwards W, downwards
its transpose. One update moves the odd layers, each from its neighbours, and then the even ones. The image's
update gives p(x | layer 1); from it the image is sampled, and corrupted again by salt and pepper. Training
starts at a corrupted training image with silent hidden layers, makes `walkback` updates, and asks of every
p(x | layer 1) on the way that it be the training image (Bengio, Thibodeau-Laufer & Yosinski 2013, algorithm 1;
the order of the updates is that of yaoli/GSN model.py, `update_layers` and `simple_update_layer`).

Nothing flows back through a sampled image, which is a step function of its probabilities, but everything through
the hidden layers. The gradient is written out by hand: the products of all updates are then one matrix product
per weight. Odd layers are a function of the even ones and the other way round, so the chain's state is the odd ones.

Chains start at training images and are given a burn-in, because a start that knows nothing of the data can stay away
from it: from fair coins the deep network on MNIST falls into a state that no walk in training has ever visited and
does not leave it (400-400 units after two epochs: two thirds of the pixels on, validation log-likelihood -955 nats).
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from replicate.models.chains import ChainConfig, ChainModel
from replicate.params import OURS, setting
from replicate.training.momentum import momentum_step
from replicate.training.streams import Purpose

SOURCE = "yaoli/GSN@9f342de"

#: name -> (the unit, its derivative: gradient by the output and the output to gradient by the input).
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]] = {
    "tanh": (torch.tanh, torch.ops.aten.tanh_backward),
    "sigmoid": (torch.sigmoid, torch.ops.aten.sigmoid_backward),
}


def corrupted(images: Tensor, uniform: Tensor, noise: float) -> Tensor:
    """Salt and pepper: each pixel is kept with probability 1 - noise, else 0 or 1, either with noise / 2.

    Args:
        images, uniform: same shape; `uniform` decides, drawn uniformly from [0, 1).
    """
    return torch.where(uniform < noise, (uniform >= noise / 2).to(images.dtype), images)


def sampled_and_corrupted(probabilities: Tensor, uniform: Tensor, noise: float) -> Tensor:
    """Bernoulli pixels under salt and pepper, in one draw: a pixel is 1 with (1 - noise) p + noise / 2, else 0."""
    return (uniform < (1 - noise) * probabilities + noise / 2).to(probabilities.dtype)


class WalkbackConfig(ChainConfig):
    """What the deep network and its one-layer relative share; defaults are those of the deep one."""

    chains: int = setting(1000, "Markov chains that run side by side when images are drawn", OURS, ge=1)
    burn_in: int = setting(100, "steps of every chain before its first image is kept", OURS, ge=0)
    hidden: tuple[PositiveInt, ...] = setting((1500, 1500), "units per hidden layer", f"{SOURCE} run_gsn.py")
    activation: Literal["tanh", "sigmoid"] = setting("tanh", "of the hidden units", f"{SOURCE} run_gsn.py --act")
    walkback: int = setting(4, "updates of the network per training image", f"{SOURCE} run_gsn.py --N", ge=1)
    input_noise: float = setting(
        0.4, "share of the pixels that salt and pepper replaces", f"{SOURCE} run_gsn.py", ge=0, lt=1
    )
    hidden_noise: float = setting(
        2.0,
        "standard deviation of the Gaussian noise before and after the activation, in every hidden layer but the first",
        f"{SOURCE} run_gsn.py --hidden_add_noise_sigma, --noiseless_h1",
        ge=0,
    )
    learning_rate: PositiveFloat = setting(0.25, "in the first epoch, on a mean over pixels", f"{SOURCE} run_gsn.py")
    learning_rate_decay: PositiveFloat = setting(
        0.995, "factor of the rate after every epoch", f"{SOURCE} run_gsn.py --annealing"
    )
    momentum: float = setting(
        0.5, "share of the old average: m <- momentum m + (1 - momentum) gradient", f"{SOURCE} model.py", ge=0, lt=1
    )


class _Update(NamedTuple):
    """One update of one layer: what drove it, and what it gave before any noise after the activation."""

    layer: int
    below: Tensor | None
    above: Tensor | None
    value: Tensor


class WalkbackModel(ChainModel):
    """A block of seeds of networks trained by walkback. Parameters: `network.i.weight` joins layers i and i + 1."""

    Config = WalkbackConfig
    samples_from_train = True  # the chains' start
    own_start = "images"

    def initialise(self, train: Tensor) -> None:
        """Weights uniform on +- sqrt(6 / (in + out)), biases zero (model.py `weights_list`, `bias_list`)."""
        sizes = (self.dimension, *self.config.hidden)
        for layer, (rows, columns) in enumerate(pairwise(sizes)):
            drawn = self.streams.uniform("init", 0, rows, columns, part=layer)
            self.parameters[f"network.{layer}.weight"] = (2 * drawn - 1) * math.sqrt(6 / (rows + columns))
        for layer, width in enumerate(sizes):
            shape = (len(self.streams.seeds), 1, width)
            self.parameters[f"network.{layer}.bias"] = torch.zeros(shape, dtype=train.dtype, device=train.device)
        self.slots = {name: torch.zeros_like(value) for name, value in self.parameters.items()}

    @property
    def _top(self) -> int:
        return len(self.config.hidden)

    def _part(self, update: int, layer: int) -> int:
        """The first of two parts of a stream: noise before and after the activation; of layer 0 only the first."""
        return 2 * (update * (self._top + 1) + layer)

    def _uniform(self, purpose: Purpose, step: int, update: int, rows: int) -> Tensor:
        return self.streams.uniform(purpose, step, rows, self.dimension, part=self._part(update, 0))

    def _drive(self, state: list[Tensor | None], layer: int, rows: int) -> Tensor:
        """Bias of `layer` and what its neighbours send, (seeds, rows, width); a neighbour that is None is silent."""
        drive = self.parameters[f"network.{layer}.bias"].expand(-1, rows, -1)
        if layer > 0 and (below := state[layer - 1]) is not None:
            drive = torch.baddbmm(drive, below, self.parameters[f"network.{layer - 1}.weight"])
        if layer < self._top and (above := state[layer + 1]) is not None:
            drive = torch.baddbmm(drive, above, self.parameters[f"network.{layer}.weight"].mT)
        return drive

    def _hidden(self, drive: Tensor, layer: int, purpose: Purpose, step: int, update: int) -> tuple[Tensor, Tensor]:
        """A hidden layer's activation, and the same with its noise on top; layer 1 has no noise."""
        activate, _ = ACTIVATIONS[self.config.activation]
        if layer == 1 or self.config.hidden_noise == 0:
            value = activate(drive)
            return value, value
        before, after = (
            self.streams.normal(purpose, step, *drive.shape[1:], part=self._part(update, layer) + late)
            for late in (0, 1)
        )
        value = activate(drive.add(before, alpha=self.config.hidden_noise))
        return value, after.mul_(self.config.hidden_noise).add_(value)

    def _walk(self, batch: Tensor, step: int) -> list[_Update]:
        """The updates of the walk from a corrupted batch, in order; of layer 0 the value is the logits of p(x | h)."""
        c, rows = self.config, batch.shape[1]
        state: list[Tensor | None] = [None] * (self._top + 1)
        state[0] = corrupted(batch, self._uniform("noise", step, 0, rows), c.input_noise)
        tape: list[_Update] = []
        for update in range(1, c.walkback + 1):
            last = update == c.walkback  # then no other hidden layer reaches the cost
            for layer in [1, 0] if last else [*range(1, self._top + 1, 2), *range(0, self._top + 1, 2)]:
                below = state[layer - 1] if layer > 0 else None
                above = state[layer + 1] if layer < self._top else None
                value = self._drive(state, layer, rows)
                if layer == 0:
                    uniform = self._uniform("noise", step, update, rows)
                    state[0] = sampled_and_corrupted(value.sigmoid(), uniform, c.input_noise)
                else:
                    value, state[layer] = self._hidden(value, layer, "noise", step, update)
                tape.append(_Update(layer, below, above, value))
        return tape

    def gradients(self, batch: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The cost and its gradient by every parameter, with the noise of `step`.

        Args:
            batch: (seeds, b, dimension).

        Returns:
            (seeds,): binary cross-entropy in nats per pixel, mean over b, summed over the walk; name -> gradient.
        """
        _, slope = ACTIVATIONS[self.config.activation]
        cost = torch.zeros_like(batch[:, 0, 0])
        towards: list[Tensor | None] = [None] * (self._top + 1)  # the gradient by each layer's value at this point
        deltas: list[list[Tensor]] = [[] for _ in towards]
        pairs: list[list[tuple[Tensor, Tensor]]] = [[] for _ in self.config.hidden]  # (rows of layer i, of i + 1)
        for layer, below, above, value in reversed(self._walk(batch, step)):
            found = towards[layer]
            if layer == 0:
                cost += binary_cross_entropy_with_logits(value, batch, reduction="none").mean((1, 2))
                delta = (value.sigmoid() - batch).div_(batch[0].numel())
            elif found is not None:  # else the cost no longer hears of it
                delta, towards[layer] = slope(found, value), None
            else:
                continue
            deltas[layer].append(delta)
            if below is not None:
                pairs[layer - 1].append((below, delta))
                if layer > 1:
                    towards[layer - 1] = _added(
                        towards[layer - 1], delta, self.parameters[f"network.{layer - 1}.weight"].mT
                    )
            if above is not None:
                pairs[layer].append((delta, above))
                towards[layer + 1] = _added(towards[layer + 1], delta, self.parameters[f"network.{layer}.weight"])
        gradients: dict[str, Tensor] = {}
        for layer, rows in enumerate(pairs):
            if rows:  # a short walk does not reach the top of a deep network
                lower, upper = (torch.cat(side, 1) for side in zip(*rows, strict=True))
                gradients[f"network.{layer}.weight"] = torch.bmm(lower.mT, upper)
        for layer, moved in enumerate(deltas):
            if moved:
                gradients[f"network.{layer}.bias"] = torch.cat(moved, 1).sum(1, keepdim=True)
        return cost, gradients

    @torch.no_grad()
    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """One step down the cost, with momentum as a moving average of gradients (model.py `m_gradient`)."""
        c = self.config
        cost, gradients = self.gradients(batch, step)
        # The kept average a <- momentum a + gradient is theirs divided by 1 - momentum, which the rate makes good.
        rate = c.learning_rate * c.learning_rate_decay**epoch * (1 - c.momentum)
        names = list(gradients)
        momentum_step(
            [self.parameters[name] for name in names], [self.slots[name] for name in names],
            [gradients[name] for name in names], rate, c.momentum, rate,
        )  # fmt: skip
        return {"reconstruction": cost}

    def _odd_layers(self, state: list[Tensor | None], draw: int, update: int) -> Tensor:
        rows = self.chains
        found = []
        for layer in range(1, self._top + 1, 2):
            _, noisy = self._hidden(self._drive(state, layer, rows), layer, "evaluation", draw, update)
            found.append(noisy)
        return torch.cat(found, -1)

    def _split(self, odd: Tensor) -> list[Tensor | None]:
        state: list[Tensor | None] = [None] * (self._top + 1)
        state[1::2] = torch.split(odd, list(self.config.hidden[::2]), -1)
        return state

    @torch.no_grad()
    def chain_start(self, draw: int) -> Tensor:
        """The odd layers above corrupted training images, drawn with replacement; all else is silent."""
        images = self.drawn_images(draw, part=self._part(0, 0) + 1)
        uniform = self._uniform("evaluation", draw, 0, self.chains)
        state: list[Tensor | None] = [None] * (self._top + 1)
        state[0] = corrupted(images, uniform, self.config.input_noise)
        return self._odd_layers(state, draw, 0)

    def chain_start_at_images(self, draw: int) -> Tensor:
        """The only start there is."""
        return self.chain_start(draw)

    @torch.no_grad()
    def chain_step(self, state: Tensor, draw: int, step: int) -> Tensor:
        """Even layers from the odd ones, the image sampled and corrupted among them, then the odd layers again."""
        layers = self._split(state)
        rows, update = state.shape[1], step + 1
        for layer in range(0, self._top + 1, 2):
            drive = self._drive(layers, layer, rows)
            if layer == 0:
                uniform = self._uniform("evaluation", draw, update, rows)
                layers[0] = sampled_and_corrupted(drive.sigmoid_(), uniform, self.config.input_noise)
            else:
                _, layers[layer] = self._hidden(drive, layer, "evaluation", draw, update)
        return self._odd_layers(layers, draw, update)

    @torch.no_grad()
    def chain_images(self, state: Tensor, draw: int, step: int) -> Tensor:
        """The means of p(x | layer 1), (seeds, chains, dimension)."""
        return self._drive(self._split(state), 0, state.shape[1]).sigmoid_()


def _added(sum_so_far: Tensor | None, rows: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(rows, weight) if sum_so_far is None else sum_so_far.baddbmm_(rows, weight)
