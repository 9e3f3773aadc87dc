"""X5: the judged variants against the baseline; variants that are worse are judged not
replicated.
"""

import itertools
import json
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.datasets.base import Splits
from replicate.experiments.acceleration import (
    BASELINE,
    COORDINATION,
    DECISIVE,
    EXPERIMENT,
    NOISE,
    SIGMAS,
    VARIANTS,
    Acceleration,
    AccelerationConfig,
    Game,
    Noise,
    Variant,
    codes,
    looks,
    play,
    updates_until,
)
from replicate.experiments.base import ExperimentResult
from replicate.experiments.games.image_game import gradients, minibatches, pixels, unconditional
from replicate.experiments.games.player import DECAYS
from replicate.figures.experiments.acceleration import draw
from replicate.figures.theme import checked_svg
from replicate.likelihood.parzen import log_density
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control
from tests.experiments.small_digits import small_digits, states

CPU = torch.device("cpu")
SEEDS = range(6)
QUICK = AccelerationConfig(
    updates=600, batch_size=48, samples=300, target=-5.0, first_look=60, looks=16
)
SHORT = AccelerationConfig(
    updates=6, batch_size=5, samples=20, first_look=2, looks=3, hidden=(7, 6), code_dimension=3
)
DECISIVE_ALONE = {name: VARIANTS[name] for name in (BASELINE, *DECISIVE.values())}


def digits() -> Splits:
    return small_digits(train=1200, held_out=150)


@pytest.fixture(scope="module")
def found() -> ExperimentResult:
    return Acceleration(DECISIVE_ALONE).run(QUICK, SEEDS, CPU, digits())


@pytest.mark.slow
def test_a_faster_d_takes_fewer_updates(found: ExperimentResult) -> None:
    state = states("X5", found.checks["X5"])
    assert state["log_ratio_of_updates_by_coordination"] == "replicated"
    assert (
        state["log_ratio_of_updates_by_noise"] != "replicated"
    )  # the same dimension, the same covariance


@negative_control("X5")
@pytest.mark.slow
def test_a_slower_d_and_a_z_of_one_number_are_not_replicated() -> None:
    worse = DECISIVE_ALONE | {DECISIVE["noise"]: Variant(dimension=1)}
    config = QUICK.model_copy(update={"discriminator_speed": 0.1})
    measured = Acceleration(worse).run(config, SEEDS, CPU, digits()).checks["X5"]
    assert set(states("X5", measured).values()) == {"not replicated"}


def test_the_baseline_against_itself_saves_nothing() -> None:
    same = Acceleration(dict.fromkeys(DECISIVE_ALONE, Variant())).run(
        SHORT, (1, 2), CPU, small_digits()
    )
    assert same.checks["X5"] == {key: [0.0, 0.0] for key in same.checks["X5"]}


def test_every_variant_changes_one_thing_and_the_judged_are_of_their_kind() -> None:
    assert DECISIVE["coordination"] in COORDINATION
    assert DECISIVE["noise"] in NOISE
    assert len(NOISE) == 8
    for variant in COORDINATION.values():
        changed = [
            name for name, value in vars(variant).items() if value != getattr(Variant(), name)
        ]
        assert len(changed) == 1
    assert len({VARIANTS[name] for name in VARIANTS}) == len(VARIANTS) == 13


@pytest.mark.parametrize("noise", ["uniform", "normal", "sphere"])
@pytest.mark.parametrize("dimension", [4, 100])
def test_every_z_has_mean_0_and_covariance_the_identity(noise: Noise, dimension: int) -> None:
    drawn = codes(Streams((3, 4), CPU, torch.float64), noise, 0, 20_000, dimension)
    assert drawn.shape == (2, 20_000, dimension)
    assert not torch.equal(drawn[0], drawn[1])
    for own in drawn:
        torch.testing.assert_close(own.mean(0), torch.zeros(dimension).double(), rtol=0, atol=0.04)
        torch.testing.assert_close(own.T.cov(), torch.eye(dimension).double(), rtol=0, atol=0.06)
    fourth = float(drawn.pow(4).mean())
    expected = {"uniform": 9 / 5, "normal": 3.0, "sphere": 3 * dimension / (dimension + 2)}[noise]
    assert fourth == pytest.approx(expected, rel=0.02)


