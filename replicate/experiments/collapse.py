"""G trained too much without D, on images: the Helvetica scenario (H1-images, section 6).

The paper claims: training G too much without D maps many z to one x.

Measured, on a labelled data set: how many classes the samples of G have, by a classifier, and their
mean distance, which tells one image from many. As on the ring and the grid of
`replicate.experiments.synchrony`, every ratio makes the same number of updates of G, from the
start; D moves once in so many of them. The statement is about what is lost against the ratio 1:1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, TypedDict

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentResult,
    PerSeed,
    differences,
    per_seed,
)
from replicate.experiments.constants import COLLAPSE_RATIOS, COVERED_SHARE
from replicate.experiments.games.image_game import (
    GameConfig,
    blur_noise,
    generate,
    gradients,
    initial,
    labelled,
    minibatches,
    of_network,
    unconditional,
)
from replicate.experiments.games.player import DECAYS
from replicate.experiments.games.sample_judge import classes_of, mean_distance, train_judge
from replicate.params import OURS, setting
from replicate.progress.loops import each, steps
from replicate.training.adam import adam_step, moments
from replicate.training.streams import Streams

#: Updates of G per update of D at which the statement is decided.
MANY = (20, 100)


class CollapseConfig(GameConfig):
    """The game, and how many samples are measured."""

    samples: int = setting(1000, "samples that are judged, per seed and ratio", OURS, ge=2)


class RatioMeasures(TypedDict):
    """Measures of one ratio: covered classes, and the samples' mean distance over the data's."""

    classes: PerSeed
    spread: PerSeed


def play(config: GameConfig, streams: Streams, images: Tensor, ratio: int) -> dict[str, Tensor]:
    """Trains G on every minibatch of images (n, dimension), D on the last of every `ratio` of them.

    Both gradients are taken at the same point and from the same samples, as in `image_game.play`,
    which this is at 1.
    """
    parameters = initial(config, streams, images)
    slots = moments(parameters)
    batches = minibatches(streams, len(images), config.batch_size)
    # Not strict: minibatches never end.
    for update, rows in zip(steps(config.updates), batches, strict=False):
        real = images[rows]
        code = streams.normal("noise", update, rows.shape[1], config.code_dimension)
        blur = blur_noise(config, streams, update, real)
        no_condition = unconditional(update, rows)
        slopes = gradients(config, parameters, real, code, no_condition, blur)
        rate = config.learning_rate * (1 - update / config.updates)
        if (update + 1) % ratio == 0:
            # Adam corrects its moments by the number of D's own updates, not of G's.
            discriminator_slopes = of_network(slopes, "discriminator")
            number = update // ratio
            adam_step(parameters, slots, discriminator_slopes, number, rate, decays=DECAYS)
        generator_slopes = of_network(slopes, "generator")
        adam_step(parameters, slots, generator_slopes, update, rate, decays=DECAYS)
    return parameters


class Collapse(Experiment[CollapseConfig]):
    """H1-images.

    Args:
        generator_updates: how many updates of G a ratio makes per update of D.
    """

    Config = CollapseConfig
    statements: ClassVar[tuple[str, ...]] = ("H1-images",)

    def __init__(self, generator_updates: Callable[[int], int] = int) -> None:
        self._generator_updates = generator_updates

    def run(
        self,
        config: CollapseConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains the classifier once and a game a ratio; NotApplicable without labels."""
        assert splits is not None
        images, labels = labelled(splits, "train", device)
        updates_of_games = len(COLLAPSE_RATIOS) * config.updates
        classifier, accuracy = train_judge(splits, device, updates_of_games)
        streams = Streams(seeds, device)
        classes = int(labels.max()) + 1
        # Of as many images as there will be samples.
        compared = images[: config.samples]
        data_distance = float(mean_distance(compared))
        ratios: dict[str, RatioMeasures] = {}
        for ratio in each(COLLAPSE_RATIOS, "ratio {}"):
            updates_of_generator = self._generator_updates(ratio)
            parameters = play(config, streams, images, updates_of_generator)
            code = streams.normal("evaluation", 0, config.samples, config.code_dimension)
            with torch.no_grad():
                samples = generate(config, parameters, code)
            sample_classes = classes_of(classifier, samples, splits.shape)
            covered = covered_classes(sample_classes, classes)
            # A classifier names some class of an image that is no number, too.
            is_sound = samples.flatten(1).isfinite().all(1)
            covered[~is_sound] = torch.nan
            # Relative, so that 1 means as varied as the data, whatever its pixels are.
            spread = mean_distance(samples) / data_distance
            ratios[str(ratio)] = {"classes": per_seed(covered), "spread": per_seed(spread)}
        series = {
            "ratios": ratios,
            "classes": classes,
            "samples": config.samples,
            "classifier_accuracy": accuracy,
            "classifier_test_images": splits.count("test"),
        }
        return ExperimentResult(_checks(ratios), series)


def covered_classes(sample_classes: Tensor, count: int) -> Tensor:
    """How many of `count` classes have enough of the samples (seeds, n): (seeds,) float64."""
    shares = []
    for number in range(count):
        is_of_class = sample_classes == number
        shares.append(is_of_class.double().mean(1))
    # A few stray samples, or slips of the classifier, do not make a class covered.
    is_covered = torch.stack(shares, 1) >= COVERED_SHARE
    return is_covered.double().sum(1)


def _log_spread(spread: float) -> float:
    """The log of a spread; none at all counts as a ten-thousandth of the data's: it has a log."""
    # A spread of 0 has no logarithm.
    least = 1e-4
    return math.log(max(spread, least))


def _checks(ratios: Mapping[str, RatioMeasures]) -> Checks:
    even = ratios["1"]
    even_classes = even["classes"]
    even_spread = even["spread"]
    checks: dict[str, PerSeed] = {}
    for ratio in MANY:
        uneven = ratios[str(ratio)]
        # Against 1:1 of the same seed, whose G had the same start, batches and codes.
        classes_lost = differences(even_classes, uneven["classes"])
        spread_lost = differences(even_spread, uneven["spread"], _log_spread)
        checks[f"classes_lost_at_{ratio}"] = classes_lost
        checks[f"spread_lost_at_{ratio}"] = spread_lost
    return {"H1-images": checks}


EXPERIMENT = Collapse()
