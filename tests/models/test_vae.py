"""The bound against the exact log-likelihood of a linear-Gaussian model, and its gradient by finite
differences.
"""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from torch.distributions import Bernoulli, Normal, kl_divergence

from replicate.errors import ReplicateError
from replicate.models.vae import Vae
from replicate.training.streams import Streams

CPU = torch.device("cpu")


def images(count: int = 60) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(2).random((count, 8)))


def build(seeds: tuple[int, ...] = (0,), **changes: Any) -> Vae:
    config = Vae.Config(**{"hidden": (6,), "code_dimension": 3, **changes})
    model = Vae(config, (1, 2, 4), Streams(seeds, CPU, torch.float64))
    model.initialise(images())
    return model


def train(model: Vae, steps: range) -> None:
    for step in steps:
        model.train_step(images()[model.streams.order(step, 60)[:, :10]], step // 6, step)


SPREAD = 0.3


def linear(
    mean_shift: float = 0.0, variance_factor: float = 1.0
) -> tuple[Vae, np.ndarray, np.ndarray]:
    """A VAE x = z W + b + SPREAD * noise with orthogonal rows of W, and an encoder at the exact
    posterior, changed.

    The posterior is N((x - b) W^T / (SPREAD^2 + |w|^2), SPREAD^2 / (SPREAD^2 + |w|^2)) along each
    row w.
    """
    rng = np.random.default_rng(6)
    w = np.linalg.qr(rng.normal(size=(8, 3)))[0].T * np.array([[1.5], [0.7], [0.1]])
    b = rng.normal(size=8)
    precision = SPREAD**2 + (w**2).sum(1)
    to_mean = w.T / precision
    model = build(hidden=(), pixels="gaussian")
    values = {
        "encoder.0.weight": np.concatenate([to_mean, np.zeros((8, 3))], 1),
        "encoder.0.bias": np.concatenate(
            [-b @ to_mean + mean_shift, np.log(variance_factor * SPREAD**2 / precision)]
        )[None],
        "decoder.0.weight": w,
        "decoder.0.bias": b[None],
        "decoder.log_spread": np.log([SPREAD]),
    }
    for name, value in values.items():
        model.parameters[name].copy_(torch.from_numpy(value)[None])
    return model, w, b


def expected_bound(model: Vae, rows: torch.Tensor) -> np.ndarray:
    """The bound in expectation over the noise, exactly: a quadratic needs the 2k points +- sqrt(k)
    e_i only.
    """
    points = np.sqrt(3) * torch.cat([torch.eye(3), -torch.eye(3)]).double()
    terms = []
    for point in points:
        likelihood, divergence = model.bound(
            rows[None], point.expand(1, len(rows), 3), model.parameters
        )
        terms.append((likelihood - divergence)[0])
    return torch.stack(terms).mean(0).numpy()


def test_the_bound_is_the_log_likelihood_where_the_encoder_is_the_posterior() -> None:
    model, w, b = linear()
    exact = multivariate_normal(b, w.T @ w + SPREAD**2 * np.eye(8)).logpdf(images().numpy())
    np.testing.assert_allclose(expected_bound(model, images()), exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("shift", "factor"), [(0.2, 1.0), (0.0, 2.0), (-0.1, 0.5)])
def test_the_bound_lies_below_by_the_divergence_from_the_posterior(
    shift: float, factor: float
) -> None:
    model, w, b = linear(shift, factor)
    exact = multivariate_normal(b, w.T @ w + SPREAD**2 * np.eye(8)).logpdf(images().numpy())
    deviation = torch.from_numpy(np.sqrt(SPREAD**2 / (SPREAD**2 + (w**2).sum(1))))
    posterior = Normal(torch.zeros(3, dtype=torch.float64), deviation)
    gap = float(
        kl_divergence(Normal(posterior.mean + shift, deviation * factor**0.5), posterior).sum()
    )
    assert gap > 0.05
    np.testing.assert_allclose(exact - expected_bound(model, images()), gap, rtol=0, atol=1e-9)


def by_distributions(model: Vae, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both terms for one seed, its layers written out and the densities torch's own."""
    p = {name: value[0] for name, value in model.parameters.items()}
    hidden = (images()[:10] @ p["encoder.0.weight"] + p["encoder.0.bias"]).clamp(min=0)
    out = hidden @ p["encoder.1.weight"] + p["encoder.1.bias"]
    code = Normal(out[:, :3], (out[:, 3:] / 2).exp())
    hidden = (
        (code.mean + code.stddev * noise) @ p["decoder.0.weight"] + p["decoder.0.bias"]
    ).clamp(min=0)
    found = hidden @ p["decoder.1.weight"] + p["decoder.1.bias"]
    if model.config.pixels == "gaussian":
        likelihood = Normal(found, p["decoder.log_spread"].exp()).log_prob(images()[:10])
    else:
        likelihood = Bernoulli(logits=found, validate_args=False).log_prob(images()[:10])
    prior = Normal(torch.zeros((), dtype=torch.float64), torch.ones((), dtype=torch.float64))
    return likelihood.sum(1), kl_divergence(code, prior).sum(1)


@pytest.mark.parametrize("pixels", ["bernoulli", "gaussian"])
def test_both_terms_are_those_of_torchs_distributions(pixels: str) -> None:
    model = build(pixels=pixels)
    noise = model.streams.normal("noise", 0, 10, 3)
    likelihood, divergence = model.bound(images()[None, :10], noise, model.parameters)
    expected = by_distributions(model, noise[0])
    assert divergence.min() > 0
    torch.testing.assert_close(likelihood[0], expected[0], rtol=0, atol=1e-12)
    torch.testing.assert_close(divergence[0], expected[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pixels", ["bernoulli", "gaussian"])
def test_a_step_descends_the_gradient_by_finite_differences(pixels: str) -> None:
    """After one step, Adam's first moment is a tenth of the gradient."""
    model = build((3,), pixels=pixels)
    before = {name: value.clone() for name, value in model.parameters.items()}
    model.train_step(images()[None, :10], 0, 0)
    noise = model.streams.normal("noise", 0, 10, 3)
    for name, value in before.items():
        for index in {(0,) * value.ndim, tuple(size - 1 for size in value.shape)}:

            def loss(shift: float, name: str = name, index: tuple[int, ...] = index) -> float:
                moved = {key: kept.clone() for key, kept in before.items()}
                moved[name][index] += shift
                likelihood, divergence = model.bound(images()[None, :10], noise, moved)
                return float((divergence - likelihood).mean())

            slope = (loss(1e-6) - loss(-1e-6)) / 2e-6
            assert float(model.slots[f"{name}.first"][index]) == pytest.approx(
                0.1 * slope, rel=1e-5, abs=1e-8
            ), name
            assert float(model.slots[f"{name}.second"].sum()) > 0


def test_a_linear_vae_learns_the_spread_that_is_left_by_its_codes() -> None:
    """Tipping & Bishop 1999: at the optimum the variance is the mean of the eigenvalues left out
    (closed form).
    """
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.normal(size=(8, 8)))[0]
    rows = torch.from_numpy(
        rng.normal(size=(500, 8)) * [2, 1.5, 1, 0.5, 0.5, 0.5, 0.5, 0.5] @ basis
    )
    model = build(hidden=(), pixels="gaussian", learning_rate=0.01)
    model.initialise(rows)
    for step in range(1500):
        model.train_step(rows[None], step, step)
    left = np.linalg.eigvalsh(np.cov(rows.numpy().T, ddof=0))[:5].mean()
    assert float((2 * model.parameters["decoder.log_spread"]).exp()) == pytest.approx(
        left, rel=0.03
    )


def test_the_logged_losses_are_the_two_terms() -> None:
    model = build((0, 1))
    batch = images()[:10].expand(2, -1, -1)
    likelihood, divergence = model.bound(
        batch, model.streams.normal("noise", 7, 10, 3), model.parameters
    )
    losses = model.train_step(batch, 1, 7)
    torch.testing.assert_close(losses["reconstruction"], -likelihood.mean(1))
    torch.testing.assert_close(losses["divergence"], divergence.mean(1))


def test_samples_are_the_decoders_means_of_standard_normal_codes() -> None:
    model = build((0, 1))
    codes = model.latent(20_000, 1)
    torch.testing.assert_close(
        model.sample(10, 1), model.decode(model.latent(10, 1)), rtol=0, atol=1e-13
    )
    assert codes.mean((0, 1)).abs().max() < 0.03
    assert (codes.var((0, 1)) - 1).abs().max() < 0.05
    assert torch.equal(model.sample(1100, 2), model.sample(1100, 2))
    assert not torch.equal(model.sample(10, 2), model.sample(10, 3))
    assert not torch.equal(
        model.sample(1100, 2)[:, :100], model.sample(1100, 2)[:, 1000:]
    )  # two chunks


def test_bernoulli_pixels_outside_the_unit_interval_are_refused() -> None:
    with pytest.raises(ReplicateError, match=r"images in \[0, 1\]"):
        build().initialise(images() + 0.5)
    build(pixels="gaussian").initialise(images() + 0.5)