def test_the_sphere_has_one_radius_and_uniform_its_bounds() -> None:
    streams = Streams((3,), CPU, torch.float64)
    sphere = codes(streams, "sphere", 0, 50, 7)
    torch.testing.assert_close(sphere.norm(dim=2), torch.full((1, 50), math.sqrt(7.0)).double())
    uniform = codes(streams, "uniform", 0, 5000, 7)
    assert 1.73 < float(uniform.abs().max()) <= math.sqrt(3)
    assert not torch.equal(sphere, codes(streams, "sphere", 0, 50, 7, purpose="evaluation"))


def trained(
    variant: Variant, config: AccelerationConfig = SHORT
) -> tuple[Game, list[dict[str, Tensor]]]:
    """A game after six updates by gradients that are random numbers, and those."""
    streams = Streams((4, 9), CPU, torch.float64)
    game = Game(config, variant, streams, pixels(small_digits(), "train", CPU, torch.float64))
    found = [
        {
            name: streams.normal("noise", update, *value.shape[1:], part=part)
            for part, (name, value) in enumerate(game.parameters.items())
        }
        for update in range(config.updates)
    ]
    for update, slopes in enumerate(found):
        for network in ("discriminator", "generator"):
            game.move(network, slopes, update)
    return game, found


def expected_by(
    optimiser: type[torch.optim.Optimizer],
    found: list[dict[str, Tensor]],
    rates: Mapping[str, float],
    **options: object,
) -> dict[str, Tensor]:
    streams = Streams((4, 9), CPU, torch.float64)
    leaves = Game(
        SHORT, Variant(), streams, pixels(small_digits(), "train", CPU, torch.float64)
    ).parameters
    groups = [
        {"params": [leaf for name, leaf in leaves.items() if name.startswith(network)], "lr": rate}
        for network, rate in rates.items()
    ]
    steps = optimiser(groups, **options)  # type: ignore[arg-type]
    for slopes in found:
        for name, leaf in leaves.items():
            leaf.grad = slopes[name]
        steps.step()
    return leaves


@pytest.mark.parametrize(
    ("variant", "speed"), [(Variant(), 1.0), (Variant(fast_discriminator=True), 3.0)]
)
def test_a_move_is_a_step_of_gradient_descent_with_momentum(variant: Variant, speed: float) -> None:
    game, found = trained(variant)
    rates = {"discriminator": 0.1 * speed, "generator": 0.1}
    for name, value in expected_by(torch.optim.SGD, found, rates, momentum=0.5).items():
        torch.testing.assert_close(game.parameters[name], value, rtol=1e-9, atol=1e-12)


def test_a_move_by_adam_is_adams_step() -> None:
    game, found = trained(Variant(adam=True))
    rates = dict.fromkeys(("discriminator", "generator"), SHORT.adam_rate)
    for name, value in expected_by(torch.optim.Adam, found, rates, betas=DECAYS).items():
        torch.testing.assert_close(game.parameters[name], value, rtol=1e-6, atol=1e-9)


def test_a_falling_rate_reaches_0_at_the_end_and_momentum_keeps_its_steps() -> None:
    (constant, found), (falling, _) = trained(Variant()), trained(Variant(falling=True))
    name = "generator.0.weight"
    step, total = torch.zeros_like(found[0][name]), torch.zeros_like(found[0][name])
    for update, slopes in enumerate(found):
        step = 0.5 * step - 0.1 * (1 - update / len(found)) * slopes[name]
        total += step
    start = Game(
        SHORT, Variant(), Streams((4, 9), CPU, torch.float64), torch.rand(9, 64).double()
    ).parameters[name]
    torch.testing.assert_close(falling.parameters[name], start + total, rtol=1e-9, atol=1e-12)
    assert not torch.allclose(constant.parameters[name], falling.parameters[name])


def test_alternating_g_meets_the_d_that_has_moved() -> None:
    streams = Streams((4, 9), CPU, torch.float64)
    images = pixels(small_digits(), "train", CPU, torch.float64)
    rows = next(minibatches(streams, len(images), SHORT.batch_size))
    blur = [0.3 * streams.normal("noise", 0, 5, 64, part=part) for part in (1, 2)]
    at_once, in_turn = (
        Game(SHORT, Variant(alternating=turn), streams, images) for turn in (False, True)
    )
    start = {name: value.clone() for name, value in at_once.parameters.items()}
    for game in (at_once, in_turn):
        game.update(0, rows, images[rows], blur)
    moved = {name: (at_once.parameters if name.startswith("d") else start)[name] for name in start}
    code = codes(streams, "uniform", 0, 5, 3)
    for game, point in ((at_once, start), (in_turn, moved)):
        slopes = gradients(SHORT, point, images[rows], code, unconditional(0, rows), blur)
        for name in start:
            if name.startswith("discriminator"):
                assert torch.equal(game.parameters[name], at_once.parameters[name])
            else:
                torch.testing.assert_close(game.parameters[name], start[name] - 0.1 * slopes[name])
    assert not torch.allclose(
        at_once.parameters["generator.2.bias"], in_turn.parameters["generator.2.bias"]
    )


