"""Improved precision: the share of samples that lie among true images.

A sample does where it lies in the ball of some true image, as large as the distance to that
image's third nearest true image (Kynkäänniemi et al. 2019, equations 1 and 2). It falls with images
that are not like the data; a model that only repeats one true image has 1.
"""

from replicate.measures.compared_images import Comparison
from replicate.measures.resampling import Estimate, mean_of


def measure(comparison: Comparison) -> Estimate:
    """The share of samples among true images, 0 to 1."""
    # One truth value an image, so that an interval over images is that of a share.
    return mean_of(comparison.neighbours.in_true_manifold, comparison.resamples)
