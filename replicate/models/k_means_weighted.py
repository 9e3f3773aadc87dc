"""k-means centroids drawn by the size of their clusters: the other reading of Theis, van den Oord & Bethge (2016).

What it means for the metric: as with `k_means`, the metric ranks k-means above the truth, so its order of models is no
order of quality. Here, unlike there, a centroid of twice the images gets twice the samples.
"""

import torch
from torch import Tensor

from replicate.models.k_means import KMeans


class WeightedKMeans(KMeans):
    """Centroids with as many chances as images in their clusters."""

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) centroids drawn with replacement, by cluster size."""
        position, size = self.parameters["centroids.position"], self.parameters["centroids.size"]
        bounds = size.cumsum(1)  # of whole numbers, so exact, and deterministic on a GPU
        drawn = self.streams.uniform("evaluation", draw, count).double()
        image = (drawn * bounds[:, -1:]).long()  # the cluster of a random image
        chosen = torch.searchsorted(bounds, image, right=True)
        seed = torch.arange(len(position), device=position.device)[:, None]
        return position[seed, chosen]


MODEL = WeightedKMeans
