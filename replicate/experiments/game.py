"""The adversarial game of two rectifier networks, with or without a condition: what experiments on images train.

G maps z ~ N(0, I), beside what it is asked for, to pixels by sigmoids; D maps an image, beside what it is shown, to a
logit. Both move at once from the same samples (goodfeli/adversarial@1720041, AdversaryCost2), by Adam, G along the
non-saturating objective.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import DataConfig, NotApplicable
from replicate.loops import steps
from replicate.models import perceptron
from replicate.models.autoencoder import start_of_pixels
from replicate.params import OURS, setting
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

#: Adam's decays: a short first memory, since the objective moves (Radford, Metz & Chintala 2016).
DECAYS = (0.5, 0.999)
CHOSEN = (
    "ours: the best of eight unconditional games on digits, by the validation images' Parzen estimate, seeds 100-102"
)

#: Of the full form on MNIST; ours: tried on seeds 100 and 101.
ON_MNIST: Mapping[str, Any] = {"hidden": (256, 256), "updates": 4000}


class GameConfig(DataConfig):
    """How G and D are trained."""

    updates: int = setting(3000, "updates of G and of D", OURS, ge=1)
    batch_size: int = setting(64, "images of the data, and of G, per update", OURS, ge=2)
    code_dimension: int = setting(16, "length of z, which is standard normal", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting(
        (128, 128), "rectified units per layer of G, and of D", OURS, min_length=1
    )
    blur: float = setting(
        0.3, "standard deviation of the normal noise on every pixel that D sees in training", CHOSEN, ge=0
    )
    learning_rate: PositiveFloat = setting(0.006, "of Adam at the start; it falls linearly to 0", CHOSEN)

    @property
    def layers(self) -> int:
        """Layers of weights of each network."""
        return len(self.hidden) + 1


@dataclass(frozen=True)
class Condition:
    """What the images of a minibatch are conditioned on.

    Attributes:
        asked: (seeds, n, any) beside z in G's input.
        shown: (seeds, n, any) beside the image in D's input.
        known: (seeds, n, dimension or 1): 1 where a pixel is given, 0 where G makes it.
    """

    asked: Tensor
    shown: Tensor
    known: Tensor


#: The condition of an update, from its number and the rows of its images, (seeds, n).
Ask = Callable[[int, Tensor], Condition]


def pixels(splits: Splits, split: str, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """The images of `split`, (n, dimension); NotApplicable where sigmoids cannot make them."""
    if splits.value_range != (0.0, 1.0):
        raise NotApplicable("its networks make pixels between 0 and 1, and this data set has others")
    return torch.from_numpy(splits.flat(split)).to(device, dtype)


def labelled(splits: Splits, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The labelled images of `split` (of the first fold), (n, dimension), and their classes, (n,) int64."""
    if not splits.labels:
        raise NotApplicable("the data set has no labels")
    images = pixels(splits, "labelled" if splits.folds else split, device)
    if splits.folds:
        images = images[torch.from_numpy(splits.folds[0][split]).to(device)]
    return images, torch.from_numpy(splits.labels_of(split)).to(device)


def minibatches(streams: Streams, count: int, size: int) -> Iterator[Tensor]:
    """Rows of `count` images for one update after the other, (seeds, size): every epoch in a new order of its own."""
    size = min(size, count)
    for epoch in itertools.count():
        order = streams.order(epoch, count)
        yield from torch.split(order[:, : count // size * size], size, dim=1)


def unconditional(step: int, rows: Tensor) -> Condition:
    """No condition at all: G makes every pixel of its own accord."""
    nothing = torch.empty(*rows.shape, 0, device=rows.device)
    return Condition(nothing, nothing, torch.zeros(1, 1, 1, device=rows.device))


def generate(config: GameConfig, parameters: Mapping[str, Tensor], code: Tensor, asked: Tensor | None = None) -> Tensor:
    """G(z), or G(z | asked), of codes (seeds, n, code dimension): (seeds, n, dimension) in (0, 1)."""
    inputs = code if asked is None else torch.cat([code, asked.to(code.dtype)], 2)
    return perceptron.outputs(inputs, parameters, "generator", config.layers).sigmoid()


def judge(config: GameConfig, parameters: Mapping[str, Tensor], images: Tensor, shown: Tensor) -> Tensor:
    """The logits of D for images (seeds, n, dimension) beside what it is shown: (seeds, n)."""
    inputs = torch.cat([images, shown.to(images.dtype)], 2)
    return perceptron.outputs(inputs, parameters, "discriminator", config.layers)[..., 0]


def initial(config: GameConfig, streams: Streams, images: Tensor, asked: int = 0, shown: int = 0) -> dict[str, Tensor]:
    """Both networks at the start; G's output bias makes the mean of `images` (n, dimension).

    Args:
        asked: width of what stands beside z.
        shown: width of what stands beside the image.
    """
    dimension = images.shape[1]
    generator = (config.code_dimension + asked, *config.hidden, dimension)
    discriminator = (dimension + shown, *config.hidden, 1)
    parameters = perceptron.initial(streams, "generator", generator, 0)
    parameters |= perceptron.initial(streams, "discriminator", discriminator, config.layers)
    parameters[f"generator.{config.layers - 1}.bias"] += start_of_pixels(images, "bernoulli")
    return parameters


def gradients(
    config: GameConfig,
    parameters: Mapping[str, Tensor],
    real: Tensor,
    code: Tensor,
    condition: Condition,
    blur: Sequence[Tensor],
) -> dict[str, Tensor]:
    """Of every parameter: D's of its loss, G's of its own, from the same samples; both at the same point."""
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    made = generate(config, leaves, code, condition.asked)
    fake = condition.known * real + (1 - condition.known) * made
    on_data, on_made = (
        judge(config, leaves, images + noise, condition.shown) for images, noise in zip((real, fake), blur, strict=True)
    )
    losses = {
        "discriminator": discriminator_loss(on_data, on_made).sum(),
        "generator": generator_loss(on_made, "non_saturating").sum(),
    }
    found: dict[str, Tensor] = {}
    for network, loss in losses.items():
        names = [name for name in leaves if name.startswith(network)]
        slopes = torch.autograd.grad(loss, [leaves[name] for name in names], retain_graph=network == "discriminator")
        found |= dict(zip(names, slopes, strict=True))
    return found


def play(config: GameConfig, streams: Streams, images: Tensor, ask: Ask = unconditional) -> dict[str, Tensor]:
    """Trains G and D on images (n, dimension): the parameters of both, stacked over seeds.

    Args:
        ask: what each minibatch is conditioned on.
    """
    turns = minibatches(streams, len(images), config.batch_size)
    first = ask(0, next(minibatches(streams, len(images), config.batch_size)))
    parameters = initial(config, streams, images, first.asked.shape[2], first.shown.shape[2])
    slots = moments(parameters)
    for update, rows in zip(steps(config.updates), turns, strict=False):
        real = images[rows]
        code = streams.normal("noise", update, rows.shape[1], config.code_dimension)
        blur = [config.blur * streams.normal("noise", update, *real.shape[1:], part=part) for part in (1, 2)]
        found = gradients(config, parameters, real, code, ask(update, rows), blur)
        adam_step(parameters, slots, found, update, config.learning_rate * (1 - update / config.updates), decays=DECAYS)
    return parameters


def per_seed(values: Tensor) -> list[float | None]:
    """One number a seed, (seeds,), for a check; None where it is not finite, so that the seed counts as failed."""
    return [float(value) if np.isfinite(value) else None for value in values.double().cpu().numpy()]
