"""Figure 1: measures of known games, the verdict, and a G that never learns."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from replicate.experiments.figure1 import EXPERIMENT, Figure1, Figure1Config, facts, picture
from replicate.experiments.games.line_game import Game, new_game
from replicate.figures.experiments.figure1 import draw
from replicate.figures.theme import checked_svg
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.helpers import verdict

CPU = torch.device("cpu")
TINY = Figure1Config(
    hidden=(8, 8), batch_size=32, early_rounds=5, optimum_updates=5, moves=3, rounds=20
)
QUICK = Figure1Config(
    batch_size=128,
    early_rounds=40,
    optimum_updates=500,
    moves=10,
    rounds=1200,
    discriminator_rate=0.006,
    generator_rate=0.0006,
)


def silent(shift: float) -> Game:
    """A game of two networks that give 0: p_g is uniform around `shift` and D is 1/2."""
    game = new_game(Streams((0,), CPU, torch.float64), (4,), shift)
    with torch.no_grad():
        for player in (game.generator, game.discriminator):
            for value in player.parameters.values():
                value.zero_()
    return game


def test_facts_of_a_uniform_generator_and_an_undecided_discriminator() -> None:
    """D = 1/2 is off D* by half the total variation; the distance of the uniform distribution is by
    quadrature.
    """
    found = facts(silent(0.0))
    edge = math.sqrt(3)
    variation = (
        0.5
        * integrate.quad(
            lambda x: abs(stats.norm.pdf(x) - (abs(x) < edge) / (2 * edge)),
            -9,
            9,
            points=[-edge, edge],
            limit=400,
        )[0]
    )
    distance = integrate.quad(
        lambda u: abs(stats.norm.ppf(u) - edge * (2 * u - 1)), 0, 1, limit=400
    )[0]
    assert found["from_half"] == [0.0]
    assert found["error"][0] == pytest.approx(variation / 2, abs=2e-3)
    assert found["distance"][0] == pytest.approx(distance, abs=1e-3)


def test_the_picture_of_a_uniform_generator() -> None:
    shown = picture(silent(1.0))
    x = np.arange(-4, 4, 0.1) + 0.05
    inside = np.abs(x - 1) < math.sqrt(3) - 0.1
    np.testing.assert_allclose(
        np.array(shown["generated"])[inside], 1 / (2 * math.sqrt(3)), atol=2e-3
    )
    assert set(shown["discriminator"]) == {0.5}
    assert shown["images"][8] == pytest.approx(1.0, abs=1e-3)


def test_it_is_a_function_of_its_seeds() -> None:
    one, two = EXPERIMENT.run(TINY, (3, 4), CPU, None), EXPERIMENT.run(TINY, (3, 4), CPU, None)
    assert one == two
    alone = EXPERIMENT.run(TINY, (4,), CPU, None).checks["F1"]
    for name, values in one.checks["F1"].items():
        assert isinstance(values, list)
        np.testing.assert_allclose(values[1], alone[name][0], atol=1e-5)  # type: ignore[index]


@negative_control("F1")
def test_the_claim_holds_and_a_generator_that_never_learns_is_found_out() -> None:
    seeds = tuple(range(100, 106))
    assert verdict(EXPERIMENT, QUICK, seeds) == {"F1": "replicated"}
    asleep = QUICK.model_copy(update={"rounds": 200})
    assert verdict(Figure1(generator_learns=False), asleep, seeds) == {"F1": "not replicated"}


@pytest.mark.slow
def test_figures_say_what_they_show() -> None:
    found = EXPERIMENT.run(TINY, (7, 8), CPU, None)
    rounds = [frame["round"] for frame in found.series["frames"]]
    assert rounds == sorted(rounds)
    assert (rounds[0], rounds[-1]) == (0, TINY.rounds)
    drawn = draw({"seeds": [7, 8], "series": found.series})
    assert set(drawn) == {"stages", "sequence", "distances"}
    shown = checked_svg(drawn["sequence"].svg)
    for number in range(
        len(rounds)
    ):  # counted down: frame 0 is the last, which stays where nothing may move
        assert shown.count(f'class="frame frame-{number}"') == 3
    assert f'class="frame frame-{len(rounds)}"' not in shown
    assert "seed 7" in drawn["stages"].caption
    assert "2 seeds" in drawn["distances"].caption
