"""The Gaussian Parzen-window estimate of a density, in nats (paper section 5; released `parzen_ll.py`).

A window of width sigma is put on every sample mu_j, j = 1..m, and the log-density of a row x of dimension d is

    log p(x) = log (1/m) sum_j exp(-||x - mu_j||^2 / (2 sigma^2)) - d log(sigma sqrt(2 pi)).

Half the squared distance is |x|^2 / 2 - t_j, where the affinity t_j = x . mu_j - |mu_j|^2 / 2 comes out of one matrix
product, shared by all bandwidths; so the nearest sample has the largest affinity, and with it

    log p(x) = log sum_j exp((t_j - max t) / sigma^2) - min_j ||x - mu_j||^2 / (2 sigma^2)
               - log m - d log(sigma sqrt(2 pi)).

The product runs in the samples' own precision (float32 in the pipeline, TF32 off), and so do the sums within a tile,
whose terms are at most 1; sums over tiles are carried in float64. To lose little to cancellation, everything is first
centred on the mean row, and the distance to the nearest sample, which decides the sum, is taken anew from the
differences. Rows where this is not enough, such as those far from the centre beside several samples that are nearer to
each other than the bandwidth, are known by their rounding error (`_rounding`) and summed anew in float64.
A tile's affinities depend on nothing outside the tile, so samples may be cut into parts at multiples of
`SAMPLES`, summed anywhere, and added up (`KernelSums`). Memory is bounded by the tile, whatever the number of rows
and samples. The oracle in tests/likelihood is a direct float64 sum.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import torch
from torch import Tensor

#: Rows and samples of a tile: 2048 x 2048 affinities take 16 MiB in float32, small enough to stay in cache.
ROWS, SAMPLES = 2048, 2048
#: Blocks of samples that are copied, about the centre, at a time: 16,384 samples of 784 pixels take 51 MB.
GROUP = 8
#: Parts that a tile is folded into where its largest entries are looked for.
FOLDS = 32
#: Rows whose differences to their nearest sample are taken at a time, in float64.
NEAREST_ROWS = 128
#: Exponents below this count as this. Beside a term of 1, 2048 terms of exp(-80) are less than 1e-31, far below
#: what float64 resolves, while exponentials that underflow are many times slower.
NEGLIGIBLE = -80.0
#: Exponents this far below a row's largest are too small to change its sum; where no more than this share of a tile's
#: columns hold others, the rest is passed over.
UNSEEN, FEW = 60.0, 0.1
#: Bandwidths that are taken. Outside of them 1 / sigma^2, with affinities of pixels, leaves the range of float32.
SMALLEST, LARGEST = 1e-10, 1e10
#: Nats by which rounding may move a log-density, as bounded by `_rounding` and by what other samples share in it.
SHOWN = 8e-4
#: Where rounding may move exponents by more than this, samples that are near may not be seen as near.
BLIND = 5.0
#: Exponents above this are taken from float64 differences: those of float32 are wrong by up to 1e-3.
FAR = 8192.0
#: Rounding of a float32 product, in nats, up to which one of float64 is exact enough.
EXACT_PRODUCT = 1e5
#: Rows that are summed from float64 differences at a time: 16 MiB of distances to the samples of a group.
EXACT_ROWS = 128

Sigmas = Tensor | Sequence[float]


@dataclass(frozen=True)
class KernelSums:
    """The sums over some samples, for n rows and k bandwidths; those over other samples can be added.

    Attributes:
        relative: (k, n) float64: sum_j exp((t_j - max t) / sigma^2), from 1 to the number of samples.
        peak: (n,) the largest affinity, that of the nearest sample, in units of the last bandwidth's square.
        distance: (n,) float64: half the squared distance to it, from the differences.
        count: samples summed over.
        sigmas: the bandwidths.
        dimension: of a row.
    """

    relative: Tensor
    peak: Tensor
    distance: Tensor
    count: int
    sigmas: tuple[float, ...]
    dimension: int

    def __add__(self, other: "KernelSums") -> "KernelSums":
        """The sums over both sets of samples; of two nearest samples equally near, that of `self` counts."""
        if self.sigmas != other.sigmas or self.relative.shape != other.relative.shape:
            raise ValueError("sums of other rows or bandwidths cannot be added")
        peak = torch.maximum(self.peak, other.peak)
        parts = [part.relative * _rise(part.peak, peak, self.sigmas) for part in (self, other)]
        distance = self.distance.where(self.peak == peak, other.distance)
        whole = KernelSums(parts[0] + parts[1], peak, distance, self.count + other.count, self.sigmas, self.dimension)
        exact = self._added_by_distance(other, peak)
        close = (whole.log_densities() - exact.log_densities()).abs() <= SHOWN
        if bool(close.all()):
            return whole
        kept = close.all(0)
        relative, distance = whole.relative.where(kept, exact.relative), distance.where(kept, exact.distance)
        return replace(whole, relative=relative, distance=distance)

    def _added_by_distance(self, other: "KernelSums", peak: Tensor) -> "KernelSums":
        """The sums over both, weighed by distances, which are exact where affinities may be rounded."""
        nearer = torch.minimum(self.distance, other.distance)
        squares = self.relative.new_tensor(self.sigmas)[:, None].square()
        parts = [part.relative * torch.exp((nearer - part.distance) / squares) for part in (self, other)]
        return KernelSums(parts[0] + parts[1], peak, nearer, self.count + other.count, self.sigmas, self.dimension)

    def log_densities(self) -> Tensor:
        """Log-density of every row for every bandwidth, (k, n) float64 in nats."""
        sigma = torch.tensor(self.sigmas, dtype=torch.float64, device=self.relative.device)[:, None]
        norm = math.log(self.count) + self.dimension * torch.log(sigma * math.sqrt(2 * math.pi))
        return self.relative.log() - self.distance / sigma.square() - norm


def log_densities(samples: Tensor, x: Tensor, sigmas: Sigmas) -> Tensor:
    """Log-density of every row of `x` for every bandwidth.

    Args:
        samples: (m, d) float32 or float64, the centres of the windows.
        x: (n, d) of the same type and device.
        sigmas: k bandwidths, standard deviations in pixel units.

    Returns:
        (k, n) float64 in nats.

    Raises:
        ValueError: no samples, shapes or types that do not fit, or a bandwidth below `SMALLEST` or above `LARGEST`.
    """
    return kernel_sums(samples, x, sigmas).log_densities()


def log_density(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """Log-density of every row of `x`, (n,) float64 in nats; see `log_densities`."""
    return log_densities(samples, x, [sigma])[0]


def kernel_sums(samples: Tensor, x: Tensor, sigmas: Sigmas) -> KernelSums:
    """The sums over these samples, or over a part of them that is cut at multiples of `SAMPLES`.

    Arguments and errors are those of `log_densities`.
    """
    widths = _checked(samples, x, sigmas)
    centre = x.mean(0).nan_to_num(0, 0, 0)  # of the rows, which all parts of the samples share
    buffers = _Buffers(x)
    groups = torch.split(samples, GROUP * SAMPLES)
    return reduce(operator.add, (_group_sums(group, x, centre, widths, buffers) for group in groups))


def _checked(samples: Tensor, x: Tensor, sigmas: Sigmas) -> tuple[float, ...]:
    if samples.ndim != 2 or x.ndim != 2 or samples.shape[1] != x.shape[1] or not len(samples):
        raise ValueError(f"samples (m, d) and rows (n, d) are needed, not {tuple(samples.shape)} and {tuple(x.shape)}")
    if samples.dtype != x.dtype or samples.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"samples and rows must both be float32 or float64, not {samples.dtype} and {x.dtype}")
    widths = tuple(float(s) for s in sigmas)
    if not widths or not all(SMALLEST <= s <= LARGEST for s in widths):
        raise ValueError(f"bandwidths must be from {SMALLEST:g} to {LARGEST:g}, not {list(widths)}")
    return widths


def _ratios(sigmas: Sequence[float]) -> list[float]:
    """1 / sigma^2 of every bandwidth in units of the last one's."""
    return [(sigmas[-1] / sigma) ** 2 for sigma in sigmas]


