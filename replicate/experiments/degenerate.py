"""Sharp and degenerate distributions (S2, section 6): data on two half circles in the plane, learnt by four models.

The data lies exactly on the curves, so that it has no density, and in two pieces, so that a chain must cross a gap.
Adversarial nets give G(z) as it is. The three others add the normal noise that their likelihood asks for, of a spread
that each learns: a VAE; a Markov chain of a denoising autoencoder (Bengio et al. 2013), at several corruptions; and an
RBM with normal visible units, by Gibbs steps. All chains start on the first half circle.

Sharpness is the mean distance of samples to the curves; coverage tells a G that is sharp from one that is collapsed.
All models make equal numbers of updates. The VAE is shown and decides nothing: its spread may fall to 0 with further
training. That of a chain is bound to the corruption at which it mixes.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, ExperimentConfig, Found
from replicate.experiments.fixed.degenerate import ARCS, CENTRE, NEAR, SAMPLES, SHOWN
from replicate.experiments.line_game import Player
from replicate.loops import each, steps, task
from replicate.models import perceptron
from replicate.params import OURS, setting
from replicate.training.adam import moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Purpose, Streams

#: A chain mixes at a corruption if that share of the chains changes the half circle.
MIXES = 0.5
#: First of the parts that a model draws its random numbers by; each corruption takes one more block of 100.
_PARTS = {"adversarial nets": 0, "VAE": 100, "RBM": 200, "DAE": 300}

#: Measure -> one value a seed; None where its samples are not finite.
Measures = dict[str, list[float | None]]


class DegenerateConfig(ExperimentConfig):
    """The four models and their chains."""

    updates: int = setting(3000, "of each model; in the game rounds, an update of D, then one of G", OURS, ge=1)
    batch_size: int = setting(64, "samples of the data, of G, and chains of the RBM, per update", OURS, ge=1)
    code_dimension: int = setting(2, "length of z, standard normal, of adversarial nets and VAE", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting(
        (64, 64), "rectified units per layer, of every network", OURS, min_length=1
    )
    binary_units: int = setting(64, "hidden units of the RBM", OURS, ge=1)
    game_rate: PositiveFloat = setting(
        0.003, "of Adam for G and D at the start; falls linearly to 0", "ours: of 0.003 and 0.01 the sharper"
    )
    likelihood_rate: PositiveFloat = setting(
        0.01, "of Adam for the other models at the start; falls linearly to 0",
        "ours: of 0.001, 0.003 and 0.01 that by which the VAE is sharpest, of the last two the RBM",
    )  # fmt: skip
    corruptions: tuple[PositiveFloat, ...] = setting(
        (0.05, 0.1, 0.2, 0.4, 0.8), "standard deviations of the autoencoder's corruption, rising", OURS, min_length=2
    )
    burn_in: int = setting(100, "steps of a chain before those that are kept", OURS, ge=0)
    kept: int = setting(
        100, "steps in which a chain may change the half circle; its last state is a sample", OURS, ge=1
    )


def on_the_curves(halves: Tensor, shares: Tensor) -> Tensor:
    """Points (..., 2): at that share of the way along the first (0) or second (1) half circle."""
    angles = math.pi * shares
    first = torch.stack([angles.cos(), angles.sin()], -1) + torch.tensor(CENTRE).to(shares)
    return torch.where(halves[..., None] == 0, first, -first)


def draw_data(streams: Streams, step: int, count: int, part: int) -> Tensor:
    """(seeds, count, 2) points, uniform along the curves."""
    drawn = 2 * streams.uniform("noise", step, count, part=part)
    return on_the_curves(drawn.floor(), drawn.frac())


def nearest(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of points (..., 2) the distance to the curves, the half circle that is nearest, and the share of the way along.

    Below the ends of a half circle the nearest of its points is an end.
    """
    found = []
    for turned in (points, -points):
        x, y = (turned - torch.tensor(CENTRE).to(turned)).unbind(-1)
        distance = torch.where(y >= 0, (torch.hypot(x, y) - 1).abs(), torch.hypot(x.abs() - 1, y))
        found.append((distance, torch.atan2(y.clamp_min(0), x) / math.pi))
    second = found[1][0] < found[0][0]
    distance, share = (torch.where(second, two, one) for one, two in zip(*found, strict=True))
    return distance, second.long(), share


def _of_finite(values: Tensor, samples: Tensor) -> list[float | None]:
    finite = samples.isfinite().all(2).all(1).tolist()
    return [float(value) if good else None for value, good in zip(values, finite, strict=True)]


