"""Too much G on images: 1:1 is the ordinary game, D moves as often as it should, and equal ratios
collapse nothing.
"""

import pytest
import torch

from replicate.experiments import collapse
from replicate.experiments.base import ExperimentResult
from replicate.experiments.collapse import EXPERIMENT, Collapse, CollapseConfig, play
from replicate.experiments.games.image_game import GameConfig, pixels
from replicate.experiments.games.image_game import play as play_evenly
from replicate.figures.experiments.collapse import draw
from replicate.figures.theme import checked_svg
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
SEEDS = range(6)
QUICK = CollapseConfig(updates=900, batch_size=32, code_dimension=4, hidden=(48, 48), samples=300)
TINY = QUICK.model_copy(update={"updates": 12, "hidden": (8,), "samples": 20})


@pytest.fixture(scope="module")
def result() -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits(train=900))


@pytest.mark.slow
def test_too_much_g_loses_classes_and_spread(result: ExperimentResult) -> None:
    assert set(states("H1-images", result.checks["H1-images"]).values()) == {"replicated"}


@negative_control("H1-images")
@pytest.mark.slow
def test_equal_ratios_are_found_out() -> None:
    """Where every ratio plays 1:1, nothing is lost: 0 for each seed."""
    measured = (
        Collapse(generator_updates=lambda ratio: 1)
        .run(TINY, SEEDS, CPU, small_digits(train=900))
        .checks["H1-images"]
    )
    assert all(set(values) == {0.0} for values in measured.values())  # type: ignore[arg-type]
    assert set(states("H1-images", measured).values()) == {"not replicated"}


def test_at_one_to_one_it_is_the_ordinary_game() -> None:
    images = pixels(small_digits(), "train", CPU)
    ours = play(TINY, Streams((1, 2), CPU), images, 1)
    theirs = play_evenly(
        GameConfig(**TINY.model_dump(exclude={"samples"})), Streams((1, 2), CPU), images
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_d_moves_once_in_as_many_updates_of_g(monkeypatch: pytest.MonkeyPatch) -> None:
    moves: list[tuple[str, int]] = []

    def counted(parameters, slots, gradients, step, rate, **options) -> None:  # type: ignore[no-untyped-def]
        moves.append((next(iter(gradients)).split(".")[0], step))

    monkeypatch.setattr(collapse, "adam_step", counted)
    play(TINY, Streams((1,), CPU), pixels(small_digits(), "train", CPU), 5)
    assert [step for name, step in moves if name == "generator"] == list(range(12))
    assert [step for name, step in moves if name == "discriminator"] == [0, 1]


@pytest.mark.slow
def test_it_is_a_function_of_its_seeds_and_the_figure_of_the_result(
    result: ExperimentResult,
) -> None:
    splits = small_digits(train=900)
    one, two = EXPERIMENT.run(TINY, (2, 7), CPU, splits), EXPERIMENT.run(TINY, (2, 7), CPU, splits)
    assert one == two
    drawing = draw({"seeds": list(SEEDS), "series": result.series})["ratios"]
    checked_svg(drawing.svg)
    assert "6 seeds" in drawing.caption
