"""The squared maximum mean discrepancy by the kernel (x.y / d + 1)^3, without bias.

Gretton et al. 2012, lemma 6; the kernel is that of Bińkowski et al. 2018 (KID). It compares the
first three moments. Without bias means that it is below 0 as often as above where both sets come
from one distribution. In features of the data set's own classifier it is no KID.
"""

import torch
from torch import Tensor

from replicate.measures.compared_images import Comparison
from replicate.measures.resampling import Estimate, normal_interval, weights

#: Rows whose kernel with all others is held at a time.
ROWS = 1000
#: Bootstrap samples at most: all are summed in one product.
RESAMPLES = 200


def kernel(rows: Tensor, others: Tensor) -> Tensor:
    """k(x, y) of rows (n, d) with others (m, d), (n, m)."""
    # The cubic kernel of Binkowski et al. 2018: unlike a Gaussian one it has no width to be chosen.
    return (rows @ others.T / rows.shape[1] + 1) ** 3


def _between(rows: Tensor, others: Tensor, row_counts: Tensor, counts: Tensor) -> Tensor:
    """sum_ij a_i b_j k(x_i, y_j) for every pair of counts a (r, n) and b (r, m), (r,)."""
    total = row_counts.new_zeros(len(row_counts))
    for start in range(0, len(rows), ROWS):
        tile = slice(start, start + ROWS)
        # All resamples share the kernel: their counts multiply it, in place of drawing images anew.
        weighted = row_counts[:, tile] @ kernel(rows[tile], others)
        total += (weighted * counts).sum(1)
    return total


def _within(images: Tensor, counts: Tensor) -> Tensor:
    """The mean of k over pairs of distinct images of (n, d), for each of counts (r, n): (r,)."""
    squares = counts.square()
    diagonal = (images.square().sum(1) / images.shape[1] + 1) ** 3
    # Less the pairs of an image with itself, also as a copy in the resample.
    pairs = counts.sum(1).square() - squares.sum(1)
    return (_between(images, images, counts, counts) - squares @ diagonal) / pairs


def discrepancies(samples: Tensor, true_images: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """The estimate for images that count so often.

    Args:
        samples, true_images: (n, d) and (m, d).
        first, second: counts (r, n) and (r, m). An image drawn twice is no pair with itself, so
            resamples have no bias either.

    Returns:
        (r,).
    """
    pairs = first.sum(1) * second.sum(1)
    between = _between(samples, true_images, first, second) / pairs
    # Unbiased, so that it may be below 0 where both sets are of one distribution.
    return _within(samples, first) + _within(true_images, second) - 2 * between


def measure(comparison: Comparison) -> Estimate:
    """The squared discrepancy, with an interval of two standard errors."""
    samples, true_images = comparison.samples, comparison.true_images
    count = len(samples)
    resamples = min(comparison.resamples, RESAMPLES)
    first = weights(count, resamples, 0).to(samples.device)
    second = weights(count, resamples, 1).to(samples.device)
    ones = torch.ones_like(first[:1])
    # The first row is the estimate itself.
    values = discrepancies(
        samples, true_images, torch.cat([ones, first]), torch.cat([ones, second])
    ).tolist()
    return Estimate(values[0], normal_interval(values[0], values[1:]), 2 * count)
