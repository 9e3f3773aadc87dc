"""Figure 1 of the paper: a game on a line, seen at its four stages (F1).

p_data = N(0, 1), and z is uniform. The stages are the caption's: (a) an adversarial pair early in the game, p_g similar
to p_data and D partially right; (b) D trained to its optimum for this G; (c) G moved along D's gradient, D as it was;
(d) the end of the game.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt

from replicate.datasets.base import Splits
from replicate.experiments.base import Checks, Experiment, ExperimentConfig, Found
from replicate.experiments.fixed.figure1 import STAGES
from replicate.experiments.line_game import (
    CENTRES,
    DATA_DENSITY,
    DATA_MASS,
    EDGES,
    LATENTS,
    Array,
    Game,
    distance_to_data,
    masses,
    new_game,
)  # fmt: skip
from replicate.loops import steps, task
from replicate.params import OURS, setting
from replicate.training.streams import Streams

#: Bins of the figure: every second one from -4 to 4. Values of z that have an arrow.
SHOWN = slice(80, 240, 2)
ARROWS = np.linspace(0, len(LATENTS) - 1, 17).round().astype(int)
#: Frames of the animation.
FRAMES = 12


class Figure1Config(ExperimentConfig):
    """How the game is played, and when its stages are."""

    hidden: tuple[PositiveInt, ...] = setting((32, 32), "rectified units per layer, of G and of D", OURS, min_length=1)
    shift: float = setting(-2.0, "mean of p_g at the start; its standard deviation is 1, like that of the data", OURS)
    batch_size: int = setting(256, "samples of the data, and of G, per update", OURS, ge=1)
    early_rounds: int = setting(50, "rounds (an update of D, then one of G) until stage (a)", OURS, ge=1)
    optimum_updates: int = setting(1500, "updates of D alone, from (a) to (b)", OURS, ge=1)
    moves: int = setting(10, "updates of G alone, from (b) to (c)", OURS, ge=1)
    rounds: int = setting(4000, "further rounds until stage (d)", OURS, ge=FRAMES)
    discriminator_rate: PositiveFloat = setting(0.003, "Adam's, for D; falls linearly to 0 from (c) on", OURS)
    optimum_rate: PositiveFloat = setting(0.005, "Adam's, for D from (a) to (b); falls linearly to 0", OURS)
    generator_rate: PositiveFloat = setting(0.0003, "Adam's, for G; falls linearly to 0 from (c) on", OURS)


@dataclass
class Seen:
    """What was seen of a game: at its stages, along it, and in frames of the first seed."""

    stages: dict[str, dict[str, Any]] = field(default_factory=dict)
    curve: dict[str, list[Any]] = field(default_factory=lambda: {"round": [], "distance": [], "from_half": []})
    frames: list[dict[str, Any]] = field(default_factory=list)


def facts(game: Game) -> dict[str, list[float]]:
    """Per seed: the Wasserstein distance of p_g to the data, and the mean distance of D from D* and from 1/2.

    The means are over (p_data + p_g) / 2, in bins, where D* = p_data / (p_data + p_g) is the ratio of masses.
    """
    images, opinions = game.images(), game.opinions()
    generated = masses(images)
    weight = (DATA_MASS + generated) / 2
    best = DATA_MASS / (2 * weight)
    return {
        "distance": distance_to_data(images),
        "error": [float(e) for e in (np.abs(opinions - best) * weight).sum(1)],
        "from_half": [float(e) for e in (np.abs(opinions - 0.5) * weight).sum(1)],
    }


def picture(game: Game) -> dict[str, Any]:
    """Of the first seed: p_g and D on the figure's grid, and where its arrows lead."""
    images = game.images()[:1]
    density = masses(images)[0] / np.diff(EDGES)
    pairs = (density[SHOWN] + density[SHOWN.start + 1 : SHOWN.stop : 2]) / 2
    return {
        "generated": _rounded(pairs), "discriminator": _rounded(game.opinions()[0, SHOWN]),
        "images": _rounded(images[0, ARROWS]),
    }  # fmt: skip


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]


