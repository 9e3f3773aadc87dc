"""The ratio of updates: modes counted by brute force, gradients by differences, and broken games
that are found out.
"""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.experiments.synchrony import (
    EXPERIMENT,
    GameState,
    Modes,
    ModesGame,
    Synchrony,
    SynchronyConfig,
    distinct,
    grid,
    mode_measures,
    ring,
    wide_ring,
)  # fmt: skip
from replicate.figures.experiments.synchrony import draw, means_of_the_modes
from replicate.training.streams import Streams
from tests.experiments.controls import (
    earlier_verdict,
    negative_control,
    protocol,
    statement_verdicts,
    verdicts_of,
)

CPU = torch.device("cpu")
TINY = SynchronyConfig(
    updates=100,
    further_updates=100,
    batch_size=8,
    noise_dimension=3,
    hidden=(6,),
    learning_rate=0.01,
)


def table(seeds: tuple[int, ...], modes: Modes | None = None) -> ModesGame:
    return ModesGame(TINY, modes or ring(), Streams(seeds, CPU, torch.float64))


def same(one: GameState, other: GameState) -> bool:
    return all(torch.equal(one.parameters[name], other.parameters[name]) for name in one.parameters)


def test_the_ring_and_the_grid_have_distinct_modes() -> None:
    for modes, count in ((ring(), 8), (grid(), 25)):
        apart = torch.cdist(modes.means, modes.means) + torch.eye(count) * 9
        assert modes.means.shape == (count, 2)
        assert apart.min() > 20 * modes.spread
    assert ring().means.norm(dim=1) == pytest.approx(2)


def test_the_data_has_the_moments_of_the_mixture() -> None:
    drawn = grid().draw(Streams((0,), CPU, torch.float64), 0, 50_000)[0]
    assert drawn.mean(0).abs().max() < 0.06
    assert drawn.var(0).numpy() == pytest.approx(8 + 0.05**2, rel=0.02)


def test_the_data_itself_is_of_high_quality() -> None:
    for modes in (ring(), grid()):
        found = mode_measures(modes.draw(Streams((0, 1), CPU, torch.float64), 0, 20_000), modes)
        assert found["modes"] == [len(modes.means)] * 2
        assert found["high_quality"] == pytest.approx([1 - math.exp(-4.5)] * 2, abs=0.004)
        assert max(v for v in found["jsd"] if v is not None) < 1e-3


