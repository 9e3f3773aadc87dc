"""Boltzmann machines of binary units: energies, conditionals, Gibbs sampling, mean field, learning.

A restricted Boltzmann machine has p(x, h) = exp(-E(x, h)) / Z with E(x, h) = -x'Wh - b'x - c'h
(Smolensky 1986; Hinton 2002). A deep one with two hidden layers has E(x, h, t) = -x'Wh - h'Vt - b'x
- c'h - d't (Salakhutdinov and Hinton 2009): given h the units of x and t are independent, given x
and t those of h. So it is a restricted machine between (x, t) and h, of which only x is ever
observed (`folded`).
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.nn.functional import softplus

from replicate.models.parts.chains import ChainConfig, ChainModel
from replicate.params import setting
from replicate.training.momentum import momentum_step, ramped
from replicate.training.streams import Purpose, Streams

RBM_YAML = "pylearn2 scripts/tutorials/dbm_demo/rbm.yaml"
RETUNED = "ours: re-tuning"
#: Parts of the evaluation stream from here on belong to down-passes, those below to the chains.
DOWN_PASS = 1 << 40


class Draws:
    """Random bits from one (purpose, step) of the streams; each call takes the next part.

    Args:
        streams: of the block.
        purpose, step: of the streams.
        part: the part that the first call takes.
    """

    def __init__(self, streams: Streams, purpose: Purpose, step: int, part: int = 0) -> None:
        self._streams = streams
        self._purpose = purpose
        self._step = step
        self._next_part = part

    def bits(self, means: Tensor) -> Tensor:
        """Independent bits that are 1 with probability `means`, (seeds, n, width)."""
        _, *shape = means.shape
        # A part a draw: no two layers, and no two steps, share random numbers.
        part = self._next_part
        self._next_part += 1
        uniform = self._streams.uniform(self._purpose, self._step, *shape, part=part)
        # In place, so that bits keep the floating type: they go straight into products.
        return uniform.lt_(means)


class Layer(NamedTuple):
    """The parameters of a restricted Boltzmann machine.

    Attributes:
        weight: W, (seeds, visible units, hidden units).
        visible, hidden: the biases b (seeds, 1, visible units) and c (seeds, 1, hidden units).
        up, down: copies of the visible and of the hidden units that share W. A layer of a deep
            machine is pre-trained with two, which stand in for its missing neighbour
            (Salakhutdinov & Hinton 2009).
    """

    weight: Tensor
    visible: Tensor
    hidden: Tensor
    up: float = 1.0
    down: float = 1.0


def hidden_field(layer: Layer, visible: Tensor) -> Tensor:
    """The log-odds of the hidden units, c + x'W, (seeds, n, hidden units)."""
    # `alpha` counts the input `up` times without a second copy of W.
    return torch.baddbmm(layer.hidden, visible, layer.weight, alpha=layer.up)


def visible_field(layer: Layer, hidden: Tensor) -> Tensor:
    """The log-odds of the visible units, b + Wh, (seeds, n, visible units)."""
    return torch.baddbmm(layer.visible, hidden, layer.weight.mT, alpha=layer.down)


def hidden_means(layer: Layer, visible: Tensor) -> Tensor:
    """The means of p(h | x), (seeds, n, hidden units)."""
    field = hidden_field(layer, visible)
    return field.sigmoid_()


def visible_means(layer: Layer, hidden: Tensor) -> Tensor:
    """The means of p(x | h), (seeds, n, visible units)."""
    field = visible_field(layer, hidden)
    return field.sigmoid_()


def _inner(rows: Tensor, vector: Tensor) -> Tensor:
    """Inner products (seeds, n) of rows (seeds, n, width) with a vector (seeds, 1, width)."""
    column = vector.mT
    products = torch.bmm(rows, column)
    return products.squeeze(2)


def _interaction(lower: Tensor, weight: Tensor, upper: Tensor) -> Tensor:
    """a'Wb of rows a (seeds, n, width) and b, (seeds, n)."""
    # The product with W first: that of a and b would be of the size of W for every row.
    projected = torch.bmm(lower, weight)
    return (projected * upper).sum(2)


