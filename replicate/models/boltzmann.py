"""What Boltzmann machines of binary units share: energies, conditionals, Gibbs sampling, mean field, learning.

A restricted Boltzmann machine has p(x, h) = exp(-E(x, h)) / Z with E(x, h) = -x'Wh - b'x - c'h (Smolensky 1986;
Hinton 2002). A deep one with two hidden layers has E(x, h, t) = -x'Wh - h'Vt - b'x - c'h - d't (Salakhutdinov and
Hinton 2009): given h the units of x and t are independent, given x and t those of h. So it is a restricted
machine between (x, t) and h, of which only x is ever observed (`folded`).
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn.functional import softplus

from replicate.models.chains import ChainConfig, ChainModel
from replicate.params import setting
from replicate.training.momentum import momentum_step, ramped
from replicate.training.streams import Purpose, Streams

RBM_YAML = "pylearn2 scripts/tutorials/dbm_demo/rbm.yaml"
RETUNED = "ours: re-tuning"
#: Parts of the evaluation stream from here on belong to down-passes, those below to the chains themselves.
DOWN_PASS = 1 << 40


class Draws:
    """Uniform numbers of one (purpose, step), in the order in which they are asked for; none is given out twice."""

    def __init__(self, streams: Streams, purpose: Purpose, step: int, part: int = 0) -> None:
        self._streams, self._purpose, self._step, self._part = streams, purpose, step, part

    def bits(self, means: Tensor) -> Tensor:
        """Independent bits that are 1 with probability `means`, (seeds, n, width); real pixels can be such means."""
        drawn = self._streams.uniform(self._purpose, self._step, *means.shape[1:], part=self._part)
        self._part += 1
        return drawn.lt_(means)


class Layer(NamedTuple):
    """The parameters of a restricted Boltzmann machine.

    Attributes:
        weight: W, (seeds, visible units, hidden units).
        visible, hidden: the biases b (seeds, 1, visible units) and c (seeds, 1, hidden units).
        up, down: copies of the visible and of the hidden units that share W: a layer that will stand in a deep
            machine is pre-trained with two, in place of the neighbour that is missing (Salakhutdinov & Hinton 2009).
    """

    weight: Tensor
    visible: Tensor
    hidden: Tensor
    up: float = 1.0
    down: float = 1.0


def hidden_field(layer: Layer, visible: Tensor) -> Tensor:
    """The log-odds of the hidden units, c + x'W, (seeds, n, hidden units)."""
    return torch.baddbmm(layer.hidden, visible, layer.weight, alpha=layer.up)


def visible_field(layer: Layer, hidden: Tensor) -> Tensor:
    """The log-odds of the visible units, b + Wh, (seeds, n, visible units)."""
    return torch.baddbmm(layer.visible, hidden, layer.weight.mT, alpha=layer.down)


def _inner(rows: Tensor, column: Tensor) -> Tensor:
    """(seeds, n) inner products of rows (seeds, n, width) with one row (seeds, 1, width) per seed."""
    return torch.bmm(rows, column.mT).squeeze(2)


def energy(layer: Layer, visible: Tensor, hidden: Tensor) -> Tensor:
    """E(x, h) = -x'Wh - b'x - c'h of rows of states, (seeds, n); of one copy of each side."""
    pairs = (torch.bmm(visible, layer.weight) * hidden).sum(2)
    return -pairs - _inner(visible, layer.visible) - _inner(hidden, layer.hidden)


def free_energy(layer: Layer, visible: Tensor) -> Tensor:
    """F(x) = -log sum_h exp(-E(x, h)) = -b'x - sum_j log(1 + exp(c_j + x'W_j)), (seeds, n); of one copy of each."""
    return -_inner(visible, layer.visible) - softplus(hidden_field(layer, visible)).sum(2)


