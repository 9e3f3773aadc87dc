"""The Parzen window beside public code, on the same images in the same run.

Each peer is timed at a size that it finishes in seconds, and this project's at the same size; no time is extrapolated.
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
    """goodfeli/adversarial `parzen_ll.py`, written anew in NumPy: log_mean_exp over broadcast differences."""
    centres = samples.numpy()

    def batch(rows: Array) -> Array:
        scaled = (rows[:, None, :] - centres[None, :, :]) / np.float32(sigma)
        exponents = -0.5 * (scaled**2).sum(2)
        largest = exponents.max(1)
        mean: Array = largest + np.log(np.exp(exponents - largest[:, None]).mean(1))
        return mean - np.float32(centres.shape[1] * math.log(sigma * math.sqrt(2 * math.pi)))

    return torch.from_numpy(np.concatenate([batch(part.numpy()) for part in torch.split(x, BATCH)]))


def released_torch(samples: Tensor, x: Tensor, sigma: float) -> Tensor:
    """The same in torch."""

    def batch(rows: Tensor) -> Tensor:
        scaled = (rows[:, None, :] - samples[None, :, :]) / sigma
        exponents = -0.5 * scaled.square().sum(2)
        largest = exponents.amax(1)
        mean = largest + (exponents - largest[:, None]).exp().mean(1).log()
        return mean - samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))

    return torch.cat([batch(part) for part in torch.split(x, BATCH)])


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
    squares = ((lazy(x[:, None, :]) - lazy(samples[None, :, :])) ** 2).sum(-1)
    sums: Tensor = (-squares / (2 * sigma**2)).logsumexp(dim=1)
    return sums.flatten() - math.log(len(samples)) - samples.shape[1] * math.log(sigma * math.sqrt(2 * math.pi))


def estimates(samples: int) -> dict[str, Estimate]:
    """Every peer at one sigma: name -> log-densities of (samples, rows, sigma)."""
    found: dict[str, Estimate] = {
        "released algorithm, NumPy": released_numpy,
        "released algorithm, torch": released_torch,
        "scikit-learn, exact (one leaf)": partial(kernel_density, leaf_size=samples),
        "scikit-learn, default (leaves of 40)": partial(kernel_density, leaf_size=40),
    }
    return found | ({"PyKeOps": lazy_tensors} if find_spec("pykeops") else {})


@dataclass(frozen=True)
class Error:
    """Distance of log-densities from the float64 sum, in nats."""

    mean: float
    largest: float

    @classmethod
    def of(cls, found: Tensor, right: Tensor) -> "Error":
        """Over all rows; not-a-number counts as it is."""
        error = (found.double() - right).abs()
        return cls(float(error.mean()), float(error.max()))

    def __str__(self) -> str:
        return f"mean {self.mean:.1e}, max {self.largest:.1e} nats"


def _row(peer: Timing, ours: Timing) -> str:
    return f"{peer}, {peer.median / ours.median:.1f} times ours"


def _one_sigma(samples: Tensor, x: Tensor, repeats: int) -> dict[str, str]:
    peers = {"this project": log_density, **estimates(len(samples))}
    times = interleaved({name: partial(peer, samples, x, SIGMA) for name, peer in peers.items()}, repeats)
    right = direct(samples, x, SIGMA)
    rows = {}
    for name, peer in peers.items():
        text = str(times[name]) if peer is log_density else _row(times[name], times["this project"])
        rows[name] = f"{text}; error {Error.of(peer(samples, x, SIGMA), right)}"
    return rows if "PyKeOps" in rows else rows | {"PyKeOps": "not installed"}


def _ten_sigmas(samples: Tensor, x: Tensor, repeats: int) -> dict[str, str]:
    ours = f"ten sigmas, {len(x)} rows: this project"
    contenders: dict[str, Callable[[], object]] = {ours: partial(log_densities, samples, x, GRID)}
    for name, estimate in (("NumPy", released_numpy), ("torch", released_torch)):
        contenders[f"ten sigmas, {len(x)} rows: released, {name}"] = partial(released_grid, estimate, samples, x)
    times = interleaved(contenders, repeats)
    return {name: str(time) if name == ours else _row(time, times[ours]) for name, time in times.items()}


def benchmark(repeats: int, samples: int = SAMPLES, rows: int = ROWS, few_rows: int = FEW_ROWS) -> dict[str, str]:
    """Rows of the table; errors are those against a direct float64 sum."""
    known, x = handwriting(samples, 0), handwriting(rows, 1, held_out=True)
    size = {"size": f"{rows:,} rows, {samples:,} samples, 784 pixels, sigma {SIGMA}"}
    return size | _one_sigma(known, x, repeats) | _ten_sigmas(known, x[:few_rows], repeats)
