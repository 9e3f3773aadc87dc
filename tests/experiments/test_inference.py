"""X2: E gives z back and shows test images; it does not where codes and images of its pairs do not
belong together.
"""

import math

import numpy as np
import pytest
import torch

from replicate.experiments.base import ExperimentResult
from replicate.experiments.games.image_game import play
from replicate.experiments.inference import (
    EXPERIMENT,
    Inference,
    InferenceConfig,
    explained_variance,
    infer,
    squared_errors,
    train_inference,
)
from replicate.figures.experiments.inference import draw
from replicate.figures.theme import checked_svg
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
SEEDS = range(6)
QUICK = InferenceConfig(
    updates=1200,
    batch_size=32,
    code_dimension=4,
    hidden=(48, 48),
    inference_updates=800,
    inference_rate=0.003,
    fresh_pairs=200,
)


@pytest.fixture(scope="module")
def result() -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, small_digits())


def test_z_is_recovered_and_test_images_are_shown(result: ExperimentResult) -> None:
    assert set(states("X2", result.checks["X2"]).values()) == {"replicated"}


@negative_control("X2")
def test_shuffled_pairs_teach_nothing_and_are_not_replicated() -> None:
    shuffled = Inference(
        lambda images: images.roll(1, dims=1)
    )  # every code with the image of another one
    measured = shuffled.run(QUICK, SEEDS, CPU, small_digits()).checks["X2"]
    assert states("X2", measured)["explained_variance_of_z"] == "not replicated"
    assert max(measured["explained_variance_of_z"]) < 0.1  # type: ignore[type-var, arg-type]


def test_explained_variance_of_cases_in_closed_form() -> None:
    code = torch.tensor([[[3.0, 0.0], [-3.0, 0.0], [0.0, 4.0], [0.0, -4.0]]])
    halved = explained_variance(code, code / 2)
    assert float(halved[0]) == pytest.approx(0.75)
    assert float(explained_variance(code, torch.zeros_like(code))[0]) == pytest.approx(0.0)
    assert float(explained_variance(code, code)[0]) == 1.0
    assert (
        float(explained_variance(code + 5, torch.zeros_like(code))[0]) < 0
    )  # the mean is free, its lack is not


def test_a_linear_g_is_inverted_by_least_squares() -> None:
    """E of one layer, trained on a linear map of z through sigmoids that hardly bend, is near the
    regression of z.
    """
    config = QUICK.model_copy(
        update={"hidden": (), "code_dimension": 3, "inference_updates": 800, "inference_rate": 0.3}
    )
    streams = Streams((1,), CPU)
    weight = 0.2 * streams.normal("init", 9, 3, 6)
    game = {"generator.0.weight": weight, "generator.0.bias": torch.zeros(1, 1, 6)}
    inference, curve = train_inference(config, streams, game, 6)
    code = torch.randn(5000, 3, generator=torch.Generator().manual_seed(0))
    images = torch.sigmoid(code @ weight[0])
    design = np.c_[images.numpy(), np.ones(5000)]
    best = design @ np.linalg.lstsq(design, code.numpy(), rcond=None)[0]
    ours = infer(config, inference, images[None])[0].numpy()
    assert np.mean((ours - best) ** 2) < 0.02
    assert curve["explained"][-1][0] == pytest.approx(
        1 - np.mean((best - code.numpy()) ** 2), abs=0.03
    )


def test_squared_errors_are_those_of_a_loop() -> None:
    streams = Streams((4, 2), CPU, torch.float64)
    config = QUICK.model_copy(update={"updates": 3, "inference_updates": 3})
    images = torch.rand(12, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    game = play(config, streams, images)
    inference, _ = train_inference(config, streams, game, 9)
    errors = squared_errors(config, streams, game, inference, images, images.mean(0))

    def through(rows: np.ndarray, network: str, seed: int) -> np.ndarray:
        for layer in range(3):
            weight, bias = (
                (game | inference)[f"{network}.{layer}.{k}"] for k in ("weight", "bias")
            )
            rows = rows @ weight[seed].numpy() + bias[seed].numpy()
            rows = np.maximum(rows, 0) if layer < 2 else rows
        return rows

    for seed in range(2):
        made = 1 / (
            1 + np.exp(-through(through(images.numpy(), "inference", seed), "generator", seed))
        )
        assert float(errors["reconstruction"][seed]) == pytest.approx(
            np.mean((made - images.numpy()) ** 2), rel=1e-9
        )
        other = np.mean([(made[(row + 1) % 12] - images[row].numpy()) ** 2 for row in range(12)])
        assert float(errors["other"][seed]) == pytest.approx(other, rel=1e-9)
    assert float(errors["mean"][0]) == pytest.approx(float(images.var(0, correction=0).mean()))


def test_the_result_is_a_function_of_its_seeds() -> None:
    short = QUICK.model_copy(update={"updates": 4, "inference_updates": 4})
    one, again = (EXPERIMENT.run(short, (2, 7), CPU, small_digits()) for _ in range(2))
    assert one == again
    alone = EXPERIMENT.run(short, (7,), CPU, small_digits())
    for check, values in one.checks["X2"].items():
        assert values[1:] == pytest.approx(alone.checks["X2"][check], abs=1e-5)  # type: ignore[index]


@pytest.mark.slow
def test_a_failed_seed_is_none_and_figures_still_show_the_others(result: ExperimentResult) -> None:
    drawn = draw({"seeds": list(SEEDS), "series": result.series})
    for drawing in drawn.values():
        checked_svg(drawing.svg)
        assert "6 seeds" in drawing.caption
    assert explained_variance(torch.randn(1, 4, 2), torch.full((1, 4, 2), math.nan)).isnan().all()
    series = dict(result.series) | {"curve": {**result.series["curve"]}}
    series["curve"]["explained"] = [[None, *row[1:]] for row in series["curve"]["explained"]]
    assert draw({"seeds": list(SEEDS), "series": series}).keys() == drawn.keys()
