"""The gradient that D leaves to G (G1, section 3; L1, lecture slides).

The paper claims: log(1 - D(G(z))) saturates early in the game; maximising log D(G(z)) has the same
fixed point and much stronger gradients. The slides claim: where D is too good, G's gradient
vanishes. With b = logit D(G(z)), the gradient of log(1 - D(G(z))) by b is -D, near 0 where D is
sure of images; that of -log D(G(z)) is -(1 - D). Where D is 1/2 the two are the same.

Measured, in a game on a line whose G starts far away from the data: the norm of each objective's
gradient over all parameters of G, at the same D and G, before the game and at its end; the distance
of p_g to the data by each of them; and the norms while D alone learns. Norms are those of the mean
over equally spaced z: no sampling error. G descends by its plain gradient with a bounded step, so
that the size of the gradient is what it learns by; Adam would divide it out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, TypedDict, get_args

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Experiment,
    ExperimentConfig,
    ExperimentResult,
    StatementChecks,
    differences,
    geometric_looks,
    log_ratios,
)
from replicate.experiments.games.line_game import (
    DATA_MASS,
    FARTHEST,
    LATENTS,
    Array,
    Game,
    distance_to_data,
    masses,
    new_game,
)
from replicate.params import OURS, setting
from replicate.progress.loops import each, steps, task
from replicate.training.objectives import Objective, generator_loss
from replicate.training.streams import Streams

OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
#: Looks at D while it learns against a fixed G, and at a game.
LOOKS = 24


class GradientsConfig(ExperimentConfig):
    """Both games: D alone against a G that stays, and both players."""

    hidden: tuple[PositiveInt, ...] = setting(
        (32, 32), "rectified units per layer, of G and of D", OURS, min_length=1
    )
    shift: float = setting(
        -4.0,
        "mean of p_g at the start of the games; both standard deviations are 1",
        OURS,
        ge=-FARTHEST,
        le=FARTHEST,
    )
    fixed_shift: float = setting(
        -6.0,
        "mean of the p_g that stays: its images and the data are apart (L1)",
        OURS,
        ge=-FARTHEST,
        le=FARTHEST,
    )
    batch_size: int = setting(256, "samples of the data, and of G, per update", OURS, ge=1)
    convergence_updates: int = setting(
        2000, "updates of D against the fixed G (L1)", OURS, ge=LOOKS
    )
    head_start: int = setting(200, "updates of D before the game begins (G1)", OURS, ge=1)
    early_rounds: int = setting(50, "rounds after which progress counts as early (G1)", OURS, ge=1)
    rounds: int = setting(1500, "rounds: an update of D, then one of G", OURS, ge=LOOKS)
    discriminator_rate: PositiveFloat = setting(0.003, "of Adam for D; falls linearly to 0", OURS)
    generator_rate: PositiveFloat = setting(
        0.02, "of plain gradient descent for G; falls linearly to 0", OURS
    )
    longest_step: PositiveFloat = setting(0.02, "longest step of G's parameters in an update", OURS)

    @model_validator(mode="after")
    def _check_early_rounds(self) -> Self:
        if self.early_rounds > self.rounds:
            raise ValueError(f"early_rounds: must be at most the {self.rounds} of rounds")
        return self


class Norms(TypedDict):
    """Norms of both objectives' gradients after some updates, rows of one number a seed."""

    saturating: list[list[float]]
    non_saturating: list[list[float]]


class ConvergenceCurve(Norms):
    """D alone, as it learns: rows of one number a seed."""

    update: list[int]
    accuracy: list[list[float]]


class GameCurve(Norms):
    """A game, round by round: rows of one number a seed."""

    round: list[int]
    distance: list[list[float]]