def _rise(before: Tensor, peak: Tensor, sigmas: Sequence[float]) -> Tensor:
    """What sums relative to `before` are worth beside `peak`, affinities of any one shape: (k, *shape) float64."""
    ratios = torch.tensor(_ratios(sigmas), dtype=torch.float64, device=peak.device)
    return torch.exp(torch.multiply(before.double() - peak.double(), ratios.view(-1, *[1] * before.ndim)))


class _Buffers:
    """What every step fills anew; allocating it costs more than filling it."""

    def __init__(self, like: Tensor) -> None:
        self._tiles = [like.new_empty(ROWS * SAMPLES) for _ in range(2)]
        self.rows = like.new_empty(ROWS, like.shape[1] + 1)
        self.differences = like.new_empty(NEAREST_ROWS, like.shape[1])
        self.folds = torch.arange(FOLDS, device=like.device)

    def tile(self, which: int, rows: int, columns: int) -> Tensor:
        return self._tiles[which][: rows * columns].view(rows, columns)


def _group_sums(samples: Tensor, x: Tensor, centre: Tensor, sigmas: tuple[float, ...], buffers: _Buffers) -> KernelSums:
    """The sums over some samples at once."""
    extended = _extended_samples(samples, centre)
    count, dimension = x.shape
    relative = torch.empty(len(sigmas), count, dtype=torch.float64, device=x.device)
    rounding = torch.empty_like(relative)
    peak, distance = x.new_empty(count), torch.empty(count, dtype=torch.float64, device=x.device)
    for start in range(0, count, ROWS):
        part = slice(start, start + ROWS)
        rows = _extended_rows(x[part], centre, 1 / sigmas[-1] ** 2, buffers)
        relative[:, part], peak[part], nearest = _strip(rows, extended, sigmas, buffers)
        distance[part] = _half_squared_distances(x[part], samples, nearest, sigmas, buffers)
        rounding[:, part] = _rounding(rows, distance[part], sigmas)
    sums = KernelSums(relative, peak, distance, len(samples), sigmas, dimension)
    _sum_unsure_rows(sums, x, samples, centre, rounding)
    return sums


