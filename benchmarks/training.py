"""Training: one epoch of the released MNIST recipe against its matrix products alone, on the same backend."""

from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.timing import interleaved
from replicate.models.adversarial_nets import AdversarialConfig, AdversarialNets
from replicate.training.streams import Streams

STEPS_PER_EPOCH, STEPS = 500, 25
GENERATOR = ((100, 1200), (1200, 1200), (1200, 784))
DISCRIMINATOR = ((784, 1200), (240, 1200), (240, 1))


def _step() -> Callable[[], object]:
    model = AdversarialNets(AdversarialConfig(), (1, 28, 28), Streams((0,), torch.device("cpu")))
    train = torch.rand(5000, 784, generator=torch.Generator().manual_seed(0))
    model.initialise(train)
    state = {"step": 0}

    def steps() -> None:
        for _ in range(STEPS):
            rows = torch.arange(100 * state["step"], 100 * state["step"] + 100) % len(train)
            model.train_step(train[rows][None], 0, state["step"])
            state["step"] += 1

    return steps


def _products() -> Callable[[], object]:
    """The matrix products of one joint update, each on operands of its own, as in the real step.

    Forward: G; D on data; D on images. Backward: weights of all three; towards the inputs of D's upper layers for
    both; through all of D to the images; towards the inputs of G's upper layers.
    """
    wanted: list[tuple[Tensor, Tensor]] = []

    def add(rows: int, inner: int, columns: int) -> None:
        wanted.append((torch.rand(1, rows, inner), torch.rand(1, inner, columns)))

    for into, out in GENERATOR:
        add(100, into, out)
        wanted.append((torch.rand(1, 100, into).transpose(1, 2), torch.rand(1, 100, out)))
    for into, out in GENERATOR[1:]:
        wanted.append((torch.rand(1, 100, out), torch.rand(1, into, out).transpose(1, 2)))
    for passes in range(2):
        for layer, (into, out) in enumerate(DISCRIMINATOR):
            add(100, into, out)
            wanted.append((torch.rand(1, 100, into).transpose(1, 2), torch.rand(1, 100, out)))
            if layer:
                wanted.append((torch.rand(1, 100, out), torch.rand(1, into, out).transpose(1, 2)))
            if passes:
                wanted.append((torch.rand(1, 100, out), torch.rand(1, into, out).transpose(1, 2)))

    def products() -> None:
        for _ in range(STEPS):
            for left, right in wanted:
                torch.bmm(left, right)

    return products


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table; the limit in brackets is that of docs/performance.md."""
    times = interleaved({"step": _step(), "products": _products()}, repeats)
    epoch, alone = (times[name].median * STEPS_PER_EPOCH / STEPS for name in ("step", "products"))
    return {
        "MNIST epoch, matrix products alone": f"{alone:.2f} s",
        "MNIST epoch, training": f"{epoch:.2f} s, {epoch / alone:.2f} times its products (at most 1.5)",
    }