@pytest.mark.parametrize(("served", "expected"), [(1, 0.4985), (4, 0.2188), (0, 0.6626)])
def test_the_divergence_of_few_modes(served: int, expected: float) -> None:
    """By hand, from shares p of the data and q of the samples: (sum p log p/m + sum q log q/m) / 2,
    m = (p + q) / 2.
    """
    modes = ring()
    samples = modes.means[:served].repeat(8 // served, 1) if served else torch.zeros(8, 2)
    outside = math.exp(-4.5)
    p = np.array([(1 - outside) / 8] * 8 + [outside])
    q = np.array([1 / served] * served + [0.0] * (9 - served)) if served else np.eye(9)[8]
    middle = (p + q) / 2
    wanted = (p * np.log(p / middle)).sum() / 2 + (
        q[q > 0] * np.log(q[q > 0] / middle[q > 0])
    ).sum() / 2
    found = mode_measures(samples[None], modes)
    assert found["jsd"][0] == pytest.approx(wanted, abs=1e-12)
    assert wanted == pytest.approx(expected, abs=5e-4)
    assert found["modes"] == [served]


def test_modes_and_outputs_by_brute_force() -> None:
    modes = grid()
    noise = Streams((5,), CPU, torch.float64).normal("evaluation", 0, 300, 2)[0] * 0.1
    samples = modes.means.double()[torch.arange(300) % 7] + noise
    captured, good = set(), 0
    for point in samples.tolist():
        gaps = [math.dist(point, mean) for mean in modes.means.tolist()]
        if min(gaps) < 0.15:
            good += 1
            captured.add(gaps.index(min(gaps)))
    found = mode_measures(samples[None], modes)
    assert (found["modes"], found["high_quality"]) == ([len(captured)], [pytest.approx(good / 300)])
    assert 0 < good < 300
    cells = {(round(x / 0.05), round(y / 0.05)) for x, y in samples.tolist()}
    assert distinct(samples[None], modes) == [len(cells)]
    assert distinct(samples[None, :1].expand(1, 300, 2), modes) == [1]


def test_outputs_that_are_not_finite_are_a_failed_seed() -> None:
    samples = torch.zeros(2, 5, 2)
    samples[1, 2, 0] = math.inf
    found = mode_measures(samples, ring())
    assert found["jsd"][0] is not None
    assert found["jsd"][1] is None
    assert distinct(samples, ring()) == [1, None]


def _loss(place: ModesGame, game: GameState, player: str) -> float:
    """Equation 1 in NumPy, with the random numbers of the next update of `player`; of one seed."""
    streams, count, part = place.streams, TINY.batch_size, 2 if player == "discriminator" else 3
    weights = {name: tensor[0].numpy() for name, tensor in game.parameters.items()}

    def network(rows: Any, name: str) -> Any:
        hidden = np.maximum(rows @ weights[f"{name}.0.weight"] + weights[f"{name}.0.bias"], 0)
        return hidden @ weights[f"{name}.1.weight"] + weights[f"{name}.1.bias"]

    z = streams.normal("noise", game.moves[player], count, TINY.noise_dimension, part=part)[
        0
    ].numpy()
    fake = network(network(z, "generator"), "discriminator")
    if player == "generator":
        return float(np.log1p(np.exp(-fake)).mean())
    real = network(place.modes.draw(streams, game.moves[player], count)[0].numpy(), "discriminator")
    return float(np.log1p(np.exp(-real)).mean() + np.log1p(np.exp(fake)).mean())


@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_gradients_are_those_of_the_game(player: str) -> None:
    place = table((3,))
    game = place.play(place.start(), 3)
    found = place.gradients(game, player)
    assert set(found) == {name for name in game.parameters if name.startswith(player)}
    for name, gradient in found.items():
        moved = []
        for step in (1e-6, -1e-6):
            other = game.copy()
            other.parameters[name][0, 0, 0] += step
            moved.append(_loss(place, other, player))
        assert float(gradient[0, 0, 0]) == pytest.approx((moved[0] - moved[1]) / 2e-6, abs=1e-7)


def test_both_players_move_as_often_as_told() -> None:
    place = table((0,))
    start = place.start()
    assert place.play(start, 2, 5, 3).moves == {"discriminator": 10, "generator": 6}
    assert start.moves == {"discriminator": 0, "generator": 0}
    assert same(start, place.start())
    assert same(place.play(place.play(start, 2), 3), place.play(start, 5))


def test_at_once_g_does_not_see_the_move_of_d() -> None:
    place = table((0,))
    together, in_turn = place.play_at_once(place.start(), 1), place.play(place.start(), 1)
    for name in together.parameters:
        agree = torch.equal(together.parameters[name], in_turn.parameters[name])
        assert agree == (name.startswith("discriminator")), name


def test_a_seed_alone_is_that_in_company() -> None:
    company, alone = (table(seeds).play(table(seeds).start(), 20, 1, 2) for seeds in ((1, 2), (2,)))
    for name, tensor in alone.parameters.items():
        torch.testing.assert_close(company.parameters[name][1:], tensor, rtol=0, atol=1e-10)


@pytest.fixture
def unplayed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Games count their moves and make none: for controls that put other outputs in the place of
    G's.
    """

    def counted(
        place: ModesGame, game: GameState, player: str, gradients: dict[str, Tensor]
    ) -> None:
        game.moves[player] += 1

    monkeypatch.setattr(ModesGame, "gradients", lambda place, game, player: {})
    monkeypatch.setattr(ModesGame, "_move", counted)


def _data(modes: Modes, like: Tensor, served: int | None = None) -> Tensor:
    """Samples of as many modes, in the shape of the outputs `like` of G."""
    noise = (
        Streams(range(len(like)), CPU).normal("evaluation", 0, like.shape[1], 2, part=77).to(like)
    )
    turns = torch.arange(like.shape[1]) % (served or len(modes.means))
    return modes.means.to(like)[turns] + modes.spread * noise


def test_games_that_work_at_every_k_are_what_a1_says(unplayed: None) -> None:
    seen = Synchrony(substitute=lambda outputs, game: _data(wide_ring(), outputs)).run(
        TINY, range(6), CPU, None
    )
    assert verdicts_of({"A1": seen.checks["A1"]}) == {"A1": "replicated"}


@negative_control("A1")
def test_a_constant_generator_is_not_trained(unplayed: None) -> None:
    constant = Synchrony(substitute=lambda outputs, game: outputs[:, :1].expand_as(outputs)).run(
        TINY, range(6), CPU, None
    )
    assert verdicts_of({"A1": constant.checks["A1"]}) == {"A1": "not replicated"}


@negative_control("A1")
def test_three_modes_and_two_stray_samples_are_no_trained_game(unplayed: None) -> None:
    """By the rule of version 3 the strays captured two modes more, and half of log 2 was little
    enough.
    """

    def strays(outputs: Tensor, game: GameState) -> Tensor:
        samples = _data(wide_ring(), outputs, served=3)
        samples[:, :2] = wide_ring().means[5:7].to(samples)
        return samples

    checks = Synchrony(substitute=strays).run(TINY, range(6), CPU, None).checks["A1"]
    assert checks["modes_with_one_step"] == [3.0] * 6
    counted_before = checks | {"modes_with_one_step": [5.0] * 6}
    assert earlier_verdict("A1", counted_before) == "replicated"
    assert verdicts_of({"A1": checks}) == {"A1": "not replicated"}


@negative_control("A1")
def test_a_game_beside_it_that_does_not_work_is_found_out(unplayed: None) -> None:
    """At k = 5 all samples are on one mode: k = 1 is better, and that says nothing for it."""

    def seen(outputs: Tensor, game: GameState) -> Tensor:
        return _data(
            wide_ring(),
            outputs,
            served=1 if game.moves["discriminator"] > game.moves["generator"] else None,
        )

    checks = Synchrony(substitute=seen).run(TINY, range(6), CPU, None).checks["A1"]
    assert earlier_verdict("A1", checks) == "replicated"
    assert verdicts_of({"A1": checks}) == {"A1": "not replicated"}


def _helvetica(outputs: Tensor, game: GameState, longest: int) -> Tensor:
    """All outputs are one where G moved more often than D, in games of at most so many updates of
    G; else data.
    """
    if game.moves["discriminator"] < game.moves["generator"] <= longest:
        return outputs[:, :1].expand_as(outputs)
    return _data(Modes(torch.cat([ring().means, grid().means]), ring().spread), outputs)


def test_games_that_collapse_wherever_g_moves_more_are_what_h1_says(unplayed: None) -> None:
    seen = Synchrony(substitute=lambda outputs, game: _helvetica(outputs, game, 10**6)).run(
        TINY, range(6), CPU, None
    )
    assert verdicts_of({"H1": seen.checks["H1"]}) == {"H1": "replicated"}


@negative_control("H1")
def test_games_that_collapse_only_before_d_has_learnt_are_told_from_it_in_words(
    unplayed: None,
) -> None:
    """The rule of version 3 did not look at those that go on from a trained game."""
    fresh = Synchrony(substitute=lambda outputs, game: _helvetica(outputs, game, TINY.updates)).run(
        TINY, range(6), CPU, None
    )
    assert earlier_verdict("H1", fresh.checks["H1"]) == "replicated"
    assert verdicts_of({"H1": fresh.checks["H1"]}) == {"H1": "not replicated"}
    verdicts = statement_verdicts(protocol(), {"H1": fresh.checks["H1"]})
    reason = verdicts["H1"]["reason"]
    assert reason.startswith(
        "the other way round: modes captured at 1:1 less those at 20:1, in a game already trained"
    )


@negative_control("H1")
def test_equal_ratios_collapse_nothing(unplayed: None) -> None:
    equal = Synchrony(generator_updates=lambda ratio: 1).run(TINY, range(6), CPU, None)
    assert verdicts_of({"H1": equal.checks["H1"]}) == {"H1": "not replicated"}


@pytest.mark.slow
def test_figures_say_what_they_show_and_the_result_is_a_function_of_its_seeds() -> None:
    found, again = (EXPERIMENT.run(TINY, (0, 1), CPU, None) for _ in range(2))
    assert found == again
    drawn = draw({"seeds": [0, 1], "series": found.series})
    assert set(drawn) == {"steps", "ratios_ring", "ratios_grid", "samples_ring", "samples_grid"}
    assert all("2 seeds" in drawn[name].caption for name in ("steps", "ratios_ring", "ratios_grid"))


@pytest.mark.parametrize(("name", "modes"), [("ring", ring()), ("grid", grid())])
def test_the_modes_of_the_figure_are_those_of_the_data(name: str, modes: Modes) -> None:
    np.testing.assert_allclose(means_of_the_modes(name), modes.means.numpy(), atol=1e-6)
