"""G trained too much without D, on images: the Helvetica scenario on a labelled data set (H1-images, section 6).

As on the ring and the grid of `replicate.experiments.synchrony`, every ratio makes the same number of updates of G,
from the start; D moves once in so many of them. A classifier says how many classes the samples have, and their mean
distance tells one image from many.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import Checks, Experiment, Found
from replicate.experiments.conditional import mean_distance, train_judge
from replicate.experiments.fixed.collapse import COVERED, RATIOS
from replicate.experiments.game import (
    DECAYS,
    GameConfig,
    generate,
    gradients,
    initial,
    labelled,
    minibatches,
    per_seed,
    unconditional,
)
from replicate.loops import each, steps
from replicate.params import OURS, setting
from replicate.training.adam import adam_step, moments
from replicate.training.streams import Streams

#: Updates of G per update of D at which the claim is judged.
MANY = (20, 100)


class CollapseConfig(GameConfig):
    """The game, and how many samples are judged."""

    samples: int = setting(1000, "samples that are judged, per seed and ratio", OURS, ge=2)


def play(config: GameConfig, streams: Streams, images: Tensor, ratio: int) -> dict[str, Tensor]:
    """Trains G on every minibatch of images (n, dimension), and D on the last of every `ratio` of them.

    Both gradients are taken at the same point and from the same samples, as in `game.play`, which this is at 1.
    """
    parameters = initial(config, streams, images)
    slots = moments(parameters)
    turns = minibatches(streams, len(images), config.batch_size)
    for update, rows in zip(steps(config.updates), turns, strict=False):
        real = images[rows]
        code = streams.normal("noise", update, rows.shape[1], config.code_dimension)
        blur = [config.blur * streams.normal("noise", update, *real.shape[1:], part=part) for part in (1, 2)]
        found = gradients(config, parameters, real, code, unconditional(update, rows), blur)
        rate = config.learning_rate * (1 - update / config.updates)
        for network, moves, every in (("discriminator", update // ratio, ratio), ("generator", update, 1)):
            if (update + 1) % every == 0:
                own = {name: slope for name, slope in found.items() if name.startswith(network)}
                adam_step(parameters, slots, own, moves, rate, decays=DECAYS)
    return parameters


class Collapse(Experiment):
    """H1-images.

    Args:
        moves: how many updates of G a ratio makes per update of D.
    """

    Config = CollapseConfig
    claims: ClassVar[tuple[str, ...]] = ("H1-images",)

    def __init__(self, moves: Callable[[int], int] = int) -> None:
        self._moves = moves

    def run(self, config: CollapseConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Trains the classifier once and a game a ratio; NotApplicable without labels."""
        assert splits is not None
        images, labels = labelled(splits, "train", device)
        classifier, accuracy = train_judge(splits, device, len(RATIOS) * config.updates)
        streams, classes = Streams(seeds, device), int(labels.max()) + 1
        data = float(mean_distance(images[: config.samples]))
        found: dict[str, dict[str, list[float | None]]] = {}
        for ratio in each(RATIOS, "ratio {}"):
            parameters = play(config, streams, images, self._moves(ratio))
            with torch.no_grad():
                samples = generate(
                    config, parameters, streams.normal("evaluation", 0, config.samples, config.code_dimension)
                )
            seen = classifier.probabilities(samples.reshape(-1, *splits.shape)).argmax(1).view(samples.shape[:2])
            shares = torch.stack([(seen == number).double().mean(1) for number in range(classes)], 1)
            covered = (shares >= COVERED).double().sum(1)
            covered[~samples.flatten(1).isfinite().all(1)] = torch.nan
            found[str(ratio)] = {"classes": per_seed(covered), "spread": per_seed(mean_distance(samples) / data)}
        series = {
            "ratios": found, "classes": classes, "samples": config.samples, "classifier_accuracy": accuracy,
            "classifier_test_images": splits.count("test"),
        }  # fmt: skip
        return Found(_checks(found), series)


def _less(
    ones: Sequence[float | None], others: Sequence[float | None], scale: Callable[[float], float]
) -> list[float | None]:
    return [None if a is None or b is None else scale(a) - scale(b) for a, b in zip(ones, others, strict=True)]


def _log_spread(value: float) -> float:
    """With the spread of a ten-thousandth of the data's for none at all, so that a G of one output has a logarithm."""
    return math.log(max(value, 1e-4))


def _checks(found: Mapping[str, Mapping[str, list[float | None]]]) -> Checks:
    even = found["1"]
    checks: dict[str, float | list[float | None]] = {}
    for ratio in MANY:
        much = found[str(ratio)]
        checks[f"classes_lost_at_{ratio}"] = _less(even["classes"], much["classes"], float)
        checks[f"spread_lost_at_{ratio}"] = _less(even["spread"], much["spread"], _log_spread)
    return {"H1-images": checks}


EXPERIMENT = Collapse()
