"""A trained block with the data set: what measures of models read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.measures.compared_images import chosen_rows
from replicate.models.base import GenerativeModel
from replicate.params import Likelihood, MeasureSettings

#: Draws of the stream `evaluation` from here on are those of measures; samples and looks have those
#: below.
FIRST_DRAW = 1 << 33
#: Split -> stream of the choice of a few of its images (`compared_images` has 1 and 2).
_STREAMS = {"valid": 3, "test": 4}


@dataclass(frozen=True)
class ModelSet:
    """A block of seeds of one model.

    Where a data set has folds, its first one is used.

    Attributes:
        model: with its chosen weights.
        splits: the data set.
        settings: of the measures.
        likelihood: of the Parzen estimate.
    """

    model: GenerativeModel
    splits: Splits
    settings: MeasureSettings
    likelihood: Likelihood

    def images(self, split: str, count: int | None = None) -> Tensor:
        """`count` images of a split, or all, (n, dimension) on the model's device.

        A few are a random choice, the same for every model: files may be sorted. The two halves of
        MNIST's test images are by different writers, and one is easier than the other.
        """
        images = torch.from_numpy(self.splits.flat(split))
        if count is not None:
            images = chosen_rows(images, count, _STREAMS[split])
        return images.to(self.model.streams.device)
