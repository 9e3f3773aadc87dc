"""The adversarial nets against gradients worked out by hand in NumPy, and the released recipe's own numbers."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from replicate.errors import ReplicateError
from replicate.models.adversarial_nets import AdversarialConfig, AdversarialNets
from replicate.training.streams import Streams

SMALL = {
    "batch_size": 6, "noise_dimension": 3, "generator_hidden": (5, 4), "discriminator_hidden": (3, 2), "pieces": 2,
    "generator_range": 0.5, "discriminator_range": 0.5,
}  # fmt: skip


def build(seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any) -> AdversarialNets:
    model = AdversarialNets(
        AdversarialConfig(**{**SMALL, **changes}), (1, 2, 4), Streams(seeds, torch.device("cpu"), dtype)
    )
    model.initialise(data(40).to(dtype))
    return model


def data(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((count, 8)))


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def by_hand(model: AdversarialNets, x: np.ndarray, z: np.ndarray, masks: Any) -> dict[str, np.ndarray]:
    """Back-propagation of both objectives written out in NumPy for one seed, layer by layer."""
    w = {name: value[0].detach().numpy() for name, value in model.parameters.items()}
    grads = {name: np.zeros_like(value) for name, value in w.items()}
    c = model.config

    hidden, inputs = z, []
    for layer in (0, 1):
        inputs.append(hidden)
        hidden = np.maximum(hidden @ w[f"generator.{layer}.weight"] + w[f"generator.{layer}.bias"], 0)
    inputs.append(hidden)
    fake = sigmoid(hidden @ w["generator.2.weight"] + w["generator.2.bias"])

    def discriminator(images: np.ndarray, drop: list[torch.Tensor]) -> tuple[np.ndarray, list[Any]]:
        tape, h = [], images
        for layer in (0, 1):
            h = h * drop[layer][0].numpy()
            linear = (h @ w[f"discriminator.{layer}.weight"] + w[f"discriminator.{layer}.bias"]).reshape(len(h), 2, -1)
            won = linear == linear.max(1, keepdims=True)
            tape.append((h, won / won.sum(1, keepdims=True)))  # dropped inputs make ties
            h = linear.max(1)
        h = h * drop[2][0].numpy()
        tape.append((h, None))
        return (h @ w["discriminator.2.weight"] + w["discriminator.2.bias"])[:, 0], tape

    def backward(out: np.ndarray, tape: list[Any], drop: list[torch.Tensor], keep: bool) -> np.ndarray:
        h, _ = tape[2]
        if keep:
            grads["discriminator.2.weight"] += h.T @ out[:, None]
            grads["discriminator.2.bias"] += out.sum()
        delta = out[:, None] @ w["discriminator.2.weight"].T * drop[2][0].numpy()
        for layer in (1, 0):
            h, won = tape[layer]
            full = (won * delta[:, None, :]).reshape(len(delta), -1)
            if keep:
                grads[f"discriminator.{layer}.weight"] += h.T @ full
                grads[f"discriminator.{layer}.bias"] += full.sum(0)
            delta = full @ w[f"discriminator.{layer}.weight"].T * drop[layer][0].numpy()
        return delta

    n = len(z)
    real_logit, real_tape = discriminator(x, masks[0])
    fake_logit, fake_tape = discriminator(fake, masks[1])
    backward(-0.5 * (1 - sigmoid(real_logit)) / n, real_tape, masks[0], True)
    backward(0.5 * sigmoid(fake_logit) / n, fake_tape, masks[1], True)
    slope = -(1 - sigmoid(fake_logit)) if c.objective == "non_saturating" else -sigmoid(fake_logit)
    delta = backward(slope / n, fake_tape, masks[1], False) * fake * (1 - fake)
    for layer in (2, 1, 0):
        grads[f"generator.{layer}.weight"] = inputs[layer].T @ delta
        grads[f"generator.{layer}.bias"] = delta.sum(0, keepdims=True)
        delta = delta @ w[f"generator.{layer}.weight"].T * (inputs[layer] > 0)
    return {name: value.reshape(w[name].shape) for name, value in grads.items()}


@pytest.mark.parametrize("objective", ["non_saturating", "saturating"])
def test_gradients_equal_those_worked_out_by_hand(objective: str) -> None:
    model = build(objective=objective)
    x, z = data(6)[None], torch.randn(1, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    masks = model._masks(12, 0, 0)
    _, found = model.gradients(x, z, masks, ("discriminator", "generator"))
    halves = ([mask[:, :6] for mask in masks], [mask[:, 6:] for mask in masks])
    expected = by_hand(model, x[0].numpy(), z[0].numpy(), halves)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        np.testing.assert_allclose(gradient[0].numpy(), expected[name], atol=1e-14, err_msg=name)
        assert np.abs(expected[name]).max() > 0, name


def test_each_network_alone_has_the_gradients_of_both_together() -> None:
    model = build()
    x, z = data(6)[None], torch.ones(1, 6, 3, dtype=torch.float64)
    masks = model._masks(12, 0, 0)
    _, both = model.gradients(x, z, masks, ("discriminator", "generator"))
    for network in ("discriminator", "generator"):
        _, alone = model.gradients(x, z, masks, (network,))
        assert alone.keys() == {name for name in both if name.startswith(network)}
        for name, gradient in alone.items():
            assert torch.equal(gradient, both[name])
    _, unseen = model.gradients(x[:, :0], z, [mask[:, 6:] for mask in masks], ("generator",))
    for name, gradient in unseen.items():
        torch.testing.assert_close(gradient, both[name], rtol=0, atol=1e-15)


def test_the_simultaneous_step_moves_both_from_the_same_parameters() -> None:
    model = build()
    batch = data(6)[None]
    before = {name: value.clone() for name, value in model.parameters.items()}
    noise = model._noise("noise", 0, 6, 0)
    masks = model._masks(12, 0, 0)
    _, gradients = model.gradients(batch, noise, masks, ("discriminator", "generator"))
    model.train_step(batch, 0, 0)
    for name, value in model.parameters.items():
        torch.testing.assert_close(value, before[name] - 0.1 * gradients[name], rtol=0, atol=1e-14)


def test_algorithm_1_updates_d_k_times_on_fresh_minibatches_then_g() -> None:
    model = build(schedule="alternating", discriminator_steps=2)
    twin = build(schedule="alternating", discriminator_steps=2)
    batch = data(12)[None]
    assert model.batches_per_step == 2
    model.train_step(batch, 0, 0)
    for k, part in enumerate((batch[:, :6], batch[:, 6:])):
        noise, masks = twin._noise("noise", 0, 6, k), twin._masks(12, 0, k)
        _, found = twin.gradients(part, noise, masks, ("discriminator",))
        twin._move(found, 0, 0, 0)
    noise, masks = twin._noise("noise", 0, 6, 2), twin._masks(6, 0, 2)
    _, found = twin.gradients(batch[:, :0], noise, masks, ("generator",))
    assert found.keys() == {name for name in twin.parameters if name.startswith("generator")}
    twin._move(found, 0, 0, 0)
    for name, value in model.parameters.items():
        assert torch.equal(value, twin.parameters[name]), name


def test_the_released_networks_have_their_published_size() -> None:
    """G 2,503,984 and D 1,231,441 parameters: 784-input recipe of goodfeli/adversarial mnist.yaml."""
    model = AdversarialNets(AdversarialConfig(), (1, 28, 28), Streams((0,), torch.device("cpu")))
    model.initialise(torch.rand(10, 784, generator=torch.Generator().manual_seed(0)))
    assert model.parameter_count() == {"generator": 2_503_984, "discriminator": 1_231_441}


def test_initial_values_follow_the_recipe() -> None:
    train = data(40)
    model = build(generator_hidden=(80, 60), discriminator_hidden=(40, 300))
    for name, value in model.parameters.items():
        if name.endswith("weight"):
            assert 0.48 < value.abs().max() <= 0.5, name
            assert value.std() == pytest.approx(0.5 / math.sqrt(3), rel=0.1), name
        elif name != "generator.2.bias":
            assert not value.any(), name
    torch.testing.assert_close(model.parameters["generator.2.bias"].sigmoid()[0, 0], train.mean(0))


def test_noise_has_unit_variance_whatever_its_kind() -> None:
    for kind, bound in (("uniform", math.sqrt(3)), ("gaussian", 10)):
        z = build(noise=kind).latent(20_000, 0)
        assert float(z.mean()) == pytest.approx(0, abs=0.02)
        assert float(z.var()) == pytest.approx(1, abs=0.02)
        assert float(z.abs().max()) <= bound


def test_dropout_keeps_the_mean_and_the_stated_share() -> None:
    model = build(keep_input=0.8, keep_hidden=0.5)
    for mask, keep in zip(model._masks(20_000, 0, 0), (0.8, 0.5, 0.5), strict=True):
        assert set(mask.unique().tolist()) == {0.0, 1 / keep}
        assert float((mask > 0).double().mean()) == pytest.approx(keep, abs=0.01)
        assert float(mask.mean()) == pytest.approx(1, abs=0.02)


def test_samples_of_a_draw_repeat_and_draws_differ() -> None:
    model = build(seeds=(0, 1))
    assert model.sample(5, 0).shape == (2, 5, 8)
    assert torch.equal(model.sample(5, 0), model.sample(5, 0))
    assert not torch.equal(model.sample(5, 0), model.sample(5, 1))
    assert not torch.equal(model.sample(5, 0)[0], model.sample(5, 0)[1])
    assert torch.equal(model.decode(model.latent(5, 0)), model.sample(5, 0))


def test_a_wrong_option_is_named_with_its_path() -> None:
    with pytest.raises(ReplicateError, match=r"models\.adversarial_nets\.mnist\.learning_rate: .*greater than 0"):
        AdversarialNets.config_for("mnist", {"learning_rate": -0.1}, prefix="models.adversarial_nets.mnist")
    with pytest.raises(ReplicateError, match=r"models\.adversarial_nets\.mnist\.learning_rat: unknown key"):
        AdversarialNets.config_for("mnist", {"learning_rat": 0.1}, prefix="models.adversarial_nets.mnist")


def test_every_default_names_its_source() -> None:
    for name, field in AdversarialConfig.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert extra["source"], name
        assert field.description, name
