"""Which routine multiplies, and the bfloat16 option: what is rounded, what is refused, what stays
float32.
"""

import itertools
import time

import pytest
import torch

from replicate.errors import ReplicateError
from replicate.params import Compute
from replicate.training import products
from replicate.training.backend import configure

HAS_BFLOAT16 = products.error(onednn=True) > 1e-3
needs_bfloat16 = pytest.mark.skipif(not HAS_BFLOAT16, reason="this CPU has no products in bfloat16")


def mode() -> str:
    return str(products.SWITCH.fp32_precision)


def test_products_are_as_exact_as_float32() -> None:
    """784 terms of deviation 1, relative to the deviation of their sum: a few roundings of 6e-8."""
    assert configure(Compute(device="cpu")).products in ("blas", "onednn")
    left, right = torch.randn(300, 784), torch.randn(784, 200)
    error = ((left @ right).double() - left.double() @ right.double()).abs().max() / 28
    assert error < 2e-5


@pytest.mark.parametrize(
    ("maker", "error", "expected"),
    [
        ("AuthenticAMD", 1.0, "onednn"),
        ("AuthenticAMD", 3.9, "onednn"),
        ("AuthenticAMD", 4.1, "blas"),
        ("AuthenticAMD", 2e4, "blas"),
        ("GenuineIntel", 1.0, "blas"),
        (None, 1.0, "blas"),
    ],
)
def test_the_other_route_is_taken_only_where_it_is_as_exact_and_the_blas_holds_back(
    monkeypatch: pytest.MonkeyPatch, maker: str | None, error: float, expected: str
) -> None:
    before = mode()
    monkeypatch.setattr(products, "cpuinfo", {"vendor_id": maker}.get)
    monkeypatch.setattr(products, "error", lambda onednn, shape: error if onednn else 1.0)
    try:
        assert products.select_matmul() == expected
        assert mode() == ("bf16" if expected == "onednn" else "ieee")
    finally:
        products.SWITCH.fp32_precision = before


@pytest.mark.parametrize("rounded", [products.SMALL, products.SHAPE])
def test_a_route_that_rounds_any_product_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, rounded: tuple[int, int, int]
) -> None:
    monkeypatch.setattr(
        products, "error", lambda onednn, shape: 2e4 if onednn and shape == rounded else 1.0
    )
    monkeypatch.setattr(products, "cpuinfo", {"vendor_id": products.HELD_BACK}.get)
    before = mode()
    try:
        assert products.select_matmul() == "blas"
    finally:
        products.SWITCH.fp32_precision = before


def test_the_route_does_not_depend_on_how_busy_the_machine_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It decides last bits: a clock that runs wildly changes nothing."""
    before, ticks = mode(), itertools.cycle([0.0, 9.0, 1.0, 5.0])
    try:
        undisturbed = products.select_matmul()
        monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
        monkeypatch.setattr(time, "monotonic", lambda: next(ticks))
        assert {products.select_matmul() for _ in range(5)} == {undisturbed}
    finally:
        products.SWITCH.fp32_precision = before


@needs_bfloat16
def test_factors_are_rounded_and_sums_are_not() -> None:
    """Factors that bfloat16 holds exactly give float32's product, which bfloat16 could not hold;
    others do not.
    """
    left, right = torch.randn(64, 256), torch.randn(256, 32)
    exact = left.bfloat16().float(), right.bfloat16().float()
    with products.products_in("bfloat16"):
        rounded, kept = left @ right, exact[0] @ exact[1]
    expected = exact[0].double() @ exact[1].double()
    torch.testing.assert_close(rounded.double(), expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(kept.double(), expected, rtol=1e-5, atol=1e-4)
    assert not torch.equal(kept.bfloat16().float(), kept)
    assert (rounded - left @ right).abs().max() > 1e-2


def test_the_mode_ends_with_the_block() -> None:
    before = mode()
    with pytest.raises(ZeroDivisionError), products.products_in("bfloat16"):
        _ = 1 / 0
    assert mode() == before


def test_bfloat16_is_refused_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "error", lambda onednn: 1e-6)
    with pytest.raises(ReplicateError, match="no products in bfloat16; set float32"):
        configure(Compute(device="cpu", precision="bfloat16"))
    with pytest.raises(ReplicateError, match="on a GPU set float32"):
        products.check_precision("bfloat16", "cuda")


class _ObservedFactor:
    """A factor that notes the mode in which it is multiplied."""

    def __init__(self, values: torch.Tensor, modes: list[str]) -> None:
        self.values = values
        self.modes = modes

    def __matmul__(self, right: "_ObservedFactor") -> torch.Tensor:
        self.modes.append(mode())
        return self.values @ right.values

    def double(self) -> torch.Tensor:
        return self.values.double()


def test_the_error_of_a_route_is_measured_on_that_route(monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    factors = [_ObservedFactor(torch.randn(4, 4), modes) for _ in range(2)]
    monkeypatch.setattr(products, "_random_factors", lambda shape: factors)
    before = mode()
    products.error(onednn=True, shape=(4, 4, 4))
    products.error(onednn=False, shape=(4, 4, 4))
    assert modes == ["bf16", "ieee"]
    assert mode() == before
