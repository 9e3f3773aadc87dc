"""How often each player moves: k updates of D per update of G (A1), and G trained too much without D (H1, section 6).

Two data sets in the plane whose modes can be counted: a ring of 8 Gaussians and a grid of 25. Samples are judged nearly
as VEEGAN counts them (Srivastava et al. 2017, section 4): of high quality within 3 standard deviations of the nearest
mode. There, one sample of high quality captures a mode; here, a quarter of its fair share of them, so that a stray
sample captures none. No remedy against collapse is used.

A1 is played on a ring of wide modes, where the game works at every k: on one of narrow modes, k = 5 ends on one or two
modes, and any k looks good beside it.

H1 is played on narrow modes. All ratios make equal numbers of updates of G: outputs move only by those, so that none
had less chance to spread them. They differ in how far D has learnt; so 1:1 is also shown after as few updates of D as
each of them had. And ratios go on from a game already trained at 1:1, in which D has learnt before G moves too much.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import one_hot

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, ExperimentConfig, Found
from replicate.experiments.fixed.synchrony import OUTPUTS, PICTURED, RATIOS, SAMPLES, SHOWN
from replicate.loops import each, steps, task
from replicate.models import perceptron
from replicate.params import OURS, setting
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

#: Updates of G per update of D in a game already trained, and those that the claim is judged at.
LATE_RATIOS, MANY = (1, 20, 100), (20, 100)
#: Updates of D per update of G (A1).
STEPS = (1, 2, 5)

#: A mode is captured by that share of what it has of the data: far more than stray samples, far less than all of it.
SERVED = 0.25

#: Measure -> one value a seed; None where its outputs are not finite.
Measures = dict[str, list[float | None]]


class SynchronyConfig(ExperimentConfig):
    """Both players and how long they play."""

    updates: int = setting(3000, "of D at every k (A1), of G at every ratio (H1)", OURS, ge=100, multiple_of=100)
    further_updates: int = setting(
        1000, "of G, at each ratio, from a game already trained", OURS, ge=100, multiple_of=100
    )
    batch_size: int = setting(64, "samples of the data, and of G, per update", OURS, ge=1)
    noise_dimension: int = setting(16, "length of z, standard normal", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting((64, 64), "rectified units per layer, of G and of D", OURS, min_length=1)
    learning_rate: PositiveFloat = setting(
        0.003, "of Adam, for both", "ours: of 0.001 and 0.003 the one that trains sooner at 1:1"
    )
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


def wide_ring() -> Modes:
    """The same with wide modes, 5 standard deviations apart."""
    return ring(0.3)


def grid() -> Modes:
    """25 modes on {-4, -2, 0, 2, 4} squared."""
    places = torch.arange(-4.0, 5.0, 2.0)
    return Modes(torch.cartesian_prod(places, places), 0.05)


@dataclass
class Game:
    """Both players of every seed, and how often each has moved."""

    parameters: dict[str, Tensor]
    slots: dict[str, Tensor]
    moves: dict[str, int]

    def copy(self) -> "Game":
        """A game that goes on by itself."""
        parameters, slots = (
            {name: tensor.clone() for name, tensor in group.items()} for group in (self.parameters, self.slots)
        )
        return Game(parameters, slots, dict(self.moves))


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

    def _generated(self, parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
        return perceptron.outputs(z, parameters, "generator", self._layers)

    def samples(self, game: Game, count: int) -> Tensor:
        """(seeds, count, 2) outputs of G, of z that no game is trained with."""
        z = self.streams.normal("evaluation", 0, count, self.config.noise_dimension)
        with torch.no_grad():
            return self._generated(game.parameters, z)

    def gradients(self, game: Game, player: str) -> dict[str, Tensor]:
        """Of the player's loss by its parameters, on fresh samples: D's of equation 1; G descends -log D(G(z))."""
        count, step, learns = self.config.batch_size, game.moves[player], player == "discriminator"
        leaves = {n: t.detach().requires_grad_() for n, t in game.parameters.items() if n.startswith(player)}
        parameters = game.parameters | leaves
        z = self.streams.normal("noise", step, count, self.config.noise_dimension, part=2 if learns else 3)
        rows = self._generated(parameters, z)
        if learns:
            rows = torch.cat([self.modes.draw(self.streams, step, count), rows], 1)
        logits = perceptron.outputs(rows, parameters, "discriminator", self._layers)[..., 0]
        loss = (
            discriminator_loss(logits[:, :count], logits[:, count:])
            if learns
            else generator_loss(logits, "non_saturating")
        )
        return dict(zip(leaves, torch.autograd.grad(loss.sum(), list(leaves.values())), strict=True))

    def _move(self, game: Game, player: str, gradients: Mapping[str, Tensor]) -> None:
        decays = (self.config.momentum, 0.999)
        adam_step(game.parameters, game.slots, gradients, game.moves[player], self.config.learning_rate, decays)
        game.moves[player] += 1

    def play(self, game: Game, rounds: int, of_discriminator: int = 1, of_generator: int = 1) -> Game:
        """The game after `rounds` of that many updates of D, then that many of G (one of G is Algorithm 1)."""
        game = game.copy()
        for _ in steps(rounds, "round"):
            for player, count in (("discriminator", of_discriminator), ("generator", of_generator)):
                for _ in range(count):
                    self._move(game, player, self.gradients(game, player))
        return game

    def play_at_once(self, game: Game, rounds: int) -> Game:
        """The game after `rounds` in which both move from the same point, as in the released code."""
        game = game.copy()
        for _ in steps(rounds, "round"):
            found = {player: self.gradients(game, player) for player in ("discriminator", "generator")}
            for player, gradients in found.items():
                self._move(game, player, gradients)
        return game


def _of_finite(values: Tensor, samples: Tensor) -> list[float | None]:
    finite = samples.isfinite().all(2).all(1).tolist()
    return [float(value) if good else None for value, good in zip(values, finite, strict=True)]


def judged(samples: Tensor, modes: Modes) -> Measures:
    """Of every seed's samples (seeds, n, 2): modes captured, share of high quality, and the JSD to the data in nats.

    A mode is captured if it has a quarter or more of its fair share of the samples of high quality.
    The JSD is between shares of the modes, of samples of high quality only; all others are one class more, which the
    data has too (exp(-9 / 2) of it lies beyond 3 standard deviations). Of 8 modes, a G that puts all on one has 0.50,
    one that serves half of them evenly 0.22, one that misses all of them 0.66; the most is log 2 = 0.69.
    """
    distance, nearest = torch.cdist(samples.double(), modes.means.to(samples).double()[None]).min(2)
    good = distance < 3 * modes.spread
    count, outside = len(modes.means), math.exp(-4.5)
    shares = one_hot(torch.where(good, nearest, count), count + 1).double().mean(1)
    data = torch.full_like(shares, (1 - outside) / count)
    data[:, -1] = outside
    middle = (shares + data) / 2
    divergence = (torch.xlogy(shares, shares / middle) + torch.xlogy(data, data / middle)).sum(1) / 2
    enough = SERVED / count * good.double().mean(1, keepdim=True)
    captured = (shares[:, :-1] >= enough) & (shares[:, :-1] > 0)
    found = {"modes": captured.sum(1), "high_quality": good.double().mean(1), "jsd": divergence}
    return {name: _of_finite(values, samples) for name, values in found.items()}


def distinct(outputs: Tensor, modes: Modes) -> list[float | None]:
    """Per seed, in how many cells of a lattice as fine as a mode's standard deviation outputs (seeds, n, 2) fall."""
    column, row = (outputs.double() / modes.spread).round().unbind(2)
    cells = column.long() * 2**32 + row.long()  # one number a cell: many times faster to tell apart than pairs
    return _of_finite(torch.tensor([len(numbers.unique()) for numbers in cells]), outputs)


