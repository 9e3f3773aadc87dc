"""As many samples as true images, side by side in one space."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from replicate.measures.neighbours import DENSITY_NEIGHBOURS, Neighbours

#: Fewer images than this have no neighbours to compare.
FEWEST = DENSITY_NEIGHBOURS + 1


@dataclass(frozen=True)
class Comparison:
    """What measures of the kind `comparison` read.

    Several of them are biased by the number of images, so both sets have equally many.

    Attributes:
        samples, true_images: (n, d) float64 each, in random order.
        resamples: bootstrap samples of intervals.
        updates: updates of a classifier that is trained to tell the sets apart.
    """

    samples: Tensor
    true_images: Tensor
    resamples: int
    updates: int

    @cached_property
    def neighbours(self) -> Neighbours:
        """Who is whose nearest neighbour."""
        return Neighbours.of(self.samples, self.true_images)


def chosen_rows(images: Tensor, count: int, stream: int) -> Tensor:
    """`count` rows of images (n, d) without replacement, in random order.

    Random, because files of samples may be sorted by class, or by Markov chain.
    """
    # By one order for both, files of one length that are sorted alike would stay matched.
    order = np.random.default_rng((stream, len(images))).permutation(len(images))
    return images[torch.from_numpy(order[:count]).to(images.device)]
