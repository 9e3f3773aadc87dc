"""How many mutants are tried in a time, and what is said of them; mutmut itself is not run."""

from collections.abc import Sequence

import pytest
from scipy import stats

from tools import mutants


@pytest.mark.parametrize(
    ("seconds_of_time", "total", "batches"),
    [(1000.0, 50, [20, 30]), (40.0, 50, [20, 20]), (10.0, 50, [20]), (45.5, 100, [20, 25])],
)
def test_a_sample_is_as_large_as_the_time_allows(
    seconds_of_time: float, total: int, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant takes a second of a clock that stands still otherwise."""
    now = 0.0
    sizes = []

    def try_mutants(names: Sequence[str], processes: int) -> None:
        nonlocal now
        now += len(names)
        sizes.append(len(names))

    monkeypatch.setattr(mutants.time, "monotonic", lambda: now)
    monkeypatch.setattr(mutants, "try_mutants", try_mutants)
    names = [f"m{number}" for number in range(total)]
    assert mutants.try_for(names, seconds_of_time, 1) == names[: sum(batches)]
    assert sizes == batches


def test_the_share_of_a_sample_has_wilsons_interval(capsys: pytest.CaptureFixture[str]) -> None:
    outcome_of = {f"m{number}": "killed" for number in range(17)}
    outcome_of |= {"m17": "timeout", "m18": "survived", "m19": "no tests"}
    interval = stats.binomtest(18, 20).proportion_ci(0.95, method="wilson")
    mutants.report("likelihood", outcome_of, 100)
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == (
        "likelihood: 18 of 20 mutants killed, 90.0% "
        f"(of 100; 95 % interval {interval.low:.1%} to {interval.high:.1%})"
    )
    assert "survived: m18" in printed
    assert "no tests: m19" in printed
    assert "m17 " not in printed
    mutants.report("likelihood", outcome_of, 20)
    assert "interval" not in capsys.readouterr().out