def gradient_norms(game: Game, objective: Objective) -> Array:
    """The norm of the gradient of G's objective by all parameters of G, (seeds,)."""
    latents = game.grid(LATENTS)
    images = game.generate(latents)
    outputs = game.discriminator.outputs(images)
    logits = outputs[..., 0]
    # No loss depends on another seed's parameters, so one sum gives every seed its own gradient.
    loss = generator_loss(logits, objective).sum()
    leaves = list(game.generator.parameters.values())
    slopes = torch.autograd.grad(loss, leaves)
    # In float64: squares of vanishing slopes may be 0 in float32.
    squares = [slope.double().square().flatten(1).sum(1) for slope in slopes]
    squared_norms = torch.stack(squares).sum(0)
    norms = squared_norms.sqrt().cpu()
    return np.asarray(norms.numpy())


def accuracy(game: Game) -> Array:
    """The share that D tells right of data and images in equal numbers, (seeds,)."""
    probabilities = game.probabilities()
    takes_for_data = probabilities > 0.5
    generated = masses(game.images())
    on_data = DATA_MASS * takes_for_data
    # By masses: a share of samples would be 1 long before D is perfect.
    on_generated = generated * ~takes_for_data
    correct_mass = on_data.sum(1) + on_generated.sum(1)
    return np.asarray(correct_mass / 2)


def _looks(last: int) -> set[int]:
    """Numbers of updates from 0 to `last`, ever further apart."""
    # From 0 on, where `geometric_looks` begins with 1.
    return {look - 1 for look in geometric_looks(last + 1, LOOKS)}


def _append_norms(curve: Norms, game: Game) -> None:
    for objective in OBJECTIVES:
        norms = gradient_norms(game, objective)
        of_seeds = [float(norm) for norm in norms]
        curve[objective].append(of_seeds)


def converge(config: GradientsConfig, game: Game) -> ConvergenceCurve:
    """Trains D against a G that stays: D's accuracy, and the norms of both objectives (L1)."""
    curve: ConvergenceCurve = {"update": [], "accuracy": [], "saturating": [], "non_saturating": []}
    size = config.batch_size
    turns = config.convergence_updates + 1
    looks = _looks(config.convergence_updates)
    for update in steps(turns):
        if update in looks:
            shares = [float(share) for share in accuracy(game)]
            curve["update"].append(update)
            curve["accuracy"].append(shares)
            _append_norms(curve, game)
        # A falling rate lets D settle at its optimum, about which it would circle else.
        fade = 1 - update / turns
        rate = config.discriminator_rate * fade
        real = game.real(update, size)
        latent = game.latent(update, size)
        game.update_discriminator(real, latent, rate)
    return curve


def play(config: GradientsConfig, game: Game, objective: Objective) -> GameCurve:
    """A game by one objective: distance of p_g to the data, and both norms at the same D and G."""
    curve: GameCurve = {"round": [], "distance": [], "saturating": [], "non_saturating": []}
    size = config.batch_size
    rate = config.discriminator_rate
    for update in range(config.head_start):
        real = game.real(update, size)
        latent = game.latent(update, size)
        game.update_discriminator(real, latent, rate)
    looks = _looks(config.rounds) | {config.early_rounds}
    turns = config.rounds + 1
    for turn in steps(turns, "round"):
        if turn in looks:
            images = game.images()
            distances = distance_to_data(images)
            curve["round"].append(turn)
            curve["distance"].append(distances)
            _append_norms(curve, game)
        update = config.head_start + turn
        fade = 1 - turn / turns
        faded_rate = rate * fade
        real = game.real(update, size)
        latent = game.latent(update, size)
        game.update_discriminator(real, latent, faded_rate)
        # Fresh z for G, as Algorithm 1 draws them.
        fresh_latent = game.latent(update, size, part=1)
        descend(config, game, fresh_latent, objective, fade)
    return curve


def descend(
    config: GradientsConfig, game: Game, latent: Tensor, objective: Objective, fade: float
) -> None:
    """One update of G by its plain gradient; a step longer than the longest keeps its direction."""
    leaves = list(game.generator.parameters.values())
    images = game.generate(latent)
    outputs = game.discriminator.outputs(images)
    logits = outputs[..., 0]
    loss = generator_loss(logits, objective).sum()
    slopes = torch.autograd.grad(loss, leaves)
    squares = [slope.square().flatten(1).sum(1) for slope in slopes]
    squared_norms = torch.stack(squares).sum(0)
    # A norm of 0 would divide by it; then no rate moves anything.
    norms = squared_norms.sqrt().clamp_min(1e-30)
    # A bound for each seed, on the length of all parameters together.
    rates = torch.clamp(config.longest_step / norms, max=config.generator_rate)
    # Faded after the bound, so that steps at the bound get shorter towards the end too.
    rate = rates[:, None, None] * fade
    with torch.no_grad():
        for leaf, slope in zip(leaves, slopes, strict=True):
            leaf -= rate * slope


