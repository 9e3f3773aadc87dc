"""tools/power.py: the power of a rule, against games of chance."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).parent.parent
power = runpy.run_path(str(ROOT / "tools/power.py"))["power"]


@pytest.mark.parametrize(
    ("mean", "threshold", "sign"), [(1.0, 0.2, 1), (1.0, 1.5, -1), (0.0, 0.3, 1)]
)
def test_power_is_how_often_the_test_passes(mean: float, threshold: float, sign: int) -> None:
    values = np.array([-1.0, 0.0, 1.0]) + mean  # mean and standard deviation 1 exactly
    draws = np.random.default_rng(0).normal(mean, 1, (40_000, 12))
    tested = stats.ttest_1samp(
        draws, threshold, axis=1, alternative="greater" if sign > 0 else "less"
    )
    assert power(values, threshold, sign, 12) == pytest.approx(
        (tested.pvalue < 0.05).mean(), abs=0.01
    )


def test_without_spread_the_test_always_or_never_passes() -> None:
    assert power([8.0, 8.0], 4.0, 1, 10) == 1
    assert power([8.0, 8.0], 4.0, -1, 10) == 0
    # Ten times 0.3 has a mean below 0.3 by rounding, and a spread.
    assert power([0.3] * 10, 0.3, 1, 10) == 0
    assert power([0.3] * 10, 0.3, -1, 10) == 0
