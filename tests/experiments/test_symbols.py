"""Symbols in place of pixels: the known language by enumeration, estimators of gradients, and
controls of the claim.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from replicate.errors import ReplicateError
from replicate.experiments import symbols
from replicate.experiments.base import ExperimentResult
from replicate.experiments.symbols import (
    EXPERIMENT,
    LIKELIHOOD,
    Lesson,
    Symbols,
    SymbolsConfig,
    divergence,
    every_sequence,
    hard,
    language,
    log_probability,
    of_language,
    slope_through,
    soft,
    straight_through,
    untrained,
    write,
)
from replicate.figures.experiments.symbols import draw
from replicate.figures.theme import checked_svg
from replicate.params import checked
from replicate.training.streams import Streams
from tests.experiments.controls import negative_control, verdicts_of

CPU = torch.device("cpu")
SEEDS = tuple(range(100, 106))
QUICK = SymbolsConfig(symbols=3, length=2, updates=200, generator_rate=0.03, hidden=(32,))
TINY = QUICK.model_copy(update={"updates": 20, "told_updates": 20, "hidden": (4,)})


@pytest.fixture(scope="module")
def result() -> ExperimentResult:
    return EXPERIMENT.run(QUICK, SEEDS, CPU, None)


def test_the_language_and_its_sequences_by_enumeration() -> None:
    first, after = language(3)
    assert first.numpy() == pytest.approx(np.array([9, 3, 1]) / 13)
    assert after[1].numpy() == pytest.approx(
        np.array([3, 1, 9]) / 13
    )  # after 1 comes 2, then 0, then 1
    config = SymbolsConfig(symbols=3, length=3)
    expected = [
        first[a] * after[a, b] * after[b, c] for a, b, c in itertools.product(range(3), repeat=3)
    ]
    result = log_probability(of_language(config, 1), every_sequence(3, 3)[None]).exp()[0]
    np.testing.assert_allclose(result.numpy(), np.array(expected), atol=1e-12)
    assert float(result.sum()) == pytest.approx(1)


@pytest.mark.parametrize(("symbols_of_language", "length"), [(26, 4), (2, 17), (10**6, 10**6)])
def test_languages_of_too_many_sequences_are_refused(symbols_of_language: int, length: int) -> None:
    """All sequences of a language are held at once."""
    with pytest.raises(ReplicateError, match="sequences of length"):
        checked(SymbolsConfig, {"symbols": symbols_of_language, "length": length}, "parameters")


def test_a_language_of_nearly_as_many_sequences_is_none_of_these() -> None:
    checked(SymbolsConfig, {"symbols": 2, "length": 16}, "parameters")
    checked(SymbolsConfig, {"symbols": 10, "length": 5}, "parameters")


def test_the_language_is_at_no_distance_and_a_g_that_knows_nothing_at_its_redundancy() -> None:
    config = SymbolsConfig(symbols=3, length=3)
    assert divergence(of_language(config, 2), config).abs().max() < 1e-12
    p = log_probability(of_language(config, 1), every_sequence(3, 3)[None])[0].exp().numpy()
    nothing = divergence(untrained(config, torch.zeros(1)), config)
    assert float(nothing[0]) == pytest.approx(3 * math.log(3) - stats.entropy(p))


def test_choices_are_drawn_by_their_probabilities() -> None:
    lesson = Lesson(QUICK, Streams((3,), CPU), 0)
    drawn = lesson.data(0, 20_000)[0].reshape(-1, 2, 3).argmax(2)
    counts = torch.bincount(drawn[:, 0] * 3 + drawn[:, 1], minlength=9).numpy()
    p = log_probability(of_language(QUICK, 1), every_sequence(3, 2)[None])[0].exp().numpy()
    assert stats.chisquare(counts, 20_000 * p).pvalue > 1e-3


def test_no_slope_comes_through_a_choice_and_one_through_soft_outputs() -> None:
    assert slope_through(hard, QUICK, SEEDS) == 0.0
    assert slope_through(soft(1.0), QUICK, SEEDS) > 1e-3


def test_straight_through_shows_choices_and_has_the_gradient_of_soft_outputs() -> None:
    scores = torch.randn(
        50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    weights = torch.arange(4.0, dtype=torch.float64)
    shown = straight_through(0.5)(scores)
    torch.testing.assert_close(shown, hard(scores), rtol=0, atol=1e-12)
    slopes = [
        torch.autograd.grad((out * weights).sum(), scores)[0] for out in (shown, soft(0.5)(scores))
    ]
    torch.testing.assert_close(*slopes)


def test_the_score_function_estimates_the_gradient_of_the_expected_reward() -> None:
    """Against the exact gradient of E log D over all sequences; an even baseline of one batch of
    40,000.
    """
    streams = Streams((5,), CPU, torch.float64)
    lesson = Lesson(QUICK, streams, 0)
    generator, discriminator = lesson.generator(), lesson.discriminator()
    everything = every_sequence(3, 2)[None]
    reward = torch.nn.functional.logsigmoid(discriminator.outputs(everything)[..., 0]).detach()
    leaves = list(generator.parameters.values())
    exact = torch.autograd.grad(
        -(log_probability(generator.parameters, everything).exp() * reward).sum(), leaves
    )
    fake = write(generator.parameters, lesson.gumbel(0, 40_000, 1), hard).detach()
    estimated = torch.autograd.grad(
        symbols._generator_objective("score function", generator, discriminator, fake).sum(), leaves
    )
    for one, other in zip(exact, estimated, strict=True):
        assert float((one - other).norm()) < 0.1 * float(one.norm())


def test_games_over_symbols_end_further_than_maximum_likelihood(result: ExperimentResult) -> None:
    assert verdicts_of(result.checks) == {"L4": "replicated"}
    ends = {way: curve["divergence"][-1] for way, curve in result.series["ways"].items()}
    assert max(ends[LIKELIHOOD]) < 0.01 * result.series["start"]


@negative_control("L4")
def test_where_soft_outputs_take_the_place_of_choices_a_gradient_comes_through() -> None:
    assert verdicts_of(Symbols(choice=soft(1.0)).run(TINY, SEEDS, CPU, None).checks) == {
        "L4": "not replicated"
    }


@negative_control("L4")
def test_where_choices_take_the_place_of_soft_outputs_they_are_not_told_from_data(
    result: ExperimentResult,
) -> None:
    told = (
        Symbols(relaxed=hard).run(TINY, SEEDS, CPU, None).checks["L4"]["accuracy_on_soft_outputs"]
    )
    assert verdicts_of({"L4": result.checks["L4"] | {"accuracy_on_soft_outputs": told}}) == {
        "L4": "not replicated"
    }


@negative_control("L4")
def test_where_games_learn_by_maximum_likelihood_they_end_no_further(
    result: ExperimentResult,
) -> None:
    likelihood = Symbols(substitute=lambda way: LIKELIHOOD).run(TINY, SEEDS, CPU, None).checks["L4"]
    alike = {name: values for name, values in likelihood.items() if name.startswith("log_ratio")}
    assert set(itertools.chain(*alike.values())) == {0.0}  # type: ignore[arg-type]
    assert verdicts_of({"L4": result.checks["L4"] | alike}) == {"L4": "not replicated"}


def test_it_is_a_function_of_its_seeds_and_a_seed_alone_is_that_in_company() -> None:
    one, two = EXPERIMENT.run(TINY, (3, 4), CPU, None), EXPERIMENT.run(TINY, (3, 4), CPU, None)
    assert one == two
    alone = EXPERIMENT.run(TINY, (4,), CPU, None)
    for way, curve in one.series["ways"].items():
        ends = curve["divergence"][-1][1], alone.series["ways"][way]["divergence"][-1][0]
        assert ends[0] == pytest.approx(ends[1], rel=1e-3)


@pytest.mark.slow
def test_figures_say_what_they_show(result: ExperimentResult) -> None:
    drawn = draw({"seeds": list(SEEDS), "series": result.series})
    assert set(drawn) == {"told", "ways"}
    for one in drawn.values():
        checked_svg(one.svg)
        assert "6 seeds" in one.caption
    assert "9 sequences" in drawn["ways"].caption
