"""The Parzen window: time against one float32 matrix product of the same size, memory, and error against float64."""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from benchmarks.images import DIMENSION, handwriting
from benchmarks.memory import peak_growths
from benchmarks.timing import interleaved
from replicate.likelihood.parzen import log_densities, log_density

COUNT = 10_000
GRID = tuple(10 ** (-1 + k / 9) for k in range(10))


def ten_sigmas(count: int) -> Iterator[Callable[[], object]]:
    """The case whose memory is measured."""
    samples, x = handwriting(count, 0), handwriting(count, 1, held_out=True)
    yield lambda: log_densities(samples, x, GRID)


def direct(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The definition, summed in float64 over broadcast differences."""
    samples, norm = samples.double(), samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))
    rows = [torch.logsumexp(-((row - samples) ** 2).sum(1) / (2 * sigma**2), 0) for row in x.double()]
    return torch.stack(rows) - math.log(len(samples)) - norm


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table; the limits in brackets are those of docs/performance.md."""
    samples, x = handwriting(COUNT, 0), handwriting(COUNT, 1, held_out=True)
    product = torch.empty(COUNT, COUNT)
    arrays = x.numpy(), samples.numpy().T
    (memory,) = peak_growths(ten_sigmas, COUNT)
    times = interleaved(
        {
            "torch": lambda: torch.mm(x, samples.T, out=product),
            "one": lambda: log_density(samples, x, 0.2),
            "ten": lambda: log_densities(samples, x, GRID),
        },
        repeats,
    )
    # Not in turn with the others: the threads of its BLAS wait for more work at full speed, and slow what comes next.
    times |= interleaved({"NumPy": lambda: np.matmul(*arrays, out=product.numpy())}, repeats)
    flops = 2 * COUNT * COUNT * DIMENSION
    torchs, numpys, one, ten = (times[name].median for name in ("torch", "NumPy", "one", "ten"))
    product_time = min(torchs, numpys)
    rows = {
        "float32 product 10,000 x 784 x 10,000": f"{times['torch']}, {flops / torchs / 1e9:.0f} GFLOP/s",
        "the same by NumPy": f"{times['NumPy']}, {flops / numpys / 1e9:.0f} GFLOP/s",
        "Parzen, one sigma": f"{times['one']}, {product_time / one:.0%} of the quicker product's rate (at least 85 %)",
        "Parzen, ten sigmas": f"{times['ten']}, {ten / one:.2f} times one (at most 2)",
        "Parzen, peak extra memory": f"{memory:.0f} MiB (at most 1024)",
    }
    some = x[:: COUNT // 100]
    for sigma in (0.1, 0.2):
        error = log_density(samples, some, sigma) - direct(samples, some, sigma)
        rows[f"error against float64, sigma {sigma}"] = (
            f"mean {error.abs().mean():.1e}, max {error.abs().max():.1e} nats (at most 1e-3 and 1e-2)"
        )
    return rows
