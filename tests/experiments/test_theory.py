"""Section 4 of the paper: golden values, independent quadrature, and a wrong D that is found
out.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from replicate.__main__ import main
from replicate.experiments.theory import (
    EXPERIMENT,
    GRID,
    SHIFTS,
    STEP,
    Theory,
    TheoryConfig,
    TrainingCurve,
    _checks,
    best_response,
    criterion,
    descend,
    grid_facts,
    log_normal,
    optimal,
    train_discriminator,
)  # fmt: skip
from replicate.figures.experiments.theory import draw
from replicate.storage.files import read_json
from replicate.storage.paths import package_root
from tests.experiments.controls import negative_control
from tests.experiments.helpers import verdict

SMALL = TheoryConfig(updates=400, descent_steps=1500, batch_size=256)
CPU = torch.device("cpu")


def test_the_criterion_is_that_of_an_adaptive_quadrature() -> None:
    """-log 4 + 2 JSD of N(0, 1) and N(m, 1), by scipy's quad over the log-densities."""
    one = stats.norm(0, 1)
    for shift, found in zip(SHIFTS, grid_facts(optimal)["criterion"], strict=True):
        two = stats.norm(shift, 1)

        def integrand(x: float, two: Any = two) -> float:
            middle = np.logaddexp(one.logpdf(x), two.logpdf(x)) - math.log(2)
            p, q = one.logpdf(x), two.logpdf(x)
            return float(math.exp(p) * (p - middle) + math.exp(q) * (q - middle))

        divergence = integrate.quad(integrand, -12, 18, limit=200, epsabs=1e-13)[0]
        assert found == pytest.approx(-math.log(4) + divergence, abs=1e-9)


def test_golden_values_of_the_criterion() -> None:
    """Computed apart from this project, to six decimals."""
    golden = [-1.386294, -1.325672, -1.163451, -0.712633, -0.332740, -0.120854, -0.007698]
    assert grid_facts(optimal)["criterion"] == pytest.approx(golden, abs=1e-6)


def test_the_best_answer_of_bisection_is_the_maximum() -> None:
    data, generated = np.exp(log_normal(0.0))[3000:3800], np.exp(log_normal(2.0))[3000:3800]
    best = best_response(data, generated)

    def payoff(logit: np.ndarray) -> np.ndarray:
        return -data * np.logaddexp(0, -logit) - generated * np.logaddexp(0, logit)

    for shift in (-0.01, 0.01):
        assert (payoff(best) > payoff(best + shift)).all()


def test_any_other_discriminator_gives_less() -> None:
    rng = np.random.default_rng(0)
    facts = grid_facts(lambda p, q: p - q + rng.normal(0, 0.3, p.shape))
    assert (np.array(facts["value"]) < np.array(facts["criterion"])).all()


def test_the_grid_holds_the_densities() -> None:
    for shift in SHIFTS:
        assert np.exp(log_normal(shift)).sum() * STEP == pytest.approx(1, abs=1e-12)
    assert GRID[0] < -12 < 18 < GRID[-1]


def test_the_criterion_of_disjoint_distributions_is_zero() -> None:
    assert criterion(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 1.0) == pytest.approx(0, abs=1e-15)


def test_a_trained_discriminator_comes_close_and_never_above() -> None:
    curve = train_discriminator(SMALL, (0, 1), CPU)
    error, shortfall = np.array(curve["error"]), np.array(curve["shortfall"])
    assert error.shape == shortfall.shape == (len(curve["update"]), 2)
    assert (error[-1] < 0.3 * error[0]).all()
    assert (shortfall > 0).all()


@pytest.mark.slow
def test_a_seed_alone_is_that_in_company() -> None:
    company, alone = train_discriminator(SMALL, (3, 4), CPU), train_discriminator(SMALL, (4,), CPU)
    np.testing.assert_allclose(
        np.array(company["error"])[:, 1], np.array(alone["error"])[:, 0], atol=1e-4
    )
    assert descend(SMALL, (3, 4))["jsd"][1] == descend(SMALL, (4,))["jsd"][0]


