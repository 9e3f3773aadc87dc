"""Training: an epoch of the released MNIST recipe beside its matrix products alone."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from benchmarks.images import handwriting
from benchmarks.timing import interleaved
from replicate.models.adversarial_nets import AdversarialConfig, AdversarialNets
from replicate.training.products import error, products_in
from replicate.training.streams import Streams

STEPS_PER_EPOCH, STEPS, BATCH = 500, 25, 100
CPU = torch.device("cpu")
GENERATOR = ((100, 1200), (1200, 1200), (1200, 784))
DISCRIMINATOR = ((784, 1200), (240, 1200), (240, 1))


@cache
def training_images() -> Tensor:
    """(5000, 784), made once."""
    return handwriting(5000, 0)


def released_nets(
    seeds: int = 1, batch: int = BATCH, device: torch.device = CPU
) -> AdversarialNets:
    """The released MNIST recipe as it starts, for seeds 0, 1, ..."""
    config = AdversarialConfig(batch_size=batch)
    model = AdversarialNets(config, (1, 28, 28), Streams(range(seeds), device))
    model.initialise(training_images().to(device))
    return model


def training_steps(model: AdversarialNets, steps: int = STEPS) -> Callable[[], object]:
    """A call that makes so many steps, on minibatches of the pipeline's order.

    The next call goes on from there, and after the last minibatch with the first.
    """
    train = training_images().to(model.streams.device)
    size = model.config.batch_size
    order = model.streams.order(0, len(train))
    batches = len(train) // size
    step = 0

    def call() -> None:
        nonlocal step
        for _ in range(steps):
            start = step % batches * size
            indices = order[:, start : start + size]
            images = train[indices.reshape(-1)].view(*indices.shape, -1)
            model.train_step(images, 0, step)
            step += 1

    return call


def _operands() -> list[tuple[Tensor, Tensor]]:
    """Both factors of the matrix products of one joint update, each a tensor of its own.

    Forward: G on 100 rows, D on 200. Backward: the weights of both; D's upper layers towards their
    inputs on all rows, its first on the 100 generated images; G's upper layers towards their
    inputs.
    """
    operands: list[tuple[Tensor, Tensor]] = []

    def add_layer(rows: int, into: int, out: int, rows_towards_input: int) -> None:
        operands.append((torch.rand(1, rows, into), torch.rand(1, into, out)))
        operands.append((torch.rand(1, rows, into).mT, torch.rand(1, rows, out)))
        if rows_towards_input:
            gradients = torch.rand(1, rows_towards_input, out)
            operands.append((gradients, torch.rand(1, into, out).mT))

    for layer, (into, out) in enumerate(GENERATOR):
        add_layer(BATCH, into, out, BATCH if layer else 0)
    for layer, (into, out) in enumerate(DISCRIMINATOR):
        add_layer(2 * BATCH, into, out, 2 * BATCH if layer else BATCH)
    return operands


def step_flops() -> int:
    """Floating-point operations in the matrix products of one joint update."""
    return sum(2 * left.numel() * right.shape[-1] for left, right in _operands())


def _products() -> Callable[[], object]:
    operands = _operands()

    def products() -> None:
        for _ in range(STEPS):
            for left, right in operands:
                torch.bmm(left, right)

    return products


def _traffic(parameters: int) -> Callable[[], object]:
    """Copies as many bytes as the optimiser moves.

    It reads gradient, velocity and parameter, and writes the last two: five numbers a parameter. A
    copy reads and writes each number, so that it takes half as many.
    """
    source = torch.rand(5 * parameters // 2)
    target = torch.empty_like(source)

    def copies() -> None:
        for _ in range(STEPS):
            target.copy_(source)

    return copies


def in_bfloat16(steps: Callable[[], object]) -> Callable[[], object]:
    """The same steps with products in bfloat16."""

    def rounded() -> None:
        with products_in("bfloat16"):
            steps()

    return rounded


def has_bfloat16() -> bool:
    """Whether this CPU has such products."""
    return error(onednn=True) > 1e-3


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table; the limit in brackets is that of docs/performance.md."""
    nets = released_nets()
    parameters = sum(value.numel() for value in nets.parameters.values())
    contenders = {
        "step": training_steps(nets),
        "products": _products(),
        "traffic": _traffic(parameters),
    }
    if has_bfloat16():
        contenders["bfloat16"] = in_bfloat16(training_steps(released_nets()))
    times = interleaved(contenders, repeats)
    seconds = {name: timing.median * STEPS_PER_EPOCH / STEPS for name, timing in times.items()}
    ratio = seconds["step"] / (seconds["products"] + seconds["traffic"])
    rows = {
        "MNIST epoch, matrix products alone": f"{seconds['products']:.2f} s",
        "MNIST epoch, the optimiser's bytes": f"{seconds['traffic']:.2f} s at the rate of a copy",
        "MNIST epoch, training": (
            f"{seconds['step']:.2f} s, {ratio:.2f} times both (at most 1.35)"
        ),
    }
    if "bfloat16" in seconds:
        gain = seconds["step"] / seconds["bfloat16"]
        rows["MNIST epoch, products in bfloat16"] = (
            f"{seconds['bfloat16']:.2f} s, {gain:.2f} times quicker"
        )
    return rows
