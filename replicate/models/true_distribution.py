"""Training images themselves as samples: the "true distribution" row of Theis, van den Oord & Bethge (2016).

Nothing is trained. The row shows what the Parzen estimate gives to the very distribution that the models are to
learn: about 243 nats on MNIST with 10,000 of the 50,000 images. What it means for the metric: the metric ranks k-means
centroids (`k_means`) above the truth, so a model above this row is not better than the truth; its samples are smoother.
Where a set has fewer images than are drawn, as digits has, all of them are kernels, more than the centroids are.
"""

from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import setting
from replicate.training.streams import Streams


class TrueDistributionConfig(ModelConfig):
    """Nothing to set: one epoch of steps that do nothing leads to the one look."""

    epochs: int = setting(1, "nothing is trained", "Theis, van den Oord & Bethge 2016", ge=1, le=1)


def even_choice(streams: Streams, draw: int, population: int, count: int) -> Tensor:
    """Numbers of `count` members of a population, (seeds, count), each chosen equally often up to one.

    So without replacement where `count` is at most `population`. Which ones, and in which order, is random.

    Args:
        draw: step of the stream `evaluation`.
    """
    order = streams.uniform("evaluation", draw, population).argsort(dim=1, stable=True)
    return order.repeat(1, -(-count // population))[:, :count]


class TrueDistribution(GenerativeModel):
    """Draws training images; it has no parameters, and its weights file holds none."""

    Config = TrueDistributionConfig
    samples_from_train = True

    def initialise(self, train: Tensor) -> None:
        """Nothing: `train` is set by whoever builds the model."""

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """Changes nothing. Its loss is zero, for a log that has a loss of every model."""
        return {"nothing_trained": batch.new_zeros(len(batch))}

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) training images, each equally often up to one."""
        return self.train[even_choice(self.streams, draw, len(self.train), count)]


MODEL = TrueDistribution
