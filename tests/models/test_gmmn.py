"""The discrepancy and its gradient against sums over pairs in float64; the network's updates; and
the stages of the autoencoder beneath it.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import kstest, norm
from torch import Tensor
from torch.nn.functional import binary_cross_entropy

from replicate.errors import ReplicateError
from replicate.models.gmmn import Gmmn, discrepancy
from replicate.models.gmmn_autoencoder import GmmnAutoencoder, GmmnAutoencoderConfig
from replicate.training.streams import Streams

CPU = torch.device("cpu")
Array = NDArray[np.float64]


def mean_kernel(x: Array, y: Array, bandwidths: tuple[float, ...], equal: bool = True) -> float:
    """The mean of k over pairs, one by one; without `equal`, over those of distinct rows only."""
    values = []
    for i, first in enumerate(x):
        for j, second in enumerate(y):
            if equal or i != j:
                distance = sum((a - b) ** 2 for a, b in zip(first, second, strict=True))
                values.append(sum(math.exp(-distance / (2 * s)) for s in bandwidths))
    return math.fsum(values) / len(values)


def by_pairs(x: Array, y: Array, bandwidths: tuple[float, ...], equal: bool = True) -> float:
    """L^2 of one seed."""
    within = mean_kernel(x, x, bandwidths, equal) + mean_kernel(y, y, bandwidths, equal)
    return within - 2 * mean_kernel(x, y, bandwidths)


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)),
    bandwidths=st.lists(st.floats(0.1, 50), min_size=1, max_size=3).map(tuple),
)
def test_the_discrepancy_and_its_gradient_are_those_of_sums_over_pairs(
    seed: int, sizes: tuple[int, int, int], bandwidths: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(seed)
    n, m, d = sizes
    x, y = rng.normal(size=(2, n, d)), rng.normal(size=(2, m, d)) + 0.5
    loss, gradient = discrepancy(torch.from_numpy(x), torch.from_numpy(y), bandwidths)
    for place in range(2):
        expected = math.sqrt(by_pairs(x[place], y[place], bandwidths))
        assert float(loss[place]) == pytest.approx(expected, rel=1e-9, abs=1e-9)
        for row, column in np.ndindex(n, d):
            ends = []
            for shift in (1e-5, -1e-5):
                moved = x[place].copy()
                moved[row, column] += shift
                ends.append(math.sqrt(by_pairs(moved, y[place], bandwidths)))
            slope = (ends[0] - ends[1]) / 2e-5
            assert float(gradient[place, row, column]) == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_a_pair_of_an_image_with_itself_counts() -> None:
    """The control: the estimate without bias is another number, and can be below 0."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(1, 6, 2)), rng.normal(size=(1, 6, 2))
    loss, _ = discrepancy(torch.from_numpy(x), torch.from_numpy(y), (1.0,))
    without = by_pairs(x[0], y[0], (1.0,), equal=False)
    assert float(loss[0]) ** 2 == pytest.approx(by_pairs(x[0], y[0], (1.0,)))
    assert float(loss[0]) ** 2 > without + 0.1


def test_one_image_each_has_a_closed_form() -> None:
    x, y = torch.zeros(1, 1, 4), torch.full((1, 1, 4), 0.5)
    loss, _ = discrepancy(x, y, (2.0, 5.0))
    kernel = math.exp(-1 / 4) + math.exp(-1 / 10)  # |x - y|^2 = 1
    assert float(loss[0]) == pytest.approx(math.sqrt(2 * 2 - 2 * kernel), rel=1e-5)


def test_equal_sets_have_no_discrepancy_and_a_finite_gradient() -> None:
    x = torch.from_numpy(np.random.default_rng(2).random((2, 5, 3)))
    loss, gradient = discrepancy(x, x.flip(1), (2.0, 5.0))
    assert float(loss.max()) < 1e-6
    assert bool(gradient.isfinite().all())


def test_single_precision_is_close_at_the_size_of_mnist() -> None:
    rng = np.random.default_rng(3)
    x, y = (torch.from_numpy(rng.random((1, 100, 784)) < 0.2).double() for _ in range(2))
    bandwidths = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
    exact = discrepancy(x, y, bandwidths)
    single = discrepancy(x.float(), y.float(), bandwidths)
    assert float(single[0]) == pytest.approx(float(exact[0]), rel=1e-5)
    torch.testing.assert_close(single[1].double(), exact[1], rtol=1e-3, atol=1e-8)


def images(count: int = 40) -> Tensor:
    return torch.from_numpy(np.random.default_rng(4).random((count, 8)))


SMALL = {"hidden": (6, 5), "noise_dimension": 3, "batch_size": 10, "bandwidths": (0.5, 2.0)}


def build(seeds: tuple[int, ...] = (0,), **changes: Any) -> Gmmn:
    model = Gmmn(Gmmn.Config(**{**SMALL, **changes}), (1, 2, 4), Streams(seeds, CPU, torch.float64))
    model.initialise(images())
    return model


