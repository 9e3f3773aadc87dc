"""Loops that are reported: shares that rise to 1, levels in the order of the work, and silence by
default.
"""

import pytest

from replicate.progress.loops import LISTENER, Level, each, share_done, steps, task


class Recorder:
    """Records every report."""

    def __init__(self) -> None:
        self.levels = [Level()]
        self.reports: list[tuple[float, list[str]]] = []

    def should_report(self) -> bool:
        return True

    def report(self) -> None:
        names = []
        for level in self.levels:
            if level.text:
                names.append(level.text)
            elif level.unit is not None:
                names.append(f"{level.unit} {level.number}/{level.count}")
        self.reports.append((share_done(self.levels), names))


@pytest.fixture
def listener() -> Recorder:
    recorder = Recorder()
    before = LISTENER.set(recorder)
    yield recorder  # type: ignore[misc]
    LISTENER.reset(before)


def test_without_a_listener_they_are_plain_loops() -> None:
    assert list(steps(3)) == [0, 1, 2]
    assert list(each("ab", "{}")) == ["a", "b"]
    with task("a", 0.5):
        assert LISTENER.get() is None


def test_steps_are_reported_when_they_are_done(listener: Recorder) -> None:
    assert list(steps(4, "round")) == [0, 1, 2, 3]
    assert listener.reports == [(k / 4, [f"round {k}/4"]) for k in (1, 2, 3, 4)]


def test_loops_within_tasks_and_loops_add_up(listener: Recorder) -> None:
    """A fifth for the first task; of the rest 1/4 and 3/4, of the latter a half for its own
    task.
    """
    with task("first", 0.2):
        list(steps(1))
    for item in each((1, 3), "k = {}", weights=(1, 3)):
        if item == 3:
            with task("start", 0.5):
                list(steps(1))
        list(steps(2))
    assert [(round(share, 9), *names) for share, names in listener.reports] == [
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


def test_loops_that_nobody_announced_never_go_back_or_beyond_all(listener: Recorder) -> None:
    for _ in each(range(2), "turn"):
        for _ in range(3):
            list(steps(5))
    for _ in steps(2):
        list(steps(3))
        list(steps(3))
    shares = [share for share, _ in listener.reports]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_a_task_has_no_more_than_is_left(listener: Recorder) -> None:
    with task("a", 0.75):
        list(steps(1))
    with task("b", 1.0):
        list(steps(2))
    assert [share for share, _ in listener.reports] == [0.75, 0.875, 1.0]


def test_a_loop_that_is_left_early_counts_as_done(listener: Recorder) -> None:
    for _ in each("ab"):
        for number in steps(10):
            if number == 2:
                break
    assert [share for share, _ in listener.reports] == pytest.approx(
        [0, 0.05, 0.1, 0.5, 0.55, 0.6, 1.0]
    )
    with pytest.raises(ValueError, match="x"), task("a", 0.5):
        raise ValueError("x")
    assert len(listener.levels) == 1
