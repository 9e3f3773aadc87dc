"""Who is whose nearest neighbour, among samples and true images: what five measures have in common.

Squared distances are |x|^2 + |y|^2 - 2 x.y about the mean of the true images, in float64, tile by
tile. What lies within the rounding of that sum is taken as 0, so that exact copies are at distance
0 of their originals; other distances of copies agree with those of originals to the last digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

#: Rows whose distances to all others are held at a time: 10,000 of them take 80 MB.
ROWS = 1000
#: Neighbours that make a ball: of precision and recall, and of density and coverage. Both papers
#: leave the image itself out of the count.
PRECISION_NEIGHBOURS, DENSITY_NEIGHBOURS = 3, 5
#: Rounding of a squared distance, in units of the squared norms.
ROUNDING = 1e-13


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """Squared distances (n, m) of rows (n, d) to others (m, d), float64."""
    row_norms = rows.square().sum(1)[:, None]
    other_norms = others.square().sum(1)[None]
    # |x|^2 + |y|^2 - 2 xy: one matrix product in place of n m differences of d numbers.
    norms = row_norms + other_norms
    distances = torch.addmm(norms, rows, others.T, alpha=-2)
    # Negative ones too, whose roots would be NaN.
    is_rounding = distances <= ROUNDING * norms
    return distances.masked_fill_(is_rounding, 0.0)


def tiles(rows: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """The squared distances of some rows to all others, one tile after the other."""
    for start in range(0, len(rows), ROWS):
        tile = slice(start, min(start + ROWS, len(rows)))
        yield tile, squared_distances(rows[tile], others)


def nearest_within(images: Tensor, count: int) -> Tensor:
    """Squared distances of every image to its `count` nearest others, ascending: (n, count)."""
    nearest = []
    for tile, distances in tiles(images, images):
        own = torch.arange(tile.start, tile.stop, device=images.device)[:, None]
        # An image is no neighbour of its own; a copy of it at distance 0 is one.
        distances.scatter_(1, own, torch.inf)
        nearest.append(distances.topk(count, dim=1, largest=False).values)
    return torch.cat(nearest)


@dataclass(frozen=True)
class Neighbours:
    """What the distances between n samples and m true images say.

    Attributes:
        in_true_balls: (n,) in how many balls of true images a sample lies, each ball as large as
            the distance to the true image's `DENSITY_NEIGHBOURS`-th neighbour.
        in_true_manifold: (n,) whether a sample lies in any ball of `PRECISION_NEIGHBOURS`.
        in_sample_manifold: (m,) whether a true image lies in such a ball of any sample.
        ball_has_sample: (m,) whether a true image's ball of `DENSITY_NEIGHBOURS` holds a sample.
        sample_is_told, true_is_told: (n,) and (m,): 1 where the nearest image of all others is of
            the same set, 0 where of the other set, 1/2 where both are equally near.
    """

    in_true_balls: Tensor
    in_true_manifold: Tensor
    in_sample_manifold: Tensor
    ball_has_sample: Tensor
    sample_is_told: Tensor
    true_is_told: Tensor

    @classmethod
    def of(cls, samples: Tensor, true_images: Tensor) -> "Neighbours":
        """Compares samples (n, d) with true images (m, d), both float64, more than 5 of each."""
        # About the mean the norms are small, and so is what the product loses to cancellation.
        centre = true_images.mean(0)
        samples, true_images = samples - centre, true_images - centre
        # The larger of both numbers: the smaller neighbourhood is among its columns.
        within_true = nearest_within(true_images, DENSITY_NEIGHBOURS)
        within_samples = nearest_within(samples, PRECISION_NEIGHBOURS)
        true_ball = within_true[:, DENSITY_NEIGHBOURS - 1]
        true_small_ball = within_true[:, PRECISION_NEIGHBOURS - 1]
        sample_ball = within_samples[:, PRECISION_NEIGHBOURS - 1]
        balls, in_manifold, to_true = [], [], []
        in_sample_manifold = torch.zeros_like(true_ball, dtype=torch.bool)
        to_sample = torch.full_like(true_ball, torch.inf)
        for tile, distances in tiles(samples, true_images):
            balls.append((distances <= true_ball).sum(1))
            in_manifold.append((distances <= true_small_ball).any(1))
            to_true.append(distances.amin(1))
            # Tile by tile of samples: the columns are true images, so their state runs over the
            # tiles.
            in_sample_manifold |= (distances <= sample_ball[tile, None]).any(0)
            to_sample = torch.minimum(to_sample, distances.amin(0))
        return cls(
            in_true_balls=torch.cat(balls),
            in_true_manifold=torch.cat(in_manifold),
            in_sample_manifold=in_sample_manifold,
            ball_has_sample=to_sample <= true_ball,
            sample_is_told=_nearer(within_samples[:, 0], torch.cat(to_true)),
            true_is_told=_nearer(within_true[:, 0], to_sample),
        )


def _nearer(first: Tensor, second: Tensor) -> Tensor:
    """1 where the first distance is smaller, 0 where the second is, 1/2 where they are equal."""
    is_smaller = (first < second).double()
    is_equal = (first == second).double()
    # Exact copies are common among controls, and no order of the files may decide for them.
    return is_smaller + 0.5 * is_equal
