"""The deep GSN against a walk in slow NumPy, autograd, and facts about corruption and the chain
that are exact.
"""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from replicate.models.deep_gsn import DeepGSN, DeepGSNConfig
from replicate.models.parts.walkback import ACTIVATIONS, corrupted, sampled_and_corrupted
from replicate.training.streams import Streams

Array = NDArray[np.float64]
SMALL = {"batch_size": 6, "hidden": (5, 4), "chains": 7, "burn_in": 3, "thinning": 2}
SIDE = 8


def data(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((count, SIDE)))


def build(
    seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any
) -> DeepGSN:
    model = DeepGSN(
        DeepGSNConfig(**{**SMALL, **changes}), (1, 2, 4), Streams(seeds, torch.device("cpu"), dtype)
    )
    model.train = data(30).to(dtype)
    model.initialise(model.train)
    return model


def sigmoid(a: Array) -> Array:
    return 1 / (1 + np.exp(-a))


class Reference:
    """yaoli/GSN `update_layers` for one seed and two hidden layers, one number of one example at a
    time.
    """

    def __init__(self, model: DeepGSN, step: int) -> None:
        names = ("0.weight", "1.weight", "0.bias", "1.bias", "2.bias")
        self.w0, self.w1, self.b0, self.b1, self.b2 = (
            model.parameters[f"network.{n}"][0].numpy() for n in names
        )
        self.c, self.streams, self.step = model.config, model.streams, step

    def uniform(self, update: int, rows: int) -> Array:
        found: Array = self.streams.uniform("noise", self.step, rows, SIDE, part=6 * update)[
            0
        ].numpy()
        return found

    def normal(self, update: int, rows: int, late: int) -> Array:
        found: Array = self.streams.normal("noise", self.step, rows, 4, part=6 * update + 4 + late)[
            0
        ].numpy()
        return found

    def salt_and_pepper(self, x: Array, u: Array) -> Array:
        share = self.c.input_noise
        result = x.copy()
        for place, value in np.ndenumerate(u):
            if value < share:
                result[place] = 0.0 if value < share / 2 else 1.0
        return result

    def cost(self, batch: Array) -> float:
        rows, total = len(batch), 0.0
        x, h2 = self.salt_and_pepper(batch, self.uniform(0, rows)), np.zeros((rows, 4))
        for update in range(1, self.c.walkback + 1):
            h1 = np.tanh(x @ self.w0 + h2 @ self.w1.T + self.b1)
            p = sigmoid(h1 @ self.w0.T + self.b0)
            total -= float((batch * np.log(p) + (1 - batch) * np.log(1 - p)).mean())
            u = self.uniform(update, rows)
            # Sampled, then salted: of the numbers below .2 + .6 p the first .2 are salt, the rest a
            # kept 1.
            x = np.array(
                [[float(u[r, i] < 0.2 + 0.6 * p[r, i]) for i in range(SIDE)] for r in range(rows)]
            )
            quiet = np.tanh(h1 @ self.w1 + self.b2 + 2 * self.normal(update, rows, 0))
            h2 = quiet + 2 * self.normal(update, rows, 1)
        return total


def test_the_cost_is_that_of_a_walk_worked_out_in_numpy() -> None:
    model, batch = build(), data(6)
    cost, _ = model.gradients(batch[None], 5)
    assert float(cost[0]) == pytest.approx(Reference(model, 5).cost(batch.numpy()), abs=1e-13)


def test_the_gradients_are_differences_of_the_cost_worked_out_in_numpy() -> None:
    """Central differences of the NumPy walk, whose sampled bits stay as they are under a change of
    1e-6.
    """
    model, batch = build(), data(6)
    _, gradients = model.gradients(batch[None], 5)
    assert gradients.keys() == model.parameters.keys()
    for name, value in model.parameters.items():
        expected = torch.zeros_like(value)
        for place in np.ndindex(*value.shape):
            old = value[place].clone()
            ends = []
            for shift in (1e-6, -1e-6):
                value[place] = old + shift
                ends.append(Reference(model, 5).cost(batch.numpy()))
            value[place] = old
            expected[place] = (ends[0] - ends[1]) / 2e-6
        torch.testing.assert_close(gradients[name], expected, rtol=0, atol=1e-8, msg=name)
        assert float(expected.abs().max()) > 1e-4, name


