"""X4: what is compared is fair, and features that know the class, or nothing, are told apart."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from replicate.datasets.base import Splits
from replicate.experiments.base import ExperimentResult, NotApplicable
from replicate.experiments.features import (
    EXPERIMENT,
    FEATURES,
    Features,
    FeaturesConfig,
    classifier_error,
    hidden_layers,
    standardised,
    stratified,
)
from replicate.experiments.games.image_game import initial
from replicate.figures.experiments.features import draw
from replicate.figures.theme import checked_svg
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
QUICK = FeaturesConfig(
    updates=5, inference_updates=5, batch_size=16, code_dimension=3, hidden=(12, 10), fresh_pairs=8,
    label_counts=(20, 40), penalties=(0.01, 1.0),
)  # fmt: skip
SEEDS = (2, 7)


@pytest.fixture(scope="module")
def found() -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits())


def test_the_check_is_the_error_of_pixels_less_that_of_the_judged_features(
    found: ExperimentResult,
) -> None:
    errors = {name: np.array(rows) for name, rows in found.series["errors"].items()}
    assert tuple(errors) == FEATURES
    gains = found.checks["X4"]["error_saved_by_features_of_d"]
    assert gains == pytest.approx((errors["pixels"] - errors["discriminator"]).mean(1).tolist())
    control = Features("untrained").run(QUICK, SEEDS, CPU, small_digits())
    assert control.series == found.series
    untrained = (errors["pixels"] - errors["untrained"]).mean(1).tolist()
    assert control.checks["X4"]["error_saved_by_features_of_d"] == pytest.approx(untrained)


@negative_control("X4")
def test_features_of_a_network_that_never_learnt_are_found_out() -> None:
    measured = Features("untrained").run(QUICK, tuple(range(6)), CPU, small_digits()).checks["X4"]
    assert states("X4", measured) == {"error_saved_by_features_of_d": "not replicated"}


def test_features_are_the_rectified_units_of_every_hidden_layer() -> None:
    streams = Streams(SEEDS, CPU, torch.float64)
    images = streams.uniform("evaluation", 0, 6, 9)
    parameters = initial(QUICK, streams, images[0])
    found = hidden_layers(parameters, "discriminator", 3, images)
    assert found.shape == (2, 6, 22)
    for seed in range(2):
        weights = [parameters[f"discriminator.{layer}.weight"][seed].numpy() for layer in range(2)]
        first = np.maximum(images[seed].numpy() @ weights[0], 0)  # biases are 0 at the start
        expected = np.concatenate([first, np.maximum(first @ weights[1], 0)], 1)
        np.testing.assert_allclose(found[seed].numpy(), expected, rtol=1e-12, atol=1e-14)


def test_every_beginning_has_as_many_images_of_each_class() -> None:
    generator = np.random.default_rng(0)
    labels, drawn = generator.integers(0, 4, 100), generator.random(100, np.float32)
    order = stratified(labels, drawn)
    assert sorted(order) == list(range(100))
    for count in (4, 10, 31, 60):
        shares = np.bincount(labels[order[:count]], minlength=4)
        assert shares.max() - shares.min() <= 1
    assert not np.array_equal(order, stratified(labels, generator.random(100, np.float32)))


def test_standardising_knows_only_the_training_images() -> None:
    generator = np.random.default_rng(0)
    train = generator.normal(2, (1, 3), (5000, 2))
    scaled = standardised({"train": train, "test": train[:10] + 100})
    np.testing.assert_allclose(scaled["train"].mean(0), 0, atol=1e-12)
    assert scaled["train"].var(0).mean() == pytest.approx(1)
    assert scaled["train"].std(0)[1] == pytest.approx(
        3 * scaled["train"].std(0)[0], rel=0.1
    )  # one scale for all
    np.testing.assert_allclose(
        scaled["test"] - scaled["train"][:10], 100 / np.sqrt(train.var(0).mean())
    )


def test_features_that_never_vary_leave_a_classifier_at_chance() -> None:
    generator = np.random.default_rng(1)
    labels = {name: generator.permutation(np.arange(60) % 3) for name in ("train", "valid", "test")}
    sets = standardised({name: np.full((60, 4), 0.25) for name in labels})
    assert classifier_error(sets, labels, np.arange(30), (0.1, 1.0))[0] == pytest.approx(2 / 3)


def test_the_penalty_is_chosen_on_validation_images_and_judged_on_test_images() -> None:
    generator = np.random.default_rng(3)
    labels = {name: generator.integers(0, 3, 80) for name in ("train", "valid", "test")}
    sets = {
        name: np.eye(3)[rows] + generator.normal(0, 0.7, (80, 3)) for name, rows in labels.items()
    }
    rows = np.arange(30)
    found, chosen = classifier_error(sets, labels, rows, (10.0, 0.0001, 0.1))
    fits = {
        c: LogisticRegression(C=c, max_iter=5000).fit(sets["train"][rows], labels["train"][rows])
        for c in (0.0001, 0.1, 10.0)
    }
    scores = {c: fit.score(sets["valid"], labels["valid"]) for c, fit in fits.items()}
    assert chosen == max(scores, key=lambda c: (scores[c], -c))
    assert found == pytest.approx((fits[chosen].predict(sets["test"]) != labels["test"]).mean())
    known = {name: np.eye(3)[rows] for name, rows in labels.items()}
    assert classifier_error(known, labels, rows, (1.0,))[0] == 0
    shuffled = {name: generator.permutation(rows) for name, rows in labels.items()}
    assert classifier_error(sets, shuffled, rows, (1.0,))[0] > 0.5


@pytest.mark.parametrize(("images", "width"), [(40, 90), (90, 40)])
def test_coordinates_and_warm_starts_leave_the_classifier_as_it_is(images: int, width: int) -> None:
    generator = np.random.default_rng(5)
    labels = {name: generator.integers(0, 4, 3000) for name in ("train", "valid", "test")}
    means = generator.normal(0, 0.35, (4, width))
    sets = {
        name: means[rows] + generator.normal(0, 1, (3000, width)) for name, rows in labels.items()
    }
    rows = np.arange(images)
    expected = {}
    for c in (0.001, 0.1, 10.0):
        plain = LogisticRegression(C=c, max_iter=5000, tol=1e-8).fit(
            sets["train"][rows], labels["train"][rows]
        )
        expected[c] = (plain.predict(sets["test"]) != labels["test"]).mean()
    assert 0.05 < min(expected.values()) < max(expected.values()) < 0.75
    for penalties in (*((c,) for c in expected), tuple(expected)):
        found, chosen = classifier_error(sets, labels, rows, penalties)
        assert found == pytest.approx(expected[chosen], abs=0.002)  # six of 3,000 images


def test_the_result_is_a_function_of_its_seeds(found: ExperimentResult) -> None:
    assert EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits()) == found
    alone = EXPERIMENT.run(QUICK, SEEDS[1:], CPU, small_digits())
    for name in FEATURES:
        assert alone.series["errors"][name][0] == pytest.approx(
            found.series["errors"][name][1], abs=0.02
        )
    assert (
        found.series["errors"]["pixels"][0] != found.series["errors"]["pixels"][1]
    )  # other labelled images


def test_a_failed_network_is_a_failed_seed_only_for_its_features(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object) -> dict[str, torch.Tensor]:
        parameters = initial(QUICK, Streams(SEEDS, CPU), torch.rand(9, 64))
        parameters["discriminator.0.weight"][0, 0] = torch.nan
        return parameters

    monkeypatch.setattr("replicate.experiments.features.play", broken)
    result = EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits())
    gains = result.checks["X4"]["error_saved_by_features_of_d"]
    assert gains[0] is None  # type: ignore[index]
    assert gains[1] is not None  # type: ignore[index]
    assert result.series["errors"]["pixels"][0][0] is not None
    checked_svg(draw({"seeds": list(SEEDS), "series": result.series})["errors"].svg)


def test_what_cannot_be_answered_says_why() -> None:
    splits = small_digits()
    with pytest.raises(NotApplicable, match="no labels"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, Splits(splits.images, {}, 16.0))
    for counts, reason in (((20, 3000), "3000 labelled images"), ((5, 20), "10 classes")):
        with pytest.raises(NotApplicable, match=reason):
            EXPERIMENT.run(QUICK.model_copy(update={"label_counts": counts}), SEEDS, CPU, splits)
    with pytest.raises(NotApplicable, match="its images are of one class"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits(1, 100, 30))
