"""k-means centroids as samples: the row that beats the truth (Theis, van den Oord & Bethge 2016).

What it means for the metric: the metric ranks k-means above the truth. On MNIST 10,000 centroids get 313 nats (as
published) and 10,000 training images 243 (`true_distribution`), because a mean of images lies near more held-out images
than an image does; so the metric's order of models is no order of quality. Training is Lloyd's algorithm, one exact
iteration an epoch.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig
from replicate.models.true_distribution import even_choice
from replicate.params import OURS, setting

#: Images whose distances to all centroids are held at a time: 256 x 10,000 take 10 MB in float32.
ROWS = 256
_THEIS = "Theis, van den Oord & Bethge 2016: as many centroids as samples, 10,000"
_SHARE = f"{_THEIS} of 50,000 images; here the same share of 1,283"


class KMeansConfig(ModelConfig):
    """Lloyd's algorithm. Images of a last partial batch stand aside: the batch size should divide the training set."""

    epochs: int = setting(10, "iterations of Lloyd's algorithm", OURS, ge=1)
    batch_size: int = setting(1000, "images per step; an iteration does not depend on it", OURS, ge=1)
    centroids: int = setting(10_000, "clusters", _THEIS, ge=1)


class KMeans(GenerativeModel):
    """A block of seeds of centroids, which differ in the training images at which they start.

    A step adds its images to the sums and counts of the nearest centroids. The centroids move once the epoch is
    over: at the first step of the next, or where the model settles before a look, whichever comes first. The
    other then finds nothing to add, so it changes nothing.
    """

    Config = KMeansConfig
    recipes: ClassVar[Mapping[str, tuple[Mapping[str, Any], str]]] = {
        "mnist": ({}, _THEIS),
        "digits": ({"epochs": 30, "batch_size": 1283, "centroids": 257}, _SHARE),
    }

    def initialise(self, train: Tensor) -> None:
        """Distinct training images at random, (n, dimension): Forgy's start.

        Where there are fewer images than centroids, some start at the same image; all but one of these stay empty.
        """
        clusters, seeds = self.config.centroids, len(self.streams.seeds)
        order = self.streams.uniform("init", 0, len(train)).argsort(dim=1, stable=True)
        order = order.repeat(1, -(-clusters // len(train)))
        self.parameters["centroids.position"] = train[order[:, :clusters]]
        self.parameters["centroids.size"] = torch.ones(seeds, clusters, dtype=torch.int64, device=train.device)
        self.slots["sum"] = torch.zeros_like(self.parameters["centroids.position"])
        self.slots["count"] = torch.zeros_like(self.parameters["centroids.size"])
        self.slots["epoch"] = torch.zeros(seeds, dtype=torch.int64, device=train.device)

    @torch.no_grad()
    def nearest(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The number of the nearest centroid of every image and the squared distance to it, each (seeds, n).

        Args:
            images: (seeds, n, dimension).
        """
        centroids = self.parameters["centroids.position"]
        half_norms = 0.5 * centroids.square().sum(2)[:, None]
        found = [
            torch.baddbmm(half_norms, chunk, centroids.mT, alpha=-1).min(2)
            for chunk in torch.split(images, ROWS, dim=1)
        ]
        values, places = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        return places, (2 * values + images.square().sum(2)).clamp_(min=0)

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """Adds the batch to the sums of its nearest centroids; the loss is the mean squared distance to these."""
        if int(self.slots["epoch"][0]) != epoch:
            self._move()
            self.slots["epoch"].fill_(epoch)
        places, distances = self.nearest(batch)
        first = torch.arange(len(batch), device=batch.device)[:, None] * self.config.centroids
        rows = (places + first).flatten()
        self.slots["sum"].flatten(0, 1).index_add_(0, rows, batch.flatten(0, 1))
        self.slots["count"].flatten().index_add_(0, rows, torch.ones_like(rows))
        return {"squared_distance": distances.mean(1)}

    def _move(self) -> None:
        """Puts every centroid at the mean of the images added to it; one without images stays. Forgets the images."""
        total, count = self.slots["sum"], self.slots["count"]
        if not bool(count.any()):
            return
        position = self.parameters["centroids.position"]
        mean = total / count.clamp(min=1)[..., None]
        self.parameters["centroids.position"].copy_(torch.where(count[..., None] > 0, mean, position))
        self.parameters["centroids.size"].copy_(count)
        total.zero_()
        count.zero_()

    def settle(self, train: Tensor) -> None:
        """Ends the iteration of the epoch that is over, (n, dimension) images; without one there is nothing to do."""
        self._move()

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) centroids, each equally often up to one (variant "each used once")."""
        position = self.parameters["centroids.position"]
        seed = torch.arange(len(position), device=position.device)[:, None]
        return position[seed, even_choice(self.streams, draw, position.shape[1], count)]


MODEL = KMeans
