"""How often each player moves: k updates of D per update of G (A1), G trained too much (H1).

The paper claims: alternating k updates of D with one of G trains both, and k = 1 is enough (section
4, algorithm 1); training G too much without D maps many z to one x, the Helvetica scenario (section
6).

Measured, on two data sets in the plane whose modes can be counted, a ring of 8 Gaussians and a grid
of 25: the modes that samples of G capture, their divergence from the data, and how many distinct
outputs G has. Samples are counted nearly as VEEGAN does (Srivastava et al. 2017, section 4): of
high quality within 3 standard deviations of the nearest mode. There, one sample of high quality
captures a mode; here, a quarter of its fair share of them, so that a stray sample captures none. No
remedy against collapse is used.

A1 is played on a ring of wide modes, where the game works at every k: on one of narrow modes, k = 5
ends on one or two modes, and any k looks good beside it.

H1 is played on narrow modes. All ratios make equal numbers of updates of G: outputs move only by
those, so no ratio had less chance to spread them. They differ in how far D has learnt; so 1:1 is
also measured after as few updates of D as each of them had. And ratios go on from a game already
trained at 1:1, in which D has learnt before G moves too much.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, TypedDict

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor
from torch.nn.functional import one_hot

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    PerSeed,
    StatementChecks,
    differences,
    where_finite,
)
from replicate.experiments.constants import (
    MODE_SAMPLES,
    MODE_SAMPLES_DRAWN,
    OUTPUTS,
    RATIOS,
    RATIOS_DRAWN,
)
from replicate.models.parts import perceptron
from replicate.params import OURS, setting
from replicate.progress.loops import each, steps, task
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

Network = Literal["discriminator", "generator"]
NETWORKS: tuple[Network, ...] = ("discriminator", "generator")
#: Updates of D per update of G (A1).
K_VALUES = (1, 2, 5)
#: Updates of G per update of D in a game already trained, and those that decide the statement.
LATE_RATIOS, MANY = (1, 20, 100), (20, 100)
#: A mode is captured by that share of what it has of the data: far more than stray samples, far
#: less than all of it.
CAPTURE_SHARE = 0.25


class SynchronyConfig(ExperimentConfig):
    """Both players and how long they play."""

    updates: int = setting(
        3000, "of D at every k (A1), of G at every ratio (H1)", OURS, ge=100, multiple_of=100
    )
    further_updates: int = setting(
        1000, "of G, at each ratio, from a game already trained", OURS, ge=100, multiple_of=100
    )
    batch_size: int = setting(64, "samples of the data, and of G, per update", OURS, ge=1)
    noise_dimension: int = setting(16, "length of z, standard normal", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting(
        (64, 64), "rectified units per layer, of G and of D", OURS, min_length=1
    )
    learning_rate: PositiveFloat = setting(
        0.003, "of Adam, for both", "ours: of 0.001 and 0.003 the one that trains sooner at 1:1"
    )
    momentum: float = setting(
        0.5, "b1 of Adam, for both", "Radford et al. 2016, section 4", ge=0, lt=1
    )


@dataclass(frozen=True)
class Modes:
    """A mixture of equal Gaussians: `means` (modes, 2), and the standard deviation of each."""

    means: Tensor
    spread: float

    def draw(self, streams: Streams, step: int, count: int) -> Tensor:
        """(seeds, count, 2) samples."""
        unit = streams.uniform("noise", step, count, part=0)
        # Equally likely, since the unit interval is cut in equal pieces.
        modes = (unit * len(self.means)).long()
        noise = streams.normal("noise", step, count, 2, part=1)
        means = self.means.to(noise)
        return means[modes] + self.spread * noise


def ring(spread: float = 0.02) -> Modes:
    """8 modes on a circle of radius 2."""
    angles = torch.arange(8) * (2 * math.pi / 8)  # without 2 pi, which would be the first again
    on_unit_circle = torch.stack([angles.cos(), angles.sin()], 1)
    return Modes(2 * on_unit_circle, spread)


def wide_ring() -> Modes:
    """The same with wide modes, 5 standard deviations apart."""
    return ring(0.3)


def grid() -> Modes:
    """25 modes on {-4, -2, 0, 2, 4} squared."""
    axis = torch.arange(-4.0, 5.0, 2.0)
    means = torch.cartesian_prod(axis, axis)
    return Modes(means, 0.05)


@dataclass
class GameState:
    """Both players of every seed, and how often each has moved."""

    parameters: dict[str, Tensor]
    slots: dict[str, Tensor]
    moves: dict[Network, int]

    def copy(self) -> "GameState":
        """A state that goes on by itself."""
        parameters = {name: tensor.clone() for name, tensor in self.parameters.items()}
        slots = {name: tensor.clone() for name, tensor in self.slots.items()}
        moves = dict(self.moves)
        return GameState(parameters, slots, moves)


class ModesGame:
    """The game on one data set: the data, the random numbers and the rules."""

    def __init__(self, config: SynchronyConfig, modes: Modes, streams: Streams) -> None:
        self.config = config
        self.modes = modes
        self.streams = streams
        self._layers = len(config.hidden) + 1

    def start(self) -> GameState:
        """Fresh players."""
        config = self.config
        generator_sizes = (config.noise_dimension, *config.hidden, 2)
        discriminator_sizes = (2, *config.hidden, 1)
        parameters = perceptron.initial(self.streams, "generator", generator_sizes, 0)
        # G has used a part a layer.
        next_part = self._layers
        parameters |= perceptron.initial(
            self.streams, "discriminator", discriminator_sizes, next_part
        )
        slots = moments(parameters)
        return GameState(parameters, slots, dict.fromkeys(NETWORKS, 0))

    def _generated(self, parameters: Mapping[str, Tensor], z: Tensor) -> Tensor:
        return perceptron.outputs(z, parameters, "generator", self._layers)

    def _logits(self, parameters: Mapping[str, Tensor], points: Tensor) -> Tensor:
        outputs = perceptron.outputs(points, parameters, "discriminator", self._layers)
        return outputs[..., 0]

    def samples(self, state: GameState, count: int) -> Tensor:
        """(seeds, count, 2) outputs of G, of z that no game is trained with."""
        dimension = self.config.noise_dimension
        z = self.streams.normal("evaluation", 0, count, dimension)
        with torch.no_grad():
            return self._generated(state.parameters, z)

    def gradients(self, state: GameState, network: Network) -> dict[str, Tensor]:
        """Of the network's loss by its parameters, on fresh samples."""
        leaves: dict[str, Tensor] = {}
        for name, tensor in state.parameters.items():
            if name.startswith(network):
                leaves[name] = tensor.detach().requires_grad_()
        # The other player's parameters have no gradient: only the one that moves is asked for its
        # slope.
        parameters = state.parameters | leaves
        # The player's own count is the key, so each of its updates sees fresh numbers at every
        # ratio.
        step = state.moves[network]
        if network == "discriminator":
            loss = self._discriminator_loss(parameters, step)
        else:
            loss = self._generator_loss(parameters, step)
        slopes = torch.autograd.grad(loss.sum(), list(leaves.values()))
        return dict(zip(leaves, slopes, strict=True))

    def _discriminator_loss(self, parameters: Mapping[str, Tensor], step: int) -> Tensor:
        """-V(D, G), equation 1, (seeds,)."""
        count = self.config.batch_size
        dimension = self.config.noise_dimension
        z = self.streams.normal("noise", step, count, dimension, part=2)
        real = self.modes.draw(self.streams, step, count)
        fake = self._generated(parameters, z)
        rows = torch.cat([real, fake], 1)
        logits = self._logits(parameters, rows)
        real_logits = logits[:, :count]
        fake_logits = logits[:, count:]
        return discriminator_loss(real_logits, fake_logits)

    def _generator_loss(self, parameters: Mapping[str, Tensor], step: int) -> Tensor:
        """-log D(G(z)), (seeds,)."""
        count = self.config.batch_size
        dimension = self.config.noise_dimension
        z = self.streams.normal("noise", step, count, dimension, part=3)
        fake = self._generated(parameters, z)
        logits = self._logits(parameters, fake)
        return generator_loss(logits, "non_saturating")

    def _move(self, state: GameState, network: Network, gradients: Mapping[str, Tensor]) -> None:
        config = self.config
        decays = (config.momentum, 0.999)
        # Adam corrects its moments by the player's own updates.
        number = state.moves[network]
        adam_step(state.parameters, state.slots, gradients, number, config.learning_rate, decays)
        state.moves[network] += 1

    def play(
        self,
        state: GameState,
        rounds: int,
        discriminator_updates: int = 1,
        generator_updates: int = 1,
    ) -> GameState:
        """The state after `rounds` of that many updates of D, then that many of G.

        With one update of G this is Algorithm 1.
        """
        # The caller's state stays: several games go on from one.
        state = state.copy()
        for _ in steps(rounds, "round"):
            for _ in range(discriminator_updates):
                self._move(state, "discriminator", self.gradients(state, "discriminator"))
            for _ in range(generator_updates):
                self._move(state, "generator", self.gradients(state, "generator"))
        return state

    def play_at_once(self, state: GameState, rounds: int) -> GameState:
        """The state after `rounds` in which both move from one point, as in the released code."""
        state = state.copy()
        for _ in steps(rounds, "round"):
            # Both before either moves: that is the difference to k = 1.
            gradients = {network: self.gradients(state, network) for network in NETWORKS}
            for network in NETWORKS:
                self._move(state, network, gradients[network])
        return state


