"""In-painting: all conditionals p(x_S | x_not-S) by one family of models (X3, section 7.3).

The paper claims: one can approximately model all conditionals of any part of x given the rest, by a
family of conditional models that share parameters.

G is given the known pixels, a mask that says which they are, and z; it makes the others. D sees the
whole image and the mask. Half of the training masks are random, half show one half of the image;
one G and D serve them all.

Measured on test images, over the pixels that were not known: the squared error of a completion
against that to another image, and the spread of several completions of one image, which tells a
distribution from a single answer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentResult,
    PerSeed,
    per_seed,
)
from replicate.experiments.constants import COMPLETIONS_DRAWN, IMAGES_DRAWN, MASKS
from replicate.experiments.games.image_game import (
    ON_MNIST,
    Condition,
    GameConfig,
    generate,
    pixels,
    play,
)
from replicate.params import OURS, setting
from replicate.progress.loops import each, task
from replicate.records.packed_images import packed
from replicate.training.streams import Streams

#: Parts of the stream `noise` for masks; those below are the game's.
RANDOM, SIDE, KIND = 10, 11, 12
#: What an unknown pixel shows in a picture.
UNKNOWN = 0.25

#: What G sees of the known pixels (seeds, n, dimension), of the same shape.
Sight = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]


class InpaintingConfig(GameConfig):
    """The game, and how completions are measured."""

    learning_rate: PositiveFloat = setting(
        0.002,
        "of Adam at the start; it falls linearly to 0",
        "ours: .006, .002 and .0007 tried on seeds 100-102",
    )
    known_share: float = setting(
        0.5, "probability that a random mask shows a pixel", OURS, gt=0, lt=1
    )
    completions: int = setting(8, "completions of every test image and mask", OURS, ge=2)


def all_of_them(known_pixels: Tensor) -> Tensor:
    """G sees the known pixels: section 7.3."""
    return known_pixels


def halves(shape: Shape, device: torch.device) -> Tensor:
    """Masks of the left, right, top and bottom half of an image: (4, dimension), 1 where known.

    Args:
        shape: (channels, height, width) of the image.
    """
    _, height, width = shape
    rows = torch.arange(height, device=device)
    columns = torch.arange(width, device=device)
    is_top = (rows < height // 2).float()
    is_left = (columns < width // 2).float()
    top = is_top[:, None].expand(height, width)
    left = is_left.expand(height, width)
    masks = torch.stack([left, 1 - left, top, 1 - top])
    of_channels = masks[:, None].expand(-1, *shape)
    return of_channels.reshape(4, -1)


def random_masks(drawn: Tensor, share: float, channels: int) -> Tensor:
    """Random masks, (..., channels * positions), 1 where known.

    Args:
        drawn: numbers uniform on [0, 1), one a position, (..., positions).
        share: probability that a pixel is known.
    """
    known = (drawn < share).to(drawn.dtype)
    # A position is known in all of its channels, or in none.
    repeats = [1] * (drawn.ndim - 1)
    return known.repeat(*repeats, channels)


def training_masks(
    config: InpaintingConfig, streams: Streams, update: int, count: int, shape: Shape
) -> Tensor:
    """The masks of a minibatch, (seeds, count, dimension): half are random, half show a half."""
    channels, height, width = shape
    drawn = streams.uniform("noise", update, count, height * width, part=RANDOM)
    of_positions = random_masks(drawn, config.known_share, channels)
    drawn_sides = streams.uniform("noise", update, count, part=SIDE)
    # One of four halves: the streams draw numbers below 1, so 4 never comes.
    sides = (4 * drawn_sides).long()
    every_half = halves(shape, drawn.device).to(drawn.dtype)
    of_halves = every_half[sides]
    drawn_kinds = streams.uniform("noise", update, count, 1, part=KIND)
    # For each image anew, so that one minibatch holds all kinds of masks.
    is_random = drawn_kinds < 0.5
    return torch.where(is_random, of_positions, of_halves)


def condition(real: Tensor, known: Tensor, sight: Sight) -> Condition:
    """Known pixels and mask for G, the mask for D; both arguments are (seeds, n, dimension)."""
    of_known = known * real
    visible = sight(of_known)
    for_generator = torch.cat([visible, known], 2)
    # D sees the mask, and by it which pixels to judge; G sees the known pixels beside it.
    return Condition(for_generator, known, known)


def completion_measures(
    completed: Tensor, images: Tensor, known: Tensor, mean: Tensor
) -> dict[str, Tensor]:
    """Measures of completions over the pixels that were not known, each (seeds,) float64.

    mean_image, one, several: mean squared error of the mean training image, of one completion, and
    of the mean of all completions. other: distance of one completion from the next image, which it
    knows nothing of. spread: standard deviation of the completions of an image (ddof 1, root of the
    mean square) over that of the data, the root of `mean_image`.

    Args:
        completed: (completions, seeds, n, dimension).
        images: (seeds, n, dimension); `known` in the same shape.
        mean: the mean training image, (dimension,).
    """
    # Over unknown pixels alone: the known ones are copied, and would make every error small.
    unknown = (1 - known).double()
    count = unknown.sum((1, 2))

    def average(values: Tensor) -> Tensor:
        of_unknown = values.double() * unknown
        total = of_unknown.sum((1, 2))
        return total / count

    # The first and not the best of several, which would flatter the model.
    first = completed[0]
    mean_of_completions = completed.mean(0)
    # The next image stands for "another one": as likely, and unrelated to the known pixels.
    other_images = images.roll(-1, 1)
    mean_image = average((images - mean).square())
    # Variances are averaged and the root taken last: roots of few completions are biased.
    variance = average(completed.var(0))
    return {
        "mean_image": mean_image,
        "one": average((images - first).square()),
        "other": average((other_images - first).square()),
        "several": average((images - mean_of_completions).square()),
        "spread": (variance / mean_image).sqrt(),
    }


def picture(images: Tensor, known: Tensor, completed: Tensor) -> Tensor:
    """The first images, each beside its known pixels and some completions.

    Args:
        images: (n, dimension), and `known` in the same shape.
        completed: (completions, n, dimension).

    Returns:
        (IMAGES_DRAWN * (2 + COMPLETIONS_DRAWN), dimension).
    """
    masked = known * images + (1 - known) * UNKNOWN
    completions = completed[:COMPLETIONS_DRAWN]
    columns = torch.stack([images, masked, *completions], 1)
    return columns[:IMAGES_DRAWN].flatten(0, 1)


class Inpainting(Experiment[InpaintingConfig]):
    """X3.

    Args:
        sight: what G sees of the known pixels.
    """

    Config = InpaintingConfig
    recipes: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "mnist": {**ON_MNIST, "learning_rate": 0.0007}
    }
    statements: ClassVar[tuple[str, ...]] = ("X3",)

    def __init__(self, sight: Sight = all_of_them) -> None:
        self._sight = sight

    def run(
        self,
        config: InpaintingConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains one family of models; completes the test images under every kind of mask."""
        assert splits is not None
        streams = Streams(seeds, device)
        shape = splits.shape
        train = pixels(splits, "train", device)
        test = pixels(splits, "test", device)

        def condition_of(update: int, rows: Tensor) -> Condition:
            known = training_masks(config, streams, update, rows.shape[1], shape)
            return condition(train[rows], known, self._sight)

        with task("the game", 0.95):
            parameters = play(config, streams, train, condition_of)
        images = test.expand(len(streams.seeds), -1, -1)
        channels, height, width = shape
        drawn = streams.uniform("evaluation", 0, len(test), height * width, part=RANDOM)
        of_positions = random_masks(drawn, config.known_share, channels)
        # The same masks for all seeds and completions, so that only G differs between them.
        masks = [of_positions, *halves(shape, device)]
        measures: dict[str, dict[str, Tensor]] = {}
        pictures: list[Tensor] = []
        for kind, mask in each([*zip(MASKS, masks, strict=True)], "mask: {0[0]}"):
            known = mask.expand_as(images)
            completed = self._complete(config, streams, parameters, images, known)
            measures[kind] = completion_measures(completed, images, known, train.mean(0))
            pictures.append(picture(test, known[0], completed[:, 0]))
        series = {
            "kinds": {kind: _per_seed(of_kind) for kind, of_kind in measures.items()},
            "completions": config.completions,
            "test_images": len(test),
            "pictures": packed(torch.stack(pictures).cpu().numpy(), shape),
        }
        return ExperimentResult(_checks(measures), series)

    def _complete(
        self,
        config: InpaintingConfig,
        streams: Streams,
        parameters: Mapping[str, Tensor],
        images: Tensor,
        known: Tensor,
    ) -> Tensor:
        """Images (seeds, n, dimension) completed: (completions, seeds, n, dimension)."""
        generator_condition = condition(images, known, self._sight).generator
        count = images.shape[1]
        generated: list[Tensor] = []
        for k in range(config.completions):
            code = streams.normal("evaluation", k, count, config.code_dimension)
            completion = generate(config, parameters, code, generator_condition)
            generated.append(completion)
        unknown = 1 - known
        # The known pixels as they are: G has nothing to say of them.
        return known * images + unknown * torch.stack(generated)


def _per_seed(measures: Mapping[str, Tensor]) -> dict[str, PerSeed]:
    return {name: per_seed(values) for name, values in measures.items()}


def _mean(of_kinds: Sequence[Mapping[str, Tensor]], measure: str) -> Tensor:
    """The mean of a measure over kinds of masks, (seeds,)."""
    values = [measures[measure] for measures in of_kinds]
    return torch.stack(values).mean(0)


def _checks(measures: Mapping[str, Mapping[str, Tensor]]) -> Checks:
    """The random masks by themselves, and the mean of the four halves, equal in pixels."""
    checks: dict[str, PerSeed] = {}
    kinds_of = {"random_masks": MASKS[:1], "halves": MASKS[1:]}
    for name, kinds in kinds_of.items():
        of_kinds = [measures[kind] for kind in kinds]
        own_error = _mean(of_kinds, "one")
        other_error = _mean(of_kinds, "other")
        # How much nearer a completion is to its own image than to another one.
        ratio = other_error / own_error
        spread = _mean(of_kinds, "spread")
        checks[f"gain_on_{name}"] = per_seed(ratio.log())
        checks[f"spread_on_{name}"] = per_seed(spread)
    return {"X3": checks}


EXPERIMENT = Inpainting()
