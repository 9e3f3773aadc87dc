"""The two-sample test by the nearest neighbour, left out one at a time.

The share of images, samples and true ones together, whose nearest image is of their own set
(Lopez-Paz and Oquab 2017; Friedman and Rafsky 1979). One half: the sets cannot be told
apart. 1: every image can. Below one half the samples are copies of the true images that they are
compared with. Equally near images count half.
"""

from replicate.measures.compared_images import Comparison
from replicate.measures.resampling import Estimate, mean_of_halves


def measure(comparison: Comparison) -> Estimate:
    """The accuracy of the nearest neighbour, 0 to 1.

    Half the mean over samples plus half that over true images, which tell apart a model that blurs
    (its samples are told, true images are not) and one that drops modes (details `samples`,
    `true_images`).
    """
    neighbours = comparison.neighbours
    # Each half by itself: a model that copies is told by one of them, one that drops modes by the
    # other.
    halves = [neighbours.sample_is_told, neighbours.true_is_told]
    estimate = mean_of_halves(halves, comparison.resamples)
    estimate.details["samples"] = float(halves[0].mean())
    estimate.details["true_images"] = float(halves[1].mean())
    return estimate
