"""The gradient that D leaves to G (G1, section 3; L1, lecture slides), for a game on a line whose G starts far away.

With b = logit D(G(z)), the gradient of log(1 - D(G(z))) by b is -D, which D(G(z)) near 0 takes away; that of
-log D(G(z)) is -(1 - D). Both vanish by no more than D's slope where D is 1/2, and there they are the same.

G descends by its plain gradient with a bounded step, so that the size of the gradient is what it learns by; Adam would
divide it out. Norms are over all parameters of G, of the mean over equally spaced z: no sampling error.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Checks, Experiment, ExperimentConfig, Found
from replicate.experiments.line_game import DATA_MASS, LATENTS, Array, Game, distance_to_data, masses, new_game
from replicate.loops import each, steps, task
from replicate.params import OURS, setting
from replicate.training.objectives import Objective, generator_loss
from replicate.training.streams import Streams

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
#: Looks at D while it learns against a fixed G, and at a game.
LOOKS = 24


class GradientsConfig(ExperimentConfig):
    """Both games: D alone against a G that stays, and both players."""

    hidden: tuple[PositiveInt, ...] = setting((32, 32), "rectified units per layer, of G and of D", OURS, min_length=1)
    shift: float = setting(-4.0, "mean of p_g at the start of the games; both standard deviations are 1", OURS)
    fixed_shift: float = setting(-6.0, "mean of the p_g that stays: its images and the data are apart (L1)", OURS)
    batch_size: int = setting(256, "samples of the data, and of G, per update", OURS, ge=1)
    convergence_updates: int = setting(2000, "updates of D against the fixed G (L1)", OURS, ge=LOOKS)
    head_start: int = setting(200, "updates of D before the game begins (G1)", OURS, ge=1)
    early_rounds: int = setting(50, "rounds after which progress counts as early (G1)", OURS, ge=1)
    rounds: int = setting(1500, "rounds: an update of D, then one of G", OURS, ge=LOOKS)
    discriminator_rate: PositiveFloat = setting(0.003, "of Adam for D; falls linearly to 0", OURS)
    generator_rate: PositiveFloat = setting(0.02, "of plain gradient descent for G; falls linearly to 0", OURS)
    longest_step: PositiveFloat = setting(0.02, "longest step of G's parameters in an update", OURS)


def gradient_norms(game: Game, objective: Objective) -> Array:
    """The norm of the gradient of G's objective by all parameters of G, (seeds,)."""
    logits = game.discriminator.outputs(game.generate(game.grid(LATENTS)))[..., 0]
    leaves = list(game.generator.parameters.values())
    slopes = torch.autograd.grad(generator_loss(logits, objective).sum(), leaves)
    squares = torch.stack([slope.double().square().flatten(1).sum(1) for slope in slopes])
    return np.asarray(squares.sum(0).sqrt().cpu().numpy())


def accuracy(game: Game) -> Array:
    """The share that D tells right of data and images in equal numbers, (seeds,)."""
    says_data = game.opinions() > 0.5
    generated = masses(game.images())
    return np.asarray(((DATA_MASS * says_data).sum(1) + (generated * ~says_data).sum(1)) / 2)


def _looks(last: int) -> set[int]:
    return {round((last + 1) ** (k / (LOOKS - 1))) - 1 for k in range(LOOKS)}


def _norms(game: Game) -> dict[str, list[float]]:
    return {name: [float(norm) for norm in gradient_norms(game, name)] for name in OBJECTIVES}


def converge(config: GradientsConfig, game: Game) -> dict[str, list[Any]]:
    """Trains D against the G as it stands: its accuracy, and the norms of both objectives, as it learns."""
    curve: dict[str, list[Any]] = {"update": [], "accuracy": [], **{name: [] for name in OBJECTIVES}}
    for update in steps(config.convergence_updates + 1):
        if update in _looks(config.convergence_updates):
            _note(curve, {"update": update, "accuracy": [float(share) for share in accuracy(game)], **_norms(game)})
        rate = config.discriminator_rate * (1 - update / (config.convergence_updates + 1))
        game.update_discriminator(game.real(update, config.batch_size), game.latent(update, config.batch_size), rate)
    return curve