def _rounding(rows: Tensor, distance: Tensor, sigmas: Sequence[float]) -> Tensor:
    """What rounding may move the exponents of near samples by, (k, rows) float64; not finite where a product overflows.

    An affinity is rounded in proportion to the squared distance of row and sample from the centre; a sample as near as
    the nearest is no further from it than the row and their distance together. A product adds up one pixel after the
    other, and its rounding grows with the square root of their number (measured: at most half of this).
    """
    reach = torch.linalg.vector_norm(rows[:, :-1], dim=1, dtype=torch.float64).mul_(sigmas[-1] ** 2)
    reach += distance.mul(2).sqrt_()
    steps = max(1.0, math.sqrt(rows.shape[1]) / 16)
    affinity = reach.square_().mul_(torch.finfo(rows.dtype).eps * steps)
    exponents: Tensor = affinity / affinity.new_tensor(sigmas)[:, None].square()
    return exponents


def _sum_unsure_rows(sums: KernelSums, x: Tensor, samples: Tensor, centre: Tensor, rounding: Tensor) -> None:
    """Sums those rows anew, in float64, in which rounding would show."""
    others = 1 - 1 / sums.relative  # what all samples but the nearest share in the density
    unsure = ~(rounding * others <= SHOWN) | ~(rounding <= BLIND)
    if not bool(unsure.any()):
        return
    for rows in torch.split(unsure.any(0).nonzero()[:, 0], EXACT_ROWS):
        # A float64 product is finer than one of float32; where this is not enough, differences are taken.
        product = x.dtype == torch.float32 and bool((rounding[:, rows] <= EXACT_PRODUCT).all())
        blocks = [_exact_distances(x[rows], block, centre, product) for block in torch.split(samples, SAMPLES)]
        distances = torch.cat(blocks, 1)
        nearest = distances.amin(1)
        excess = distances.sub_(nearest[:, None])
        sums.distance[rows] = nearest
        for place, sigma in enumerate(sums.sigmas):
            sums.relative[place, rows] = torch.exp(excess / -(sigma**2)).sum(1)


def _exact_distances(rows: Tensor, samples: Tensor, centre: Tensor, product: bool) -> Tensor:
    """Half the squared distances of rows (n, d) to samples (m, d): (n, m) float64, by a product or from differences."""
    x, mu = rows.double(), samples.double()
    if product:
        x, mu, mode = x - centre.double(), mu - centre.double(), "use_mm_for_euclid_dist"
    else:
        mode = "donot_use_mm_for_euclid_dist"
    return torch.cdist(x, mu, compute_mode=mode).square_().mul_(0.5)