class ModeMeasures(TypedDict):
    """Measures of samples, one number a seed: modes captured, share of high quality, JSD (nats)."""

    modes: PerSeed
    high_quality: PerSeed
    jsd: PerSeed


class OutputMeasures(ModeMeasures):
    """The same, and how many outputs are distinct."""

    distinct: PerSeed


def mode_measures(samples: Tensor, modes: Modes) -> ModeMeasures:
    """Of every seed's samples (seeds, n, 2): modes captured, share of high quality, JSD in nats.

    A mode is captured if it has a quarter or more of its fair share of the samples of high quality.
    The JSD is between shares of the modes, of samples of high quality only; all others are one
    class more, which the data has too (exp(-9 / 2) of it lies beyond 3 standard deviations). Of 8
    modes, a G that puts all on one has 0.50, one that serves half of them evenly 0.22, one that
    misses all of them 0.66; the most is log 2 = 0.69.
    """
    means = modes.means.to(samples).double()[None]
    distance, nearest = torch.cdist(samples.double(), means).min(2)
    is_good = distance < 3 * modes.spread
    count = len(modes.means)
    # Samples of low quality are a class of their own, after the modes.
    classes = torch.where(is_good, nearest, count)
    shares = one_hot(classes, count + 1).double().mean(1)
    # Of the data, too, a few lie outside: exp(-r^2 / 2) of a normal in the plane, at r = 3.
    outside = math.exp(-4.5)
    data = torch.full_like(shares, (1 - outside) / count)
    data[:, -1] = outside
    mixture = (shares + data) / 2
    # `xlogy` is 0 at 0, where a mode without samples would give NaN.
    of_samples = torch.xlogy(shares, shares / mixture)
    of_data = torch.xlogy(data, data / mixture)
    divergence = (of_samples + of_data).sum(1) / 2
    high_quality = is_good.double().mean(1)
    # Of the samples of high quality: a G with few of them is not also denied its modes.
    enough = CAPTURE_SHARE / count * high_quality[:, None]
    mode_shares = shares[:, :-1]
    # The second condition for a G without any sample of high quality, where 0 would be enough.
    captured = (mode_shares >= enough) & (mode_shares > 0)
    return {
        "modes": where_finite(captured.sum(1), samples),
        "high_quality": where_finite(high_quality, samples),
        "jsd": where_finite(divergence, samples),
    }


