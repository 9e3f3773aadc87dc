"""A conditional model p(x | c), by giving the class c to both G and D (X1, section 7.1).

The paper claims: a conditional model comes from adding c as input to both G and D.

Measured: the share of samples that have the requested class, by a classifier that was trained on
the data set's own training images; and the mean distance of two samples of a class over that of two
images of it, which tells a class of one image from a distribution.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    Experiment,
    ExperimentResult,
    NotApplicable,
    per_seed,
)
from replicate.experiments.games.image_game import (
    ON_MNIST,
    Condition,
    GameConfig,
    generate,
    labelled,
    play,
)
from replicate.experiments.games.sample_judge import classes_of, mean_distance, train_judge
from replicate.params import OURS, setting
from replicate.records.packed_images import packed
from replicate.training.streams import Streams

#: Samples per class that the result has of the first seed.
SAMPLES_DRAWN = 8

#: What G is given where D is given the classes (seeds, n, classes), of the same shape.
GeneratorClasses = Callable[[Tensor], Tensor]


class ConditionalConfig(GameConfig):
    """The game, and how many samples are measured."""

    samples_per_class: int = setting(
        100, "samples of each class that are judged, per seed", OURS, ge=SAMPLES_DRAWN
    )


def same_classes(classes: Tensor) -> Tensor:
    """G is given what D is given: section 7.1."""
    return classes


def relative_spread(samples: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """The mean distance of two samples over that of two images of the class: (seeds, classes).

    Args:
        samples: (seeds, classes, n, dimension).
        images: (m, dimension) with labels (m,); the first n of each class count.
    """
    _, classes, count, _ = samples.shape
    data_distances = []
    for number in range(classes):
        images_of_class = images[labels == number]
        # As many images as samples: the mean distance does not depend on it, its noise does.
        compared = images_of_class[:count]
        distance = mean_distance(compared)
        data_distances.append(distance)
    sample_distances = mean_distance(samples)
    return sample_distances / torch.stack(data_distances)


def _check_classes(labels: Tensor) -> None:
    """Refuses training labels (n,) of which one has no two images, whose distance is measured."""
    for number, count in enumerate(torch.bincount(labels).tolist()):
        if count < 2:
            images = "1 training image" if count else "no training images"
            raise NotApplicable(f"class {number} has {images}, and two are compared")


class Conditional(Experiment[ConditionalConfig]):
    """X1.

    Args:
        generator_classes: what G is given where D is given the classes.
    """

    Config = ConditionalConfig
    recipes: ClassVar[Mapping[str, Mapping[str, object]]] = {"mnist": ON_MNIST}
    statements: ClassVar[tuple[str, ...]] = ("X1",)

    def __init__(self, generator_classes: GeneratorClasses = same_classes) -> None:
        self._generator_classes = generator_classes

    def run(
        self,
        config: ConditionalConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Trains the classifier and a conditional game a seed; NotApplicable without labels, or
        where a class has no two images.
        """
        assert splits is not None
        images, labels = labelled(splits, "train", device)
        _check_classes(labels)
        classifier, accuracy = train_judge(splits, device, config.updates)
        streams = Streams(seeds, device)
        samples = self._samples(config, streams, images, labels)
        classes = samples.shape[1]
        requested = torch.arange(classes, device=device)[:, None]
        sample_classes = classes_of(classifier, samples, splits.shape)
        is_correct = sample_classes == requested
        share = is_correct.double().mean(2)
        # A seed with a pixel that is no number has no classes.
        is_sound = samples.flatten(1).isfinite().all(1)
        share[~is_sound] = torch.nan
        spread = relative_spread(samples, images, labels).double()
        mean_share = share.mean(1)
        mean_spread = spread.mean(1)
        checks: Checks = {
            "X1": {
                "share_of_the_requested_class": per_seed(mean_share),
                "spread_within_a_class": per_seed(mean_spread),
            }
        }
        # The first ones and not the best: what a figure shows is a fair draw.
        drawn = samples[0, :, :SAMPLES_DRAWN].cpu().numpy()
        series = {
            "classifier_accuracy": accuracy,
            "classifier_test_images": splits.count("test"),
            "share": [per_seed(shares_of_seed) for shares_of_seed in share],
            "spread": [per_seed(spreads_of_seed) for spreads_of_seed in spread],
            "samples": packed(drawn, splits.shape),
        }
        return ExperimentResult(checks, series)

    def _samples(
        self, config: ConditionalConfig, streams: Streams, images: Tensor, labels: Tensor
    ) -> Tensor:
        """Trains the game; samples (seeds, classes, n, dimension), those of a class together."""
        device = images.device
        classes = int(labels.max()) + 1
        table = one_hot(labels, classes).float()
        # Classes condition the game; no pixel is given, as it is in in-painting.
        nothing_known = torch.zeros(1, 1, 1, device=device)

        def condition_of(update: int, rows: Tensor) -> Condition:
            minibatch_classes = table[rows]
            generator_classes = self._generator_classes(minibatch_classes)
            return Condition(generator_classes, minibatch_classes, nothing_known)

        parameters = play(config, streams, images, condition_of)
        seeds = len(streams.seeds)
        count = config.samples_per_class
        # One-hot rows, as the game was trained with them.
        each_class_once = torch.eye(classes, device=device)
        requested = each_class_once.repeat_interleave(count, 0)
        condition = requested.expand(seeds, -1, -1)
        code = streams.normal("evaluation", 0, classes * count, config.code_dimension)
        with torch.no_grad():
            samples = generate(config, parameters, code, condition)
        return samples.view(seeds, classes, count, -1)


EXPERIMENT = Conditional()
