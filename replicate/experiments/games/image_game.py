"""The adversarial game of two rectifier networks on images, with or without a condition.

G maps z ~ N(0, I) and the condition to pixels by sigmoids; D maps an image and the condition to a
logit. Both move at once from the same samples (goodfeli/adversarial@1720041, AdversaryCost2), by
Adam, G along the non-saturating objective.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import DataConfig, NotApplicable
from replicate.experiments.games.player import DECAYS
from replicate.models.autoencoder import mean_image_bias
from replicate.models.parts import perceptron
from replicate.params import OURS, setting
from replicate.progress.loops import steps
from replicate.training.adam import adam_step, moments
from replicate.training.objectives import discriminator_loss, generator_loss
from replicate.training.streams import Streams

CHOSEN = (
    "ours: the best of eight unconditional games on digits, by the validation images' Parzen "
    "estimate, seeds 100-102"
)
#: Settings of the full form on MNIST; ours: tried on seeds 100 and 101.
ON_MNIST: Mapping[str, object] = {"hidden": (256, 256), "updates": 4000}


class GameConfig(DataConfig):
    """How G and D are trained."""

    updates: int = setting(3000, "updates of G and of D", OURS, ge=1)
    batch_size: int = setting(64, "images of the data, and of G, per update", OURS, ge=2)
    code_dimension: int = setting(16, "length of z, which is standard normal", OURS, ge=1)
    hidden: tuple[PositiveInt, ...] = setting(
        (128, 128), "rectified units per layer of G, and of D", OURS, min_length=1
    )
    blur: float = setting(
        0.3,
        "standard deviation of the normal noise on every pixel that D sees in training",
        CHOSEN,
        ge=0,
    )
    learning_rate: PositiveFloat = setting(
        0.006, "of Adam at the start; it falls linearly to 0", CHOSEN
    )

    @property
    def layers(self) -> int:
        """Layers of weights of each network."""
        return len(self.hidden) + 1


@dataclass(frozen=True)
class Condition:
    """What the images of a minibatch are conditioned on.

    Attributes:
        generator: (seeds, n, any) beside z in G's input.
        discriminator: (seeds, n, any) beside the image in D's input.
        known: (seeds, n, dimension or 1): 1 where a pixel is known, 0 where G makes it.
    """

    generator: Tensor
    discriminator: Tensor
    known: Tensor


#: The condition of an update, from its number and the rows of its images, (seeds, n).
ConditionOf = Callable[[int, Tensor], Condition]


def pixels(
    splits: Splits, split: str, device: torch.device, dtype: torch.dtype = torch.float32
) -> Tensor:
    """The images of `split`, (n, dimension); NotApplicable where sigmoids cannot make them."""
    if splits.value_range != (0.0, 1.0):
        raise NotApplicable(
            "its networks make pixels between 0 and 1, and this data set has others"
        )
    return torch.from_numpy(splits.flat(split)).to(device, dtype)


def labelled(splits: Splits, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The labelled images of `split` (n, dimension) and their classes (n,) int64, of fold 1."""
    if not splits.labels:
        raise NotApplicable("the data set has no labels")
    classes = splits.labels_of(split)
    labels = torch.from_numpy(classes).to(device)
    if not splits.folds:
        images = pixels(splits, split, device)
        return images, labels
    # A fold names the rows of its splits among the labelled images.
    fold = splits.folds[0]
    rows = torch.from_numpy(fold[split]).to(device)
    images = pixels(splits, "labelled", device)
    return images[rows], labels


def minibatches(streams: Streams, count: int, size: int) -> Iterator[Tensor]:
    """The rows of each update among `count` images, (seeds, size); every epoch in a new order."""
    # A minibatch of more images than there are would leave out all of them below.
    size = min(size, count)
    # The images that would make a smaller minibatch at the end of an epoch are left out.
    used = count // size * size
    for epoch in itertools.count():
        order = streams.order(epoch, count)
        # Another order leaves out other images.
        order_of_used = order[:, :used]
        yield from torch.split(order_of_used, size, dim=1)


def unconditional(update: int, rows: Tensor) -> Condition:
    """No condition at all: G makes every pixel of its own accord."""
    device = rows.device
    shape = (*rows.shape, 0)
    no_condition = torch.empty(shape, device=device)
    nothing_known = torch.zeros(1, 1, 1, device=device)
    return Condition(no_condition, no_condition, nothing_known)


def blur_noise(config: GameConfig, streams: Streams, update: int, real: Tensor) -> list[Tensor]:
    """The noise on the pixels of an update's images: on the data (seeds, n, dimension), on G's."""
    _, *shape = real.shape
    of_data = streams.normal("noise", update, *shape, part=1)
    # Parts 1 and 2: part 0 is the code's.
    of_generated = streams.normal("noise", update, *shape, part=2)
    blur = config.blur
    return [blur * of_data, blur * of_generated]


