"""Sharp and degenerate distributions: data on two half circles, learnt by four models (S2).

The paper claims (section 6): adversarial nets can represent sharp, even degenerate distributions;
models that are sampled by Markov chains must be blurry, so that chains can mix.

The data lies exactly on the curves, so that it has no density, and in two pieces, so that a chain
must cross a gap. Adversarial nets give G(z) as it is. The three other models add the normal noise
that their likelihood asks for, of a spread that each learns: a VAE; a Markov chain of a denoising
autoencoder (Bengio et al. 2013), at several corruptions; and an RBM with normal visible units, by
Gibbs steps. All chains start on the first half circle. All models make equal numbers of updates.

Measured: the mean distance of samples to the curves (sharpness); the share of the curves that
samples cover, which tells a G that is sharp from one that has collapsed; and the share of chains
that cross the gap. The VAE is shown and decides nothing: its spread may fall to 0 with further
training. That of a chain is bound to the corruption at which it mixes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, NamedTuple

import torch
from pydantic import AfterValidator, PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    PerSeed,
    StatementChecks,
    ascending,
    differences,
    log_ratios,
    where_finite,
)
from replicate.experiments.constants import (
    ARC_DISTANCE,
    ARCS,
    CURVE_SAMPLES,
    CURVE_SAMPLES_DRAWN,
    HALF_CIRCLE_CENTRE,
)
from replicate.experiments.games.player import Player, new_player
from replicate.models.parts import perceptron
from replicate.params import OURS, setting
from replicate.progress.loops import each, steps, task
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Purpose, Streams

#: A chain mixes at a corruption if that share of the chains changes the half circle.
MIXES = 0.5
#: First of the parts by which a model draws its random numbers; each corruption takes one more
#: block of 100.
_PARTS = {"adversarial nets": 0, "VAE": 100, "RBM": 200, "DAE": 300}

#: Measure -> one value a seed; None where its samples are not finite.
Measures = dict[str, PerSeed]


class DegenerateConfig(ExperimentConfig):
    """The four models and their chains."""

    updates: int = setting(
        3000, "of each model; in the game rounds, an update of D, then one of G", OURS, ge=1
    )
    batch_size: int = setting(
        64, "samples of the data, of G, and chains of the RBM, per update", OURS, ge=1
    )
    code_dimension: int = setting(
        2, "length of z, standard normal, of adversarial nets and VAE", OURS, ge=1
    )
    hidden: tuple[PositiveInt, ...] = setting(
        (64, 64), "rectified units per layer, of every network", OURS, min_length=1
    )
    binary_units: int = setting(64, "hidden units of the RBM", OURS, ge=1)
    game_rate: PositiveFloat = setting(
        0.003,
        "of Adam for G and D at the start; falls linearly to 0",
        "ours: of 0.003 and 0.01 the sharper",
    )
    likelihood_rate: PositiveFloat = setting(
        0.01,
        "of Adam for the other models at the start; falls linearly to 0",
        "ours: of 0.001, 0.003 and 0.01 that by which the VAE is sharpest, of the last two the RBM",
    )
    corruptions: Annotated[tuple[PositiveFloat, ...], AfterValidator(ascending)] = setting(
        (0.05, 0.1, 0.2, 0.4, 0.8),
        "standard deviations of the autoencoder's corruption, rising",
        OURS,
        min_length=2,
    )
    burn_in: int = setting(100, "steps of a chain before those that are kept", OURS, ge=0)
    kept: int = setting(
        100,
        "steps in which a chain may change the half circle; its last state is a sample",
        OURS,
        ge=1,
    )


class ModelSamples(NamedTuple):
    """What a model gives after its training.

    Attributes:
        samples: (seeds, CURVE_SAMPLES, 2).
        spread: standard deviation of its own noise, (seeds,); None where it has no noise.
        crossed: chains that changed the half circle, (seeds, CURVE_SAMPLES) bool; None without.
    """

    samples: Tensor
    spread: Tensor | None = None
    crossed: Tensor | None = None


# The data, and the distance of samples to it.


def on_the_curves(halves: Tensor, shares: Tensor) -> Tensor:
    """Points (..., 2): at that share of the way along the first (0) or second (1) half circle."""
    angles = math.pi * shares
    centre = torch.tensor(HALF_CIRCLE_CENTRE).to(shares)
    on_circle = torch.stack([angles.cos(), angles.sin()], -1)
    first = on_circle + centre
    # The second half circle is the first one turned about the origin.
    is_first = halves[..., None] == 0
    return torch.where(is_first, first, -first)


def draw_data(streams: Streams, step: int, count: int, part: int) -> Tensor:
    """(seeds, count, 2) points, uniform along the curves."""
    # One uniform number says both: the half circle, and how far along it.
    drawn = streams.uniform("noise", step, count, part=part)
    doubled = 2 * drawn
    halves = doubled.floor()
    shares = doubled.frac()
    return on_the_curves(halves, shares)


def nearest(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of points (..., 2): distance to the curves, nearest half circle, share of the way along it.

    Below the ends of a half circle the nearest of its points is an end.
    """
    first_distance, first_share = _to_first_half(points)
    second_distance, second_share = _to_first_half(-points)
    is_second = second_distance < first_distance
    half = is_second.long()
    distance = torch.where(is_second, second_distance, first_distance)
    share = torch.where(is_second, second_share, first_share)
    return distance, half, share


