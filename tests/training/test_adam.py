"""Adam against the formula of its paper by NumPy."""

from typing import Any

import numpy as np
import pytest
import torch

from replicate.training.adam import adam_step, moments

RATE = 0.05


def start() -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    return {
        name: torch.from_numpy(rng.normal(size=shape))
        for name, shape in (("a", (2, 3, 5)), ("b", (2, 1, 7)))
    }


def gradients(step: int) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(step + 1)
    scale = 10.0 ** rng.integers(-6, 3)
    return {
        name: torch.from_numpy(scale * rng.normal(size=value.shape))
        for name, value in start().items()
    }


@pytest.mark.parametrize(
    ("given", "b1", "b2", "epsilon"),
    [({}, 0.9, 0.999, 1e-8), ({"decays": (0.8, 0.95), "epsilon": 1e-3}, 0.8, 0.95, 1e-3)],
    ids=["defaults", "others"],
)
def test_updates_are_those_of_algorithm_1(
    given: dict[str, Any], b1: float, b2: float, epsilon: float
) -> None:
    parameters, slots = start(), moments(start())
    expected = {name: value.numpy().copy() for name, value in parameters.items()}
    m = {name: np.zeros_like(value) for name, value in expected.items()}
    v = {name: np.zeros_like(value) for name, value in expected.items()}
    for step in range(6):
        adam_step(parameters, slots, gradients(step), step, RATE, **given)
        for name, gradient in gradients(step).items():
            g = gradient.numpy()
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            unbiased = m[name] / (1 - b1 ** (step + 1)), v[name] / (1 - b2 ** (step + 1))
            expected[name] -= RATE * unbiased[0] / (np.sqrt(unbiased[1]) + epsilon)
    for name, value in expected.items():
        np.testing.assert_allclose(parameters[name].numpy(), value, rtol=0, atol=1e-13)
        np.testing.assert_allclose(slots[f"{name}.first"].numpy(), m[name], rtol=1e-12, atol=0)
        np.testing.assert_allclose(slots[f"{name}.second"].numpy(), v[name], rtol=1e-12, atol=0)


def test_what_has_no_gradient_stays() -> None:
    parameters, slots = start(), moments(start())
    adam_step(parameters, slots, {"a": gradients(0)["a"]}, 0, RATE)
    assert torch.equal(parameters["b"], start()["b"])
    assert not slots["b.first"].any()
    torch.testing.assert_close(
        (parameters["a"] - start()["a"]).abs(),
        torch.full_like(start()["a"], RATE),
        rtol=1e-3,
        atol=0,
    )


def test_a_seed_with_a_gradient_that_is_not_a_number_leaves_the_others_alone() -> None:
    parameters, slots = start(), moments(start())
    broken = gradients(0)
    broken["a"][0] = torch.nan
    adam_step(parameters, slots, broken, 0, RATE)
    alone = {name: value[1:].clone() for name, value in start().items()}
    adam_step(
        alone, moments(alone), {name: value[1:] for name, value in gradients(0).items()}, 0, RATE
    )
    assert parameters["a"][0].isnan().all()
    for name, value in alone.items():
        torch.testing.assert_close(parameters[name][1:], value, rtol=0, atol=1e-15)