def judged(samples: Tensor) -> Measures:
    """Of every seed's samples (seeds, n, 2): mean distance to the curves, and share of the arcs that are covered."""
    distance, half, share = nearest(samples.double().nan_to_num())
    each = ARCS // 2
    arc = half * each + (share * each).long().clamp_max(each - 1)
    covered = one_hot(torch.where(distance < NEAR, arc, ARCS), ARCS + 1).amax(1)[:, :-1]
    found = {"distance": distance.mean(1), "coverage": covered.double().mean(1)}
    return {name: _of_finite(values, samples) for name, values in found.items()}


def _player(streams: Streams, part: int, **sizes: Sequence[int]) -> Player:
    """Fresh networks of those sizes that learn together, and `log_spread` (seeds, 1, 1) of the noise, which is 0."""
    parameters: dict[str, Tensor] = {}
    for name, widths in sizes.items():
        parameters |= perceptron.initial(streams, name, widths, part)
        part += len(widths)
    parameters["log_spread"] = torch.zeros_like(next(iter(parameters.values()))[:, :1, :1])
    return _learning(parameters, next(iter(sizes)), len(next(iter(sizes.values()))) - 1)


def _learning(parameters: dict[str, Tensor], network: str, layers: int) -> Player:
    return Player(network, layers, {n: p.requires_grad_() for n, p in parameters.items()}, moments(parameters))


def log_likelihood(points: Tensor, means: Tensor, log_spread: Tensor) -> Tensor:
    """log N(x; mean, s^2 I) of points (seeds, n, 2) up to a constant: (seeds, n), nats."""
    return -((points - means) / log_spread.exp()).square().sum(2) / 2 - 2 * log_spread[..., 0]


def noisy(means: Tensor, model: Player, noise: Tensor) -> Tensor:
    """What the model draws about `means`, by its own spread."""
    return means + model.parameters["log_spread"].exp() * noise


def _falling(rate: float, updates: int) -> Iterator[tuple[int, float]]:
    """The number of every update, and its rate."""
    for update in steps(updates):
        yield update, rate * (1 - update / updates)


def adversarial_samples(config: DegenerateConfig, streams: Streams) -> Tensor:
    """(seeds, SAMPLES, 2) of G after Algorithm 1 with k = 1, by -log D(G(z))."""
    part, count = _PARTS["adversarial nets"], config.batch_size
    generator, discriminator = (
        _learning(perceptron.initial(streams, name, sizes, at), name, len(sizes) - 1)
        for name, sizes, at in (
            ("generator", (config.code_dimension, *config.hidden, 2), part),
            ("discriminator", (2, *config.hidden, 1), part + len(config.hidden) + 1),
        )
    )
    for update, rate in _falling(config.game_rate, config.updates):
        codes = [streams.normal("noise", update, count, config.code_dimension, part=part + k) for k in (1, 2)]
        with torch.no_grad():
            fake = generator.outputs(codes[0])
        rows = torch.cat([draw_data(streams, update, count, part), fake], 1)
        logits = discriminator.outputs(rows)[..., 0]
        discriminator.descend(discriminator_loss(logits[:, :count], logits[:, count:]), rate)
        logits = discriminator.outputs(generator.outputs(codes[1]))[..., 0]
        generator.descend(generator_loss(logits, "non_saturating"), rate)
    with torch.no_grad():
        return generator.outputs(streams.normal("evaluation", 0, SAMPLES, config.code_dimension, part=part))


def vae_loss(model: Player, points: Tensor, noise: Tensor) -> Tensor:
    """The negative of the bound on log p(x), (seeds,), nats and up to a constant.

    Args:
        model: decoder and, with as many layers, encoder, which gives the mean of q(z|x) and the log of its deviation.
        noise: standard normal, (seeds, n, code), of one z a point.
    """
    mean, log_deviation = perceptron.outputs(points, model.parameters, "encoder", model.layers).chunk(2, 2)
    decoded = model.outputs(mean + log_deviation.exp() * noise)
    divergence = (mean.square() + (2 * log_deviation).exp() - 1).sum(2) / 2 - log_deviation.sum(2)
    return (divergence - log_likelihood(points, decoded, model.parameters["log_spread"])).mean(1)


def vae_samples(config: DegenerateConfig, streams: Streams) -> tuple[Tensor, Tensor]:
    """(seeds, SAMPLES, 2) drawn from p(x|z), and the spread of p(x|z), (seeds,)."""
    part, code = _PARTS["VAE"], config.code_dimension
    model = _player(streams, part, decoder=(code, *config.hidden, 2), encoder=(2, *config.hidden, 2 * code))
    for update, rate in _falling(config.likelihood_rate, config.updates):
        noise = streams.normal("noise", update, config.batch_size, code, part=part + 1)
        model.descend(vae_loss(model, draw_data(streams, update, config.batch_size, part), noise), rate)
    z, noise = (streams.normal("evaluation", 0, SAMPLES, n, part=part + k) for k, n in ((0, code), (1, 2)))
    with torch.no_grad():
        return noisy(model.outputs(z), model, noise), model.parameters["log_spread"].exp()[:, 0, 0]


