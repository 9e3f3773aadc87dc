"""X3: one network fills in any part of an image; it does not where it cannot see the rest."""

import numpy as np
import pytest
import torch

from replicate.experiments.base import ExperimentResult
from replicate.experiments.constants import MASKS
from replicate.experiments.inpainting import (
    EXPERIMENT,
    UNKNOWN,
    Inpainting,
    InpaintingConfig,
    all_of_them,
    completion_measures,
    condition,
    halves,
    picture,
    random_masks,
    training_masks,
)
from replicate.figures.experiments.inpainting import draw
from replicate.figures.theme import checked_svg
from replicate.records.packed_images import unpacked
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
SEEDS = range(6)
QUICK = InpaintingConfig(updates=2000, code_dimension=4, hidden=(64, 64), learning_rate=0.004)


@pytest.fixture(scope="module")
def result() -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits())


@pytest.mark.slow
def test_completions_belong_to_the_image_that_they_complete(result: ExperimentResult) -> None:
    assert set(states("X3", result.checks["X3"]).values()) == {"replicated"}


@negative_control("X3")
@pytest.mark.slow
def test_a_network_that_cannot_see_the_known_pixels_is_not_replicated() -> None:
    measured = Inpainting(torch.zeros_like).run(QUICK, SEEDS, CPU, small_digits()).checks["X3"]
    result = states("X3", measured)
    assert result["gain_on_random_masks"] == result["gain_on_halves"] == "not replicated"


def test_masks_show_what_their_names_say() -> None:
    left, right, top, bottom = halves((3, 4, 6), CPU).reshape(4, 3, 4, 6)
    assert left[:, :, :3].all()
    assert not left[:, :, 3:].any()
    assert top[:, :2].all()
    assert not top[:, 2:].any()
    assert torch.equal(left + right, torch.ones(3, 4, 6))
    assert torch.equal(top + bottom, torch.ones(3, 4, 6))
    masks = random_masks(torch.tensor([[0.1, 0.7], [0.3, 0.2]]), 0.25, 2)
    assert masks.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1]]  # all channels of a place together


def test_half_of_the_training_masks_are_halves_each_side_as_often() -> None:
    known = training_masks(QUICK, Streams((0, 1), CPU), 0, 4000, (1, 8, 8))
    sides = (known[:, :, None] == halves((1, 8, 8), CPU)).all(-1)
    assert sides.any(2).float().mean().item() == pytest.approx(0.5, abs=0.03)
    np.testing.assert_allclose(sides.float().mean((0, 1)), 0.125, atol=0.02)
    random = known[~sides.any(2)]
    assert random.mean().item() == pytest.approx(QUICK.known_share, abs=0.01)


def test_g_is_asked_with_the_known_pixels_and_never_with_the_others() -> None:
    streams = Streams((0,), CPU)
    real, known = (
        streams.uniform("noise", 0, 5, 64),
        (streams.uniform("noise", 1, 5, 64) < 0.5).float(),
    )
    other = torch.where(
        known > 0, real, torch.rand(1, 5, 64, generator=torch.Generator().manual_seed(0))
    )
    one, two = (condition(images, known, all_of_them) for images in (real, other))
    assert torch.equal(one.generator, two.generator)
    assert torch.equal(one.generator[..., :64][known > 0], real[known > 0])
    assert torch.equal(one.discriminator, known)


def test_judgement_is_that_of_a_loop_over_the_unknown_pixels() -> None:
    generator = np.random.default_rng(0)
    completed, images = generator.random((3, 2, 5, 6)), generator.random((2, 5, 6))
    known, mean = (generator.random((2, 5, 6)) < 0.4).astype(float), generator.random(6)
    result = completion_measures(
        *(torch.from_numpy(array) for array in (completed, images, known, mean))
    )
    for seed in range(2):
        rows = [(i, p) for i in range(5) for p in range(6) if not known[seed, i, p]]
        fill = np.mean([(images[seed, i, p] - mean[p]) ** 2 for i, p in rows])
        other = np.mean(
            [(images[seed, (i + 1) % 5, p] - completed[0, seed, i, p]) ** 2 for i, p in rows]
        )
        several = np.mean(
            [(images[seed, i, p] - completed[:, seed, i, p].mean()) ** 2 for i, p in rows]
        )
        spread = np.mean([completed[:, seed, i, p].var(ddof=1) for i, p in rows])
        assert float(result["mean_image"][seed]) == pytest.approx(fill, rel=1e-12)
        assert float(result["other"][seed]) == pytest.approx(other, rel=1e-12)
        assert float(result["several"][seed]) == pytest.approx(several, rel=1e-12)
        assert float(result["spread"][seed]) == pytest.approx(np.sqrt(spread / fill), rel=1e-12)


def test_the_result_is_a_function_of_its_seeds() -> None:
    short = QUICK.model_copy(update={"updates": 4})
    one, again = (EXPERIMENT.run(short, (2, 7), CPU, small_digits()) for _ in range(2))
    assert one == again
    alone = EXPERIMENT.run(short, (7,), CPU, small_digits())
    for check, values in one.checks["X3"].items():
        assert values[1:] == pytest.approx(alone.checks["X3"][check], abs=1e-5)  # type: ignore[index]


@pytest.mark.slow
def test_figures_are_drawn_from_the_result_alone(result: ExperimentResult) -> None:
    assert tuple(result.series["kinds"]) == MASKS
    drawn = draw({"seeds": list(SEEDS), "series": result.series})
    assert list(drawn) == ["pictures", "completions"]
    for drawing in drawn.values():
        checked_svg(drawing.svg)
    assert "6 seeds" in drawn["completions"].caption
    assert "one seed (0)" in drawn["pictures"].caption
    assert list(draw({"seeds": list(SEEDS), "series": {**result.series, "pictures": None}})) == [
        "completions"
    ]


@pytest.mark.slow
def test_pictures_are_test_images_their_known_part_and_completions_that_keep_it(
    result: ExperimentResult,
) -> None:
    kept = unpacked(result.series["pictures"]).reshape(len(MASKS), 3, 4, 64)
    images = small_digits().flat("test")[:3]
    known = halves((1, 8, 8), CPU).numpy()[:, None]
    np.testing.assert_allclose(
        kept[:, :, 0], np.broadcast_to(images, (len(MASKS), 3, 64)), atol=0.5 / 255 + 1e-6
    )
    np.testing.assert_allclose(
        kept[1:, :, 1], np.where(known > 0, images, UNKNOWN), atol=0.5 / 255 + 1e-6
    )
    for k in (2, 3):
        np.testing.assert_array_equal((known * kept[1:, :, k]), known * kept[1:, :, 0])
    assert np.abs(kept[:, :, 2] - kept[:, :, 3]).max() > 0.1


def test_fewer_images_than_are_kept_can_be_pictured() -> None:
    assert picture(torch.ones(2, 6), torch.zeros(2, 6), torch.ones(5, 2, 6)).shape == (8, 6)
