"""Streams: a pure function of (seed, purpose, step), the same alone and in company."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from replicate.training.streams import Purpose, Streams

CPU = torch.device("cpu")


def test_a_seed_draws_the_same_alone_and_in_company() -> None:
    alone, company = Streams((7,), CPU), Streams((3, 7, 11), CPU)
    for draw in ("uniform", "normal"):
        one = getattr(alone, draw)("noise", 5, 4, 9)
        many = getattr(company, draw)("noise", 5, 4, 9)
        assert torch.equal(one[0], many[1])
        assert not torch.equal(many[0], many[1])
    assert torch.equal(alone.order(2, 50)[0], company.order(2, 50)[1])


def test_every_part_of_the_key_counts() -> None:
    streams = Streams((0, 1), CPU)
    keys = [
        ("noise", 0, 0),
        ("dropout", 0, 0),
        ("noise", 1, 0),
        ("noise", 0, 1),
        ("evaluation", 0, 0),
        ("init", 0, 0),
    ]
    drawn = [streams.uniform(purpose, step, 1000, part=part) for purpose, step, part in keys]  # type: ignore[arg-type]
    rows = torch.stack(drawn).reshape(-1, 1000).numpy()
    correlation = np.corrcoef(rows) - np.eye(len(rows))
    assert np.abs(correlation).max() < 0.15  # 66 pairs of 1,000 numbers: 4.7 standard deviations


def test_order_of_calls_does_not_matter() -> None:
    streams = Streams((0,), CPU)
    first = streams.normal("noise", 9, 5)
    streams.normal("noise", 3, 500)
    assert torch.equal(streams.normal("noise", 9, 5), first)


def test_distributions() -> None:
    streams = Streams((42,), CPU)
    assert stats.kstest(streams.uniform("noise", 0, 50_000)[0].numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(streams.normal("noise", 0, 50_000)[0].numpy(), "norm").pvalue > 1e-3


def test_order_is_a_permutation_that_changes_with_the_epoch() -> None:
    streams = Streams((0, 1), CPU)
    order = streams.order(0, 100)
    assert all(sorted(row.tolist()) == list(range(100)) for row in order)
    assert not torch.equal(order, streams.order(1, 100))


def test_golden_numbers() -> None:
    """Drawn once with NumPy 2.4.6: a change of the keys, or of NumPy's algorithms, would silently
    change every run.
    """
    streams = Streams((7,), CPU)
    uniform, normal = (
        streams.uniform("noise", 5, 3, part=3)[0],
        streams.normal("evaluation", 5, 3, part=3)[0],
    )
    assert uniform.tolist() == [0.5895034074783325, 0.7472392916679382, 0.6752495765686035]
    assert normal.tolist() == [-0.5137007832527161, -0.0897710844874382, -0.715692400932312]
    assert (streams.mask(0.8, 5, 12, part=3)[0] > 0).int().tolist() == [
        1,
        1,
        0,
        1,
        1,
        1,
        0,
        1,
        1,
        1,
        1,
        1,
    ]
    assert streams.order(5, 8)[0].tolist() == [5, 7, 4, 2, 1, 0, 6, 3]
    assert not torch.equal(
        streams.uniform("noise", 3, 3, part=5)[0], uniform
    )  # step and part are not the same


def test_float64_sees_the_float32_numbers() -> None:
    single = Streams((0,), CPU).normal("noise", 0, 100)
    double = Streams((0,), CPU, torch.float64).normal("noise", 0, 100)
    assert double.dtype == torch.float64
    assert torch.equal(double.float(), single)


def test_masks_keep_the_stated_share() -> None:
    streams = Streams((0, 1), CPU)
    for keep in (0.8, 0.5, 1.0):
        mask = streams.mask(keep, 3, 501, 201)
        assert mask.shape == (2, 501, 201)
        assert set(mask.unique().tolist()) <= {0.0, float(np.float32(1 / keep))}
        share = (mask > 0).double().mean((1, 2))
        assert share.tolist() == pytest.approx(
            [keep, keep], abs=4 * np.sqrt(keep * (1 - keep) / (501 * 201)) + 2**-16
        )
        assert torch.equal(Streams((1,), CPU).mask(keep, 3, 501, 201)[0], mask[1])
    assert not torch.equal(streams.mask(0.5, 3, 10, 10), streams.mask(0.5, 4, 10, 10))


class Other(Streams):
    """Draws as on another device than the CPU, on the CPU."""

    def _draw(
        self, distribution: Any, purpose: Purpose, step: int, shape: tuple[int, ...], part: int
    ) -> torch.Tensor:
        return self._draw_by_torch(distribution, purpose, step, shape, part)


def test_the_draws_of_other_devices_are_functions_of_the_whole_key() -> None:
    """The numbers of torch's generator on the CPU: drawn once with torch 2.13.0, they are those of the
    key, and would silently change with it.
    """
    alone, company = Other((7,), CPU), Other((3, 7), CPU)
    for draw in ("uniform", "normal"):
        single, pair = getattr(alone, draw), getattr(company, draw)
        assert torch.equal(single("noise", 5, 2, 3, part=1)[0], pair("noise", 5, 2, 3, part=1)[1])
        rows = [
            pair("noise", 5, 40),
            pair("noise", 6, 40),
            pair("noise", 5, 40, part=1),
            pair("init", 5, 40),
        ]
        assert len(torch.stack(rows).flatten(0, 1).unique(dim=0)) == 8
    assert stats.kstest(alone.uniform("noise", 0, 50_000)[0].numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(alone.normal("noise", 0, 50_000)[0].numpy(), "norm").pvalue > 1e-3
    assert alone.uniform("noise", 5, 3, part=3)[0].tolist() == [
        0.27102363109588623,
        0.015579402446746826,
        0.5357176065444946,
    ]


def test_masks_of_other_devices_keep_the_stated_share() -> None:
    streams = Other((0, 1), CPU)
    streams.device = torch.device("meta")  # any other than the CPU
    streams._draw_by_torch = Other((0, 1), CPU)._draw_by_torch  # type: ignore[method-assign]
    for keep in (0.8, 0.5):
        mask = streams.mask(keep, 3, 501, 201)
        assert set(mask.unique().tolist()) == {0.0, float(np.float32(1 / keep))}
        share = (mask > 0).double().mean((1, 2))
        assert share.tolist() == pytest.approx(
            [keep, keep], abs=4 * np.sqrt(keep * (1 - keep) / (501 * 201))
        )
        assert torch.equal(mask, streams.mask(keep, 3, 501, 201))
        assert not torch.equal(mask, streams.mask(keep, 3, 501, 201, part=1))
        assert not torch.equal(mask, streams.mask(keep, 4, 501, 201))
        uniform = Other((0, 1), CPU).uniform("dropout", 3, 501, 201)
        assert torch.equal(mask > 0, uniform < keep)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_a_seed_draws_the_same_alone_and_in_company_on_a_gpu() -> None:
    device = torch.device("cuda")
    alone, company = Streams((7,), device), Streams((3, 7), device)
    assert torch.equal(alone.normal("noise", 5, 100)[0], company.normal("noise", 5, 100)[1])
    assert torch.equal(alone.order(2, 50).cpu(), Streams((7,), CPU).order(2, 50))