def test_descent_ends_at_the_data() -> None:
    found = descend(SMALL, (0, 1, 2))
    assert max(row[-1] for row in found["jsd"]) < 1e-9
    assert max(found["largest_rise"]) < 1e-12
    assert max(found["largest_excess"]) < 0


@negative_control("P1", "TH1", "P2")
def test_the_claims_hold_and_a_wrong_optimum_is_found_out() -> None:
    seeds = tuple(range(6))
    config = TheoryConfig(updates=800, descent_steps=1500)
    right = verdict(EXPERIMENT, config, seeds)
    assert right == {"P1": "replicated", "TH1": "replicated", "P2": "replicated"}
    wrong = verdict(Theory(lambda p, q: p - q - math.log(2)), config, seeds)
    assert (wrong["P1"], wrong["TH1"]) == ("not replicated", "not replicated")
    blind = verdict(Theory(lambda p, q: p), config, seeds)  # a D that does not look at p_g
    assert blind["P2"] == "not replicated"


def test_a_discriminator_that_diverges_is_a_failed_seed_and_no_excess() -> None:
    """The bound of theorem 1 is that of the seeds that have numbers; without any it is unknown."""
    grid, descent = grid_facts(optimal), descend(SMALL, (0,))
    trained: TrainingCurve = {
        "update": [1, 2],
        "error": [[0.3, 0.2, 0.4], [0.1, math.nan, 0.1]],
        "shortfall": [[0.5, 0.4, 0.6], [0.2, math.nan, 0.1]],
    }
    checks = _checks(grid, trained, descent)["TH1"]
    assert checks["trained_discriminator_above_the_criterion"] == -0.1
    trained["shortfall"] = [[math.nan] * 3, [math.inf] * 3]
    checks = _checks(grid, trained, descent)["TH1"]
    assert checks["trained_discriminator_above_the_criterion"] is None


def test_a_run_whose_discriminators_all_diverge_ends_in_a_verdict(tmp_path: Path) -> None:
    """And not in a result that the next stage refuses."""
    settings = {
        "seeds": "0-5",
        "hidden": [16, 16, 16, 16, 16],
        "learning_rate": 1e9,
        "updates": 300,
        "descent_steps": 20,
    }
    params = json.dumps({"experiments": {"theory": settings}})
    result, out = tmp_path / "theory.json", tmp_path / "statements.json"
    words = ["experiment", "--name", "theory", "--params", params, "--out", str(result)]
    assert main([*words, "--state", str(tmp_path / "state")]) == 0
    protocol = str(package_root() / "protocol.yaml")
    words = ["statements", "--params", params, "--protocol", protocol, "--out", str(out)]
    assert main([*words, str(result)]) == 0
    states = {entry["statement"]: entry["state"] for entry in read_json(out)["statements"]}
    assert (states["P1"], states["TH1"]) == ("inconclusive", "inconclusive")


@pytest.mark.slow
def test_figures_say_what_they_show() -> None:
    found = EXPERIMENT.run(SMALL, (0, 1), CPU, None)
    drawn = draw({"seeds": [0, 1], "series": found.series})
    assert set(drawn) == {"criterion", "trained", "descent"}
    assert all(b"nats" in one.svg or "nats" in one.caption for one in drawn.values())
    assert "2 seeds" in drawn["trained"].caption


def test_a_step_that_would_leave_no_distribution_is_refused() -> None:
    """By steps of 4, p_g swings ever further about the data until it is 0 at some points."""
    with pytest.raises(ValueError, match="descent_rate"):
        TheoryConfig(descent_rate=4.0)
    longest = descend(TheoryConfig(descent_rate=2.0, descent_steps=300), range(3))
    assert np.isfinite(longest["jsd"]).all()
    assert max(longest["largest_rise"]) > 1e-12
