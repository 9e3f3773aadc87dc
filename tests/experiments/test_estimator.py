"""The estimate of a known density: closed forms, the estimate by hand, and an exact one that is not found at fault."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from replicate.claims import judged_statement
from replicate.experiments import estimator
from replicate.experiments.estimator import (
    EXPERIMENT,
    SIGMAS,
    Estimator,
    EstimatorConfig,
    densities,
    deviations,
    errors,
    parzen,
    true_log_density,
)  # fmt: skip
from replicate.experiments.fixed.estimator import THIN
from replicate.figures.experiments.estimator import draw
from replicate.protocol import Check, Protocol, Statement
from replicate.training.streams import Streams

CPU = torch.device("cpu")
TINY = EstimatorConfig(samples=200, validation=40, test=40)
RULES = {
    "bias_in_784_dimensions": Check(reads="", below=-11),
    "growth_of_the_bias_from_2_to_32_dimensions": Check(reads="", above=1),
    "growth_of_the_bias_from_32_to_784_dimensions": Check(reads="", above=1),
    "change_by_ten_times_the_samples": Check(reads="", above=1),
    "growth_of_the_spread_from_2_to_784_dimensions": Check(reads="", above=0),
}


def verdict(experiment: Estimator, seeds: range) -> str:
    statement = Statement(section="", says="", checks=RULES)
    protocol = Protocol(version=4, estimates={}, claims={}, statements={"E1": statement})
    checks = experiment.run(TINY, seeds, CPU, None).checks
    content = {
        "experiment": "estimator",
        "not_applicable": None,
        "changed": [],
        "parameters": {"config": {}},
        "checks": checks,
    }
    return str(judged_statement("E1", protocol, {"E1": ("test.json", content)})["state"])


def test_the_true_density_is_scipys() -> None:
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spreads = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    wanted = stats.multivariate_normal(np.zeros(3), np.diag(spreads.numpy() ** 2)).logpdf(points.numpy())
    np.testing.assert_allclose(true_log_density(points, spreads).numpy(), wanted, atol=1e-12)


def test_the_mean_of_the_true_density_is_minus_half_d_log_two_pi_e() -> None:
    points = Streams((1,), CPU).normal("evaluation", 0, 20_000, 32)[0]
    found = float(true_log_density(points, torch.ones(32)).mean())
    assert found == pytest.approx(-16 * math.log(2 * math.pi * math.e), abs=5 * math.sqrt(16 / 20_000))


def test_the_densities_are_as_named() -> None:
    assert [len(spreads) for spreads in densities().values()] == [1, 2, 8, 32, 128, 784, 784]
    assert int((densities()[THIN] == 1).sum()) == 8
    assert SIGMAS[0] == 0.1
    assert SIGMAS[9] == pytest.approx(1)


def test_the_error_is_that_of_the_estimate_by_hand() -> None:
    """One window for every sample, bandwidth by the validation samples, in float64 NumPy; of one dimension and two."""
    for dimension in (1, 2):
        found = errors(parzen, torch.ones(dimension), TINY, (4,), CPU)
        streams = Streams((4,), CPU, torch.float64)
        samples = streams.normal("noise", 0, 200, dimension, part=0)[0].numpy()
        valid = streams.normal("noise", 0, 40, dimension, part=1)[0].numpy()
        test = Streams((0,), CPU, torch.float64).normal("evaluation", 0, 40, dimension)[0].numpy()
        for k, size in enumerate(found["samples"]):

            def mean(points: np.ndarray, sigma: float, centres: np.ndarray = samples[:size]) -> float:
                logs = stats.norm.logpdf(points[:, None], centres[None], sigma).sum(2)
                return float((np.log(np.exp(logs).mean(1))).mean())

            best = max(SIGMAS, key=lambda sigma: mean(valid, sigma))
            assert found["sigma"][k] == [best]
            truth = stats.norm.logpdf(test).sum(1).mean()
            assert found["bias"][k][0] == pytest.approx(mean(test, best) - truth, abs=1e-4)


def test_the_bias_of_a_known_bandwidth_is_that_of_the_smoothed_density(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many windows of width s the estimate is N(0, 1 + s^2): its mean log-density at N(0, 1), in closed form."""
    monkeypatch.setattr(estimator, "SIGMAS", (1.0,))
    config = EstimatorConfig(samples=20_000, validation=2, test=4000)
    found = errors(parzen, torch.ones(1), config, (0,), CPU)["bias"][-1][0]
    assert found == pytest.approx(-math.log(2) / 2 - 1 / 4 + 1 / 2, abs=0.02)


def test_deviations_are_from_the_median() -> None:
    assert deviations([1.0, 5.0, 2.0]) == [1.0, 3.0, 0.0]


def test_a_seed_alone_is_that_in_company_and_twice_the_same() -> None:
    spreads = densities()["8"]
    company, alone = (errors(parzen, spreads, TINY, seeds, CPU) for seeds in ((3, 4), (4,)))
    assert [row[1:] for row in company["bias"]] == alone["bias"]
    assert errors(parzen, spreads, TINY, (4,), CPU) == alone


def test_the_claim_holds_and_an_exact_estimate_is_found_out() -> None:
    assert verdict(EXPERIMENT, range(8)) == "replicated"
    exact = Estimator(lambda samples, validation, test, spreads: (true_log_density(test, spreads), 1.0))
    assert verdict(exact, range(8)) == "not replicated"


def test_figures_say_what_they_show() -> None:
    found = EXPERIMENT.run(TINY, (0, 1), CPU, None)
    drawn = draw({"seeds": [0, 1], "series": found.series})
    assert set(drawn) == {"bias", "spread"}
    assert all("2 sets" in one.caption and b"nats" in one.svg for one in drawn.values())