def play(config: GradientsConfig, game: Game, objective: Objective) -> dict[str, list[Any]]:
    """A whole game by one objective: the distance of p_g to the data, and the norms of both at the same D and G."""
    size = config.batch_size
    for update in range(config.head_start):
        game.update_discriminator(game.real(update, size), game.latent(update, size), config.discriminator_rate)
    curve: dict[str, list[Any]] = {"round": [], "distance": [], **{name: [] for name in OBJECTIVES}}
    for turn in steps(config.rounds + 1, "round"):
        if turn in _looks(config.rounds) | {config.early_rounds}:
            _note(curve, {"round": turn, "distance": distance_to_data(game.images()), **_norms(game)})
        update, fade = config.head_start + turn, 1 - turn / (config.rounds + 1)
        rate = config.discriminator_rate * fade
        game.update_discriminator(game.real(update, size), game.latent(update, size), rate)
        descend(config, game, game.latent(update, size, part=1), objective, fade)
    return curve


def _note(curve: dict[str, list[Any]], found: Mapping[str, Any]) -> None:
    for name, value in found.items():
        curve[name].append(value)


def descend(config: GradientsConfig, game: Game, latent: Tensor, objective: Objective, fade: float) -> None:
    """One update of G by its plain gradient; a step longer than the longest keeps its direction."""
    leaves = list(game.generator.parameters.values())
    logits = game.discriminator.outputs(game.generate(latent))[..., 0]
    slopes = torch.autograd.grad(generator_loss(logits, objective).sum(), leaves)
    length = torch.stack([slope.square().flatten(1).sum(1) for slope in slopes]).sum(0).sqrt()
    rate = torch.clamp(config.longest_step / length.clamp_min(1e-30), max=config.generator_rate)[:, None, None] * fade
    with torch.no_grad():
        for leaf, slope in zip(leaves, slopes, strict=True):
            leaf -= rate * slope


def _log_ratio(ones: Sequence[float], others: Sequence[float]) -> list[float | None]:
    """log(one / other) per seed; None where a gradient is exactly zero or not finite."""
    known = [math.isfinite(a) and math.isfinite(b) and a > 0 and b > 0 for a, b in zip(ones, others, strict=True)]
    return [math.log(a / b) if k else None for a, b, k in zip(ones, others, known, strict=True)]


class Gradients(Experiment):
    """G1 and L1.

    Args:
        strong: the objective that is said to keep its gradient early; the other one is said to saturate.
        learns: whether D learns.
    """

    Config = GradientsConfig
    claims: ClassVar[tuple[str, ...]] = ("G1", "L1")

    def __init__(self, strong: Objective = "non_saturating", learns: bool = True) -> None:
        self._strong, self._learns = strong, learns

    def run(self, config: GradientsConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Plays all three games; `splits` is not used."""
        if not self._learns:
            config = config.model_copy(update={"discriminator_rate": 0.0})
        streams = Streams(seeds, device)
        updates = config.convergence_updates, 2 * (config.head_start + 2 * config.rounds)
        with task("D alone", updates[0] / sum(updates)):
            alone = converge(config, new_game(streams, config.hidden, config.fixed_shift))
        games: dict[str, dict[str, list[Any]]] = {
            name: play(config, new_game(streams, config.hidden, config.shift), name)
            for name in each(OBJECTIVES, "objective {}")
        }
        checks: Checks = {"G1": self._of_games(config, games), "L1": _of_convergence(alone)}
        return Found(checks, {"alone": alone, "games": games, "early": config.early_rounds})

    def _of_games(
        self, config: GradientsConfig, games: Mapping[str, Mapping[str, list[Any]]]
    ) -> dict[str, float | list[float | None]]:
        strong, weak = self._strong, next(name for name in OBJECTIVES if name != self._strong)
        one = games[strong]
        early = one["round"].index(config.early_rounds)
        reached = {name: games[name]["distance"][early] for name in OBJECTIVES}
        ends = _log_ratio(one[strong][-1], one[weak][-1])
        return {
            "log_ratio_of_norms_early": _log_ratio(one[strong][0], one[weak][0]),
            "distance_saved_early": [slow - fast for slow, fast in zip(reached[weak], reached[strong], strict=True)],
            "log_ratio_of_norms_at_the_end": [None if end is None else abs(end) for end in ends],
            **{f"distance_at_the_end_{name}": games[name]["distance"][-1] for name in OBJECTIVES},
        }


def _of_convergence(alone: Mapping[str, list[Any]]) -> dict[str, float | list[float | None]]:
    largest = [max(column) for column in zip(*alone["saturating"], strict=True)]
    return {
        "accuracy_at_convergence": alone["accuracy"][-1],
        "log_ratio_of_norms_at_convergence": _log_ratio(alone["saturating"][-1], largest),
    }


EXPERIMENT = Gradients()
