"""The gradient that D leaves to G: norms against closed forms, the verdicts, and controls without
the effect.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from replicate.experiments.figure1 import Figure1Config
from replicate.experiments.games.line_game import FARTHEST, Game, masses, new_game
from replicate.experiments.gradients import (
    EXPERIMENT,
    OBJECTIVES,
    Gradients,
    GradientsConfig,
    accuracy,
    descend,
    gradient_norms,
)
from replicate.figures.experiments.gradients import draw
from replicate.figures.theme import checked_svg
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.helpers import verdict

CPU = torch.device("cpu")
SEEDS = tuple(range(100, 106))
QUICK = GradientsConfig(batch_size=64, convergence_updates=1500, rounds=600)
TINY = GradientsConfig(
    hidden=(8, 8), batch_size=16, convergence_updates=30, head_start=5, rounds=30, early_rounds=10
)


def ramp(slope: float, shift: float) -> Game:
    """A game whose D has the logit `slope` times relu(-x), linear on all of its images, and whose G
    is near `shift`.
    """
    game = new_game(Streams((0,), CPU, torch.float64), (4, 4), shift)
    with torch.no_grad():
        for value in game.discriminator.parameters.values():
            value.zero_()
        game.discriminator.parameters["discriminator.0.weight"][..., 0] = -1
        game.discriminator.parameters["discriminator.1.weight"][:, 0, 0] = 1
        game.discriminator.parameters["discriminator.2.weight"][:, 0, 0] = slope
    return game


def test_norms_are_those_of_the_chain_rule() -> None:
    """The slopes by the logit are -D and -(1 - D); so the two add up to that of the mean logit."""
    game = ramp(-0.7, -6.0)
    latent = game.grid(np.linspace(-1, 1, 2 * 4096 + 1)[1::2])
    leaves = list(game.generator.parameters.values())
    logits = game.discriminator.outputs(game.generate(latent))[..., 0]
    share = torch.sigmoid(logits).detach()
    for name, slope in (("saturating", -share), ("non_saturating", share - 1)):
        found = torch.autograd.grad((logits * slope).mean(), leaves, retain_graph=True)
        expected = math.sqrt(sum(float(part.square().sum()) for part in found))
        assert gradient_norms(game, name) == pytest.approx([expected], rel=1e-9)  # type: ignore[arg-type]


def test_where_d_is_one_half_both_objectives_are_the_same() -> None:
    one, two = (gradient_norms(ramp(0.0, -1.0), name) for name in OBJECTIVES)
    np.testing.assert_array_equal(one, two)


def test_a_confident_d_takes_the_saturating_gradient_away() -> None:
    """With a logit below -30 on every image, D < e^-30, and so is the ratio of the norms."""
    strong, weak = (
        gradient_norms(ramp(-30.0, -6.0), name)[0] for name in ("non_saturating", "saturating")
    )
    assert weak / strong < math.exp(-30)


def test_accuracy_of_known_discriminators() -> None:
    """A D that is 1/2 everywhere says `image` of everything; of one that cuts at -4 both shares are
    known.
    """
    assert accuracy(ramp(0.0, -6.0)) == pytest.approx([0.5], abs=1e-6)
    game = ramp(-5.0, -6.0)
    with torch.no_grad():
        game.discriminator.parameters["discriminator.2.bias"] += (
            20.0  # the logit is positive above x = -4
        )
    share = (stats.norm.cdf(4) + (game.images() < -4).mean()) / 2
    assert accuracy(game) == pytest.approx([share], abs=1e-3)


def test_a_long_step_is_shortened_and_keeps_its_direction() -> None:
    for longest, expected in ((1e9, None), (1e-3, 1e-3)):
        game = ramp(-3.0, -4.0)
        before = [value.detach().clone() for value in game.generator.parameters.values()]
        norm = gradient_norms(game, "non_saturating")[0]
        config = TINY.model_copy(update={"generator_rate": 0.01, "longest_step": longest})
        descend(
            config, game, game.grid(np.linspace(-1, 1, 2 * 4096 + 1)[1::2]), "non_saturating", 1.0
        )
        moved = [
            now.detach() - then
            for now, then in zip(game.generator.parameters.values(), before, strict=True)
        ]
        length = math.sqrt(sum(float(part.square().sum()) for part in moved))
        assert length == pytest.approx(expected if expected else 0.01 * norm, rel=1e-9)


def test_the_claims_hold() -> None:
    assert verdict(EXPERIMENT, QUICK, SEEDS) == {"G1": "replicated", "L1": "replicated"}


@negative_control("G1", "L1")
@pytest.mark.slow
def test_objectives_the_other_way_round_and_a_d_that_never_learns_are_found_out() -> None:
    short = QUICK.model_copy(update={"rounds": 60})
    assert verdict(Gradients(strong="saturating"), short, SEEDS)["G1"] == "not replicated"
    assert verdict(Gradients(discriminator_learns=False), short, SEEDS)["L1"] == "not replicated"


@pytest.mark.slow
def test_it_is_a_function_of_its_seeds() -> None:
    one, two = EXPERIMENT.run(TINY, (3, 4), CPU, None), EXPERIMENT.run(TINY, (3, 4), CPU, None)
    assert one == two
    alone = EXPERIMENT.run(TINY, (4,), CPU, None).checks
    for claim, checks in one.checks.items():
        for name, values in checks.items():
            np.testing.assert_allclose(values[1], alone[claim][name][0], atol=1e-3)  # type: ignore[index]


@pytest.mark.slow
def test_figures_are_drawn_from_the_result_alone() -> None:
    found = EXPERIMENT.run(TINY, (7, 8), CPU, None)
    drawn = draw({"seeds": [7, 8], "series": found.series})
    assert set(drawn) == {"alone", "games"}
    for one in drawn.values():
        checked_svg(one.svg)
        assert "2 seeds" in one.caption


def test_no_round_of_a_game_is_early_that_is_never_played() -> None:
    with pytest.raises(ValueError, match="early_rounds: must be at most the 30 of rounds"):
        GradientsConfig(rounds=30, early_rounds=31)
    GradientsConfig(rounds=30, early_rounds=30)


def test_no_game_begins_where_its_images_leave_the_bins() -> None:
    """There a D that tells everything right would have an accuracy of one half."""
    for shift in (-FARTHEST, FARTHEST):
        game = new_game(Streams(range(20), CPU), GradientsConfig().hidden, shift)
        assert masses(game.images()).sum(1) == pytest.approx(np.ones(20), abs=0.02)
    for name in ("shift", "fixed_shift"):
        with pytest.raises(ValueError, match=name):
            GradientsConfig(**{name: -FARTHEST - 0.1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shift"):
        Figure1Config(shift=30.0)
