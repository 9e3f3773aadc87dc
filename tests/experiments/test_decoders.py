"""Decoders by two measures: orders known beforehand, gaps, ties, failed seeds, what is missing."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicate.experiments.base import MeasureConfig, ModelMeasures, NotApplicable
from replicate.experiments.decoders import ANNEALED, EXPERIMENT, PARZEN, ROWS, reversal
from replicate.figures.experiments.decoders import draw
from replicate.figures.theme import checked_svg
from tests.experiments.controls import negative_control, verdicts_of

SEEDS = range(10)
#: Wu et al. 2017, table 2: (Parzen estimate, AIS, gap) of models with 10 and with 50 latent units.
TEN = {
    "adversarial_nets": (259.673, 328.772, 0.934),
    "vae": (408.659, 705.375, 0.832),
    "gmmn": (262.73, 346.679, 0.605),
}
FIFTY = {
    "adversarial_nets": (300.331, 627.297, 10.045),
    "vae": (351.213, 991.435, 1.540),
    "gmmn": (277.193, 593.472, 1.146),
}
Triple = tuple[float, float, float]


def model(triples: Sequence[Triple | None]) -> ModelMeasures:
    """A model by (Parzen estimate, AIS, gap) of every seed; None: the seed failed."""
    values: dict[int, dict[str, float] | None] = {}
    gaps = {}
    for seed, triple in enumerate(triples):
        values[seed] = None
        if triple is not None:
            parzen, annealed, gaps[seed] = triple
            values[seed] = {PARZEN: parzen, ANNEALED: annealed}
    return ModelMeasures(values, None, gaps)


def noisy(rows: dict[str, Triple], spread: float, run: int = 0) -> dict[str, ModelMeasures]:
    """Ten seeds of every row, each around its numbers."""
    generator = np.random.default_rng((17, run))
    models = {}
    for name, (parzen, annealed, gap) in rows.items():
        noise = spread * generator.standard_normal((len(SEEDS), 2))
        models[name] = model([(parzen + a, annealed + b, gap) for a, b in noise.tolist()])
    return models


def measured(models: dict[str, ModelMeasures]) -> Any:
    return EXPERIMENT.measure(MeasureConfig(), models, SEEDS)


def verdict(models: dict[str, ModelMeasures]) -> str:
    return verdicts_of(measured(models).checks)["W1"]


@pytest.mark.parametrize("by_parzen", ["adversarial_nets", "gmmn"])
def test_a_model_that_the_parzen_estimate_alone_puts_first_is_found(by_parzen: str) -> None:
    rows = FIFTY | {by_parzen: (400.0, *FIFTY[by_parzen][1:])}
    models = noisy(rows, spread=5.0)
    assert verdict(models) == "replicated"
    means = {name: np.mean(values) for name, values in measured(models).checks["W1"].items()}
    pairs = {"adversarial_nets": "adversarial_nets_and_vae", "gmmn": "vae_and_gmmn"}
    # GMMN then lies before adversarial nets too, by the Parzen estimate alone.
    reversed_pairs = {name for name, mean in means.items() if mean > 0}
    assert f"reversal_of_{pairs[by_parzen]}" in reversed_pairs
    assert len(reversed_pairs) == (1 if by_parzen == "adversarial_nets" else 2)


@negative_control("W1")
def test_the_published_numbers_of_one_size_order_the_three_alike() -> None:
    """What Wu et al. printed: both columns order the three alike, and the two VAEs otherwise."""
    for rows in (TEN, FIFTY):
        assert verdict(noisy(rows, spread=1.0)) == "not replicated"
    smaller, larger = model([TEN["vae"]]), model([FIFTY["vae"]])
    assert reversal(smaller, larger, 0) == pytest.approx(408.659 - 351.213)


def test_models_that_annealed_importance_sampling_cannot_tell_apart_decide_nothing() -> None:
    """The gap of the lower one is wider than the difference: 0, in every seed."""
    rows = FIFTY | {"adversarial_nets": (400.0, 985.0, 20.0)}
    models = noisy(rows, spread=1.0)
    reversals = measured(models).checks["W1"]["reversal_of_adversarial_nets_and_vae"]
    assert reversals == [0.0] * len(SEEDS)
    assert verdict(models) == "inconclusive"


def test_chance_alone_rarely_reverses_a_pair() -> None:
    """Two pairs are ties by one measure each: tests of three pairs, together at 5 %, half of it on
    this side.
    """
    rows = {
        "adversarial_nets": (300.0, 600.0, 0.0),
        "vae": (350.0, 600.0, 0.0),
        "gmmn": (300.0, 500.0, 0.0),
    }
    runs = 300
    states = [verdict(noisy(rows, spread=3.0, run=run)) for run in range(runs)]
    # At 2.5 %, 18 or more of 300 would have a probability of 0.0007.
    assert states.count("replicated") < 18
    # Pairs that are tied are never all in the same order.
    assert states.count("not replicated") < 18


numbers = st.floats(-500, 500).map(lambda value: round(value, 2))
gaps = st.floats(-5, 50).map(lambda value: round(value, 2))
triples = st.tuples(numbers, numbers, gaps)


@given(triples, triples)
def test_reversal_is_that_of_an_order_written_out(one: Triple, other: Triple) -> None:
    (parzen, annealed, gap), (other_parzen, other_annealed, other_gap) = one, other
    if annealed == other_annealed or parzen == other_parzen:
        expected = 0.0
    elif annealed > other_annealed:
        least = max(annealed - (other_annealed + max(other_gap, 0)), 0)
        ahead = parzen - other_parzen
        expected = -min(ahead, least) if ahead > 0 else min(-ahead, least)
    else:
        least = max(other_annealed - (annealed + max(gap, 0)), 0)
        ahead = other_parzen - parzen
        expected = -min(ahead, least) if ahead > 0 else min(-ahead, least)
    assert reversal(model([one]), model([other]), 0) == pytest.approx(expected, abs=1e-9)
    assert reversal(model([other]), model([one]), 0) == pytest.approx(expected, abs=1e-9)


def test_a_failed_seed_of_one_row_is_a_failed_seed_of_the_study() -> None:
    models = noisy(FIFTY, spread=1.0)
    triples: list[Triple | None] = [FIFTY["gmmn"]] * len(SEEDS)
    triples[3] = None
    models["gmmn"] = model(triples)
    checks = measured(models).checks["W1"]
    failed = {name: values.index(None) for name, values in checks.items() if None in values}
    assert failed == {"reversal_of_adversarial_nets_and_gmmn": 3, "reversal_of_vae_and_gmmn": 3}
    assert verdict(models) == "inconclusive"


def test_what_is_missing_is_named() -> None:
    models = noisy(FIFTY, spread=1.0)
    without = {name: models[name] for name in ROWS if name != "gmmn"}
    with pytest.raises(NotApplicable, match="measures missing: the run has none of gmmn"):
        measured(without)
    models["vae"] = ModelMeasures({0: {PARZEN: 1.0}}, None)
    with pytest.raises(NotApplicable, match="measures missing: vae, seed 0, has no annealed"):
        measured(models)


def test_the_figure_names_the_models() -> None:
    found = measured(noisy(FIFTY, spread=1.0))
    drawing = draw({"series": found.series, "seeds": list(SEEDS)})["orders"]
    svg = checked_svg(drawing.svg)
    assert "GMMN" in svg
    assert "Adversarial nets" in svg
    assert "10 seeds" in drawing.caption
