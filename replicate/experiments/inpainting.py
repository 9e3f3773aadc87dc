"""Section 7.3: all conditionals p(x_S | x_not-S) by one family of conditional models that share their parameters (X3).

G is asked with the known pixels, a mask that says which they are, and z; it makes the others. D sees the whole image
and the mask. Half of the training masks are random, half show one half of the image, and one G and D serve them all.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import PositiveFloat
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, Found
from replicate.experiments.fixed.inpainting import KEPT, KEPT_COMPLETIONS, KINDS
from replicate.experiments.game import ON_MNIST, Condition, GameConfig, generate, per_seed, pixels, play
from replicate.figures.kept import packed
from replicate.loops import each, task
from replicate.params import OURS, setting
from replicate.training.streams import Streams

#: Parts of the stream `noise` for masks; those below are the game's.
RANDOM, SIDE, KIND = 10, 11, 12
#: What an unknown pixel shows in a picture.
UNKNOWN = 0.25

#: What G is shown of the known pixels (seeds, n, dimension): a tensor of the same shape.
Sight = Callable[[Tensor], Tensor]
Shape = tuple[int, int, int]


class InpaintingConfig(GameConfig):
    """The game, and how completions are judged."""

    learning_rate: PositiveFloat = setting(
        0.002, "of Adam at the start; it falls linearly to 0", "ours: .006, .002 and .0007 tried on seeds 100-102"
    )
    known_share: float = setting(0.5, "probability that a random mask shows a pixel", OURS, gt=0, lt=1)
    completions: int = setting(8, "completions of every test image and mask", OURS, ge=2)


def all_of_them(known: Tensor) -> Tensor:
    """G is shown the known pixels: section 7.3."""
    return known


def halves(shape: Shape, device: torch.device) -> Tensor:
    """Masks that show the left, right, top and bottom half of an image of that shape: (4, dimension), 1 where known."""
    _, height, width = shape
    rows = (torch.arange(height, device=device) < height // 2).float()[:, None].expand(height, width)
    columns = (torch.arange(width, device=device) < width // 2).float().expand(height, width)
    masks = torch.stack([columns, 1 - columns, rows, 1 - rows])
    return masks[:, None].expand(-1, *shape).reshape(4, -1)


def random_masks(drawn: Tensor, share: float, channels: int) -> Tensor:
    """Masks from numbers uniform on [0, 1), one a place, (..., places): (..., channels * places), 1 where known."""
    return (drawn < share).to(drawn.dtype).repeat(*[1] * (drawn.ndim - 1), channels)


def training_masks(config: InpaintingConfig, streams: Streams, update: int, count: int, shape: Shape) -> Tensor:
    """The masks of a minibatch, (seeds, count, dimension): one half of them random, the other halves of the image."""
    channels, height, width = shape
    drawn = streams.uniform("noise", update, count, height * width, part=RANDOM)
    side = (4 * streams.uniform("noise", update, count, part=SIDE)).long()
    is_random = streams.uniform("noise", update, count, 1, part=KIND) < 0.5
    return torch.where(
        is_random, random_masks(drawn, config.known_share, channels), halves(shape, drawn.device).to(drawn.dtype)[side]
    )


def condition(real: Tensor, known: Tensor, sight: Sight) -> Condition:
    """G is asked with the known pixels and the mask, D is shown the mask; both (seeds, n, dimension)."""
    return Condition(torch.cat([sight(known * real), known], 2), known, known)


def judged(completed: Tensor, images: Tensor, known: Tensor, mean: Tensor) -> dict[str, Tensor]:
    """Of completions (completions, seeds, n, dimension), over the pixels that were not known, each (seeds,) float64.

    mean_image, one, several: mean squared error of the `mean` training image, of one completion, and of the mean of
    all completions. other: distance of one completion from the next image, which it knows nothing of. spread: standard
    deviation of the completions of an image (ddof 1, root of the mean square) over that of the data, the root of
    `mean_image`.
    """
    made = (1 - known).double()
    total = made.sum((1, 2))

    def average(values: Tensor) -> Tensor:
        return (values.double() * made).sum((1, 2)) / total

    found = {
        "mean_image": average((images - mean).square()),
        "one": average((images - completed[0]).square()),
        "other": average((images.roll(-1, 1) - completed[0]).square()),
        "several": average((images - completed.mean(0)).square()),
    }
    return found | {"spread": (average(completed.var(0)) / found["mean_image"]).sqrt()}


def pictured(images: Tensor, known: Tensor, completed: Tensor) -> Tensor:
    """The first images, each beside its known part and some of its completions: (images * (2 + some), dimension).

    Args:
        images: (n, dimension), and `known` in the same shape.
        completed: (completions, n, dimension).
    """
    masked = known * images + (1 - known) * UNKNOWN
    return torch.stack([images, masked, *completed[:KEPT_COMPLETIONS]], 1)[:KEPT].flatten(0, 1)


class Inpainting(Experiment):
    """X3."""

    Config = InpaintingConfig
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mnist": {**ON_MNIST, "learning_rate": 0.0007}}
    claims: ClassVar[tuple[str, ...]] = ("X3",)

    def __init__(self, sight: Sight = all_of_them) -> None:
        self._sight = sight

    def _complete(
        self,
        config: InpaintingConfig,
        streams: Streams,
        parameters: Mapping[str, Tensor],
        images: Tensor,
        known: Tensor,
    ) -> Tensor:
        """Images (seeds, n, dimension) completed several times: (completions, seeds, n, dimension)."""
        asked = condition(images, known, self._sight).asked
        made = [
            generate(config, parameters, streams.normal("evaluation", k, images.shape[1], config.code_dimension), asked)
            for k in range(config.completions)
        ]
        return known * images + (1 - known) * torch.stack(made)

    def run(self, config: InpaintingConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Trains one family of conditional models and completes the test images under every kind of mask."""
        assert splits is not None
        streams, shape = Streams(seeds, device), splits.shape
        train, test = (pixels(splits, split, device) for split in ("train", "test"))

        def ask(update: int, rows: Tensor) -> Condition:
            known = training_masks(config, streams, update, rows.shape[1], shape)
            return condition(train[rows], known, self._sight)

        with task("the game", 0.95):
            parameters = play(config, streams, train, ask)
        images = test.expand(len(streams.seeds), -1, -1)
        drawn = streams.uniform("evaluation", 0, len(test), shape[1] * shape[2], part=RANDOM)
        masks = [random_masks(drawn, config.known_share, shape[0]), *halves(shape, device)]
        found, pictures = {}, []
        for kind, mask in each([*zip(KINDS, masks, strict=True)], "mask: {0[0]}"):
            known = mask.expand_as(images)
            completed = self._complete(config, streams, parameters, images, known)
            found[kind] = judged(completed, images, known, train.mean(0))
            pictures.append(pictured(test, known[0], completed[:, 0]))
        series = {
            "kinds": {kind: {name: per_seed(values) for name, values in one.items()} for kind, one in found.items()},
            "completions": config.completions, "test_images": len(test),
            "pictures": packed(torch.stack(pictures).cpu().numpy(), shape),
        }  # fmt: skip
        return Found({"X3": _checks(found)}, series)


def _checks(found: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float | list[float | None]]:
    """The random masks by themselves; of the four halves the mean, each of which has as many pixels."""
    checks: dict[str, float | list[float | None]] = {}
    for name, kinds in (("random_masks", KINDS[:1]), ("halves", KINDS[1:])):
        mean = {key: torch.stack([found[kind][key] for kind in kinds]).mean(0) for key in found["random"]}
        checks[f"gain_on_{name}"] = per_seed((mean["other"] / mean["one"]).log())
        checks[f"spread_on_{name}"] = per_seed(mean["spread"])
    return checks


EXPERIMENT = Inpainting()