def forward(parameters: dict[str, Tensor], network: str, code: Tensor, units: str) -> Tensor:
    """One seed's network, its layers written out; `units` has a letter for each."""
    for layer, unit in enumerate(units):
        linear = code @ parameters[f"{network}.{layer}.weight"]
        linear = linear + parameters[f"{network}.{layer}.bias"]
        code = linear.relu() if unit == "r" else 1 / (1 + (-linear).exp())
    return code


def test_updates_descend_with_momentum_and_are_a_tenth_from_the_drop_on() -> None:
    """Against autograd through pair sums and the textbook's velocities, over the drop."""
    model = build((3,), drop_update=3)
    parameters = {name: value[0].clone() for name, value in model.parameters.items()}
    velocity = {name: torch.zeros_like(value) for name, value in parameters.items()}
    batch = images()[None, :10]
    for step in range(5):
        model.train_step(batch, 0, step)
        code = 2 * model.streams.uniform("noise", step, 10, 3)[0] - 1
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        rows = torch.cat([forward(leaves, "generator", code, "rrs"), batch[0]])
        distances = (rows[:, None] - rows[None]).square().sum(2)
        signs = torch.tensor([0.1] * 10 + [-0.1] * 10, dtype=torch.float64)
        kernel = sum((-distances / (2 * s)).exp() for s in (0.5, 2.0))
        (signs @ kernel @ signs).sqrt().backward()  # type: ignore[no-untyped-call]
        # The released schedule counts updates from 1.
        rate, momentum = (2.0, 0.9) if step + 1 < 3 else (0.2, 0.99)
        for name, leaf in leaves.items():
            assert leaf.grad is not None
            velocity[name] = momentum * velocity[name] - rate * leaf.grad
            parameters[name] = parameters[name] + velocity[name]
            torch.testing.assert_close(model.parameters[name][0], parameters[name])


TOY = {
    "hidden": (20, 20),
    "learning_rate": 0.1,
    "bandwidths": (0.5, 2.0, 5.0),
    "weight_scale": 0.3,
    "drop_update": 250,
}


def test_the_network_learns_two_kinds_of_images() -> None:
    """Both come out, about as often as in the data: three in four are dark."""
    kinds = torch.tensor([[0.1] * 8, [0.9] * 8])[[0, 0, 0, 1] * 25]
    streams = Streams((0, 1), CPU)
    model = Gmmn(Gmmn.Config(**TOY), (1, 2, 4), streams)
    model.initialise(kinds)
    for step in range(400):
        loss = model.train_step(kinds.expand(2, -1, -1), 0, step)["discrepancy"]
    brightness = model.sample(1000, 0).mean(2)
    assert float(loss.max()) < 0.25
    assert (((brightness < 0.3) | (brightness > 0.7)).double().mean(1) > 0.8).all()
    assert ((brightness < 0.5).double().mean(1) - 0.75).abs().max() < 0.1


def test_codes_are_uniform_and_so_are_those_of_the_prior() -> None:
    model = build((0, 1))
    codes = model.latent(5000, 2)
    assert kstest(codes.flatten().numpy(), "uniform", (-1, 2)).pvalue > 0.001
    position = model.prior().draw(1000, 0, 0)
    expected = 2 * norm.cdf(position.numpy()) - 1
    np.testing.assert_allclose(model.prior().code(position).numpy(), expected, atol=1e-6)


CODED = {
    "noise_dimension": 3,
    "hidden": (6,),
    "encoder": (5, 4),
    "dropout": (0.2, 0.5),
    "layer_epochs": 2,
    "joint_epochs": 2,
    "epochs": 8,
    "batch_size": 10,
    "autoencoder_batch": 5,
}


def coded(seeds: tuple[int, ...] = (0,), **changes: Any) -> GmmnAutoencoder:
    config = GmmnAutoencoder.Config(**{**CODED, **changes})
    model = GmmnAutoencoder(config, (1, 2, 4), Streams(seeds, CPU, torch.float64))
    model.initialise(images())
    return model


def test_layers_are_trained_one_after_the_other_then_together_then_the_network() -> None:
    model = coded((0, 1))
    changed = []
    for epoch in range(8):
        before = {name: value.clone() for name, value in model.parameters.items()}
        for step in range(4 * epoch, 4 * epoch + 4):
            losses = model.train_step(images()[None, :10].expand(2, -1, -1), epoch, step)
        moved = {name for name, value in before.items() if not value.equal(model.parameters[name])}
        changed.append({name.removesuffix(".weight").removesuffix(".bias") for name in moved})
        assert set(losses) == {"reconstruction" if epoch < 6 else "discrepancy"}
    first, second = {"encoder.0", "decoder.1"}, {"encoder.1", "decoder.0"}
    network = {"generator.0", "generator.1"}
    assert changed == [first, first, second, second, *[first | second] * 2, network, network]
    assert model.first_complete_epoch == 7


