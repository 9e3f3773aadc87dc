"""Finds the few samples that decide a row's Parzen sum, by exact products of 8-bit integers.

A sample whose half squared distance exceeds the nearest one's by more than g = `GAP` sigma^2 has a
term below exp(-GAP) of the nearest's: 10^9 of them change a log-density by less than 1e-8 nats.
Near the paper's bandwidths that leaves a few of 10,000 samples, and a coarse but *proven* look at
all distances finds them.

Rows and samples are rounded to a lattice of 255 levels a pixel (`Lattice`). Rounding moves a point
p by e(p) units of the lattice, which is measured, not assumed. The squared distance of two lattice
points q and r, D'^2 = |q|^2 + |r|^2 - 2 q . r, is a sum of integers, and exact. By the triangle
inequality the distance D of a row x and a sample mu lies within e(x) + e(mu) of D'. With E, the
largest e(mu) of some samples, and N = min D' + e(x) + E,

    min D <= N    and    D' <= sqrt(N^2 + 2 g) + e(x) + E    for every sample that counts.

What lies beyond is left out; what lies within is a candidate, whose distance is then computed from
differences of the pixels themselves (`replicate.likelihood.parzen`). Nothing of the lattice enters
a density but the choice of candidates. As the products are exact, that is the same on every
processor and for every number of threads.

Such products run at several times the float32 rate where the processor has instructions for them
(`is_quick`). Where bandwidths are wide, candidates are many, and float32 affinities of all samples
are quicker: beyond `MAX_SHARE` of a tile the screen gives up, and some rows, tried first on every
block of samples, tell where it would. What decides is the kind of processor, the rows, the samples
of the tile and the bandwidths: no time is measured, so that bits do not hang on how busy a machine
is. `python -m benchmarks parzen protocol` shows what the limits are good for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import Tensor

#: Exponents this far below that of the nearest sample do not count.
GAP = 40.0
#: A lattice has the levels -LEVELS to LEVELS: what a signed byte holds, symmetric about 0.
LEVELS = 127
#: Neighbouring entries of a tile whose maximum is looked at first.
RUN = 32
#: Share of a tile's entries that may be in question. More of them than 32 of 2048 samples
#: take longer than the float32 product of all of them.
MAX_SHARE = 1 / 64
#: Rows of an input, evenly spaced, that are tried first.
TRIED_ROWS = 32
#: Inputs with fewer rows or pixels are not screened: rounding would take longer than it saves.
MIN_ROWS, MIN_DIMENSION = 128, 128
#: Inputs with more pixels are not screened: 3/2 LEVELS^2 times as many must fit in 32 bits.
MAX_DIMENSION = 2**16
#: Squares of levels whose sum is exact in float32: EXACT_TERMS LEVELS^2 < 2^24.
EXACT_TERMS = 1024
#: Points that are rounded at a time: enough for two threads, few enough to stay in cache.
CHUNK = 256


@cache
def is_quick() -> bool:
    """Whether the processor has instructions for products of 8-bit integers, and torch's are exact.

    Where the environment takes these instructions away from the library (`ONEDNN_MAX_CPU_ISA`), it
    adds pairs of products in 16 bits, and large sums are wrong.
    """
    capabilities = torch.cpu.get_capabilities()
    has_instructions = capabilities.get("avx512_vnni") or capabilities.get("amx_int8")
    if not has_instructions:
        return False
    # The largest sums that so many pixels can have, of both signs: what cuts sums off cuts these.
    largest = torch.full((MIN_ROWS, MIN_DIMENSION), LEVELS, dtype=torch.int8)
    expected = MIN_DIMENSION * LEVELS**2
    product = _product(largest, largest)
    opposite = _product(largest, -largest)
    is_exact = bool((product == expected).all())
    is_exact_below_zero = bool((opposite == -expected).all())
    return is_exact and is_exact_below_zero


def _product(rows: Tensor, samples: Tensor, out: Tensor | None = None) -> Tensor:
    """All inner products of int8 rows (n, d) and samples (m, d), (n, m) int32."""
    if out is None:
        out = rows.new_empty(len(rows), len(samples), dtype=torch.int32)
    # torch has no public product of integers that uses the processor's instructions.
    return torch._int_mm(rows, samples.T, out=out)


@dataclass(frozen=True)
class LatticePoints:
    """Points rounded to a lattice, in its units.

    Attributes:
        levels: (n, d) int8.
        half_norms: (n,) float64, half the squared norms of `levels`: exact.
        errors: (n,) float64, at least the distances of the points to their lattice points.
    """

    levels: Tensor
    half_norms: Tensor
    errors: Tensor


@dataclass(frozen=True)
class Lattice:
    """The lattice of points p for which all of p * scale + shift are integers up to `LEVELS`.

    Attributes:
        scale: units of the lattice in a unit of the pixels, a float32 number.
        shift: a float32 number.
    """

    scale: float
    shift: float

    @classmethod
    def over(cls, rows: Tensor) -> "Lattice":
        """The lattice whose levels span the pixels of all finite rows (n, d)."""
        # Of a row with a not-a-number both are one, and an infinite one has no finite range.
        lowest = rows.amin(1)
        highest = rows.amax(1)
        ranges = highest - lowest
        is_finite = ranges.isfinite()
        if not bool(is_finite.any()):
            return cls(1.0, 0.0)
        low = float(lowest[is_finite].min())
        high = float(highest[is_finite].max())
        # Where all pixels are the same, any scale will do.
        width = high - low or 1.0
        middle = (low + high) / 2
        scale = 2 * LEVELS / width
        shift = -scale * middle
        # Rounded once, here, so that rounding them again in a kernel changes nothing.
        as_float32 = torch.tensor([scale, shift], dtype=torch.float32).tolist()
        return cls(*as_float32)

    def rounded(self, points: Tensor) -> LatticePoints:
        """Points (n, d) float32, rounded; those beyond the lattice go to its edge.

        p * scale + shift is computed in float32. In norm its rounding is at most
        2^-23 (|q| + e) + 2^-24 sqrt(d) |shift| for a lattice point q, and that of a sum of d
        squares, whose root is e, d 2^-24 e. At least twice as much is added to e; a 1 stands for
        what is too small for float32.
        """
        count, dimension = points.shape
        levels = torch.empty(count, dimension, dtype=torch.int8)
        square_norms = torch.zeros(count, dtype=torch.float64)
        errors = torch.empty(count, dtype=torch.float64)
        shift = torch.tensor(self.shift, dtype=torch.float32)
        places = torch.empty(CHUNK, dimension)
        nearest = torch.empty(CHUNK, dimension)
        for start in range(0, count, CHUNK):
            chosen = slice(start, start + CHUNK)
            chunk = points[chosen]
            place = places[: len(chunk)]
            level = nearest[: len(chunk)]
            # One pass over the pixels instead of two.
            torch.add(shift, chunk, alpha=self.scale, out=place)
            torch.round(place, out=level).clamp_(-LEVELS, LEVELS)
            levels[chosen] = level
            # What is left of a place is what rounding moved.
            place.sub_(level)
            errors[chosen] = torch.linalg.vector_norm(place, dim=1)
            for squares in torch.split(level.square_(), EXACT_TERMS, 1):
                square_norms[chosen] += squares.sum(1)
        norms = square_norms.sqrt()
        shift_of_pixel = abs(self.shift) + 1
        of_shift = math.sqrt(dimension) * shift_of_pixel
        of_sums = dimension * errors
        rounding = norms + errors + of_shift + of_sums
        errors += 2**-22 * rounding
        return LatticePoints(levels, square_norms.mul_(0.5), errors)


@dataclass(frozen=True)
class Candidates:
    """Pairs of a row and a sample that may count in the row's sum over some samples.

    Attributes:
        rows, samples: (pairs,) indices.
        bounds: (pairs,) float64: at most their distance, in units of the lattice.
        nearest: (n,) float64: at least every row's distance to the nearest of the samples.
        count: number of the samples.
    """

    rows: Tensor
    samples: Tensor
    bounds: Tensor
    nearest: Tensor
    count: int

    def after(self, first: int) -> "Candidates":
        """The same, with `first` samples before those that were looked at."""
        return replace(self, samples=self.samples + first)


@dataclass(frozen=True)
class Screen:
    """The screen of one input's rows.

    Attributes:
        lattice: of the rows; the samples are rounded to it as well.
        gap: of half squared distances, in squared units of the lattice (g above).
        tried: some of the rows.
    """

    lattice: Lattice
    gap: float
    tried: LatticePoints

    @classmethod
    def of(cls, x: Tensor, sigmas: Sequence[float]) -> "Screen | None":
        """The screen of rows (n, d); None where products of 8 bits do not pay."""
        count, dimension = x.shape
        is_float32 = x.dtype == torch.float32 and x.device.type == "cpu"
        is_large = count >= MIN_ROWS and MIN_DIMENSION <= dimension <= MAX_DIMENSION
        if not (is_float32 and is_large and is_quick()):
            return None
        lattice = Lattice.over(x)
        widest = max(sigmas)
        width = widest * lattice.scale
        gap = GAP * width**2
        # Spread over the input, which may be sorted by class.
        step = math.ceil(count / TRIED_ROWS)
        tried = lattice.rounded(x[::step])
        return cls(lattice, gap, tried)

    def rounded_if_few(self, samples: Tensor) -> LatticePoints | None:
        """Samples (m, d) on the lattice; None where too many of them count for the rows tried."""
        rounded = self.lattice.rounded(samples)
        candidates = self.candidates(self.tried, rounded)
        return None if candidates is None else rounded

    def candidates(
        self, rows: LatticePoints, samples: LatticePoints, out: Tensor | None = None
    ) -> Candidates | None:
        """The pairs that may count; None where they are too many, or a bound is not finite.

        Args:
            rows: n of them.
            samples: m of them.
            out: (n, m) int32, which is overwritten.
        """
        # One bound for all samples: a bound of each would cost a pass over the tile.
        slack = rows.errors + samples.errors.max()
        tile = _product(rows.levels, samples.levels, out)
        # Rounded down, to integers: D'^2 / 2 is |q|^2 / 2 - entry, or half a unit more.
        tile -= samples.half_norms.to(torch.int32)
        count, width = tile.shape
        # The last tile may be narrower than the others, and runs must divide its width.
        length = math.gcd(width, RUN)
        runs = tile.view(-1, length)
        maxima = runs.amax(1).view(count, -1)
        peak = maxima.amax(1)
        half_norms_above = rows.half_norms + 0.5
        nearest = _distances(half_norms_above, peak)
        nearest.add_(slack)
        # Nothing is known of a point that is not a number.
        if not bool(nearest.isfinite().all()):
            return None
        reach = self._reach(nearest).add_(slack)
        lowest = _lowest_entries(rows.half_norms, reach)
        # Runs first: their entries are copied, so that there must not be too many of them either.
        most = MAX_SHARE * tile.numel()
        lowest_of_row = lowest[:, None]
        in_question = maxima >= lowest_of_row
        run_rows, run_numbers = in_question.nonzero(as_tuple=True)
        if len(run_rows) > most:
            return None
        runs_of_row = width // length
        indices = run_rows * runs_of_row + run_numbers
        entries = runs.index_select(0, indices)
        lowest_of_run = lowest[run_rows, None]
        is_candidate = entries >= lowest_of_run
        run, offset = is_candidate.nonzero(as_tuple=True)
        if len(run) > most:
            return None
        row = run_rows[run]
        sample = run_numbers[run] * length + offset
        # Kept beside the pair: another block may show that a nearer sample makes it negligible.
        entry = entries[run, offset]
        half_norms = rows.half_norms[row]
        distances = _distances(half_norms, entry)
        slack_of_pair = slack[row]
        bounds = distances.sub_(slack_of_pair)
        return Candidates(row, sample, bounds, nearest, width)

    def joined(self, by_block: Sequence[Candidates]) -> Candidates:
        """Those candidates of several blocks that still count beside the others."""
        rows = torch.cat([candidates.rows for candidates in by_block])
        samples = torch.cat([candidates.samples for candidates in by_block])
        bounds = torch.cat([candidates.bounds for candidates in by_block])
        nearest_by_block = torch.stack([candidates.nearest for candidates in by_block])
        nearest = nearest_by_block.amin(0)
        reach = self._reach(nearest)
        reach_of_pair = reach[rows]
        counts = bounds <= reach_of_pair
        number = sum(candidates.count for candidates in by_block)
        return Candidates(rows[counts], samples[counts], bounds[counts], nearest, number)

    def _reach(self, nearest: Tensor) -> Tensor:
        """The distance up to which samples count, where the nearest is no further than this."""
        return nearest.square().add_(2 * self.gap).sqrt_()


def _lowest_entries(half_norms: Tensor, reach: Tensor) -> Tensor:
    """The entries of a tile from which on D' is within reach, (n,) int32."""
    lowest = half_norms - reach.square() / 2
    # No entry lies below -2^31.
    return lowest.floor_().clamp_(min=-(2.0**31)).to(torch.int32)


def _distances(half_norms: Tensor, entries: Tensor) -> Tensor:
    """D' of rows with these half squared norms, |q|^2 / 2, from entries of their tile."""
    half_squares = half_norms - entries
    # The half unit that rounding norms down takes away can leave less than 0.
    return half_squares.clamp_(min=0).mul_(2).sqrt_()