def gibbs(layer: Layer, hidden: Tensor, steps: int, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
    """Block Gibbs sampling: x from p(x | h), then h from p(h | x), `steps` (at least 1) times.

    Args:
        hidden: (seeds, n, hidden units) states of the chains.

    Returns:
        The last x, the means of p(h | x) and the h that was drawn from them.
    """
    for _ in range(steps):
        visible = draws.bits(visible_field(layer, hidden).sigmoid_())
        means = hidden_field(layer, visible).sigmoid_()
        hidden = draws.bits(means)
    return visible, means, hidden


def mean_difference(data: tuple[Tensor, Tensor], model: tuple[Tensor, Tensor]) -> Tensor:
    """Mean of a b' over the rows of `model` = (a, b) less that over `data`, (seeds, width of a, width of b)."""
    negative = torch.bmm(model[0].mT, model[1])
    return negative.baddbmm_(data[0].mT, data[1], beta=1 / model[0].shape[1], alpha=-1 / data[0].shape[1])


def likelihood_gradients(data: tuple[Tensor, Tensor], model: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of the mean of -log p(x) by W, b and c (Hinton 2002, equation 5), as far as the samples tell.

    Args:
        data: x, and the means of p(h | x).
        model: x drawn from the model, and the means of p(h | x) there: a draw of h would have more variance.
    """
    biases = [found.mean(1, keepdim=True) - seen.mean(1, keepdim=True) for seen, found in zip(data, model, strict=True)]
    return mean_difference(data, model), biases[0], biases[1]


class Deep(NamedTuple):
    """The parameters of a deep Boltzmann machine with hidden layers h and t.

    Attributes:
        lower, upper: W (seeds, dimension, units of h) and V (seeds, units of h, units of t).
        visible, hidden, top: biases b, c and d, each (seeds, 1, units).
    """

    lower: Tensor
    upper: Tensor
    visible: Tensor
    hidden: Tensor
    top: Tensor


def folded(deep: Deep) -> Layer:
    """The same machine as a restricted one: h are its visible units, x and t side by side its hidden ones.

    Its free energy sums x and t out: the odd/even trick of Salakhutdinov & Hinton 2009, section 3.4.
    """
    weight = torch.cat([deep.lower.mT, deep.upper], 2)
    return Layer(weight, deep.hidden, torch.cat([deep.visible, deep.top], 2))


def middle_field(deep: Deep, visible: Tensor, top: Tensor) -> Tensor:
    """The log-odds of h given x and t, c + x'W + Vt, (seeds, n, units of h)."""
    return torch.baddbmm(deep.hidden, visible, deep.lower).baddbmm_(top, deep.upper.mT)


def deep_gibbs(deep: Deep, hidden: Tensor, steps: int, draws: Draws) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x and t given h, then h given both, `steps` (at least 1) times.

    Returns:
        The last x and t, the means of h given them, and the h that was drawn.
    """
    for _ in range(steps):
        visible = draws.bits(torch.baddbmm(deep.visible, hidden, deep.lower.mT).sigmoid_())
        top = draws.bits(torch.baddbmm(deep.top, hidden, deep.upper).sigmoid_())
        means = middle_field(deep, visible, top).sigmoid_()
        hidden = draws.bits(means)
    return visible, top, means, hidden


def mean_field(deep: Deep, visible: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The means of the factorial q(h, t | x) by fixed-point updates of h and t in turn.

    Salakhutdinov & Hinton 2009, section 3.1. No update lowers `lower_bound`. It starts at the up-pass with W doubled.

    Returns:
        Means of h and of t, after `steps` updates of each.
    """
    below = torch.baddbmm(deep.hidden, visible, deep.lower)
    hidden = (2 * below - deep.hidden).sigmoid_()
    top = torch.baddbmm(deep.top, hidden, deep.upper).sigmoid_()
    for _ in range(steps):
        hidden = torch.baddbmm(below, top, deep.upper.mT).sigmoid_()
        top = torch.baddbmm(deep.top, hidden, deep.upper).sigmoid_()
    return hidden, top


def _entropy(means: Tensor) -> Tensor:
    """Entropy of independent bits in nats, summed over units, (seeds, n)."""
    return -(torch.xlogy(means, means) + torch.xlogy(1 - means, 1 - means)).sum(2)


def lower_bound(deep: Deep, visible: Tensor, hidden: Tensor, top: Tensor) -> Tensor:
    """A lower bound on log p(x) + log Z, (seeds, n) in nats, for means of h and t.

    Expected negative energy plus entropy of the factorial q (Salakhutdinov & Hinton 2009, section 3.1).
    """
    pairs = (torch.bmm(visible, deep.lower) * hidden).sum(2) + (torch.bmm(hidden, deep.upper) * top).sum(2)
    biases = _inner(visible, deep.visible) + _inner(hidden, deep.hidden) + _inner(top, deep.top)
    return pairs + biases + _entropy(hidden) + _entropy(top)


class BoltzmannConfig(ChainConfig):
    """What every Boltzmann machine learns with."""

    visible: Literal["means", "samples"] = setting(
        "samples",
        "a real pixel is the input itself, or the probability of a bit drawn anew at each presentation",
        RBM_YAML,
    )
    learning_rate: PositiveFloat = setting(
        0.05, "of the first update of each phase; it falls linearly to zero over the phase", "Tieleman 2008; value ours"
    )
    momentum_initial: float = setting(0.5, "momentum of a phase's first epoch", RBM_YAML, ge=0, lt=1)
    momentum_final: float = setting(0.9, "momentum from epoch `momentum_epochs` of a phase on", RBM_YAML, ge=0, lt=1)
    momentum_epochs: int = setting(6, "epochs over which the momentum rises", RBM_YAML, ge=1)
    weight_decay: NonNegativeFloat = setting(1e-4, "factor of half the squared weights in the loss", RBM_YAML)
    weight_scale: PositiveFloat = setting(
        0.01, "standard deviation of the first weights", "Hinton 2010, A practical guide, section 8"
    )
    hidden_bias: float = setting(-2.0, "first bias of the units of the first hidden layer", RBM_YAML)
    particles: int = setting(100, "persistent chains", RBM_YAML, ge=1)


class Phase(NamedTuple):
    """Consecutive epochs in which the same parameters learn."""

    number: int
    start: int
    epochs: int


class BoltzmannModel(ChainModel):
    """A model that learns in phases, by gradients of differences between data and model; chains begin at the biases.

    `steps_per_epoch`, which the learning rate needs, is known after `initialise`.
    """

    extends: ClassVar[bool] = False  # the rate falls to zero at the last epoch
    steps_per_epoch: int

    @property
    @abstractmethod
    def starts(self) -> tuple[int, ...]:
        """The epochs, counted from 0 and ascending from there, in which the phases begin."""

    @property
    def whole_from(self) -> int:
        """The first epoch of the last phase, counted from 1."""
        return self.starts[-1] + 1

    def phase(self, epoch: int) -> Phase:
        """The phase of an epoch, counted from 0."""
        number = sum(start <= epoch for start in self.starts) - 1
        ends = (*self.starts[1:], self.config.epochs)
        return Phase(number, self.starts[number], ends[number] - self.starts[number])

    def initial_rate(self, phase: Phase) -> float:
        """The learning rate of a phase's first update."""
        rate: float = self.config.learning_rate
        return rate

    def _rate(self, phase: Phase, step: int) -> float:
        """Falls linearly, and reaches zero after the last update; `step` counts from the start of training."""
        share = (step - phase.start * self.steps_per_epoch) / (phase.epochs * self.steps_per_epoch)
        return self.initial_rate(phase) * (1 - share)

    def _normal_weight(self, rows: int, columns: int, part: int) -> Tensor:
        scale: float = self.config.weight_scale
        return self.streams.normal("init", 0, rows, columns, part=part) * scale

    def _bias(self, width: int, value: float = 0.0) -> Tensor:
        return torch.full(
            (len(self.streams.seeds), 1, width), value, dtype=self.streams.dtype, device=self.streams.device
        )

    def _pixel_bias(self, train: Tensor) -> Tensor:
        """The log-odds of the mean training pixels; one that is always 0 or 1 counts as once otherwise among all."""
        edge = 1 / (len(train) + 1)
        return self._bias(self.dimension) + torch.logit(train.mean(0).clamp(edge, 1 - edge))

    def _first_particles(self, bias: Tensor, part: int) -> Tensor:
        """(seeds, particles, width): bits drawn from a layer's biases alone."""
        means = bias.sigmoid().expand(-1, self.config.particles, -1)
        return Draws(self.streams, "init", 0, part).bits(means)

    def _presented(self, batch: Tensor, draws: Draws) -> Tensor:
        return draws.bits(batch) if self.config.visible == "samples" else batch

    def _contrast(
        self, layer: Layer, data: Tensor, steps: int, draws: Draws, particles: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients by W, b and c: contrastive divergence, or with `particles`, which move, its persistent kind."""
        means = hidden_field(layer, data).sigmoid_()
        start = draws.bits(means) if particles is None else particles
        visible, model_means, end = gibbs(layer, start, steps, draws)
        if particles is not None:
            particles.copy_(end)
        return likelihood_gradients((data, means), (visible, model_means))

    def _descend(self, gradients: Mapping[str, Tensor], epoch: int, step: int) -> dict[str, Tensor]:
        """Moves with momentum and the decay of weights (never of biases); a phase begins at rest.

        Returns:
            How much more energy the data have than the model's states, on average: as the energy is linear in the
            parameters, it is their inner product with the gradient.
        """
        c, phase = self.config, self.phase(epoch)
        parameters = [self.parameters[name] for name in gradients]
        slots = [self.slots[name] for name in gradients]
        pairs = zip(parameters, gradients.values(), strict=True)
        gap = torch.stack([torch.linalg.vecdot(p.flatten(1), g.flatten(1)) for p, g in pairs]).sum(0)
        for name, gradient in gradients.items():
            if name.endswith(".weight"):
                gradient.add_(self.parameters[name], alpha=c.weight_decay)
        if step == phase.start * self.steps_per_epoch:
            for slot in slots:
                slot.zero_()
        momentum = ramped(c.momentum_initial, c.momentum_final, c.momentum_epochs, epoch - phase.start)
        rate, before = self._rate(phase, step), self._rate(phase, step - 1)
        momentum_step(parameters, slots, list(gradients.values()), rate, momentum, before)
        return {"energy_gap": gap}

    def _chain_start(self, bias: Tensor, draw: int) -> Tensor:
        """(seeds, chains, width): bits drawn from a layer's biases alone, so that no image is needed."""
        return Draws(self.streams, "evaluation", draw).bits(bias.sigmoid().expand(-1, self.chains, -1))
