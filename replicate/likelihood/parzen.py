"""The Gaussian Parzen-window estimate of a density (paper, section 5; released `parzen_ll.py`).

A window of width sigma is put on every sample mu_j, j = 1..m, and the log-density of a row x of
dimension d is, in nats,

    log p(x) = log (1/m) sum_j exp(-||x - mu_j||^2 / (2 sigma^2)) - d log(sigma sqrt(2 pi)).

Half the squared distance is |x|^2 / 2 - t_j, where the affinity t_j = x . mu_j - |mu_j|^2 / 2 comes
from one matrix product for all bandwidths; the nearest sample has the largest affinity, and with it

    log p(x) = log sum_j exp((t_j - max t) / sigma^2) - min_j ||x - mu_j||^2 / (2 sigma^2)
               - log m - d log(sigma sqrt(2 pi)).

The product runs in the samples' own precision (float32 in the pipeline, TF32 off), and so do the
sums within a tile, whose terms are at most 1; sums over tiles are in float64. To lose little to
cancellation, rows and samples are first centred on the mean row, and the distance to the nearest
sample, which dominates the sum, is computed again from differences. Where this is not enough, for
instance far from the centre next to several samples that are nearer to each other than the
bandwidth, a bound on the rounding error (`_rounding`) shows it, and the rows are summed again in
float64.

Where bandwidths are so narrow that few samples matter to a row, these are found by a product of
8-bit integers with a proven bound on its error (`replicate.likelihood.screen`), on processors that
multiply them quickly; their terms come from differences, and there is no float32 product at all.

A tile's affinities depend on nothing outside the tile, so samples may be cut into parts at
multiples of `SAMPLES`, summed anywhere, and added up (`KernelSums`). The tile also bounds the
memory, whatever the number of rows and samples. Tests compare with a direct float64 sum.
"""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce

import torch
from torch import Tensor

from replicate.likelihood.screen import Candidates, LatticePoints, Screen

#: Rows and samples of a tile: 2048 x 2048 affinities in float32 are 16 MiB, which fit in cache.
ROWS, SAMPLES = 2048, 2048
#: Blocks of `SAMPLES` samples that are centred at a time: 16,384 samples of 784 pixels are 51 MB.
GROUP = 8
#: Folds of a tile in the search for its largest entries.
FOLDS = 32
#: Rows, or pairs of a row and a sample, whose pixels are computed with at a time.
CHUNK = 128
#: Exponents are clamped to this. Next to a term of 1, 2048 terms of exp(-80) are less than 1e-31,
#: far below what float64 resolves, while exponentials that underflow are many times slower.
MIN_EXPONENT = -80.0
#: Terms with exponents this far below a row's largest are too small to change its sum.
NEGLIGIBLE_GAP = 60.0
#: Share of a tile's columns up to which only the columns with larger terms are summed.
SPARSE_SHARE = 0.1
#: Valid bandwidths. Beyond them 1 / sigma^2 times an affinity of pixels overflows float32.
SMALLEST, LARGEST = 1e-10, 1e10
#: Nats by which rounding may change a log-density, as bounded by `_rounding`.
MAX_ERROR = 8e-4
#: Rounding of exponents, in nats, above which the nearest sample may not be recognised.
MAX_ROUNDING = 5.0
#: Exponents above this are computed from float64 differences: in float32 their error reaches 1e-3.
FAR = 8192.0
#: Rounding of a float32 product, in nats, up to which a float64 product is accurate enough.
EXACT_PRODUCT = 1e5
#: Rows that are summed in float64 at a time: 16 MiB of distances to the samples of a group.
EXACT_ROWS = 128

Sigmas = Tensor | Sequence[float]


