"""Time and peak memory against size, with the exponents of fitted power laws."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from torch import Tensor

from benchmarks.images import DIMENSION, handwriting
from benchmarks.memory import peak_growths
from benchmarks.timing import interleaved
from benchmarks.training import released_nets, training_images, training_steps
from replicate.likelihood.parzen import log_densities

SAMPLES, ROWS, STEPS = 2000, 2000, 5
#: Less growth than this is noise of single pages, and has no logarithm worth fitting.
LEAST_MIB = 1.0

Case = Callable[[], object]


@dataclass(frozen=True)
class Axis:
    """A size that grows while all others are fixed.

    Attributes:
        name: of the size, with those that are fixed.
        sizes: ascending.
        expected: the exponent of time, in words; that of memory is at most 1.
        case: size -> the call that is timed.
        with_setup: memory includes what the case makes before the call (nets, velocities).
    """

    name: str
    sizes: tuple[int, ...]
    expected: str
    case: Callable[[int], Case]
    with_setup: bool = False


def _wide(count: int, dimension: int, seed: int) -> Tensor:
    """(count, dimension): the first pixels of images side by side."""
    images_per_row = -(-dimension // DIMENSION)
    rows = handwriting(count * images_per_row, seed).view(count, -1)
    return rows[:, :dimension].contiguous()


def _parzen(
    samples: int = SAMPLES, rows: int = ROWS, dimension: int = DIMENSION, sigmas: int = 1
) -> Case:
    centres = _wide(samples, dimension, 0)
    x = _wide(rows, dimension, 1)
    grid = np.geomspace(0.1, 1, sigmas).tolist()
    return partial(log_densities, centres, x, grid)


def _training(seeds: int = 1, batch: int = 100) -> Case:
    return training_steps(released_nets(seeds, batch), STEPS)


_THOUSANDS = (1000, 2000, 4000, 8000, 16_000, 32_000)
AXES = (
    Axis("Parzen, samples (2,000 rows)", _THOUSANDS, "1", lambda n: _parzen(samples=n)),
    Axis("Parzen, rows (2,000 samples)", _THOUSANDS, "1", lambda n: _parzen(rows=n)),
    Axis(
        "Parzen, dimension",
        (98, 196, 392, 784, 1568, 3136),
        "at most 1",
        lambda n: _parzen(dimension=n),
    ),
    Axis("Parzen, sigmas", (1, 2, 4, 8, 16, 32), "at most 1", lambda n: _parzen(sigmas=n)),
    Axis(
        "training, seeds",
        (1, 2, 4, 8),
        "at most 1",
        lambda n: _training(seeds=n),
        with_setup=True,
    ),
    Axis(
        "training, batch",
        (50, 100, 200, 400),
        "at most 1",
        lambda n: _training(batch=n),
        with_setup=True,
    ),
)


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log(value) by log(size), by least squares."""
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


def memory_cases(axis_index: int) -> Iterator[Case]:
    """The calls whose memory is measured, of one axis."""
    axis = AXES[axis_index]
    training_images()  # made here, so that no case counts them
    for size in axis.sizes:
        if axis.with_setup:
            yield partial(_set_up_and_call, axis, size)
        else:
            yield axis.case(size)


def _set_up_and_call(axis: Axis, size: int) -> None:
    axis.case(size)()


def _axis_rows(axis_index: int, repeats: int) -> dict[str, str]:
    axis = AXES[axis_index]
    timings = interleaved({str(size): axis.case(size) for size in axis.sizes}, repeats)
    memory = [max(LEAST_MIB, mib) for mib in peak_growths(memory_cases, axis_index)]
    rows = {}
    seconds = []
    for size, mib in zip(axis.sizes, memory, strict=True):
        timing = timings[str(size)]
        seconds.append(timing.median)
        rows[f"{axis.name}: {size:,}"] = f"{timing}, {mib:.0f} MiB"
    of_time = exponent(axis.sizes, seconds)
    of_memory = exponent(axis.sizes, memory)
    rows[f"{axis.name}: exponent"] = (
        f"time {of_time:.2f} ({axis.expected}), memory {of_memory:.2f} (at most 1)"
    )
    return rows


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table: every size of every axis, and its exponents; expected ones in brackets."""
    rows: dict[str, str] = {}
    for axis_index in range(len(AXES)):
        rows |= _axis_rows(axis_index, repeats)
    return rows
