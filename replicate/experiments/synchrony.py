"""How often each player moves: k updates of D per update of G (A1), and G trained too much without D (H1, section 6).

Two data sets in the plane whose modes can be counted: a ring of 8 Gaussians and a grid of 25. Samples are judged as
VEEGAN counts them (Srivastava et al. 2017, section 4): of high quality within 3 standard deviations of the nearest
mode; a mode is captured if it is nearest to a sample of high quality. No remedy against collapse is used.

For H1 all ratios go on from one and the same game, played at 1:1 until then. Had each started afresh, D would have
learnt nothing at 100:1, and a G without a teacher would be told from a collapsed one by nothing. They then make equal
numbers of updates of G: outputs move only by those, so none of them had less chance to spread its outputs again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Checks, Drawing, Experiment, ExperimentConfig, Found
from replicate.figures.theme import FAINT, SERIES, canvas, legend, svg
from replicate.models import perceptron
from replicate.params import OURS, setting
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

#: Updates of G per update of D (H1), and of D per update of G (A1).
RATIOS = (1, 2, 5, 20, 100)
STEPS = (1, 2, 5)
#: Samples that are judged, and values of z whose outputs are counted.
SAMPLES, OUTPUTS = 2500, 10_000
#: Samples of each seed that the figure shows, of the first seed.
SHOWN = 400


class SynchronyConfig(ExperimentConfig):
    """Both players and how long they play."""

    updates: int = setting(
        3000, "of D, at every k, for A1; half as many of G where those are equal", OURS, ge=100, multiple_of=100
    )
    further_updates: int = setting(1000, "of G, at each ratio, for H1", OURS, ge=100, multiple_of=100)
    batch_size: int = setting(64, "samples of the data, and of G, per update", OURS, ge=1)
    noise_dimension: int = setting(16, "length of z, standard normal", OURS, ge=1)
    hidden: tuple[int, ...] = setting((64, 64), "rectified units per layer, of G and of D", OURS, min_length=1)
    learning_rate: PositiveFloat = setting(0.003, "of Adam, for both", OURS)
    momentum: float = setting(0.5, "b1 of Adam, for both", "Radford et al. 2016, section 4", ge=0, lt=1)


@dataclass(frozen=True)
class Modes:
    """A mixture of equal Gaussians: `means` (modes, 2), and the standard deviation of each."""

    means: Tensor
    spread: float

    def draw(self, streams: Streams, step: int, count: int) -> Tensor:
        """(seeds, count, 2) samples."""
        which = (streams.uniform("noise", step, count, part=0) * len(self.means)).long()
        noise = streams.normal("noise", step, count, 2, part=1)
        return self.means.to(noise)[which] + self.spread * noise


def ring(spread: float = 0.02) -> Modes:
    """8 modes on a circle of radius 2."""
    angles = torch.arange(8) * (2 * math.pi / 8)  # without 2 pi, which would be the first again
    return Modes(2 * torch.stack([angles.cos(), angles.sin()], 1), spread)


def grid(spread: float = 0.05) -> Modes:
    """25 modes on {-4, -2, 0, 2, 4} squared."""
    places = torch.arange(-4.0, 5.0, 2.0)
    return Modes(torch.cartesian_prod(places, places), spread)


@dataclass
class Game:
    """Both players of every seed, and how often each has moved."""

    parameters: dict[str, Tensor]
    slots: dict[str, Tensor]
    moves: dict[str, int]

    def copy(self) -> "Game":
        """A game that goes on by itself."""
        fresh = ({name: tensor.clone() for name, tensor in group.items()} for group in (self.parameters, self.slots))
        return Game(*fresh, dict(self.moves))


class Table:
    """Where games on one data set are played: the data, the random numbers and the rules."""

    def __init__(self, config: SynchronyConfig, modes: Modes, streams: Streams) -> None:
        self.config, self.modes, self.streams = config, modes, streams
        self._layers = len(config.hidden) + 1

    def start(self) -> Game:
        """Fresh players."""
        widths = self.config.hidden
        parameters = perceptron.initial(self.streams, "generator", (self.config.noise_dimension, *widths, 2), 0)
        parameters |= perceptron.initial(self.streams, "discriminator", (2, *widths, 1), self._layers)
        return Game(parameters, moments(parameters), {"generator": 0, "discriminator": 0})

    def generated(self, parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
        """G(z), (seeds, n, 2)."""
        return perceptron.outputs(z, parameters, "generator", self._layers)

    def samples(self, game: Game, count: int) -> Tensor:
        """(seeds, count, 2) outputs of G, from z that no game is trained with."""
        z = self.streams.normal("evaluation", 0, count, self.config.noise_dimension)
        with torch.no_grad():
            return self.generated(game.parameters, z)

    def gradients(self, game: Game, player: str) -> dict[str, Tensor]:
        """Of the player's loss by its parameters, with fresh random numbers: equation 1; for G -log D(G(z))."""
        count, step = self.config.batch_size, game.moves[player]
        leaves = {n: t.detach().requires_grad_() for n, t in game.parameters.items() if n.startswith(player)}
        parameters = game.parameters | leaves
        part = 2 if player == "discriminator" else 3
        z = self.streams.normal("noise", step, count, self.config.noise_dimension, part=part)
        fake = self.generated(parameters, z)
        rows = torch.cat([self.modes.draw(self.streams, step, count), fake], 1) if part == 2 else fake
        logits = perceptron.outputs(rows, parameters, "discriminator", self._layers)[..., 0]
        if part == 2:
            loss = discriminator_loss(logits[:, :count], logits[:, count:])
        else:
            loss = generator_loss(logits, "non_saturating")
        return dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True))

    def move(self, game: Game, player: str, gradients: Mapping[str, Tensor]) -> None:
        """One update by Adam of the player, in place."""
        decays = (self.config.momentum, 0.999)
        adam_step(game.parameters, game.slots, gradients, game.moves[player], self.config.learning_rate, decays)
        game.moves[player] += 1

    def play(self, game: Game, rounds: int, of_discriminator: int = 1, of_generator: int = 1) -> Game:
        """The game after `rounds` of that many updates of D and then that many of G (Algorithm 1 where G's is 1)."""
        game = game.copy()
        for _ in range(rounds):
            for player, count in (("discriminator", of_discriminator), ("generator", of_generator)):
                for _ in range(count):
                    self.move(game, player, self.gradients(game, player))
        return game

    def play_at_once(self, game: Game, rounds: int) -> Game:
        """The game after `rounds` in which both move from the same point, as the released code does."""
        game = game.copy()
        for _ in range(rounds):
            found = {player: self.gradients(game, player) for player in ("discriminator", "generator")}
            for player, gradients in found.items():
                self.move(game, player, gradients)
        return game


