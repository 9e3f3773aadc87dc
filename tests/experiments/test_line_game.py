"""The game on a line: its measures against quadrature and closed forms, its updates against plain
autograd.
"""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.nn.functional import logsigmoid

from replicate.experiments.games.line_game import (
    CENTRES,
    DATA_DENSITY,
    DATA_MASS,
    EDGES,
    LATENTS,
    Game,
    distance_to_data,
    masses,
    new_game,
    straightest_distance,
)
from replicate.training.streams import Streams

SLOPE = math.sqrt(3)


def game(*seeds: int) -> Game:
    return new_game(Streams(seeds, torch.device("cpu"), torch.float64), (8, 8), -1.0)


def test_the_data_is_a_standard_normal() -> None:
    np.testing.assert_allclose(DATA_MASS, np.diff(stats.norm.cdf(EDGES)), atol=1e-15)
    np.testing.assert_allclose(DATA_DENSITY, stats.norm.pdf(CENTRES), atol=1e-4)
    assert (DATA_MASS > 0).all()


@pytest.mark.parametrize("shift", [-2.0, 0.3])
def test_the_distance_of_a_shifted_normal_is_the_shift(shift: float) -> None:
    levels = (LATENTS + 1) / 2
    assert distance_to_data(stats.norm.ppf(levels)[None] + shift) == pytest.approx(
        [abs(shift)], abs=1e-12
    )


def test_the_distance_does_not_depend_on_the_order_and_is_scipys() -> None:
    drawn = np.random.default_rng(0).gamma(2.0, size=(1, 4096))
    against = stats.norm.ppf((LATENTS + 1) / 2)
    assert distance_to_data(drawn)[0] == pytest.approx(
        stats.wasserstein_distance(drawn[0], against), abs=1e-12
    )


def test_no_straight_generator_comes_closer() -> None:
    """E|q(u) - a (2 u - 1)| is least where the crossing, at 2 u - 1 = t, halves the integral of 2 u
    - 1: t^2 = 1/2.
    """
    crossing = 1 / math.sqrt(2)
    slope = stats.norm.ppf((1 + crossing) / 2) / crossing
    least = integrate.quad(
        lambda t: abs(stats.norm.ppf((1 + t) / 2) - slope * t), 0, 1, points=[crossing], limit=200
    )[0]
    assert straightest_distance() == pytest.approx(least, abs=2e-4)


def test_masses_of_a_uniform_distribution() -> None:
    images = 0.3 + SLOPE * LATENTS[None]
    expected = np.diff(stats.uniform.cdf(EDGES, 0.3 - SLOPE, 2 * SLOPE))
    np.testing.assert_allclose(masses(images)[0], expected, atol=2 / len(LATENTS))
    assert masses(images).sum() == pytest.approx(1, abs=1e-12)


def test_the_start_is_a_line_bent_a_little() -> None:
    images = game(0, 1, 2).images()
    assert (np.diff(images, axis=1) > 0).all()
    np.testing.assert_allclose(images.std(1), 1, atol=0.35)
    np.testing.assert_allclose(images.mean(1), -1, atol=0.5)


def test_each_update_moves_its_own_player_downhill() -> None:
    """Adam's first update is the rate times the sign of the gradient, which is worked out here from
    equation 1.
    """
    one = game(0, 1)
    before = {name: value.detach().clone() for name, value in one.discriminator.parameters.items()}
    made = {name: value.detach().clone() for name, value in one.generator.parameters.items()}
    real, latent = one.real(0, 64), one.latent(0, 64)
    value = logsigmoid(one.discriminator.outputs(real)).mean(1) + logsigmoid(
        -one.discriminator.outputs(one.generate(latent))
    ).mean(1)
    leaves = list(one.discriminator.parameters.values())
    slopes = torch.autograd.grad(value.sum(), leaves)
    one.update_discriminator(real, latent, 0.01)
    for (name, start), slope in zip(before.items(), slopes, strict=True):
        moved = one.discriminator.parameters[name].detach() - start
        certain = slope.abs() > 1e-6
        torch.testing.assert_close(moved[certain], 0.01 * slope.sign()[certain], atol=1e-4, rtol=0)
    assert all(torch.equal(one.generator.parameters[name], value) for name, value in made.items())


def test_the_generator_goes_where_the_discriminator_believes() -> None:
    one = game(0, 1)
    for update in range(30):
        one.update_discriminator(one.real(update, 64), one.latent(update, 64), 0.01)
    judged = {name: value.detach().clone() for name, value in one.discriminator.parameters.items()}
    before = one.discriminator.outputs(one.generate(one.grid(LATENTS))).mean(1)
    one.update_generator(one.latent(0, 64), 0.001)
    assert (one.discriminator.outputs(one.generate(one.grid(LATENTS))).mean(1) > before).all()
    assert all(
        torch.equal(one.discriminator.parameters[name], value) for name, value in judged.items()
    )


def test_a_seed_alone_is_that_in_company() -> None:
    company, alone = game(3, 4), game(4)
    for update in range(20):
        for one in (company, alone):
            one.round(update, 32, (0.01, 0.01), "non_saturating")
    np.testing.assert_allclose(company.images()[1], alone.images()[0], atol=1e-10)
    np.testing.assert_allclose(company.probabilities()[1], alone.probabilities()[0], atol=1e-10)
    assert np.abs(company.images()[0] - company.images()[1]).max() > 1e-3


def test_the_data_the_codes_and_the_two_players_codes_are_drawn_apart() -> None:
    one = game(0)
    drawn = [
        one.real(5, 16),
        one.real(5, 16, 2),
        one.latent(5, 16),
        one.latent(5, 16, 1),
        one.latent(5, 16, 2),
    ]
    assert len({tuple(values.flatten().tolist()) for values in drawn}) == len(drawn)
