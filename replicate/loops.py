"""Loops that say how far they are to whoever listens: `steps` and `each` over what is done, `task` around it.

    with task("its classifier", 0.1):
        for update in steps(2000):
            ...
    for ratio in each((1, 5, 20), "ratio {}"):
        for update in steps(config.updates):
            ...

The listener is held in a context variable and no argument. The loops lie several calls below what a stage calls, in
functions that tests and other experiments call too; and what is told is no part of any result, which stays a pure
function of its arguments. Without a listener (the default, and what tests get) the loops are plain ones. With one, a
step costs a look at the clock; nothing waits for a device, so on a GPU counts are of steps that were sent to it.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass
class Level:
    """A loop, or a task, that is under way.

    Attributes:
        text: what is being done.
        done: the share of it that is done.
        next: the share that what is done now will add.
        rest: whether what follows takes all that is left: not in a loop, which sets `next` for every turn.
        unit: what a step is; None if it is no loop of steps.
        number: steps done, of `count`.
        started: when it began, in seconds of the monotonic clock.
    """

    text: str = ""
    done: float = 0.0
    next: float = 1.0
    rest: bool = True
    unit: str | None = None
    number: int = 0
    count: int = 0
    started: float = field(default_factory=time.monotonic)

    def ended(self) -> None:
        """What was done has ended."""
        self.done = min(1.0, self.done + self.next)
        self.next = 1.0 - self.done if self.rest else 0.0


class Listener(Protocol):
    """Who is told."""

    #: What is under way, the outermost first, which is all of the work.
    levels: list[Level]

    def due(self) -> bool:
        """Whether it is time to be told again."""

    def tell(self) -> None:
        """Something has changed in `levels`."""


LISTENER: ContextVar[Listener | None] = ContextVar("LISTENER", default=None)


def share_done(levels: Sequence[Level]) -> float:
    """The share of all of the work that is done, in [0, 1]."""
    share, width = 0.0, 1.0
    for level in levels:
        share += width * level.done
        width *= level.next
    return min(1.0, share)


@contextmanager
def _inside(listener: Listener, level: Level) -> Iterator[None]:
    """`level` is under way below those that are; what it leaves unfinished when it is left counts as done."""
    depth = len(listener.levels)
    listener.levels.append(level)
    try:
        yield
    finally:
        del listener.levels[depth:]
        listener.levels[-1].ended()


def steps(count: int, unit: str = "update") -> Iterator[int]:
    """The numbers 0, 1, ... of `count` equal steps; `unit` is what one is called."""
    listener = LISTENER.get()
    if listener is None:
        yield from range(count)
        return
    level = Level(unit=unit, count=count, rest=False)
    with _inside(listener, level):
        for number in range(count):
            level.number, level.done, level.next = number, number / count, 1 / count
            yield number
            if listener.due():
                level.number, level.done, level.next = number + 1, (number + 1) / count, 0.0
                listener.tell()


def each(items: Sequence[T], text: str = "{}", weights: Sequence[float] | None = None) -> Iterator[T]:
    """The items one after the other.

    Args:
        text: what is being done, with the item in place of the braces.
        weights: how much work each is, in any unit; equally much by default.
    """
    listener = LISTENER.get()
    if listener is None:
        yield from items
        return
    level = Level(rest=False)
    given = [1.0] * len(items) if weights is None else list(weights)
    with _inside(listener, level):
        for place, (item, weight) in enumerate(zip(items, given, strict=True)):
            level.next = weight / sum(given)
            with _inside(listener, Level(f"{text.format(item)} ({place + 1} of {len(items)})")):
                if listener.due():
                    listener.tell()
                yield item
        if listener.due():
            listener.tell()


@contextmanager
def task(text: str, share: float) -> Iterator[None]:
    """What is done inside is `text`: about that share of what surrounds it, or all that is left if that is less."""
    listener = LISTENER.get()
    if listener is None:
        yield
        return
    around = listener.levels[-1]
    around.next = min(share, 1.0 - around.done)
    with _inside(listener, Level(text)):
        yield