@dataclass(frozen=True)
class KernelSums:
    """The sums over some samples, for n rows and k bandwidths; sums over disjoint samples add up.

    Attributes:
        relative: (k, n) float64: sum_j exp((t_j - max t) / sigma^2), from 1 to the number of
            samples.
        peak: (n,) float64: the largest affinity, that of the nearest sample, in units of the last
            bandwidth's square.
        distance: (n,) float64: half the squared distance to the nearest sample, from differences.
        count: number of samples.
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
        """The sums over both sets of samples; of two equally near samples that of `self` counts."""
        if self.sigmas != other.sigmas or self.relative.shape != other.relative.shape:
            raise ValueError("sums of other rows or bandwidths cannot be added")
        by_affinity = self._added_by_affinity(other)
        by_distance = self._added_by_distance(other)
        differences = by_affinity.log_densities() - by_distance.log_densities()
        # Affinities are rounded, distances are not.
        errors = differences.abs()
        # Not-a-number compares false, and then distances decide.
        is_accurate = (errors <= MAX_ERROR).all(0)
        if bool(is_accurate.all()):
            return by_affinity
        return replace(
            by_affinity,
            relative=by_affinity.relative.where(is_accurate, by_distance.relative),
            distance=by_affinity.distance.where(is_accurate, by_distance.distance),
        )

    def _added_by_affinity(self, other: "KernelSums") -> "KernelSums":
        """The sums over both, each weighted by its peak relative to the larger one."""
        peak = torch.maximum(self.peak, other.peak)
        own_weight = _relative_weight(self.peak, peak, self.sigmas)
        other_weight = _relative_weight(other.peak, peak, self.sigmas)
        has_nearest = self.peak == peak
        return replace(
            self,
            relative=self.relative * own_weight + other.relative * other_weight,
            peak=peak,
            distance=self.distance.where(has_nearest, other.distance),
            count=self.count + other.count,
        )

    def _added_by_distance(self, other: "KernelSums") -> "KernelSums":
        """The sums over both, each weighted by its nearest distance relative to the smaller one."""
        distance = torch.minimum(self.distance, other.distance)
        sigma = self.relative.new_tensor(self.sigmas)[:, None]
        squared_sigma = sigma.square()
        own_weight = torch.exp((distance - self.distance) / squared_sigma)
        other_weight = torch.exp((distance - other.distance) / squared_sigma)
        return replace(
            self,
            relative=self.relative * own_weight + other.relative * other_weight,
            peak=torch.maximum(self.peak, other.peak),
            distance=distance,
            count=self.count + other.count,
        )

    def log_densities(self) -> Tensor:
        """Log-density of every row for every bandwidth, (k, n) float64 in nats."""
        sigma = self.relative.new_tensor(self.sigmas)[:, None]
        log_volume = self.dimension * torch.log(sigma * math.sqrt(2 * math.pi))
        log_norm = math.log(self.count) + log_volume
        nearest_exponent = self.distance / sigma.square()
        # `relative` is at least 1, the nearest sample's own term, so no logarithm is of 0 however
        # far x is.
        return self.relative.log() - nearest_exponent - log_norm


def log_densities(samples: Tensor, x: Tensor, sigmas: Sigmas, screened: bool = True) -> Tensor:
    """Log-density of every row of `x` for every bandwidth.

    Args:
        samples: (m, d) float32 or float64, the centres of the windows.
        x: (n, d) of the same type and device.
        sigmas: k bandwidths, standard deviations in pixel units.
        screened: whether the samples that matter may be found by 8-bit integers, where that is
            quicker; False is for comparisons.

    Returns:
        (k, n) float64 in nats.

    Raises:
        ValueError: no samples, shapes or types that do not fit, or a bandwidth below `SMALLEST` or
            above `LARGEST`.
    """
    sums = kernel_sums(samples, x, sigmas, screened)
    return sums.log_densities()


def log_density(samples: Tensor, x: Tensor, sigma: float, screened: bool = True) -> Tensor:
    """Log-density of every row of `x`, (n,) float64 in nats; see `log_densities`."""
    of_one_bandwidth = log_densities(samples, x, [sigma], screened)
    return of_one_bandwidth[0]


def kernel_sums(samples: Tensor, x: Tensor, sigmas: Sigmas, screened: bool = True) -> KernelSums:
    """The sums over these samples; they may be a part, cut at multiples of `SAMPLES`.

    Arguments and errors are those of `log_densities`.
    """
    _check_tensors(samples, x)
    bandwidths = _checked_bandwidths(sigmas)
    # The mean of the rows, which all parts of the samples share.
    # A row that is not finite would otherwise spoil the centre, and with it all other rows.
    centre = x.mean(0).nan_to_num(0, 0, 0)
    screen = Screen.of(x, bandwidths) if screened else None
    buffers = _Buffers(x)
    groups = torch.split(samples, GROUP * SAMPLES)
    # From left to right, as parts are added elsewhere: the rounding of a sum depends on the order.
    sums = (_group_sums(group, x, centre, screen, bandwidths, buffers) for group in groups)
    return reduce(operator.add, sums)


def _check_tensors(samples: Tensor, x: Tensor) -> None:
    are_matrices = samples.ndim == 2 and x.ndim == 2
    if not are_matrices or samples.shape[1] != x.shape[1] or not len(samples):
        raise ValueError(
            f"samples (m, d) and rows (n, d) are needed, not {tuple(samples.shape)} and "
            f"{tuple(x.shape)}"
        )
    is_float = samples.dtype in (torch.float32, torch.float64)
    if samples.dtype != x.dtype or not is_float:
        raise ValueError(
            f"samples and rows must both be float32 or float64, not {samples.dtype} and {x.dtype}"
        )


def _checked_bandwidths(sigmas: Sigmas) -> tuple[float, ...]:
    bandwidths = tuple(float(sigma) for sigma in sigmas)
    are_in_range = all(SMALLEST <= sigma <= LARGEST for sigma in bandwidths)
    if not bandwidths or not are_in_range:
        raise ValueError(
            f"bandwidths must be from {SMALLEST:g} to {LARGEST:g}, not {list(bandwidths)}"
        )
    return bandwidths


def _ratios(sigmas: Sequence[float]) -> list[float]:
    """1 / sigma^2 of every bandwidth in units of the last one's."""
    last = sigmas[-1]
    return [(last / sigma) ** 2 for sigma in sigmas]


