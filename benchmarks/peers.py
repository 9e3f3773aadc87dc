"""The Parzen window beside public code, on the same images in the same run.

Each peer is timed at a size that it finishes in seconds, and this project at the same size; no time
is extrapolated.
"""

import importlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import KernelDensity
from torch import Tensor

from benchmarks.images import handwriting
from benchmarks.parzen import GRID, direct
from benchmarks.timing import Timing, interleaved
from replicate.likelihood.parzen import log_densities, log_density

SAMPLES, ROWS, FEW_ROWS = 10_000, 100, 20
SIGMA = 0.2
#: Rows of the released code's minibatches: 10 x 10,000 x 784 differences take 314 MB in float32.
BATCH = 10

Array = NDArray[np.float32]
Estimate = Callable[[Tensor, Tensor, float], Tensor]


def released_numpy(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """`parzen_ll.py` of goodfeli/adversarial in NumPy: log_mean_exp over broadcast differences."""
    centres = samples.numpy()
    norm = np.float32(centres.shape[1] * math.log(sigma * math.sqrt(2 * math.pi)))

    def log_densities_of(rows: Array) -> Array:
        scaled = (rows[:, None, :] - centres[None, :, :]) / np.float32(sigma)
        exponents = -0.5 * (scaled**2).sum(2)
        largest = exponents.max(1)
        sums = np.exp(exponents - largest[:, None])
        mean: Array = largest + np.log(sums.mean(1))
        return mean - norm

    batches = [log_densities_of(batch.numpy()) for batch in torch.split(x, BATCH)]
    return torch.from_numpy(np.concatenate(batches))


def released_torch(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The same in torch."""
    norm = samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))

    def log_densities_of(rows: Tensor) -> Tensor:
        scaled = (rows[:, None, :] - samples[None, :, :]) / sigma
        exponents = -0.5 * scaled.square().sum(2)
        largest = exponents.amax(1)
        mean = largest + (exponents - largest[:, None]).exp().mean(1).log()
        return mean - norm

    return torch.cat([log_densities_of(batch) for batch in torch.split(x, BATCH)])


def released_grid(estimate: Estimate, samples: Tensor, x: Tensor) -> Tensor:
    """The released choice of sigma: one full pass for each."""
    return torch.stack([estimate(samples, x, sigma) for sigma in GRID])


def kernel_density(samples: Tensor, x: Tensor, sigma: float, leaf_size: int) -> Tensor:
    """scikit-learn's estimate; a leaf that holds all samples makes its tree a plain sum."""
    model = KernelDensity(bandwidth=sigma, kernel="gaussian", leaf_size=leaf_size, atol=0, rtol=0)
    return torch.from_numpy(model.fit(samples.numpy()).score_samples(x.numpy()))


def lazy_tensors(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """PyKeOps, only where it is installed: the log-sum-exp of a symbolic matrix."""
    lazy = importlib.import_module("pykeops.torch").LazyTensor
    norm = samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))
    squares = ((lazy(x[:, None, :]) - lazy(samples[None, :, :])) ** 2).sum(-1)
    sums: Tensor = (-squares / (2 * sigma**2)).logsumexp(dim=1)
    return sums.flatten() - math.log(len(samples)) - norm


def estimates(samples: int) -> dict[str, Estimate]:
    """Every peer at one sigma: name -> log-densities of (samples, rows, sigma)."""
    peers: dict[str, Estimate] = {
        "released algorithm, NumPy": released_numpy,
        "released algorithm, torch": released_torch,
        "scikit-learn, exact (one leaf)": partial(kernel_density, leaf_size=samples),
        "scikit-learn, default (leaves of 40)": partial(kernel_density, leaf_size=40),
    }
    if find_spec("pykeops"):
        peers["PyKeOps"] = lazy_tensors
    return peers


@dataclass(frozen=True)
class Error:
    """Distance of log-densities from the float64 sum, in nats."""

    mean: float
    largest: float

    @classmethod
    def of(cls, estimate: Tensor, direct_sum: Tensor) -> "Error":
        """The error over all rows; not-a-number in one makes it not-a-number."""
        error = (estimate.double() - direct_sum).abs()
        return cls(float(error.mean()), float(error.max()))

    def __str__(self) -> str:
        return f"mean {self.mean:.1e}, max {self.largest:.1e} nats"


def _row(peer: Timing, ours: Timing) -> str:
    return f"{peer}, {peer.median / ours.median:.1f} times ours"


def _one_sigma(samples: Tensor, x: Tensor, repeats: int) -> dict[str, str]:
    peers = {"this project": log_density, **estimates(len(samples))}
    calls = {name: partial(peer, samples, x, SIGMA) for name, peer in peers.items()}
    timings = interleaved(calls, repeats)
    direct_sum = direct(samples, x, SIGMA)
    rows = {}
    for name, call in calls.items():
        text = str(timings[name])
        if name != "this project":
            text = _row(timings[name], timings["this project"])
        rows[name] = f"{text}; error {Error.of(call(), direct_sum)}"
    rows.setdefault("PyKeOps", "not installed")
    return rows


def _ten_sigmas(samples: Tensor, x: Tensor, repeats: int) -> dict[str, str]:
    ours = f"ten sigmas, {len(x)} rows: this project"
    contenders: dict[str, Callable[[], object]] = {ours: partial(log_densities, samples, x, GRID)}
    for name, estimate in (("NumPy", released_numpy), ("torch", released_torch)):
        released = f"ten sigmas, {len(x)} rows: released, {name}"
        contenders[released] = partial(released_grid, estimate, samples, x)
    timings = interleaved(contenders, repeats)
    rows = {name: _row(timing, timings[ours]) for name, timing in timings.items()}
    rows[ours] = str(timings[ours])
    return rows


def benchmark(
    repeats: int, samples: int = SAMPLES, rows: int = ROWS, few_rows: int = FEW_ROWS
) -> dict[str, str]:
    """Rows of the table; errors are those against a direct float64 sum."""
    centres = handwriting(samples, 0)
    x = handwriting(rows, 1, held_out=True)
    size = {"size": f"{rows:,} rows, {samples:,} samples, 784 pixels, sigma {SIGMA}"}
    return size | _one_sigma(centres, x, repeats) | _ten_sigmas(centres, x[:few_rows], repeats)
