"""The denoising autoencoder with walkback: one pass of gradients over a walk that nothing flows
back through.
"""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models.denoising_autoencoder import DenoisingAutoencoder, DenoisingAutoencoderConfig
from replicate.models.parts.walkback import corrupted
from replicate.training.streams import Streams

SMALL = {
    "batch_size": 6,
    "hidden": (5,),
    "chains": 7,
    "burn_in": 3,
    "thinning": 2,
    "learning_rate": 0.5,
}


def data(count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((count, 8)))


def build(
    seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any
) -> DenoisingAutoencoder:
    config = DenoisingAutoencoderConfig(**{**SMALL, **changes})
    model = DenoisingAutoencoder(config, (1, 2, 4), Streams(seeds, torch.device("cpu"), dtype))
    model.train = data(30).to(dtype)
    model.initialise(model.train)
    return model


def by_hand(
    model: DenoisingAutoencoder, x: np.ndarray, step: int
) -> tuple[float, dict[str, np.ndarray]]:
    """Each visited image is an example of its own, to be cleaned to `x`: the gradients of five
    plain autoencoders.
    """
    w, b, c = (
        model.parameters[f"network.{name}"][0].numpy() for name in ("0.weight", "0.bias", "1.bias")
    )
    found = {
        "network.0.weight": np.zeros_like(w),
        "network.0.bias": np.zeros_like(b),
        "network.1.bias": np.zeros_like(c),
    }
    total, rows = 0.0, len(x)
    uniform = [
        model.streams.uniform("noise", step, rows, 8, part=4 * k)[0].numpy() for k in range(6)
    ]
    visited = np.where(uniform[0] < 0.2, 0.0, np.where(uniform[0] < 0.4, 1.0, x))
    for k in range(1, 6):
        h = 1 / (1 + np.exp(-(visited @ w + c)))
        p = 1 / (1 + np.exp(-(h @ w.T + b)))
        total -= float((x * np.log(p) + (1 - x) * np.log(1 - p)).mean())
        out = (p - x) / x.size
        back = (out @ w) * h * (1 - h)
        found["network.0.weight"] += visited.T @ back + out.T @ h
        found["network.0.bias"] += out.sum(0)
        found["network.1.bias"] += back.sum(0)
        visited = (uniform[k] < 0.2 + 0.6 * p).astype(np.float64)
    return total, found


def test_cost_and_gradients_equal_those_worked_out_by_hand() -> None:
    model, batch = build(), data(6)
    cost, gradients = model.gradients(batch[None], 9)
    total, expected = by_hand(model, batch.numpy(), 9)
    assert float(cost[0]) == pytest.approx(total, abs=1e-13)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient[0].numpy(), expected[name], atol=1e-14, err_msg=name)


def test_a_step_is_plain_gradient_descent_at_a_constant_rate() -> None:
    model = build()
    batch = data(6)[None]
    before = {name: value.clone() for name, value in model.parameters.items()}
    _, gradients = model.gradients(batch, 0)
    model.train_step(batch, 200, 0)
    for name, value in model.parameters.items():
        torch.testing.assert_close(
            value, before[name] - 0.5 * gradients[name], rtol=0, atol=1e-14, msg=name
        )


def test_without_corruption_training_learns_the_mean_of_a_constant_image() -> None:
    """One image only: the best reconstruction is the image, whatever the code."""
    model = build(input_noise=0.0, walkback=1, learning_rate=5.0)
    batch = torch.linspace(0.1, 0.9, 8, dtype=torch.float64).expand(1, 6, 8)
    for step in range(2000):
        model.train_step(batch, 0, step)
    model.train = batch[0]
    torch.testing.assert_close(
        model.chain_images(model.chain_start(0), 0, 0)[0, :6], batch[0], rtol=0, atol=0.01
    )


def test_both_kinds_of_start_reach_the_same_distribution() -> None:
    """With 40 % noise a small net forgets its start: pixel means of chains from black and from
    white agree.
    """
    model = build(chains=4000, hidden=(4,))
    model.parameters["network.0.weight"] *= 4
    means = []
    for value in (0.0, 1.0):
        model.train = torch.full((1, 8), value, dtype=torch.float64)
        state = model.chain_start(0)
        for step in range(40):
            state = model.chain_step(state, 0, step)
        means.append(model.chain_images(state, 0, 40).mean((0, 1)))
    torch.testing.assert_close(means[0], means[1], rtol=0, atol=0.01)
    first = model.chain_images(model.chain_start(0), 0, 0).mean((0, 1))
    assert float((first - means[0]).abs().max()) > 0.02  # the start did matter


def test_the_corrupted_start_has_the_stated_share_of_noise() -> None:
    uniform = build().streams.uniform("noise", 0, 20_000)
    found = corrupted(torch.full_like(uniform, 0.5), uniform, 0.4)
    for value, share in ((0.0, 0.2), (1.0, 0.2), (0.5, 0.6)):
        assert float((found == value).double().mean()) == pytest.approx(share, abs=0.015)


def test_samples_of_a_draw_repeat_and_draws_and_seeds_differ() -> None:
    model = build((0, 1))
    assert model.sample(20, 0).shape == (2, 20, 8)
    assert torch.equal(model.sample(20, 0)[:, :9], model.sample(9, 0))
    assert not torch.equal(model.sample(9, 0), model.sample(9, 1))
    assert not torch.equal(model.sample(9, 0)[0], model.sample(9, 0)[1])


def test_there_is_one_hidden_layer_of_the_released_size_and_no_noise_above_it() -> None:
    model = DenoisingAutoencoder(
        DenoisingAutoencoderConfig(), (1, 28, 28), Streams((0,), torch.device("cpu"))
    )
    model.initialise(torch.zeros(1, 784))
    assert model.parameter_count() == {"network": 784 * 2000 + 784 + 2000}
    with pytest.raises(ReplicateError, match=r"mnist\.hidden"):
        DenoisingAutoencoder.config_for(
            "mnist", {"hidden": (5, 4)}, prefix="models.denoising_autoencoder.mnist"
        )
    with pytest.raises(ReplicateError, match=r"mnist\.hidden_noise"):
        DenoisingAutoencoder.config_for(
            "mnist", {"hidden_noise": 1.0}, prefix="models.denoising_autoencoder.mnist"
        )


def test_every_default_names_its_source() -> None:
    for name, field in DenoisingAutoencoderConfig.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert extra["source"], name