def distinct(outputs: Tensor, modes: Modes) -> PerSeed:
    """Per seed, the cells of a lattice that outputs (seeds, n, 2) fall in.

    The lattice is as fine as a mode's standard deviation.
    """
    scaled = outputs.double() / modes.spread
    column, row = scaled.round().unbind(2)
    # One number a cell: many times faster to tell apart than pairs.
    cells = column.long() * 2**32 + row.long()
    counts = []
    for cells_of_seed in cells:
        distinct_cells = cells_of_seed.unique()
        counts.append(len(distinct_cells))
    return where_finite(torch.tensor(counts), outputs)


class StepCurve(TypedDict):
    """A way to play after every tenth of the updates of D: moves of both, and measures."""

    generator: list[int]
    discriminator: list[int]
    modes: list[PerSeed]
    high_quality: list[PerSeed]
    jsd: list[PerSeed]


class RatioMeasures(TypedDict):
    """Ratio -> its measures at equal updates of G, and those of 1:1 at equal updates of D."""

    equal_generator: dict[str, OutputMeasures]
    equal_discriminator: dict[str, OutputMeasures]


class RatioGames(NamedTuple):
    """Games at every ratio on one data set.

    Attributes:
        measures: of every ratio.
        pictures: ratio -> samples of the first seed, (n, 2).
        even: the game at 1:1.
    """

    measures: RatioMeasures
    pictures: dict[str, list[list[float]]]
    even: GameState


