"""The deep Boltzmann machine against the enumeration of all states of a tiny one."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor

from replicate.models.dbm import DBMConfig, DeepBoltzmannMachine
from replicate.models.parts.boltzmann import (
    Deep,
    Draws,
    Layer,
    energy,
    folded,
    hidden_field,
    lower_bound,
    mean_field,
    visible_field,
)
from replicate.training.streams import Streams
from tests.models.enumeration import (
    assert_distributed,
    log_joint_deep,
    log_probability,
    number_of,
    random_deep,
    states,
    train,
)

SMALL = {
    "epochs": 4,
    "pretraining_epochs": 1,
    "batch_size": 5,
    "hidden": 3,
    "top": 2,
    "particles": 7,
    "chains": 6,
    "burn_in": 4,
    "thinning": 2,
    "weight_scale": 0.5,
}
#: Five standard errors of a mean of 40,000 independent values in [0, 1], at the most.
SAMPLED = 5 * 0.5 / 40_000**0.5


def build(
    seeds: tuple[int, ...] = (0,),
    dtype: torch.dtype = torch.float64,
    deep: Deep | None = None,
    **changes: Any,
) -> DeepBoltzmannMachine:
    model = DeepBoltzmannMachine(
        DBMConfig(**{**SMALL, **changes}), (1, 2, 2), Streams(seeds, torch.device("cpu"), dtype)
    )
    model.initialise(images(20).to(dtype))
    if deep is not None:
        names = (
            "machine.0.weight",
            "machine.1.weight",
            "machine.0.bias",
            "machine.1.bias",
            "machine.2.bias",
        )
        model.parameters = {name: value.clone() for name, value in zip(names, deep, strict=True)}
    return model


def images(count: int) -> Tensor:
    return torch.rand(count, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def test_the_folded_machine_has_the_energies_of_the_deep_one() -> None:
    deep = random_deep((4, 3, 2))
    joint = log_joint_deep(deep)
    x, h, t = states(4), states(3), states(2)
    for number, middle in enumerate(h):
        sides = torch.cat([x.repeat_interleave(4, 0), t.repeat(16, 1)], 1)[None]
        found = -energy(folded(deep), middle.expand(1, 64, 3), sides)
        torch.testing.assert_close(found[0], joint[:, number].flatten(), rtol=0, atol=1e-13)


def test_chains_reach_the_enumerated_distribution() -> None:
    deep = random_deep((4, 3, 2), seed=4)
    model = build(deep=deep, chains=20_000, burn_in=40)
    state = model.chain_start(0)
    for step in range(40):
        state = model.chain_step(state, 0, step)
    joint = log_joint_deep(deep).exp()
    joint /= joint.sum()
    assert_distributed(state[0], joint.sum((0, 2)))
    means = joint.sum((1, 2)) @ states(4)
    torch.testing.assert_close(
        model.sample(20_000, 0).mean(1)[0], means, rtol=0, atol=5 * 0.5 / 20_000**0.5
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(0.1, 3.0))
def test_mean_field_raises_a_bound_that_stays_below_the_log_probability(
    seed: int, scale: float
) -> None:
    deep = random_deep((4, 3, 2), seed=seed, scale=scale)
    joint = log_joint_deep(deep)
    x = states(4)[None]
    bounds = [
        lower_bound(deep, x, *mean_field(deep, x, steps))[0] - joint.logsumexp((0, 1, 2))
        for steps in range(5)
    ]
    for before, after in pairwise(bounds):
        assert (after >= before - 1e-10).all()
    assert (bounds[-1] <= log_probability(joint) + 1e-10).all()


def test_the_bound_is_tight_where_the_posterior_is_factorial_and_only_there() -> None:
    deep = random_deep((4, 3, 2))
    x = states(4)[None]

    def slack(machine: Deep) -> Tensor:
        joint = log_joint_deep(machine)
        bound = lower_bound(machine, x, *mean_field(machine, x, 200))[0] - joint.logsumexp(
            (0, 1, 2)
        )
        return log_probability(joint) - bound

    assert slack(deep._replace(upper=0 * deep.upper)).abs().max() < 1e-12
    assert slack(deep).min() > 1e-3


def test_mean_field_solves_its_equations() -> None:
    deep = random_deep((4, 3, 2))
    x = states(4)[None]
    hidden, top = mean_field(deep, x, 500)
    wanted = torch.sigmoid(x @ deep.lower + top @ deep.upper.mT + deep.hidden)
    torch.testing.assert_close(hidden, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        top, torch.sigmoid(hidden @ deep.upper + deep.top), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("scale", [0.0, 1.5])
def test_joint_gradients_are_those_of_the_enumerated_bound(scale: float) -> None:
    """Many chains run for long: the negative phase is exact up to sampling, the positive one
    entirely.

    With no upper weights (scale 0) the bound is log p(x) itself, and so is its gradient.
    """
    deep = random_deep((4, 3, 2), seed=8)
    deep = deep._replace(upper=deep.upper * scale)
    data = states(4)[[0, 3, 3, 9, 14]][None]
    model = build(deep=deep, particles=40_000, gibbs_steps=60, mean_field_steps=100)
    model.slots["particles"] = torch.zeros(1, 40_000, 3, dtype=torch.float64)
    found = model._joint_gradients(data, Draws(model.streams, "noise", 0))

    leaves = Deep(*(value.clone().requires_grad_() for value in deep))
    joint = log_joint_deep(leaves)
    if scale == 0:
        loss = -log_probability(joint)[number_of(data[0])].mean()
    else:
        loss = (
            joint.logsumexp((0, 1, 2))
            - lower_bound(leaves, data, *mean_field(deep, data, 100)).mean()
        )
    wanted = torch.autograd.grad(loss, list(leaves))
    for gradient, want in zip(found.values(), wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=0, atol=SAMPLED)
    assert max(float(want.abs().max()) for want in wanted) > 20 * SAMPLED


def test_the_positive_phase_is_exact() -> None:
    """The same chains cancel in the difference between two batches; the bound's own derivatives
    remain.
    """
    deep = random_deep((4, 3, 2), seed=8)
    leaves = Deep(*(value.clone().requires_grad_() for value in deep))
    data = images(6)[None]
    hidden, top = mean_field(deep, data, 10)
    wanted = torch.autograd.grad(-lower_bound(leaves, data, hidden, top).mean(), list(leaves))
    model = build(deep=deep, mean_field_steps=10)
    one = model._joint_gradients(data, Draws(model.streams, "noise", 0))
    other = build(deep=deep, mean_field_steps=10)
    shifted = images(12)[None, 6:]
    two = other._joint_gradients(shifted, Draws(other.streams, "noise", 0))
    hidden, top = mean_field(deep, shifted, 10)
    less = torch.autograd.grad(-lower_bound(leaves, shifted, hidden, top).mean(), list(leaves))
    for a, b, c, d in zip(one.values(), two.values(), wanted, less, strict=True):
        torch.testing.assert_close(a - b, c - d, rtol=0, atol=1e-13)


def test_pretraining_doubles_a_layer_as_two_copies_of_it_do() -> None:
    deep = random_deep((4, 3, 2))
    layer = Layer(deep.lower, deep.visible, deep.hidden)
    twice = Layer(torch.cat([layer.weight] * 2, 1), torch.cat([layer.visible] * 2, 2), layer.hidden)
    x, h = states(4)[None], states(3)[None]
    torch.testing.assert_close(
        hidden_field(layer._replace(up=2), x), hidden_field(twice, torch.cat([x, x], 2))
    )
    twice = Layer(torch.cat([layer.weight] * 2, 2), layer.visible, torch.cat([layer.hidden] * 2, 2))
    torch.testing.assert_close(
        visible_field(layer._replace(down=2), h), visible_field(twice, torch.cat([h, h], 2))
    )


def test_pretraining_is_contrastive_divergence_with_the_missing_neighbour_doubled() -> None:
    """CD-1 written out: the lower machine's units hear the image twice, the upper machine's answer
    comes back twice.
    """
    deep = random_deep((4, 3, 2), seed=9)
    model = build(deep=deep)
    data = images(6)[None]
    code = torch.sigmoid(2 * data @ deep.lower + deep.hidden)
    sides = (
        (data, deep.lower, deep.visible, deep.hidden, 2, 1),
        (code, deep.upper, deep.hidden, deep.top, 1, 2),
    )
    for number, (below, weight, b, c, up, down) in enumerate(sides):
        draws = Draws(model.streams, "noise", 5)
        above = torch.sigmoid(up * below @ weight + c)
        back = draws.bits(torch.sigmoid(down * draws.bits(above) @ weight.mT + b))
        again = torch.sigmoid(up * back @ weight + c)
        wanted = (
            (back.mT @ again - below.mT @ above) / 6,
            (back - below).mean(1),
            (again - above).mean(1),
        )
        found = model._pretraining_gradients(data, number, Draws(model.streams, "noise", 5))
        for gradient, want in zip(found.values(), wanted, strict=True):
            torch.testing.assert_close(gradient.flatten(), want.flatten(), rtol=0, atol=1e-13)


def test_both_machines_are_pretrained_and_then_all_layers_learn() -> None:
    """4 epochs of 4 steps: one for each machine, two for all."""
    model = build()
    assert model.starts == (0, 1, 2)
    assert model.first_complete_epoch == 3
    learnt = []
    for start, stop in ((0, 4), (4, 8), (8, 16)):
        before = {name: value.clone() for name, value in model.parameters.items()}
        train(model, images(20), start, stop)
        learnt.append(
            {
                name
                for name, value in model.parameters.items()
                if not torch.equal(value, before[name])
            }
        )
    assert learnt[0] == {"machine.0.weight", "machine.0.bias", "machine.1.bias"}
    assert learnt[1] == {"machine.1.weight", "machine.1.bias", "machine.2.bias"}
    assert learnt[2] == set(model.parameters)


def test_the_rates_of_pretraining_and_of_joint_learning() -> None:
    model = build(learning_rate=0.1, pretraining_rate=0.4)
    rates = [model._rate(model.phase(step // 4), step) for step in (0, 2, 4, 8, 12)]
    assert rates == pytest.approx([0.4, 0.2, 0.4, 0.1, 0.05])


def test_learning_raises_the_exact_log_likelihood_towards_the_entropy() -> None:
    """Four images, equally often: the best mean log p(x) is -log 4; a machine without weights has
    -4 log 2.
    """
    data = states(4)[[0, 3, 12, 15]].repeat(10, 1)
    changes = {
        "epochs": 320,
        "pretraining_epochs": 10,
        "batch_size": 20,
        "hidden": 6,
        "top": 4,
        "particles": 50,
    }
    model = build(learning_rate=0.1, weight_decay=0.0, **changes)
    model.initialise(data)
    train(model, data)
    found = float(log_probability(log_joint_deep(model.deep))[number_of(data)].mean())
    assert -1.3863 > found > -1.3863 - 0.2


def test_sampling_is_a_function_of_weights_and_draw() -> None:
    model, other = build((0, 1), torch.float32), build((0, 1), torch.float32)
    found = model.sample(20, 3)
    assert found.shape == (2, 20, 4)
    assert torch.equal(model.sample(20, 3), found)
    assert torch.equal(other.sample(8, 3), found[:, :8])
    assert not torch.equal(other.sample(20, 4), found)


def test_a_run_without_joint_learning_is_refused() -> None:
    with pytest.raises(ValidationError, match="more than twice pretraining_epochs"):
        DBMConfig(epochs=8, pretraining_epochs=4)
