"""Training images as samples: "true distribution" of Theis, van den Oord & Bethge (2016).

Nothing is trained. The row shows the Parzen estimate of the very distribution that the models are
to learn: about 243 nats on MNIST with 10,000 of the 50,000 images. The estimate ranks k-means
centroids (`k_means`) above it, so a model above this row is not better than the truth; its samples
are smoother. Where a data set has fewer images than are drawn, as digits has, all of them are
kernels, and these are more than there are centroids.
"""

import math

from torch import Tensor

from replicate.models.base import GenerativeModel, ModelConfig
from replicate.params import setting
from replicate.training.streams import Streams


class TrueDistributionConfig(ModelConfig):
    """Nothing to set: one epoch of steps that do nothing leads to the one validation."""

    epochs: int = setting(1, "nothing is trained", "Theis, van den Oord & Bethge 2016", ge=1, le=1)


def even_choice(streams: Streams, draw: int, population: int, count: int) -> Tensor:
    """A random choice of members that differ by at most one in how often they are chosen.

    So it is without replacement where `count` is at most `population`.

    Args:
        streams: of the block.
        draw: step of the stream `evaluation`.
        population: number of members.
        count: number of choices.

    Returns:
        (seeds, count), numbers of the members in random order.
    """
    uniform = streams.uniform("evaluation", draw, population)
    order = uniform.argsort(dim=1, stable=True)
    repeats = math.ceil(count / population)
    # Every member once before any comes again.
    repeated = order.repeat(1, repeats)
    return repeated[:, :count]


class TrueDistribution(GenerativeModel):
    """Draws training images; it has no parameters, and its weights file holds none."""

    Config = TrueDistributionConfig
    config: TrueDistributionConfig
    samples_from_train = True

    def initialise(self, train: Tensor) -> None:
        """Does nothing: there are no parameters."""

    def train_step(self, batch: Tensor, epoch: int, step: int) -> dict[str, Tensor]:
        """Changes nothing; its loss of zero is for the log."""
        # One loss must be there: the training loop stacks those of a step.
        return {"nothing_trained": batch.new_zeros(len(batch))}

    def sample(self, count: int, draw: int) -> Tensor:
        """(seeds, count, dimension) training images, chosen by `even_choice`."""
        population = len(self.train)
        chosen = even_choice(self.streams, draw, population, count)
        return self.train[chosen]


MODEL = TrueDistribution
