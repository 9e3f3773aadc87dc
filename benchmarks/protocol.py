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
from replicate.likelihood.parzen import (
    GROUP,
    KernelSums,
    choose_bandwidth,
    kernel_sums,
    log_densities,
)
from replicate.likelihood.parzen import SAMPLES as BLOCK

SAMPLES, VALID, TEST = 10_000, 1_000, 10_000
MANY, FEW = 1_000_000, 20_000
#: Samples that are made, summed and freed at a time: a group, as `score` takes them.
CHUNK = GROUP * BLOCK
SIGMA = 0.2


def whole_protocol(samples: Tensor, valid: Tensor, test: Tensor) -> Tensor:
    """Ten bandwidths and the fine grid on validation rows, then the two chosen on test rows."""
    choice = choose_bandwidth(samples, valid, GRID)
    return log_densities(samples, test, [choice.sigma, choice.fine_sigma])


def _products(samples: Tensor, valid: Tensor, test: Tensor) -> None:
    """The protocol's matrix products: twice on the validation rows, once on the test rows."""
    for rows in (valid, valid, test):
        torch.mm(rows, samples.T)


def chunks(count: int) -> Iterator[Tensor]:
    """`count` samples, a chunk at a time."""
    for number, start in enumerate(range(0, count, CHUNK)):
        yield handwriting(min(CHUNK, count - start), number + 2)


def streamed(x: Tensor, count: int) -> tuple[KernelSums, float, float]:
    """The sums over `count` samples, their seconds, and those of the matrix products alone."""
    total = None
    seconds = product_seconds = 0.0
    for chunk in chunks(count):
        start = time.perf_counter()
        sums = kernel_sums(chunk, x, [SIGMA])
        total = sums if total is None else total + sums
        middle = time.perf_counter()
        torch.mm(x, chunk.T)
        seconds += middle - start
        product_seconds += time.perf_counter() - middle
    if total is None:
        raise ValueError("no samples")
    return total, seconds, product_seconds


def stream_cases(*counts: int) -> Iterator[Callable[[], object]]:
    """The cases whose memory is measured; it includes that of their samples."""
    x = handwriting(VALID, 1, held_out=True)
    for count in counts:
        yield partial(streamed, x, count)


def benchmark(repeats: int, many: int = MANY) -> dict[str, str]:
    """Rows of the table; the limits in brackets are those of docs/performance.md."""
    samples = handwriting(SAMPLES, 0)
    valid = handwriting(VALID, 1, held_out=True)
    test = handwriting(TEST, 2, held_out=True)
    contenders: dict[str, Callable[[], object]] = {
        "products": partial(_products, samples, valid, test),
        "protocol": partial(whole_protocol, samples, valid, test),
    }
    timings = interleaved(contenders, repeats)
    protocol, products = timings["protocol"], timings["products"]
    ratio = protocol.median / products.median
    streamed(valid, CHUNK)  # to warm up
    _, seconds, product_seconds = streamed(valid, many)
    stream_rate = product_seconds / seconds
    small, large = peak_growths(stream_cases, FEW, many)
    growth = large / small
    protocol_name = "ten sigmas and 21 finer on 1,000 rows, two on 10,000"
    stream_name = f"{many:,} samples in chunks, 1,000 rows, one sigma"
    large_name = f"peak extra memory, {many:,} samples in chunks"
    return {
        "products alone: 10,000 samples, 2 x 1,000 and 10,000 rows": str(products),
        protocol_name: f"{protocol}, {ratio:.2f} times (at most 1.8)",
        stream_name: f"{seconds:.3g} s, {stream_rate:.2f} times the products' rate (at least 2.5)",
        f"peak extra memory, {FEW:,} samples in chunks": f"{small:.0f} MiB",
        large_name: f"{large:.0f} MiB, {growth:.2f} times",
    }