def _relative_weight(previous_peak: Tensor, peak: Tensor, sigmas: Sequence[float]) -> Tensor:
    """exp((previous_peak - peak) / sigma^2), which makes sums relative to `peak`.

    Args:
        previous_peak, peak: affinities of one shape, in units of the last bandwidth's square.
        sigmas: k bandwidths.

    Returns:
        (k, *shape) float64.
    """
    # float64: the fall may be thousands of nats, of which float32 keeps no thousandth.
    ratios = torch.tensor(_ratios(sigmas), dtype=torch.float64, device=peak.device)
    # (k, 1, ..., 1), beside peaks of any shape.
    ones = [1] * previous_peak.ndim
    ratios = ratios.view(-1, *ones)
    fall = previous_peak.double() - peak.double()
    exponents = torch.multiply(fall, ratios)
    return torch.exp(exponents)


class _Buffers:
    """Memory that every step overwrites; allocating it costs more than filling it.

    Attributes:
        affinities, exponents: of a tile, flat.
        integers: of a tile, flat int32; they share the memory of the exponents.
        rows: centred rows with a column of ones, (ROWS, d + 1).
        row_pixels, sample_pixels: of pairs of a row and a sample, (CHUNK, d).
        fold_numbers: 0, 1, ..., FOLDS - 1.
    """

    def __init__(self, like: Tensor) -> None:
        dimension = like.shape[1]
        tile_size = ROWS * SAMPLES
        self.affinities = like.new_empty(tile_size)
        self.exponents = like.new_empty(tile_size)
        self.integers = self.exponents.view(torch.int32)
        self.rows = like.new_empty(ROWS, dimension + 1)
        self.row_pixels = like.new_empty(CHUNK, dimension)
        self.sample_pixels = like.new_empty(CHUNK, dimension)
        self.fold_numbers = torch.arange(FOLDS, device=like.device)


def _tile_of(buffer: Tensor, rows: int, columns: int) -> Tensor:
    """The beginning of a flat buffer as a matrix."""
    beginning = buffer[: rows * columns]
    return beginning.view(rows, columns)


