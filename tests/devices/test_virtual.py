"""The virtual device itself: it computes what the CPU computes, and refuses what a GPU refuses; and
training steps, which must leave the host free to go on.
"""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from replicate.models import load_model
from replicate.training.streams import Streams
from tests.devices.virtual import DEVICE, Refusal, VirtualTensor, virtual_device
from tests.models.test_contracts import BATCH, SHAPE, VARIANTS, rows_of

#: Models whose steps may wait: the checkpoint's tensor says which iteration of Lloyd's algorithm a step
#: belongs to, and ten epochs of them are no training to be quick at.
MAY_WAIT = {"k_means", "k_means_weighted"}


def away(*shape: int) -> Tensor:
    """Numbers of the virtual device."""
    return torch.arange(1.0, 1.0 + torch.Size(shape).numel()).reshape(shape).to(DEVICE)


def drawn_by_the_cpu() -> Tensor:
    """Numbers of the device, from a generator of the CPU."""
    return torch.empty(3, device=DEVICE).uniform_(generator=torch.Generator().manual_seed(0))


FAULTS: dict[str, Callable[[], object]] = {
    "tensors of two devices": lambda: away(3) + torch.ones(3),
    "weights on the CPU": lambda: torch.bmm(away(1, 2, 3), torch.ones(1, 3, 2)),
    "a generator of the CPU": drawn_by_the_cpu,
    "a running sum of floats": lambda: away(3).cumsum(0),
    "a median with its place": lambda: away(3, 3).median(0),
    "counts with weights": lambda: torch.bincount(away(3).long(), weights=away(3)),
    "a result written into the CPU": lambda: torch.add(away(3), 1.0, out=torch.empty(3)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_gpu_refuses_is_refused(fault: str) -> None:
    with virtual_device(), pytest.raises(Refusal):
        FAULTS[fault]()


def test_numpy_does_not_get_numbers_that_were_not_copied() -> None:
    with virtual_device(), pytest.raises((TypeError, RuntimeError)):
        away(3).numpy()


def test_results_are_those_of_the_cpu_and_gradients_flow() -> None:
    weights = torch.tensor([[1.0, -2.0], [0.5, 3.0]])

    def slope(device: torch.device) -> Tensor:
        matrix = weights.to(device).requires_grad_()
        loss = torch.tanh(matrix @ matrix.T).square().sum()
        (gradient,) = torch.autograd.grad(loss, matrix)
        return gradient.cpu()

    with virtual_device():
        there = slope(DEVICE)
    torch.testing.assert_close(there, slope(torch.device("cpu")), rtol=0, atol=0)


def test_a_step_in_place_keeps_its_tensor_and_copies_are_apart() -> None:
    with virtual_device():
        numbers = away(3)
        same = numbers.mul_(2.0)
        copy = numbers.cpu()
        numbers.zero_()
        assert same is numbers
        assert isinstance(numbers, VirtualTensor)
        assert copy.tolist() == [2.0, 4.0, 6.0]


def test_waits_are_counted() -> None:
    with virtual_device() as device:
        numbers = away(4)
        device.waits.clear()
        numbers.sum().mul(2.0)
        assert not device.waits
        numbers.sum().item()
        numbers[numbers > 2.0]
        numbers.cpu()
        torch.tensor(1.0, device=DEVICE)
        assert device.waits == {"_local_scalar_dense": 1, "index": 1, "_to_copy": 2}


CASES = [
    pytest.param(name, k, id=f"{name}-{k}") for name in VARIANTS for k in range(len(VARIANTS[name]))
]


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_a_training_step_does_not_wait_for_the_device(name: str, variant: int) -> None:
    """The host queues steps ahead of a GPU; a number that it must read first would stop both."""
    kind = load_model(name)
    config = kind.Config(**{"epochs": 4, "batch_size": BATCH, **VARIANTS[name][variant]})
    waits: Counter[str] = Counter()
    with virtual_device() as device:
        model = kind(config, SHAPE, Streams((0, 1), DEVICE))
        train = rows_of(model).to(DEVICE)
        model.train = train
        model.initialise(train)
        model.fit_statistics(train)
        rows = BATCH * model.batches_per_step
        steps_per_epoch = len(train) // rows
        for epoch in range(config.epochs):
            order = model.streams.order(epoch, len(train))
            for place in range(steps_per_epoch):
                batch = train[order[:, place * rows : (place + 1) * rows]]
                device.waits.clear()
                model.train_step(batch, epoch, epoch * steps_per_epoch + place)
                # The first step of a phase may set it up.
                if place > 0:
                    waits += device.waits
    assert bool(waits) == (name in MAY_WAIT), waits
