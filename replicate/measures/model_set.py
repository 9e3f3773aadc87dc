"""A trained block with the data set: what measures of models read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.models.base import GenerativeModel
from replicate.params import Likelihood, MeasureSettings

#: Draws of the stream `evaluation` from here on are those of measures; samples and looks have those
#: below.
FIRST_DRAW = 1 << 33


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
        """The first `count` images of a split, or all, (n, dimension) on the model's device."""
        images = torch.from_numpy(self.splits.flat(split)[:count])
        return images.to(self.model.streams.device)
