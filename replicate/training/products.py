"""Which routine multiplies float32 matrices on the CPU, and whether it rounds their factors to bfloat16.

torch hands such products to its BLAS. oneDNN can take them too, by a mode that is named after bfloat16 and means
different things on different processors: one with bfloat16 units rounds the factors to 8 bits, many times quicker than
float32; some others compute as exactly as the BLAS, and up to 2.6 times quicker; the rest change nothing. So nothing is
concluded from a processor's name: what the mode does is measured, by the error and the time of a product.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.params import Precision

#: Rows, inner length and columns of the products that are timed: a layer of the MNIST recipe.
SHAPE = (200, 784, 1200)
#: Those of the product whose error is looked at first: where the mode rounds factors, a small one shows it.
SMALL = (8, 784, 64)
#: The mode is taken for float32 where its error is at most this many times the BLAS's, and it is this much quicker.
MORE_ERROR, QUICKER = 4.0, 1.3
#: Timed products of each kind, of which the quickest counts.
TRIALS = 7

#: oneDNN's switch for float32 products, which torch's own types do not name: "bf16", or "ieee" for the BLAS.
SWITCH: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009 (unknown to mypy)


@contextmanager
def _mode(onednn: bool) -> Iterator[None]:
    before = SWITCH.fp32_precision
    SWITCH.fp32_precision = "bf16" if onednn else "ieee"
    try:
        yield
    finally:
        SWITCH.fp32_precision = before


def _factors(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(0)
    rows, inner, columns = shape
    return torch.randn(rows, inner, generator=chance), torch.randn(inner, columns, generator=chance)


def error(onednn: bool, shape: tuple[int, int, int] = SHAPE) -> float:
    """Largest error of a float32 product of standard normal factors against float64, relative to its deviation."""
    left, right = _factors(shape)
    with _mode(onednn):
        found = left @ right
    return float((found.double() - left.double() @ right.double()).abs().max()) / math.sqrt(shape[1])


def _seconds(product: Callable[[], Tensor]) -> float:
    def once() -> float:
        start = time.perf_counter()
        product()
        return time.perf_counter() - start

    return min(once() for _ in range(TRIALS))


def quicker() -> float:
    """How many times quicker oneDNN's mode is than the BLAS, by the quickest of some products of each."""
    left, right = _factors(SHAPE)
    seconds = []
    for onednn in (False, True):
        with _mode(onednn):
            seconds.append(_seconds(lambda: left @ right))
    return seconds[0] / seconds[1]


def route() -> str:
    """Sends float32 products through oneDNN in this process, where that is as exact and quicker; "onednn" or "blas"."""
    exact = all(
        error(onednn=True, shape=shape) <= MORE_ERROR * error(onednn=False, shape=shape) for shape in (SMALL, SHAPE)
    )
    better = exact and quicker() >= QUICKER
    SWITCH.fp32_precision = "bf16" if better else "ieee"
    return "onednn" if better else "blas"


def check_precision(precision: Precision, device: str) -> None:
    """Refuses bfloat16 where products would not be rounded to it, so that no result is labelled wrongly."""
    if precision == "bfloat16" and device != "cpu":
        raise ReplicateError("compute.precision: bfloat16 is for training on a CPU; on a GPU set float32.")
    if precision == "bfloat16" and error(onednn=True) < 1e-3:
        raise ReplicateError(
            "compute.precision: this CPU, or this build of torch, has no products in bfloat16; set float32."
        )


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """Within it matrix products round their factors to bfloat16, or do not; sums are float32 either way."""
    if precision == "float32":
        yield
    else:
        with _mode(onednn=True):
            yield
