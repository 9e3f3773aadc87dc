"""Noise-contrastive estimation beside the game: exact distances, gradients against closed forms,
the verdict.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from replicate.experiments.noise_contrastive import (
    EXPERIMENT,
    LOOKS,
    Learner,
    NoiseContrastive,
    NoiseContrastiveConfig,
    contrast,
    covariance,
    discriminator_logits,
    divergence,
    log_density,
    model_samples,
    slowdown,
)
from replicate.figures.experiments.noise_contrastive import draw
from replicate.figures.theme import checked_svg
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.helpers import verdict

CPU = torch.device("cpu")
SEEDS = tuple(range(100, 106))
QUICK = NoiseContrastiveConfig(
    dimension=6, updates=1000, batch_size=64, learning_rate=0.02, generator_rate=0.005
)
TINY = NoiseContrastiveConfig(dimension=3, updates=80, batch_size=16)


def model(seed: int = 0, dimension: int = 3) -> dict[str, torch.Tensor]:
    """A model of one seed in float64 with a normalised density, R of positive diagonal."""
    drawn = Streams((seed,), CPU, torch.float64).normal("init", 0, dimension + 1, dimension)
    root = (torch.eye(dimension) + 0.3 * drawn[:, 1:]).tril()
    constant = root[0].diagonal().abs().log().sum() - dimension * math.log(2 * math.pi) / 2
    return {"root": root, "mean": drawn[:, :1], "constant": constant.reshape(1, 1, 1)}


def distribution(parameters: dict[str, torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    root = parameters["root"][0].numpy()
    return parameters["mean"][0, 0].numpy(), np.linalg.inv(root @ root.T)


def test_the_density_is_that_of_scipy() -> None:
    parameters = model()
    mean, spread = distribution(parameters)
    x = np.random.default_rng(0).normal(size=(1, 7, 3))
    expected = stats.multivariate_normal(mean, spread).logpdf(x[0])
    np.testing.assert_allclose(
        log_density(parameters, torch.from_numpy(x))[0], expected, atol=1e-12
    )


def test_samples_of_the_model_have_its_mean_and_covariance() -> None:
    parameters = model()
    mean, spread = distribution(parameters)
    z = Streams((0,), CPU, torch.float64).normal("noise", 0, 200_000, 3)
    x = model_samples(parameters, z)[0].numpy()
    np.testing.assert_allclose(x.mean(0), mean, atol=0.03)
    np.testing.assert_allclose(np.cov(x.T), spread, atol=0.06 * np.abs(spread).max())


def test_the_distance_is_the_mean_log_ratio_by_quadrature() -> None:
    truth, mean, spread = (
        torch.tensor([[1.3]]).double(),
        torch.tensor([[0.4]]),
        torch.tensor([[[0.6]]]),
    )
    x = np.linspace(-14, 14, 200_001)
    p, q = stats.norm(0, math.sqrt(1.3)), stats.norm(0.4, math.sqrt(0.6))
    expected = (p.pdf(x) * (p.logpdf(x) - q.logpdf(x))).sum() * (x[1] - x[0])
    assert divergence(truth, mean, spread) == pytest.approx([expected], rel=1e-6)
    many = covariance(QUICK)
    assert divergence(many, torch.zeros(2, 6), many.expand(2, -1, -1)) == pytest.approx(
        [0, 0], abs=1e-12
    )


def test_a_covariance_that_is_singular_fails_its_own_seed_alone() -> None:
    """Adam's first step is as long as its rate: with a rate of 1 it takes the identity to 0."""
    spread = torch.stack([torch.eye(2), torch.tensor([[1.0, 2.0], [2.0, 4.0]]), torch.zeros(2, 2)])
    distances = divergence(torch.eye(2).double(), torch.zeros(3, 2), spread)
    assert distances[0] == 0
    assert not np.isfinite(distances[1:]).any()
    for rates in ({"learning_rate": 1.0}, {"generator_rate": 1.0}):
        config = QUICK.model_copy(update={"updates": LOOKS, "dimension": 2, **rates})
        found = NoiseContrastive().run(config, SEEDS, CPU, None)
        assert len(found.checks["M1"]) == 4


