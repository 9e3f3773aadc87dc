"""Losses at known logits, their gradients, and the released schedules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from replicate.training.momentum import decayed, momentum_step, ramped, zero_averages
from replicate.training.objectives import (
    discriminator_loss,
    discriminator_slopes,
    generator_loss,
    generator_slope,
)


def logits(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def test_values_at_known_logits() -> None:
    """D = 1/2 everywhere: log 4 for D, log 2 for G; D = .9 on data and .1 on images: -2 log .9."""
    zero = logits(0.0, 0.0)
    assert discriminator_loss(zero, zero).item() == pytest.approx(math.log(4), abs=1e-15)
    assert generator_loss(zero, "non_saturating").item() == pytest.approx(math.log(2), abs=1e-15)
    assert generator_loss(zero, "saturating").item() == pytest.approx(-math.log(2), abs=1e-15)
    high = math.log(9)
    assert discriminator_loss(logits(high), logits(-high)).item() == pytest.approx(
        -2 * math.log(0.9), abs=1e-15
    )


@pytest.mark.parametrize(
    ("d", "saturating", "non_saturating"),
    [(0.01, -0.01, -0.99), (0.5, -0.5, -0.5), (0.99, -0.99, -0.01)],
)
def test_gradients_by_the_logit(d: float, saturating: float, non_saturating: float) -> None:
    """Section 3: where D rejects G's images (D small), log(1 - D) saturates and -log D does not."""
    for objective, expected in (("saturating", saturating), ("non_saturating", non_saturating)):
        fake = logits(math.log(d / (1 - d)))
        generator_loss(fake, objective).backward()  # type: ignore[arg-type]
        assert fake.grad is not None
        assert fake.grad.item() == pytest.approx(expected, abs=1e-12)


def test_the_slopes_are_the_losses_derivatives() -> None:
    """By autograd, for two seeds and batches of different sizes."""
    generator = torch.Generator().manual_seed(1)
    real = torch.randn(2, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    fake = torch.randn(2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    expected = torch.autograd.grad(discriminator_loss(real, fake).sum(), (real, fake))
    for slope, derivative in zip(discriminator_slopes(real, fake), expected, strict=True):
        torch.testing.assert_close(slope, derivative, rtol=0, atol=1e-15)
    for objective in ("saturating", "non_saturating"):
        loss = generator_loss(fake, objective).sum()  # type: ignore[arg-type]
        (derivative,) = torch.autograd.grad(loss, fake)
        slope = generator_slope(fake, objective)  # type: ignore[arg-type]
        torch.testing.assert_close(slope, derivative, rtol=0, atol=1e-15)


@given(st.floats(-800, 800), st.floats(-800, 800))
def test_no_logit_overflows(real: float, fake: float) -> None:
    for loss in (
        discriminator_loss(logits(real), logits(fake)),
        generator_loss(logits(fake), "saturating"),
        generator_loss(logits(fake), "non_saturating"),
    ):
        assert math.isfinite(loss.item())


def test_means_are_over_the_minibatch_alone() -> None:
    real, fake = torch.randn(3, 7, generator=torch.Generator().manual_seed(0)), torch.zeros(3, 7)
    assert discriminator_loss(real, fake).shape == (3,)
    torch.testing.assert_close(
        discriminator_loss(real, fake)[1], discriminator_loss(real[1], fake[1])
    )


def test_momentum_is_the_classical_update_with_a_changing_rate() -> None:
    """Against v <- m v - rate g; theta <- theta + v in plain floats, over a decaying rate and a
    rising momentum.
    """
    theta, kept = torch.tensor([[2.0]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    expected, velocity = 2.0, 0.0
    rate = lambda step: decayed(0.1, 1.3, 1e-6, step)  # noqa: E731
    for step in range(12):
        gradient = math.sin(step) + theta.item()
        velocity = ramped(0.5, 0.7, 6, step) * velocity - rate(step) * (math.sin(step) + expected)
        expected += velocity
        momentum_step(
            [theta],
            [kept],
            [torch.tensor([[gradient]], dtype=torch.float64)],
            rate(step),
            ramped(0.5, 0.7, 6, step),
            rate(max(step - 1, 0)),
        )
        assert theta.item() == pytest.approx(expected, abs=1e-13)


def test_nothing_of_a_velocity_outlives_an_update_without_momentum() -> None:
    """The update after it goes on from its gradient alone: theta moves by rate * (3 m + 1)."""
    theta, average = torch.zeros(1), torch.full((1,), 100.0)
    momentum_step([theta], [average], [torch.tensor([3.0])], 0.1, 0.0, 0.1)
    assert theta.item() == pytest.approx(-0.3)
    momentum_step([theta], [average], [torch.tensor([1.0])], 0.1, 0.5, 0.1)
    assert theta.item() == pytest.approx(-0.3 - 0.1 * (0.5 * 3 + 1))


@pytest.mark.parametrize(
    ("epoch", "rate"),
    [(1, 0.0998), (50, 0.0905), (100, 0.0819), (250, 0.0607), (500, 0.0368), (1000, 0.0135)],
)
def test_learning_rate_of_the_released_recipe(epoch: int, rate: float) -> None:
    """500 minibatches an epoch; .1 / 1.000004^t, computed by hand from the constants of
    mnist.yaml.
    """
    assert decayed(0.1, 1.000004, 1e-6, 500 * epoch) == pytest.approx(rate, abs=5e-5)
    assert decayed(0.1, 1.000004, 1e-6, 500 * 6000) == 1e-6


@pytest.mark.parametrize("updates", [50_000, 71_000, 72_000, 10**9])
def test_a_rate_far_below_its_floor_stays_at_it(updates: int) -> None:
    """Against logarithms, which have every power of the decay: 1.01^72,000 is above 1.8e308."""
    assert math.log(0.1) - updates * math.log(1.01) < math.log(1e-6)
    assert decayed(0.1, 1.01, 1e-6, updates) == 1e-6


def test_a_rate_below_the_smallest_number_moves_nothing() -> None:
    """The walkback models multiply their rate by a factor after every epoch, without a floor."""
    theta, average = torch.ones(1), torch.ones(1)
    rate = 0.25 * 0.4**1000
    assert rate == 0
    momentum_step([theta], [average], [torch.tensor([3.0])], rate, 0.5, rate)
    assert theta.item() == 1


def test_momentum_of_the_released_recipe() -> None:
    """pylearn2's MomentumAdjustor: alpha = (count - 1) / (250 - 1), and count is 1 in the first
    epoch.
    """
    assert ramped(0.5, 0.7, 250, 0) == 0.5
    assert ramped(0.5, 0.7, 250, 1) == pytest.approx(0.5 + 0.2 / 249)
    assert ramped(0.5, 0.7, 250, 249) == pytest.approx(0.7)
    assert ramped(0.5, 0.7, 250, 900) == pytest.approx(0.7)


def test_averages_start_at_zero_in_the_shapes_of_the_parameters() -> None:
    parameters = {"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.float64)}
    averages = zero_averages(parameters)
    assert averages.keys() == parameters.keys()
    for name, average in averages.items():
        assert torch.equal(average, 0 * parameters[name])
        assert average.dtype == parameters[name].dtype


def test_a_ramp_of_one_epoch_is_at_its_end_at_once() -> None:
    """pylearn2's MomentumAdjustor: "saturate=start, so just jump straight to final momentum"."""
    assert [ramped(0.5, 0.7, 1, epoch) for epoch in (0, 1, 2)] == [0.7, 0.7, 0.7]
    assert ramped(0.5, 0.7, 2, 1) == pytest.approx(0.7)