def energy(layer: Layer, visible: Tensor, hidden: Tensor) -> Tensor:
    """E(x, h) = -x'Wh - b'x - c'h of rows of states, (seeds, n); ignores `up` and `down`."""
    interaction = _interaction(visible, layer.weight, hidden)
    visible_terms = _inner(visible, layer.visible)
    hidden_terms = _inner(hidden, layer.hidden)
    return -interaction - visible_terms - hidden_terms


def free_energy(layer: Layer, visible: Tensor) -> Tensor:
    """F(x) = -log sum_h exp(-E(x, h)) = -b'x - sum_j log(1 + exp(c_j + x'W_j)), (seeds, n)."""
    field = hidden_field(layer, visible)
    of_units = softplus(field)
    # torch's softplus is linear from 20 on, which leaves out at most exp(-20) = 2e-9 nats a unit.
    summed_out = of_units.sum(2)
    visible_terms = _inner(visible, layer.visible)
    return -visible_terms - summed_out


class GibbsState(NamedTuple):
    """The last states of block Gibbs sampling: x, the means of p(h | x), and h drawn from them."""

    visible: Tensor
    hidden_means: Tensor
    hidden: Tensor


def gibbs(layer: Layer, hidden: Tensor, steps: int, draws: Draws) -> GibbsState:
    """Block Gibbs sampling: x from p(x | h), then h from p(h | x).

    Args:
        layer: the machine.
        hidden: (seeds, n, hidden units) states of the chains.
        steps: at least 1.
        draws: of the bits.
    """
    # x first: the chain's state is h, which CD takes from the data and PCD from the last update.
    for _ in range(steps):
        # x ~ p(x | h)
        probabilities = visible_means(layer, hidden)
        visible = draws.bits(probabilities)
        # h ~ p(h | x)
        means = hidden_means(layer, visible)
        hidden = draws.bits(means)
    return GibbsState(visible, means, hidden)


def correlation_gradient(data: tuple[Tensor, Tensor], model: tuple[Tensor, Tensor]) -> Tensor:
    """E_model[a b'] - E_data[a b'], the gradient with respect to the weights between units a and b.

    Args:
        data: states (seeds, n, units) of a and b under the data.
        model: those under the model.

    Returns:
        (seeds, units of a, units of b).
    """
    data_lower, data_upper = data
    model_lower, model_upper = model
    model_rows = model_lower.shape[1]
    data_rows = data_lower.shape[1]
    model_share = 1 / model_rows
    data_share = 1 / data_rows
    # The sum over the model's rows; the second product adds the data's, both become means.
    products = torch.bmm(model_lower.mT, model_upper)
    return products.baddbmm_(data_lower.mT, data_upper, beta=model_share, alpha=-data_share)


def bias_gradient(data: Tensor, model: Tensor) -> Tensor:
    """E_model[a] - E_data[a], the gradient with respect to the biases of units a."""
    model_mean = model.mean(1, keepdim=True)
    data_mean = data.mean(1, keepdim=True)
    return model_mean - data_mean