class Gradients(Experiment[GradientsConfig]):
    """G1 and L1.

    Args:
        strong: the objective that is said to keep its gradient early; the statement is that the
            other one saturates.
        discriminator_learns: whether D learns.
    """

    Config = GradientsConfig
    statements: ClassVar[tuple[str, ...]] = ("G1", "L1")

    def __init__(
        self, strong: Objective = "non_saturating", discriminator_learns: bool = True
    ) -> None:
        self._strong = strong
        self._discriminator_learns = discriminator_learns

    def run(
        self,
        config: GradientsConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Plays all three games; `splits` is not used."""
        if not self._discriminator_learns:
            # The control: a D that does not learn is never too good.
            config = config.model_copy(update={"discriminator_rate": 0.0})
        streams = Streams(seeds, device)
        updates_alone = config.convergence_updates
        updates_of_games = 2 * (config.head_start + 2 * config.rounds)
        share = updates_alone / (updates_alone + updates_of_games)
        with task("D alone", share):
            game = new_game(streams, config.hidden, config.fixed_shift)
            alone = converge(config, game)
        games: dict[str, GameCurve] = {}
        for objective in each(OBJECTIVES, "objective {}"):
            game = new_game(streams, config.hidden, config.shift)
            games[objective] = play(config, game, objective)
        checks = {"G1": self._game_checks(config, games), "L1": _convergence_checks(alone)}
        series = {
            "alone": shortened(alone),
            "games": {objective: shortened(curve) for objective, curve in games.items()},
            "early": config.early_rounds,
        }
        return ExperimentResult(checks, series)

    def _game_checks(
        self, config: GradientsConfig, games: Mapping[str, GameCurve]
    ) -> StatementChecks:
        strong = self._strong
        weak = next(objective for objective in OBJECTIVES if objective != strong)
        # Both norms along the game of the strong objective: at the same D and G.
        curve = games[strong]
        early = curve["round"].index(config.early_rounds)
        strong_early = games[strong]["distance"][early]
        weak_early = games[weak]["distance"][early]
        last_ratios = log_ratios(curve[strong][-1], curve[weak][-1])
        last_distances = {
            f"distance_at_the_end_{objective}": games[objective]["distance"][-1]
            for objective in OBJECTIVES
        }
        return {
            "log_ratio_of_norms_early": log_ratios(curve[strong][0], curve[weak][0]),
            "distance_saved_early": differences(weak_early, strong_early),
            "log_ratio_of_norms_at_the_end": [
                None if ratio is None else abs(ratio) for ratio in last_ratios
            ],
            **last_distances,
        }


def shortened(curve: Mapping[str, Any]) -> dict[str, Any]:
    """A curve with six digits of every number, which is more than its figure shows."""
    rows_by_name = {}
    for name, rows in curve.items():
        is_of_seeds = isinstance(rows[0], list)
        rows_by_name[name] = [_six_digits(row) for row in rows] if is_of_seeds else rows
    return rows_by_name


def _six_digits(row: Sequence[float]) -> list[float]:
    return [float(f"{number:.6g}") for number in row]


def _convergence_checks(alone: ConvergenceCurve) -> StatementChecks:
    # Of the saturating objective: it is the one that the slides say vanishes.
    norms = alone["saturating"]
    norms_of_seeds = zip(*norms, strict=True)
    largest = [max(norms_of_seed) for norms_of_seed in norms_of_seeds]
    last = norms[-1]
    return {
        "accuracy_at_convergence": alone["accuracy"][-1],
        "log_ratio_of_norms_at_convergence": log_ratios(last, largest),
    }


EXPERIMENT = Gradients()