def test_with_renewed_noise_the_gradient_is_half_that_of_maximum_likelihood() -> None:
    """Goodfellow 2014, section 4: E_data[grad log p] - E_model[grad log p], times 1/2, whatever the
    sample.
    """
    parameters = model()
    streams = Streams((0,), CPU, torch.float64)
    x, z = streams.normal("noise", 1, 50, 3), streams.normal("noise", 2, 50, 3)
    leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    slopes = torch.autograd.grad(
        contrast(leaves, x, z, "renewed").sum(), list(leaves.values()), materialize_grads=True
    )
    again = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    made = model_samples(parameters, z)
    likelihood = (log_density(again, x).mean(1) - log_density(again, made).mean(1)).sum()
    expected = torch.autograd.grad(likelihood, list(again.values()), materialize_grads=True)
    for slope, reference in zip(slopes, expected, strict=True):
        torch.testing.assert_close(slope, -reference / 2, atol=1e-10, rtol=1e-8)


def test_with_fixed_noise_the_logit_is_the_log_ratio_of_densities() -> None:
    parameters = model()
    x, z = (np.random.default_rng(k).normal(size=(1, 9, 3)) for k in (1, 2))
    ours, noise = (
        stats.multivariate_normal(*distribution(parameters)),
        stats.multivariate_normal(np.zeros(3)),
    )
    logits = [ours.logpdf(rows[0]) - noise.logpdf(rows[0]) for rows in (x, z)]
    expected = np.logaddexp(0, -logits[0]).mean() + np.logaddexp(0, logits[1]).mean()
    found = contrast(parameters, torch.from_numpy(x), torch.from_numpy(z), "fixed")
    assert found.tolist() == pytest.approx([expected], rel=1e-12)


def test_the_quadratic_logit() -> None:
    generator = np.random.default_rng(3)
    x, a, b = (
        generator.normal(size=(1, 5, 3)),
        generator.normal(size=(1, 3, 3)),
        generator.normal(size=(1, 3, 1)),
    )
    parameters = {
        "quadratic": torch.from_numpy(a),
        "linear": torch.from_numpy(b),
        "constant": torch.full((1, 1, 1), 0.5),
    }
    expected = [row @ a[0] @ row + row @ b[0, :, 0] + 0.5 for row in x[0]]
    np.testing.assert_allclose(
        discriminator_logits(parameters, torch.from_numpy(x))[0], expected, atol=1e-12
    )


def test_slowdown_of_known_falls() -> None:
    """A power law t^-1 falls to 1/4 at 4 and to 1/16 at 16: 12 updates after 4."""
    looks = [2**k for k in range(11)]
    assert slowdown(looks, [1 / t for t in looks]) == pytest.approx(math.log(12 / 4))
    assert slowdown([1, 4, 8], [1.0, 0.25, 0.2], least=True) == pytest.approx(math.log((8 - 4) / 4))
    assert slowdown([1, 4, 8], [1.0, 0.25, 0.2]) is None
    assert slowdown([1, 4, 8], [1.0, 0.5, 0.3], least=True) is None
    assert slowdown([1, 4, 8], [1.0, math.nan, 0.1]) is None


@negative_control("M1")
@pytest.mark.slow
def test_the_claim_holds_and_renewed_noise_in_place_of_fixed_is_found_out() -> None:
    assert verdict(EXPERIMENT, QUICK, SEEDS) == {"M1": "replicated"}
    assert verdict(NoiseContrastive("renewed"), QUICK, SEEDS) == {"M1": "not replicated"}


@pytest.mark.slow
def test_it_is_a_function_of_its_seeds() -> None:
    one, two = EXPERIMENT.run(TINY, (3, 4), CPU, None), EXPERIMENT.run(TINY, (3, 4), CPU, None)
    assert one == two
    company, alone = (Learner(TINY, Streams(seeds, CPU, torch.float64)) for seeds in ((3, 4), (4,)))
    np.testing.assert_allclose(
        np.array(company.play())[:, 1], np.array(alone.play())[:, 0], rtol=1e-8
    )
    np.testing.assert_allclose(
        np.array(company.estimate("fixed"))[:, 1],
        np.array(alone.estimate("fixed"))[:, 0],
        rtol=1e-8,
    )


def test_the_figure_is_drawn_from_the_result_alone() -> None:
    found = EXPERIMENT.run(TINY, (7, 8), CPU, None)
    drawn = draw({"seeds": [7, 8], "series": found.series})
    checked_svg(drawn["distances"].svg)
    assert "2 seeds" in drawn["distances"].caption