def likelihood_gradients(
    data: tuple[Tensor, Tensor], model: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Estimated gradients of the mean of -log p(x) with respect to W, b and c.

    Hinton 2002, equation 5.

    Args:
        data: x, and the means of p(h | x).
        model: x drawn from the model, and the means of p(h | x), which vary less than draws of h.
    """
    data_visible, data_hidden = data
    model_visible, model_hidden = model
    return (
        correlation_gradient(data, model),
        bias_gradient(data_visible, model_visible),
        bias_gradient(data_hidden, model_hidden),
    )


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
    """The same machine as a restricted one with visible units h and hidden units (x, t).

    Its free energy sums x and t out: the odd/even trick of Salakhutdinov & Hinton 2009, section
    3.4.
    """
    # Turned round: h is visible in the folded machine, and x is hidden.
    lower = deep.lower.mT
    weight = torch.cat([lower, deep.upper], 2)
    hidden_bias = torch.cat([deep.visible, deep.top], 2)
    return Layer(weight, visible=deep.hidden, hidden=hidden_bias)


def middle_field(deep: Deep, visible: Tensor, top: Tensor) -> Tensor:
    """The log-odds of h given x and t, c + x'W + Vt, (seeds, n, units of h)."""
    from_visible = torch.baddbmm(deep.hidden, visible, deep.lower)  # c + x'W
    return from_visible.baddbmm_(top, deep.upper.mT)


def deep_visible_means(deep: Deep, hidden: Tensor) -> Tensor:
    """The means of p(x | h), (seeds, n, dimension)."""
    field = torch.baddbmm(deep.visible, hidden, deep.lower.mT)
    return field.sigmoid_()


def deep_top_means(deep: Deep, hidden: Tensor) -> Tensor:
    """The means of p(t | h), (seeds, n, units of t)."""
    field = torch.baddbmm(deep.top, hidden, deep.upper)
    return field.sigmoid_()


class DeepGibbsState(NamedTuple):
    """The last states of Gibbs sampling: x, t, the means of p(h | x, t), and h drawn from them."""

    visible: Tensor
    top: Tensor
    hidden_means: Tensor
    hidden: Tensor


def deep_gibbs(deep: Deep, hidden: Tensor, steps: int, draws: Draws) -> DeepGibbsState:
    """Block Gibbs sampling: x and t given h, then h given both, `steps` (at least 1) times."""
    for _ in range(steps):
        # x ~ p(x | h) and t ~ p(t | h)
        of_visible = deep_visible_means(deep, hidden)
        visible = draws.bits(of_visible)
        of_top = deep_top_means(deep, hidden)
        top = draws.bits(of_top)
        # h ~ p(h | x, t)
        field = middle_field(deep, visible, top)
        means = field.sigmoid_()
        hidden = draws.bits(means)
    return DeepGibbsState(visible, top, means, hidden)


def mean_field(deep: Deep, visible: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """The means of the factorial q(h, t | x) by fixed-point updates of h and t in turn.

    Salakhutdinov & Hinton 2009, section 3.1. No update lowers `lower_bound`. It starts at the
    up-pass with W doubled.

    Returns:
        Means of h and of t, after `steps` updates of each.
    """
    # c + x'W, which the data fix
    from_visible = torch.baddbmm(deep.hidden, visible, deep.lower)
    # The up-pass s(c + 2 x'W): the input from below counts twice, as nothing comes from above yet.
    doubled = 2 * from_visible - deep.hidden
    hidden = doubled.sigmoid_()
    top = deep_top_means(deep, hidden)
    for _ in range(steps):
        # mu_h = s(c + x'W + V mu_t), then mu_t = s(d + mu_h'V)
        # A fixed number of rounds: a test of convergence over the block would tie its seeds
        # together.
        field = torch.baddbmm(from_visible, top, deep.upper.mT)
        hidden = field.sigmoid_()
        top = deep_top_means(deep, hidden)
    return hidden, top


def _entropy(means: Tensor) -> Tensor:
    """Entropy of independent bits in nats, summed over units, (seeds, n)."""
    complements = 1 - means
    # `xlogy` is 0 at 0, where the product of 0 and log 0 would be no number.
    of_ones = torch.xlogy(means, means)
    of_zeros = torch.xlogy(complements, complements)
    negative_entropies = of_ones + of_zeros
    total = negative_entropies.sum(2)
    return -total


def lower_bound(deep: Deep, visible: Tensor, hidden: Tensor, top: Tensor) -> Tensor:
    """A lower bound on log p(x) + log Z, (seeds, n) in nats, for means of h and t.

    Expected negative energy plus entropy of the factorial q (Salakhutdinov & Hinton 2009, section
    3.1).
    """
    # x'W mu_h + mu_h'V mu_t
    lower_terms = _interaction(visible, deep.lower, hidden)
    upper_terms = _interaction(hidden, deep.upper, top)
    interaction = lower_terms + upper_terms
    # b'x + c'mu_h + d'mu_t
    visible_terms = _inner(visible, deep.visible)
    hidden_terms = _inner(hidden, deep.hidden)
    top_terms = _inner(top, deep.top)
    biases = visible_terms + hidden_terms + top_terms
    hidden_entropy = _entropy(hidden)
    top_entropy = _entropy(top)
    return interaction + biases + hidden_entropy + top_entropy


class BoltzmannConfig(ChainConfig):
    """Settings of every Boltzmann machine."""

    visible: Literal["means", "samples"] = setting(
        "samples",
        "a real pixel is the input itself, or the probability of a bit drawn anew at each "
        "presentation",
        RBM_YAML,
    )
    learning_rate: PositiveFloat = setting(
        0.05,
        "of the first update of each phase; it falls linearly to zero over the phase",
        "Tieleman 2008; value ours",
    )
    momentum_initial: float = setting(
        0.5, "momentum of a phase's first epoch", RBM_YAML, ge=0, lt=1
    )
    momentum_final: float = setting(
        0.9, "momentum from epoch `momentum_epochs` of a phase on", RBM_YAML, ge=0, lt=1
    )
    momentum_epochs: int = setting(
        6,
        "epochs over which the momentum rises",
        f"ours; {RBM_YAML} has the first momentum up to epoch 5, the last from epoch 6 on",
        ge=1,
    )
    weight_decay: NonNegativeFloat = setting(
        1e-4,
        "factor of half the squared weights in the loss",
        f"ours: half the decay of {RBM_YAML}, whose factor is of the whole squares",
    )
    weight_scale: PositiveFloat = setting(
        0.01, "standard deviation of the first weights", "Hinton 2010, A practical guide, section 8"
    )
    hidden_bias: float = setting(
        -2.0, "first bias of the units of the first hidden layer", RBM_YAML
    )
    particles: int = setting(100, "persistent chains", RBM_YAML, ge=1)


class Phase(NamedTuple):
    """Consecutive epochs in which the same parameters learn."""

    number: int
    start: int
    epochs: int


class BoltzmannModel(ChainModel):
    """A model that learns in phases from statistics of the data less those of the model.

    Attributes:
        steps_per_epoch: set by `initialise`; the learning rate needs it.
    """

    #: The learning rate falls to zero at the last epoch.
    extends: ClassVar[bool] = False
    config: BoltzmannConfig
    steps_per_epoch: int

    @property
    def partition_layer(self) -> Layer | None:
        """A restricted machine with the model's Z; None where p(x) has no such form."""
        return None

    def log_unnormalised(self, bits: Tensor) -> Tensor:
        """log p(x) + log Z of bits (seeds, n, dimension), or a lower bound on it: (seeds, n) nats.

        Only where there is a `partition_layer`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no partition function")

    @property
    @abstractmethod
    def starts(self) -> tuple[int, ...]:
        """The epochs, counted from 0 and ascending from there, in which the phases begin."""

    @property
    def first_complete_epoch(self) -> int:
        """The first epoch of the last phase, counted from 1."""
        starts = self.starts
        return starts[-1] + 1

    def phase(self, epoch: int) -> Phase:
        """The phase of an epoch, counted from 0."""
        starts = self.starts
        ends = (*starts[1:], self.config.epochs)
        begun = [start for start in starts if start <= epoch]
        number = len(begun) - 1
        start = starts[number]
        epochs = ends[number] - start
        return Phase(number, start, epochs)

    def initial_rate(self, phase: Phase) -> float:
        """The learning rate of a phase's first update."""
        return self.config.learning_rate

    def _rate(self, phase: Phase, step: int) -> float:
        """The rate falls linearly to zero, which it would reach after the phase's last update.

        Args:
            phase: of the update.
            step: counted from the start of training.
        """
        steps_per_epoch = self.steps_per_epoch
        first_step = phase.start * steps_per_epoch
        phase_steps = phase.epochs * steps_per_epoch
        share = (step - first_step) / phase_steps
        initial = self.initial_rate(phase)
        return initial * (1 - share)

    def _normal_weight(self, rows: int, columns: int, part: int) -> Tensor:
        """Initial weights (seeds, rows, columns), normal with standard deviation `weight_scale`."""
        normal = self.streams.normal("init", 0, rows, columns, part=part)
        scale = self.config.weight_scale
        return normal * scale

    def _bias(self, width: int, value: float = 0.0) -> Tensor:
        """Initial biases (seeds, 1, width)."""
        streams = self.streams
        shape = (self.seed_count, 1, width)
        return torch.full(shape, value, dtype=streams.dtype, device=streams.device)

    def _pixel_bias(self, train: Tensor) -> Tensor:
        """The log-odds of the mean training pixels, (seeds, 1, dimension).

        A pixel that is always 0 or 1 gets the mean it would have with one differing image more.
        """
        edge = 1 / (len(train) + 1)
        means = train.mean(0)
        # Log-odds of 0 or 1 are infinite, and MNIST's corners are 0 in every training image.
        inside = means.clamp(edge, 1 - edge)
        log_odds = torch.logit(inside)
        zero = self._bias(self.dimension)
        return zero + log_odds

    def _first_particles(self, bias: Tensor, part: int) -> Tensor:
        """(seeds, particles, width): bits drawn from a layer's biases alone."""
        count = self.config.particles
        means = bias.sigmoid()
        of_particles = means.expand(-1, count, -1)
        draws = Draws(self.streams, "init", 0, part)
        return draws.bits(of_particles)

    def _presented(self, batch: Tensor, draws: Draws) -> Tensor:
        """The batch as the visible units see it: real pixels, or bits drawn from them."""
        if self.config.visible == "samples":
            return draws.bits(batch)
        return batch

    def _contrast(
        self, layer: Layer, data: Tensor, steps: int, draws: Draws, particles: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients with respect to W, b and c by contrastive divergence (CD-k, k = `steps`).

        With `particles` by persistent contrastive divergence (PCD-k); they are updated in place.
        """
        data_means = hidden_means(layer, data)
        # CD starts its chains at the data anew, PCD where they stood after the last update.
        if particles is None:
            start = draws.bits(data_means)
        else:
            start = particles
        model = gibbs(layer, start, steps, draws)
        if particles is not None:
            # In place: checkpoints hold this tensor.
            particles.copy_(model.hidden)
        return likelihood_gradients((data, data_means), (model.visible, model.hidden_means))

    def _descend(self, gradients: Mapping[str, Tensor], epoch: int, step: int) -> dict[str, Tensor]:
        """One step with momentum and weight decay (of weights, not of biases).

        Every phase starts with zero velocities.

        Returns:
            `energy_gap`: mean energy of the data less that of the model's states. The energy is
            linear in the parameters, so this is their inner product with the gradient.
        """
        c = self.config
        phase = self.phase(epoch)
        parameters = [self.parameters[name] for name in gradients]
        velocities = [self.slots[name] for name in gradients]

        # theta . dL/dtheta = E_data[E] - E_model[E], before weight decay is added
        products = []
        for value, gradient in zip(parameters, gradients.values(), strict=True):
            # (seeds,): flattened behind the seeds, so that no sum runs over them.
            products.append(torch.linalg.vecdot(value.flatten(1), gradient.flatten(1)))
        energy_gap = torch.stack(products).sum(0)

        for name, gradient in gradients.items():
            if name.endswith(".weight"):
                # Not to biases, which only fit how often a unit is on.
                gradient.add_(self.parameters[name], alpha=c.weight_decay)

        # A velocity of the last phase would move weights that had another task then.
        if step == phase.start * self.steps_per_epoch:
            for velocity in velocities:
                velocity.zero_()
        epoch_in_phase = epoch - phase.start
        momentum_step(
            parameters,
            velocities,
            list(gradients.values()),
            learning_rate=self._rate(phase, step),
            momentum=ramped(
                c.momentum_initial, c.momentum_final, c.momentum_epochs, epoch_in_phase
            ),
            # At a phase's first step this rate is of no meaning, and the velocities that it scales
            # are 0.
            previous_rate=self._rate(phase, step - 1),
        )
        return {"energy_gap": energy_gap}

    def _chain_start(self, bias: Tensor, draw: int) -> Tensor:
        """(seeds, chains, width): bits drawn from a layer's biases; needs no image."""
        means = bias.sigmoid()
        of_chains = means.expand(-1, self.chains, -1)
        draws = Draws(self.streams, "evaluation", draw)
        return draws.bits(of_chains)
