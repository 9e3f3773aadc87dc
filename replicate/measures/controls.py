"""Samples whose quality we know: what a measure is worth shows on them.

No model; what each measure says of them stands beside what it says of models. The first is the
true distribution, which nothing should surpass: `above_truth` marks every control that a measure
puts above it all the same.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.measures import REGISTRY, goodness
from replicate.measures.controls_list import TRUTH
from replicate.measures.ranking import label
from replicate.models.k_means import KMeans
from replicate.records.schema import Measured
from replicate.training.streams import Streams

#: Deviation of the noise on copies, as a share of the range of pixels: seen by nobody.
NOISE = 0.02
#: Share of noise in the mixture (Theis et al. 2016).
NOISE_SHARE = 0.99
#: Seed of all that is drawn.
SEED = 2016


class Controls:
    """Draws the controls of a data set.

    Args:
        splits: the data set; with folds, the first one.
        count: samples of each control, at most.
        device: where they are put.
    """

    def __init__(self, splits: Splits, count: int, device: torch.device) -> None:
        self.splits = splits
        self.count = count
        self.streams = Streams((SEED,), device)
        self.train = self._flat("train")

    def _flat(self, split: str) -> Tensor:
        return torch.from_numpy(self.splits.flat(split)).to(self.streams.device)

    def judged_by(self, name: str) -> Splits:
        """The data set that a control is judged by: for held-out images one without them.

        They are a random half of the validation images. The others choose the bandwidth and stand
        for what is held out, else every image of the sample would have itself as a kernel. Random,
        since a file may alternate, as MNIST's does: its even images and its odd ones are not alike.
        """
        if name != TRUTH:
            return self.splits
        _, others = self._halves_of_validation()
        return self._with_validation(others.cpu().numpy())

    def compared(self, name: str) -> Tensor | None:
        """What comparisons with test images take in place of a control; None: the control itself.

        Of held-out images all of validation: a comparison needs no half that is left out. Half as
        many would be biased, the Fréchet distance upwards, so that copies seem better than they.
        """
        return self._flat("valid") if name == TRUTH else None

    def _halves_of_validation(self) -> tuple[Tensor, Tensor]:
        """The numbers of all validation images, in random order, in two halves."""
        count = self.splits.count("valid")
        (uniform,) = self.streams.uniform("evaluation", 0, count, part=0)
        order: Tensor = uniform.argsort(stable=True)
        first, second = order.tensor_split(2)
        return first, second

    def _with_validation(self, rows: NDArray[np.int64]) -> Splits:
        """The data set, with folds the first one, with some of its validation images alone."""
        images, labels = {}, {}
        for split in ("train", "valid", "test"):
            stored, of_images = self._stored(split)
            chosen = rows if split == "valid" else np.arange(len(stored))
            images[split] = stored[chosen]
            if of_images is not None:
                labels[split] = of_images[chosen]
        return Splits(
            images,
            labels,
            divisor=self.splits.divisor,
            value_range=self.splits.value_range,
            whole_validation=self.splits.whole_validation,
            display=self.splits.display,
        )

    def _stored(self, split: str) -> tuple[NDArray[np.generic], NDArray[np.int64] | None]:
        """The images of a split as stored, and their labels; None where they have none."""
        stored, labels = self.splits.images, self.splits.labels
        # Sets with folds store one pool and each fold's numbers in it.
        if split in stored:
            return stored[split], labels.get(split)
        numbers = self.splits.folds[0][split]
        of_pool = labels.get("labelled")
        return stored["labelled"][numbers], None if of_pool is None else of_pool[numbers]

    def _repeated(self, images: Tensor, part: int) -> Tensor:
        """At most `count` of these images in random order.

        None is repeated unless there are fewer than test images; then each is as often as any
        other, or once more. Repeated ones would be each other's nearest neighbours.
        """
        count = min(self.count, max(len(images), self.splits.count("test")))
        (uniform,) = self.streams.uniform("evaluation", 0, len(images), part=part)
        order = uniform.argsort(stable=True)
        repeats = -(-count // len(images))
        rows: Tensor = order.repeat(repeats)[:count]
        return images.index_select(0, rows)

    def samples(self, name: str) -> Tensor | None:
        """(n, dimension) float32 of a registered control; None where the data set has none.

        Raises:
            KeyError: there is no such control.
        """
        draw: dict[str, Callable[[], Tensor | None]] = {
            "held_out": self._held_out,
            "k_means": self._k_means,
            "copies": self._copies,
            "noisy_copies": self._noisy_copies,
            "noise_mixture": self._noise_mixture,
            "one_class": self._one_class,
            "shuffled_pixels": self._shuffled_pixels,
        }
        return draw[name]()

    def _held_out(self) -> Tensor:
        """A random half of the validation images, none of them twice."""
        rows, _ = self._halves_of_validation()
        return self._flat("valid").index_select(0, rows[: self.count])

    def _copies(self) -> Tensor:
        return self._repeated(self.train, 1)

    def _noisy_copies(self) -> Tensor:
        copies = self._copies()
        low, high = self.splits.value_range
        (noise,) = self.streams.normal("noise", 0, *copies.shape)
        # Cut to the range, else the range alone would tell them.
        noisy: Tensor = copies + NOISE * (high - low) * noise
        return noisy.clamp(low, high)

    def _noise_mixture(self) -> Tensor:
        """Uniform noise in place of 99 of 100 images, in random places; always `count`."""
        copies = self._copies()
        repeats = -(-self.count // len(copies))
        images = copies.repeat(repeats, 1)[: self.count]
        low, high = self.splits.value_range
        (uniform,) = self.streams.uniform("noise", 1, *images.shape)
        (choice,) = self.streams.uniform("noise", 2, len(images))
        is_noise = choice < NOISE_SHARE
        return torch.where(is_noise[:, None], low + (high - low) * uniform, images)

    def _one_class(self) -> Tensor | None:
        """Training images of the class with the lowest number; None without labels of these."""
        if "train" not in self.splits.labels:
            return None
        labels = torch.from_numpy(self.splits.labels_of("train")).to(self.train.device)
        return self._repeated(self.train[labels == labels.min()], 2)

    def _shuffled_pixels(self) -> Tensor:
        """Training images whose pixels stand in an order that is random, and the same for all."""
        images = self._copies()
        (uniform,) = self.streams.uniform("noise", 3, images.shape[1])
        order: Tensor = uniform.argsort(stable=True)
        return images.index_select(1, order)

    def _k_means(self) -> Tensor:
        """Centroids by Lloyd's algorithm, as in the row `k_means`."""
        # The share of 10,000 centroids of MNIST's 50,000 images, so that they stay means of
        # several.
        centroids = max(1, min(self.count, len(self.train) // 5))
        # Of no data set's recipe: the number of centroids follows that of samples.
        config = KMeans.config_for("", {"centroids": centroids})
        model = KMeans(config, self.splits.shape, self.streams)
        model.initialise(self.train)
        # All images in one batch: an iteration of Lloyd's algorithm does not depend on it.
        for epoch in range(config.epochs):
            model.train_step(self.train[None], epoch, epoch)
        model.fit_statistics(self.train)
        return model.sample(self.count, 0)[0]


def above_truth(truth: Sequence[Measured], control: Sequence[Measured]) -> list[str]:
    """The measures that put a control clearly above the true distribution.

    Clearly: the intervals of both do not overlap, where there are intervals.

    Args:
        truth: of the control `TRUTH`.
        control: of another one, in the same order.

    Returns:
        Names with their space, such as `precision/pixels`.
    """
    surpassed = []
    for of_truth, of_control in zip(truth, control, strict=True):
        if _is_better(of_control, of_truth):
            surpassed.append(label(of_control))
    return surpassed


def _is_better(first: Measured, second: Measured) -> bool:
    name = first["measure"]
    if first["value"] is None or second["value"] is None:
        return False
    # Both ends, since "better" may be the lower one, or the one nearer to a half.
    worst = min(goodness(name, value) for value in first["interval"] or [first["value"]])
    best = max(goodness(name, value) for value in second["interval"] or [second["value"]])
    # An interval around one half reaches the best there is, though neither of its ends does.
    ends = second["interval"] or [second["value"]]
    if REGISTRY[name].better == "half" and min(ends) <= 0.5 <= max(ends):
        best = goodness(name, 0.5)
    return worst > best