@pytest.mark.parametrize("limit", [1e9, 0.01])
def test_an_update_of_the_autoencoder_is_that_of_autograd_cut_to_its_norm(limit: float) -> None:
    model = coded((3,), autoencoder_batch=10, largest_gradient=limit)
    before = {name: value[0].clone() for name, value in model.parameters.items()}
    batch = images()[None, :10]
    model.train_step(batch, 2, 8)  # the second layer, on codes of the first
    inputs = forward(before, "encoder", batch[0], "s")
    names = ("encoder.1.weight", "encoder.1.bias", "decoder.0.weight", "decoder.0.bias")
    leaves = {name: before[name].clone().requires_grad_() for name in names}
    mask = model.streams.mask(0.5, 8, 10, 5, part=1)[0]
    hidden = torch.sigmoid((inputs * mask) @ leaves[names[0]] + leaves[names[1]])
    outputs = torch.sigmoid(hidden @ leaves[names[2]] + leaves[names[3]])
    loss = binary_cross_entropy(outputs, inputs, reduction="sum") / 10
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    size = math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients))
    assert 0.01 < size < 1e9
    for name, gradient in zip(names, gradients, strict=True):
        expected = before[name] - 0.1 * min(1, limit / size) * gradient
        torch.testing.assert_close(model.parameters[name][0], expected)


def test_dropout_that_differs_from_the_released_layer_is_said_to_be_ours() -> None:
    """pynn's layer.py: `self.inputs = X * self.dropout_mask`, of 0 and 1, is what W is applied to."""
    model = coded((3,), autoencoder_batch=10, largest_gradient=1e9)
    before = {name: value[0].clone() for name, value in model.parameters.items()}
    batch = images()[None, :10]
    model.train_step(batch, 2, 8)  # the second layer, on codes of the first
    inputs = forward(before, "encoder", batch[0], "s")
    mask = (model.streams.mask(0.5, 8, 10, 5, part=1)[0] > 0).to(inputs)
    names = ("encoder.1.weight", "encoder.1.bias", "decoder.0.weight", "decoder.0.bias")
    leaves = {name: before[name].clone().requires_grad_() for name in names}
    hidden = torch.sigmoid((inputs * mask) @ leaves[names[0]] + leaves[names[1]])
    outputs = torch.sigmoid(hidden @ leaves[names[2]] + leaves[names[3]])
    loss = binary_cross_entropy(outputs, inputs, reduction="sum") / 10
    (slope,) = torch.autograd.grad(loss, [leaves[names[0]]])
    moved = model.parameters[names[0]][0] - before[names[0]]
    extra = GmmnAutoencoderConfig.model_fields["dropout"].json_schema_extra
    assert isinstance(extra, dict)
    assert torch.allclose(moved, -0.1 * slope) or "ours" in str(extra["source"])


def test_nothing_of_the_layers_velocity_is_left_when_all_are_trained() -> None:
    """Averages at the first joint update are its gradient alone, which is cut to its norm."""
    model = coded(autoencoder_batch=10, largest_gradient=1e-3)
    for step in range(17):
        model.train_step(images()[None, :10], step // 4, step)
    squares = [
        float(value.square().sum())
        for name, value in model.slots.items()
        if not name.startswith("generator")
    ]
    assert math.sqrt(sum(squares)) == pytest.approx(1e-3)


def test_the_momentum_of_the_whole_autoencoder_rises_in_steps() -> None:
    """A gradient that is cut to almost nothing leaves the velocity as it was, times the momentum.

    The released schedule has 0.5 from update 50 on and 0.9 from update 200 on.
    """
    model = coded(autoencoder_batch=10, joint_epochs=60, epochs=80, largest_gradient=1e-9)
    found = []
    for update in (1, 49, 50, 199, 200, 239):
        for value in model.slots.values():
            value.fill_(1.0)
        step = 16 + update - 1
        model.train_step(images()[None, :10], step // 4, step)
        found.append(float(model.slots["encoder.0.weight"].mean()))
    assert found == pytest.approx([0, 0, 0.5, 0.5, 0.9, 0.9], abs=1e-8)


def test_images_are_decoded_from_the_networks_codes() -> None:
    model = coded((5,))
    code = model.latent(7, 0)
    own = {name: value[0] for name, value in model.parameters.items()}
    expected = forward(own, "decoder", forward(own, "generator", code[0], "rs"), "ss")
    torch.testing.assert_close(model.decode(code)[0], expected)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dropout": (0.2,)}, "a share from 0 to below 1 for each layer"),
        ({"dropout": (0.2, 1.0)}, "dropout.1.: input should be less than 1"),
        ({"epochs": 6}, "above the autoencoder's 6"),
    ],
)
def test_stages_that_do_not_fit_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ReplicateError, match=words):
        GmmnAutoencoder.config_for("digits", {**CODED, **changes})
