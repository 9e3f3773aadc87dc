"""The Parzen window as the pipeline runs it, and over more samples than memory need hold."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from benchmarks.images import handwriting
from benchmarks.memory import peak_growths
from benchmarks.parzen import GRID
from benchmarks.timing import interleaved
from replicate.likelihood.parzen import SAMPLES as BLOCK
from replicate.likelihood.parzen import KernelSums, choose_bandwidth, kernel_sums, log_densities

SAMPLES, VALID, TEST = 10_000, 1_000, 10_000
MANY, FEW = 1_000_000, 10_000
#: Samples that are made, summed and forgotten at a time; sums of parts add up where these are cut at whole blocks.
CHUNK = 4 * BLOCK
SIGMA = 0.2


def whole_protocol(samples: Tensor, valid: Tensor, test: Tensor) -> Tensor:
    """Ten bandwidths and the fine grid on validation rows, then the chosen one and the fine one on test rows."""
    choice = choose_bandwidth(samples, valid, GRID)
    return log_densities(samples, test, [choice.sigma, choice.fine_sigma])


def _its_products(samples: Tensor, valid: Tensor, test: Tensor) -> None:
    """The protocol passes over the validation rows twice and over the test rows once."""
    for rows in (valid, valid, test):
        torch.mm(rows, samples.T)


def chunks(count: int) -> Iterator[Tensor]:
    """`count` samples, a chunk at a time."""
    for number, start in enumerate(range(0, count, CHUNK)):
        yield handwriting(min(CHUNK, count - start), number + 2)


def streamed(x: Tensor, count: int) -> tuple[KernelSums, float, float]:
    """The sums over `count` samples, the seconds they took, and those of the matrix products alone."""
    total, seconds, alone = None, 0.0, 0.0
    for chunk in chunks(count):
        start = time.perf_counter()
        part = kernel_sums(chunk, x, [SIGMA])
        total = part if total is None else total + part
        summed = time.perf_counter()
        torch.mm(x, chunk.T)
        seconds, alone = seconds + summed - start, alone + time.perf_counter() - summed
    if total is None:
        raise ValueError("no samples")
    return total, seconds, alone


def stream_cases(*counts: int) -> Iterator[Callable[[], object]]:
    """The cases whose memory is measured: the samples are made within."""
    x = handwriting(VALID, 1, held_out=True)
    for count in counts:
        yield partial(streamed, x, count)


def benchmark(repeats: int, many: int = MANY) -> dict[str, str]:
    """Rows of the table; the limit in brackets is that of docs/performance.md."""
    samples, valid, test = handwriting(SAMPLES, 0), handwriting(VALID, 1, True), handwriting(TEST, 2, True)
    times = interleaved(
        {
            "products": partial(_its_products, samples, valid, test),
            "protocol": partial(whole_protocol, samples, valid, test),
        },
        repeats,
    )
    ratio = times["protocol"].median / times["products"].median
    streamed(valid, CHUNK)  # to warm up
    _, seconds, alone = streamed(valid, many)
    small, large = peak_growths(stream_cases, FEW, many)
    return {
        "products alone: 10,000 samples, 2 x 1,000 and 10,000 rows": str(times["products"]),
        "ten sigmas and 21 finer on 1,000 rows, two on 10,000": f"{times['protocol']}, {ratio:.2f} times (at most 1.8)",
        f"{many:,} samples in chunks, 1,000 rows, one sigma": f"{seconds:.3g} s, {seconds / alone:.2f} times products",
        f"peak extra memory, {FEW:,} samples in chunks": f"{small:.0f} MiB",
        f"peak extra memory, {many:,} samples in chunks": f"{large:.0f} MiB, {large / small:.2f} times",
    }