def test_what_is_not_reached_counts_as_the_last_update() -> None:
    curve = torch.tensor(
        [[1.0, 1.0, 5.0, 1.0], [3.0, 2.0, 0.0, 4.0], [4.0, 2.9, 0.0, math.nan]]
    ).double()
    counts = updates_until(3.0, curve, [10, 20, 40])
    assert counts[:3].tolist() == [20.0, 40.0, 10.0]
    assert math.isnan(float(counts[3]))


def test_a_target_that_no_seed_reaches_is_censored_everywhere() -> None:
    unreachable = SHORT.model_copy(update={"target": 1e6})
    result = Acceleration(DECISIVE_ALONE).run(unreachable, (1, 2), CPU, small_digits())
    assert result.series["censored"] == {name: [True, True] for name in DECISIVE_ALONE}
    assert result.series["updates"] == {name: [6.0, 6.0] for name in DECISIVE_ALONE}
    assert result.checks["X5"] == {key: [0.0, 0.0] for key in result.checks["X5"]}


def test_looks_are_ascending_and_end_with_the_last_update() -> None:
    assert looks(SHORT) == [2, 3, 6]
    assert looks(AccelerationConfig(updates=5, first_look=50)) == [5]
    full = looks(AccelerationConfig())
    assert (full[0], full[-1], len(full)) == (200, 1300, 24)
    assert all(a < b for a, b in itertools.pairwise(full))


def test_a_look_is_the_parzen_estimate_by_the_best_bandwidth() -> None:
    streams = Streams((4, 9), CPU)
    images = pixels(small_digits(), "train", CPU)
    game = Game(SHORT, Variant(noise="normal"), streams, images)
    z = streams.normal("evaluation", 0, 20, 3).double().numpy()
    for seed, measured in enumerate(game.log_likelihoods(images[:9]).tolist()):
        rows = z[seed]
        for layer in range(3):
            weight, bias = (
                game.parameters[f"generator.{layer}.{k}"][seed].double().numpy()
                for k in ("weight", "bias")
            )
            rows = rows @ weight + bias
            rows = np.maximum(rows, 0) if layer < 2 else 1 / (1 + np.exp(-rows))
        samples = torch.from_numpy(rows)
        best = max(
            float(log_density(samples, images[:9].double(), sigma).mean()) for sigma in SIGMAS
        )
        assert measured == pytest.approx(best, abs=1e-3)


@pytest.mark.slow
def test_variants_seeds_and_runs_do_not_touch_each_other() -> None:
    splits = small_digits()
    train, valid = (pixels(splits, split, CPU, torch.float64) for split in ("train", "valid"))

    def curves(seeds: tuple[int, ...], variants: Mapping[str, Variant]) -> dict[str, Tensor]:
        return play(SHORT, variants, Streams(seeds, CPU, torch.float64), train, valid)

    together, again = (curves((2, 7, 8), VARIANTS) for _ in range(2))
    alone = curves((7,), VARIANTS)
    for name, variant in VARIANTS.items():
        assert torch.equal(together[name], again[name])
        torch.testing.assert_close(together[name][:, 1:2], alone[name], rtol=0, atol=1e-8)
        torch.testing.assert_close(curves((7,), {name: variant})[name], alone[name], rtol=0, atol=0)


@pytest.mark.slow
def test_figures_are_drawn_from_the_result_alone(found: ExperimentResult) -> None:
    result = json.loads(
        json.dumps({"seeds": list(SEEDS), "checks": found.checks, "series": found.series})
    )
    drawn = draw(result)
    assert set(drawn) == {"updates", "curves"}
    for drawing in drawn.values():
        checked_svg(drawing.svg)
        assert "6 seeds" in drawing.caption
        assert "nats" in drawing.caption


def test_a_failed_seed_is_none_and_figures_show_the_others() -> None:
    config = SHORT.model_copy(update={"learning_rate": 1e30})
    result = EXPERIMENT.run(config, (1, 2), CPU, small_digits())
    assert result.checks["X5"]["log_ratio_of_updates_by_noise"] == [None, None]
    drawn = draw(
        {"seeds": [1, 2], "series": json.loads(json.dumps(result.series, allow_nan=False))}
    )
    for drawing in drawn.values():
        checked_svg(drawing.svg)
