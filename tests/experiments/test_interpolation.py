"""F3: lines in z lead through images that a classifier knows; they do not where pixel blends stand
for G.
"""

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.diagnostics.classifier import CONFIDENCE_THRESHOLD, Classifier
from replicate.experiments.base import ExperimentResult, NotApplicable
from replicate.experiments.interpolation import (
    EXPERIMENT,
    STEPS,
    Interpolation,
    InterpolationConfig,
    _checks,
    ends_of_the_strip,
    sure_shares,
    through_codes,
    through_images,
)
from replicate.figures.experiments.interpolation import draw
from replicate.figures.theme import checked_svg
from replicate.records.packed_images import unpacked
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
SEEDS = range(6)
pytestmark = pytest.mark.usefixtures("quick_classifier")
QUICK = InterpolationConfig(
    updates=800,
    batch_size=32,
    code_dimension=4,
    hidden=(32, 32),
    learning_rate=0.01,
    lines=60,
    draws=200,
)


@pytest.fixture(scope="module")
def result(quick_classifier: None) -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits(3))


def test_lines_in_z_lead_through_digits(result: ExperimentResult) -> None:
    assert set(states("F3", result.checks["F3"]).values()) == {"replicated"}


@negative_control("F3")
def test_pixel_blends_in_place_of_g_are_not_replicated() -> None:
    measured = Interpolation(through_images).run(QUICK, SEEDS, CPU, small_digits(3)).checks["F3"]
    assert states("F3", measured)["sure_beyond_pixel_blends"] == "not replicated"
    assert measured["sure_beyond_pixel_blends"] == [0.0] * len(SEEDS)


def test_the_checks_are_shares_of_the_points_between_the_ends(result: ExperimentResult) -> None:
    shares = {name: np.array(values) for name, values in result.series["shares"].items()}
    assert shares["codes"].shape == shares["images"].shape == (len(SEEDS), QUICK.between + 2)
    np.testing.assert_allclose(shares["codes"][:, [0, -1]], shares["images"][:, [0, -1]])
    on_lines, of_blends = (shares[name][:, 1:-1].mean(1) for name in ("codes", "images"))
    np.testing.assert_allclose(
        result.checks["F3"]["sure_beyond_pixel_blends"], on_lines - of_blends
    )
    of_samples = shares["codes"][:, [0, -1]].mean(1)
    np.testing.assert_allclose(
        result.checks["F3"]["sure_relative_to_samples"], on_lines / of_samples
    )


def test_the_two_ways_differ_by_what_g_bends() -> None:
    generator = np.random.default_rng(0)
    one, other = generator.normal(size=(2, 3, 4, 5))
    places = np.array([0.0, 0.25, 1.0])
    lines = np.array(
        [
            [[(1 - t) * one[s, k] + t * other[s, k] for t in places] for k in range(4)]
            for s in range(3)
        ]
    )
    arguments = (*(torch.from_numpy(array) for array in (one, other, places)),)
    np.testing.assert_allclose(through_codes(torch.exp, *arguments), np.exp(lines), rtol=1e-12)
    blends = through_images(torch.exp, *arguments).numpy()
    np.testing.assert_allclose(blends[:, :, [0, 2]], np.exp(lines[:, :, [0, 2]]), rtol=1e-12)
    np.testing.assert_allclose(
        blends[:, :, 1], 0.75 * np.exp(one) + 0.25 * np.exp(other), rtol=1e-12
    )


class OfFirstPixel(Classifier):
    """Gives the second of two classes the probability that the first pixel says."""

    def probabilities(self, images: Tensor) -> Tensor:
        return torch.stack([1 - images[:, 0, 0, 0], images[:, 0, 0, 0]], 1)


def test_the_share_is_of_images_of_any_sure_class_and_failed_seeds_have_none() -> None:
    images = torch.zeros(3, 4, 2, 4)
    images[0, :, 0, 0] = torch.tensor([CONFIDENCE_THRESHOLD, 0.5, 0.89, 0.05])
    images[1, :, 1, 0] = torch.tensor([0.5, 0.5, 0.5, 0.11])
    images[2, 3, 1, 3] = torch.nan
    share = sure_shares(OfFirstPixel({}), images, (1, 2, 2))
    assert share[:2].tolist() == [[0.5, 1.0], [1.0, 0.0]]
    assert share[2].isnan().all()
    checks = _checks({"codes": share[:, [0, 1, 0]], "images": share[:, [0, 1, 0]]})["F3"]
    assert checks["sure_beyond_pixel_blends"] == [0.0, 0.0, None]
    assert checks["sure_relative_to_samples"] == [2.0, 0.0, None]


def test_the_ends_of_the_strip_are_the_surest_images_of_their_classes() -> None:
    probabilities = torch.rand(50, 10, generator=torch.Generator().manual_seed(0))
    classes, rows = ends_of_the_strip(probabilities)
    assert classes == [1, 5, 7, 9]
    for number, row in zip(classes, rows, strict=True):
        assert probabilities[row, number] == probabilities[:, number].max()
    assert ends_of_the_strip(probabilities[:, :9])[0] == [0, 1, 2, 3]
    assert ends_of_the_strip(probabilities[:, :3])[0] == [0, 1, 2]


def test_the_strip_goes_round_and_every_line_begins_where_the_last_ended(
    result: ExperimentResult,
) -> None:
    strip = unpacked(result.series["strip"])
    assert strip.shape == (3, STEPS + 2, 8, 8)
    np.testing.assert_array_equal(strip[:, -1], np.roll(strip[:, 0], -1, axis=0))
    assert strip.max() > 0.8


@pytest.mark.slow
def test_the_result_is_a_function_of_its_seeds(result: ExperimentResult) -> None:
    short = QUICK.model_copy(update={"updates": 5})
    one, again = (EXPERIMENT.run(short, (2, 7), CPU, small_digits(3)) for _ in range(2))
    assert one == again
    alone = EXPERIMENT.run(short, (7,), CPU, small_digits(3))
    for check, values in one.checks["F3"].items():
        assert values[1:] == pytest.approx(alone.checks["F3"][check], abs=1e-5)  # type: ignore[index]
    assert one.checks != result.checks


def test_figures_are_drawn_from_the_result_alone(result: ExperimentResult) -> None:
    series = dict(result.series)
    drawn = draw({"seeds": list(SEEDS), "series": series})
    assert list(drawn) == ["strip", "shares"]
    for drawing in drawn.values():
        checked_svg(drawing.svg)
    assert "one seed (0)" in drawn["strip"].caption
    assert "6 seeds" in drawn["shares"].caption
    series["shares"] = {
        name: [[None] * len(rows[0]), *rows[1:]] for name, rows in series["shares"].items()
    }
    assert list(draw({"seeds": list(SEEDS), "series": series | {"strip": None}})) == ["shares"]


def test_a_poor_judge_or_no_labels_is_not_applicable() -> None:
    splits = small_digits(3)
    with pytest.raises(NotApplicable, match="no labels"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, Splits(splits.images, {}, 16.0))
    noise = {
        name: np.random.default_rng(0).permutation(values) for name, values in splits.labels.items()
    }
    with pytest.raises(NotApplicable, match="too few to judge"):
        EXPERIMENT.run(QUICK, SEEDS, CPU, Splits(splits.images, noise, 16.0))
