"""Figure 3: straight lines in z lead through digits all the way (F3).

The paper claims: the images on straight lines between two codes are digits throughout.

Measured, by a classifier of the data set's labels: how often it is sure of an image on lines
between random codes. It must be so about as often as for ordinary samples, and more often than for
blends of the two images at the ends of the line, which lead from one digit to another without being
digits.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import CONFIDENCE_THRESHOLD, Classifier
from replicate.experiments.base import Checks, Experiment, ExperimentResult, PerSeed, per_seed
from replicate.experiments.games.image_game import ON_MNIST, GameConfig, generate, pixels, play
from replicate.experiments.games.sample_judge import train_judge
from replicate.params import OURS, setting
from replicate.records.packed_images import Packed, packed
from replicate.training.streams import Streams

#: The classes of Figure 3, in its order; the line returns to the first.
CLASSES = (1, 5, 7, 9)
#: Points of the strip between two of its ends.
STEPS = 9

Shape = tuple[int, int, int]
#: Codes (seeds, ..., code dimension) to images (seeds, ..., dimension).
Generator = Callable[[Tensor], Tensor]
#: The images at positions (points,) of lines from a first to a second set of codes (seeds, lines,
#: code dimension), made by the generator: (seeds, lines, points, dimension).
Line = Callable[[Generator, Tensor, Tensor, Tensor], Tensor]


class InterpolationConfig(GameConfig):
    """The game, and the lines that are measured."""

    lines: int = setting(100, "lines between two random codes each, per seed", OURS, ge=1)
    between: int = setting(7, "points of a line between its ends", OURS, ge=1)
    draws: int = setting(
        1000, "codes of the first seed among which the ends of the strip are chosen", OURS, ge=1
    )


def generator_of(config: InterpolationConfig, parameters: Mapping[str, Tensor]) -> Generator:
    """G, for codes of any shape."""

    def generator(codes: Tensor) -> Tensor:
        rows = codes.flatten(1, -2)
        images = generate(config, parameters, rows)
        return images.view(*codes.shape[:-1], -1)

    return generator


def blended(first: Tensor, second: Tensor, positions: Tensor) -> Tensor:
    """(1 - t) first + t second of (..., any), t of positions (points,): (..., points, any)."""
    starts = first[..., None, :]
    ends = second[..., None, :]
    return torch.lerp(starts, ends, positions[:, None])


def through_codes(generator: Generator, first: Tensor, second: Tensor, positions: Tensor) -> Tensor:
    """Straight lines in z: Figure 3."""
    codes = blended(first, second, positions)
    return generator(codes)


def through_images(
    generator: Generator, first: Tensor, second: Tensor, positions: Tensor
) -> Tensor:
    """Straight lines in pixels between the images at the ends: the control."""
    first_images = generator(first)
    second_images = generator(second)
    return blended(first_images, second_images, positions)


def sure_shares(classifier: Classifier, images: Tensor, shape: Shape) -> Tensor:
    """The share of images (seeds, lines, points, dimension) of a sure class: (seeds, points).

    NaN for a seed if any pixel of its images is non-finite.
    """
    by_line = images.shape[:3]
    rows = images.reshape(-1, *shape)
    probabilities = classifier.probabilities(rows)
    largest = probabilities.amax(1).view(by_line)
    is_sure = largest >= CONFIDENCE_THRESHOLD
    share = is_sure.double().mean(1)
    # A classifier names some class of an image that is no number, too.
    is_finite = images.flatten(1).isfinite()
    is_sound = is_finite.all(1)
    share[~is_sound] = torch.nan
    return share


def ends_of_the_strip(probabilities: Tensor) -> tuple[list[int], list[int]]:
    """The classes of Figure 3, and the row of the image that is most probably of each.

    Where not all of these classes are there, the first four.

    Args:
        probabilities: (n, classes), of the images.
    """
    count = probabilities.shape[1]
    # The paper's own digits, where the data set has so many classes.
    classes = list(CLASSES)
    if count <= max(CLASSES):
        shown = min(count, len(CLASSES))
        classes = list(range(shown))
    # Over images, class by class: which image is most surely of it.
    most_probable = probabilities.argmax(0)
    rows: list[int] = most_probable[classes].tolist()
    return classes, rows


class Interpolation(Experiment[InterpolationConfig]):
    """F3.

    Args:
        line: the images on a line between two codes.
    """

    Config = InterpolationConfig
    recipes: ClassVar[Mapping[str, Mapping[str, object]]] = {"mnist": ON_MNIST}
    statements: ClassVar[tuple[str, ...]] = ("F3",)

    def __init__(self, line: Line = through_codes) -> None:
        self._line = line

    def run(
        self,
        config: InterpolationConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains the classifier once and a game a seed; NotApplicable without labels."""
        assert splits is not None
        classifier, accuracy = train_judge(splits, device, config.updates)
        streams = Streams(seeds, device)
        parameters = play(config, streams, pixels(splits, "train", device))
        shares = self._shares(config, streams, parameters, classifier, splits.shape)
        classes, strip = self._strip(config, streams, parameters, classifier, splits.shape)
        series = {
            "classifier_accuracy": accuracy,
            "classifier_test_images": splits.count("test"),
            "sure": CONFIDENCE_THRESHOLD,
            "lines": config.lines,
            "shares": {name: _rows(share) for name, share in shares.items()},
            "draws": config.draws,
            "classes": classes,
            "strip": strip,
        }
        return ExperimentResult(_checks(shares), series)

    @torch.no_grad()
    def _shares(
        self,
        config: InterpolationConfig,
        streams: Streams,
        parameters: Mapping[str, Tensor],
        classifier: Classifier,
        shape: Shape,
    ) -> dict[str, Tensor]:
        """The share of sure images at every position of both kinds of lines, (seeds, points)."""
        codes = streams.normal("evaluation", 0, 2, config.lines, config.code_dimension)
        first, second = codes.unbind(1)
        points = config.between + 2
        # Both ends too: they show what G's images are without any interpolation.
        positions = torch.linspace(0, 1, points, device=codes.device)
        generator = generator_of(config, parameters)
        # Both between the same codes: they share their ends, and differ between them alone.
        lines = {"codes": self._line, "images": through_images}
        shares: dict[str, Tensor] = {}
        for name, line in lines.items():
            images = line(generator, first, second, positions)
            shares[name] = sure_shares(classifier, images, shape)
        return shares

    @torch.no_grad()
    def _strip(
        self,
        config: InterpolationConfig,
        streams: Streams,
        parameters: Mapping[str, Tensor],
        classifier: Classifier,
        shape: Shape,
    ) -> tuple[list[int], Packed | None]:
        """Of the first seed, the classes at the ends, and the images from each to the next.

        The images are (classes, STEPS + 2).
        """
        # A slice keeps the seeds' dimension, which the networks need.
        of_first_seed = {name: value[:1] for name, value in parameters.items()}
        generator = generator_of(config, of_first_seed)
        # Step 1: step 0 has drawn the lines.
        drawn = streams.normal("evaluation", 1, config.draws, config.code_dimension)
        codes = drawn[:1]
        images = generator(codes)[0]
        maps = images.reshape(-1, *shape)
        probabilities = classifier.probabilities(maps)
        classes, rows = ends_of_the_strip(probabilities)
        # Each leads to the next one, and the last back to the first.
        next_rows = rows[1:] + rows[:1]
        first = codes[:, rows]
        second = codes[:, next_rows]
        positions = torch.linspace(0, 1, STEPS + 2, device=codes.device)
        strip = self._line(generator, first, second, positions)
        pixels_of_strip = strip[0].cpu().numpy()
        return classes, packed(pixels_of_strip, shape)


def _rows(values: Tensor) -> list[PerSeed]:
    return [per_seed(row) for row in values]


def _checks(shares: Mapping[str, Tensor]) -> Checks:
    """The positions between the ends, against blends of images and against the ends themselves."""
    between = slice(1, -1)
    on_lines = shares["codes"][:, between].mean(1)
    of_blends = shares["images"][:, between].mean(1)
    # The ends of the lines are codes from p(z), so they are ordinary samples.
    of_samples = shares["codes"][:, [0, -1]].mean(1)
    ratio = on_lines / of_samples
    # Where no sample is sure there is nothing to be relative to. A seed that failed stays NaN.
    relative = torch.where(of_samples == 0, 0, ratio)
    return {
        "F3": {
            "sure_beyond_pixel_blends": per_seed(on_lines - of_blends),
            "sure_relative_to_samples": per_seed(relative),
        }
    }


EXPERIMENT = Interpolation()