@dataclass(frozen=True)
class _Block:
    """Up to `SAMPLES` samples of a group, in the form that each way of summing them takes.

    Attributes:
        first: index of the first of them in the group.
        samples: (m, d).
        centre: the mean row, (d,).
        on_lattice: the samples, where few of them are expected to matter to a row.
    """

    first: int
    samples: Tensor
    centre: Tensor
    on_lattice: LatticePoints | None

    @cached_property
    def extended(self) -> Tensor:
        """(m, d + 1), made when it is first needed: where all is screened it never is."""
        return _extended_samples(self.samples, self.centre)


def _blocks(samples: Tensor, centre: Tensor, screen: Screen | None) -> list[_Block]:
    """The blocks of a group."""
    blocks = []
    for number, block in enumerate(torch.split(samples, SAMPLES)):
        on_lattice = screen.rounded_if_few(block) if screen else None
        blocks.append(_Block(number * SAMPLES, block, centre, on_lattice))
    return blocks


def _group_sums(
    samples: Tensor,
    x: Tensor,
    centre: Tensor,
    screen: Screen | None,
    sigmas: tuple[float, ...],
    buffers: _Buffers,
) -> KernelSums:
    """The sums over the samples of a group."""
    blocks = _blocks(samples, centre, screen)
    count, dimension = x.shape
    relative = torch.empty(len(sigmas), count, dtype=torch.float64, device=x.device)
    rounding = torch.zeros_like(relative)
    peak = torch.empty(count, dtype=torch.float64, device=x.device)
    distance = torch.empty_like(peak)
    # Affinities come in units of the last bandwidth's square.
    scale = 1 / sigmas[-1] ** 2
    for start in range(0, count, ROWS):
        chosen = slice(start, start + ROWS)
        rows = _Rows(x[chosen], centre, scale, buffers)
        candidates, others = _screened(rows.pixels, blocks, screen, buffers)
        # Sums over disjoint samples add up, whichever way they were found.
        parts = []
        if candidates:
            parts.append(_sums_of_candidates(rows, samples, candidates, sigmas, buffers))
        if others:
            parts.append(_sums_by_product(rows, samples, others, sigmas, buffers))
        sums = reduce(operator.add, parts)
        relative[:, chosen] = sums.relative
        peak[chosen] = sums.peak
        distance[chosen] = sums.distance
        # Distances are not rounded, affinities are.
        if others:
            rounding[:, chosen] = _rounding(rows.extended, sums.distance, sigmas)
    # In rows where rounding would show, the sums are computed again.
    sums = KernelSums(relative, peak, distance, len(samples), sigmas, dimension)
    _correct_rounded_rows(sums, x, samples, centre, rounding)
    return sums


def _rounding(rows: Tensor, distance: Tensor, sigmas: Sequence[float]) -> Tensor:
    """A bound on the rounding of the exponents of near samples; not finite where products overflow.

    An affinity is rounded in proportion to the squared distance of row and sample from the centre.
    The nearest sample is no further from the centre than the row's norm plus their distance. A
    product adds one pixel after the other, so its rounding grows with the square root of their
    number (measured: at most half of this).

    Args:
        rows: extended rows, (n, d + 1).
        distance: (n,) half the squared distance to the nearest sample.
        sigmas: k bandwidths.

    Returns:
        (k, n) float64.
    """
    centred = rows[:, :-1]
    scaled_norm = torch.linalg.vector_norm(centred, dim=1, dtype=torch.float64)
    norm = scaled_norm.mul_(sigmas[-1] ** 2)
    nearest_distance = distance.mul(2).sqrt_()
    reach = norm.add_(nearest_distance)
    growth = max(1.0, math.sqrt(rows.shape[1]) / 16)
    precision = torch.finfo(rows.dtype).eps * growth
    affinity_rounding = reach.square_().mul_(precision)
    sigma = affinity_rounding.new_tensor(sigmas)[:, None]
    exponent_rounding: Tensor = affinity_rounding / sigma.square()
    return exponent_rounding