def _extended_samples(samples: Tensor, centre: Tensor) -> Tensor:
    """(mu - c, -|mu - c|^2 / 2), (m, d + 1): its product with (x - c, 1) is the affinity, with no further pass."""
    count, dimension = samples.shape
    extended = samples.new_empty(count, dimension + 1)
    torch.sub(samples, centre, out=extended[:, :dimension])
    for part in torch.split(extended, NEAREST_ROWS):
        norms = torch.linalg.vector_norm(part[:, :dimension], dim=1, dtype=torch.float64)
        part[:, dimension] = norms.square_().mul_(-0.5)
    return extended


def _extended_rows(rows: Tensor, centre: Tensor, scale: float, buffers: _Buffers) -> Tensor:
    """(x - c, 1) times a scale, (rows, d + 1)."""
    extended = buffers.rows[: len(rows)]
    torch.sub(rows, centre, out=extended[:, :-1])
    extended[:, -1] = 1
    return extended.mul_(scale)


def _strip(rows: Tensor, samples: Tensor, sigmas: Sequence[float], buffers: _Buffers) -> tuple[Tensor, Tensor, Tensor]:
    """For extended rows: sums relative to the largest affinity, (k, rows) float64, that affinity, and its sample."""
    running = rows.new_full((len(rows),), -math.inf)
    nearest = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    peaks, sums = [], []
    for number, block in enumerate(torch.split(samples, SAMPLES)):
        tile = buffers.tile(0, len(rows), len(block))
        torch.mm(rows, block.T, out=tile)
        fold = _Fold.of(tile, buffers.folds)
        peak = fold.columns.amax(1)
        nearer = (peak > running).nonzero()[:, 0]
        nearest[nearer] = number * SAMPLES + fold.places(nearer)
        running = torch.maximum(running, peak)
        peaks.append(peak)
        sums.append(_tile_sums(fold, peak, running, sigmas, buffers))
    rise = _rise(torch.stack(peaks), running, sigmas)
    return (torch.stack(sums, 1) * rise).sum(1), running, nearest


@dataclass(frozen=True)
class _Fold:
    """A tile cut into `folds` equal parts side by side: column c holds entry c of every part.

    Maxima are taken over the parts, column by column, which is several times quicker than a search for places;
    what must be looked at closer is then looked for among the few entries of the columns that hold it.

    Attributes:
        tile: (rows, width).
        columns: (rows, width / folds), the largest entry of every column.
        offsets: (folds,), from the first entry of a column to each of its entries.
    """

    tile: Tensor
    columns: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, tile: Tensor, numbers: Tensor) -> "_Fold":
        """`numbers` are 0, 1, ..., FOLDS - 1."""
        folds = math.gcd(tile.shape[1], FOLDS)
        columns = tile.view(len(tile), folds, -1).amax(1)
        return cls(tile, columns, numbers[:folds] * columns.shape[1])

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        """All entries of some columns, (n, folds)."""
        return self.tile.take((rows * self.tile.shape[1] + columns)[:, None] + self.offsets)

    def places(self, rows: Tensor) -> Tensor:
        """Where the largest entry of these rows is, (n,)."""
        column = self.columns[rows].max(1).indices
        return column + self.offsets[self.entries(rows, column).max(1).indices]


def _tile_sums(fold: _Fold, peak: Tensor, running: Tensor, sigmas: Sequence[float], buffers: _Buffers) -> Tensor:
    """The sums over the samples of a tile relative to its own peaks, (k, rows); the tile is used up.

    Columns that lie `UNSEEN` below the largest affinity so far are left out: the terms of 10^9 such samples together
    are less than half the last place of the sum, which is at least 1. Where few are left, these alone are summed. Which
    way is taken is decided by the tile's own peaks, since float32 sums in another order differ: a tile must come out
    the same whatever samples went before it.
    """
    tile, sums = fold.tile, fold.tile.new_zeros(len(sigmas), len(fold.tile))
    ratios = _ratios(sigmas)
    reach = UNSEEN / peak.new_tensor(ratios)[:, None]
    near = fold.columns >= (peak - reach)[:, :, None]
    few = near.flatten(1).sum(1) <= FEW * fold.columns.numel()
    dense = [place for place, sparse in enumerate(few.tolist()) if not sparse]
    for place in sorted({*range(len(sigmas))} - {*dense}):
        rows, columns = (fold.columns >= (running - reach[place])[:, None]).nonzero(as_tuple=True)
        exponents = fold.entries(rows, columns).sub_(peak[rows, None]).mul_(ratios[place])
        sums[place].index_add_(0, rows, _sum_of_exponentials(exponents))
    if dense:
        tile -= peak[:, None]
    for place in dense:
        exponents = (
            tile.mul_(ratios[place])
            if place == dense[-1]
            else torch.mul(tile, ratios[place], out=buffers.tile(1, *tile.shape))
        )
        sums[place] = _sum_of_exponentials(exponents)
    return sums


