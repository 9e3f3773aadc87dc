"""The networks' back-propagation by hand against torch's autograd, in float64, over seeds and with
dropout.
"""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from replicate.models.parts import maxout, rectified
from replicate.training.objectives import (
    Objective,
    discriminator_loss,
    discriminator_slopes,
    generator_loss,
    generator_slope,
)


def network(
    seeds: int, sizes: list[int], pieces: int, generator: torch.Generator
) -> list[tuple[Tensor, Tensor]]:
    """Random layers: all but the last have `pieces` outputs per unit."""
    layers = []
    for number, (into, out) in enumerate(pairwise(sizes)):
        width = out if number == len(sizes) - 2 else out * pieces
        layers.append(
            tuple(
                torch.randn(seeds, *shape, dtype=torch.float64, generator=generator)
                for shape in ((into, width), (1, width))
            )
        )
    return layers  # type: ignore[return-value]


def reference_logits(
    images: Tensor, layers: maxout.Layers, pieces: int, masks: list[Tensor]
) -> Tensor:
    """The same network in plain operations that autograd follows."""
    hidden = images
    for number, (weight, bias) in enumerate(layers):
        linear = (hidden * masks[number]) @ weight + bias
        if number + 1 == len(layers):
            return linear.squeeze(-1)
        units = linear.shape[-1] // pieces
        hidden = torch.stack([linear[..., unit::units].amax(-1) for unit in range(units)], -1)
    raise AssertionError


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    seeds=st.integers(1, 3),
    pieces=st.integers(1, 4),
    depth=st.integers(0, 3),
)
def test_maxout_against_autograd(seed: int, seeds: int, pieces: int, depth: int) -> None:
    random = torch.Generator().manual_seed(seed)
    sizes = [5, *[4, 3, 6][:depth], 1]
    layers = network(seeds, sizes, pieces, random)
    images = torch.randn(seeds, 7, 5, dtype=torch.float64, generator=random)
    masks = [
        (torch.rand(seeds, 7, width, dtype=torch.float64, generator=random) < 0.6) / 0.6
        for width in sizes[:-1]
    ]
    slopes = torch.randn(seeds, 7, dtype=torch.float64, generator=random)

    found, tape = maxout.logits(images, layers, pieces, masks)
    gradients, by_image = maxout.backpropagate(tape, layers, slopes, slice(2, None))

    leaves = [tensor.requires_grad_() for pair in layers for tensor in pair]
    images.requires_grad_()
    expected = reference_logits(images, layers, pieces, masks)
    torch.testing.assert_close(found, expected.detach(), rtol=0, atol=1e-12)
    flat = [tensor for pair in gradients for tensor in pair]
    wanted = torch.autograd.grad((expected * slopes).sum(), leaves, retain_graph=True)
    for gradient, want in zip(flat, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=0, atol=1e-11)
    (want,) = torch.autograd.grad(expected.sum(), images)
    assert by_image is not None
    torch.testing.assert_close(by_image, want[:, 2:], rtol=0, atol=1e-11)


def test_maxout_leaves_out_what_is_not_asked_for() -> None:
    layers = network(1, [5, 4, 1], 2, torch.Generator().manual_seed(0))
    _, tape = maxout.logits(torch.ones(1, 3, 5, dtype=torch.float64), layers, 2)
    gradients, by_image = maxout.backpropagate(tape, layers, None, slice(None))
    assert gradients == []
    assert by_image is not None
    assert (
        maxout.backpropagate(tape, layers, torch.ones(1, 3, dtype=torch.float64), None)[1] is None
    )


PLAIN = {"rectified": torch.relu, "sigmoid": torch.sigmoid, "linear": lambda sums: sums}


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    seeds=st.integers(1, 3),
    units=st.lists(st.sampled_from(["rectified", "sigmoid", "linear"]), min_size=1, max_size=4),
)
def test_rectified_against_autograd(seed: int, seeds: int, units: list[rectified.Unit]) -> None:
    random = torch.Generator().manual_seed(seed)
    layers = network(seeds, [3, *[6, 4, 5][: len(units) - 1], 8], 1, random)
    code = torch.randn(seeds, 7, 3, dtype=torch.float64, generator=random)
    towards = torch.randn(seeds, 7, 8, dtype=torch.float64, generator=random)
    found = rectified.outputs(code, layers, units)
    gradients = [
        tensor
        for pair in rectified.backpropagate(code, found, layers, units, towards)
        for tensor in pair
    ]
    leaves = [tensor.requires_grad_() for pair in layers for tensor in pair]
    hidden = code
    for (weight, bias), unit in zip(layers, units, strict=True):
        hidden = PLAIN[unit](hidden @ weight + bias)
    torch.testing.assert_close(found[-1], hidden.detach(), rtol=0, atol=1e-12)
    for gradient, want in zip(gradients, torch.autograd.grad(hidden, leaves, towards), strict=True):
        torch.testing.assert_close(gradient, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("objective", ["saturating", "non_saturating"])
@given(st.lists(st.floats(-700, 700), min_size=1, max_size=6))
def test_slopes_are_the_derivatives_of_the_losses(
    objective: Objective, values: list[float]
) -> None:
    real = torch.tensor([values], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([values[::-1]], dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(discriminator_loss(real, fake).sum(), (real, fake))
    for slope, want in zip(discriminator_slopes(real, fake), wanted, strict=True):
        torch.testing.assert_close(slope, want, rtol=0, atol=1e-14)
    (want,) = torch.autograd.grad(generator_loss(fake, objective).sum(), fake)
    torch.testing.assert_close(generator_slope(fake, objective), want, rtol=0, atol=1e-14)
