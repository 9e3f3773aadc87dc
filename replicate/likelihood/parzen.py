"""The Gaussian Parzen-window estimate of a density, in nats (paper section 5; released `parzen_ll.py`).

A window of width sigma is put on every sample mu_j, j = 1..m, and the log-density of a row x of dimension d is

    log p(x) = log (1/m) sum_j exp(-||x - mu_j||^2 / (2 sigma^2)) - d log(sigma sqrt(2 pi)).

Distances come from one matrix product per tile, shared by all bandwidths. The product runs in the samples'
own precision (float32 in the pipeline, TF32 off), and so do the sums within a tile, whose terms are at most 1;
sums over tiles are carried in float64. To lose little to cancellation, all rows are first centred on the
samples' mean, and the distance to the nearest sample, which decides the sum, is taken anew from the differences.
Memory is bounded by the tile, whatever the number of rows and samples. The oracle in
tests/likelihood is a direct float64 sum.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

#: Rows and samples of a tile: 1024 x 2048 distances take 8 MiB in float32, small enough to stay in cache.
ROWS, SAMPLES = 1024, 2048
#: Exponents below this count as this. Beside a term of 1, 2048 terms of exp(-80) are less than 1e-30, far below
#: what float64 resolves, while exponentials that underflow are many times slower.
NEGLIGIBLE = -80.0


def log_densities(samples: Tensor, x: Tensor, sigmas: Tensor | list[float] | tuple[float, ...]) -> Tensor:
    """Log-density of every row of `x` for every bandwidth.

    Args:
        samples: (m, d) floating, the centres of the windows.
        x: (n, d) floating, same type and device.
        sigmas: k bandwidths, standard deviations in pixel units.

    Returns:
        (k, n) float64 in nats.

    Raises:
        ValueError: no samples, shapes or types that do not fit, or a bandwidth that is not positive and finite.
    """
    widths = _checked(samples, x, sigmas)
    dimension = samples.shape[1]
    centre = samples.mean(0)
    blocks = [block - centre for block in torch.split(samples, SAMPLES)]
    norms = [block.double().square().sum(1).to(block.dtype) for block in blocks]
    result = torch.empty(len(widths), len(x), dtype=torch.float64, device=x.device)
    buffers = _Buffers(x)
    precisions = torch.tensor([1 / (s * s) for s in widths], dtype=torch.float64, device=x.device)[:, None]
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS]
        sums, nearest = _kernel_sums(rows - centre, blocks, norms, widths, buffers)
        # The largest term, which decides the sum, is computed afresh, without cancellation.
        distance = torch.linalg.vector_norm(rows - samples[nearest], dim=1, dtype=torch.float64).square_().mul_(0.5)
        result[:, start : start + ROWS] = sums.log_() - distance * precisions
    log_norm = torch.tensor([dimension * math.log(s * math.sqrt(2 * math.pi)) for s in widths], dtype=torch.float64)
    return result - math.log(len(samples)) - log_norm.to(x.device)[:, None]


def log_density(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """Log-density of every row of `x`, (n,) float64 in nats; see `log_densities`."""
    return log_densities(samples, x, [sigma])[0]


def _checked(samples: Tensor, x: Tensor, sigmas: Tensor | list[float] | tuple[float, ...]) -> list[float]:
    if samples.ndim != 2 or x.ndim != 2 or samples.shape[1] != x.shape[1] or not len(samples):
        raise ValueError(f"samples (m, d) and rows (n, d) are needed, not {tuple(samples.shape)} and {tuple(x.shape)}")
    if samples.dtype != x.dtype or not samples.dtype.is_floating_point:
        raise ValueError(f"samples and rows must have one floating type, not {samples.dtype} and {x.dtype}")
    widths = [float(s) for s in sigmas]
    if not widths or not all(math.isfinite(s) and s > 0 for s in widths):
        raise ValueError(f"bandwidths must be positive and finite, not {widths}")
    return widths


class _Buffers:
    """Two tiles that every step reuses: allocating them anew costs more than filling them."""

    def __init__(self, like: Tensor) -> None:
        self._flat = [torch.empty(ROWS * SAMPLES, dtype=like.dtype, device=like.device) for _ in range(2)]

    def tile(self, which: int, rows: int, columns: int) -> Tensor:
        return self._flat[which][: rows * columns].view(rows, columns)


def _kernel_sums(
    rows: Tensor, blocks: list[Tensor], norms: list[Tensor], sigmas: list[float], buffers: _Buffers
) -> tuple[Tensor, Tensor]:
    """For centred rows the sum of all kernels relative to the largest one, (k, rows) float64, and the nearest sample.

    Streams over the blocks of samples with a running smallest distance per row. The nearest sample is the
    same for every bandwidth, so one subtraction keeps all the exponentials at or below 1.
    """
    half = rows.double().square().sum(1).mul_(0.5)
    smallest = torch.full((len(rows),), math.inf, dtype=torch.float64, device=rows.device)
    nearest = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
    sums = torch.zeros(len(sigmas), len(rows), dtype=torch.float64, device=rows.device)
    precisions = torch.tensor([1 / (s * s) for s in sigmas], dtype=torch.float64, device=rows.device)[:, None]
    for number, (block, norm) in enumerate(zip(blocks, norms, strict=True)):
        tile = buffers.tile(0, len(rows), len(block))
        torch.addmm(norm, rows, block.T, beta=-0.5, alpha=1.0, out=tile)  # x.mu - |mu|^2/2
        peak, place = tile.max(1)
        tile -= peak[:, None]
        distance = (half - peak.double()).clamp_(min=0)  # half the squared distance to the nearest of this block
        nearest = torch.where(distance < smallest, place + number * SAMPLES, nearest)
        before, smallest = smallest, torch.minimum(smallest, distance)
        sums *= torch.exp((smallest - before).mul(precisions))
        shift = torch.exp((smallest - distance).mul(precisions))
        scratch = buffers.tile(1, len(rows), len(block))
        for k, sigma in enumerate(sigmas):
            torch.mul(tile, 1 / (sigma * sigma), out=scratch).clamp_(min=NEGLIGIBLE)
            sums[k] += scratch.exp_().sum(1).double() * shift[k]
    return sums, nearest


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