#: From the number of a step and the states (seeds, n, 2) to the next states.
Step = Callable[[int, Tensor], Tensor]


def follow(step: Step, config: DegenerateConfig, streams: Streams, part: int) -> tuple[Tensor, Tensor]:
    """The last states (seeds, SAMPLES, 2) of chains that start on the first half circle, and which changed it, bool.

    A chain has changed the half circle if in the kept steps it was nearest to both.
    """
    shares = streams.uniform("evaluation", 0, SAMPLES, part=part)
    states = on_the_curves(torch.zeros_like(shares), shares)
    with torch.no_grad():
        for k in range(config.burn_in):
            states = step(k, states)
        before = nearest(states)[1]
        changed = torch.zeros_like(before, dtype=torch.bool)
        for k in range(config.burn_in, config.burn_in + config.kept):
            states = step(k, states)
            changed |= nearest(states)[1] != before
    return states, changed


def chain_step(model: Player, corruption: float, states: Tensor, noises: tuple[Tensor, Tensor]) -> Tensor:
    """One step of the chain of an autoencoder r: x~ = x + corruption * noise, then x' from N(r(x~), s^2 I)."""
    return noisy(model.outputs(states + corruption * noises[0]), model, noises[1])


def train_autoencoder(config: DegenerateConfig, streams: Streams, corruption: float, part: int) -> Player:
    """Maximises log N(x; r(x~), s^2 I) over r and s; at its best s^2 is the variance of the residuals."""
    model = _player(streams, part, autoencoder=(2, *config.hidden, 2))
    for update, rate in _falling(config.likelihood_rate, config.updates):
        points = draw_data(streams, update, config.batch_size, part)
        noise = streams.normal("noise", update, config.batch_size, 2, part=part + 1)
        means = model.outputs(points + corruption * noise)
        model.descend(-log_likelihood(points, means, model.parameters["log_spread"]).mean(1), rate)
    return model


def free_energy(parameters: Mapping[str, Tensor], visible: Tensor) -> Tensor:
    """F(v) = |v - b|^2 / 2 s^2 - sum_j log(1 + exp(c_j + w_j v / s)), with p(v) ~ exp(-F(v)); (seeds, n).

    The joint is p(v, h) ~ exp(-|v - b|^2 / 2 s^2 + c h + v W h / s), for h in {0, 1}.
    """
    scaled = visible / parameters["log_spread"].exp()
    pull = ((visible - parameters["visible"]) / parameters["log_spread"].exp()).square().sum(2) / 2
    return pull - softplus(torch.baddbmm(parameters["hidden"], scaled, parameters["weight"])).sum(2)


def gibbs_step(parameters: Mapping[str, Tensor], visible: Tensor, uniform: Tensor, noise: Tensor) -> Tensor:
    """h from p(h|v), by `uniform` (seeds, n, hidden), then v from p(v|h) = N(b + s W h, s^2 I), by `noise`."""
    spread = parameters["log_spread"].exp()
    chances = torch.baddbmm(parameters["hidden"], visible / spread, parameters["weight"]).sigmoid()
    hidden = (uniform < chances).to(visible)
    return parameters["visible"] + spread * (hidden @ parameters["weight"].transpose(1, 2) + noise)


def _gibbs(model: Player, streams: Streams, purpose: Purpose, step: int, visible: Tensor, part: int) -> Tensor:
    uniform = streams.uniform(purpose, step, visible.shape[1], model.parameters["hidden"].shape[2], part=part)
    noise = streams.normal(purpose, step, visible.shape[1], 2, part=part + 1)
    return gibbs_step(model.parameters, visible, uniform, noise)


def train_rbm(config: DegenerateConfig, streams: Streams) -> Player:
    """By persistent contrastive divergence (Tieleman 2008), a Gibbs step per update; the chains start at data."""
    part, count, units = _PARTS["RBM"], config.batch_size, config.binary_units
    start = streams.normal("init", 0, 2, units, part=part)
    parameters = {"weight": 0.1 * start, "visible": torch.zeros_like(start[:, :1, :1]).expand(-1, 1, 2).clone()}
    parameters |= {"hidden": torch.zeros_like(start[:, :1]), "log_spread": torch.zeros_like(start[:, :1, :1])}
    model, chains = _learning(parameters, "rbm", 0), draw_data(streams, config.updates, count, part)
    for update, rate in _falling(config.likelihood_rate, config.updates):
        with torch.no_grad():
            chains = _gibbs(model, streams, "noise", update, chains, part + 1)
        points = draw_data(streams, update, count, part)
        model.descend((free_energy(model.parameters, points) - free_energy(model.parameters, chains)).mean(1), rate)
    return model