def plain_cost(model: DeepGSN, batch: torch.Tensor, step: int) -> torch.Tensor:
    """The same walk for any depth, in operations that autograd follows; hidden layers start at 0,
    not absent.
    """
    c, p, top = model.config, model.parameters, len(model.config.hidden)
    activate, rows = ACTIVATIONS[c.activation][0], batch.shape[1]
    part = lambda update, layer: 2 * (update * (top + 1) + layer)  # noqa: E731
    draw = lambda update: model.streams.uniform("noise", step, rows, SIDE, part=part(update, 0))  # noqa: E731
    h = [corrupted(batch, draw(0), c.input_noise)]
    h += [torch.zeros(len(batch), rows, width, dtype=batch.dtype) for width in c.hidden]
    cost = torch.zeros(len(batch), dtype=batch.dtype)
    for update in range(1, c.walkback + 1):
        for layer in [*range(1, top + 1, 2), *range(0, top + 1, 2)]:
            drive = p[f"network.{layer}.bias"]
            if layer:
                drive = drive + h[layer - 1] @ p[f"network.{layer - 1}.weight"]
            if layer < top:
                drive = drive + h[layer + 1] @ p[f"network.{layer}.weight"].mT
            if layer == 0:
                mean = drive.sigmoid()
                cost = cost - (batch * mean.log() + (1 - batch) * (1 - mean).log()).mean((1, 2))
                h[0] = sampled_and_corrupted(mean.detach(), draw(update), c.input_noise)
            elif layer == 1:
                h[1] = activate(drive)
            else:
                before, after = (
                    c.hidden_noise
                    * model.streams.normal("noise", step, rows, c.hidden[layer - 1], part=number)
                    for number in (part(update, layer), part(update, layer) + 1)
                )
                h[layer] = activate(drive + before) + after
    return cost


@settings(max_examples=20, deadline=None)
@given(
    hidden=st.lists(st.integers(1, 5), min_size=1, max_size=4),
    walkback=st.integers(1, 5),
    activation=st.sampled_from(["tanh", "sigmoid"]),
    step=st.integers(0, 1000),
)
def test_gradients_equal_autograds_at_any_depth_and_length(
    hidden: list[int], walkback: int, activation: str, step: int
) -> None:
    model = build((0, 4), hidden=tuple(hidden), walkback=walkback, activation=activation)
    batch = data(12).view(2, 6, SIDE)
    cost, gradients = model.gradients(batch, step)
    leaves = {name: value.requires_grad_() for name, value in model.parameters.items()}
    expected = plain_cost(model, batch, step)
    torch.testing.assert_close(cost, expected.detach(), rtol=0, atol=1e-12)
    wanted = torch.autograd.grad(expected.sum(), list(leaves.values()), allow_unused=True)
    for name, want in zip(leaves, wanted, strict=True):
        if name in gradients:
            assert want is not None
            torch.testing.assert_close(gradients[name], want, rtol=0, atol=1e-13, msg=name)
        else:  # a walk too short to reach it
            assert want is None or not want.any(), name


def test_the_average_of_gradients_has_the_released_form() -> None:
    """m <- .5 m + .5 g, then p <- p - rate m, with the rate .25 x .995 per epoch (model.py
    `m_gradient`).
    """
    model, twin, batch = build(), build(), data(6)[None]
    averages = {name: torch.zeros_like(value) for name, value in twin.parameters.items()}
    for step, epoch in enumerate((0, 0, 1, 2)):
        _, gradients = twin.gradients(batch, step)
        for name, value in twin.parameters.items():
            averages[name] = 0.5 * averages[name] + 0.5 * gradients[name]
            value -= 0.25 * 0.995**epoch * averages[name]
        model.train_step(batch, epoch, step)
    for name, value in model.parameters.items():
        torch.testing.assert_close(value, twin.parameters[name], rtol=0, atol=1e-14, msg=name)


def test_salt_and_pepper_replaces_the_stated_share_half_by_black_half_by_white() -> None:
    grid = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000  # every uniform number once
    found = corrupted(torch.full_like(grid, 0.3), grid, 0.4)
    assert [int((found == value).sum()) for value in (0.0, 1.0, 0.3)] == [200, 200, 600]


