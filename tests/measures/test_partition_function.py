"""Annealed importance sampling against partition functions by enumeration."""

import math

import pytest
import torch
from torch import Tensor

from replicate.measures.partition_function import _estimate, log_partition
from replicate.models.parts.boltzmann import Layer, folded
from replicate.training.streams import Streams
from tests.models.enumeration import log_joint, log_joint_deep, random_deep, random_layer

#: Independent repetitions of the whole estimate, each with a seed of its own.
REPETITIONS = 300


def repeated(layer: Layer, times: int = REPETITIONS) -> Layer:
    return Layer(*(value.repeat(times, 1, 1) for value in layer[:3]))


def streams(count: int = REPETITIONS) -> Streams:
    return Streams(range(count), torch.device("cpu"), torch.float64)


def temperatures(count: int) -> list[float]:
    return [k / (count - 1) for k in range(count)]


def machine(kind: str) -> tuple[Layer, Tensor]:
    """A machine, and its log Z from the sum over all states."""
    if kind == "deep":
        deep = random_deep((5, 4, 3), seed=1)
        return folded(deep), log_joint_deep(deep).logsumexp((0, 1, 2))
    layer = random_layer(6, 4, seed=2, scale=1.5)
    return layer, log_joint(layer).logsumexp((0, 1))


@pytest.mark.parametrize("kind", ["restricted", "deep"])
def test_the_interval_covers_log_z(kind: str) -> None:
    """Three standard errors each way, nominally 99.7 %: at least 97 % of 300 do, and none by being
    vast.
    """
    layer, truth = machine(kind)
    layer = repeated(layer)
    found = log_partition(layer, torch.zeros_like(layer.visible), temperatures(40), 100, streams())
    covered = (found.low <= truth) & (truth <= found.high)
    assert covered.double().mean() >= 0.97
    assert (found.high - found.low).max() < 1.5
    assert (found.estimate - truth).abs().max() < 1.0


@pytest.mark.parametrize("kind", ["restricted", "deep"])
def test_the_estimate_of_z_itself_has_no_bias(kind: str) -> None:
    """Also with three temperatures: the mean of 30,000 weights lies within four of its standard
    errors.
    """
    layer, truth = machine(kind)
    layer = repeated(layer)
    weights = log_partition(layer, layer.visible, temperatures(3), 100, streams()).log_weights
    ratio = (weights.flatten() - truth).exp()
    assert abs(float(ratio.mean()) - 1) < 4 * float(ratio.std()) / math.sqrt(len(ratio))


def test_more_temperatures_narrow_the_interval() -> None:
    layer = repeated(machine("restricted")[0], 20)
    widths = []
    for count in (10, 300):
        found = log_partition(
            layer, torch.zeros_like(layer.visible), temperatures(count), 100, streams(20)
        )
        widths.append(float((found.high - found.low).median()))
    assert widths[1] < widths[0] / 3


def test_it_is_exact_where_the_machine_is_the_first_one() -> None:
    layer = random_layer(6, 4)
    layer = Layer(0 * layer.weight, layer.visible, 0 * layer.hidden)
    found = log_partition(layer, layer.visible, temperatures(5), 7, streams(1))
    truth = log_joint(layer).logsumexp((0, 1))
    torch.testing.assert_close(found.log_weights, truth.expand(1, 7), rtol=0, atol=1e-12)
    torch.testing.assert_close(
        torch.stack([found.low, found.high]), truth.expand(2, 1), rtol=0, atol=1e-12
    )


def test_the_interval_is_the_mean_weight_plus_and_minus_three_standard_errors() -> None:
    layer, _ = machine("restricted")
    found = log_partition(layer, layer.visible, temperatures(20), 50, streams(1), draw=3)
    weights = found.log_weights[0].exp()
    error = weights.std() / math.sqrt(50)
    for got, wanted in zip((found.low, found.estimate, found.high), (-3, 0, 3), strict=True):
        torch.testing.assert_close(
            got[0], (weights.mean() + wanted * error).log(), rtol=0, atol=1e-10
        )
    poor = _estimate(torch.tensor([[0.0, 0.0, 0.0, 100.0]], dtype=torch.float64))
    assert poor.low.item() == -math.inf
    assert poor.high.item() == pytest.approx(
        100 - math.log(4) + math.log(1 + 3)
    )  # the standard error is the mean


def test_seeds_do_not_touch_each_other_and_draws_differ() -> None:
    layer = repeated(machine("restricted")[0], 3)
    found = log_partition(layer, layer.visible, temperatures(10), 8, streams(3))
    alone = Layer(*(value[1:2] for value in layer[:3]))
    single = Streams((1,), torch.device("cpu"), torch.float64)
    weights = log_partition(alone, alone.visible, temperatures(10), 8, single).log_weights
    torch.testing.assert_close(weights[0], found.log_weights[1], rtol=0, atol=1e-12)
    again = log_partition(alone, alone.visible, temperatures(10), 8, single, draw=1).log_weights
    assert not torch.equal(again, weights)


@pytest.mark.parametrize("wrong", [[0.0], [0.0, 0.5], [0.1, 1.0], [0.0, 0.5, 0.5, 1.0]])
def test_temperatures_that_do_not_ascend_from_zero_to_one_are_refused(wrong: list[float]) -> None:
    layer = machine("restricted")[0]
    with pytest.raises(ValueError, match="ascend from 0 to 1"):
        log_partition(layer, layer.visible, wrong, 10, streams(1))


def test_two_runs_have_an_interval_and_one_has_none() -> None:
    layer = machine("restricted")[0]
    pair = log_partition(layer, layer.visible, [0, 1], 2, streams(1))
    assert pair.log_weights.shape[1] == 2
    with pytest.raises(ValueError, match="at least 2 runs"):
        log_partition(layer, layer.visible, [0, 1], 1, streams(1))