def opinion_of_images(game: Game) -> Array:
    """The mean of D(G(z)) over z, (seeds,)."""
    with torch.no_grad():
        logits = game.discriminator.outputs(game.generate(game.grid(LATENTS)))
    return np.asarray(torch.sigmoid(logits.double()).mean((1, 2)).cpu().numpy())


def opening(config: Figure1Config, game: Game, learns: bool, seen: Seen) -> list[float]:
    """Plays to stage (c); what D(G(z)), under one and the same D, rose by from (b) to (c), per seed."""
    rates = (config.discriminator_rate, config.generator_rate * learns)
    updates = 2 * (config.early_rounds + config.rounds) + config.optimum_updates + config.moves  # of the whole game
    with task(STAGES["a"], 2 * config.early_rounds / updates):
        for update in steps(config.early_rounds, "round"):
            game.round(update, config.batch_size, rates, "non_saturating")
    seen.stages["a"] = facts(game) | picture(game)
    with task(STAGES["b"], config.optimum_updates / updates):
        for update in steps(config.optimum_updates):
            rate = config.optimum_rate * (1 - update / config.optimum_updates)
            samples = (config.batch_size, 2)
            game.update_discriminator(game.real(update, *samples), game.latent(update, *samples), rate)
    seen.stages["b"] = facts(game) | picture(game)
    before = opinion_of_images(game)
    for update in range(config.moves):
        game.update_generator(game.latent(update, config.batch_size, part=3), rates[1])
    seen.stages["c"] = facts(game) | picture(game)
    return [float(rise) for rise in opinion_of_images(game) - before]


def rest(config: Figure1Config, game: Game, learns: bool, seen: Seen) -> None:
    """Plays on to stage (d)."""
    looks = sorted({0, *(round(config.rounds ** (k / 24)) for k in range(25))})
    frames = {round(config.rounds ** (k / (FRAMES - 1))) if k else 0 for k in range(FRAMES)}
    for update in steps(config.rounds + 1, "round"):
        if update in looks:
            now = facts(game)
            seen.curve["round"].append(update)
            for name in ("distance", "from_half"):
                seen.curve[name].append([round(value, 5) for value in now[name]])
        if update in frames:
            seen.frames.append({"round": update} | picture(game))
        fade = 1 - update / config.rounds
        if fade:
            rates = (config.discriminator_rate * fade, config.generator_rate * fade * learns)
            game.round(config.early_rounds + update, config.batch_size, rates, "non_saturating")
    seen.stages["d"] = facts(game) | picture(game)


class Figure1(Experiment):
    """F1."""

    Config = Figure1Config
    claims: ClassVar[tuple[str, ...]] = ("F1",)

    def __init__(self, learns: bool = True) -> None:
        self._learns = learns

    def run(self, config: Figure1Config, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Plays the game; `splits` is not used."""
        game, seen = new_game(Streams(seeds, device), config.hidden, config.shift), Seen()
        rise = opening(config, game, self._learns, seen)
        with task(STAGES["d"], 1.0):
            rest(config, game, self._learns, seen)
        before, after = (np.array(seen.stages[stage]["distance"]) for stage in "bc")
        checks: Checks = {
            "F1": {
                "error_of_the_discriminator_at_its_optimum": seen.stages["b"]["error"],
                "rise_of_the_discriminator_on_images": [*rise],
                "log_ratio_of_distances_after_and_before_the_move": [float(e) for e in np.log(after / before)],
                "distance_of_the_discriminator_from_one_half": seen.stages["d"]["from_half"],
                "distance_to_the_data_at_the_end": seen.stages["d"]["distance"],
            }
        }
        still = {
            "x": _rounded((CENTRES[SHOWN] + CENTRES[SHOWN.start + 1 : SHOWN.stop : 2]) / 2),
            "z": _rounded(LATENTS[ARROWS]), "data": _rounded(DATA_DENSITY[SHOWN]),
        }  # fmt: skip
        return Found(checks, still | {"stages": seen.stages, "curve": seen.curve, "frames": seen.frames})


EXPERIMENT = Figure1()
