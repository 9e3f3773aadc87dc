"""Adversarial nets need large data sets (L2, lecture slides): the models of Table 1 on more and more of the images.

A seed puts the training images into an order of its own, and the subsets are its first images, so that each holds the
smaller ones and the spread over seeds covers the choice of images. Every model sees nothing but its subset, from the
pixel means that it starts with to the images that chains start at: the seeds are trained one by one for that.

A subset is repeated until it has as many rows as there are training images. So an epoch has equal numbers of updates at
every size, and rates, momentum and the turns of greedy layers go by updates too, with nothing special for any model.

Where data are few the best model may be an early one. So every training is looked at several times, equally often at
every size; the look with the highest validation log-likelihood is kept, and the test images are judged by its samples
and its bandwidth.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import DataConfig, Experiment, Found
from replicate.experiments.game import per_seed, pixels
from replicate.likelihood.parzen import log_densities
from replicate.loops import each, steps
from replicate.models import adversarial_nets, dbn, deep_gsn, stacked_cae
from replicate.models.base import GenerativeModel
from replicate.params import OURS, setting
from replicate.training.streams import Streams

JUDGED = "adversarial_nets"
Other = Literal["dbn", "stacked_cae", "deep_gsn"]
#: Named here and not by the registry, so that a change of a model's code re-runs this experiment.
MODELS: Mapping[str, type[GenerativeModel]] = {
    "dbn": dbn.MODEL,
    "stacked_cae": stacked_cae.MODEL,
    "deep_gsn": deep_gsn.MODEL,
    JUDGED: adversarial_nets.MODEL,
}
#: Bandwidths of the Parzen estimate; each look takes the best one.
SIGMAS = (0.1, 0.12, 0.14, 0.16, 0.19, 0.23, 0.28, 0.36, 0.46, 0.6)
#: Most validation images that are looked at.
VALIDATION_IMAGES = 1000
#: Of the stream `order`: the order of the images that subsets are cut from. No training has as many epochs.
_SUBSETS = 1 << 32

#: The rows of a subset, (count,), from a seed's order of the training images (n,) and `count`.
Cut = Callable[[Tensor, int], Tensor]


def nested(order: Tensor, count: int) -> Tensor:
    """The first images."""
    return order[:count]


def _ascending(shares: tuple[float, ...]) -> tuple[float, ...]:
    if list(shares) != sorted(set(shares)):
        raise ValueError("the shares must be distinct and in ascending order")
    return shares


class DataSizeConfig(DataConfig):
    """The sizes, the other models, and how long all of them train."""

    others: tuple[Other, ...] = setting(
        ("dbn", "stacked_cae", "deep_gsn"), "models that adversarial nets are compared with", OURS, min_length=1
    )
    shares: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], AfterValidator(_ascending)] = setting(
        (1 / 8, 1 / 3, 1.0), "sizes of the subsets, as shares of the training images", OURS, min_length=2
    )
    epochs_share: float = setting(
        0.75, "of the epochs of each model's recipe for the data set",
        "ours: where adversarial nets level off with few images, seeds 100-102", gt=0, le=1,
    )  # fmt: skip
    looks: int = setting(
        20, "looks at a model whose images are drawn independently", "ours: the game swings, seeds 100-102", ge=1
    )
    chain_looks: int = setting(2, "looks at a model that is sampled by Markov chains, which cost more", OURS, ge=1)
    samples: int = setting(1000, "generated images at each look, at every size and of every model", OURS, ge=2)


class Look(NamedTuple):
    """What one look says: mean log-likelihoods in nats of the validation and of the test images, and the bandwidth."""

    epoch: int
    validation: float
    test: float
    sigma: float


def repeated(subset: Tensor, count: int) -> Tensor:
    """Rows (n,) over and over until there are `count`: each as often as any other, or once more."""
    return subset.repeat(-(-count // len(subset)))[:count]


def look_epochs(model: GenerativeModel, config: DataSizeConfig) -> list[int]:
    """The epochs, counted from 1, at whose ends the model is looked at: ascending, the last one among them.

    They are equally far apart, and none is before every layer has been trained.
    """
    looks = config.looks if model.chains is None else config.chain_looks
    first, last = model.whole_from - 1, model.config.epochs
    return sorted({first + max(1, round((last - first) * k / looks)) for k in range(1, looks + 1)})


def look(model: GenerativeModel, epoch: int, samples: int, valid: Tensor, test: Tensor) -> Look:
    """Looks at a block of one seed."""
    made = model.sample(samples, epoch)[0]
    curve = log_densities(made, valid, SIGMAS).mean(1)
    sigma = SIGMAS[int(curve.argmax())]
    return Look(epoch, float(curve.max()), float(log_densities(made, test, [sigma]).mean()), sigma)


def train(model: GenerativeModel, images: Tensor, config: DataSizeConfig, valid: Tensor, test: Tensor) -> list[Look]:
    """Trains a block of one seed on images (n, dimension); the looks that were taken."""
    if model.samples_from_train:
        model.train = images
    model.initialise(images)
    size, wanted, found = model.config.batch_size * model.batches_per_step, look_epochs(model, config), []
    updates = len(images) // size
    for epoch in steps(model.config.epochs, "epoch"):
        order = model.streams.order(epoch, len(images))
        for update in range(updates):
            batch = images[order[:, update * size : (update + 1) * size]]
            model.train_step(batch, epoch, epoch * updates + update)
        if epoch + 1 in wanted:
            model.settle(images)
            found.append(look(model, epoch + 1, config.samples, valid, test))
    return found


def best(looks: Sequence[Look]) -> Look | None:
    """The look with the highest validation log-likelihood, the earliest of a tie; None if any is not finite."""
    if not np.isfinite([(taken.validation, taken.test) for taken in looks]).all():
        return None
    return max(looks, key=lambda taken: taken.validation)


def gains(rows: Sequence[Sequence[float | None]]) -> Tensor:
    """What all images give over the fewest, of log-likelihoods (sizes, seeds): (seeds,), NaN where a run failed."""
    values = torch.tensor(np.array(rows, dtype=np.float64))
    return values[-1] - values[0]


class DataSize(Experiment):
    """L2.

    Args:
        cut: how a seed's subsets are taken.
        models: name -> class; those that the config names must be among them.
    """

    Config = DataSizeConfig
    claims: ClassVar[tuple[str, ...]] = ("L2",)

    def __init__(self, cut: Cut = nested, models: Mapping[str, type[GenerativeModel]] = MODELS) -> None:
        self._cut, self._models = cut, models

    def _model(self, name: str, config: DataSizeConfig, splits: Splits, streams: Streams) -> GenerativeModel:
        kind = self._models[name]
        epochs = max(1, round(config.epochs_share * kind.config_for(config.dataset, {}).epochs))
        return kind(kind.config_for(config.dataset, {"epochs": epochs}), splits.shape, streams)

    def run(self, config: DataSizeConfig, seeds: Sequence[int], device: torch.device, splits: Splits | None) -> Found:
        """Every model at every size, one seed after the other."""
        assert splits is not None
        images, valid, test = (pixels(splits, split, device) for split in ("train", "valid", "test"))
        valid, total = valid[:VALIDATION_IMAGES], len(images)
        counts = [max(1, round(share * total)) for share in config.shares]
        kept: dict[str, list[list[Look | None]]] = {name: [[] for _ in counts] for name in (*config.others, JUDGED)}
        for seed in each(seeds, "seed {}"):
            streams = Streams((seed,), device)
            order = streams.order(_SUBSETS, total)[0]
            for name in each([*kept]):
                for count, row in each([*zip(counts, kept[name], strict=True)], "{0[0]:,} images"):
                    subset = images[repeated(self._cut(order, count), total)]
                    row.append(best(train(self._model(name, config, splits, streams), subset, config, valid, test)))
        measured = {
            part: {name: [[taken and getattr(taken, part) for taken in row] for row in rows]
                   for name, rows in kept.items()}
            for part in Look._fields
        }  # fmt: skip
        gain = {name: gains(rows) for name, rows in measured["test"].items()}
        others = torch.stack([gain[name] for name in config.others]).mean(0)
        checks: dict[str, dict[str, float | list[float | None]]] = {
            "L2": {
                "gain_of_adversarial_nets": per_seed(gain[JUDGED]),
                "gain_beyond_the_mean_of_the_others": per_seed(gain[JUDGED] - others),
            }
        }
        return Found(checks, {"images": counts, "test_images": len(test), "samples": config.samples, **measured})


EXPERIMENT = DataSize()
