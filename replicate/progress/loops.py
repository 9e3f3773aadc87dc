"""Loops that say how far they are to whoever listens: `steps` and `each` over items, `task` around
them.

    with task("its classifier", 0.1):
        for update in steps(2000):
            ...
    for ratio in each((1, 5, 20), "ratio {}"):
        for update in steps(config.updates):
            ...

The listener is held in a context variable and is no argument: the loops lie several calls below
what a stage calls, in functions that tests and other experiments call too, and progress is no part
of any result, which stays a pure function of its arguments. Without a listener (the default, and
what tests get) the loops are plain ones. With one, a step costs a look at the clock; nothing waits
for a device, so on a GPU the counts are of steps that were sent to it.

tqdm would not do: it draws a bar for every loop, where a job has one line whose share of the work
runs over all nested loops; it knows nothing of the file that `replicate status` reads; and into a
log it writes every refresh or nothing (`disable=None`), where a log needs a line now and then.
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
        done: the share of the level that is done.
        next: the share that the present turn or task will add.
        rest: whether what follows takes all that is left: not in a loop, which sets `next` for
            every turn.
        unit: what a step is called; None if the level is no loop of steps.
        number: steps done, of `count`.
        started: when the level began, in seconds of the monotonic clock.
    """

    text: str = ""
    done: float = 0.0
    next: float = 1.0
    rest: bool = True
    unit: str | None = None
    number: int = 0
    count: int = 0
    started: float = field(default_factory=time.monotonic)

    def end_turn(self) -> None:
        """Counts the present turn or task as done."""
        # Shares of many turns may add up to a little more than all.
        self.done = min(1.0, self.done + self.next)
        self.next = 0.0
        if self.rest:
            self.next = 1.0 - self.done


class Listener(Protocol):
    """Who reports how far the loops are."""

    #: What is under way, the outermost first, which is all of the work.
    levels: list[Level]

    def should_report(self) -> bool:
        """Whether it is time for another report."""

    def report(self) -> None:
        """Reports `levels` as they are."""


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
    """Puts `level` below those that are under way; left early, it counts as done all the same."""
    depth = len(listener.levels)
    listener.levels.append(level)
    try:
        yield
    finally:
        # With all below it: a loop that was left early may not have been closed yet.
        del listener.levels[depth:]
        listener.levels[-1].end_turn()


def steps(count: int, unit: str = "update") -> Iterator[int]:
    """The numbers 0, 1, ... of `count` equal steps; `unit` is what one is called."""
    listener = LISTENER.get()
    if listener is None:
        yield from range(count)
        return
    level = Level(unit=unit, count=count, rest=False)
    with _inside(listener, level):
        for number in range(count):
            level.number = number
            level.done = number / count
            # What the step calls may have loops of its own, which share its width.
            level.next = 1 / count
            yield number
            if listener.should_report():
                level.number = number + 1
                level.done = level.number / count
                # The step is over, and no loop within it is under way.
                level.next = 0.0
                listener.report()


def each(
    items: Sequence[T], text: str = "{}", weights: Sequence[float] | None = None
) -> Iterator[T]:
    """The items, one after the other.

    Args:
        items: to go through.
        text: what is being done, with the item in place of the braces.
        weights: how much work each item is, in any unit; equally much by default.
    """
    listener = LISTENER.get()
    if listener is None:
        yield from items
        return
    level = Level(rest=False)
    work = [1.0] * len(items) if weights is None else list(weights)
    with _inside(listener, level):
        for number, (item, weight) in enumerate(zip(items, work, strict=True), 1):
            level.next = weight / sum(work)
            # A level of its own for each item, so that loops within it share the item's width.
            turn = Level(f"{text.format(item)} ({number} of {len(items)})")
            with _inside(listener, turn):
                if listener.should_report():
                    listener.report()
                yield item
        if listener.should_report():
            listener.report()


@contextmanager
def task(text: str, share: float) -> Iterator[None]:
    """Calls the work inside `text`: about `share` of the level around it, or all that is left."""
    listener = LISTENER.get()
    if listener is None:
        yield
        return
    parent = listener.levels[-1]
    # Shares are estimates; together they must not be more than all.
    parent.next = min(share, 1.0 - parent.done)
    with _inside(listener, Level(text)):
        yield
