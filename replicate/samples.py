"""The samples of a block, read back from their file, and two things that they say of their model.

Memory (caption of figure 2): where nothing is memorised, the image of the data that is nearest to a sample is a
training image as often as training images make up the data; a memoriser's always is one. With share s, and n of m
images in the training set, the excess (s - n / m) / (1 - n / m) is 0 and 1. Blur does not move it: it brings a sample
nearer to both. Held-out images are those of validation and test.

Correlation: of each image with the next one in the order of sampling, or of its chain.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from replicate.about import AboutSamples, read_about
from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.files import read_tensors

#: Images that samples are compared with at a time: 100 MB in float64 for 3,072 pixels.
ROWS = 4096


@dataclass(frozen=True)
class Samples:
    """The samples of a block.

    Attributes:
        images: (seeds, draws, n, dimension).
        about: what the weights file said of the model.
    """

    images: Tensor
    about: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "Samples":
        """Reads what `sample` wrote."""
        tensors, metadata = read_tensors(path, "sample")
        about = read_about(AboutSamples, path, metadata, "sample")
        images = tensors.get("samples", np.empty(0))
        fits = images.ndim == 4 and images.dtype == np.float32 and images.size > 0
        shape = about.get("shape") or images.shape[3:]
        if not fits or (images.shape[0], images.shape[3]) != (len(about["seeds"]), math.prod(shape)):
            raise ReplicateError(f"{path} holds no samples of the model that it names; run `sample` again.")
        return cls(torch.from_numpy(images), about)

    @property
    def chains(self) -> int | None:
        """Markov chains that the images come from, image i of chain i % chains; None where they are independent."""
        count: int | None = self.about["chains"]
        return count

    @property
    def rounding(self) -> dict[str, Any]:
        """`rounded`, where their weights were (`export`): a result of such samples says so. Else nothing."""
        return {"rounded": self.about["rounded"]} if "rounded" in self.about else {}

    def per_seed(self) -> Iterator[tuple[int, Tensor | None, dict[str, Any] | None]]:
        """(seed, (draws, n, dimension), None), or (seed, None, why it failed)."""
        for seed, images in zip(self.about["seeds"], self.images, strict=True):
            failed = self.about["failed"].get(str(seed))
            yield seed, (None if failed else images), failed

    def fit(self, rows: Tensor, where: Path) -> None:
        """Refuses rows of another dimension, and samples that are not finite."""
        if rows.shape[1] != self.images.shape[-1]:
            raise ReplicateError(
                f"the samples have {self.images.shape[-1]} pixels, the images of {where} {rows.shape[1]}; "
                "they are of different data sets."
            )
        for seed, images, _ in self.per_seed():
            if images is not None and not all(bool(part.isfinite().all()) for part in torch.split(images, ROWS, dim=1)):
                raise ReplicateError(f"the samples of seed {seed} hold values that are not finite; run `train` again.")


def held_out_images(splits: Splits) -> Tensor:
    """The images that no model learns from, of the first fold where there are several: (n, dimension)."""
    return torch.cat([torch.from_numpy(splits.flat(part)) for part in ("valid", "test")])


def memorisation(samples: Tensor, train: Tensor, held_out: Tensor) -> float:
    """The excess of samples (n, dimension) whose nearest image is a training image: 0 by chance, 1 for a memoriser.

    Of equally near images the training image counts.
    """
    copied = _nearest_distance(samples, train) <= _nearest_distance(samples, held_out)
    by_chance = len(train) / (len(train) + len(held_out))
    return (float(copied.double().mean()) - by_chance) / (1 - by_chance)


def _nearest_distance(samples: Tensor, images: Tensor) -> Tensor:
    """The L2 distance of every sample to the image nearest to it: (n,) float64."""
    wanted = samples.double()
    # Block by block, so that no float64 copy of a whole data set is made.
    return torch.stack([torch.cdist(wanted, rows.double()).amin(1) for rows in torch.split(images, ROWS)]).amin(0)


def correlation(images: Tensor, lag: int) -> float | None:
    """The mean over images (n, dimension) of <x_t - m, x_{t + lag} - m>, over that of |x_t - m|^2, m their mean.

    None where no two images are that far apart in the order, and where all are the same.
    """
    if lag >= len(images) or bool((images == images[0]).all()):
        return None
    centred = images.double() - images.double().mean(0)
    return float((centred[:-lag] * centred[lag:]).sum(1).mean() / centred.square().sum(1).mean())