def _correct_rounded_rows(
    sums: KernelSums, x: Tensor, samples: Tensor, centre: Tensor, rounding: Tensor
) -> None:
    """Sums those rows again, in float64, whose log-density rounding may change."""
    # The share of all samples but the nearest in the density.
    # The nearest sample's own term is 1 and its distance exact: only the other terms are rounded.
    share_of_others = 1 - 1 / sums.relative
    # Each of them is off by a factor of exp(rounding) at most.
    error = torch.expm1(rounding) * share_of_others
    is_accurate = (error <= MAX_ERROR) & (rounding <= MAX_ROUNDING)
    if bool(is_accurate.all()):
        return
    is_rounded = (~is_accurate).any(0)
    rounded_rows = is_rounded.nonzero()[:, 0]
    blocks = torch.split(samples, SAMPLES)
    for rows in torch.split(rounded_rows, EXACT_ROWS):
        # Where a float64 product is not accurate enough either, differences are.
        is_small = bool((rounding[:, rows] <= EXACT_PRODUCT).all())
        # For float64 rows the product is what was found inaccurate already.
        use_product = x.dtype == torch.float32 and is_small
        x_rows = x[rows]
        distances_of_blocks = [
            _exact_distances(x_rows, block, centre, use_product) for block in blocks
        ]
        distances = torch.cat(distances_of_blocks, 1)
        nearest = distances.amin(1)
        excess = distances.sub_(nearest[:, None])
        sums.distance[rows] = nearest
        for k, sigma in enumerate(sums.sigmas):
            terms = torch.exp(excess / -(sigma**2))
            sums.relative[k, rows] = terms.sum(1)


def _exact_distances(rows: Tensor, samples: Tensor, centre: Tensor, use_product: bool) -> Tensor:
    """Half the squared distances, (n, m) float64, of rows (n, d) to samples (m, d).

    By a matrix product about the centre, or else from differences.
    """
    x = rows.double()
    mu = samples.double()
    # torch's default takes a product from 26 rows on, with the cancellation that is to be avoided.
    mode = "donot_use_mm_for_euclid_dist"
    if use_product:
        mode = "use_mm_for_euclid_dist"
        x = x - centre.double()
        mu = mu - centre.double()
    distances = torch.cdist(x, mu, compute_mode=mode)
    return distances.square_().mul_(0.5)


def _extended_samples(samples: Tensor, centre: Tensor) -> Tensor:
    """(mu - c, -|mu - c|^2 / 2), (m, d + 1), whose product with (x - c, 1) is the affinity."""
    count, dimension = samples.shape
    extended = samples.new_empty(count, dimension + 1)
    torch.sub(samples, centre, out=extended[:, :dimension])
    for chunk in torch.split(extended, CHUNK):
        centred = chunk[:, :dimension]
        # Summed in float64: a rounded norm would shift every exponent of its sample.
        norms = torch.linalg.vector_norm(centred, dim=1, dtype=torch.float64)
        chunk[:, dimension] = norms.square_().mul_(-0.5)
    return extended


@dataclass(frozen=True)
class _Rows:
    """The rows of a tile.

    Attributes:
        pixels: (n, d).
        centre: the mean row of the input, (d,).
        scale: 1 / sigma^2 of the last bandwidth, in units of which affinities come.
        buffers: memory.
    """

    pixels: Tensor
    centre: Tensor
    scale: float
    buffers: _Buffers

    @cached_property
    def extended(self) -> Tensor:
        """(x - c, 1) times the scale, (n, d + 1), until the next tile's are made."""
        extended = self.buffers.rows[: len(self.pixels)]
        torch.sub(self.pixels, self.centre, out=extended[:, :-1])
        extended[:, -1] = 1
        return extended.mul_(self.scale)

    def affinities(self, distances: Tensor) -> Tensor:
        """Those of samples at half squared distances, one for each row: (n,) float64."""
        norms = []
        for chunk in torch.split(self.pixels, CHUNK):
            centred = self.buffers.row_pixels[: len(chunk)]
            torch.sub(chunk, self.centre, out=centred)
            norm = torch.linalg.vector_norm(centred, dim=1, dtype=torch.float64)
            norms.append(norm)
        half_squares = torch.cat(norms).square_().mul_(0.5)
        return half_squares.sub_(distances).mul_(self.scale)


