"""What several samplers of one model say together: means and intervals over independent values."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from replicate.verdicts.samplers import comparison

#: Seed -> correlation with the start, of every draw.
DRAWS = {3: [0.01, 0.03, 0.02], 4: [0.31, 0.29, 0.30], 5: [0.12, 0.16, 0.11]}


def block(draws_of_seeds: dict[int, list[float] | None]) -> tuple[str, Any]:
    """A result of the stage `samplers`; a seed without draws failed."""
    per_seed: list[Any] = []
    for draws in draws_of_seeds.values():
        entries = [
            {
                "log_likelihood": 100 * value,
                "effective_samples": None,
                "remembered_start": value,
                "memorisation": 0.0,
            }
            for value in draws or ()
        ]
        per_seed.append(entries if draws else None)
    samplers = {"mixed": {"settings": {}, "per_seed": per_seed}}
    content = {"seeds": list(draws_of_seeds), "samplers": samplers, "independent_pixels": -1.0}
    return "samplers.json", content


def mixed(*blocks: tuple[str, Any]) -> Any:
    compared = comparison(blocks)
    assert compared is not None
    return compared["samplers"]["mixed"]


def assert_students(shown: Any, values: Any) -> None:
    """The mean of `values` with Student's 95 % interval, by scipy."""
    assert shown["mean"] == pytest.approx(np.mean(values), rel=1e-12)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert shown["interval"] == pytest.approx([interval.low, interval.high], rel=1e-9)


def test_several_seeds_count_by_their_means() -> None:
    """Draws of one seed are not independent: nine of three seeds give two degrees of freedom."""
    summary = mixed(block({3: DRAWS[3]}), block({4: DRAWS[4], 5: DRAWS[5]}))
    means = [float(np.mean(draws)) for draws in DRAWS.values()]
    assert_students(summary["remembered_start"], means)
    assert_students(summary["log_likelihood"], [100 * mean for mean in means])
    assert summary["draws"] == 9
    assert [entry["seed"] for entry in summary["per_seed"]] == list(DRAWS)
    of_seeds = [entry["log_likelihood"] for entry in summary["per_seed"]]
    assert of_seeds == pytest.approx([100 * mean for mean in means])
    low, high = summary["remembered_start"]["interval"]
    every_draw = stats.ttest_1samp(np.ravel(list(DRAWS.values())), 0).confidence_interval(0.95)
    assert high - low > 2 * (every_draw.high - every_draw.low)


def test_every_seed_counts_once_however_many_draws_it_has() -> None:
    summary = mixed(block({0: [0.1] * 20, 1: [0.3, 0.3]}))
    assert_students(summary["remembered_start"], [0.1, 0.3])


@pytest.mark.parametrize("failed", [{}, {9: None}])
def test_the_draws_of_a_single_seed_count_themselves(failed: dict[int, None]) -> None:
    summary = mixed(block({5: DRAWS[5], **failed}))
    assert_students(summary["remembered_start"], DRAWS[5])


def test_one_draw_has_no_interval_and_what_nobody_knows_no_mean() -> None:
    summary = mixed(block({0: [0.25]}))
    assert summary["remembered_start"] == {"mean": 0.25, "interval": None}
    assert summary["effective_samples"] == {"mean": None, "interval": None}
