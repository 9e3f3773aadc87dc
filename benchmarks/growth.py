"""Time and peak memory against size, with the exponents of fitted power laws beside the expected ones."""

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
    """What grows, and everything else fixed.

    Attributes:
        name: what is counted, with what is fixed.
        sizes: ascending.
        expected: the exponent of time, in words; memory never grows faster.
        case: size -> the call that is timed.
        whole: memory counts from before the case is made, because what it makes (nets, velocities) is the method's own.
    """

    name: str
    sizes: tuple[int, ...]
    expected: str
    case: Callable[[int], Case]
    whole: bool = False


def _wide(count: int, dimension: int, seed: int) -> Tensor:
    """Rows of any dimension: the first pixels of images side by side."""
    across = -(-dimension // DIMENSION)
    return handwriting(count * across, seed).view(count, -1)[:, :dimension].contiguous()


def _parzen(samples: int = SAMPLES, rows: int = ROWS, dimension: int = DIMENSION, sigmas: int = 1) -> Case:
    known, x = _wide(samples, dimension, 0), _wide(rows, dimension, 1)
    return partial(log_densities, known, x, np.geomspace(0.1, 1, sigmas).tolist())


def _training(seeds: int = 1, batch: int = 100) -> Case:
    return training_steps(released_nets(seeds, batch), STEPS)


_THOUSANDS = (1000, 2000, 4000, 8000, 16_000, 32_000)
AXES = (
    Axis("Parzen, samples (2,000 rows)", _THOUSANDS, "1", lambda n: _parzen(samples=n)),
    Axis("Parzen, rows (2,000 samples)", _THOUSANDS, "1", lambda n: _parzen(rows=n)),
    Axis("Parzen, dimension", (98, 196, 392, 784, 1568, 3136), "at most 1", lambda n: _parzen(dimension=n)),
    Axis("Parzen, sigmas", (1, 2, 4, 8, 16, 32), "at most 1", lambda n: _parzen(sigmas=n)),
    Axis("training, seeds", (1, 2, 4, 8), "at most 1", lambda n: _training(seeds=n), whole=True),
    Axis("training, batch", (50, 100, 200, 400), "at most 1", lambda n: _training(batch=n), whole=True),
)


def exponent(sizes: Sequence[int], values: Sequence[float]) -> float:
    """The slope of log(value) by log(size), by least squares."""
    slope, _ = np.polyfit(np.log(sizes), np.log(values), 1)
    return float(slope)


def memory_cases(place: int) -> Iterator[Case]:
    """The calls whose memory is measured, of one axis."""
    axis = AXES[place]
    training_images()  # the data are there before the nets are
    for size in axis.sizes:
        yield partial(_made_and_called, axis, size) if axis.whole else axis.case(size)


def _made_and_called(axis: Axis, size: int) -> None:
    axis.case(size)()


def _axis(place: int, repeats: int) -> dict[str, str]:
    axis = AXES[place]
    times = interleaved({str(size): axis.case(size) for size in axis.sizes}, repeats)
    memory = [max(LEAST_MIB, mib) for mib in peak_growths(memory_cases, place)]
    rows = {
        f"{axis.name}: {size:,}": f"{times[str(size)]}, {mib:.0f} MiB"
        for size, mib in zip(axis.sizes, memory, strict=True)
    }
    slope = exponent(axis.sizes, [times[str(size)].median for size in axis.sizes])
    fitted = f"time {slope:.2f} ({axis.expected}), memory {exponent(axis.sizes, memory):.2f} (at most 1)"
    return rows | {f"{axis.name}: exponent": fitted}


def benchmark(repeats: int) -> dict[str, str]:
    """Rows of the table: every size of every axis, and its exponents; expected ones in brackets."""
    rows: dict[str, str] = {}
    for place in range(len(AXES)):
        rows |= _axis(place, repeats)
    return rows
