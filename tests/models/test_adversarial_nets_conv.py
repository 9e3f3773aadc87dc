"""The convolutional nets against plain convolutions of one seed at a time, and the released
recipe's own numbers.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv2d, softplus

from replicate.errors import ReplicateError
from replicate.models.adversarial_nets_conv import (
    Convolution,
    ConvolutionalConfig,
    ConvolutionalNets,
)
from replicate.models.parts import convolution
from replicate.training.streams import Streams

#: Two channels of 8 x 8; the first pooling overlaps, the second hangs over the border.
SETTINGS = {
    "batch_size": 6,
    "noise_dimension": 3,
    "output": "sigmoid",
    "generator_hidden": 5,
    "generator_maps": (4, 3, 3),
    "generator_kernel": 4,
    "generator_stride": 2,
    "generator_range": 0.5,
    "discriminator_hidden": (4, 3),
    "pieces": 2,
    "convolutions": (
        {"channels": 3, "kernel": 3, "pad": 1, "pool": 3, "pool_stride": 2},
        {"channels": 5, "kernel": 2, "pad": 1, "pool": 2, "pool_stride": 2},
    ),
    "convolution_pieces": 3,
    "discriminator_range": 0.5,
    "learning_rate": 0.1,
}
SHAPE = (2, 8, 8)
TRAIN = torch.from_numpy(np.random.default_rng(3).random((40, 128)))


def build(
    seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any
) -> ConvolutionalNets:
    config = ConvolutionalConfig(**{**SETTINGS, **changes})
    model = ConvolutionalNets(config, SHAPE, Streams(seeds, torch.device("cpu"), dtype))
    model.initialise(TRAIN.to(dtype))
    return model


def batch(model: ConvolutionalNets, step: int, count: int = 6) -> Tensor:
    return TRAIN[model.streams.order(step, len(TRAIN))[:, :count]].to(model.streams.dtype)


def shaken(model: ConvolutionalNets) -> ConvolutionalNets:
    """Biases that are not 0, so that a test sees them."""
    for part, (name, value) in enumerate(model.parameters.items()):
        if name.endswith("bias"):
            value += model.streams.normal("init", 5, *value.shape[1:], part=part)
    return model


def plain_images(w: dict[str, Tensor], code: Tensor) -> Tensor:
    """G of one seed: the deconvolution as a sum of kernels, each placed by hand."""
    hidden = (code @ w["generator.0.weight"] + w["generator.0.bias"]).relu()
    maps = (hidden @ w["generator.1.weight"] + w["generator.1.bias"]).sigmoid().reshape(-1, 4, 3, 3)
    image = w["generator.2.bias"].repeat(len(code), 1, 1, 1)
    for row in range(3):
        for column in range(3):
            patch = torch.einsum("nc,cokl->nokl", maps[:, :, row, column], w["generator.2.weight"])
            square = (
                slice(None),
                slice(None),
                slice(2 * row, 2 * row + 4),
                slice(2 * column, 2 * column + 4),
            )
            image = image.index_put(
                tuple(
                    torch.meshgrid(
                        *(torch.arange(n)[s] for n, s in zip(image.shape, square, strict=True)),
                        indexing="ij",
                    )
                ),
                patch,
                accumulate=True,
            )
    return image.sigmoid().flatten(1)


def plain_logits(
    w: dict[str, Tensor], images: Tensor, masks: list[Tensor], config: ConvolutionalConfig
) -> Tensor:
    """D of one seed: torch's plain convolution, and every pooled square and maxout unit by
    itself.
    """
    maps = images.reshape(-1, *SHAPE)
    for number, layer in enumerate(config.convolutions):
        maps = maps * masks[number].reshape(maps.shape)
        sums = conv2d(
            maps,
            w[f"discriminator.{number}.weight"],
            w[f"discriminator.{number}.bias"],
            padding=layer.pad,
        )
        channels = [sums[:, unit :: layer.channels].amax(1) for unit in range(layer.channels)]
        detected = torch.stack(channels, 1)
        starts = [
            range(0, max(side - layer.pool, 0) + layer.pool_stride, layer.pool_stride)
            for side in detected.shape[2:]
        ]
        squares = [
            [detected[:, :, r : r + layer.pool, c : c + layer.pool].amax((2, 3)) for c in starts[1]]
            for r in starts[0]
        ]
        maps = torch.stack([torch.stack(row, -1) for row in squares], -2)
    hidden = maps.flatten(1)
    for number in range(len(config.convolutions), len(masks)):
        sums = (hidden * masks[number]) @ w[f"discriminator.{number}.weight"] + w[
            f"discriminator.{number}.bias"
        ]
        units = sums.shape[1] // config.pieces
        hidden = (
            sums
            if number + 1 == len(masks)
            else torch.stack([sums[:, u::units].amax(1) for u in range(units)], 1)
        )
    return hidden[:, 0]


def one_seed(model: ConvolutionalNets, place: int) -> dict[str, Tensor]:
    return {name: value[place].clone() for name, value in model.parameters.items()}


def test_a_block_computes_what_each_seed_alone_does_with_plain_convolutions() -> None:
    model = shaken(build((0, 1, 2)))
    code, data, masks = model.latent(6, 0), batch(model, 0), model._masks(6, 0, 0)
    images, logits = model.decode(code), model._logits(data, masks, model.parameters)
    for place in range(3):
        w = one_seed(model, place)
        torch.testing.assert_close(images[place], plain_images(w, code[place]), rtol=0, atol=1e-13)
        expected = plain_logits(w, data[place], [mask[place] for mask in masks], model.config)
        torch.testing.assert_close(logits[place], expected, rtol=0, atol=1e-12)
    assert float(logits.std()) > 1e-3


@pytest.mark.parametrize("objective", ["non_saturating", "saturating"])
def test_gradients_equal_those_of_one_seed_in_plain_operations(objective: str) -> None:
    model = shaken(build((0, 1), objective=objective))
    data, noise, masks = batch(model, 0), model._noise("noise", 0, 6, 0), model._masks(12, 0, 0)
    losses, found = model.gradients(data, noise, masks, ("discriminator", "generator"))
    assert found.keys() == model.parameters.keys()
    for place in range(2):
        w = {name: value.requires_grad_() for name, value in one_seed(model, place).items()}
        drop = [mask[place] for mask in masks]
        real = plain_logits(w, data[place], [mask[:6] for mask in drop], model.config)
        fake = plain_logits(
            w, plain_images(w, noise[place]), [mask[6:] for mask in drop], model.config
        )
        against = softplus(-real, threshold=700).mean() + softplus(fake, threshold=700).mean()
        sign = 1 if objective == "saturating" else -1
        towards = -sign * softplus(sign * fake, threshold=700).mean()
        assert float(losses["discriminator"][place]) == pytest.approx(against.item(), abs=1e-12)
        assert float(losses["generator"][place]) == pytest.approx(towards.item(), abs=1e-12)
        for network, objective_value in (("discriminator", 0.5 * against), ("generator", towards)):
            names = [name for name in w if name.startswith(network)]
            wanted = torch.autograd.grad(
                objective_value, [w[name] for name in names], retain_graph=True
            )
            for name, want in zip(names, wanted, strict=True):
                torch.testing.assert_close(found[name][place], want, rtol=0, atol=1e-12)
                assert float(want.abs().max()) > 0, name


def test_each_network_alone_has_the_gradients_of_both_together() -> None:
    model = build((0, 1))
    data, noise, masks = batch(model, 0), model._noise("noise", 0, 6, 0), model._masks(12, 0, 0)
    _, both = model.gradients(data, noise, masks, ("discriminator", "generator"))
    _, alone = model.gradients(data, noise, masks, ("discriminator",))
    _, unseen = model.gradients(data[:, :0], noise, [mask[:, 6:] for mask in masks], ("generator",))
    assert (alone | unseen).keys() == both.keys()
    assert not alone.keys() & unseen.keys()
    for name, gradient in (alone | unseen).items():
        torch.testing.assert_close(gradient, both[name], rtol=0, atol=1e-15)


def test_the_simultaneous_step_moves_both_from_the_same_parameters() -> None:
    model = build(max_norm=0.3)
    before = {name: value.clone() for name, value in model.parameters.items()}
    noise, masks = model._noise("noise", 0, 6, 0), model._masks(12, 0, 0)
    _, gradients = model.gradients(batch(model, 0), noise, masks, ("discriminator", "generator"))
    model.train_step(batch(model, 0), 0, 0)
    for name, value in model.parameters.items():
        moved = before[name] - 0.1 * gradients[name]
        if name.endswith("weight"):  # kernels by their first dimension, weights by column
            channels = moved[0].flatten(1) if moved.ndim == 5 else moved[0].T
            scales = [min(float(norm), 0.3) / (float(norm) + 1e-7) for norm in channels.norm(dim=1)]
            shape = (1, -1, 1, 1, 1) if moved.ndim == 5 else (1, 1, -1)
            moved = moved * torch.tensor(scales, dtype=torch.float64).reshape(shape)
            assert min(scales) < 1
        torch.testing.assert_close(value, moved, rtol=0, atol=1e-14)


def test_dropout_has_a_mask_for_every_number_that_a_layer_of_d_takes_in() -> None:
    model = build(keep_input=0.9, keep_hidden=0.4)
    masks = model._masks(4000, 0, 0)
    assert [mask.shape[2] for mask in masks] == [2 * 8 * 8, 3 * 4 * 4, 5 * 3 * 3, 4, 3]
    for mask, keep in zip(masks, (0.9, 0.4, 0.4, 0.4, 0.4), strict=True):
        assert float((mask > 0).double().mean()) == pytest.approx(keep, abs=0.02)
        assert float(mask.max()) == pytest.approx(1 / keep)


class Shapeless(Streams):
    """Draws tensors that have a shape and no numbers, so that nets of any size can be built."""

    def _draw(
        self, kind: str, purpose: Any, step: int, shape: tuple[int, ...], part: int
    ) -> Tensor:
        return torch.empty((len(self.seeds), *shape), device="meta")


def shapeless(dataset: str, shape: tuple[int, int, int], **changes: Any) -> ConvolutionalNets:
    config = ConvolutionalNets.config_for(dataset, changes)
    assert isinstance(config, ConvolutionalConfig)
    model = ConvolutionalNets(config, shape, Shapeless((0,), torch.device("meta")))
    model.initialise(torch.empty(10, math.prod(shape), device="meta"))
    return model


def test_the_released_network_has_the_released_shapes() -> None:
    """goodfeli/adversarial@1720041 cifar10_convolutional.yaml; sides by pylearn2's rules, counts
    worked out by hand.

    Convolutions 32 + 2*4 - 8 + 1 = 33, 16 + 2*3 - 8 + 1 = 15, 7 + 2*3 - 5 + 1 = 9; pooling
    ceil(29/2) + 1 = 16, ceil(11/2) + 1 = 7, ceil(7/2) + 1 = 5. The file's partial_sum of 33 and 15
    are the sides of the first two.
    """
    model = shapeless("cifar10", (3, 32, 32))
    assert model._maps == [(3, 32, 32), (32, 16, 16), (32, 7, 7), (192, 5, 5)]
    assert {
        name: tuple(value.shape[1:])
        for name, value in model.parameters.items()
        if name.endswith("weight")
    } == {
        "generator.0.weight": (100, 8000),
        "generator.1.weight": (8000, 8000),
        "generator.2.weight": (80, 3, 5, 5),
        "discriminator.0.weight": (64, 3, 8, 8),
        "discriminator.1.weight": (64, 32, 8, 8),
        "discriminator.2.weight": (384, 32, 5, 5),
        "discriminator.3.weight": (4800, 2500),
        "discriminator.4.weight": (500, 1),
    }
    assert model.parameter_count() == {
        "generator": 100 * 8000 + 8000 + 8000 * 8000 + 8000 + 80 * 3 * 25 + 3 * 32 * 32,
        "discriminator": 12_352 + 131_136 + 307_584 + 12_002_500 + 501,
    }
    c = model.config
    assert (c.batch_size, c.learning_rate, c.noise, c.output, c.max_norm) == (
        128,
        0.004,
        "gaussian",
        "linear",
        None,
    )
    assert (c.generator_range, c.discriminator_range, c.keep_input, c.keep_hidden) == (
        0.05,
        0.005,
        0.8,
        0.5,
    )


def test_every_recipe_and_other_shapes_fit_their_images() -> None:
    for dataset, shape in (("digits", (1, 8, 8)), ("images", (3, 32, 32))):
        assert shapeless(dataset, shape).config.output == "sigmoid"
    mnist = shapeless(
        "mnist", (1, 28, 28), generator_maps=(8, 9, 9), generator_kernel=4, output="sigmoid"
    )
    assert mnist.parameters["generator.2.bias"].shape == (1, 1, 28, 28)
    layer = {"channels": 6, "kernel": 3, "pad": 1, "pool": 3, "pool_stride": 2}
    oblong = shapeless("mnist", (1, 8, 11), generator_maps=(8, 2, 3), convolutions=[layer])
    assert oblong._maps[1] == (6, 4, 5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"generator_kernel": 5},
            "maps of 3x3, kernel 5 and stride 2 give images of 9x9, .* are 8x8",
        ),
        (
            {"convolutions": [{"channels": 2, "kernel": 8, "pad": 0, "pool": 2, "pool_stride": 2}]},
            r"convolutions\[0\]: maps of 8x8 with kernel 8 and pad 0 give 1x1, too few for squares "
            "of 2x2",
        ),
        (
            {"convolutions": [{"channels": 2, "kernel": 3, "pad": 1, "pool": 2, "pool_stride": 3}]},
            r"convolutions\[0\]: pool_stride must be at most pool",
        ),
        (
            {"convolutions": [{"channels": 2, "kernel": 3, "pad": 3, "pool": 2, "pool_stride": 2}]},
            r"convolutions\[0\]: .* pad less than kernel",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused_with_their_sizes(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReplicateError, match=message):
        build(**changes)


def test_a_wrong_layer_is_named_with_its_path() -> None:
    layer = {"channels": 2, "kernel": 3, "pad": 1, "pool": 2}
    with pytest.raises(ReplicateError, match=r"m\.convolutions\[0\]\.pool_stride: field required"):
        ConvolutionalNets.config_for("digits", {"convolutions": [layer]}, prefix="m")
    with pytest.raises(ReplicateError, match=r"m\.convolutions: at least 1 entries are needed"):
        ConvolutionalNets.config_for("digits", {"convolutions": []}, prefix="m")


def test_folded_maps_unfold() -> None:
    rows = torch.arange(2 * 3 * 12.0).reshape(2, 3, 12)
    maps = convolution.fold(rows, 3, 2, 2)
    assert maps.shape == (3, 6, 2, 2)
    assert torch.equal(maps[1, 3:].flatten(), rows[1, 1])
    assert torch.equal(convolution.unfold(maps, 2), rows)


def test_initial_values_follow_the_recipe() -> None:
    model = build(generator_hidden=100, discriminator_hidden=(60,))
    for name, value in model.parameters.items():
        if name.endswith("weight"):
            assert 0.4 < float(value.abs().max()) <= 0.5, name
        elif name != "generator.2.bias":
            assert not value.any(), name
    torch.testing.assert_close(
        model.parameters["generator.2.bias"].sigmoid()[0].flatten(), TRAIN.mean(0)
    )
    assert not build(output="linear").parameters["generator.2.bias"].any()


def test_sigmoid_pixels_lie_in_the_unit_interval_and_linear_ones_need_not() -> None:
    inside = build(generator_range=20.0).sample(50, 0)
    assert 0 <= float(inside.min()) < float(inside.max()) <= 1
    outside = build(generator_range=20.0, output="linear").sample(50, 0)
    assert float(outside.min()) < -1
    assert float(outside.max()) > 2


def test_samples_of_a_draw_repeat_and_draws_differ() -> None:
    model = build((0, 1))
    assert model.sample(5, 0).shape == (2, 5, 128)
    assert torch.equal(model.sample(5, 0), model.sample(5, 0))
    assert not torch.equal(model.sample(5, 0), model.sample(5, 1))
    assert not torch.equal(model.sample(5, 0)[0], model.sample(5, 0)[1])
    assert torch.equal(model.decode(model.latent(5, 0)), model.sample(5, 0))


def test_every_default_names_its_source() -> None:
    for name, field in ConvolutionalConfig.model_fields.items():
        extra = field.json_schema_extra
        assert isinstance(extra, dict), name
        assert extra["source"], name
        assert field.description, name
    assert all(field.description for field in Convolution.model_fields.values())
