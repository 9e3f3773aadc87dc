"""Figure 3: straight lines in z lead through digits all the way (F3).

A classifier of the data set's labels tells how often it is sure of an image. On lines between random codes it must be
sure about as often as of ordinary samples, and more often than of blends of the two images at the ends of the line,
which lead from one digit to another without being digits.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from replicate.classifier import SURE, Classifier
from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, Found
from replicate.experiments.conditional import train_judge
from replicate.experiments.game import ON_MNIST, GameConfig, generate, per_seed, pixels, play
from replicate.figures.kept import Packed, packed
from replicate.params import OURS, setting
from replicate.training.streams import Streams

#: The classes of Figure 3, in its order; the line returns to the first.
CLASSES = (1, 5, 7, 9)
#: Points of the strip between two of its ends.
STEPS = 9

Shape = tuple[int, int, int]
#: Codes (seeds, ..., code dimension) to images (seeds, ..., dimension).
Making = Callable[[Tensor], Tensor]
#: The images at `places` (points,) of lines between two sets of codes (seeds, lines, code dimension), made by the
#: first argument: (seeds, lines, points, dimension).
Way = Callable[[Making, Tensor, Tensor, Tensor], Tensor]


class InterpolationConfig(GameConfig):
    """The game, and the lines that are judged."""

    lines: int = setting(100, "lines between two random codes each, per seed", OURS, ge=1)
    between: int = setting(7, "points of a line between its ends", OURS, ge=1)
    draws: int = setting(1000, "codes of the first seed among which the ends of the strip are chosen", OURS, ge=1)


def making(config: InterpolationConfig, game: Mapping[str, Tensor]) -> Making:
    """G, for codes of any shape."""
    return lambda codes: generate(config, game, codes.flatten(1, -2)).view(*codes.shape[:-1], -1)


def blended(one: Tensor, other: Tensor, places: Tensor) -> Tensor:
    """(1 - t) one + t other of (..., any) for every t of `places` (points,): (..., points, any)."""
    return torch.lerp(one[..., None, :], other[..., None, :], places[:, None])


def through_codes(make: Making, one: Tensor, other: Tensor, places: Tensor) -> Tensor:
    """Straight lines in z: Figure 3."""
    return make(blended(one, other, places))


def through_images(make: Making, one: Tensor, other: Tensor, places: Tensor) -> Tensor:
    """Straight lines in pixels between the images at the ends: the control."""
    return blended(make(one), make(other), places)


def sure_shares(classifier: Classifier, images: Tensor, shape: Shape) -> Tensor:
    """The share of images (seeds, lines, points, dimension) that are sure to be of some class: (seeds, points).

    Not a number for a seed that has images of which some pixel is none.
    """
    surest = classifier.probabilities(images.reshape(-1, *shape)).amax(1).view(images.shape[:3])
    share = (surest >= SURE).double().mean(1)
    share[~images.flatten(1).isfinite().all(1)] = torch.nan
    return share


def ends_of_the_strip(probabilities: Tensor) -> tuple[list[int], list[int]]:
    """The classes of Figure 3, or the first four where not all are there, and the surest image of each.

    Args:
        probabilities: (n, classes), of the images.
    """
    count = probabilities.shape[1]
    classes = list(CLASSES) if count > max(CLASSES) else list(range(min(count, len(CLASSES))))
    rows: list[int] = probabilities.argmax(0)[classes].tolist()
    return classes, rows


class Interpolation(Experiment):
    """F3."""

    Config = InterpolationConfig
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mnist": ON_MNIST}
    claims: ClassVar[tuple[str, ...]] = ("F3",)

    def __init__(self, way: Way = through_codes) -> None:
        self._way = way

    @torch.no_grad()
    def _shares(
        self, config: InterpolationConfig, streams: Streams, game: Mapping[str, Tensor], judge: Classifier, shape: Shape
    ) -> dict[str, Tensor]:
        """The share of sure images at every place of the lines, each (seeds, points), in both ways."""
        one, other = streams.normal("evaluation", 0, 2, config.lines, config.code_dimension).unbind(1)
        places = torch.linspace(0, 1, config.between + 2, device=one.device)
        ways = {"codes": self._way, "images": through_images}
        make = making(config, game)
        return {name: sure_shares(judge, way(make, one, other, places), shape) for name, way in ways.items()}

    @torch.no_grad()
    def _strip(
        self, config: InterpolationConfig, streams: Streams, game: Mapping[str, Tensor], judge: Classifier, shape: Shape
    ) -> tuple[list[int], Packed | None]:
        """Of the first seed, the classes at the ends, and the images from each to the next, (classes, STEPS + 2)."""
        make = making(config, {name: value[:1] for name, value in game.items()})
        codes = streams.normal("evaluation", 1, config.draws, config.code_dimension)[:1]
        classes, rows = ends_of_the_strip(judge.probabilities(make(codes)[0].reshape(-1, *shape)))
        places = torch.linspace(0, 1, STEPS + 2, device=codes.device)
        images = self._way(make, codes[:, rows], codes[:, rows[1:] + rows[:1]], places)
        return classes, packed(images[0].cpu().numpy(), shape)

    def run(
        self, config: InterpolationConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None
    ) -> Found:
        """Trains the classifier once and a game a seed; NotApplicable without labels."""
        assert splits is not None
        classifier, accuracy = train_judge(splits, device, config.updates)
        streams = Streams(seeds, device)
        game = play(config, streams, pixels(splits, "train", device))
        shares = self._shares(config, streams, game, classifier, splits.shape)
        classes, strip = self._strip(config, streams, game, classifier, splits.shape)
        on_lines, of_blends = (shares[name][:, 1:-1].mean(1) for name in ("codes", "images"))
        of_samples = shares["codes"][:, [0, -1]].mean(1)
        checks: dict[str, dict[str, float | list[float | None]]] = {
            "F3": {
                "sure_beyond_pixel_blends": per_seed(on_lines - of_blends),
                "sure_relative_to_samples": per_seed(torch.where(of_samples > 0, on_lines / of_samples, 0)),
            }
        }
        series = {
            "classifier_accuracy": accuracy, "classifier_test_images": splits.count("test"), "sure": SURE,
            "lines": config.lines, "shares": {name: [per_seed(row) for row in found] for name, found in shares.items()},
            "draws": config.draws, "classes": classes, "strip": strip,
        }  # fmt: skip
        return Found(checks, series)


EXPERIMENT = Interpolation()
