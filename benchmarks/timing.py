"""Repeated timings, interleaved so that a busy moment hits every contender."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls: median and the quartiles around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.4g} s ({self.low:.4g} to {self.high:.4g})"


def seconds_of(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, which on a GPU ends when its work is done."""
    _wait(device)
    start = time.perf_counter()
    call()
    _wait(device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def interleaved(
    contenders: Mapping[str, Callable[[], object]], repeats: int, device: torch.device | None = None
) -> dict[str, Timing]:
    """Calls each contender once to warm up, then all of them in turn, `repeats` times.

    Args:
        device: where they compute; the CPU if left out.
    """
    device = device or torch.device("cpu")
    for call in contenders.values():
        seconds_of(call, device)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, call in contenders.items():
            seconds[name].append(seconds_of(call, device))
    return {name: _timing(values) for name, values in seconds.items()}


def _timing(seconds: list[float]) -> Timing:
    if len(seconds) == 1:
        return Timing(seconds[0], seconds[0], seconds[0])
    low, median, high = statistics.quantiles(seconds, n=4)
    return Timing(median, low, high)
