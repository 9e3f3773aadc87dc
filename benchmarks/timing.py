"""Repeated timings, interleaved so that a busy moment hits every contender."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls: median and the quartiles around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4g} s ({self.low:.4g} to {self.high:.4g})"


def interleaved(contenders: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, Timing]:
    """Calls each contender once to warm up, then all of them in turn, `repeats` times."""
    for call in contenders.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, call in contenders.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    found = {}
    for name, values in seconds.items():
        low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        found[name] = Timing(median, low, high)
    return found