def _screened(
    x: Tensor, blocks: Sequence[_Block], screen: Screen | None, buffers: _Buffers
) -> tuple[Candidates | None, list[_Block]]:
    """The candidates of rows (n, d) among a group's samples, and the blocks that have too many."""
    by_block: list[Candidates] = []
    others = []
    rows = None
    for block in blocks:
        candidates = None
        if screen and block.on_lattice:
            # Once for all blocks, and not at all where none is screened.
            rows = rows or screen.lattice.rounded(x)
            tile = _tile_of(buffers.integers, len(x), len(block.samples))
            candidates = screen.candidates(rows, block.on_lattice, tile)
        if candidates:
            by_block.append(candidates.after(block.first))
        else:
            others.append(block)
    if screen and by_block:
        return screen.joined(by_block), others
    return None, others


def _sums_of_candidates(
    rows: _Rows,
    samples: Tensor,
    candidates: Candidates,
    sigmas: tuple[float, ...],
    buffers: _Buffers,
) -> KernelSums:
    """The sums over a group's samples in which the candidates were found, from differences."""
    count, dimension = rows.pixels.shape
    row, sample = candidates.rows, candidates.samples
    distances = _half_squared_distances(rows.pixels, samples, row, sample, sigmas, buffers)
    nearest = distances.new_full((count,), math.inf)
    nearest.scatter_reduce_(0, row, distances, "amin")
    # Relative to the nearest sample, whose own term is 1.
    excess = distances.sub_(nearest[row])
    relative = distances.new_zeros(len(sigmas), count)
    for k, sigma in enumerate(sigmas):
        terms = torch.exp(excess / -(sigma**2))
        relative[k].index_add_(0, row, terms)
    # As a product would have it, so that other parts' sums add up to these by affinity too.
    peak = rows.affinities(nearest)
    return KernelSums(relative, peak, nearest, candidates.count, sigmas, dimension)


def _sums_by_product(
    rows: _Rows,
    samples: Tensor,
    blocks: Sequence[_Block],
    sigmas: tuple[float, ...],
    buffers: _Buffers,
) -> KernelSums:
    """The sums over all samples of some blocks of a group, from affinities."""
    extended = rows.extended
    count, dimension = rows.pixels.shape
    running_peak = extended.new_full((count,), -math.inf)
    nearest = torch.zeros(count, dtype=torch.int64, device=extended.device)
    peaks = []
    sums = []
    for block in blocks:
        tile = _tile_of(buffers.affinities, count, len(block.samples))
        torch.mm(extended, block.extended.T, out=tile)
        folded = _FoldedTile.of(tile, buffers.fold_numbers)
        peak = folded.column_maxima.amax(1)
        # Of equally near samples the first one counts.
        is_nearer = peak > running_peak
        nearer_rows = is_nearer.nonzero()[:, 0]
        nearest[nearer_rows] = block.first + folded.argmax(nearer_rows)
        running_peak = torch.maximum(running_peak, peak)
        peaks.append(peak)
        tile_sums = _tile_sums(folded, peak, running_peak, sigmas, buffers)
        sums.append(tile_sums)
    # Every tile's sums are relative to its own peak; the weights make them relative to the last.
    weights = _relative_weight(torch.stack(peaks), running_peak, sigmas)
    weighted = torch.stack(sums, 1) * weights
    relative = weighted.sum(1)
    row = torch.arange(count, device=extended.device)
    distance = _half_squared_distances(rows.pixels, samples, row, nearest, sigmas, buffers)
    number = sum(len(block.samples) for block in blocks)
    return KernelSums(relative, running_peak.double(), distance, number, sigmas, dimension)


