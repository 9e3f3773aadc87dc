"""X1: samples follow the class; they do not where G is told another class than D."""

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.base import ExperimentResult, NotApplicable
from replicate.experiments.conditional import (
    EXPERIMENT,
    Conditional,
    ConditionalConfig,
    relative_spread,
)
from replicate.experiments.games.sample_judge import mean_distance
from replicate.figures.experiments.conditional import draw
from replicate.figures.theme import checked_svg
from replicate.records.packed_images import unpacked
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
SEEDS = range(6)
pytestmark = pytest.mark.usefixtures("quick_classifier")
QUICK = ConditionalConfig(
    updates=500,
    batch_size=32,
    code_dimension=4,
    hidden=(32, 32),
    learning_rate=0.01,
    samples_per_class=20,
)


@pytest.fixture(scope="module")
def result(quick_classifier: None) -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits(3))


def test_samples_follow_the_class_and_differ(result: ExperimentResult) -> None:
    assert result.series["classifier_accuracy"] >= 0.97
    assert set(states("X1", result.checks["X1"]).values()) == {"replicated"}


@negative_control("X1")
def test_where_g_is_told_another_class_than_d_it_is_not_replicated() -> None:
    def shuffled(told: Tensor) -> Tensor:
        return told.roll(
            1, dims=1
        )  # the class of another image: the rows of a minibatch are in random order

    measured = Conditional(shuffled).run(QUICK, SEEDS, CPU, small_digits(3)).checks["X1"]
    assert states("X1", measured)["share_of_the_requested_class"] == "not replicated"


def test_distances_are_those_of_a_double_loop() -> None:
    generator = np.random.default_rng(0)
    samples, images = generator.normal(size=(2, 3, 4, 5)), generator.normal(size=(30, 5))
    labels = np.arange(30) % 3

    def brute(rows: np.ndarray) -> float:
        pairs = [np.linalg.norm(rows[i] - rows[j]) for i in range(len(rows)) for j in range(i)]
        return float(np.mean(pairs))

    expected = [
        [brute(samples[s, c]) / brute(images[labels == c][:4]) for c in range(3)] for s in range(2)
    ]
    ratio = relative_spread(
        torch.from_numpy(samples), torch.from_numpy(images), torch.from_numpy(labels)
    )
    np.testing.assert_allclose(ratio.numpy(), expected, rtol=1e-12)
    assert float(mean_distance(torch.ones(7, 3))) == 0.0


@pytest.mark.slow
def test_the_result_is_a_function_of_its_seeds(result: ExperimentResult) -> None:
    short = QUICK.model_copy(update={"updates": 5})
    one, again = (EXPERIMENT.run(short, (2, 7), CPU, small_digits(3)) for _ in range(2))
    assert one == again
    alone = EXPERIMENT.run(short, (7,), CPU, small_digits(3))
    for check, values in one.checks["X1"].items():
        assert values[1:] == pytest.approx(alone.checks["X1"][check], abs=1e-5)  # type: ignore[index]
    assert one.checks != result.checks


def test_kept_samples_are_small_images(result: ExperimentResult) -> None:
    kept = unpacked(result.series["samples"])
    assert kept.shape == (3, 8, 8, 8)
    assert kept.max() > 0.8
    assert kept.std(axis=1).max() > 0.04


def test_figures_are_drawn_from_the_result_alone(result: ExperimentResult) -> None:
    drawn = draw({"seeds": list(SEEDS), "series": result.series})
    assert list(drawn) == ["samples", "classes"]
    for drawing in drawn.values():
        checked_svg(drawing.svg)
    assert "6 seeds" in drawn["classes"].caption
    assert "one seed (0): the first 8 of every class" in drawn["samples"].caption
    assert list(draw({"seeds": list(SEEDS), "series": {**result.series, "samples": None}})) == [
        "classes"
    ]


def test_a_poor_judge_or_no_labels_is_not_applicable() -> None:
    splits = small_digits(3)
    with pytest.raises(NotApplicable, match="no labels"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, Splits(splits.images, {}, 16.0))
    noise = {
        name: np.random.default_rng(0).permutation(values) for name, values in splits.labels.items()
    }
    with pytest.raises(NotApplicable, match="too few to judge"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, Splits(splits.images, noise, 16.0))


def test_where_there_is_one_class_no_sample_can_be_of_another() -> None:
    """Every sample would have the class that was asked for, whatever G makes of it."""
    with pytest.raises(NotApplicable, match="its images are of one class"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits(1, 100, 30))


def test_a_class_of_one_image_has_no_distance_to_compare() -> None:
    splits = small_digits(2, 200, 60)
    splits.labels["train"][7] = 2
    with pytest.raises(NotApplicable, match="class 2 has 1 training image"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, splits)
