"""The restricted Boltzmann machine against the enumeration of all states of a tiny one."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from replicate.models.parts.boltzmann import (
    Draws,
    Layer,
    energy,
    free_energy,
    hidden_field,
    likelihood_gradients,
    visible_field,
)
from replicate.models.rbm import RBMConfig, RestrictedBoltzmannMachine
from replicate.training.momentum import ramped
from replicate.training.streams import Streams
from tests.models.enumeration import (
    assert_distributed,
    log_joint,
    log_probability,
    random_layer,
    states,
    train,
)

SMALL = {
    "epochs": 3,
    "batch_size": 5,
    "hidden": 3,
    "particles": 7,
    "chains": 6,
    "burn_in": 4,
    "thinning": 2,
    "weight_scale": 0.5,
}
PARTS = ("weight", "visible", "hidden")


def build(
    seeds: tuple[int, ...] = (0,),
    dtype: torch.dtype = torch.float64,
    layer: Layer | None = None,
    **changes: Any,
) -> RestrictedBoltzmannMachine:
    streams = Streams(seeds, torch.device("cpu"), dtype)
    model = RestrictedBoltzmannMachine(RBMConfig(**{**SMALL, **changes}), (1, 2, 2), streams)
    model.initialise(images(20).to(dtype))
    if layer is not None:
        model.parameters = {
            f"machine.0.{part}": getattr(layer, part).to(dtype, copy=True) for part in PARTS
        }
    return model


def images(count: int) -> Tensor:
    return torch.rand(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def exact_gradients(layer: Layer, data: Tensor) -> tuple[Tensor, ...]:
    """Of the mean of -log p(x), x given as rows of bits, by autograd through the sum over all
    states.
    """
    leaves = [tensor.clone().requires_grad_() for tensor in layer[:3]]
    probability = log_probability(log_joint(Layer(*leaves)))
    rows = (data[0] @ torch.tensor([8.0, 4.0, 2.0, 1.0], dtype=torch.float64)).long()
    return torch.autograd.grad(-probability[rows].mean(), leaves)


def test_energies_are_those_of_every_state() -> None:
    layer = random_layer(4, 3)
    joint = log_joint(layer)
    x, h = states(4), states(3)
    pairs = (x.repeat_interleave(8, 0)[None], h.repeat(16, 1)[None])
    torch.testing.assert_close(-energy(layer, *pairs)[0], joint.flatten(), rtol=0, atol=1e-13)
    torch.testing.assert_close(
        -free_energy(layer, x[None])[0], joint.logsumexp(1), rtol=0, atol=1e-13
    )


def test_conditionals_are_those_of_the_joint() -> None:
    layer = random_layer(4, 3)
    joint = log_joint(layer).exp()
    above = (joint @ states(3)) / joint.sum(1, keepdim=True)
    below = (joint.T @ states(4)) / joint.sum(0)[:, None]
    torch.testing.assert_close(
        hidden_field(layer, states(4)[None]).sigmoid()[0], above, rtol=0, atol=1e-13
    )
    torch.testing.assert_close(
        visible_field(layer, states(3)[None]).sigmoid()[0], below, rtol=0, atol=1e-13
    )


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    seeds=st.integers(1, 3),
    visible=st.integers(1, 5),
    hidden=st.integers(1, 4),
)
def test_gradients_are_the_derivatives_of_the_difference_of_free_energies(
    seed: int, seeds: int, visible: int, hidden: int
) -> None:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(seeds, *shape, dtype=torch.float64, generator=random)

    layer = Layer(
        *(
            value.requires_grad_()
            for value in (normal(visible, hidden), normal(1, visible), normal(1, hidden))
        )
    )
    data, model = normal(6, visible).sigmoid(), normal(9, visible).sigmoid()
    loss = free_energy(layer, data).mean(1) - free_energy(layer, model).mean(1)
    expected = torch.autograd.grad(loss.sum(), layer[:3])
    with torch.no_grad():
        found = likelihood_gradients(
            (data, hidden_field(layer, data).sigmoid()),
            (model, hidden_field(layer, model).sigmoid()),
        )
    for gradient, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, wanted, rtol=0, atol=1e-13)


@pytest.mark.parametrize("persistent", [False, True])
def test_long_contrastive_divergence_is_the_exact_gradient_and_a_short_one_is_not(
    persistent: bool,
) -> None:
    """40,000 chains: the standard error of a mean of values in [0, 1] is at most .0025; five of
    them are allowed.
    """
    layer = random_layer(4, 3, seed=1, scale=2.0)
    data = states(4)[[0, 3, 3, 9, 14]].repeat(8000, 1)[None]
    model = build(layer=layer)
    wanted = exact_gradients(layer, data)

    def largest_error(steps: int) -> float:
        particles = torch.zeros(1, 40_000, 3, dtype=torch.float64) if persistent else None
        found = model._contrast(layer, data, steps, Draws(model.streams, "noise", 0), particles)
        return max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True))

    assert largest_error(60) < 0.0125
    assert largest_error(1) > 0.04


def test_persistent_chains_go_on_where_they_were_left() -> None:
    model = build()
    machine, before = model.layer(0), model.slots["particles"].clone()
    first = model._contrast(
        machine, states(4)[None], 1, Draws(model.streams, "noise", 0), model.slots["particles"]
    )
    again = build()
    again.slots["particles"].copy_(before)
    two = again._contrast(
        machine, states(4)[None], 2, Draws(model.streams, "noise", 0), again.slots["particles"]
    )
    late = Draws(model.streams, "noise", 0, part=2)
    model._contrast(machine, states(4)[None], 1, late, model.slots["particles"])
    torch.testing.assert_close(model.slots["particles"], again.slots["particles"], rtol=0, atol=0)
    assert not torch.equal(first[0], two[0])


def test_learning_reaches_the_entropy_of_a_small_distribution() -> None:
    """Four images, equally often: the best mean log p(x) is -log 4; a machine without weights has
    -4 log 2.
    """
    data = states(4)[[0, 3, 12, 15]].repeat(10, 1)
    model = build(
        seeds=(0, 1),
        epochs=300,
        batch_size=20,
        hidden=8,
        learning_rate=0.1,
        weight_decay=0.0,
        particles=50,
    )
    model.initialise(data)
    train(model, data)
    for seed in range(2):
        layer = Layer(*(tensor[seed : seed + 1] for tensor in model.layer(0)[:3]))
        found = float(log_probability(log_joint(layer))[[0, 3, 12, 15]].mean())
        assert -1.3863 > found > -1.3863 - 0.15


def test_chains_reach_the_enumerated_distribution() -> None:
    layer = random_layer(4, 3, seed=2)
    model = build(layer=layer, chains=20_000, burn_in=40)
    state = model.chain_start(0)
    for step in range(40):
        state = model.chain_step(state, 0, step)
    joint = log_joint(layer).exp()
    assert_distributed(state[0], joint.sum(0) / joint.sum())
    means = joint.sum(1) @ states(4) / joint.sum()
    torch.testing.assert_close(
        model.sample(20_000, 0).mean(1)[0], means, rtol=0, atol=5 * 0.5 / 20_000**0.5
    )


def test_chains_start_from_the_biases() -> None:
    layer = random_layer(4, 3, seed=2)
    model = build(layer=layer, chains=20_000)
    p = layer.hidden[0, 0].sigmoid()
    assert_distributed(model.chain_start(1)[0], (states(3) * p + (1 - states(3)) * (1 - p)).prod(1))


def test_pixels_are_probabilities_or_the_input_itself() -> None:
    pixels = images(4)[None].expand(1, 4, 4).repeat(1, 5000, 1)
    drawn = build(visible="samples")._presented(pixels, Draws(build().streams, "noise", 0))
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    means = drawn.view(5000, 4, 4).mean(0)
    torch.testing.assert_close(means, images(4), rtol=0, atol=5 * 0.5 / 5000**0.5)
    assert torch.equal(
        build(visible="means")._presented(pixels, Draws(build().streams, "noise", 0)), pixels
    )


def test_the_rate_falls_to_zero_and_the_first_step_is_plain_descent() -> None:
    model = build(epochs=3, batch_size=5, learning_rate=0.12, weight_decay=0.01)
    phase = model.phase(0)
    assert [model._rate(phase, step) for step in (0, 6, 11, 12)] == pytest.approx(
        [0.12, 0.06, 0.01, 0.0]
    )
    for slot in model.slots.values():
        slot.fill_(1.0)
    before = {name: value.clone() for name, value in model.parameters.items()}
    gradients = {name: torch.full_like(value, 0.5) for name, value in model.parameters.items()}
    gap = model._descend(gradients, 0, 0)["energy_gap"]
    torch.testing.assert_close(gap[0], 0.5 * sum(value.sum() for value in before.values()))
    for name, value in before.items():
        decay = 0.01 * value if name.endswith("weight") else 0.0
        torch.testing.assert_close(model.parameters[name], value - 0.12 * (0.5 + decay))


def test_what_differs_from_the_released_file_is_said_to_be_ours() -> None:
    """pylearn2's rbm.yaml: MomentumAdjustor {final_momentum: .9, start: 5, saturate: 6}, which
    counts epochs from 1, and WeightDecay {coeffs: [.0001]}, which is coeff * sqr(W).sum().
    """
    model = build(epochs=8, learning_rate=0.1)
    c = model.config
    ramp = [
        ramped(c.momentum_initial, c.momentum_final, c.momentum_epochs, epoch) for epoch in range(8)
    ]
    weight = model.parameters["machine.0.weight"].clone().requires_grad_()
    (c.weight_decay * weight.square().sum()).backward()
    assert weight.grad is not None
    model._descend({"machine.0.weight": torch.zeros_like(weight)}, 0, 0)
    decay = (weight.detach() - model.parameters["machine.0.weight"]) / 0.1
    is_released = {
        "momentum_epochs": ramp == [0.5] * 5 + [0.9] * 3,
        "weight_decay": torch.allclose(decay, weight.grad, rtol=1e-6, atol=0),
    }
    for name, same in is_released.items():
        extra = RBMConfig.model_fields[name].json_schema_extra
        assert isinstance(extra, dict)
        assert same or str(extra["source"]).startswith("ours"), name


def test_the_energy_gap_is_the_difference_of_mean_energies() -> None:
    layer = random_layer(4, 3)
    random = torch.Generator().manual_seed(0)
    sides = [
        [torch.rand(1, 6, width, dtype=torch.float64, generator=random).round() for width in (4, 3)]
        for _ in "ab"
    ]
    gradients = likelihood_gradients((sides[0][0], sides[0][1]), (sides[1][0], sides[1][1]))
    model = build(layer=layer)
    found = model._descend(dict(zip(model.parameters, gradients, strict=True)), 0, 0)["energy_gap"]
    wanted = energy(layer, *sides[0]).mean(1) - energy(layer, *sides[1]).mean(1)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


def test_sampling_is_a_function_of_weights_and_draw() -> None:
    model = build((0, 1), torch.float32)
    found = model.sample(20, 3)
    assert found.shape == (2, 20, 4)
    assert found.min() > 0
    assert found.max() < 1
    train(model, images(20).float(), stop=2)
    assert not torch.equal(model.sample(20, 3), found)
    other = build((0, 1), torch.float32)
    assert torch.equal(other.sample(20, 3), found)
    assert torch.equal(other.sample(8, 3), found[:, :8])
    assert not torch.equal(other.sample(20, 4), found)
