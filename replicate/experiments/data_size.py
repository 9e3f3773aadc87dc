"""Adversarial nets need large data sets: models of Table 1 on more and more images (L2, slides).

The lecture slides claim: adversarial nets need large data sets.

Measured: the test log-likelihood that each model gains from the fewest training images to all of
them. A seed puts the training images into an order of its own, and the subsets are its first
images, so that each holds the smaller ones and the spread over seeds covers the choice of images.
Every model sees nothing but its subset, from the pixel means that it starts with to the images that
chains start at: for that the seeds are trained one by one.

A subset is repeated until it has as many rows as there are training images. So an epoch has equal
numbers of updates at every size, and rates, momentum and the turns of greedy layers go by updates
too, with nothing special for any model.

Where data are few the best model may be an early one. So every training is looked at several times,
equally often at every size. The look with the highest validation log-likelihood counts; its samples
and its bandwidth give the log-likelihood of the test images.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import AfterValidator, Field
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import (
    Checks,
    DataConfig,
    Experiment,
    ExperimentResult,
    NotApplicable,
    PerSeed,
    ascending,
    per_seed,
)
from replicate.experiments.games.image_game import pixels
from replicate.likelihood.parzen import log_densities
from replicate.models import adversarial_nets, dbn, deep_gsn, stacked_cae
from replicate.models.base import GenerativeModel
from replicate.params import OURS, setting
from replicate.progress.loops import each, steps
from replicate.training.streams import Streams

ADVERSARIAL_NETS = "adversarial_nets"
Other = Literal["dbn", "stacked_cae", "deep_gsn"]
#: Named here and not by the registry, so that a change of a model's code re-runs this experiment.
MODELS: Mapping[str, type[GenerativeModel]] = {
    "dbn": dbn.MODEL,
    "stacked_cae": stacked_cae.MODEL,
    "deep_gsn": deep_gsn.MODEL,
    ADVERSARIAL_NETS: adversarial_nets.MODEL,
}
#: Bandwidths of the Parzen estimate; each look takes the best one.
SIGMAS = (0.1, 0.12, 0.14, 0.16, 0.19, 0.23, 0.28, 0.36, 0.46, 0.6)
#: Most validation images that are looked at.
VALIDATION_IMAGES = 1000
#: Step of the stream `order` for the order of the images that subsets are cut from. No training has
#: as many epochs.
_SUBSETS = 1 << 32

#: The rows of a subset, (count,), from a seed's order of the training images (n,) and `count`.
Cut = Callable[[Tensor, int], Tensor]


def nested(order: Tensor, count: int) -> Tensor:
    """The first images."""
    return order[:count]


class DataSizeConfig(DataConfig):
    """The sizes, the other models, and how long all of them train."""

    others: tuple[Other, ...] = setting(
        ("dbn", "stacked_cae", "deep_gsn"),
        "models that adversarial nets are compared with",
        OURS,
        min_length=1,
    )
    shares: Annotated[
        tuple[Annotated[float, Field(gt=0, le=1)], ...], AfterValidator(ascending)
    ] = setting(
        (1 / 8, 1 / 3, 1.0),
        "sizes of the subsets, as shares of the training images",
        OURS,
        min_length=2,
    )
    epochs_share: float = setting(
        0.75,
        "of the epochs of each model's recipe for the data set",
        "ours: where adversarial nets level off with few images, seeds 100-102",
        gt=0,
        le=1,
    )
    looks: int = setting(
        20,
        "looks at a model whose images are drawn independently",
        "ours: the game swings, seeds 100-102",
        ge=1,
    )
    chain_looks: int = setting(
        2, "looks at a model that is sampled by Markov chains, which cost more", OURS, ge=1
    )
    samples: int = setting(
        1000, "generated images at each look, at every size and of every model", OURS, ge=2
    )


class Look(NamedTuple):
    """The mean log-likelihoods of a look, of validation and test images in nats; its bandwidth."""

    epoch: int
    validation: float
    test: float
    sigma: float


#: The best look at a model for every subset (sizes, seeds); None where the training failed.
LooksBySize = list[list[Look | None]]


def repeated(subset: Tensor, count: int) -> Tensor:
    """Rows (n,) over and over until there are `count`: each as often as any other, or once more."""
    times = -(-count // len(subset))  # rounded up
    return subset.repeat(times)[:count]


def look_epochs(model: GenerativeModel, config: DataSizeConfig) -> list[int]:
    """The epochs, counted from 1, at whose ends the model is looked at, ascending.

    The last epoch is among them. They are equally far apart, and none is before every layer has
    been trained.
    """
    # A look at a chain model costs many times as much as one at another.
    looks = config.looks
    if model.chains is not None:
        looks = config.chain_looks
    first = model.first_complete_epoch - 1
    length = model.config.epochs - first
    epochs = set()
    for k in range(1, looks + 1):
        after_first = round(length * k / looks)
        # At least one epoch after the last layer's start: before that the model is another one.
        epoch = first + max(1, after_first)
        epochs.add(epoch)
    return sorted(epochs)


def look(model: GenerativeModel, epoch: int, samples: int, valid: Tensor, test: Tensor) -> Look:
    """Looks at a block of one seed."""
    # A draw of its own for every look, as in the sweep, or one lucky draw would count each time.
    generated = model.sample(samples, epoch)[0]
    by_sigma = log_densities(generated, valid, SIGMAS).mean(1)
    validation_mean = float(by_sigma.max())
    best_index = int(by_sigma.argmax())
    sigma = SIGMAS[best_index]
    on_test = log_densities(generated, test, [sigma])
    test_mean = float(on_test.mean())
    return Look(epoch, validation_mean, test_mean, sigma)


def train(
    model: GenerativeModel, images: Tensor, config: DataSizeConfig, valid: Tensor, test: Tensor
) -> list[Look]:
    """Trains a block of one seed on images (n, dimension); the looks at it."""
    # Chains that start at training images may start at those of the subset alone.
    if model.samples_from_train:
        model.train = images
    model.initialise(images)
    recipe = model.config
    count = len(images)
    size = recipe.batch_size * model.batches_per_step
    # The rest of an epoch is left out, as in the sweep.
    updates = count // size
    epochs_of_looks = look_epochs(model, config)
    looks: list[Look] = []
    for epoch in steps(recipe.epochs, "epoch"):
        order = model.streams.order(epoch, count)
        for update in range(updates):
            step = epoch * updates + update
            start = update * size
            rows = order[:, start : start + size]
            model.train_step(images[rows], epoch, step)
        if epoch + 1 in epochs_of_looks:
            # As the sweep does it before every look: some models estimate more of themselves than
            # they train.
            model.fit_statistics(images)
            entry = look(model, epoch + 1, config.samples, valid, test)
            looks.append(entry)
    return looks


def best(looks: Sequence[Look]) -> Look | None:
    """The look with the highest validation log-likelihood, the earliest of a tie.

    None if any look is not finite.
    """
    values = [(entry.validation, entry.test) for entry in looks]
    is_finite = np.isfinite(values).all()
    if not is_finite:
        return None
    # `max` keeps the first of equal ones.
    return max(looks, key=lambda candidate: candidate.validation)


def gains(log_likelihoods: Sequence[Sequence[float | None]]) -> Tensor:
    """What all images give over the fewest, (seeds,); NaN where a run failed.

    Args:
        log_likelihoods: (sizes, seeds).
    """
    # None becomes NaN.
    by_size = np.array(log_likelihoods, dtype=np.float64)
    values = torch.tensor(by_size)
    # Within a seed: its subsets are nested, so the luck of its first images is in both.
    return values[-1] - values[0]


class DataSize(Experiment[DataSizeConfig]):
    """L2.

    Args:
        cut: how a seed's subsets are taken.
        models: name -> class; those that the config names must be among them.
    """

    Config = DataSizeConfig
    statements: ClassVar[tuple[str, ...]] = ("L2",)

    def __init__(
        self, cut: Cut = nested, models: Mapping[str, type[GenerativeModel]] = MODELS
    ) -> None:
        self._cut = cut
        self._models = models

    def run(
        self,
        config: DataSizeConfig,
        seeds: Sequence[int],
        device: torch.device,
        splits: Splits | None,
    ) -> ExperimentResult:
        """Every model at every size, one seed after the other."""
        assert splits is not None
        images = pixels(splits, "train", device)
        test = pixels(splits, "test", device)
        valid = pixels(splits, "valid", device)[:VALIDATION_IMAGES]
        total = len(images)
        counts = [max(1, round(share * total)) for share in config.shares]
        if counts[0] == counts[-1]:
            raise NotApplicable(
                f"its smallest and its largest subset have {counts[0]} training images each"
            )
        names = (*config.others, ADVERSARIAL_NETS)
        for name in names:
            self._check_batch(name, config, splits, total)
        looks: dict[str, LooksBySize] = {}
        for name in names:
            looks[name] = [[] for _ in counts]
        for seed in each(seeds, "seed {}"):
            streams = Streams((seed,), device)
            # Of the seed, so that the spread over seeds holds the choice of images too.
            order = streams.order(_SUBSETS, total)[0]
            for name in each(names):
                for size_index, count in each([*enumerate(counts)], "{0[1]:,} images"):
                    # As many rows at every size, so that an epoch has as many updates.
                    rows = repeated(self._cut(order, count), total)
                    model = self._model(name, config, splits, streams)
                    looks_of_run = train(model, images[rows], config, valid, test)
                    looks[name][size_index].append(best(looks_of_run))
        measured: dict[str, dict[str, list[PerSeed]]] = {}
        for measure in Look._fields:
            measured[measure] = {name: _measures(looks[name], measure) for name in names}
        series = {
            "images": counts,
            "test_images": len(test),
            "samples": config.samples,
            **measured,
        }
        return ExperimentResult(_checks(measured["test"], config.others), series)

    def _check_batch(self, name: str, config: DataSizeConfig, splits: Splits, total: int) -> None:
        """Refuses a model whose step takes more images than there are: it would never move."""
        model = self._model(name, config, splits, Streams((0,), torch.device("cpu")))
        rows = model.config.batch_size * model.batches_per_step
        if rows > total:
            raise NotApplicable(
                f"a step of {name} takes {rows} images, and the data set has {total} to train on"
            )

    def _model(
        self, name: str, config: DataSizeConfig, splits: Splits, streams: Streams
    ) -> GenerativeModel:
        kind = self._models[name]
        recipe = kind.config_for(config.dataset, {})
        epochs = round(config.epochs_share * recipe.epochs)
        shortened = kind.config_for(config.dataset, {"epochs": max(1, epochs)})
        return kind(shortened, splits.shape, streams)


def _measures(looks: LooksBySize, measure: str) -> list[PerSeed]:
    """One of the fields of every look, (sizes, seeds)."""
    rows: list[PerSeed] = []
    for looks_of_size in looks:
        values = [entry and getattr(entry, measure) for entry in looks_of_size]
        rows.append(values)
    return rows


def _checks(test: Mapping[str, list[PerSeed]], others: Sequence[str]) -> Checks:
    gain = {}
    for name, log_likelihoods in test.items():
        gain[name] = gains(log_likelihoods)
    of_nets = gain[ADVERSARIAL_NETS]
    gains_of_others = [gain[name] for name in others]
    of_others = torch.stack(gains_of_others).mean(0)
    return {
        "L2": {
            "gain_of_adversarial_nets": per_seed(of_nets),
            "gain_beyond_the_mean_of_the_others": per_seed(of_nets - of_others),
        }
    }


EXPERIMENT = DataSize()
