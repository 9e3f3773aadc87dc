"""Symbols in place of pixels: sequences of a known language, learnt in four ways (L4, slides).

The lecture slides claim: adversarial nets are hard to apply to text, or to anything made of
symbols. A choice of a symbol does not move with the parameters by a little, so that no gradient
comes through it.

The language is a Markov chain over a few symbols, so that p_data of every sequence is known. G is
one too, with free probabilities: it can be p_data itself, and p_g is known as well. It chooses a
symbol by the largest of its log-probabilities plus Gumbel noise (Gumbel 1954; Maddison, Mnih & Teh
2017), which draws from them exactly. In place of the missing gradient are tried:

- soft outputs: softmax((log-probabilities + noise) / temperature) in place of the choice. D sees
  points within the simplex, and data at its corners;
- straight-through relaxation (Jang, Gu & Poole 2017): D sees choices, and G has the gradient of
  soft outputs;
- score function (Williams 1992): E[(r - mean r) d log p_g(x)] of the reward r = log D(x).

All play Algorithm 1 with k = 1. Beside them G learns by maximum likelihood from as many samples.

Measured: the slope of G's objective through the choice; how well a D tells soft outputs, and chosen
symbols, of a perfect G from data; and KL(p_data || p_g) at the end of each way over that of maximum
likelihood. The game with soft outputs is shown and decides nothing: it ends further from the data
than it began.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Self, TypedDict

import torch
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import log_softmax, logsigmoid, one_hot

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    PerSeed,
    geometric_looks,
    log_ratios,
    per_seed,
)
from replicate.experiments.games.player import Player, new_player
from replicate.models.parts import perceptron
from replicate.params import OURS, setting
from replicate.progress.loops import each, steps, task
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Purpose, Streams

#: Ways to learn: two games that decide, one that is shown, and what they are compared with.
SCORE_FUNCTION, STRAIGHT_THROUGH = "score function", "straight-through"
SOFT_OUTPUTS, LIKELIHOOD = "soft outputs", "maximum likelihood"
WAYS = (SCORE_FUNCTION, STRAIGHT_THROUGH, SOFT_OUTPUTS, LIKELIHOOD)
#: Looks at a way while it learns.
LOOKS = 20
#: Sequences on which D's accuracy is measured, of each kind and seed.
ACCURACY_SEQUENCES = 2000
#: How far the parameters of G are moved, in float64, to see whether its objective moves, and in how
#: many directions.
NUDGE, DIRECTIONS = 1e-9, 8

#: Most sequences of a language: divergences are sums over all of them.
MOST_SEQUENCES = 100_000

#: From log-probabilities plus Gumbel noise (..., symbols) to what D sees of a symbol, of the same
#: shape.
Choice = Callable[[Tensor], Tensor]
#: From a way to learn to the one that is measured in its place.
Substitute = Callable[[str], str]


class SymbolsConfig(ExperimentConfig):
    """The language, G, D, and how they learn."""

    symbols: int = setting(4, "of the language", OURS, ge=2)
    length: int = setting(4, "symbols of a sequence", OURS, ge=2)
    updates: int = setting(
        2000, "of G; in the games rounds, an update of D, then one of G", OURS, ge=LOOKS
    )
    batch_size: int = setting(64, "sequences of the language, and of G, per update", OURS, ge=2)
    hidden: tuple[PositiveInt, ...] = setting(
        (64,), "rectified units per layer of D", OURS, min_length=1
    )
    temperature: PositiveFloat = setting(1.0, "of the soft outputs", OURS)
    relaxation_temperature: PositiveFloat = setting(
        0.5,
        "of the straight-through relaxation",
        "ours: of 1 and 0.5, and of soft outputs at 0.05 to 1 alone, that which ends nearest the "
        "data, seeds 100-103",
    )
    told_updates: int = setting(
        200, "of a D that tells outputs of a perfect G from data", OURS, ge=LOOKS
    )
    discriminator_rate: PositiveFloat = setting(
        0.01,
        "of Adam for D at the start; falls linearly to 0 in games",
        "ours: of 0.001, 0.003, 0.01 and 0.03 that by which the score function ends nearest the "
        "data, seeds 100-103",
    )
    generator_rate: PositiveFloat = setting(
        0.01,
        "of Adam for G at the start; falls linearly to 0",
        "ours: likewise of 0.003, 0.01 and 0.03",
    )

    @model_validator(mode="after")
    def _check_sequences(self) -> Self:
        # In logarithms: the power itself may have billions of digits.
        if self.length * math.log10(self.symbols) > math.log10(MOST_SEQUENCES):
            raise ValueError(
                f"length: {self.symbols} symbols make more than {MOST_SEQUENCES:,} sequences of "
                f"length {self.length}, and divergences are sums over all of them; choose less"
            )
        return self


class AccuracyCurve(TypedDict):
    """How often D is right after some updates, rows of one share a seed."""

    update: list[int]
    accuracy: list[PerSeed]


class DivergenceCurve(TypedDict):
    """KL(p_data || p_g) after some updates, rows of one number a seed, nats."""

    update: list[int]
    divergence: list[PerSeed]


# Choices of a symbol.


def hard(scores: Tensor) -> Tensor:
    """The symbol of the largest score alone: a corner of the simplex."""
    symbols = scores.shape[-1]
    largest = scores.argmax(-1)
    # `argmax` has no gradient: this is the choice that the slides mean.
    corner = one_hot(largest, symbols)
    return corner.to(scores)


def soft(temperature: float) -> Choice:
    """All symbols, the more the larger their score: a point within the simplex."""
    return lambda scores: (scores / temperature).softmax(-1)


def straight_through(temperature: float) -> Choice:
    """The symbol of the largest score, with the gradient of the soft outputs."""

    def choice(scores: Tensor) -> Tensor:
        relaxed = soft(temperature)(scores)
        chosen = hard(scores)
        # Forwards the corner, backwards the gradient of the relaxation.
        return chosen - relaxed.detach() + relaxed

    return choice


# The language, and G, which is one too.


def language(symbols: int) -> tuple[Tensor, Tensor]:
    """Probabilities of the first symbol, (symbols,), and of a symbol after another, float64.

    After symbol i comes most often i + 1, then i + 2, ..., each three times as often as the next; i
    itself most rarely.

    Returns:
        (symbols,), and (symbols, symbols).
    """
    powers = [3.0**-k for k in range(symbols)]
    falling = torch.tensor(powers, dtype=torch.float64)
    rolled = [falling.roll(i + 1) for i in range(symbols)]
    after = torch.stack(rolled)
    totals = after.sum(1, keepdim=True)
    first_probabilities = falling / falling.sum()
    next_probabilities = after / totals
    return first_probabilities, next_probabilities


def every_sequence(symbols: int, length: int) -> Tensor:
    """All sequences, (symbols^length, length * symbols): each symbol is a corner of the simplex."""
    # All of them, so that divergences are sums and not estimates: 4^4 = 256 by default.
    sequences = itertools.product(range(symbols), repeat=length)
    rows = torch.tensor(list(sequences))
    return one_hot(rows, symbols).flatten(1).double()


def of_language(config: SymbolsConfig, seeds: int) -> dict[str, Tensor]:
    """The parameters of a G whose p_g is p_data: log-probabilities, stacked over seeds, float64."""
    first, after = language(config.symbols)
    log_first = first.log()
    # The language has one table for all positions; a G has one for each.
    log_following = after.log().repeat(config.length - 1, 1)
    return {
        "first": log_first.expand(seeds, 1, -1),
        "following": log_following.expand(seeds, -1, -1),
    }


def untrained(config: SymbolsConfig, like: Tensor) -> dict[str, Tensor]:
    """The parameters of a G to which all sequences are alike, typed as `like` (seeds, ...)."""
    seeds = len(like)
    symbols = config.symbols
    rows = (config.length - 1) * symbols
    return {
        "first": like.new_zeros(seeds, 1, symbols),
        "following": like.new_zeros(seeds, rows, symbols),
    }


def log_probability(parameters: Mapping[str, Tensor], sequences: Tensor) -> Tensor:
    """log p_g of sequences (seeds, n, length * symbols) of one-hot symbols: (seeds, n), nats."""
    first = parameters["first"]
    symbols = first.shape[2]
    log_first = log_softmax(first, 2)
    log_following = log_softmax(parameters["following"], 2)
    positions = torch.split(sequences, symbols, 2)
    tables = torch.split(log_following, symbols, 1)
    total: Tensor = (positions[0] * log_first).sum(2)
    steps_of_sequence = zip(positions[:-1], positions[1:], tables, strict=True)
    for before, now, table in steps_of_sequence:
        # A corner of the simplex picks one row of the table, then one entry of the row.
        log_next = before @ table
        log_chosen = (log_next * now).sum(2)
        total = total + log_chosen
    return total


def write(parameters: Mapping[str, Tensor], noise: Tensor, choice: Choice) -> Tensor:
    """Sequences of G by Gumbel noise (seeds, n, length, symbols): (seeds, n, length * symbols)."""
    symbols = noise.shape[3]
    first = parameters["first"]
    following = parameters["following"]
    log_first = log_softmax(first, 2)
    log_following = log_softmax(following, 2)
    tables = torch.split(log_following, symbols, 1)
    # The largest of log p + Gumbel noise is a draw from p (Gumbel-max).
    first_scores = log_first + noise[:, :, 0]
    symbol = choice(first_scores)
    sequence = [symbol]
    for position, table in enumerate(tables, 1):
        log_next = symbol @ table
        scores = log_next + noise[:, :, position]
        symbol = choice(scores)
        sequence.append(symbol)
    return torch.cat(sequence, 2)


def divergence(parameters: Mapping[str, Tensor], config: SymbolsConfig) -> Tensor:
    """KL(p_data || p_g) over all sequences, (seeds,) float64, nats."""
    sequences = every_sequence(config.symbols, config.length)[None]
    perfect = of_language(config, 1)
    log_data = log_probability(perfect, sequences)
    # In float64: the distance ends near 0, as a difference of logarithms.
    precise = {name: value.detach().double().cpu() for name, value in parameters.items()}
    seeds = len(precise["first"])
    of_seeds = sequences.expand(seeds, -1, -1)
    log_generated = log_probability(precise, of_seeds)
    log_ratios = log_data - log_generated
    # A sum over every sequence, so that the divergence is exact.
    terms = log_data.exp() * log_ratios
    return terms.sum(1)


class Lesson:
    """What a way to learn is followed with: the language, its samples, and fresh players."""

    def __init__(self, config: SymbolsConfig, streams: Streams, part: int) -> None:
        self.config = config
        self.streams = streams
        # Ten parts a lesson: no two of them share random numbers.
        self._part = 10 * part
        self.perfect: dict[str, Tensor] = {}
        seeds = len(streams.seeds)
        parameters = of_language(config, seeds)
        for name, value in parameters.items():
            self.perfect[name] = value.to(streams.device, streams.dtype)

    def gumbel(self, update: int, count: int, part: int, purpose: Purpose = "noise") -> Tensor:
        """Standard Gumbel noise, (seeds, count, length, symbols)."""
        config = self.config
        shape = (count, config.length, config.symbols)
        drawn = self.streams.uniform(purpose, update, *shape, part=self._part + part)
        # Both logarithms stay finite.
        inside = drawn.clamp(1e-7, 1 - 1e-7)
        exponential = -inside.log()
        return -exponential.log()

    def data(self, update: int, count: int, purpose: Purpose = "noise") -> Tensor:
        """Sequences of the language, (seeds, count, length * symbols)."""
        # Part 0 is the data's; those of G and of D's fake sequences follow.
        noise = self.gumbel(update, count, 0, purpose)
        return write(self.perfect, noise, hard)

    def discriminator(self) -> Player:
        """A fresh D."""
        config = self.config
        inputs = config.length * config.symbols
        sizes = (inputs, *config.hidden, 1)
        layers = len(sizes) - 1
        parameters = perceptron.initial(self.streams, "discriminator", sizes, 0)
        return new_player("discriminator", layers, parameters)

    def generator(self) -> Player:
        """A fresh G."""
        parameters = untrained(self.config, self.perfect["first"])
        return new_player("generator", 0, parameters)


def _update_discriminator(discriminator: Player, real: Tensor, fake: Tensor, rate: float) -> None:
    """One update of D by equation 1."""
    count = real.shape[1]
    # An update of D leaves G alone.
    rows = torch.cat([real, fake.detach()], 1)
    outputs = discriminator.outputs(rows)
    logits = outputs[..., 0]
    real_logits = logits[:, :count]
    fake_logits = logits[:, count:]
    loss = discriminator_loss(real_logits, fake_logits)
    discriminator.descend(loss, rate)


# The three measurements.


def slope_through(choice: Choice, config: SymbolsConfig, seeds: Sequence[int]) -> float:
    """The largest slope of -log D(G) along random directions of its parameters, noise fixed.

    The largest of all seeds.
    """
    # float64: a difference by so small a nudge would be lost in float32.
    streams = Streams(seeds, torch.device("cpu"), torch.float64)
    lesson = Lesson(config, streams, 0)
    discriminator = lesson.discriminator()
    noise = lesson.gumbel(0, config.batch_size, 1)

    def objective(parameters: Mapping[str, Tensor]) -> Tensor:
        sequences = write(parameters, noise, choice)
        outputs = discriminator.outputs(sequences)
        logits = outputs[..., 0]
        return generator_loss(logits, "non_saturating")

    slopes = []
    with torch.no_grad():
        for k in range(DIRECTIONS):
            nudged: dict[str, Tensor] = {}
            for part, (name, value) in enumerate(lesson.perfect.items(), 5):
                direction = streams.normal("noise", k, *value.shape[1:], part=part)
                # By a difference and not by autograd, which would report no gradient by rule, not
                # by measuring.
                nudged[name] = value + NUDGE * direction
            change = objective(nudged) - objective(lesson.perfect)
            slopes.append(change.abs() / NUDGE)
    return float(torch.stack(slopes).max())


def accuracy_on_outputs(choice: Choice, config: SymbolsConfig, streams: Streams) -> AccuracyCurve:
    """How often a D is right that learns to tell the outputs of a perfect G from data."""
    # The perfect G writes all outputs: what D tells is how they look, not how they are distributed.
    lesson = Lesson(config, streams, 1)
    discriminator = lesson.discriminator()
    updates = config.told_updates
    looks = geometric_looks(updates, LOOKS)
    curve: AccuracyCurve = {"update": looks, "accuracy": []}
    noise = lesson.gumbel(0, ACCURACY_SEQUENCES, 1, "evaluation")
    fresh_data = lesson.data(0, ACCURACY_SEQUENCES, "evaluation")
    fresh_outputs = write(lesson.perfect, noise, choice)
    size = config.batch_size
    rate = config.discriminator_rate
    for update in steps(updates):
        noise = lesson.gumbel(update, size, 1)
        fake = write(lesson.perfect, noise, choice)
        real = lesson.data(update, size)
        _update_discriminator(discriminator, real, fake, rate)
        if update + 1 in looks:
            on_data = _share_taken_for_data(discriminator, fresh_data)
            on_outputs = _share_taken_for_data(discriminator, fresh_outputs)
            correct_share = (on_data + 1 - on_outputs) / 2
            curve["accuracy"].append(per_seed(correct_share))
    return curve


@torch.no_grad()
def _share_taken_for_data(discriminator: Player, sequences: Tensor) -> Tensor:
    outputs = discriminator.outputs(sequences)
    logits = outputs[..., 0]
    taken_for_data = logits > 0
    return taken_for_data.double().mean(1)


def learn(way: str, config: SymbolsConfig, streams: Streams) -> DivergenceCurve:
    """KL(p_data || p_g) of a G that learns in that way."""
    lesson = Lesson(config, streams, 2)
    generator = lesson.generator()
    discriminator = lesson.discriminator()
    choice: Choice = hard
    if way == STRAIGHT_THROUGH:
        choice = straight_through(config.relaxation_temperature)
    elif way == SOFT_OUTPUTS:
        choice = soft(config.temperature)
    looks = geometric_looks(config.updates, LOOKS)
    curve: DivergenceCurve = {"update": looks, "divergence": []}
    size = config.batch_size
    for update in steps(config.updates):
        fade = 1 - update / config.updates
        discriminator_rate = config.discriminator_rate * fade
        generator_rate = config.generator_rate * fade
        real = lesson.data(update, size)
        noise = lesson.gumbel(update, size, 1)
        if way == LIKELIHOOD:
            log_probabilities = log_probability(generator.parameters, real)
            loss = -log_probabilities.mean(1)
        else:
            # The same samples for both: D's update sees them detached.
            fake = write(generator.parameters, noise, choice)
            _update_discriminator(discriminator, real, fake, discriminator_rate)
            loss = _generator_objective(way, generator, discriminator, fake)
        generator.descend(loss, generator_rate)
        if update + 1 in looks:
            distance = divergence(generator.parameters, config)
            curve["divergence"].append(per_seed(distance))
    return curve


def _generator_objective(
    way: str, generator: Player, discriminator: Player, fake: Tensor
) -> Tensor:
    """What G descends on in a game, (seeds,); that of the score function has its gradient alone."""
    outputs = discriminator.outputs(fake)
    logits = outputs[..., 0]
    if way != SCORE_FUNCTION:
        return generator_loss(logits, "non_saturating")
    # A number to the score function: its gradient goes through log p_g alone (Williams 1992).
    reward = logsigmoid(logits).detach()
    # The mean reward as a baseline: it changes the variance of the gradient, hardly its mean.
    baseline = reward.mean(1, keepdim=True)
    advantage = reward - baseline
    log_probabilities = log_probability(generator.parameters, fake)
    products = advantage * log_probabilities
    return -products.mean(1)


class Symbols(Experiment[SymbolsConfig]):
    """L4.

    Args:
        choice: how G chooses a symbol.
        relaxed: what stands in for the choice where outputs are soft; None: by the temperature.
        substitute: the way to learn that is measured in the place of another one.
    """

    Config = SymbolsConfig
    statements: ClassVar[tuple[str, ...]] = ("L4",)

    def __init__(
        self, choice: Choice = hard, relaxed: Choice | None = None, substitute: Substitute = str
    ) -> None:
        self._choice = choice
        self._relaxed = relaxed
        self._substitute = substitute

    def run(
        self,
        config: SymbolsConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """The slope, the two kinds of outputs, and all ways; `splits` is not used."""
        streams = Streams(seeds, device)
        outputs = {"soft": self._relaxed or soft(config.temperature), "hard": hard}
        updates_on_outputs = 2 * config.told_updates
        # Three of the four ways are games of two players: seven networks learn.
        share = updates_on_outputs / (updates_on_outputs + 7 * config.updates)
        accuracies: dict[str, AccuracyCurve] = {}
        with task("outputs", share):
            for name, choice in each([*outputs.items()], "{0[0]}"):
                accuracies[name] = accuracy_on_outputs(choice, config, streams)
        ways: dict[str, DivergenceCurve] = {}
        for way in each(WAYS):
            ways[way] = learn(self._substitute(way), config, streams)
        slope = slope_through(self._choice, config, seeds)
        series = {
            "told": accuracies,
            "ways": ways,
            "start": _start(config),
            "sequences": config.symbols**config.length,
        }
        return ExperimentResult(_checks(slope, accuracies, ways), series)


def _start(config: SymbolsConfig) -> float:
    """KL(p_data || p_g) of a G to which all sequences are alike, nats."""
    of_one_seed = torch.zeros(1, dtype=torch.float64)
    parameters = untrained(config, of_one_seed)
    divergences = divergence(parameters, config)
    return float(divergences[0])


def _checks(
    slope: float, accuracies: Mapping[str, AccuracyCurve], ways: Mapping[str, DivergenceCurve]
) -> Checks:
    ends = {way: curve["divergence"][-1] for way, curve in ways.items()}
    return {
        "L4": {
            "slope_through_the_choice": slope,
            "accuracy_on_soft_outputs": accuracies["soft"]["accuracy"][-1],
            "accuracy_on_hard_outputs": accuracies["hard"]["accuracy"][-1],
            "log_ratio_of_divergences_by_score_function": log_ratios(
                ends[SCORE_FUNCTION], ends[LIKELIHOOD]
            ),
            "log_ratio_of_divergences_by_relaxation": log_ratios(
                ends[STRAIGHT_THROUGH], ends[LIKELIHOOD]
            ),
        }
    }


EXPERIMENT = Symbols()
