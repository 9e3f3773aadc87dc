"""The Fréchet distance of two Gaussians with the means and covariances of samples and of the data.

|m - m'|^2 + tr(S + S' - 2 (S S')^(1/2)) (Dowson and Landau 1982; Heusel et al. 2017, equation 6).
Between pixels, or between features of the data set's own small classifier: this is no FID, whose
features are those of Inception, and no number here can be set beside a published one. It is biased
upwards where images are few, equally for all that have as many.
"""

import torch
from torch import Tensor

from replicate.measures.compared_images import Comparison
from replicate.measures.resampling import Estimate, normal_interval, weights

#: Bootstrap samples of the standard error, which 30 give to 13 %: each takes two decompositions.
RESAMPLES = 30
#: Numbers of an image above which there is no interval: decompositions are cubic in them, and those
#: of 30 resamples of colour images of 32 x 32 pixels took more than six minutes.
LARGEST_RESAMPLED = 1024


def moments(images: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d), ddof 1, of images (n, d) that count `counts` (n,) times."""
    total = counts.sum()
    mean = counts @ images / total
    # Centred before the product: a sum of squares less a square would cancel.
    centred = images - mean
    covariance = (centred.T * counts) @ centred / (total - 1)
    return mean, covariance


def _root(covariance: Tensor) -> Tensor:
    """A matrix R with R R' = covariance, (d, d), by eigenvalues, which may be 0."""
    values, vectors = torch.linalg.eigh(covariance)
    # Fewer images than pixels make a singular covariance, whose zeros come out slightly negative.
    root: Tensor = vectors * values.clamp(min=0).sqrt()
    return root


def frechet(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> float:
    """The squared distance of two Gaussians, each given by mean and covariance.

    With S = R R' and S' = Q Q' the trace of (S S')^(1/2) is the sum of the singular values of R'Q.
    """
    (mean, covariance), (other_mean, other_covariance) = first, second
    # `svdvals` of R'Q and no root of S S', which is not symmetric and may be complex by rounding.
    product = _root(covariance).T @ _root(other_covariance)
    overlap = torch.linalg.svdvals(product).sum()
    spread = covariance.trace() + other_covariance.trace() - 2 * overlap
    return float((mean - other_mean).square().sum() + spread)


def measure(comparison: Comparison) -> Estimate:
    """The squared Fréchet distance, 0 and more, with an interval of two standard errors.

    Images of more than `LARGEST_RESAMPLED` numbers have no interval.
    """
    samples, true_images = comparison.samples, comparison.true_images
    count = len(samples)
    ones = torch.ones_like(samples[:, 0])
    value = frechet(moments(samples, ones), moments(true_images, ones))
    if samples.shape[1] > LARGEST_RESAMPLED:
        return Estimate(value, None, 2 * count)
    # Streams 0 and 1: samples and true images are resampled independently of each other.
    sample_weights = weights(count, RESAMPLES, 0).to(samples.device)
    true_weights = weights(count, RESAMPLES, 1).to(samples.device)
    resampled = []
    for sample_counts, true_counts in zip(sample_weights, true_weights, strict=True):
        first = moments(samples, sample_counts)
        resampled.append(frechet(first, moments(true_images, true_counts)))
    return Estimate(value, normal_interval(value, resampled), 2 * count)
