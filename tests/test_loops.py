"""Loops that are told of: shares that rise to all, levels in the order of the work, and silence by default."""

import pytest

from replicate.loops import LISTENER, Level, each, share_done, steps, task


class Heard:
    """Is told of everything."""

    def __init__(self) -> None:
        self.levels = [Level()]
        self.told: list[tuple[float, list[str]]] = []

    def due(self) -> bool:
        return True

    def tell(self) -> None:
        names = [level.text or f"{level.unit} {level.number}/{level.count}" for level in self.levels]
        self.told.append((share_done(self.levels), [name for name in names if not name.startswith("None")]))


@pytest.fixture
def heard() -> Heard:
    listener = Heard()
    before = LISTENER.set(listener)
    yield listener  # type: ignore[misc]
    LISTENER.reset(before)


def test_without_a_listener_they_are_plain_loops() -> None:
    assert list(steps(3)) == [0, 1, 2]
    assert list(each("ab", "{}")) == ["a", "b"]
    with task("a", 0.5):
        assert LISTENER.get() is None


def test_steps_are_told_when_they_are_done(heard: Heard) -> None:
    assert list(steps(4, "round")) == [0, 1, 2, 3]
    assert heard.told == [(k / 4, [f"round {k}/4"]) for k in (1, 2, 3, 4)]


def test_loops_within_tasks_and_loops_add_up(heard: Heard) -> None:
    """A fifth for the first task; of the rest 1/4 and 3/4, of the latter a half for its own task."""
    with task("first", 0.2):
        list(steps(1))
    for item in each((1, 3), "k = {}", weights=(1, 3)):
        if item == 3:
            with task("start", 0.5):
                list(steps(1))
        list(steps(2))
    assert [(round(share, 9), *names) for share, names in heard.told] == [
        (0.2, "first", "update 1/1"),
        (0.2, "k = 1 (1 of 2)"),
        (0.3, "k = 1 (1 of 2)", "update 1/2"),
        (0.4, "k = 1 (1 of 2)", "update 2/2"),
        (0.4, "k = 3 (2 of 2)"),
        (0.7, "k = 3 (2 of 2)", "start", "update 1/1"),
        (0.85, "k = 3 (2 of 2)", "update 1/2"),
        (1.0, "k = 3 (2 of 2)", "update 2/2"),
        (1.0,),
    ]


def test_loops_that_nobody_announced_never_go_back_or_beyond_all(heard: Heard) -> None:
    for _ in each(range(2), "turn"):
        for _ in range(3):
            list(steps(5))
    for _ in steps(2):
        list(steps(3))
        list(steps(3))
    shares = [share for share, _ in heard.told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_task_has_no_more_than_is_left(heard: Heard) -> None:
    with task("a", 0.75):
        list(steps(1))
    with task("b", 1.0):
        list(steps(2))
    assert [share for share, _ in heard.told] == [0.75, 0.875, 1.0]


def test_a_loop_that_is_left_early_counts_as_done(heard: Heard) -> None:
    for _ in each("ab"):
        for number in steps(10):
            if number == 2:
                break
    assert [share for share, _ in heard.told] == pytest.approx([0, 0.05, 0.1, 0.5, 0.55, 0.6, 1.0])
    with pytest.raises(ValueError, match="x"), task("a", 0.5):
        raise ValueError("x")
    assert len(heard.levels) == 1
