"""The adversarial nets against gradients worked out by hand in NumPy, and the released recipe's own
numbers.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch

from replicate.errors import ReplicateError
from replicate.models.adversarial_nets import AdversarialConfig, AdversarialNets
from replicate.models.parts.constraints import limit_norms
from replicate.training.streams import Streams

SMALL = {
    "batch_size": 6,
    "noise_dimension": 3,
    "generator_hidden": (5, 4),
    "discriminator_hidden": (3, 2),
    "pieces": 2,
    "generator_range": 0.5,
    "discriminator_range": 0.5,
}


def build(
    seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any
) -> AdversarialNets:
    model = AdversarialNets(
        AdversarialConfig(**{**SMALL, **changes}),
        (1, 2, 4),
        Streams(seeds, torch.device("cpu"), dtype),
    )
    model.initialise(data(40).to(dtype))
    return model


def data(count: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((count, 8)))


def sigmoid(a: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-a))


def by_hand(
    model: AdversarialNets, x: np.ndarray, z: np.ndarray, masks: Any
) -> dict[str, np.ndarray]:
    """Back-propagation of both objectives written out in NumPy for one seed, layer by layer."""
    w = {name: value[0].detach().numpy() for name, value in model.parameters.items()}
    grads = {name: np.zeros_like(value) for name, value in w.items()}
    c = model.config

    hidden, inputs = z, []
    for layer in (0, 1):
        inputs.append(hidden)
        hidden = np.maximum(
            hidden @ w[f"generator.{layer}.weight"] + w[f"generator.{layer}.bias"], 0
        )
    inputs.append(hidden)
    fake = sigmoid(hidden @ w["generator.2.weight"] + w["generator.2.bias"])

    def discriminator(images: np.ndarray, drop: list[torch.Tensor]) -> tuple[np.ndarray, list[Any]]:
        tape, h = [], images
        for layer in (0, 1):
            h = h * drop[layer][0].numpy()
            linear = (
                h @ w[f"discriminator.{layer}.weight"] + w[f"discriminator.{layer}.bias"]
            ).reshape(len(h), 2, -1)
            won = linear == linear.max(1, keepdims=True)
            tape.append((h, won / won.sum(1, keepdims=True)))  # dropped inputs make ties
            h = linear.max(1)
        h = h * drop[2][0].numpy()
        tape.append((h, None))
        return (h @ w["discriminator.2.weight"] + w["discriminator.2.bias"])[:, 0], tape

    def backward(
        out: np.ndarray, tape: list[Any], drop: list[torch.Tensor], keep: bool
    ) -> np.ndarray:
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
    x, z = (
        data(6)[None],
        torch.randn(1, 6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5)),
    )
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
        twin._descend(found, 0, 0, 0)
    noise, masks = twin._noise("noise", 0, 6, 2), twin._masks(6, 0, 2)
    _, found = twin.gradients(batch[:, :0], noise, masks, ("generator",))
    assert found.keys() == {name for name in twin.parameters if name.startswith("generator")}
    twin._descend(found, 0, 0, 0)
    for name, value in model.parameters.items():
        assert torch.equal(value, twin.parameters[name]), name


def test_the_released_networks_have_their_published_size() -> None:
    """G 2,503,984 and D 1,231,441 parameters: 784-input recipe of goodfeli/adversarial
    mnist.yaml.
    """
    model = AdversarialNets(AdversarialConfig(), (1, 28, 28), Streams((0,), torch.device("cpu")))
    model.initialise(torch.rand(10, 784, generator=torch.Generator().manual_seed(0)))
    assert model.parameter_count() == {"generator": 2_503_984, "discriminator": 1_231_441}


class Shapeless(Streams):
    """Draws tensors that have a shape and no numbers, so that nets of any size can be built."""

    def _draw(
        self, kind: str, purpose: Any, step: int, shape: tuple[int, ...], part: int
    ) -> torch.Tensor:
        return torch.empty((len(self.seeds), *shape), device="meta")


@pytest.mark.parametrize(
    ("dataset", "shape", "generator", "discriminator"),
    [
        ("tfd", (1, 48, 48), 84_858_404, 21_037_201),
        ("cifar10", (3, 32, 32), 89_395_072, 37_393_601),
    ],
)
def test_the_large_released_networks_have_their_published_size(
    dataset: str, shape: tuple[int, int, int], generator: int, discriminator: int
) -> None:
    """The yaml files of goodfeli/adversarial@1720041: in millions 84.9 and 21.0, 89.4 and 37.4."""
    config = AdversarialNets.config_for(dataset, {})
    assert isinstance(config, AdversarialConfig)
    model = AdversarialNets(config, shape, Shapeless((0,), torch.device("meta")))
    model.initialise(torch.empty(1000, math.prod(shape), device="meta"))
    assert model.parameter_count() == {"generator": generator, "discriminator": discriminator}


def test_the_recipes_hold_the_released_numbers() -> None:
    """tfd_pretrain/pretrain.yaml and train.yaml, cifar10_fully_connected.yaml, read from the
    released files.
    """
    tfd, cifar10 = (
        AdversarialNets.config_for(name, {}).model_dump() for name in ("tfd", "cifar10")
    )
    assert AdversarialNets.config_for("faces", {}).model_dump() == tfd
    released = {
        "noise": ("gaussian", "gaussian"),
        "generator_range": (0.05, 0.05),
        "generator_output_range": (None, 0.5),
        "generator_output_weights": (100, 0),
        "generator_sigmoid_bias": (-2.0, 0.0),
        "output": ("sigmoid", "linear"),
        "discriminator_hidden": ((1200, 1200), (1600, 1600)),
        "pieces": (5, 5),
        "discriminator_range": (0.005, 0.005),
        "learning_rate": (0.05, 0.025),
        "batch_size": (100, 100),
        "max_norm": (1.9365, None),
        "keep_input": (0.8, 0.8),
        "keep_hidden": (0.5, 0.5),
        "pretrain_epochs": (50, 0),
        "prepended_layers": (2, 0),
        "generator_hidden": ((8000, 100, 8000, 8000), (8000, 8000)),
        "generator_sigmoid": ((1, 3), (1,)),
    }
    for name, values in released.items():
        assert (tfd[name], cifar10[name]) == values, name
    assert tfd["epochs"] == 50 + 22


def test_max_norm_is_the_released_projection() -> None:
    random = np.random.default_rng(2)
    for shape in ((2, 5, 7), (2, 4, 3, 2, 2)):  # weights by column, kernels by channel
        before = random.normal(size=shape)
        before[0, :, 0] *= 0.01  # within the limit, and still scaled by norm / (norm + 1e-7)
        expected = before.copy()
        for seed in range(2):
            for unit in range(shape[2] if len(shape) == 3 else shape[1]):
                place = (seed, slice(None), unit) if len(shape) == 3 else (seed, unit)
                norm = math.sqrt(sum(value**2 for value in before[place].ravel()))
                expected[place] = before[place] * (min(norm, 1.9365) / (1e-7 + norm))
        found = torch.from_numpy(before.copy())
        limit_norms(found, 1.9365)
        np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-15)


def test_every_layer_is_projected_after_the_update() -> None:
    limited, free = build(max_norm=0.3), build()
    for model in (limited, free):
        model.train_step(data(6)[None], 0, 0)
    for name, value in free.parameters.items():
        if name.endswith("weight"):
            assert float(torch.linalg.vector_norm(value, dim=1).max()) > 0.3, name
            limit_norms(value, 0.3)
        assert torch.equal(limited.parameters[name], value), name
        assert torch.equal(limited.slots[name], free.slots[name]), name


def test_initial_values_of_the_larger_recipes() -> None:
    model = build(
        seeds=(0, 1),
        generator_hidden=(60, 50, 40),
        generator_sigmoid=(1,),
        generator_sigmoid_bias=-2.0,
        generator_output_weights=10,
        output="linear",
    )
    for layer, start in enumerate((0.0, -2.0, 0.0, 0.0)):
        assert set(model.parameters[f"generator.{layer}.bias"].unique().tolist()) == {start}
    weight = model.parameters["generator.3.weight"]
    assert weight.shape == (2, 40, 8)
    assert torch.equal((weight != 0).sum(1), torch.full((2, 8), 10))
    assert not torch.equal(weight[0] != 0, weight[1] != 0)
    assert not torch.equal(weight[0, :, 0] != 0, weight[0, :, 1] != 0)
    drawn = weight[weight != 0]
    assert float(drawn.mean()) == pytest.approx(0, abs=0.25)
    assert float(drawn.std()) == pytest.approx(1, abs=0.2)
    wide = build(generator_hidden=(60, 50), generator_output_range=5.0)
    assert 4.8 < float(wide.parameters["generator.2.weight"].abs().max()) <= 5
    assert float(wide.parameters["generator.1.weight"].abs().max()) <= 0.5


def test_linear_pixels_are_unbounded_and_hidden_sigmoids_are_not() -> None:
    model = build(generator_sigmoid=(0, 1), output="linear", generator_output_range=50.0)
    w = {name: value[0].numpy() for name, value in model.parameters.items()}
    code = model.latent(20, 0)
    hidden = code[0].numpy()
    for layer in (0, 1):
        hidden = sigmoid(hidden @ w[f"generator.{layer}.weight"] + w[f"generator.{layer}.bias"])
    expected = hidden @ w["generator.2.weight"] + w["generator.2.bias"]
    np.testing.assert_allclose(model.decode(code)[0].numpy(), expected, atol=1e-12)
    assert expected.min() < 0
    assert expected.max() > 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"generator_sigmoid": (2,)}, "generator_sigmoid: G has no such hidden layer, only 0 to 1"),
        ({"generator_output_weights": 1300}, "generator_output_weights: more than the units"),
        ({"pretrain_epochs": 5}, "pretrain_epochs and prepended_layers: either both"),
        ({"prepended_layers": 1}, "pretrain_epochs and prepended_layers: either both"),
        ({"pretrain_epochs": 500, "prepended_layers": 1}, "epochs: must be more than the 500"),
        (
            {"pretrain_epochs": 5, "prepended_layers": 1},
            r"must be a hidden layer of noise_dimension \(100\)",
        ),
        (
            {"pretrain_epochs": 5, "prepended_layers": 3},
            r"must be a hidden layer of noise_dimension \(100\)",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReplicateError, match=message):
        AdversarialNets.config_for("mnist", changes)


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
    with pytest.raises(
        ReplicateError, match=r"models\.adversarial_nets\.mnist\.learning_rate: .*greater than 0"
    ):
        AdversarialNets.config_for(
            "mnist", {"learning_rate": -0.1}, prefix="models.adversarial_nets.mnist"
        )
    with pytest.raises(
        ReplicateError, match=r"models\.adversarial_nets\.mnist\.learning_rat: unknown key"
    ):
        AdversarialNets.config_for(
            "mnist", {"learning_rat": 0.1}, prefix="models.adversarial_nets.mnist"
        )


def test_every_default_names_its_source() -> None:
    for name, field in AdversarialConfig.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert extra["source"], name
        assert field.description, name