@given(p=st.floats(0, 1), noise=st.floats(0, 0.99))
def test_one_draw_samples_and_corrupts_with_the_probability_of_two(p: float, noise: float) -> None:
    """1 where kept and sampled 1, (1 - noise) p, or where replaced by white, noise / 2."""
    grid = (torch.arange(10_000, dtype=torch.float64) + 0.5) / 10_000
    found = sampled_and_corrupted(torch.full_like(grid, p), grid, noise)
    assert set(found.unique().tolist()) <= {0.0, 1.0}
    assert float(found.mean()) == pytest.approx((1 - noise) * p + noise / 2, abs=1.01e-4)


def test_the_chain_of_a_network_without_weights_is_that_of_its_biases() -> None:
    """With W = 0 nothing depends on the state: p(x | h) is the visible bias's sigmoid, from the
    first step on.
    """
    model = build()
    for name, value in model.parameters.items():
        value.zero_()
        if name == "network.0.bias":
            value += torch.linspace(-2, 2, SIDE, dtype=torch.float64)
    torch.testing.assert_close(
        model.sample(20, 0)[0],
        torch.linspace(-2, 2, SIDE, dtype=torch.float64).sigmoid().expand(20, -1),
    )


def test_the_chain_visits_the_images_of_its_exact_stationary_distribution() -> None:
    """Two pixels, one hidden layer: the corrupted image alone is a chain of 4 states with a known
    matrix.
    """
    model = build(hidden=(3,), chains=4000)
    model.dimension, model.train = 2, torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    model.initialise(model.train)
    for name, value in model.parameters.items():
        if name.endswith("weight"):
            value *= 3
    states = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    w, b1, b0 = (
        model.parameters[f"network.{n}"][0].numpy() for n in ("0.weight", "1.bias", "0.bias")
    )
    h = np.tanh(states @ w + b1)
    on = 0.6 * sigmoid(h @ w.T + b0) + 0.2
    matrix = np.array([[np.prod(np.where(to > 0, row, 1 - row)) for to in states] for row in on])
    values, vectors = np.linalg.eig(matrix.T)
    stationary = np.real(vectors[:, np.argmax(values.real)])
    stationary /= stationary.sum()
    state = model.chain_start(0)
    for step in range(60):
        state = model.chain_step(state, 0, step)
    # h is one of four vectors: which image each chain is at can be read from it.
    nearest = np.abs(state[0].numpy()[:, None] - h[None]).sum(2)
    assert nearest.min(1).max() < 1e-12
    share = np.bincount(nearest.argmin(1), minlength=4) / 4000
    assert np.abs(stationary - 0.25).max() > 0.05  # or the test would say nothing
    np.testing.assert_allclose(share, stationary, atol=4 * 0.5 / np.sqrt(4000))


def test_chains_start_at_corrupted_training_images_of_the_draw() -> None:
    model = build(chains=500, input_noise=0.0, hidden=(5,))
    above = torch.tanh(model.train @ model.parameters["network.0.weight"][0])
    start = model.chain_start(0)[0]
    distance = (start[:, None] - above[None]).abs().amax(2)
    assert float(distance.amin(1).max()) < 1e-12
    assert len(distance.argmin(1).unique()) == 30  # all of them, drawn evenly
    assert not torch.equal(start, model.chain_start(1)[0])


def test_samples_of_a_draw_repeat_and_a_long_run_begins_with_a_short_one() -> None:
    model = build((0, 1))
    assert model.sample(20, 0).shape == (2, 20, SIDE)
    assert torch.equal(model.sample(20, 0), model.sample(20, 0))
    assert torch.equal(model.sample(20, 0)[:, :9], model.sample(9, 0))
    assert not torch.equal(model.sample(9, 0), model.sample(9, 1))
    assert not torch.equal(model.sample(9, 0)[0], model.sample(9, 0)[1])
    assert float(model.sample(9, 0).min()) > 0
    assert float(model.sample(9, 0).max()) < 1


def test_the_released_network_has_its_published_size() -> None:
    """784-1500-1500 with tied weights: 784 x 1500 + 1500 x 1500 + 784 + 2 x 1500."""
    model = DeepGSN(DeepGSNConfig(), (1, 28, 28), Streams((0,), torch.device("cpu")))
    model.initialise(torch.zeros(1, 784))
    assert model.parameter_count() == {"network": 3_429_784}
    bound = (6 / (784 + 1500)) ** 0.5
    assert 0.99 * bound < float(model.parameters["network.0.weight"].abs().max()) <= bound


def test_every_default_names_its_source() -> None:
    for name, field in DeepGSNConfig.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert extra["source"], name
