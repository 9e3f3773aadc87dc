"""The measures that torch-fidelity computes too: both distances, precision and recall."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from replicate.measures.compared_images import Comparison
from replicate.measures.run_measures import FUNCTIONS


class _Unused(ModuleType):
    """In the place of what loads networks, which no formula needs: every name leads nowhere."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return None


@pytest.fixture
def fidelity(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """Its modules of formulas, without its networks."""
    folder = os.environ.get("REPLICATE_TEST_TORCH_FIDELITY")
    if not folder or not Path(folder, "torch_fidelity").is_dir():
        pytest.skip("needs torch-fidelity: set REPLICATE_TEST_TORCH_FIDELITY to its folder")
    package = ModuleType("torch_fidelity")
    package.__path__ = [f"{folder}/torch_fidelity"]
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.utils", _Unused("torch_fidelity.utils"))
    yield {
        name: importlib.import_module(f"torch_fidelity.metric_{name}")
        for name in ("fid", "kid", "prc")
    }
    for name in [name for name in sys.modules if name.startswith("torch_fidelity.")]:
        monkeypatch.delitem(sys.modules, name)


def sets(seed: int) -> tuple[Tensor, Tensor]:
    """Samples and true images of 6 numbers that differ in mean, scale and shape."""
    generator = torch.Generator().manual_seed(seed)
    samples = torch.randn(150, 6, dtype=torch.float64, generator=generator)
    true_images = torch.rand(150, 6, dtype=torch.float64, generator=generator) * 3 - 1
    return 0.8 * samples + 0.4, true_images


def value(name: str, samples: Tensor, true_images: Tensor) -> float:
    comparison = Comparison(samples, true_images, resamples=5, updates=1)
    return float(FUNCTIONS[name](comparison).value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_compute_the_same(fidelity: dict[str, ModuleType], seed: int) -> None:
    samples, true_images = sets(seed)
    fid, kid, prc = fidelity["fid"], fidelity["kid"], fidelity["prc"]
    statistics = [fid.fid_features_to_statistics(images) for images in (samples, true_images)]
    distance = fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]
    assert value("frechet_distance", samples, true_images) == pytest.approx(distance, abs=1e-8)
    # Of all images, not of subsets.
    discrepancy = kid.kernel_mmd(samples.numpy(), true_images.numpy())
    assert value("kernel_distance", samples, true_images) == pytest.approx(discrepancy, abs=1e-10)
    shares = prc.prc_features_to_metric(samples, true_images, verbose=False)
    for name, key in (
        ("precision", prc.KEY_METRIC_PRECISION),
        ("recall", prc.KEY_METRIC_RECALL),
    ):
        assert 0 < shares[key] < 1
        assert value(name, samples, true_images) == pytest.approx(shares[key], abs=1e-6)