class Synchrony(Experiment):
    """A1 and H1.

    Args:
        seen: what is judged in place of the outputs of G in a game.
        moves: how many updates of G a ratio makes per update of D.
    """

    Config = SynchronyConfig
    claims: ClassVar[tuple[str, ...]] = ("A1", "H1")

    def __init__(
        self, seen: Callable[[Tensor, Game], Tensor] = lambda outputs, game: outputs, moves: Callable[[int], int] = int
    ) -> None:
        self._seen, self._moves = seen, moves

    def run(self, config: SynchronyConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Both; `splits` is not used."""
        streams = Streams(seeds, device)
        ratios, pictures = {}, {}
        work = (16.5 * config.updates, 13.5 * config.updates, 4.1 * config.further_updates)  # updates of both players
        with task("A1", work[0] / sum(work)):
            steps = self._steps(Table(config, wide_ring(), streams))
        trained = {}
        with task("H1", work[1] / sum(work)):
            for name, modes in each((("ring", ring()), ("grid", grid())), "{0[0]}"):
                ratios[name], pictures[name], trained[name] = self._ratios(Table(config, modes, streams))
        table = Table(config, ring(), streams)
        late = {
            str(r): self._measured(table, self._at(table, trained["ring"], config.further_updates, r))
            for r in each(LATE_RATIOS, "late ratio {}")
        }
        checks = {"A1": _checks_of_steps(steps), "H1": _checks_of_ratios(ratios) | _checks_of_late_ratios(late)}
        series = {"steps": steps, "ratios": ratios, "late": late, "pictures": pictures}
        return Found(checks, series | {"further_updates": config.further_updates})

    def _judged(self, table: Table, game: Game) -> Measures:
        return judged(self._seen(table.samples(game, SAMPLES), game), table.modes)

    def _measured(self, table: Table, game: Game) -> Measures:
        outputs = self._seen(table.samples(game, OUTPUTS), game)
        return judged(outputs[:, :SAMPLES], table.modes) | {"distinct": distinct(outputs, table.modes)}

    def _at(self, table: Table, game: Game, updates: int, ratio: int) -> Game:
        of_generator = self._moves(ratio)
        return table.play(game, updates // of_generator, 1, of_generator)

    def _steps(self, table: Table) -> dict[str, dict[str, list[Any]]]:
        """For every way to play, how it stands after every tenth of the updates of D.

        A k above 1 goes on until G has made as many updates as at k = 1, to be compared at equal updates of G too.
        """
        tenth, fresh = table.config.updates // 10, table.start()
        curves: dict[str, dict[str, list[Any]]] = {}
        for way in each((*map(str, STEPS), "at once"), "k = {}"):
            k = 1 if way == "at once" else int(way)
            game, curve = fresh, curves.setdefault(way, {})
            for _ in each(range(10 * k), "stretch"):
                game = table.play_at_once(game, tenth) if way == "at once" else table.play(game, tenth // k, k, 1)
                for name, value in {**game.moves, **self._judged(table, game)}.items():
                    curve.setdefault(name, []).append(value)
        return curves

    def _ratios(self, table: Table) -> tuple[dict[str, dict[str, Measures]], dict[str, list[list[float]]], Game]:
        """The measures of every ratio and of 1:1 after equal updates of D, pictures of one seed, and the 1:1 game."""
        updates, pictures = table.config.updates, {}
        found: dict[str, dict[str, Measures]] = {"equal_generator": {}, "equal_discriminator": {}}
        even = table.start()
        for ratio in each(RATIOS[::-1], "ratio {}"):
            of_generator = self._moves(ratio)
            further = updates // of_generator - even.moves["discriminator"]
            with task("1:1", further / (further + updates / 2)):
                even = table.play(even, further)
            game = even if of_generator == 1 else self._at(table, table.start(), updates, ratio)
            found["equal_generator"][str(ratio)] = self._measured(table, game)
            found["equal_discriminator"][str(ratio)] = self._measured(table, even)
            if ratio in PICTURED:
                shown = self._seen(table.samples(game, SHOWN), game)[0]
                pictures[str(ratio)] = shown.double().round(decimals=2).tolist()
        return found, pictures, even


def _less(
    one: Sequence[float | None], other: Sequence[float | None], scale: Callable[[float], float] = float
) -> list[float | None]:
    return [None if a is None or b is None else scale(a) - scale(b) for a, b in zip(one, other, strict=True)]


def _checks_of_steps(steps: Mapping[str, Mapping[str, list[Any]]]) -> dict[str, float | list[float | None]]:
    """At the end, where G has made equal numbers of updates, and D five times as many at k = 5."""
    one, five = steps["1"], steps["5"]
    return {
        "modes_with_one_step": one["modes"][-1],
        "divergence_with_one_step": one["jsd"][-1],
        "modes_with_five_steps": five["modes"][-1],
        "divergence_beyond_that_of_five_steps": _less(one["jsd"][-1], five["jsd"][-1]),
    }


def _checks_of_ratios(ratios: Mapping[str, Mapping[str, Any]]) -> dict[str, float | list[float | None]]:
    checks: dict[str, float | list[float | None]] = {}
    for name, found in ratios.items():
        even = found["equal_generator"]["1"]
        for ratio in MANY:
            much = found["equal_generator"][str(ratio)]
            checks[f"modes_lost_on_the_{name}_at_{ratio}"] = _less(even["modes"], much["modes"])
            checks[f"outputs_lost_on_the_{name}_at_{ratio}"] = _less(even["distinct"], much["distinct"], math.log)
    return checks


def _checks_of_late_ratios(late: Mapping[str, Measures]) -> dict[str, float | list[float | None]]:
    checks: dict[str, float | list[float | None]] = {}
    for ratio in MANY:
        much = late[str(ratio)]
        checks[f"modes_lost_later_at_{ratio}"] = _less(late["1"]["modes"], much["modes"])
        checks[f"outputs_lost_later_at_{ratio}"] = _less(late["1"]["distinct"], much["distinct"], math.log)
    return checks


EXPERIMENT = Synchrony()