@dataclass(frozen=True)
class _FoldedTile:
    """A tile folded into equal parts side by side: column c holds entry c of every part.

    Maxima over the parts, column by column, are several times faster than a search over the whole
    tile; the search is then only among the entries of a few columns.

    Attributes:
        tile: (rows, width).
        column_maxima: (rows, width / folds), the largest entry of every column.
        offsets: (folds,), from the first entry of a column to each of its entries.
    """

    tile: Tensor
    column_maxima: Tensor
    offsets: Tensor

    @classmethod
    def of(cls, tile: Tensor, fold_numbers: Tensor) -> "_FoldedTile":
        """The tile in as many folds as its width allows; `fold_numbers` are 0 to FOLDS - 1."""
        rows, width = tile.shape
        # The last tile of a group may be narrower than the others, and folds must divide its width.
        folds = math.gcd(width, FOLDS)
        by_fold = tile.view(rows, folds, -1)
        column_maxima = by_fold.amax(1)
        columns = column_maxima.shape[1]
        offsets = fold_numbers[:folds] * columns
        return cls(tile, column_maxima, offsets)

    def entries(self, rows: Tensor, columns: Tensor) -> Tensor:
        """All entries of the given columns, (n, folds), each in the row beside it, (n,)."""
        width = self.tile.shape[1]
        first = rows * width + columns
        indices = first[:, None] + self.offsets
        return self.tile.take(indices)

    def argmax(self, rows: Tensor) -> Tensor:
        """Index of the largest entry of each of these rows, (n,)."""
        maxima = self.column_maxima[rows]
        column = maxima.max(1).indices
        entries = self.entries(rows, column)
        fold = entries.max(1).indices
        return column + self.offsets[fold]


def _tile_sums(
    folded: _FoldedTile,
    peak: Tensor,
    running_peak: Tensor,
    sigmas: Sequence[float],
    buffers: _Buffers,
) -> Tensor:
    """The sums over a tile's samples relative to its own peaks, (k, rows); overwrites the tile.

    Columns that lie `NEGLIGIBLE_GAP` below the largest affinity so far are left out: the terms of
    10^9 such samples together are less than half the last place of the sum, which is at least 1.
    Where few columns are left, only these are summed (`sparse`). The tile's own peaks decide which
    way is taken, so that the order of its float32 sum does not hang on the samples before it. What
    is left out does, and is below the last place of the total.
    """
    tile = folded.tile
    maxima = folded.column_maxima
    sums = tile.new_zeros(len(sigmas), len(tile))
    ratios = _ratios(sigmas)
    gap = NEGLIGIBLE_GAP / peak.new_tensor(ratios)[:, None]
    thresholds = peak - gap
    contributes = maxima >= thresholds[:, :, None]
    contributing = contributes.flatten(1).sum(1)
    is_sparse = (contributing <= SPARSE_SHARE * maxima.numel()).tolist()
    sparse = [k for k in range(len(sigmas)) if is_sparse[k]]
    dense = [k for k in range(len(sigmas)) if not is_sparse[k]]

    for k in sparse:
        threshold = running_peak - gap[k]
        contributes = maxima >= threshold[:, None]
        rows, columns = contributes.nonzero(as_tuple=True)
        excess = folded.entries(rows, columns).sub_(peak[rows, None])
        exponents = excess.mul_(ratios[k])
        sums[k].index_add_(0, rows, _sum_of_exponentials(exponents))

    if dense:
        tile -= peak[:, None]
    for k in dense:
        # The last one may use up the tile; the others need it once more.
        if k == dense[-1]:
            exponents = tile.mul_(ratios[k])
        else:
            exponents = _tile_of(buffers.exponents, *tile.shape)
            torch.mul(tile, ratios[k], out=exponents)
        sums[k] = _sum_of_exponentials(exponents)
    return sums


def _sum_of_exponentials(exponents: Tensor) -> Tensor:
    """sum_j exp(e_j) of every row; overwrites the exponents."""
    return exponents.clamp_(min=MIN_EXPONENT).exp_().sum(1)


