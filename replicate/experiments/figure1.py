"""Figure 1 of the paper: a game on a line goes through four stages and ends with D at 1/2 (F1).

The stages are the caption's: (a) early in the game, p_g similar to p_data and D partially right;
(b) D trained to its optimum for this G; (c) G moved along D's gradient, D as it was; (d) the end.

Measured, with p_data = N(0, 1) and uniform z: at (b) the distance of D from p_data / (p_data +
p_g); from (b) to (c) the rise of D(G(z)) and the move of p_g towards the data; at (d) the distances
of D from 1/2 and of p_g from p_data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypedDict

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    geometric_looks,
)
from replicate.experiments.constants import STAGES
from replicate.experiments.games.line_game import (
    CENTRES,
    DATA_DENSITY,
    DATA_MASS,
    EDGES,
    FARTHEST,
    LATENTS,
    Array,
    Game,
    distance_to_data,
    masses,
    new_game,
)
from replicate.params import OURS, setting
from replicate.progress.loops import steps, task
from replicate.training.streams import Streams

#: Bins of the figure: every second one from -4 to 4, and those that follow them.
BINS, NEXT_BINS = slice(80, 240, 2), slice(81, 240, 2)
#: Values of z that have an arrow.
ARROWS = np.linspace(0, len(LATENTS) - 1, 17).round().astype(int)
#: Looks at the game after its start, and frames of the animation.
LOOKS, FRAMES = 25, 12


class Figure1Config(ExperimentConfig):
    """How the game is played, and when its stages are."""

    hidden: tuple[PositiveInt, ...] = setting(
        (32, 32), "rectified units per layer, of G and of D", OURS, min_length=1
    )
    shift: float = setting(
        -2.0,
        "mean of p_g at the start; its standard deviation is 1, like that of the data",
        OURS,
        ge=-FARTHEST,
        le=FARTHEST,
    )
    batch_size: int = setting(256, "samples of the data, and of G, per update", OURS, ge=1)
    early_rounds: int = setting(
        50, "rounds (an update of D, then one of G) until stage (a)", OURS, ge=1
    )
    optimum_updates: int = setting(1500, "updates of D alone, from (a) to (b)", OURS, ge=1)
    moves: int = setting(10, "updates of G alone, from (b) to (c)", OURS, ge=1)
    rounds: int = setting(4000, "further rounds until stage (d)", OURS, ge=FRAMES)
    discriminator_rate: PositiveFloat = setting(
        0.003, "Adam's, for D; falls linearly to 0 from (c) on", OURS
    )
    optimum_rate: PositiveFloat = setting(
        0.005, "Adam's, for D from (a) to (b); falls linearly to 0", OURS
    )
    generator_rate: PositiveFloat = setting(
        0.0003, "Adam's, for G; falls linearly to 0 from (c) on", OURS
    )


class Facts(TypedDict):
    """Measures of a game, one number a seed."""

    distance: list[float]
    error: list[float]
    from_half: list[float]


class Picture(TypedDict):
    """The game of the first seed: p_g and D in the figure's bins, and where its arrows lead."""

    generated: list[float]
    discriminator: list[float]
    images: list[float]


class Stage(Facts, Picture):
    """Measures and picture of a stage."""


class Frame(Picture):
    """The picture after some rounds."""

    round: int


class Curve(TypedDict):
    """Measures along the game, rows of one number a seed."""

    round: list[int]
    distance: list[list[float]]
    from_half: list[list[float]]


def _empty_curve() -> Curve:
    return {"round": [], "distance": [], "from_half": []}


@dataclass
class GameRecord:
    """A game at its stages, along its curve, and in frames of the first seed."""

    stages: dict[str, Stage] = field(default_factory=dict)
    curve: Curve = field(default_factory=_empty_curve)
    frames: list[Frame] = field(default_factory=list)


def opening(
    config: Figure1Config, game: Game, generator_learns: bool, record: GameRecord
) -> list[float]:
    """Plays to stage (c).

    Returns:
        What D(G(z)), under one and the same D, rose by from (b) to (c), per seed.
    """
    size = config.batch_size
    # A rate of 0 is the negative control: all else of the game stays.
    rates = (config.discriminator_rate, config.generator_rate * generator_learns)
    updates_by_both = 2 * (config.early_rounds + config.rounds)
    updates = updates_by_both + config.optimum_updates + config.moves
    with task(STAGES["a"], 2 * config.early_rounds / updates):
        for update in steps(config.early_rounds, "round"):
            game.round(update, size, rates, "non_saturating")
    record.stages["a"] = stage(game)
    with task(STAGES["b"], config.optimum_updates / updates):
        for update in steps(config.optimum_updates):
            # A falling rate lets D settle at its optimum, about which it would circle else.
            rate = config.optimum_rate * (1 - update / config.optimum_updates)
            real = game.real(update, size, 2)
            latent = game.latent(update, size, 2)
            game.update_discriminator(real, latent, rate)
    record.stages["b"] = stage(game)
    before = probability_of_images(game)
    for update in range(config.moves):
        latent = game.latent(update, size, part=3)
        # D stays: the caption's (c) is a move along the gradient of the D of (b).
        game.update_generator(latent, rates[1])
    record.stages["c"] = stage(game)
    rises = probability_of_images(game) - before
    return [float(rise) for rise in rises]


