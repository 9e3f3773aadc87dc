"""Section 7.1: a conditional model p(x | c) by giving the class c to both G and D (X1).

A classifier that was trained on the data set's own training images says which class a sample has; that it is the one
asked for in most cases, and that the samples of a class are not all alike, is what the claim is about.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from replicate.classifier import CHANNELS, UPDATES, Classifier, fit
from replicate.datasets.base import Splits
from replicate.experiments.base import Experiment, Found, NotApplicable
from replicate.experiments.game import ON_MNIST, Condition, GameConfig, generate, labelled, per_seed, play
from replicate.figures.kept import packed
from replicate.loops import task
from replicate.params import OURS, setting
from replicate.training.streams import Streams

#: Test accuracy below which the classifier is no judge of samples.
RELIABLE = 0.97
#: Samples per class that the result keeps of the first seed.
KEPT = 8

#: What G is told where D is told the classes `told` (seeds, n, classes): a tensor of the same shape.
Telling = Callable[[Tensor], Tensor]


class ConditionalConfig(GameConfig):
    """The game, and how many samples are judged."""

    samples_per_class: int = setting(100, "samples of each class that are judged, per seed", OURS, ge=KEPT)


def the_same(told: Tensor) -> Tensor:
    """G is told what D is told: section 7.1."""
    return told


def train_judge(splits: Splits, device: torch.device, updates: int) -> tuple[Classifier, float]:
    """The classifier of the data set's labels and its accuracy on test images; NotApplicable where it is poor.

    Args:
        updates: of the games that follow; for the progress alone, in which one takes about as long as one of these.
    """
    if min(splits.shape[1:]) < 2 ** len(CHANNELS):
        raise NotApplicable(f"images of {splits.shape[1]}x{splits.shape[2]} pixels are too small for the classifier")
    images, labels = labelled(splits, "train", device)
    with task("its classifier", UPDATES / (UPDATES + updates)):
        classifier = fit(images.reshape(-1, *splits.shape), labels, int(labels.max()) + 1)
    images, labels = labelled(splits, "test", device)
    right = classifier.probabilities(images.reshape(-1, *splits.shape)).argmax(1) == labels
    accuracy = float(right.double().mean())
    if accuracy < RELIABLE:
        raise NotApplicable(f"its classifier is right on {accuracy:.1%} of the test images, too few to judge samples")
    return classifier, accuracy


def mean_distance(images: Tensor) -> Tensor:
    """The mean Euclidean distance between two of the images (..., n, dimension): (...)."""
    count = images.shape[-2]
    return torch.cdist(images, images, compute_mode="donot_use_mm_for_euclid_dist").sum((-1, -2)) / (count**2 - count)


def relative_spread(samples: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """Per seed and class, the mean distance of two samples over that of two images of the class: (seeds, classes).

    Args:
        samples: (seeds, classes, n, dimension).
        images: (m, dimension) with labels (m,); the first n of each class count.
    """
    classes, count = samples.shape[1:3]
    data = torch.stack([mean_distance(images[labels == number][:count]) for number in range(classes)])
    return mean_distance(samples) / data


class Conditional(Experiment):
    """X1."""

    Config = ConditionalConfig
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mnist": ON_MNIST}
    claims: ClassVar[tuple[str, ...]] = ("X1",)

    def __init__(self, telling: Telling = the_same) -> None:
        self._telling = telling

    def _samples(self, config: ConditionalConfig, streams: Streams, images: Tensor, labels: Tensor) -> Tensor:
        """Trains the game and draws (seeds, classes, n, dimension) samples, those of each class together."""
        classes = int(labels.max()) + 1
        table = one_hot(labels, classes).float()
        every = torch.zeros(1, 1, 1, device=images.device)

        def ask(step: int, rows: Tensor) -> Condition:
            told = table[rows]
            return Condition(self._telling(told), told, every)

        parameters = play(config, streams, images, ask)
        count = config.samples_per_class
        wanted = torch.eye(classes, device=images.device).repeat_interleave(count, 0).expand(len(streams.seeds), -1, -1)
        code = streams.normal("evaluation", 0, classes * count, config.code_dimension)
        with torch.no_grad():
            return generate(config, parameters, code, wanted).view(len(streams.seeds), classes, count, -1)

    def run(
        self, config: ConditionalConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None
    ) -> Found:
        """Trains the classifier once and a conditional game a seed; NotApplicable without labels."""
        assert splits is not None
        images, labels = labelled(splits, "train", device)
        classifier, accuracy = train_judge(splits, device, config.updates)
        samples = self._samples(config, Streams(seeds, device), images, labels)
        wanted = torch.arange(samples.shape[1], device=device)[:, None]
        seen = classifier.probabilities(samples.reshape(-1, *splits.shape)).argmax(1).view(samples.shape[:3])
        share = (seen == wanted).double().mean(2)
        share[~samples.flatten(1).isfinite().all(1)] = torch.nan  # a class of no image
        spread = relative_spread(samples, images, labels).double()
        checks: dict[str, dict[str, float | list[float | None]]] = {
            "X1": {
                "share_of_the_requested_class": per_seed(share.mean(1)),
                "spread_within_a_class": per_seed(spread.mean(1)),
            }
        }
        series = {
            "classifier_accuracy": accuracy, "classifier_test_images": splits.count("test"),
            "share": [per_seed(row) for row in share],
            "spread": [per_seed(row) for row in spread],
            "samples": packed(samples[0, :, :KEPT].cpu().numpy(), splits.shape),
        }  # fmt: skip
        return Found(checks, series)


EXPERIMENT = Conditional()