def chain_samples(config: DegenerateConfig, streams: Streams, level: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of the autoencoder at a corruption: samples, chains that changed the half circle, and its spread (seeds,)."""
    corruption, part = config.corruptions[level], _PARTS["DAE"] + 100 * level
    model = train_autoencoder(config, streams, corruption, part)

    def step(k: int, states: Tensor) -> Tensor:
        one, two = (streams.normal("evaluation", k, SAMPLES, 2, part=part + 1 + which) for which in (0, 1))
        return chain_step(model, corruption, states, (one, two))

    return *follow(step, config, streams, part), model.parameters["log_spread"].detach().exp()[:, 0, 0]


def rbm_samples(config: DegenerateConfig, streams: Streams) -> tuple[Tensor, Tensor, Tensor]:
    """Of the RBM: samples, chains that changed the half circle, and its spread (seeds,)."""
    model, part = train_rbm(config, streams), _PARTS["RBM"]
    found = follow(lambda k, states: _gibbs(model, streams, "evaluation", k, states, part + 1), config, streams, part)
    return *found, model.parameters["log_spread"].detach().exp()[:, 0, 0]


def chosen_level(crossed: Sequence[float | None]) -> int:
    """The lowest corruption, by its place, whose chains mix, of one seed; the highest where none does."""
    return next((k for k, share in enumerate(crossed) if share is not None and share >= MIXES), len(crossed) - 1)


def _log_ratio(ones: Sequence[float | None], others: Sequence[float | None]) -> list[float | None]:
    """log(one / other) per seed; None where one is unknown or not above 0."""
    return [math.log(a / b) if a and b else None for a, b in zip(ones, others, strict=True)]


class Degenerate(Experiment):
    """S2.

    Args:
        seen: what is judged in place of the outputs of G.
    """

    Config = DegenerateConfig
    claims: ClassVar[tuple[str, ...]] = ("S2",)

    def __init__(self, seen: Callable[[Tensor], Tensor] = lambda outputs: outputs) -> None:
        self._seen = seen

    def run(self, config: DegenerateConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Trains all four, the autoencoder at every corruption; `splits` is not used."""
        streams = Streams(seeds, device)
        samples, spreads, changed = {}, {}, {}
        chains = [f"DAE {corruption:g}" for corruption in config.corruptions]
        share = 1 / (4 + len(chains))  # of a model's updates; the game makes twice as many
        with task("adversarial nets", 2 * share):
            samples["adversarial nets"] = self._seen(adversarial_samples(config, streams))
        with task("VAE", share):
            samples["VAE"], spreads["VAE"] = vae_samples(config, streams)
        with task("RBM", share):
            samples["RBM"], changed["RBM"], spreads["RBM"] = rbm_samples(config, streams)
        for name in each(chains):
            samples[name], changed[name], spreads[name] = chain_samples(config, streams, chains.index(name))
        models: dict[str, Measures] = {name: judged(rows) for name, rows in samples.items()}
        for name, value in spreads.items():
            models[name]["spread"] = _of_finite(value, samples[name])
        for name, chain in changed.items():
            models[name]["crossed"] = _of_finite(chain.double().mean(1), samples[name])
        levels = [chosen_level(shares) for shares in zip(*(models[name]["crossed"] for name in chains), strict=True)]
        mixing = [chains[level] for level in levels]
        pictured = [*(name for name in samples if name not in chains), mixing[0]]
        series = {
            "order": list(samples),
            "models": models,
            "mixing": mixing,
            "pictures": {name: samples[name][0, :SHOWN].double().round(decimals=3).tolist() for name in pictured},
        }
        return Found({"S2": _checks(models, mixing, chains)}, series)


def _checks(
    models: Mapping[str, Measures], mixing: Sequence[str], chains: Sequence[str]
) -> dict[str, float | list[float | None]]:
    sharp, first, last = models["adversarial nets"]["distance"], models[chains[0]], models[chains[-1]]
    of_mixing = [models[name]["distance"][seed] for seed, name in enumerate(mixing)]
    crossed = zip(last["crossed"], first["crossed"], strict=True)
    return {
        "log_ratio_of_distances_of_the_chain_that_mixes": _log_ratio(of_mixing, sharp),
        "log_ratio_of_distances_of_the_rbm": _log_ratio(models["RBM"]["distance"], sharp),
        "coverage_of_adversarial_nets": models["adversarial nets"]["coverage"],
        "log_ratio_of_distances_of_the_noisiest_chain": _log_ratio(last["distance"], first["distance"]),
        "crossings_gained_by_the_noisiest_chain": [None if a is None or b is None else a - b for a, b in crossed],
    }


EXPERIMENT = Degenerate()