def play_on(config: Figure1Config, game: Game, generator_learns: bool, record: GameRecord) -> None:
    """Plays on from stage (c) to stage (d)."""
    looks = {0, *geometric_looks(config.rounds, LOOKS)}
    frames = {0}
    for k in range(1, FRAMES):
        # In geometric progression: most of the game happens in its first rounds.
        exponent = k / (FRAMES - 1)
        frames.add(round(config.rounds**exponent))
    for update in steps(config.rounds + 1, "round"):
        if update in looks:
            measures = facts(game)
            distances = [round(number, 5) for number in measures["distance"]]
            from_half = [round(number, 5) for number in measures["from_half"]]
            record.curve["round"].append(update)
            record.curve["distance"].append(distances)
            record.curve["from_half"].append(from_half)
        if update in frames:
            record.frames.append({"round": update, **picture(game)})
        fade = 1 - update / config.rounds
        # The last turn is there to be looked at alone.
        if fade:
            generator_rate = config.generator_rate * fade * generator_learns
            rates = (config.discriminator_rate * fade, generator_rate)
            # Counted on from the early rounds, so that no random number comes twice.
            number = config.early_rounds + update
            game.round(number, config.batch_size, rates, "non_saturating")
    record.stages["d"] = stage(game)


def facts(game: Game) -> Facts:
    """Per seed: the Wasserstein distance of p_g to the data, and that of D from D* and from 1/2.

    The distances of D are means over (p_data + p_g) / 2, in bins, where D* = p_data / (p_data +
    p_g) is the ratio of masses.
    """
    images = game.images()
    probabilities = game.probabilities()
    generated = masses(images)
    # The weight of the loss itself: where neither data nor images are, D is free.
    weight = (DATA_MASS + generated) / 2
    # D* = p_data / (p_data + p_g), proposition 1.
    best = DATA_MASS / (2 * weight)
    distances_from_best = np.abs(probabilities - best)
    distances_from_half = np.abs(probabilities - 0.5)
    errors = (distances_from_best * weight).sum(1)
    from_half = (distances_from_half * weight).sum(1)
    return {
        "distance": distance_to_data(images),
        "error": [float(number) for number in errors],
        "from_half": [float(number) for number in from_half],
    }


def picture(game: Game) -> Picture:
    """The game of the first seed: p_g and D in the figure's bins, and where its arrows lead."""
    images = game.images()[:1]
    probabilities = game.probabilities()[0]
    masses_of_bins = masses(images)[0]
    density = masses_of_bins / np.diff(EDGES)
    return {
        "generated": _rounded(_of_pairs(density)),
        "discriminator": _rounded(probabilities[BINS]),
        "images": _rounded(images[0, ARROWS]),
    }


def stage(game: Game) -> Stage:
    """Measures and picture of the game as it stands."""
    measures = facts(game)
    of_first_seed = picture(game)
    return {**measures, **of_first_seed}


def _of_pairs(values: Array) -> Array:
    """The means of each of the figure's bins and the next one."""
    first = values[BINS]
    second = values[NEXT_BINS]
    return (first + second) / 2


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]


def probability_of_images(game: Game) -> Array:
    """The mean of D(G(z)) over z, (seeds,)."""
    latents = game.grid(LATENTS)
    with torch.no_grad():
        images = game.generate(latents)
        logits = game.discriminator.outputs(images)
    probabilities = torch.sigmoid(logits.double())
    means = probabilities.mean((1, 2))
    on_cpu = means.cpu()
    return np.asarray(on_cpu.numpy())


class Figure1(Experiment[Figure1Config]):
    """F1.

    Args:
        generator_learns: whether G moves at all.
    """

    Config = Figure1Config
    statements: ClassVar[tuple[str, ...]] = ("F1",)

    def __init__(self, generator_learns: bool = True) -> None:
        self._generator_learns = generator_learns

    def run(
        self,
        config: Figure1Config,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Plays the game; `splits` is not used."""
        game = new_game(Streams(seeds, device), config.hidden, config.shift)
        record = GameRecord()
        rise = opening(config, game, self._generator_learns, record)
        with task(STAGES["d"], 1.0):
            play_on(config, game, self._generator_learns, record)
        series = {
            "x": _rounded(_of_pairs(CENTRES)),
            "z": _rounded(LATENTS[ARROWS]),
            "data": _rounded(DATA_DENSITY[BINS]),
            "stages": record.stages,
            "curve": record.curve,
            "frames": record.frames,
        }
        return ExperimentResult(_checks(record.stages, rise), series)


def _checks(stages: dict[str, Stage], rise: list[float]) -> Checks:
    before = np.array(stages["b"]["distance"])
    after = np.array(stages["c"]["distance"])
    return {
        "F1": {
            "error_of_the_discriminator_at_its_optimum": stages["b"]["error"],
            "rise_of_the_discriminator_on_images": rise,
            "log_ratio_of_distances_after_and_before_the_move": [
                float(ratio) for ratio in np.log(after / before)
            ],
            "distance_of_the_discriminator_from_one_half": stages["d"]["from_half"],
            "distance_to_the_data_at_the_end": stages["d"]["distance"],
        }
    }


EXPERIMENT = Figure1()