def _half_squared_distances(
    x: Tensor,
    samples: Tensor,
    row: Tensor,
    sample: Tensor,
    sigmas: Sequence[float],
    buffers: _Buffers,
) -> Tensor:
    """Half the squared distances of pairs of a row and a sample, from differences.

    Differences are in float64 where float32's rounding would matter to the smallest bandwidth.

    Args:
        x: (n, d).
        samples: (m, d).
        row, sample: (pairs,) indices.
        sigmas: the bandwidths.
        buffers: memory.

    Returns:
        (pairs,) float64.
    """
    distances = torch.empty(len(row), dtype=torch.float64, device=x.device)
    for start in range(0, len(row), CHUNK):
        chosen = slice(start, start + CHUNK)
        count = len(row[chosen])
        pixels = buffers.row_pixels[:count]
        difference = buffers.sample_pixels[:count]
        torch.index_select(x, 0, row[chosen], out=pixels)
        torch.index_select(samples, 0, sample[chosen], out=difference)
        difference.sub_(pixels)
        distances[chosen] = torch.linalg.vector_norm(difference, dim=1, dtype=torch.float64)
    distances.square_().mul_(0.5)
    is_near = distances <= FAR * min(sigmas) ** 2
    far_pairs = (~is_near).nonzero()[:, 0]
    for chunk in torch.split(far_pairs, CHUNK):
        # Before subtracting: a float32 difference is rounded already.
        exact_rows = x[row[chunk]].double()
        exact_difference = exact_rows - samples[sample[chunk]].double()
        distances[chunk] = exact_difference.square().sum(1).mul_(0.5)
    return distances


@dataclass(frozen=True)
class Bandwidth:
    """The choice of a bandwidth on validation images.

    Attributes:
        curve: mean validation log-likelihood of each bandwidth tried, nats.
        sigma: the bandwidth with the highest mean; the smaller one of a tie.
        at_edge: whether it is the smallest or the largest of those tried, so that the optimum may
            lie outside.
        fine_sigma: the best of a grid ten times finer around `sigma`, to show the cost of the
            coarse grid.
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
    # `argmax` takes the first of a tie, and sigmas ascend: the smaller one.
    curve = log_densities(samples, valid, sigmas).mean(1)
    best = int(curve.argmax())
    # For the report alone: the released grid steps by 1.29, and its best one decides.
    fine_sigmas = _fine_grid(sigmas, best)
    fine_curve = log_densities(samples, valid, fine_sigmas).mean(1)
    fine_best = int(fine_curve.argmax())
    return Bandwidth(
        curve=tuple(curve.tolist()),
        sigma=sigmas[best],
        at_edge=is_at_edge(best, len(sigmas)),
        fine_sigma=fine_sigmas[fine_best],
        fine_log_likelihood=float(fine_curve[fine_best]),
    )


def is_at_edge(best: int, count: int) -> bool:
    """Whether number `best` of `count` bandwidths is the first or the last."""
    # A grid of one has no inside that the best one could lie in.
    if count == 1:
        return False
    return best in (0, count - 1)


def _fine_grid(sigmas: tuple[float, ...], best: int) -> tuple[float, ...]:
    """21 bandwidths, evenly spaced in the logarithm, between the neighbours of the best one.

    At an edge of the grid the missing neighbour is as far away as the present one; in a grid of one
    bandwidth both are a factor of 1.3 away, the step of the released grid.
    """
    if best > 0:
        step = sigmas[best] / sigmas[best - 1]
    elif len(sigmas) > 1:
        step = sigmas[1] / sigmas[0]
    else:
        step = 1.3
    low = sigmas[best] / step
    if best > 0:
        low = sigmas[best - 1]
    high = sigmas[best] * step
    if best + 1 < len(sigmas):
        high = sigmas[best + 1]
    ratio = high / low
    return tuple(low * ratio ** (k / 20) for k in range(21))


def standard_error(log_likelihoods: Tensor) -> float:
    """Standard error of the mean over test images, ddof 0, as the released `ll.std() / sqrt(n)`."""
    count = len(log_likelihoods)
    # ddof 0 to be the released number; the spread over seeds (`verdicts`) has ddof 1.
    deviation = float(log_likelihoods.double().std(correction=0))
    return deviation / math.sqrt(count)