#: What is measured in place of the outputs of G in a game.
Substitute = Callable[[Tensor, GameState], Tensor]


def _outputs_of_g(outputs: Tensor, state: GameState) -> Tensor:
    return outputs


class Synchrony(Experiment[SynchronyConfig]):
    """A1 and H1.

    Args:
        substitute: what is measured in place of the outputs of G in a game.
        generator_updates: how many updates of G a ratio makes per update of D.
    """

    Config = SynchronyConfig
    statements: ClassVar[tuple[str, ...]] = ("A1", "H1")

    def __init__(
        self,
        substitute: Substitute = _outputs_of_g,
        generator_updates: Callable[[int], int] = int,
    ) -> None:
        self._substitute = substitute
        self._generator_updates = generator_updates

    def run(
        self,
        config: SynchronyConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Both statements; `splits` is not used."""
        streams = Streams(seeds, device)
        # Updates of both players.
        work_a1 = 16.5 * config.updates
        work_h1 = 13.5 * config.updates
        work = work_a1 + work_h1 + 4.1 * config.further_updates
        with task("A1", work_a1 / work):
            curves = self._step_curves(ModesGame(config, wide_ring(), streams))
        games: dict[str, RatioGames] = {}
        with task("H1", work_h1 / work):
            for name, modes in each((("ring", ring()), ("grid", grid())), "{0[0]}"):
                games[name] = self._ratio_games(ModesGame(config, modes, streams))
        ring_game = ModesGame(config, ring(), streams)
        late: dict[str, OutputMeasures] = {}
        for ratio in each(LATE_RATIOS, "late ratio {}"):
            state = self._at_ratio(ring_game, games["ring"].even, config.further_updates, ratio)
            late[str(ratio)] = self._output_measures(ring_game, state)
        ratios = {name: ratio_games.measures for name, ratio_games in games.items()}
        checks = {
            "A1": _step_checks(curves),
            "H1": {**_ratio_checks(ratios), **_late_ratio_checks(late)},
        }
        series = {
            "steps": curves,
            "ratios": ratios,
            "late": late,
            "pictures": {name: ratio_games.pictures for name, ratio_games in games.items()},
            "further_updates": config.further_updates,
        }
        return ExperimentResult(checks, series)

    def _mode_measures(self, game: ModesGame, state: GameState) -> ModeMeasures:
        outputs = game.samples(state, MODE_SAMPLES)
        samples = self._substitute(outputs, state)
        return mode_measures(samples, game.modes)

    def _output_measures(self, game: ModesGame, state: GameState) -> OutputMeasures:
        samples = game.samples(state, OUTPUTS)
        outputs = self._substitute(samples, state)
        measured = outputs[:, :MODE_SAMPLES]
        measures = mode_measures(measured, game.modes)
        cells = distinct(outputs, game.modes)
        return {**measures, "distinct": cells}

    def _at_ratio(self, game: ModesGame, state: GameState, updates: int, ratio: int) -> GameState:
        """The state after that many updates of G, at a ratio."""
        generator_updates = self._generator_updates(ratio)
        rounds = updates // generator_updates
        return game.play(state, rounds, 1, generator_updates)

    def _step_curves(self, game: ModesGame) -> dict[str, StepCurve]:
        """For every way to play, how it stands after every tenth of the updates of D (A1).

        A k above 1 goes on until G has made as many updates as at k = 1, to be compared at equal
        updates of G too.
        """
        tenth = game.config.updates // 10
        start = game.start()
        curves: dict[str, StepCurve] = {}
        for way in each((*map(str, K_VALUES), "at once"), "k = {}"):
            k = 1 if way == "at once" else int(way)
            state = start
            curve = curves[way] = _empty_step_curve()
            # k times as many tenths: D makes k times as many updates until G's are equal.
            for _ in each(range(10 * k), "stretch"):
                if way == "at once":
                    state = game.play_at_once(state, tenth)
                else:
                    state = game.play(state, tenth // k, k, 1)
                curve["generator"].append(state.moves["generator"])
                curve["discriminator"].append(state.moves["discriminator"])
                measures = self._mode_measures(game, state)
                curve["modes"].append(measures["modes"])
                curve["high_quality"].append(measures["high_quality"])
                curve["jsd"].append(measures["jsd"])
        return curves

    def _ratio_games(self, game: ModesGame) -> RatioGames:
        """Every ratio, and beside it 1:1 after equal updates of D (H1)."""
        updates = game.config.updates
        measures: RatioMeasures = {"equal_generator": {}, "equal_discriminator": {}}
        pictures: dict[str, list[list[float]]] = {}
        even = game.start()
        # From the fewest updates of D to the most, so that one game at 1:1 passes all of them.
        for ratio in each(RATIOS[::-1], "ratio {}"):
            generator_updates = self._generator_updates(ratio)
            further = updates // generator_updates - even.moves["discriminator"]
            share = further / (further + updates / 2)
            with task("1:1", share):
                even = game.play(even, further)
            # 1:1 is the even game itself: after the last ratio it has made all of its updates.
            state = even
            if generator_updates != 1:
                state = self._at_ratio(game, game.start(), updates, ratio)
            name = str(ratio)
            measures["equal_generator"][name] = self._output_measures(game, state)
            measures["equal_discriminator"][name] = self._output_measures(game, even)
            if ratio in RATIOS_DRAWN:
                outputs = game.samples(state, MODE_SAMPLES_DRAWN)
                samples = self._substitute(outputs, state)[0]
                # Two digits are enough for a picture.
                pictures[name] = samples.double().round(decimals=2).tolist()
        return RatioGames(measures, pictures, even)


def _empty_step_curve() -> StepCurve:
    return {"generator": [], "discriminator": [], "modes": [], "high_quality": [], "jsd": []}


def _step_checks(curves: Mapping[str, StepCurve]) -> StatementChecks:
    """At the end, where G has made equal numbers of updates, and D five times as many at k = 5."""
    one_step = curves["1"]
    five_steps = curves["5"]
    divergence_of_one = one_step["jsd"][-1]
    divergence_of_five = five_steps["jsd"][-1]
    return {
        "modes_with_one_step": one_step["modes"][-1],
        "divergence_with_one_step": divergence_of_one,
        "modes_with_five_steps": five_steps["modes"][-1],
        "divergence_beyond_that_of_five_steps": differences(divergence_of_one, divergence_of_five),
    }


def _losses(even: OutputMeasures, ratio: OutputMeasures) -> tuple[PerSeed, PerSeed]:
    """Modes lost against 1:1, and the log of the factor by which distinct outputs are fewer."""
    modes = differences(even["modes"], ratio["modes"])
    even_outputs = even["distinct"]
    outputs = differences(even_outputs, ratio["distinct"], math.log)
    return modes, outputs


def _ratio_checks(ratios: Mapping[str, RatioMeasures]) -> StatementChecks:
    checks: dict[str, PerSeed] = {}
    for name, measures in ratios.items():
        at_equal_generator = measures["equal_generator"]
        even = at_equal_generator["1"]
        for ratio in MANY:
            uneven = at_equal_generator[str(ratio)]
            modes, outputs = _losses(even, uneven)
            checks[f"modes_lost_on_the_{name}_at_{ratio}"] = modes
            checks[f"outputs_lost_on_the_{name}_at_{ratio}"] = outputs
    return checks


def _late_ratio_checks(late: Mapping[str, OutputMeasures]) -> StatementChecks:
    even = late["1"]
    checks: dict[str, PerSeed] = {}
    for ratio in MANY:
        uneven = late[str(ratio)]
        modes, outputs = _losses(even, uneven)
        checks[f"modes_lost_later_at_{ratio}"] = modes
        checks[f"outputs_lost_later_at_{ratio}"] = outputs
    return checks


EXPERIMENT = Synchrony()