def judged(samples: Tensor, modes: Modes) -> dict[str, list[float]]:
    """Of every seed's samples (seeds, n, 2): modes captured, share of high quality, and the JSD to the data in nats.

    The JSD is between shares of the modes, of samples of high quality only; all others are one class more, which the
    data has too (exp(-9 / 2) of it lies beyond 3 standard deviations). A G that puts all on one mode of 8 has 0.49,
    one that serves half of the modes evenly 0.21, one that misses all of them log 2.
    """
    distance, nearest = torch.cdist(samples.double(), modes.means.to(samples).double()[None]).min(2)
    good = distance < 3 * modes.spread
    count, outside = len(modes.means), math.exp(-4.5)
    classes = torch.nn.functional.one_hot(torch.where(good, nearest, count), count + 1).double().mean(1)
    data = torch.full_like(classes, (1 - outside) / count)
    data[:, -1] = outside
    middle = (classes + data) / 2
    divergence = (torch.xlogy(classes, classes / middle) + torch.xlogy(data, data / middle)).sum(1) / 2
    return {
        "modes": (classes[:, :-1] > 0).sum(1).double().tolist(),
        "high_quality": good.double().mean(1).tolist(),
        "jsd": divergence.tolist(),
    }


def distinct(outputs: Tensor, modes: Modes) -> list[float]:
    """Per seed, how many cells of a lattice as fine as a mode's standard deviation the outputs (seeds, n, 2) fall in."""
    return [float(len(torch.unique((row / modes.spread).round(), dim=0))) for row in outputs.double()]


def measured(table: Table, game: Game) -> dict[str, list[float]]:
    """`judged` and `distinct` of a game, per seed."""
    outputs = table.samples(game, OUTPUTS)
    return judged(outputs[:, :SAMPLES], table.modes) | {"distinct": distinct(outputs, table.modes)}


def of_steps(table: Table, config: SynchronyConfig) -> tuple[dict[str, dict[str, list[Any]]], Game]:
    """A1 on one data set: for every way to play, how it stands after every tenth of the updates of D.

    Returns:
        Way -> updates of D and of G so far, and what `judged` gives then (looks, seeds); and the game at k = 1. A k
        above 1 goes on until it has made half as many updates of G as k = 1, so that it can be compared at those too.
    """
    tenth, fresh = config.updates // 10, table.start()
    curves: dict[str, dict[str, list[Any]]] = {}
    kept = fresh
    for way in (*map(str, STEPS), "at once"):
        k = 1 if way == "at once" else int(way)
        looks = 10 if k == 1 else 5 * k
        game, curve = fresh, curves.setdefault(way, {})
        for _ in range(looks):
            game = table.play_at_once(game, tenth) if way == "at once" else table.play(game, tenth // k, k, 1)
            found = judged(table.samples(game, SAMPLES), table.modes)
            for name, value in {**game.moves, **found}.items():
                curve.setdefault(name, []).append(value)
        kept = game if way == "1" else kept
    return curves, kept


def of_ratios(table: Table, game: Game, updates: int) -> tuple[dict[str, dict[str, list[float]]], dict[str, Tensor]]:
    """H1 from `game` on: for every ratio the measures of every seed, and some samples of the first seed (n, 2)."""
    found, shown = {}, {}
    for ratio in RATIOS:
        after = table.play(game, updates // ratio, 1, ratio)
        found[str(ratio)] = measured(table, after)
        shown[str(ratio)] = table.samples(after, SHOWN)[0]
    return found, shown
