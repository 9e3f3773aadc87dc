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

    Forward: G on 100 rows, D on 200. Backward: the weights of both; D's upper layers towards their inputs on all rows,
    its first on the 100 generated images; G's upper layers towards their inputs.
    """
    wanted: list[tuple[Tensor, Tensor]] = []

    def add(*shapes: tuple[int, int]) -> None:
        left, right = (torch.rand(1, *shape) for shape in shapes)
        wanted.append((left, right))

    def add_layer(rows: int, into: int, out: int, rows_towards_input: int) -> None:
        add((rows, into), (into, out))
        wanted.append((torch.rand(1, rows, into).mT, torch.rand(1, rows, out)))
        if rows_towards_input:
            wanted.append((torch.rand(1, rows_towards_input, out), torch.rand(1, into, out).mT))

    for layer, (into, out) in enumerate(GENERATOR):
        add_layer(100, into, out, 100 if layer else 0)
    for layer, (into, out) in enumerate(DISCRIMINATOR):
        add_layer(200, into, out, 200 if layer else 100)

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
