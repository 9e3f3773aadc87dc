"""The Parzen window: time against one float32 matrix product of the same size, memory, and error against float64."""

import math
import subprocess
import sys

import torch
from torch import Tensor

from benchmarks.timing import interleaved
from replicate.likelihood.parzen import log_densities, log_density

COUNT, DIMENSION = 10_000, 784
GRID = tuple(10 ** (-1 + k / 9) for k in range(10))


def _images(count: int, seed: int) -> Tensor:
    """Random pixels in [0, 1], half of them 0 as in handwriting; no data are needed."""
    drawn = torch.rand(count, DIMENSION, generator=torch.Generator().manual_seed(seed))
    return drawn.where(drawn > 0.5, torch.zeros(()))


def _peak_memory_mib() -> float:
    """Growth of the peak resident memory over a call of ten sigmas, in a fresh process; Linux only.

    A fresh one, because this process may hold freed memory that the call would use without any growth.
    """
    code = f"""
import pathlib, torch
from replicate.likelihood.parzen import log_densities
def status(name):
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))
torch.mm(torch.ones(64, 64), torch.ones(64, 64))
samples, x = torch.rand({COUNT}, {DIMENSION}), torch.rand({COUNT}, {DIMENSION})
before = status("VmRSS")
log_densities(samples, x, {GRID})
print((status("VmHWM") - before) / 1024)
"""
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def direct(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The definition, summed in float64 over broadcast differences."""
    samples, norm = samples.double(), samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))
    rows = [torch.logsumexp(-((row - samples) ** 2).sum(1) / (2 * sigma**2), 0) for row in x.double()]
    return torch.stack(rows) - math.log(len(samples)) - norm


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table; the limits in brackets are those of docs/performance.md."""
    samples, x = _images(COUNT, 0), _images(COUNT, 1)
    x[: COUNT // 2] = 0.8 * samples[: COUNT // 2] + 0.2 * x[: COUNT // 2]
    product = torch.empty(COUNT, COUNT)
    memory = _peak_memory_mib()
    times = interleaved(
        {
            "product": lambda: torch.mm(x, samples.T, out=product),
            "one": lambda: log_density(samples, x, 0.2),
            "ten": lambda: log_densities(samples, x, GRID),
        },
        repeats,
    )
    flops = 2 * COUNT * COUNT * DIMENSION
    product_time, one, ten = (times[name].median for name in ("product", "one", "ten"))
    rows = {
        "float32 product 10,000 x 784 x 10,000": f"{times['product']}, {flops / product_time / 1e9:.0f} GFLOP/s",
        "Parzen, one sigma": f"{times['one']}, {product_time / one:.0%} of the product's rate (at least 70 %)",
        "Parzen, ten sigmas": f"{times['ten']}, {ten / one:.2f} times one (at most 2.5)",
        "Parzen, peak extra memory": f"{memory:.0f} MiB (at most 1024)",
    }
    some = x[:: COUNT // 100]
    for sigma in (0.1, 0.2):
        error = log_density(samples, some, sigma) - direct(samples, some, sigma)
        rows[f"error against float64, sigma {sigma}"] = (
            f"mean {error.abs().mean():.1e}, max {error.abs().max():.1e} nats (at most 1e-3 and 1e-2)"
        )
    return rows