def generate(
    config: GameConfig,
    parameters: Mapping[str, Tensor],
    code: Tensor,
    condition: Tensor | None = None,
) -> Tensor:
    """G(z) or G(z | condition) of codes (seeds, n, code dimension): (seeds, n, dimension)."""
    inputs = code
    if condition is not None:
        known = condition.to(code.dtype)
        inputs = torch.cat([code, known], 2)
    logits = perceptron.outputs(inputs, parameters, "generator", config.layers)
    return logits.sigmoid()


def discriminator_logits(
    config: GameConfig, parameters: Mapping[str, Tensor], images: Tensor, condition: Tensor
) -> Tensor:
    """The logits of D for images (seeds, n, dimension) beside its condition: (seeds, n)."""
    known = condition.to(images.dtype)
    inputs = torch.cat([images, known], 2)
    outputs = perceptron.outputs(inputs, parameters, "discriminator", config.layers)
    return outputs[..., 0]


def initial(
    config: GameConfig,
    streams: Streams,
    images: Tensor,
    generator_width: int = 0,
    discriminator_width: int = 0,
) -> dict[str, Tensor]:
    """Both networks at the start; G's output bias makes the mean of `images` (n, dimension).

    Args:
        generator_width: width of the condition beside z.
        discriminator_width: width of the condition beside the image.
    """
    dimension = images.shape[1]
    layers = config.layers
    generator_sizes = (config.code_dimension + generator_width, *config.hidden, dimension)
    discriminator_sizes = (dimension + discriminator_width, *config.hidden, 1)
    parameters = perceptron.initial(streams, "generator", generator_sizes, 0)
    parameters |= perceptron.initial(streams, "discriminator", discriminator_sizes, layers)
    output_bias = parameters[f"generator.{layers - 1}.bias"]
    # As in the release, whose output bias is the log-odds of the mean training pixels.
    output_bias += mean_image_bias(images, "bernoulli")
    return parameters


def of_network(tensors: Mapping[str, Tensor], network: str) -> dict[str, Tensor]:
    """The tensors of one of the two networks, by their names."""
    return {name: tensor for name, tensor in tensors.items() if name.startswith(network)}


def gradients(
    config: GameConfig,
    parameters: Mapping[str, Tensor],
    real: Tensor,
    code: Tensor,
    condition: Condition,
    blur: Sequence[Tensor],
) -> dict[str, Tensor]:
    """The gradient of D's loss by D's parameters and of G's by G's, at one point, same samples.

    Args:
        real: images of the data, (seeds, n, dimension).
        code: z, (seeds, n, code dimension).
        blur: noise that is added to what D sees: to the data, to the images of G.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    known = condition.known
    for_discriminator = condition.discriminator
    generated = generate(config, leaves, code, condition.generator)
    # What G is shown it need not make: known pixels are those of the data.
    fake = known * real + (1 - known) * generated
    real_noise, fake_noise = blur
    real_logits = discriminator_logits(config, leaves, real + real_noise, for_discriminator)
    fake_logits = discriminator_logits(config, leaves, fake + fake_noise, for_discriminator)
    # Both losses share the graph, so the first pass keeps it.
    discriminator = of_network(leaves, "discriminator")
    loss = discriminator_loss(real_logits, fake_logits).sum()
    slopes = torch.autograd.grad(loss, list(discriminator.values()), retain_graph=True)
    discriminator_slopes = dict(zip(discriminator, slopes, strict=True))
    generator = of_network(leaves, "generator")
    loss = generator_loss(fake_logits, "non_saturating").sum()
    slopes = torch.autograd.grad(loss, list(generator.values()))
    generator_slopes = dict(zip(generator, slopes, strict=True))
    return discriminator_slopes | generator_slopes


def play(
    config: GameConfig,
    streams: Streams,
    images: Tensor,
    condition_of: ConditionOf = unconditional,
) -> dict[str, Tensor]:
    """Trains G and D on images (n, dimension): the parameters of both, stacked over seeds.

    Args:
        condition_of: what each minibatch is conditioned on.
    """
    batches = minibatches(streams, len(images), config.batch_size)
    # The widths of the condition, from a first minibatch that nothing is trained with.
    first_rows = next(minibatches(streams, len(images), config.batch_size))
    first_condition = condition_of(0, first_rows)
    generator_width = first_condition.generator.shape[2]
    discriminator_width = first_condition.discriminator.shape[2]
    parameters = initial(config, streams, images, generator_width, discriminator_width)
    slots = moments(parameters)
    # Not strict: minibatches never end.
    for update, rows in zip(steps(config.updates), batches, strict=False):
        real = images[rows]
        code = streams.normal("noise", update, rows.shape[1], config.code_dimension)
        blur = blur_noise(config, streams, update, real)
        condition = condition_of(update, rows)
        slopes = gradients(config, parameters, real, code, condition, blur)
        rate = config.learning_rate * (1 - update / config.updates)
        adam_step(parameters, slots, slopes, update, rate, decays=DECAYS)
    return parameters
