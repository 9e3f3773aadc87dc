"""The samples of a block, read from their file, with their memorisation and correlation.

Memorisation (caption of figure 2): the image of the data that is nearest to a sample is a training
image as often as training images make up the data, if the model memorises nothing, and always if it
copies them. With the share s of samples whose nearest image is a training image, and n of m images
in the training set, the excess (s - n / m) / (1 - n / m) is 0 and 1 in these cases. Blur does not
change it, since it brings a sample nearer to both. Held-out images are those of validation and
test.

Correlation: of each image with the next one in the order of sampling, or of its chain.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.errors import ReplicateError
from replicate.records.schema import ChainNote, ExportNote, Failure, SamplesAbout
from replicate.records.tensor_about import samples_about
from replicate.storage.files import read_tensors

#: Images that are compared with samples at a time: 100 MB in float64 for 3,072 pixels.
ROWS = 4096


@dataclass(frozen=True)
class Samples:
    """The samples of a block.

    Attributes:
        images: (seeds, draws, n, dimension).
        about: the file's description.
    """

    images: Tensor
    about: SamplesAbout

    @classmethod
    def read(cls, path: Path) -> "Samples":
        """Reads a file that the stage `sample` wrote.

        Raises:
            ReplicateError: the file is missing or damaged, or does not fit its description.
        """
        try:
            tensors, metadata = read_tensors(path, "sample")
        except ReplicateError:
            # A file of another kind is not damaged: it is somebody's own.
            if path.suffix == ".safetensors" or not path.is_file():
                raise
            raise ReplicateError(
                f"{path} is no file of this project's samples; `python -m replicate score` scores "
                "samples of your own."
            ) from None
        about = samples_about(path, metadata)
        images = tensors.get("samples", np.empty(0))
        if not _fits_description(images, about):
            raise ReplicateError(
                f"{path} holds no samples of the model that it names; run `sample` again."
            )
        return cls(torch.from_numpy(images), about)

    @property
    def chains(self) -> int | None:
        """Markov chains that the images come from, image i of chain i % chains; None where they are
        independent.
        """
        return self.about["chains"]

    @property
    def rounding(self) -> ExportNote:
        """`rounded`, where their weights were (`export`): a result of such samples says so. Else
        nothing.
        """
        about = self.about
        return {"rounded": about["rounded"]} if "rounded" in about else {}

    @property
    def sampling(self) -> ChainNote:
        """`sampler`, where they come from chains and say how these ran. Else nothing."""
        about = self.about
        return {"sampler": about["sampler"]} if "sampler" in about else {}

    def per_seed(self) -> Iterator[tuple[int, Tensor | None, Failure | None]]:
        """(seed, (draws, n, dimension), None), or (seed, None, why it failed)."""
        seeds = self.about["seeds"]
        failures = self.about["failed"]
        for seed, images in zip(seeds, self.images, strict=True):
            failure = failures.get(str(seed))
            if failure:
                yield seed, None, failure
            else:
                yield seed, images, None

    def check_compatible(self, rows: Tensor, path: Path) -> None:
        """Checks that samples can be compared with rows of a data set.

        Args:
            rows: (n, dimension) of the data set.
            path: of its file, for messages.

        Raises:
            ReplicateError: the dimensions differ, or a sample of a seed is not finite.
        """
        # Failed seeds hold NaN by design; of the others NaN would spread into every sum.
        pixels = self.images.shape[-1]
        if rows.shape[1] != pixels:
            raise ReplicateError(
                f"the samples have {pixels} pixels, the images of {path} {rows.shape[1]}; "
                "they are of different data sets."
            )
        for seed, images, _ in self.per_seed():
            if images is not None and not _all_finite(images):
                raise ReplicateError(
                    f"the samples of seed {seed} hold values that are not finite; run `train` "
                    "again."
                )


def _fits_description(images: np.ndarray, about: SamplesAbout) -> bool:
    """Whether images are float32 (seeds, draws, n, dimension) of the seeds and shape in `about`."""
    if images.ndim != 4 or images.dtype != np.float32 or images.size == 0:
        return False
    seeds, _, _, dimension = images.shape
    # Descriptions of earlier versions name no shape, and then the pixels say the size.
    shape = about.get("shape") or (dimension,)
    expected = (len(about["seeds"]), math.prod(shape))
    return (seeds, dimension) == expected


def _all_finite(images: Tensor) -> bool:
    """Whether all pixels of (draws, n, dimension) are finite; in parts, to bound memory."""
    for chunk in torch.split(images, ROWS, dim=1):
        is_finite = chunk.isfinite().all()
        if not bool(is_finite):
            return False
    return True


def held_out_images(splits: Splits) -> Tensor:
    """The validation and test images, (n, dimension); of the first fold where there are several."""
    valid = torch.from_numpy(splits.flat("valid"))
    test = torch.from_numpy(splits.flat("test"))
    return torch.cat([valid, test])


def memorisation(samples: Tensor, train: Tensor, held_out: Tensor) -> float:
    """The excess share of samples whose nearest image is a training image.

    0: as expected by chance; 1: every sample. A training image as near as a held-out one counts as
    nearest.

    Args:
        samples, train, held_out: (n, dimension), (m, dimension), (k, dimension).
    """
    share = float(nearer_to_training(samples, train, held_out).double().mean())
    # A model that remembers nothing comes near training images as often as near other ones.
    expected = len(train) / (len(train) + len(held_out))
    return (share - expected) / (1 - expected)


def nearer_to_training(samples: Tensor, train: Tensor, held_out: Tensor) -> Tensor:
    """Whether the nearest image of each sample is a training image, (n,); as for `memorisation`."""
    # The nearer of the two: not the distance itself, which differs from data set to data set.
    to_train = _nearest_distance(samples, train)
    to_held_out = _nearest_distance(samples, held_out)
    return to_train <= to_held_out


def _nearest_distance(samples: Tensor, images: Tensor) -> Tensor:
    """The L2 distance of every sample to the nearest image: (n,) float64."""
    # float64: which of two images is nearer can be decided by the last digits.
    exact_samples = samples.double()
    minima = []
    # In blocks, so that there is no float64 copy of a whole data set.
    for block in torch.split(images, ROWS):
        distances = torch.cdist(exact_samples, block.double())
        minima.append(distances.amin(1))
    return torch.stack(minima).amin(0)


def correlation(images: Tensor, lag: int) -> float | None:
    """The autocorrelation of images (n, dimension) x_t with mean m at a lag.

    The mean of <x_t - m, x_{t + lag} - m> divided by that of |x_t - m|^2. None where there are at
    most `lag` images, or all are the same.
    """
    # By comparing pixels: rounding may keep the variance of equal images from being 0.
    first = images[0]
    is_constant = bool((images == first).all())
    if lag >= len(images) or is_constant:
        return None
    exact_images = images.double()
    centred = exact_images - exact_images.mean(0)
    products = centred[:-lag] * centred[lag:]
    covariance = products.sum(1).mean()
    variance = centred.square().sum(1).mean()
    return float(covariance / variance)
