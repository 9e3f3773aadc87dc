"""Both networks written out for one seed, their gradients by autograd through that, and what the
classes do.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot, softplus

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.models.conditional_adversarial_nets import ConditionalAdversarialNets
from replicate.models.parts.classes import with_classes
from replicate.params import Params
from replicate.stages.train import sweep_for
from replicate.training.backend import configure
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.streams import Streams

CPU = torch.device("cpu")
CLASSES = 3
SMALL = {
    "noise_dimension": 2,
    "generator_units": (4, 3, 5),
    "discriminator_units": (4, 2, 3),
    "discriminator_range": 0.5,
    "generator_range": 0.5,
    "pieces": 2,
    "joint_pieces": 3,
    "batch_size": 6,
}


def rows(count: int = 30) -> Tensor:
    images = torch.from_numpy(np.random.default_rng(5).random((count, 8)))
    return with_classes(images, torch.arange(count) % CLASSES)


def build(seeds: tuple[int, ...] = (0,), **changes: Any) -> ConditionalAdversarialNets:
    config = ConditionalAdversarialNets.Config(**{**SMALL, **changes})
    streams = Streams(seeds, CPU, torch.float64)
    model = ConditionalAdversarialNets(config, (1, 2, 4), streams)
    model.initialise(rows())
    return model


def layer(p: dict[str, Tensor], name: str, inputs: Tensor) -> Tensor:
    return inputs @ p[f"{name}.weight"] + p[f"{name}.bias"]


def images_of(p: dict[str, Tensor], code: Tensor, classes: Tensor, masks: list[Tensor]) -> Tensor:
    first = layer(p, "generator.code", code).relu()
    second = layer(p, "generator.class", classes).relu()
    hidden = torch.cat([first, second], 1) * masks[0]
    hidden = layer(p, "generator.joint", hidden).relu() * masks[1]
    return torch.sigmoid(layer(p, "generator.pixels", hidden))


def maxout(linear: Tensor, units: int) -> Tensor:
    return torch.stack([linear[:, unit::units].max(1).values for unit in range(units)], 1)


def logits_of(p: dict[str, Tensor], x: Tensor, classes: Tensor, masks: list[Tensor]) -> Tensor:
    image = maxout(layer(p, "discriminator.image", x * masks[0]), 4)
    of_class = maxout(layer(p, "discriminator.class", classes), 2)
    pair = torch.cat([image, of_class], 1) * masks[1]
    hidden = maxout(layer(p, "discriminator.joint", pair), 3) * masks[2]
    return layer(p, "discriminator.logit", hidden)[:, 0]


def test_the_gradients_are_those_of_both_networks_written_out() -> None:
    model = build((3, 4))
    for name, value in model.parameters.items():
        if name.endswith("bias"):  # so that no two pieces tie where dropout leaves nothing
            value += torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
    batch = rows()[:6].expand(2, -1, -1)
    noise = model._noise("noise", 7, 6, 0)
    masks = model._masks(12, 7, 0)
    losses, gradients = model.gradients(batch, noise, masks, ("discriminator", "generator"))
    for place in range(2):
        leaves = {k: v[place].clone().requires_grad_() for k, v in model.parameters.items()}
        real_masks = [mask[place, :6] for mask in masks]
        fake_masks = [mask[place, 6:] for mask in masks]
        code, classes = noise[place, :, :2], noise[place, :, 2:]
        fake_images = images_of(leaves, code, classes, fake_masks[3:])
        fake = logits_of(leaves, fake_images, classes, fake_masks)
        real = logits_of(leaves, batch[place, :, :8], batch[place, :, 8:], real_masks)
        of_discriminator = softplus(-real).mean() + softplus(fake).mean()
        of_generator = softplus(-fake).mean()
        torch.testing.assert_close(losses["discriminator"][place], of_discriminator.detach())
        torch.testing.assert_close(losses["generator"][place], of_generator.detach())
        for network, loss in (("discriminator", of_discriminator / 2), ("generator", of_generator)):
            names = [name for name in leaves if name.startswith(network)]
            expected = torch.autograd.grad(loss, [leaves[k] for k in names], retain_graph=True)
            for name, slope in zip(names, expected, strict=True):
                assert float(slope.abs().sum()) > 0, name
                torch.testing.assert_close(gradients[name][place], slope)


def test_samples_take_the_classes_in_turn_and_have_no_dropout() -> None:
    model = build((0, 1))
    drawn = model.sample(2005, 1)
    whole = [torch.ones(1, dtype=torch.float64)] * 2
    code = model._noise("evaluation", 1, 1005, 1)[1, :, :2]  # of the images from the 1,001st on
    classes = one_hot(torch.arange(1000, 2005) % CLASSES, CLASSES).double()
    own = {name: value[1] for name, value in model.parameters.items()}
    expected = images_of(own, code[:1000], classes[:1000], whole)
    torch.testing.assert_close(drawn[1, 1000:2000], expected)


def test_the_game_draws_all_classes_equally_often() -> None:
    classes = build((0, 1))._noise("noise", 3, 3000, 0)[..., 2:]
    assert torch.equal(classes.sum(2), torch.ones(2, 3000, dtype=torch.float64))
    assert (classes.mean(1) - 1 / 3).abs().max() < 0.04


@pytest.mark.parametrize(
    "schedule", ["simultaneous", pytest.param("alternating", marks=pytest.mark.slow)]
)
def test_samples_are_of_their_classes(schedule: str) -> None:
    """Class 0 is dark and class 1 bright; the control, an untrained G, tells them by chance."""
    brightness = torch.tensor([0.2, 0.8]).repeat(50)
    noise = 0.05 * torch.randn(100, 8, generator=torch.Generator().manual_seed(0))
    train = with_classes((brightness[:, None] + noise).clamp(0, 1), torch.arange(100) % 2)
    config = ConditionalAdversarialNets.Config(
        **{**SMALL, "generator_units": (8, 8, 16), "discriminator_units": (8, 8, 8)},
        schedule=schedule, keep_input=1.0, keep_hidden=1.0,
    )  # fmt: skip
    model = ConditionalAdversarialNets(config, (1, 2, 4), Streams((0, 1), CPU))
    model.initialise(train)
    for step in range(600):
        order = model.streams.order(step, 100)[:, :20]
        model.train_step(train[order], 0, step)
    means = model.sample(200, 0).mean(2)
    assert (means[:, ::2] < 0.5).double().mean() > 0.9
    assert (means[:, 1::2] > 0.5).double().mean() > 0.9


def test_a_data_set_without_classes_is_refused(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).random((20, 1, 2, 4), dtype=np.float32)
    splits = Splits(dict.fromkeys(("train", "valid", "test"), pixels))
    params = Params()
    config = ConditionalAdversarialNets.Config(**SMALL)
    backend = configure(params.compute)
    with pytest.raises(ReplicateError, match="needs a class of every training image"):
        sweep_for(
            params, config, ConditionalAdversarialNets, (0,), splits, backend,
            CheckpointFolder(tmp_path),
        )  # fmt: skip
