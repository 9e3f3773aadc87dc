"""Coverage: the share of true images that have a sample near them.

Near is nearer than the fifth nearest true image (Naeem et al. 2020). Balls are put on
true images alone, so that samples far out do not raise it, as they do recall. Samples of the true
distribution, as many as true images, have 1 - 1/2^5 = 0.97.
"""

from replicate.measures.compared_images import Comparison
from replicate.measures.resampling import Estimate, mean_of


def measure(comparison: Comparison) -> Estimate:
    """The share of true images with a sample near them, 0 to 1."""
    # The balls are those of true images, which no odd sample can blow up (Naeem et al. 2020).
    return mean_of(comparison.neighbours.ball_has_sample, comparison.resamples)
