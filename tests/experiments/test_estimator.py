"""The estimate of a known density: closed forms, the estimate by hand, and an exact one that is not
found at fault.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from replicate.experiments import estimator
from replicate.experiments.constants import THIN
from replicate.experiments.estimator import (
    EXPERIMENT,
    SIGMAS,
    Estimator,
    EstimatorConfig,
    densities,
    deviations_from_median,
    errors,
    parzen,
    scaled_deviations,
    true_log_density,
)  # fmt: skip
from replicate.figures.experiments.estimator import draw
from replicate.training.streams import Streams
from tests.experiments.controls import earlier_verdict, negative_control, verdicts_of

CPU = torch.device("cpu")
TINY = EstimatorConfig(samples=200, validation=40, test=40)
SEEDS = range(8)


def test_the_true_density_is_scipys() -> None:
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    spreads = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    wanted = stats.multivariate_normal(np.zeros(3), np.diag(spreads.numpy() ** 2)).logpdf(
        points.numpy()
    )
    np.testing.assert_allclose(true_log_density(points, spreads).numpy(), wanted, atol=1e-12)


def test_the_mean_of_the_true_density_is_minus_half_d_log_two_pi_e() -> None:
    points = Streams((1,), CPU).normal("evaluation", 0, 20_000, 32)[0]
    found = float(true_log_density(points, torch.ones(32)).mean())
    assert found == pytest.approx(
        -16 * math.log(2 * math.pi * math.e), abs=5 * math.sqrt(16 / 20_000)
    )


def test_the_densities_are_as_named() -> None:
    assert [len(spreads) for spreads in densities().values()] == [1, 2, 8, 32, 128, 784, 784]
    assert int((densities()[THIN] == 1).sum()) == 8
    assert SIGMAS[0] == 0.1
    assert SIGMAS[9] == pytest.approx(1)


def test_the_error_is_that_of_the_estimate_by_hand() -> None:
    """One window for every sample, bandwidth by the validation samples, in float64 NumPy; of one
    dimension and two.
    """
    for dimension in (1, 2):
        found = errors(parzen, torch.ones(dimension), TINY, (4,), CPU)
        streams = Streams((4,), CPU, torch.float64)
        samples = streams.normal("noise", 0, 200, dimension, part=0)[0].numpy()
        valid = streams.normal("noise", 0, 40, dimension, part=1)[0].numpy()
        test = Streams((0,), CPU, torch.float64).normal("evaluation", 0, 40, dimension)[0].numpy()
        for k, size in enumerate(found["samples"]):

            def mean(
                points: np.ndarray, sigma: float, centres: np.ndarray = samples[:size]
            ) -> float:
                logs = stats.norm.logpdf(points[:, None], centres[None], sigma).sum(2)
                return float((np.log(np.exp(logs).mean(1))).mean())

            best = max(SIGMAS, key=lambda sigma: mean(valid, sigma))
            assert found["sigma"][k] == [best]
            truth = stats.norm.logpdf(test).sum(1).mean()
            assert found["bias"][k][0] == pytest.approx(mean(test, best) - truth, abs=1e-4)


def test_the_bias_of_a_known_bandwidth_is_that_of_the_smoothed_density(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With many windows of width s the estimate is N(0, 1 + s^2): its mean log-density at N(0, 1),
    in closed form.
    """
    monkeypatch.setattr(estimator, "SIGMAS", (1.0,))
    config = EstimatorConfig(samples=20_000, validation=2, test=4000)
    found = errors(parzen, torch.ones(1), config, (0,), CPU)["bias"][-1][0]
    assert found == pytest.approx(-math.log(2) / 2 - 1 / 4 + 1 / 2, abs=0.02)


def test_deviations_are_from_the_median() -> None:
    assert deviations_from_median([1.0, 5.0, 2.0]) == [1.0, 3.0, 0.0]


def test_a_seed_alone_is_that_in_company_and_twice_the_same() -> None:
    spreads = densities()["8"]
    company, alone = (errors(parzen, spreads, TINY, seeds, CPU) for seeds in ((3, 4), (4,)))
    assert [row[1:] for row in company["bias"]] == alone["bias"]
    assert errors(parzen, spreads, TINY, (4,), CPU) == alone


def scattered(size: float) -> Estimator:
    """The Parzen estimate with an error of its own for each set of samples in 784 dimensions:
    `size` nats or less.
    """

    def estimate(
        samples: Tensor, validation: Tensor, test: Tensor, spreads: Tensor
    ) -> tuple[Tensor, float]:
        found, sigma = parzen(samples, validation, test, spreads)
        error = size * math.sin(1e6 * float(samples[0, 0])) if samples.shape[1] == 784 else 0.0
        return found + error, sigma

    return Estimator(estimate)


def test_a_biased_estimate_that_scatters_as_much_as_table_1_shows_is_what_the_claim_says() -> None:
    assert verdicts_of(scattered(6.0).run(TINY, SEEDS, CPU, None).checks) == {"E1": "replicated"}


@negative_control("E1")
def test_an_exact_estimate_is_found_out() -> None:
    exact = Estimator(
        lambda samples, validation, test, spreads: (true_log_density(test, spreads), 1.0)
    )
    assert verdicts_of(exact.run(TINY, SEEDS, CPU, None).checks) == {"E1": "not replicated"}


@negative_control("E1")
def test_a_spread_that_nobody_can_see_is_not_high_though_it_grows_with_the_dimension() -> None:
    """A bias of a hundred nats beside a spread of .2: the rule of version 3 was content with any
    growth.
    """

    def estimate(
        samples: Tensor, validation: Tensor, test: Tensor, spreads: Tensor
    ) -> tuple[Tensor, float]:
        dimension, count = len(spreads), len(samples)
        error = 2e-4 * dimension * math.sin(1e6 * float(samples[0, 0]))
        return true_log_density(test, spreads) - dimension * (0.2 - 1e-5 * count) + error, 1.0

    checks = Estimator(estimate).run(TINY, SEEDS, CPU, None).checks
    assert earlier_verdict("E1", checks["E1"]) == "replicated"
    assert verdicts_of(checks) == {"E1": "not replicated"}


def test_the_scaled_deviations_are_the_standard_deviation_of_normal_values() -> None:
    values = stats.norm.ppf((np.arange(4000) + 0.5) / 4000, scale=3.0)
    assert np.mean(scaled_deviations(values.tolist())) == pytest.approx(3.0, rel=1e-3)  # type: ignore[arg-type]


@pytest.mark.slow
def test_figures_say_what_they_show() -> None:
    found = EXPERIMENT.run(TINY, (0, 1), CPU, None)
    drawn = draw({"seeds": [0, 1], "series": found.series})
    assert set(drawn) == {"bias", "spread"}
    assert all("2 sets" in one.caption and b"nats" in one.svg for one in drawn.values())
