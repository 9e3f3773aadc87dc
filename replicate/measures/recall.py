"""Improved recall: the share of true images that lie among samples.

Precision with both sets exchanged (Kynkäänniemi et al. 2019, equations 1 and 2): a true image
counts where it lies in the ball of some sample, as large as the distance to the third nearest
sample. It falls with modes that are missing; a few samples far out make large balls, and raise it.
"""

from replicate.measures.compared_images import Comparison
from replicate.measures.resampling import Estimate, mean_of


def measure(comparison: Comparison) -> Estimate:
    """The share of true images among samples, 0 to 1."""
    # The balls are those of samples here: one odd sample has a large one, which flatters recall
    # (Naeem et al. 2020).
    return mean_of(comparison.neighbours.in_sample_manifold, comparison.resamples)
