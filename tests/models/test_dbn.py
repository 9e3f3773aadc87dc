"""The deep belief net against the enumeration of all states of a tiny one, and its greedy
course.
"""

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from replicate.models.dbn import DBNConfig, DeepBeliefNet
from replicate.models.parts.boltzmann import Draws
from replicate.training.streams import Streams
from tests.models.enumeration import assert_distributed, log_joint, random_layer, states, train

SMALL = {
    "epochs": 5,
    "batch_size": 5,
    "hidden": (3, 2),
    "particles": 7,
    "chains": 6,
    "burn_in": 4,
    "thinning": 2,
    "weight_scale": 0.5,
}


def build(
    seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any
) -> DeepBeliefNet:
    model = DeepBeliefNet(
        DBNConfig(**{**SMALL, **changes}), (1, 2, 2), Streams(seeds, torch.device("cpu"), dtype)
    )
    model.initialise(images(20).to(dtype))
    return model


def images(count: int) -> Tensor:
    return torch.rand(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def strong(**changes: Any) -> DeepBeliefNet:
    """A 4-3-2 net of large random weights."""
    model = build(**changes)
    for number, layer in enumerate(
        (random_layer(4, 3, seed=5), random_layer(3, 2, seed=6, scale=1.5))
    ):
        for part in ("weight", "visible", "hidden"):
            model.parameters[f"machine.{number}.{part}"] = getattr(layer, part)
    return model


def test_samples_are_distributed_as_the_top_machine_passed_down() -> None:
    """An image tells the units of the first layer that it came from: they follow the top machine's
    marginal.
    """
    model = strong(chains=20_000, burn_in=40)
    joint = log_joint(model.layer(1)).exp()
    marginal = joint.sum(1) / joint.sum()
    below = torch.sigmoid(states(3) @ model.layer(0).weight[0].T + model.layer(0).visible[0])
    found = model.sample(20_000, 0)[0]
    nearest = torch.cdist(found, below).argmin(1)
    torch.testing.assert_close(found, below[nearest], rtol=0, atol=1e-12)
    assert_distributed(states(3)[nearest], marginal)


def test_a_deeper_net_passes_bits_through_every_layer() -> None:
    model = build(hidden=(3, 2, 2), chains=20_000, burn_in=40)
    layers = [random_layer(4, 3, seed=5), random_layer(3, 2, seed=6), random_layer(2, 2, seed=7)]
    for number, layer in enumerate(layers):
        for part in ("weight", "visible", "hidden"):
            model.parameters[f"machine.{number}.{part}"] = getattr(layer, part)
    joint = log_joint(layers[2]).exp()
    second = joint.sum(1) / joint.sum()
    p = torch.sigmoid(states(2) @ layers[1].weight[0].T + layers[1].visible[0])[:, None]
    first = second @ (states(3) * p + (1 - states(3)) * (1 - p)).prod(2)
    below = torch.sigmoid(states(3) @ layers[0].weight[0].T + layers[0].visible[0])
    assert_distributed(states(3)[torch.cdist(model.sample(20_000, 0)[0], below).argmin(1)], first)


def test_layers_learn_one_after_the_other_and_then_rest() -> None:
    """5 epochs of 4 steps, 2 layers: epochs 0 and 1 are the first layer's, the others the
    second's.
    """
    model = build()
    assert model.starts == (0, 2)
    assert model.first_complete_epoch == 3
    assert build(hidden=(3, 2, 2), epochs=7).starts == (0, 2, 4)
    start = {name: value.clone() for name, value in model.parameters.items()}
    train(model, images(20), stop=8)
    half = {name: value.clone() for name, value in model.parameters.items()}
    train(model, images(20), start=8)
    for name, value in model.parameters.items():
        first = name.startswith("machine.0")
        assert torch.equal(half[name], start[name]) is not first, name
        assert torch.equal(value, half[name]) is first, name


def test_the_rate_of_every_layer_starts_anew_and_falls_to_zero() -> None:
    model = build(learning_rate=0.12)
    rates = [model._rate(model.phase(step // 4), step) for step in (0, 4, 7, 8, 14, 19)]
    assert rates == pytest.approx([0.12, 0.06, 0.015, 0.12, 0.06, 0.01])


@pytest.mark.parametrize("pass_up", ["means", "samples"])
def test_the_upper_machine_sees_the_lower_ones_units(pass_up: str) -> None:
    model = strong(pass_up=pass_up)
    x = states(4).repeat(2000, 1)[None]
    up = model._input_of(1, x, Draws(model.streams, "noise", 0))[0]
    means = torch.sigmoid(states(4) @ model.layer(0).weight[0] + model.layer(0).hidden[0])
    if pass_up == "samples":
        assert set(up.unique().tolist()) == {0.0, 1.0}
        up = up.view(2000, 16, 3).mean(0)
    torch.testing.assert_close(
        up[:16], means, rtol=0, atol=5 * 0.5 / 2000**0.5 if pass_up == "samples" else 1e-13
    )


def test_only_the_top_machine_has_persistent_chains() -> None:
    model = build()
    before = model.slots["particles"].clone()
    assert before.shape == (1, 7, 2)
    train(model, images(20), stop=8)
    assert torch.equal(model.slots["particles"], before)
    train(model, images(20), start=8)
    assert not torch.equal(model.slots["particles"], before)
    assert "particles" not in build(top_negative="data").slots


def test_sampling_is_a_function_of_weights_and_draw() -> None:
    model, other = build((0, 1), torch.float32), build((0, 1), torch.float32)
    found = model.sample(20, 3)
    assert found.shape == (2, 20, 4)
    assert torch.equal(model.sample(20, 3), found)
    assert torch.equal(other.sample(8, 3), found[:, :8])
    assert not torch.equal(other.sample(20, 4), found)


def test_fewer_epochs_than_layers_are_refused() -> None:
    with pytest.raises(ValidationError, match="epochs must be at least as many"):
        DBNConfig(epochs=1)