def _to_first_half(points: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of points (..., 2) to the first half circle, and the share of the way along."""
    centre = torch.tensor(HALF_CIRCLE_CENTRE).to(points)
    about_centre = points - centre
    x, y = about_centre.unbind(-1)
    radius = torch.hypot(x, y)
    to_arc = (radius - 1).abs()
    # Below the centre, the nearest point of the half circle is one of its two ends.
    to_end = torch.hypot(x.abs() - 1, y)
    is_above = y >= 0
    distance = torch.where(is_above, to_arc, to_end)
    # From below the centre this gives the angle of the nearer end, 0 or pi.
    angle = torch.atan2(y.clamp_min(0), x)
    return distance, angle / math.pi


def curve_measures(samples: Tensor) -> Measures:
    """Of every seed's samples (seeds, n, 2): mean distance to the curves, share of arcs covered."""
    # Only for the arithmetic: `where_finite` takes out the seeds whose samples are not finite.
    exact = samples.double().nan_to_num()
    distance, half, share = nearest(exact)
    arcs_of_half = ARCS // 2
    # At the very end, share 1, the arc is the last one.
    last_arc = arcs_of_half - 1
    arc_in_half = (share * arcs_of_half).long().clamp_max(last_arc)
    arc = half * arcs_of_half + arc_in_half
    # Samples that are too far away count for an arc of their own, which is dropped.
    is_near = distance < ARC_DISTANCE
    near_arc = torch.where(is_near, arc, ARCS)
    # (seeds, n, arcs + 1) -> (seeds, arcs): the largest over samples says whether any is there.
    covered = one_hot(near_arc, ARCS + 1).amax(1)[:, :-1]
    coverage = covered.double().mean(1)
    return {
        "distance": where_finite(distance.mean(1), samples),
        "coverage": where_finite(coverage, samples),
    }


# What the models share.


def _noisy_player(streams: Streams, part: int, **sizes: Sequence[int]) -> Player:
    """Fresh networks of those sizes that learn together, and the log of their noise's spread.

    The first network is the player's own; `log_spread` (seeds, 1, 1) starts at 0.
    """
    parameters: dict[str, Tensor] = {}
    for name, widths in sizes.items():
        parameters |= perceptron.initial(streams, name, widths, part)
        part += len(widths)
    network, widths = next(iter(sizes.items()))
    first_weight = parameters[f"{network}.0.weight"]
    # A logarithm, so that no step makes a deviation negative.
    parameters["log_spread"] = torch.zeros_like(first_weight[:, :1, :1])
    return new_player(network, len(widths) - 1, parameters)


def _spread(model: Player) -> Tensor:
    """The standard deviation of a model's noise, (seeds,)."""
    log_spread = model.parameters["log_spread"].detach()
    spread = log_spread.exp()
    return spread[:, 0, 0]


def log_likelihood(points: Tensor, means: Tensor, log_spread: Tensor) -> Tensor:
    """log N(x; mean, s^2 I) of points (seeds, n, 2) up to a constant: (seeds, n), nats."""
    spread = log_spread.exp()
    standardised = (points - means) / spread
    squares = standardised.square().sum(2)
    # Twice, once for each of the two dimensions.
    return -squares / 2 - 2 * log_spread[..., 0]


def noisy(means: Tensor, model: Player, noise: Tensor) -> Tensor:
    """What the model draws about `means`, by its own spread."""
    log_spread = model.parameters["log_spread"]
    spread = log_spread.exp()
    return means + spread * noise


def _falling(rate: float, updates: int) -> Iterator[tuple[int, float]]:
    """The number of every update, and its rate."""
    for update in steps(updates):
        fade = 1 - update / updates
        yield update, rate * fade


# Adversarial nets.


def adversarial_samples(config: DegenerateConfig, streams: Streams) -> Tensor:
    """(seeds, CURVE_SAMPLES, 2) of G after Algorithm 1 with k = 1, by -log D(G(z))."""
    part = _PARTS["adversarial nets"]
    count = config.batch_size
    code = config.code_dimension
    sizes = (code, *config.hidden, 2)
    parameters = perceptron.initial(streams, "generator", sizes, part)
    generator = new_player("generator", len(sizes) - 1, parameters)
    sizes = (2, *config.hidden, 1)
    # G has used a part a layer.
    next_part = part + len(config.hidden) + 1
    parameters = perceptron.initial(streams, "discriminator", sizes, next_part)
    discriminator = new_player("discriminator", len(sizes) - 1, parameters)
    for update, rate in _falling(config.game_rate, config.updates):
        z = streams.normal("noise", update, count, code, part=part + 1)
        # An update of D leaves G alone.
        with torch.no_grad():
            fake = generator.outputs(z)
        real = draw_data(streams, update, count, part)
        rows = torch.cat([real, fake], 1)
        logits = discriminator.outputs(rows)[..., 0]
        loss = discriminator_loss(logits[:, :count], logits[:, count:])
        discriminator.descend(loss, rate)
        # Fresh z for G, as Algorithm 1 draws them.
        z = streams.normal("noise", update, count, code, part=part + 2)
        fake = generator.outputs(z)
        logits = discriminator.outputs(fake)[..., 0]
        generator.descend(generator_loss(logits, "non_saturating"), rate)
    z = streams.normal("evaluation", 0, CURVE_SAMPLES, code, part=part)
    with torch.no_grad():
        return generator.outputs(z)


# The variational autoencoder.


def vae_loss(model: Player, points: Tensor, noise: Tensor) -> Tensor:
    """The negative of the bound on log p(x), (seeds,), nats and up to a constant.

    Args:
        model: decoder and, with as many layers, encoder, which gives the mean of q(z|x) and the log
            of its deviation.
        noise: standard normal, (seeds, n, code), of one z a point.
    """
    parameters = model.parameters
    encoded = perceptron.outputs(points, parameters, "encoder", model.layers)
    mean, log_deviation = encoded.chunk(2, 2)
    deviation = log_deviation.exp()
    z = mean + deviation * noise
    decoded = model.outputs(z)
    # KL(N(mean, deviation^2) || N(0, 1)), Kingma & Welling 2014, appendix B.
    variance = (2 * log_deviation).exp()
    squares = mean.square() + variance - 1
    divergence = squares.sum(2) / 2 - log_deviation.sum(2)
    likelihood = log_likelihood(points, decoded, parameters["log_spread"])
    return (divergence - likelihood).mean(1)


def vae_samples(config: DegenerateConfig, streams: Streams) -> ModelSamples:
    """Samples drawn from p(x|z), and the spread of p(x|z)."""
    part = _PARTS["VAE"]
    code = config.code_dimension
    size = config.batch_size
    decoder_sizes = (code, *config.hidden, 2)
    encoder_sizes = (2, *config.hidden, 2 * code)
    model = _noisy_player(streams, part, decoder=decoder_sizes, encoder=encoder_sizes)
    for update, rate in _falling(config.likelihood_rate, config.updates):
        noise = streams.normal("noise", update, size, code, part=part + 1)
        points = draw_data(streams, update, size, part)
        loss = vae_loss(model, points, noise)
        model.descend(loss, rate)
    z = streams.normal("evaluation", 0, CURVE_SAMPLES, code, part=part)
    noise = streams.normal("evaluation", 0, CURVE_SAMPLES, 2, part=part + 1)
    with torch.no_grad():
        means = model.outputs(z)
        # With the noise of p(x|z), which is part of what the model says.
        samples = noisy(means, model, noise)
    return ModelSamples(samples, _spread(model))


# Markov chains: how they are followed, then the autoencoder's and the RBM's.

#: From the number of a step and the states (seeds, n, 2) to the next states.
Step = Callable[[int, Tensor], Tensor]


def follow(
    step: Step, config: DegenerateConfig, streams: Streams, part: int
) -> tuple[Tensor, Tensor]:
    """Chains that start on the first half circle: last states, and which changed it.

    A chain has changed the half circle if in the kept steps it was nearest to both.

    Returns:
        (seeds, CURVE_SAMPLES, 2), and (seeds, CURVE_SAMPLES) bool.
    """
    shares = streams.uniform("evaluation", 0, CURVE_SAMPLES, part=part)
    first_half = torch.zeros_like(shares)
    states = on_the_curves(first_half, shares)
    last = config.burn_in + config.kept
    with torch.no_grad():
        for k in range(config.burn_in):
            states = step(k, states)
        # After the burn-in: a chain that crosses early and then stays does not mix.
        _, half_before, _ = nearest(states)
        crossed = torch.zeros_like(half_before, dtype=torch.bool)
        for k in range(config.burn_in, last):
            states = step(k, states)
            _, half, _ = nearest(states)
            crossed |= half != half_before
    return states, crossed


def train_autoencoder(
    config: DegenerateConfig, streams: Streams, corruption: float, part: int
) -> Player:
    """Maximises log N(x; r(x~), s^2 I) over r and s.

    At its best s^2 is the variance of the residuals.
    """
    size = config.batch_size
    model = _noisy_player(streams, part, autoencoder=(2, *config.hidden, 2))
    for update, rate in _falling(config.likelihood_rate, config.updates):
        points = draw_data(streams, update, size, part)
        noise = streams.normal("noise", update, size, 2, part=part + 1)
        corrupted = points + corruption * noise
        means = model.outputs(corrupted)
        likelihood = log_likelihood(points, means, model.parameters["log_spread"])
        loss = -likelihood.mean(1)
        model.descend(loss, rate)
    return model


def chain_step(
    model: Player, corruption: float, states: Tensor, noises: tuple[Tensor, Tensor]
) -> Tensor:
    """A step of an autoencoder r: x~ = x + corruption * noise, then x' from N(r(x~), s^2 I)."""
    corrupting, drawing = noises
    corrupted = states + corruption * corrupting
    means = model.outputs(corrupted)
    return noisy(means, model, drawing)


def chain_samples(config: DegenerateConfig, streams: Streams, level: int) -> ModelSamples:
    """Samples of the autoencoder's chains at a corruption, by its index."""
    corruption = config.corruptions[level]
    # A hundred parts a level: no two of them share random numbers.
    part = _PARTS["DAE"] + 100 * level
    model = train_autoencoder(config, streams, corruption, part)

    def step(k: int, states: Tensor) -> Tensor:
        corrupting = streams.normal("evaluation", k, CURVE_SAMPLES, 2, part=part + 1)
        drawing = streams.normal("evaluation", k, CURVE_SAMPLES, 2, part=part + 2)
        return chain_step(model, corruption, states, (corrupting, drawing))

    samples, crossed = follow(step, config, streams, part)
    return ModelSamples(samples, _spread(model), crossed)


def free_energy(parameters: Mapping[str, Tensor], visible: Tensor) -> Tensor:
    """F(v) = |v - b|^2 / 2 s^2 - sum_j log(1 + exp(c_j + w_j v / s)), with p(v) ~ exp(-F(v)).

    The joint is p(v, h) ~ exp(-|v - b|^2 / 2 s^2 + c h + v W h / s), for h in {0, 1}.

    Args:
        visible: (seeds, n, 2).

    Returns:
        (seeds, n).
    """
    spread = parameters["log_spread"].exp()
    deviations = (visible - parameters["visible"]) / spread
    pull = deviations.square().sum(2) / 2
    scaled = visible / spread
    inputs = torch.baddbmm(parameters["hidden"], scaled, parameters["weight"])
    return pull - softplus(inputs).sum(2)


def gibbs_step(
    parameters: Mapping[str, Tensor], visible: Tensor, uniform: Tensor, noise: Tensor
) -> Tensor:
    """h from p(h|v), then v from p(v|h) = N(b + s W h, s^2 I).

    Args:
        uniform: (seeds, n, hidden), by which h is drawn; `noise` (seeds, n, 2) that of v.
    """
    spread = parameters["log_spread"].exp()
    weight = parameters["weight"]
    scaled = visible / spread
    inputs = torch.baddbmm(parameters["hidden"], scaled, weight)
    probabilities = inputs.sigmoid()
    hidden = (uniform < probabilities).to(visible)
    from_hidden = hidden @ weight.transpose(1, 2)
    deviations = spread * (from_hidden + noise)
    return parameters["visible"] + deviations


def _gibbs(
    model: Player, streams: Streams, purpose: Purpose, step: int, visible: Tensor, part: int
) -> Tensor:
    count = visible.shape[1]
    units = model.parameters["hidden"].shape[2]
    uniform = streams.uniform(purpose, step, count, units, part=part)
    noise = streams.normal(purpose, step, count, 2, part=part + 1)
    return gibbs_step(model.parameters, visible, uniform, noise)


def train_rbm(config: DegenerateConfig, streams: Streams) -> Player:
    """By persistent contrastive divergence (Tieleman 2008), a Gibbs step per update.

    The chains start at data.
    """
    part = _PARTS["RBM"]
    count = config.batch_size
    start = streams.normal("init", 0, 2, config.binary_units, part=part)
    zero = torch.zeros_like(start[:, :1, :1])
    parameters = {
        "weight": 0.1 * start,
        "visible": zero.expand(-1, 1, 2).clone(),
        "hidden": torch.zeros_like(start[:, :1]),
        "log_spread": zero.clone(),
    }
    model = new_player("rbm", 0, parameters)
    # The chains start at data of a step that no update draws.
    chains = draw_data(streams, config.updates, count, part)
    for update, rate in _falling(config.likelihood_rate, config.updates):
        with torch.no_grad():
            chains = _gibbs(model, streams, "noise", update, chains, part + 1)
        points = draw_data(streams, update, count, part)
        at_data = free_energy(model.parameters, points)
        at_chains = free_energy(model.parameters, chains)
        # Its gradient is that of -log p(points), with the chains in place of the model's mean.
        differences_of_energy = at_data - at_chains
        loss = differences_of_energy.mean(1)
        model.descend(loss, rate)
    return model


def rbm_samples(config: DegenerateConfig, streams: Streams) -> ModelSamples:
    """Samples of the RBM's chains."""
    part = _PARTS["RBM"]
    model = train_rbm(config, streams)

    def step(k: int, states: Tensor) -> Tensor:
        return _gibbs(model, streams, "evaluation", k, states, part + 1)

    samples, crossed = follow(step, config, streams, part)
    return ModelSamples(samples, _spread(model), crossed)


# The comparison.


def chosen_level(crossed: Sequence[float | None]) -> int:
    """The index of the lowest corruption whose chains mix, of one seed; the highest if none does.

    Args:
        crossed: for every corruption, the share of chains that changed the half circle.
    """
    for level, share in enumerate(crossed):
        # The lowest that mixes is the sharpest that a chain can be: the comparison favours the
        # chains.
        if share is not None and share >= MIXES:
            return level
    return len(crossed) - 1


class Degenerate(Experiment[DegenerateConfig]):
    """S2.

    Args:
        substitute: what is measured in place of the outputs of G.
    """

    Config = DegenerateConfig
    statements: ClassVar[tuple[str, ...]] = ("S2",)

    def __init__(self, substitute: Callable[[Tensor], Tensor] = lambda outputs: outputs) -> None:
        self._substitute = substitute

    def run(
        self,
        config: DegenerateConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains all four, the autoencoder at every corruption; `splits` is not used."""
        chains = [f"DAE {corruption:g}" for corruption in config.corruptions]
        trained = self._trained(config, Streams(seeds, device), chains)
        models = {name: _measures(model) for name, model in trained.items()}
        crossed_by_chain = [models[name]["crossed"] for name in chains]
        shares_of_seeds = zip(*crossed_by_chain, strict=True)
        # By seed: each has its own least corruption at which its chains mix.
        mixing = [chains[chosen_level(shares)] for shares in shares_of_seeds]
        # Of the autoencoder's chains, only the one that mixes is drawn.
        drawn = [name for name in trained if name not in chains]
        drawn.append(mixing[0])
        pictures: dict[str, list[list[float]]] = {}
        for name in drawn:
            samples = trained[name].samples[0, :CURVE_SAMPLES_DRAWN]
            # Three digits are more than a picture shows, and keep the result small.
            pictures[name] = samples.double().round(decimals=3).tolist()
        series = {
            "order": list(trained),
            "models": models,
            "mixing": mixing,
            "pictures": pictures,
        }
        return ExperimentResult({"S2": _checks(models, mixing, chains)}, series)

    def _trained(
        self, config: DegenerateConfig, streams: Streams, chains: Sequence[str]
    ) -> dict[str, ModelSamples]:
        """Samples of every model by its name; `chains` are those of the autoencoder."""
        models: dict[str, ModelSamples] = {}
        share = 1 / (4 + len(chains))  # of a model's updates; the game makes twice as many
        with task("adversarial nets", 2 * share):
            outputs = adversarial_samples(config, streams)
            samples = self._substitute(outputs)
            models["adversarial nets"] = ModelSamples(samples)
        with task("VAE", share):
            models["VAE"] = vae_samples(config, streams)
        with task("RBM", share):
            models["RBM"] = rbm_samples(config, streams)
        for name in each(chains):
            level = chains.index(name)
            models[name] = chain_samples(config, streams, level)
        return models


def _measures(model: ModelSamples) -> Measures:
    samples = model.samples
    measures = curve_measures(samples)
    if model.spread is not None:
        measures["spread"] = where_finite(model.spread, samples)
    if model.crossed is not None:
        share = model.crossed.double().mean(1)
        measures["crossed"] = where_finite(share, samples)
    return measures


def _distance_of_mixing(
    models: Mapping[str, Measures], chains: Sequence[str], seed_index: int
) -> float | None:
    """The distance of the last of some chains of one seed; None where one of them failed.

    A chain that failed might have mixed at its lower corruption, and been the one to compare.
    """
    distances = [models[name]["distance"][seed_index] for name in chains]
    return None if None in distances else distances[-1]


def _checks(
    models: Mapping[str, Measures], mixing: Sequence[str], chains: Sequence[str]
) -> StatementChecks:
    nets = models["adversarial nets"]
    rbm = models["RBM"]
    # Corruptions rise (`corruptions`), so the first chain is the least noisy one.
    least_noisy = models[chains[0]]
    noisiest = models[chains[-1]]
    of_mixing = [
        _distance_of_mixing(models, chains[: chains.index(name) + 1], seed)
        for seed, name in enumerate(mixing)
    ]
    return {
        "log_ratio_of_distances_of_the_chain_that_mixes": log_ratios(of_mixing, nets["distance"]),
        "log_ratio_of_distances_of_the_rbm": log_ratios(rbm["distance"], nets["distance"]),
        "coverage_of_adversarial_nets": nets["coverage"],
        "log_ratio_of_distances_of_the_noisiest_chain": log_ratios(
            noisiest["distance"], least_noisy["distance"]
        ),
        "crossings_gained_by_the_noisiest_chain": differences(
            noisiest["crossed"], least_noisy["crossed"]
        ),
    }


EXPERIMENT = Degenerate()
