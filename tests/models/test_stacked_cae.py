"""The stacked CAE: its penalty, gradients and walk against autograd's Jacobians, layer by layer in
float64.
"""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models.stacked_cae import Layer, StackedCAE, StackedCAEConfig
from replicate.training.streams import Streams

SMALL = {
    "epochs": 4,
    "batch_size": 6,
    "hidden": (5, 4),
    "penalty": (0.3, 0.7),
    "learning_rate": (0.1, 0.2),
    "chains": 7,
    "burn_in": 3,
    "thinning": 2,
}


def data(count: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((count, 8)))


def build(
    seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any
) -> StackedCAE:
    config = StackedCAEConfig(**{**SMALL, **changes})
    model = StackedCAE(config, (1, 2, 4), Streams(seeds, torch.device("cpu"), dtype))
    model.train = data(30).to(dtype)
    model.initialise(model.train)
    return model


def layer(seeds: int, into: int, out: int, seed: int = 0) -> Layer:
    random = torch.Generator().manual_seed(seed)
    shapes = ((into, out), (1, out), (1, into))
    return Layer(
        *(torch.randn(seeds, *shape, dtype=torch.float64, generator=random) for shape in shapes)
    )


def jacobian(one: Layer, seed: int, x: Tensor) -> Tensor:
    """dh/dx at one row, (out, in), by autograd."""
    found: Tensor = torch.autograd.functional.jacobian(
        lambda row: torch.sigmoid(row @ one.weight[seed] + one.hidden[seed, 0]), x
    )
    return found


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000), into=st.integers(1, 6), out=st.integers(1, 6), rows=st.integers(1, 4)
)
def test_the_penalty_is_the_squared_frobenius_norm_of_autograds_jacobian(
    seed: int, into: int, out: int, rows: int
) -> None:
    one = layer(2, into, out, seed)
    x = torch.rand(
        2, rows, into, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    _, norm, _ = one.gradients(x, 0.1)
    for place in range(2):
        wanted = torch.stack([jacobian(one, place, row).square().sum() for row in x[place]]).mean()
        torch.testing.assert_close(norm[place], wanted, rtol=1e-12, atol=1e-14)


def test_the_penalty_squares_before_it_sums() -> None:
    """Two opposite weights: (sum_i W_ij)^2, as in a public port, is 0; the norm is (1/4)^2 (9 +
    9).
    """
    zero = torch.zeros(1, 1, 1, dtype=torch.float64)
    one = Layer(
        torch.tensor([[[3.0], [-3.0]]], dtype=torch.float64),
        zero,
        torch.zeros(1, 1, 2, dtype=torch.float64),
    )
    _, norm, _ = one.gradients(torch.full((1, 1, 2), 0.5, dtype=torch.float64), 1.0)
    assert float(norm) == pytest.approx(18 / 16, abs=1e-15)


@pytest.mark.parametrize("penalty", [0.0, 0.1, 3.0])
def test_gradients_equal_autograds(penalty: float) -> None:
    one = Layer(*(value.requires_grad_() for value in layer(2, 5, 4)))
    x = data(12)[:, :5].reshape(2, 6, 5)
    with torch.no_grad():
        cross_entropy, norm, found = one.gradients(x, penalty)
    code = torch.sigmoid(x @ one.weight + one.hidden)
    mean = torch.sigmoid(code @ one.weight.mT + one.visible)
    wanted_entropy = -(x * mean.log() + (1 - x) * (1 - mean).log()).sum(2).mean(1)
    steep = (code * (1 - code)).unsqueeze(-1) * one.weight.mT.unsqueeze(1)  # (seeds, rows, out, in)
    wanted_norm = steep.square().sum((2, 3)).mean(1)
    torch.testing.assert_close(cross_entropy, wanted_entropy.detach(), rtol=0, atol=1e-13)
    torch.testing.assert_close(norm, wanted_norm.detach(), rtol=0, atol=1e-13)
    wanted = torch.autograd.grad((wanted_entropy + penalty * wanted_norm).sum(), list(one))
    for part, gradient, want in zip(Layer._fields, found, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=0, atol=1e-13, msg=part)


def test_the_walks_noise_is_j_j_transposed_alpha() -> None:
    one = layer(2, 6, 4)
    x, alpha = data(10)[:, :6].reshape(2, 5, 6), torch.randn(2, 5, 4, dtype=torch.float64)
    noise = one.jacobian_noise(one.encode(x), alpha)
    for place in range(2):
        for row in range(5):
            j = jacobian(one, place, x[place, row])
            torch.testing.assert_close(
                noise[place, row], j @ j.T @ alpha[place, row], rtol=0, atol=1e-12
            )


def test_a_step_of_the_walk_decodes_the_moved_code_of_the_top_layer() -> None:
    model = build((0, 2), walk_noise=0.5)
    state = model.chain_start(3)
    found = model.chain_step(state, 3, 11)
    top = model._layer(1)
    alpha = 0.5 * model.streams.normal("evaluation", 3, 7, 4, part=12)
    for place in range(2):
        for chain in range(7):
            x = state[place, chain]
            j = jacobian(top, place, x)
            code = torch.sigmoid(x @ top.weight[place] + top.hidden[place, 0])
            y = torch.sigmoid(
                (code + j @ j.T @ alpha[place, chain]) @ top.weight[place].T + top.visible[place, 0]
            )
            torch.testing.assert_close(found[place, chain], y, rtol=0, atol=1e-12)
    bottom = model._layer(0)
    torch.testing.assert_close(
        model.chain_images(found, 3, 12),
        torch.sigmoid(found @ bottom.weight.mT + bottom.visible),
        rtol=0,
        atol=1e-12,
    )


def test_without_noise_to_speak_of_the_walk_only_reconstructs() -> None:
    model = build(hidden=(5,), penalty=(0.1,), learning_rate=(0.1,), walk_noise=1e-12)
    one, state = model._layer(0), model.chain_start(0)
    found = model.chain_step(state, 0, 0)
    torch.testing.assert_close(
        found, torch.sigmoid(one.logits(one.encode(state))), rtol=0, atol=1e-10
    )


def test_chains_start_at_training_images_of_the_draw() -> None:
    model = build(hidden=(5,), penalty=(0.1,), learning_rate=(0.1,), chains=500)
    start = model.chain_start(0)[0]
    matches = (start[:, None] == model.train[None]).all(2)
    assert bool((matches.sum(1) == 1).all())
    assert len(matches.int().argmax(1).unique()) == 30
    assert not torch.equal(start, model.chain_start(1)[0])


def test_layers_are_trained_one_after_the_other_each_on_the_codes_of_the_one_below() -> None:
    model, batch = build(), data(6)[None]
    assert model.first_complete_epoch == 3
    for epoch, number in enumerate((0, 0, 1, 1)):
        before = {name: value.clone() for name, value in model.parameters.items()}
        x = model._input_of(number, batch)
        _, _, gradients = model._layer(number).gradients(x, (0.3, 0.7)[number])
        model.train_step(batch, epoch, epoch)
        for other in (0, 1):
            for part, gradient in zip(Layer._fields, gradients, strict=True):
                name = f"autoencoder.{other}.{part}"
                wanted = (
                    before[name] - (0.1, 0.2)[number] * gradient
                    if other == number
                    else before[name]
                )
                torch.testing.assert_close(
                    model.parameters[name], wanted, rtol=0, atol=1e-14, msg=name
                )


def test_training_lowers_the_cost_of_each_layer() -> None:
    model, batch = build(epochs=400), data(6)[None]
    costs = []
    for epoch in range(400):
        found = model.train_step(batch, epoch, epoch)
        costs.append(
            float(found["reconstruction"] + SMALL["penalty"][epoch // 200] * found["contraction"])
        )  # type: ignore[index]
    assert costs[199] < 0.9 * costs[0]
    assert costs[399] < 0.9 * costs[200]


def test_samples_of_a_draw_repeat_and_a_long_run_begins_with_a_short_one() -> None:
    model = build((0, 1))
    assert model.sample(20, 0).shape == (2, 20, 8)
    assert torch.equal(model.sample(20, 0), model.sample(20, 0))
    assert torch.equal(model.sample(20, 0)[:, :9], model.sample(9, 0))
    assert not torch.equal(model.sample(9, 0), model.sample(9, 1))
    assert not torch.equal(model.sample(9, 0)[0], model.sample(9, 0)[1])


def test_initial_values_and_size_follow_the_recipe() -> None:
    """784-900-900 with tied weights and both biases per layer; uniform on +- 4 sqrt(6 / (in +
    out)).
    """
    model = StackedCAE(StackedCAEConfig(), (1, 28, 28), Streams((0,), torch.device("cpu")))
    model.initialise(torch.zeros(1, 784))
    assert model.parameter_count() == {"autoencoder": 784 * 900 + 784 + 900 + 900 * 900 + 900 + 900}
    bound = 4 * (6 / (784 + 900)) ** 0.5
    assert 0.99 * bound < float(model.parameters["autoencoder.0.weight"].abs().max()) <= bound
    assert not model.parameters["autoencoder.1.hidden"].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"penalty": (0.1,)}, "one value for each of the 2 layers"),
        ({"epochs": 1}, "epochs must be at least as many"),
    ],
)
def test_settings_that_do_not_fit_the_layers_are_named(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReplicateError, match=message):
        StackedCAE.config_for("mnist", changes, prefix="models.stacked_cae.mnist")


def test_every_default_names_its_source() -> None:
    for name, field in StackedCAEConfig.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert extra["source"], name
