"""k-means centroids drawn by the size of their clusters.

The other reading of Theis, van den Oord & Bethge (2016): a centroid of twice the images gets twice
the samples, unlike in `k_means`. Here too the Parzen estimate ranks k-means above the truth, so the
estimate's order of models is no order of quality.
"""

import torch
from torch import Tensor

from replicate.models.k_means import KMeans


class WeightedKMeans(KMeans):
    """Centroids, each with a probability proportional to its cluster's size."""

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) centroids drawn with replacement, by cluster size."""
        position = self.parameters["centroids.position"]
        size = self.parameters["centroids.size"]
        # Of integers, so exact, and deterministic on a GPU.
        cumulative_size = size.cumsum(1)
        images = cumulative_size[:, -1:]
        # A random image of all, and the cluster that it belongs to.
        uniform = self.streams.uniform("evaluation", draw, count).double()
        image = (uniform * images).long()
        chosen = torch.searchsorted(cumulative_size, image, right=True)
        seeds = torch.arange(len(position), device=position.device)
        return position[seeds[:, None], chosen]


MODEL = WeightedKMeans
