"""Selects the library of float32 matrix products on the CPU, and switches bfloat16 on and off.

By default torch calls its BLAS. oneDNN can compute them too, in a mode that is named after bfloat16
and does different things on different processors: one with bfloat16 units rounds the factors to 8
bits, many times faster than float32; some others compute as accurately as the BLAS; for the rest
nothing changes. So the effect of the mode is measured, by the error of a product.

The library decides the last bits of a training, so its choice must not depend on how busy the
machine is: it follows from the processor's maker and from that error. No time is measured.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.params import Precision
from replicate.records.instructions import cpuinfo

#: Rows, inner length and columns of the product whose error decides: a layer of the MNIST recipe.
SHAPE = (200, 784, 1200)
#: Those of the product whose error is measured first: a small one shows rounded factors too.
SMALL = (8, 784, 64)
#: The mode counts as accurate where its error is at most this many times the BLAS's.
MAX_ERROR_RATIO = 4.0
#: The maker on whose processors torch's BLAS (MKL) holds back: oneDNN is 1.1 to 2.6 times as fast.
HELD_BACK = "AuthenticAMD"

#: oneDNN's switch for float32 products: "bf16", or "ieee" for the BLAS. Any: torch has no type.
SWITCH: Any = getattr(torch.backends.mkldnn, "matmul")  # noqa: B009 (unknown to mypy)


@contextmanager
def _matmul_mode(onednn: bool) -> Iterator[None]:
    previous = SWITCH.fp32_precision
    SWITCH.fp32_precision = "bf16" if onednn else "ieee"
    try:
        yield
    # Also after an error: the mode is the process's, and later stages share it.
    finally:
        SWITCH.fp32_precision = previous


def _random_factors(shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Standard normal factors of a product with these rows, inner length and columns."""
    rows, inner, columns = shape
    # A generator of its own with a fixed seed: no job's choice may hang on what was drawn before.
    generator = torch.Generator()
    generator.manual_seed(0)
    left = torch.randn(rows, inner, generator=generator)
    right = torch.randn(inner, columns, generator=generator)
    return left, right


def error(onednn: bool, shape: tuple[int, int, int] = SHAPE) -> float:
    """Largest error of a float32 product against float64, in standard deviations of the product.

    Args:
        onednn: whether oneDNN computes it, or the BLAS.
        shape: rows, inner length and columns of the standard normal factors.
    """
    left, right = _random_factors(shape)
    with _matmul_mode(onednn):
        product = left @ right
    # float64 products ignore the mode, so the reference is the same for both libraries.
    exact = left.double() @ right.double()
    differences = product.double() - exact
    errors = differences.abs()
    largest = float(errors.max())
    # A sum of so many products of standard normal numbers has this deviation.
    _, inner, _ = shape
    return largest / math.sqrt(inner)


def _is_accurate(shape: tuple[int, int, int]) -> bool:
    """Whether oneDNN's error is about that of the BLAS."""
    error_of_onednn = error(onednn=True, shape=shape)
    error_of_blas = error(onednn=False, shape=shape)
    return error_of_onednn <= MAX_ERROR_RATIO * error_of_blas


def select_matmul() -> str:
    """Selects oneDNN for float32 products where the BLAS holds back and oneDNN is as accurate.

    Returns:
        "onednn" or "blas".
    """
    is_held_back = cpuinfo("vendor_id") == HELD_BACK
    # The small product first: it shows rounded factors at little cost. Both must be accurate: which
    # routine oneDNN takes may depend on the size.
    if is_held_back and _is_accurate(SMALL) and _is_accurate(SHAPE):
        SWITCH.fp32_precision = "bf16"
        return "onednn"
    SWITCH.fp32_precision = "ieee"
    return "blas"


def check_precision(precision: Precision, device: str) -> None:
    """Refuses bfloat16 where products would not be rounded to it.

    Raises:
        ReplicateError: bfloat16 on such a device.
    """
    if precision == "bfloat16" and device != "cpu":
        raise ReplicateError(
            "compute.precision: bfloat16 is for training on a CPU; on a GPU set float32."
        )
    # float32 errs by some 1e-6 here, and every factor of 8 bits by up to 2e-3: between them lies
    # room.
    if precision == "bfloat16" and error(onednn=True) < 1e-3:
        raise ReplicateError(
            "compute.precision: this CPU, or this build of torch, has no products in bfloat16; set "
            "float32."
        )


@contextmanager
def products_in(precision: Precision) -> Iterator[None]:
    """A context whose matrix products round their factors to `precision`; sums are float32."""
    if precision == "float32":
        yield
    else:
        with _matmul_mode(onednn=True):
            yield
