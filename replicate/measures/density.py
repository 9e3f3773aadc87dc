"""Density: in how many balls of true images a sample lies, relative to what is to be expected.

The number of balls, as large as the distance to the fifth nearest true image, divided by five
(Naeem et al. 2020). Samples of the true distribution have 1. It is no share: samples
that crowd where true images are dense have more than 1, so higher is not always better.
"""

from replicate.measures.compared_images import Comparison
from replicate.measures.neighbours import DENSITY_NEIGHBOURS
from replicate.measures.resampling import Estimate, mean_of


def measure(comparison: Comparison) -> Estimate:
    """The mean number of balls by what is to be expected, 0 and more."""
    # Counted and not only asked for: samples where many balls overlap weigh more.
    balls = comparison.neighbours.in_true_balls.double()
    return mean_of(balls / DENSITY_NEIGHBOURS, comparison.resamples)
