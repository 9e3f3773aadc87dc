"""Symbols in place of pixels (L4, lecture slides): sequences of a language that is known, learnt in four ways.

The language is a Markov chain over a few symbols, so that p_data of every sequence is known. G is one too, with free
probabilities: it can be p_data itself, and p_g is known as well. It chooses a symbol by the largest of its
log-probabilities plus Gumbel noise (Gumbel 1954; Maddison, Mnih & Teh 2017), which draws from them exactly.

A choice does not move with the parameters by a little, so that no gradient comes through it. What is done instead:

- soft outputs: softmax((log-probabilities + noise) / temperature) in place of the choice. D sees points within the
  simplex, and data at its corners;
- straight-through relaxation (Jang, Gu & Poole 2017): D sees choices, and G has the gradient of soft outputs;
- score function (Williams 1992): E[(r - mean r) d log p_g(x)] of the reward r = log D(x).

All play Algorithm 1 with k = 1. Beside them G learns by maximum likelihood from as many samples. The game with soft
outputs is shown and decides nothing: it ends further from the data than it began.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, one_hot

from replicate.datasets.base import Splits
from replicate.experiments.base import Checks, Experiment, ExperimentConfig, Found
from replicate.experiments.game import per_seed
from replicate.experiments.line_game import Player
from replicate.loops import each, steps, task
from replicate.models import perceptron
from replicate.params import OURS, setting
from replicate.training.adam import moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

#: Ways to learn: the games that are judged, one that is shown, and what they are compared with.
GAMES, SHOWN, LIKELIHOOD = ("score function", "straight-through"), "soft outputs", "maximum likelihood"
#: Looks at a way while it learns.
LOOKS = 20
#: Sequences that D is judged on, of each kind and seed.
JUDGED = 2000
#: How far the parameters of G are moved, in float64, to see whether its objective moves, and in how many directions.
NUDGE, DIRECTIONS = 1e-9, 8

#: From log-probabilities plus Gumbel noise (..., symbols) to what D is shown of a symbol, of the same shape.
Choice = Callable[[Tensor], Tensor]
#: From a way to learn to the one that is judged in its place.
Instead = Callable[[str], str]


class SymbolsConfig(ExperimentConfig):
    """The language, G, D, and how they learn."""

    symbols: int = setting(4, "of the language", OURS, ge=2)
    length: int = setting(4, "symbols of a sequence", OURS, ge=2)
    updates: int = setting(2000, "of G; in the games rounds, an update of D, then one of G", OURS, ge=LOOKS)
    batch_size: int = setting(64, "sequences of the language, and of G, per update", OURS, ge=2)
    hidden: tuple[PositiveInt, ...] = setting((64,), "rectified units per layer of D", OURS, min_length=1)
    temperature: PositiveFloat = setting(1.0, "of the soft outputs", OURS)
    relaxation_temperature: PositiveFloat = setting(
        0.5,
        "of the straight-through relaxation",
        "ours: of 1 and 0.5, and of soft outputs at 0.05 to 1 alone, that which ends nearest the data, seeds 100-103",
    )
    told_updates: int = setting(200, "of a D that tells outputs of a perfect G from data", OURS, ge=LOOKS)
    discriminator_rate: PositiveFloat = setting(
        0.01,
        "of Adam for D at the start; falls linearly to 0 in games",
        "ours: of 0.001, 0.003, 0.01 and 0.03 that by which the score function ends nearest the data, seeds 100-103",
    )
    generator_rate: PositiveFloat = setting(
        0.01, "of Adam for G at the start; falls linearly to 0", "ours: likewise of 0.003, 0.01 and 0.03"
    )


def hard(scores: Tensor) -> Tensor:
    """The symbol of the largest score alone: a corner of the simplex."""
    return one_hot(scores.argmax(-1), scores.shape[-1]).to(scores)


def soft(temperature: float) -> Choice:
    """All symbols, the more the larger their score: a point within the simplex."""
    return lambda scores: (scores / temperature).softmax(-1)


def straight_through(temperature: float) -> Choice:
    """The symbol of the largest score, with the gradient of the soft outputs."""

    def choice(scores: Tensor) -> Tensor:
        relaxed = soft(temperature)(scores)
        return hard(scores) - relaxed.detach() + relaxed

    return choice


def language(symbols: int) -> tuple[Tensor, Tensor]:
    """Probabilities of the first symbol, (symbols,), and of a symbol after another, (symbols, symbols); float64.

    After symbol i comes most often i + 1, then i + 2, ..., each three times as often as the next; i itself most rarely.
    """
    falling = torch.tensor([3.0**-k for k in range(symbols)], dtype=torch.float64)
    after = torch.stack([falling.roll(i + 1) for i in range(symbols)])
    return falling / falling.sum(), after / after.sum(1, keepdim=True)


def every_sequence(symbols: int, length: int) -> Tensor:
    """All sequences, (symbols^length, length * symbols): each symbol is a corner of the simplex."""
    rows = torch.tensor(list(itertools.product(range(symbols), repeat=length)))
    return one_hot(rows, symbols).flatten(1).double()


def of_language(config: SymbolsConfig, seeds: int) -> dict[str, Tensor]:
    """The parameters of a G whose p_g is p_data: log-probabilities, stacked over seeds, float64."""
    first, after = language(config.symbols)
    following = after.log().repeat(config.length - 1, 1)
    return {"first": first.log().expand(seeds, 1, -1), "following": following.expand(seeds, -1, -1)}


def untrained(config: SymbolsConfig, like: Tensor) -> dict[str, Tensor]:
    """The parameters of a G to which all sequences are alike; of the type of `like` (seeds, ...)."""
    rows = (config.length - 1) * config.symbols
    return {
        "first": like.new_zeros(len(like), 1, config.symbols),
        "following": like.new_zeros(len(like), rows, config.symbols),
    }


def log_probability(parameters: Mapping[str, Tensor], sequences: Tensor) -> Tensor:
    """log p_g of sequences (seeds, n, length * symbols) of symbols at corners of the simplex: (seeds, n), nats."""
    symbols = parameters["first"].shape[2]
    places = torch.split(sequences, symbols, 2)
    rows = torch.split(log_softmax(parameters["following"], 2), symbols, 1)
    found: Tensor = (places[0] * log_softmax(parameters["first"], 2)).sum(2)
    for before, now, after in zip(places[:-1], places[1:], rows, strict=True):
        found = found + (before @ after * now).sum(2)
    return found


def write(parameters: Mapping[str, Tensor], noise: Tensor, choice: Choice) -> Tensor:
    """Sequences of G by Gumbel noise (seeds, n, length, symbols): (seeds, n, length * symbols)."""
    symbols = noise.shape[3]
    chosen = [choice(log_softmax(parameters["first"], 2) + noise[:, :, 0])]
    rows = torch.split(log_softmax(parameters["following"], 2), symbols, 1)
    for place, after in enumerate(rows, 1):
        chosen.append(choice(chosen[-1] @ after + noise[:, :, place]))
    return torch.cat(chosen, 2)


def divergence(parameters: Mapping[str, Tensor], config: SymbolsConfig) -> Tensor:
    """KL(p_data || p_g) over all sequences, (seeds,) float64, nats."""
    sequences = every_sequence(config.symbols, config.length)[None]
    data = log_probability(of_language(config, 1), sequences)
    ours = {name: value.detach().double().cpu() for name, value in parameters.items()}
    found = log_probability(ours, sequences.expand(len(ours["first"]), -1, -1))
    return (data.exp() * (data - found)).sum(1)


class Desk:
    """Where one way to learn is followed: the language, its samples, and fresh players."""

    def __init__(self, config: SymbolsConfig, streams: Streams, part: int) -> None:
        self.config, self.streams, self._part = config, streams, 10 * part
        self.perfect = {
            name: value.to(streams.dtype) for name, value in of_language(config, len(streams.seeds)).items()
        }

    def gumbel(self, update: int, count: int, part: int, purpose: Any = "noise") -> Tensor:
        """Standard Gumbel noise, (seeds, count, length, symbols)."""
        shape = (count, self.config.length, self.config.symbols)
        drawn = self.streams.uniform(purpose, update, *shape, part=self._part + part)
        return -(-drawn.clamp(1e-7, 1 - 1e-7).log()).log()

    def data(self, update: int, count: int, purpose: Any = "noise") -> Tensor:
        """Sequences of the language, (seeds, count, length * symbols)."""
        return write(self.perfect, self.gumbel(update, count, 0, purpose), hard)

    def discriminator(self) -> Player:
        """A fresh D."""
        sizes = (self.config.length * self.config.symbols, *self.config.hidden, 1)
        return _player(perceptron.initial(self.streams, "discriminator", sizes, 0), "discriminator", len(sizes) - 1)

    def generator(self) -> Player:
        """A fresh G."""
        return _player(untrained(self.config, self.perfect["first"]), "generator", 0)


def _player(parameters: Mapping[str, Tensor], network: str, layers: int) -> Player:
    own = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    return Player(network, layers, own, moments(own))


def _tell(discriminator: Player, real: Tensor, fake: Tensor, rate: float) -> None:
    """One update of D by equation 1."""
    logits = discriminator.outputs(torch.cat([real, fake.detach()], 1))[..., 0]
    count = real.shape[1]
    discriminator.descend(discriminator_loss(logits[:, :count], logits[:, count:]), rate)


def slope_through(choice: Choice, config: SymbolsConfig, seeds: Sequence[int]) -> float:
    """The largest slope of -log D(G) along random directions of its parameters, noise fixed, of all seeds."""
    streams = Streams(seeds, torch.device("cpu"), torch.float64)
    desk, discriminator = Desk(config, streams, 0), Desk(config, streams, 0).discriminator()
    noise = desk.gumbel(0, config.batch_size, 1)

    def objective(parameters: Mapping[str, Tensor]) -> Tensor:
        logits = discriminator.outputs(write(parameters, noise, choice))[..., 0]
        return generator_loss(logits, "non_saturating")

    slopes = []
    with torch.no_grad():
        for k in range(DIRECTIONS):
            moved = {
                name: value + NUDGE * streams.normal("noise", k, *value.shape[1:], part=place)
                for place, (name, value) in enumerate(desk.perfect.items(), 5)
            }
            slopes.append((objective(moved) - objective(desk.perfect)).abs() / NUDGE)
    return float(torch.stack(slopes).max())


def _looks(updates: int) -> list[int]:
    """Updates after which there is a look: the last among them, ever further apart."""
    return sorted({max(1, round(updates ** (k / (LOOKS - 1)))) for k in range(LOOKS)})


def told(choice: Choice, config: SymbolsConfig, streams: Streams) -> dict[str, list[Any]]:
    """How often a D is right that learns to tell the outputs of a perfect G from data: by update, per seed."""
    desk = Desk(config, streams, 1)
    discriminator = desk.discriminator()
    curve: dict[str, list[Any]] = {"update": _looks(config.told_updates), "accuracy": []}
    fresh = desk.data(0, JUDGED, "evaluation")
    seen = write(desk.perfect, desk.gumbel(0, JUDGED, 1, "evaluation"), choice)
    for update in steps(config.told_updates):
        fake = write(desk.perfect, desk.gumbel(update, config.batch_size, 1), choice)
        _tell(discriminator, desk.data(update, config.batch_size), fake, config.discriminator_rate)
        if update + 1 in curve["update"]:
            with torch.no_grad():
                right = [(discriminator.outputs(rows)[..., 0] > 0).double().mean(1) for rows in (fresh, seen)]
            curve["accuracy"].append(per_seed((right[0] + 1 - right[1]) / 2))
    return curve


def learn(way: str, config: SymbolsConfig, streams: Streams) -> dict[str, list[Any]]:
    """KL(p_data || p_g) of a G that learns in that way: by update, per seed."""
    desk = Desk(config, streams, 2)
    generator, discriminator = desk.generator(), desk.discriminator()
    choices = {"straight-through": straight_through(config.relaxation_temperature), SHOWN: soft(config.temperature)}
    choice = choices.get(way, hard)
    curve: dict[str, list[Any]] = {"update": _looks(config.updates), "divergence": []}
    for update in steps(config.updates):
        fade = 1 - update / config.updates
        real, noise = desk.data(update, config.batch_size), desk.gumbel(update, config.batch_size, 1)
        if way == LIKELIHOOD:
            loss = -log_probability(generator.parameters, real).mean(1)
        else:
            fake = write(generator.parameters, noise, choice)
            _tell(discriminator, real, fake, config.discriminator_rate * fade)
            loss = _objective(way, generator, discriminator, fake)
        generator.descend(loss, config.generator_rate * fade)
        if update + 1 in curve["update"]:
            curve["divergence"].append(per_seed(divergence(generator.parameters, config)))
    return curve


def _objective(way: str, generator: Player, discriminator: Player, fake: Tensor) -> Tensor:
    """What G descends on in a game, (seeds,); that of the score function has its gradient alone."""
    logits = discriminator.outputs(fake)[..., 0]
    if way != "score function":
        return generator_loss(logits, "non_saturating")
    reward = logsigmoid(logits).detach()
    advantage = reward - reward.mean(1, keepdim=True)
    return -(advantage * log_probability(generator.parameters, fake)).mean(1)


class Symbols(Experiment):
    """L4.

    Args:
        choice: how G chooses a symbol.
        relaxed: what stands in for the choice where outputs are soft; None: by the temperature.
        instead: the way to learn that is judged in the place of another one.
    """

    Config = SymbolsConfig
    claims: ClassVar[tuple[str, ...]] = ("L4",)

    def __init__(self, choice: Choice = hard, relaxed: Choice | None = None, instead: Instead = str) -> None:
        self._choice, self._relaxed, self._instead = choice, relaxed, instead

    def run(self, config: SymbolsConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """The slope, the two kinds of outputs, and all ways; `splits` is not used."""
        streams = Streams(seeds, device)
        outputs = {"soft": self._relaxed or soft(config.temperature), "hard": hard}
        share = 2 * config.told_updates / (2 * config.told_updates + 7 * config.updates)
        with task("outputs", share):
            accuracies = {name: told(choice, config, streams) for name, choice in each([*outputs.items()], "{0[0]}")}
        ways = {way: learn(self._instead(way), config, streams) for way in each((*GAMES, SHOWN, LIKELIHOOD))}
        ends = {way: curve["divergence"][-1] for way, curve in ways.items()}
        checks: Checks = {
            "L4": {
                "slope_through_the_choice": slope_through(self._choice, config, seeds),
                "accuracy_on_soft_outputs": accuracies["soft"]["accuracy"][-1],
                "accuracy_on_hard_outputs": accuracies["hard"]["accuracy"][-1],
                "log_ratio_of_divergences_by_score_function": _log_ratio(ends["score function"], ends[LIKELIHOOD]),
                "log_ratio_of_divergences_by_relaxation": _log_ratio(ends["straight-through"], ends[LIKELIHOOD]),
            }
        }
        series = {"told": accuracies, "ways": ways, "start": _start(config), "sequences": config.symbols**config.length}
        return Found(checks, series)


def _start(config: SymbolsConfig) -> float:
    """KL(p_data || p_g) of a G to which all sequences are alike, nats."""
    return float(divergence(untrained(config, torch.zeros(1, dtype=torch.float64)), config)[0])


def _log_ratio(ones: Sequence[float | None], others: Sequence[float | None]) -> list[float | None]:
    """log(one / other) per seed; None where one is unknown or not above 0."""
    return [math.log(a / b) if a and b and a > 0 and b > 0 else None for a, b in zip(ones, others, strict=True)]


EXPERIMENT = Symbols()
