"""The Parzen window: time beside one float32 matrix product of its size, memory, and error."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.images import DIMENSION, handwriting
from benchmarks.memory import peak_growths
from benchmarks.timing import interleaved
from replicate.likelihood.parzen import log_densities, log_density
from replicate.likelihood.screen import is_quick

COUNT = 10_000
#: Rows whose error is measured: enough to be screened as all are.
ROWS = 200
GRID = tuple(10 ** (-1 + k / 9) for k in range(10))


def ten_sigmas(count: int) -> Iterator[Callable[[], object]]:
    """The case whose memory is measured."""
    samples, x = handwriting(count, 0), handwriting(count, 1, held_out=True)
    yield lambda: log_densities(samples, x, GRID)


def direct(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The definition, summed in float64 over broadcast differences."""
    samples = samples.double()
    norm = samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))
    rows = []
    for row in x.double():
        squares = ((row - samples) ** 2).sum(1)
        rows.append(torch.logsumexp(-squares / (2 * sigma**2), 0))
    return torch.stack(rows) - math.log(len(samples)) - norm


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table; the limits in brackets are those of docs/performance.md."""
    samples = handwriting(COUNT, 0)
    x = handwriting(COUNT, 1, held_out=True)
    product = torch.empty(COUNT, COUNT)
    arrays = x.numpy(), samples.numpy().T
    (memory,) = peak_growths(ten_sigmas, COUNT)
    times = interleaved(
        {
            "torch": lambda: torch.mm(x, samples.T, out=product),
            "0.1": lambda: log_density(samples, x, 0.1),
            "0.2": lambda: log_density(samples, x, 0.2),
            "0.2, not screened": lambda: log_density(samples, x, 0.2, screened=False),
            "ten": lambda: log_densities(samples, x, GRID),
            "ten, not screened": lambda: log_densities(samples, x, GRID, screened=False),
        },
        repeats,
    )
    # Not in turn with the others: the threads of its BLAS wait for more work at full speed, and
    # slow what comes next.
    times |= interleaved({"NumPy": lambda: np.matmul(*arrays, out=product.numpy())}, repeats)
    flops = 2 * COUNT * COUNT * DIMENSION
    rates = {name: flops / times[name].median / 1e9 for name in ("torch", "NumPy")}
    product_seconds = min(times["torch"].median, times["NumPy"].median)
    rows = {
        "products of 8-bit integers": "exact and quick" if is_quick() else "not used",
        "float32 product 10,000 x 784 x 10,000": f"{times['torch']}, {rates['torch']:.0f} GFLOP/s",
        "the same by NumPy": f"{times['NumPy']}, {rates['NumPy']:.0f} GFLOP/s",
    }
    limits = {"0.1": 2.5, "0.2": 2.5, "0.2, not screened": 0.85}
    for name, limit in limits.items():
        rate = product_seconds / times[name].median
        rows[f"Parzen, sigma {name}"] = (
            f"{times[name]}, {rate:.2f} times the quicker product's rate (at least {limit})"
        )
    ten, ten_not_screened = times["ten"], times["ten, not screened"]
    ratio = ten.median / ten_not_screened.median
    rows |= {
        "Parzen, ten sigmas, not screened": str(ten_not_screened),
        "Parzen, ten sigmas": f"{ten}, {ratio:.2f} times that (at most 1.2)",
        "Parzen, peak extra memory": f"{memory:.0f} MiB (at most 1024)",
    }
    some_rows = x[:: COUNT // ROWS]
    for sigma in (0.1, 0.2):
        error = log_density(samples, some_rows, sigma) - direct(samples, some_rows, sigma)
        mean, largest = error.abs().mean(), error.abs().max()
        rows[f"error against float64, sigma {sigma}"] = (
            f"mean {mean:.1e}, max {largest:.1e} nats (at most 1e-5 and 1e-4)"
        )
    return rows
