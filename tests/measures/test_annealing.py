"""Annealed importance sampling of decoders whose density is known."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from replicate.measures.annealed_likelihood import log_likelihoods
from replicate.measures.annealing import (
    Annealing,
    backward,
    forward,
    lower_bounds,
    pilot,
    temperatures,
    upper_bounds,
)
from replicate.measures.hamiltonian import (
    Decoder,
    Observations,
    Randomness,
    State,
    transition,
)
from replicate.models.parts import priors
from replicate.models.parts.mixture import Mixture
from replicate.params import AnnealingSettings
from replicate.training.streams import Streams

SIGMA = 0.5
#: A decoder of two codes and five pixels, the same for all tests.
WEIGHT = torch.tensor([[1.0, 0.5, -0.5, 0.2, 0.0], [0.0, 1.0, 0.3, -0.7, 0.4]], dtype=torch.float64)


def streams(seeds: int = 1) -> Streams:
    return Streams(range(seeds), torch.device("cpu"), torch.float64)


def linear(of: Streams) -> Decoder:
    return Decoder(priors.normal(of, 2), lambda code: code @ WEIGHT)


def exact(images: Tensor, sigma: float = SIGMA) -> Tensor:
    """log N(x; 0, W'W + s^2 I) of images (n, 5)."""
    covariance = WEIGHT.T @ WEIGHT + sigma**2 * torch.eye(5, dtype=torch.float64)
    mean = torch.zeros(5, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(mean, covariance).log_prob(images)


def observed(rows: int, seeds: int = 1) -> tuple[Tensor, Observations]:
    """Three images, each before `rows` chains side by side."""
    image = torch.tensor(
        [[0.3, 1.0, -0.2, 0.5, 0.1], [0.0] * 5, [-1, 0.5, 1, 0, 0.3]], dtype=torch.float64
    )
    repeated = image.repeat_interleave(rows, 0)[None]
    sigma = torch.full((seeds, 3 * rows), SIGMA, dtype=torch.float64)
    return image, Observations(repeated, sigma)


def annealing(of: Streams, count: int, draw: int = 0, leapfrogs: int = 3) -> Annealing:
    return Annealing(linear(of), of, draw, temperatures(count), leapfrogs)


def fixed_steps(count: int, seeds: int = 1) -> Tensor:
    return torch.full((count, seeds), 0.4, dtype=torch.float64)


def test_weights_have_no_bias_whatever_the_temperatures() -> None:
    """The mean of 6,000 weights p(x) of each image lies within four of its standard errors."""
    image, observations = observed(6000)
    weights = forward(annealing(streams(), 4), observations, fixed_steps(4))
    ratios = (weights.reshape(3, -1) - exact(image)[:, None]).exp()
    errors = ratios.std(1) / math.sqrt(6000)
    assert bool(((ratios.mean(1) - 1).abs() < 4 * errors).all())
    assert float(errors.max()) < 0.05


def test_inverse_weights_backwards_have_no_bias() -> None:
    """Simulated images: z is an exact draw of the posterior, and E[p(x) / w] = 1."""
    of = streams()
    codes = of.normal("evaluation", 99, 6000, 2)
    images = codes @ WEIGHT + SIGMA * of.normal("evaluation", 98, 6000, 5)
    observations = Observations(images, torch.full((1, 6000), SIGMA, dtype=torch.float64))
    weights = backward(annealing(of, 12), observations, fixed_steps(12), codes)
    ratios = (exact(images[0]) - weights[0]).exp()
    assert abs(float(ratios.mean()) - 1) < 4 * float(ratios.std()) / math.sqrt(6000)


def test_a_transition_leaves_the_posterior_unchanged() -> None:
    """From exact draws of the posterior; a wrong sign or a missing test would move the moments."""
    of, temperature = streams(), 0.7
    image, observations = observed(8000)
    precision = torch.eye(2, dtype=torch.float64) + temperature * WEIGHT @ WEIGHT.T / SIGMA**2
    covariance = precision.inverse()
    mean = temperature * image @ WEIGHT.T @ covariance / SIGMA**2
    factor = torch.linalg.cholesky(covariance)
    noise = of.normal("evaluation", 5, 24000, 2)
    position = mean.repeat_interleave(8000, 0)[None] + noise @ factor.T
    state = State.at(position, linear(of), observations)
    randomness = Randomness(
        of.normal("evaluation", 6, 24000, 2), of.uniform("evaluation", 7, 24000)
    )
    # Long steps, so that a fair share is refused.
    step_size = torch.full((1, 24000), 0.62, dtype=torch.float64)
    moved, acceptance = transition(
        state, temperature, step_size, 3, randomness, linear(of), observations
    )
    assert 0.3 < float(acceptance.mean()) < 0.95
    changed = (moved.position != state.position).any(2).double().mean()
    assert float(changed) == pytest.approx(float(acceptance.mean()), abs=0.02)
    of_images = moved.position.reshape(3, 8000, 2)
    scale = covariance.diagonal().sqrt()
    assert bool(((of_images.mean(1) - mean).abs() < 4.5 * scale / math.sqrt(8000)).all())
    for positions in of_images:
        torch.testing.assert_close(torch.cov(positions.T), covariance, rtol=0.08, atol=0.004)


def test_energy_is_nearly_conserved_by_small_steps() -> None:
    of = streams()
    _, observations = observed(4)
    state = State.at(of.normal("evaluation", 1, 12, 2), linear(of), observations)
    randomness = Randomness(of.normal("evaluation", 2, 12, 2), of.uniform("evaluation", 3, 12))
    rises = []
    for step in (0.02, 0.01):
        step_size = torch.full((1, 12), step, dtype=torch.float64)
        leapfrogs = round(0.2 / step)
        _, acceptance = transition(
            state, 1.0, step_size, leapfrogs, randomness, linear(of), observations
        )
        rises.append(float(-acceptance.log().sum()))
    # Of second order: a quarter.
    assert rises[1] == pytest.approx(rises[0] / 4, rel=0.1)


def test_what_is_not_finite_is_never_accepted() -> None:
    of = streams()
    _, observations = observed(2)
    decoder = Decoder(
        priors.normal(of, 2), lambda code: code @ WEIGHT / (code.abs() < 2).all(2, True)
    )
    start = torch.zeros(1, 6, 2, dtype=torch.float64)
    state = State.at(start, decoder, observations)
    momentum = torch.full((1, 6, 2), 9.0, dtype=torch.float64)
    randomness = Randomness(momentum, torch.zeros(1, 6, dtype=torch.float64))
    step_size = torch.ones(1, 6, dtype=torch.float64)
    moved, acceptance = transition(state, 1.0, step_size, 1, randomness, decoder, observations)
    assert torch.equal(moved.position, start)
    assert float(acceptance.max()) == 0


def test_bounds_close_in_on_the_truth_from_both_sides() -> None:
    of = streams(2)
    codes = of.normal("evaluation", 99, 30, 2)
    images = codes @ WEIGHT + SIGMA * of.normal("evaluation", 98, 30, 5)
    truth = exact(images)
    rows, start = images.repeat_interleave(4, 1), codes.repeat_interleave(4, 1)
    observations = Observations(rows, torch.full((2, 120), SIGMA, dtype=torch.float64))
    gaps = []
    for count in (6, 120):
        steps = fixed_steps(count, 2)
        low = lower_bounds(forward(annealing(of, count, 1), observations, steps).reshape(2, 30, 4))
        back = backward(annealing(of, count, 2), observations, steps, start)
        high = upper_bounds(back.reshape(2, 30, 4))
        assert float(low.mean()) < float(truth.mean()) + 0.02
        assert float(high.mean()) > float(truth.mean()) - 0.02
        gaps.append(float((high - low).mean()))
    assert gaps[1] < gaps[0] / 5


def test_pilot_steps_reach_the_acceptance_aimed_at() -> None:
    of = streams(2)
    _, observations = observed(40, 2)
    result = pilot(annealing(of, 150), observations, groups=3)
    assert result.log_weights.shape == (2, 3, 40)
    assert result.step_sizes.shape == (150, 2, 3)
    assert bool((result.acceptance - 0.65).abs().max() < 0.12)


def test_the_whole_estimate_chooses_the_width_and_is_exact_on_a_linear_decoder() -> None:
    """Images made with 0.5: that width is chosen, and test images come within a tenth of a nat."""
    of = streams(2)
    generator = torch.Generator().manual_seed(3)
    codes = torch.randn(90, 2, dtype=torch.float64, generator=generator)
    noise = torch.randn(90, 5, dtype=torch.float64, generator=generator)
    images = codes @ WEIGHT + SIGMA * noise
    chosen = AnnealingSettings(
        chains=6, temperatures=60, leapfrogs=3, simulated=20, sigmas=(0.25, 0.5, 1.0)
    )
    bounds = log_likelihoods(linear(of), of, images[:50], images[50:], chosen)
    assert bounds.sigma.tolist() == [SIGMA, SIGMA]
    assert not bool(bounds.at_edge.any())
    assert bounds.test.shape == (2, 40)
    truth = exact(images[50:]).mean().expand(2)
    torch.testing.assert_close(bounds.test.mean(1), truth, atol=0.1, rtol=0)
    # Both are off by about as much, on either side.
    gap = (bounds.upper - bounds.lower).mean(1)
    assert bool(((gap > -0.05) & (gap < 0.5)).all())


def test_a_seed_that_is_not_finite_leaves_the_others_alone() -> None:
    both, single = streams(2), Streams((1,), torch.device("cpu"), torch.float64)
    broken = torch.stack([WEIGHT * math.nan, WEIGHT])
    chosen = AnnealingSettings(
        chains=2, temperatures=6, leapfrogs=2, simulated=3, sigmas=(0.5, 1.0)
    )
    images = torch.randn(8, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    decoder = Decoder(priors.normal(both, 2), lambda code: code @ broken)
    together = log_likelihoods(decoder, both, images[:4], images[4:], chosen)
    alone = log_likelihoods(linear(single), single, images[:4], images[4:], chosen)
    torch.testing.assert_close(together.test[1], alone.test[0], rtol=0, atol=1e-10)


def test_uniform_codes_give_the_density_of_a_smoothed_box() -> None:
    """x = z + noise with z uniform: (F((x + r) / s) - F((x - r) / s)) / 2r, r = sqrt 3."""
    of, root = streams(), math.sqrt(3)
    points = torch.tensor([0.0, 1.2, 1.9], dtype=torch.float64)
    rows = points.repeat_interleave(4000)[None, :, None]
    observations = Observations(rows, torch.full((1, 12000), 0.3, dtype=torch.float64))
    chains = Annealing(
        Decoder(priors.normal(of, 1, uniform_codes=True), lambda code: code),
        of,
        0,
        temperatures(8),
        3,
    )
    weights = forward(chains, observations, fixed_steps(8))
    upper = stats.norm.cdf((points + root) / 0.3)
    lower = stats.norm.cdf((points - root) / 0.3)
    truth = torch.from_numpy((upper - lower) / (2 * root))
    densities = weights.reshape(3, 4000).exp()
    errors = densities.std(1) / math.sqrt(4000)
    assert bool(((densities.mean(1) - truth).abs() < 4 * errors + 1e-12).all())


def test_uniform_codes_are_uniform() -> None:
    of = streams()
    prior = priors.normal(of, 1, uniform_codes=True)
    codes = prior.code(prior.draw(5000, 0, 0)).flatten().numpy()
    test = stats.kstest(codes, stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf)
    assert test.pvalue > 0.01


def test_a_mixture_of_codes_gives_a_mixture_of_images() -> None:
    """z from two Gaussians, x = z + noise: two wider Gaussians."""
    of = streams()
    mixture = Mixture(
        weight=torch.tensor([[0.3, 0.7]], dtype=torch.float64),
        mean=torch.tensor([[[-2.0], [1.0]]], dtype=torch.float64),
        factor=torch.tensor([[[[0.5]], [[0.8]]]], dtype=torch.float64),
    )

    def draw(count: int, draw: int, part: int) -> Tensor:
        choice = of.uniform("evaluation", draw, count, part=part)
        return mixture.draw(choice, of.normal("evaluation", draw, count, 1, part=part + 1))

    decoder = Decoder(priors.of_codes(draw, mixture.log_density), lambda code: code)
    points = torch.tensor([-2.0, 0.0, 1.5], dtype=torch.float64)
    rows = points.repeat_interleave(4000)[None, :, None]
    observations = Observations(rows, torch.full((1, 12000), 0.4, dtype=torch.float64))
    chains = Annealing(decoder, of, 3, temperatures(8), 3)
    weights = forward(chains, observations, fixed_steps(8)).reshape(3, 4000).exp()
    components = [
        0.3 * stats.norm.pdf(points, -2, math.hypot(0.5, 0.4)),
        0.7 * stats.norm.pdf(points, 1, math.hypot(0.8, 0.4)),
    ]
    truth = torch.from_numpy(sum(components))
    errors = weights.std(1) / math.sqrt(4000)
    assert bool(((weights.mean(1) - truth).abs() < 4 * errors).all())


def test_the_density_of_a_mixture_is_that_of_scipy() -> None:
    mixture = Mixture(
        weight=torch.tensor([[0.4, 0.6]], dtype=torch.float64),
        mean=torch.tensor([[[0.0, 1.0], [2.0, -1.0]]], dtype=torch.float64),
        factor=torch.tensor([[[[1.0, 0], [0.5, 2]], [[0.3, 0], [0, 0.7]]]], dtype=torch.float64),
    )
    rows = torch.randn(1, 30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    densities = 0
    for weight, mean, factor in zip(
        mixture.weight[0], mixture.mean[0], mixture.factor[0], strict=True
    ):
        normal = stats.multivariate_normal(mean.numpy(), (factor @ factor.T).numpy())
        densities = densities + float(weight) * normal.pdf(rows[0].numpy())
    torch.testing.assert_close(
        mixture.log_density(rows)[0].exp(), torch.from_numpy(densities), rtol=1e-10, atol=0
    )


@pytest.mark.parametrize("count", [2, 10, 1000])
def test_temperatures_ascend_from_zero_to_one(count: int) -> None:
    ladder = temperatures(count)
    assert len(ladder) == count + 1
    assert (ladder[0], ladder[-1]) == (0, 1)
    assert ladder == sorted(set(ladder))
