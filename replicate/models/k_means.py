"""k-means centroids as samples: the row that beats the truth (Theis, van den Oord & Bethge 2016).

The Parzen estimate ranks k-means above the truth: on MNIST 10,000 centroids get 313 nats (as
published) and 10,000 training images 243 (`true_distribution`), because a mean of images lies near
more held-out images than an image does. So the estimate's order of models is no order of quality.
Training is Lloyd's algorithm, one exact iteration per epoch.
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig, Recipe, Recipes
from replicate.models.true_distribution import even_choice
from replicate.params import OURS, setting

#: Images whose distances to all centroids are held at a time: 256 x 10,000 take 10 MB in float32.
ROWS = 256
_THEIS = "Theis, van den Oord & Bethge 2016: as many centroids as samples, 10,000"
_SHARE = f"{_THEIS} of 50,000 images; here the same share of 1,283"


class KMeansConfig(ModelConfig):
    """Lloyd's algorithm.

    A last partial batch is left out, so the batch size should divide the training set.
    """

    epochs: int = setting(10, "iterations of Lloyd's algorithm", OURS, ge=1)
    batch_size: int = setting(
        1000, "images per step; an iteration does not depend on it", OURS, ge=1
    )
    centroids: int = setting(10_000, "clusters", _THEIS, ge=1)


class KMeans(GenerativeModel):
    """A block of seeds of centroids, which differ in the training images at which they start.

    A step adds its images to the sums and counts of the nearest centroids. The centroids are
    updated once per epoch, after its last step: in `fit_statistics` before a validation, or else in
    the first step of the next epoch. A second update in between has no new images and changes
    nothing.
    """

    Config = KMeansConfig
    config: KMeansConfig
    recipes: ClassVar[Recipes] = {
        "mnist": Recipe({}, _THEIS),
        "digits": Recipe({"epochs": 30, "batch_size": 1283, "centroids": 257}, _SHARE),
    }

    def initialise(self, train: Tensor) -> None:
        """Randomly chosen distinct training images (n, dimension): Forgy's start.

        Where there are fewer images than centroids, some start at the same image; all but one of
        these stay empty.
        """
        clusters = self.config.centroids
        images = len(train)
        uniform = self.streams.uniform("init", 0, images)
        order = uniform.argsort(dim=1, stable=True)
        # More clusters than images: every image starts some of them.
        repeats = math.ceil(clusters / images)
        repeated = order.repeat(1, repeats)
        first_rows = repeated[:, :clusters]
        position = train[first_rows]
        size = torch.ones_like(first_rows)
        parameters = self.parameters
        parameters["centroids.position"] = position
        # Not read here: `k_means_weighted.py` draws by it.
        parameters["centroids.size"] = size
        slots = self.slots
        slots["sum"] = torch.zeros_like(position)
        slots["count"] = torch.zeros_like(size)
        slots["epoch"] = size.new_zeros(self.seed_count)

    @torch.no_grad()
    def nearest(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest centroid of every image.

        Args:
            images: (seeds, n, dimension).

        Returns:
            Its index and the squared distance to it, each (seeds, n).
        """
        centroids = self.parameters["centroids.position"]
        squared_norms = centroids.square().sum(2)
        half_norms = 0.5 * squared_norms[:, None]
        # |x - mu|^2 / 2 = |x|^2 / 2 + (|mu|^2 / 2 - x . mu); the image's norm does not matter for
        # the minimum.
        indices = []
        minima = []
        transposed = centroids.mT
        # In chunks: there is a score for every image and every centroid.
        for chunk in torch.split(images, ROWS, dim=1):
            scores = torch.baddbmm(half_norms, chunk, transposed, alpha=-1)
            minimum = scores.min(2)
            indices.append(minimum.indices)
            minima.append(minimum.values)
        nearest = torch.cat(indices, 1)
        smallest = torch.cat(minima, 1)
        image_norms = images.square().sum(2)
        squared_distances = 2 * smallest + image_norms
        # Rounding can make the distance of an image to itself negative.
        squared_distances.clamp_(min=0)
        return nearest, squared_distances

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """Adds the batch to the sums of its nearest centroids.

        The loss is the mean squared distance to these.
        """
        slots = self.slots
        # An epoch of batches is one iteration of Lloyd's algorithm.
        if int(slots["epoch"][0]) != epoch:
            self._update_centroids()
            slots["epoch"].fill_(epoch)
        indices, distances = self.nearest(batch)
        # Rows of the centroids of all seeds, one seed after the other.
        seeds = torch.arange(len(batch), device=batch.device)
        first_rows = seeds * self.config.centroids
        rows = (indices + first_rows[:, None]).flatten()
        images = batch.flatten(0, 1)
        ones = torch.ones_like(rows)
        sums = slots["sum"].flatten(0, 1)
        # `flatten` of contiguous slots is a view, so this fills the slots themselves.
        sums.index_add_(0, rows, images)
        counts = slots["count"].flatten()
        counts.index_add_(0, rows, ones)
        return {"squared_distance": distances.mean(1)}

    def _update_centroids(self) -> None:
        """Moves every centroid to the mean of its images and clears the sums and counts.

        A centroid without images stays.
        """
        total = self.slots["sum"]
        count = self.slots["count"]
        # Called at an epoch's end and at the next one's start, of which the second finds nothing.
        if not bool(count.any()):
            return
        position = self.parameters["centroids.position"]
        divisor = count.clamp(min=1)
        mean = total / divisor[..., None]
        # A centroid without images stays where it is.
        has_images = count[..., None] > 0
        # In place: checkpoints hold these tensors.
        position.copy_(torch.where(has_images, mean, position))
        self.parameters["centroids.size"].copy_(count)
        total.zero_()
        count.zero_()

    def fit_statistics(self, train: Tensor) -> None:
        """Ends the iteration of the last epoch, if it has not ended yet."""
        self._update_centroids()

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) centroids; how often each is drawn differs by one at most."""
        position = self.parameters["centroids.position"]
        seeds, centroids, _ = position.shape
        seed = torch.arange(seeds, device=position.device)[:, None]
        chosen = even_choice(self.streams, draw, centroids, count)
        return position[seed, chosen]


MODEL = KMeans