def _sum_of_exponentials(exponents: Tensor) -> Tensor:
    """sum_j exp(e_j) of every row; the exponents are used up."""
    return exponents.clamp_(min=NEGLIGIBLE).exp_().sum(1)


def _half_squared_distances(
    rows: Tensor, samples: Tensor, nearest: Tensor, sigmas: Sequence[float], buffers: _Buffers
) -> Tensor:
    """Half the squared distance of every row to its nearest sample, (rows,) float64, without cancellation.

    Differences are taken in float64 where those of float32 would show in the exponent of the smallest bandwidth.
    """
    found = []
    for part, near in zip(torch.split(rows, NEAREST_ROWS), torch.split(nearest, NEAREST_ROWS), strict=True):
        difference = torch.index_select(samples, 0, near, out=buffers.differences[: len(part)]).sub_(part)
        found.append(torch.linalg.vector_norm(difference, dim=1, dtype=torch.float64))
    distances = torch.cat(found).square_().mul_(0.5)
    far = ~(distances <= FAR * min(sigmas) ** 2)
    for part in torch.split(far.nonzero()[:, 0], NEAREST_ROWS):
        difference = rows[part].double() - samples[nearest[part]].double()
        distances[part] = difference.square().sum(1).mul_(0.5)
    return distances


@dataclass(frozen=True)
class Bandwidth:
    """The choice of a bandwidth on validation images.

    Attributes:
        curve: mean validation log-likelihood of each bandwidth tried, nats.
        sigma: the bandwidth with the highest mean; the smaller one of a tie.
        at_edge: the choice is the smallest or the largest of those tried, so that the optimum may lie outside.
        fine_sigma: the best of a grid ten times finer around `sigma`: what the coarse grid costs.
        fine_log_likelihood: its mean validation log-likelihood, nats.
    """

    curve: tuple[float, ...]
    sigma: float
    at_edge: bool
    fine_sigma: float
    fine_log_likelihood: float


def choose_bandwidth(samples: Tensor, valid: Tensor, sigmas: tuple[float, ...]) -> Bandwidth:
    """Chooses the bandwidth by the mean log-likelihood of validation rows (never of test rows).

    Args:
        samples: (m, d). valid: (n, d), already cut to the protocol's first rows.
        sigmas: ascending.
    """
    curve = log_densities(samples, valid, sigmas).mean(1)
    best = int(curve.argmax())
    fine = _finer(sigmas, best)
    fine_curve = log_densities(samples, valid, fine).mean(1)
    peak = int(fine_curve.argmax())
    return Bandwidth(
        curve=tuple(curve.tolist()),
        sigma=sigmas[best],
        at_edge=len(sigmas) > 1 and best in (0, len(sigmas) - 1),
        fine_sigma=fine[peak],
        fine_log_likelihood=float(fine_curve[peak]),
    )


def _finer(sigmas: tuple[float, ...], best: int) -> tuple[float, ...]:
    """21 bandwidths, evenly spaced in the logarithm, from the neighbour below the best to the one above.

    At an edge of the grid the missing neighbour is as far away as the present one; a grid of one has
    neighbours a factor 1.3 away, the released grid's step.
    """
    step = sigmas[best] / sigmas[best - 1] if best > 0 else (sigmas[1] / sigmas[0] if len(sigmas) > 1 else 1.3)
    low = sigmas[best - 1] if best > 0 else sigmas[best] / step
    high = sigmas[best + 1] if best + 1 < len(sigmas) else sigmas[best] * step
    return tuple(low * (high / low) ** (k / 20) for k in range(21))


def standard_error(log_likelihoods: Tensor) -> float:
    """Standard error of the mean over test images, ddof 0, as the released `ll.std() / sqrt(n)`."""
    return float(log_likelihoods.double().std(correction=0)) / math.sqrt(len(log_likelihoods))
