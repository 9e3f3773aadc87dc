"""Samples of the run: memory against a memoriser, correlation and effective samples of known
chains, verdicts.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch import Tensor

from replicate.diagnostics.samples import correlation, memorisation
from replicate.errors import ReplicateError
from replicate.experiments.base import Checks, ModelSamples, NotApplicable
from replicate.experiments.sampling import (
    EXPERIMENT,
    OPEN,
    Sampling,
    SamplingConfig,
    cost,
    effective_share,
    least_steps,
)
from replicate.figures.experiments.sampling import draw
from replicate.figures.theme import checked_svg
from replicate.stages.experiment import read_samples
from replicate.storage.files import write_tensors
from tests.experiments.controls import earlier_verdict, negative_control, protocol, verdicts_of
from tests.experiments.small_digits import small_digits

SEEDS = tuple(range(6))
CONFIG = SamplingConfig(compared=200)
SPLITS = small_digits(held_out=200)


def drawn(seed: int, count: int = 3000) -> Tensor:
    """New images of digits' size, alike no training image more than any other: noisy mixtures of
    the data.
    """
    generator = np.random.default_rng(seed)
    data = np.concatenate([SPLITS.flat(part) for part in ("train", "valid", "test")])
    pairs = data[generator.integers(len(data), size=(2, count))]
    return torch.from_numpy(
        (pairs.mean(0) + 0.1 * generator.standard_normal((count, 64))).astype(np.float32)
    )


def chained(seed: int, rho: float, chains: int = 10, count: int = 3000) -> Tensor:
    """Chains x_{t+1} = rho x_t + sqrt(1 - rho^2) e of standard normal images; image i is of chain i
    % chains.
    """
    noise = np.random.default_rng(100 + seed).standard_normal((count // chains, chains, 64))
    state = [noise[0]]
    for step in noise[1:]:
        state.append(rho * state[-1] + math.sqrt(1 - rho**2) * step)
    return torch.from_numpy(np.concatenate(state).astype(np.float32))


def thinned(seed: int, rho: float, steps: int) -> Tensor:
    """Every so-manieth state of ten such chains, 3,000 images in all: their correlation is
    rho^steps.
    """
    return chained(seed, rho**steps)


def models(rho: float = 0.8, steps: int = 1) -> dict[str, ModelSamples]:
    independent = {name: ModelSamples({s: drawn(s + 50 * k) for s in SEEDS}, None) for k, name in
                   enumerate(("adversarial_nets", "vae"))}  # fmt: skip
    chains = {
        name: ModelSamples({s: thinned(s, rho, steps) for s in SEEDS}, 10, steps)
        for name in ("rbm", "deep_gsn")
    }
    return independent | chains


def measured(study: Sampling, given: dict[str, ModelSamples]) -> Checks:
    return study.measure(CONFIG, given, SEEDS, SPLITS).checks


def verdicts(study: Sampling) -> dict[str, str]:
    return verdicts_of(measured(study, models()))


def by_shares(checks: Checks, chain: list[float | None]) -> str:
    """S1 by the rule of version 3: effective samples per image alone, whatever they cost."""
    ours = checks["S1"]["effective_samples_per_image"]
    assert isinstance(ours, list)
    ratios = [
        math.log(one / other) for one, other in zip(ours, chain, strict=True) if one and other
    ]
    return earlier_verdict("S1", checks["S1"] | {"log_ratio_to_the_best_chain": ratios})


def test_independent_draws_beside_chains_are_replicated() -> None:
    assert set(verdicts(EXPERIMENT).values()) == {"replicated"}


@negative_control("F2")
def test_a_memoriser_is_found_out() -> None:
    def copies(samples: Tensor, train: Tensor) -> Tensor:
        return train[torch.arange(len(samples)) * 7 % len(train)]

    assert verdicts(Sampling(copies))["F2"] == "not replicated"


@negative_control("F2")
def test_copies_in_a_fifth_of_the_samples_are_found_out() -> None:
    """By the rule of version 3 half of them might be copies."""

    def some_copies(samples: Tensor, train: Tensor) -> Tensor:
        mixed = samples.clone()
        mixed[::5] = train[torch.arange(len(samples[::5])) * 7 % len(train)]
        return mixed

    checks = measured(Sampling(some_copies), models())
    assert earlier_verdict("F2", checks["F2"]) == "replicated"
    assert verdicts_of({"F2": checks["F2"]}) == {"F2": "not replicated"}


@negative_control("F2", "S1", "T2")
def test_a_sticky_chain_is_found_out() -> None:
    """Every image stays for 30 draws: correlated, and worth a thirtieth of its number."""
    found = verdicts(
        Sampling(lambda samples, train: samples[::30].repeat_interleave(30, 0)[: len(samples)])
    )
    assert set(found.values()) == {"not replicated"}


@pytest.mark.parametrize(
    ("steps", "expected"), [(1, "replicated"), (5, "replicated"), (60, "inconclusive")]
)
def test_no_thinning_of_a_chain_turns_its_verdict_round(steps: int, expected: str) -> None:
    """Chains of correlation .8 cost 9 steps an effective sample; of every 60th state nothing tells
    it, nor denies it.

    By the rule of version 3 the thinning decided.
    """
    given = models(0.8, steps)
    checks = measured(EXPERIMENT, given)
    chain = [
        effective_share(images, 10) for images in given["rbm"].images.values() if images is not None
    ]
    assert (by_shares(checks, chain) == "replicated") == (steps < 60)
    found = verdicts_of({"S1": checks["S1"], "T2": checks["T2"]})
    assert set(found.values()) == {expected}


@negative_control("S1", "T2")
def test_chains_of_independent_states_are_no_dearer_than_independent_draws() -> None:
    assert set(
        verdicts_of({c: measured(EXPERIMENT, models(0.0))[c] for c in ("S1", "T2")}).values()
    ) == {"not replicated"}


def test_the_number_of_an_open_cost_is_what_the_rules_ask_for() -> None:
    for claim in ("S1", "T2"):
        checks = protocol().statements[claim].checks
        assert {checks[name].above for name in checks if name.startswith("doublings")} == {OPEN}


@pytest.mark.parametrize("steps", [1, 2, 10])
@pytest.mark.parametrize("correlation", [0.0, 0.06, 0.3, 0.8])
def test_the_least_cost_is_that_of_every_spectrum_with_the_correlation(
    correlation: float, steps: int
) -> None:
    """By linear programming over spectra on a grid: the smallest mean of (1 + l) / (1 - l) where
    that of l^t is r.
    """
    levels = np.linspace(0, 0.999, 2000)
    found = linprog(
        (1 + levels) / (1 - levels),
        A_eq=np.stack([levels**steps, np.ones_like(levels)]),
        b_eq=[correlation, 1],
    )
    assert found.success
    assert least_steps(correlation, steps) == pytest.approx(found.fun, rel=2e-3)


def test_the_bounds_hold_the_cost_of_a_known_chain() -> None:
    for rho, steps in ((0.8, 1), (0.8, 5), (0.95, 10), (0.5, 3)):
        images = thinned(0, rho, steps)
        bounds = cost(correlation(images, 10), effective_share(images, 10), steps)
        assert bounds is not None
        assert 0.8 * bounds[0] < (1 + rho) / (1 - rho) < 1.2 * bounds[1]


def test_memorisation_of_copies_and_of_held_out_images() -> None:
    train, held_out = (torch.from_numpy(SPLITS.flat(part)) for part in ("train", "test"))
    assert memorisation(train[:50], train, held_out) == 1
    by_chance = len(train) / (len(train) + len(held_out))
    assert memorisation(held_out[:50], train, held_out) == pytest.approx(
        -by_chance / (1 - by_chance)
    )


def test_memorisation_is_that_of_a_loop() -> None:
    train, held_out, samples = (
        torch.rand(n, 5, generator=torch.Generator().manual_seed(n)) for n in (30, 11, 8)
    )
    data = np.concatenate([train, held_out])
    nearest = [
        min(range(41), key=lambda row: float(((data[row] - sample) ** 2).sum()))
        for sample in samples.numpy()
    ]
    share = np.mean([row < 30 for row in nearest])
    assert memorisation(samples, train, held_out) == pytest.approx(
        (share - 30 / 41) / (1 - 30 / 41)
    )


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_correlation_of_a_known_chain_and_its_effective_share(rho: float) -> None:
    """An autoregressive chain has correlation rho, and is worth (1 - rho) / (1 + rho) draws an
    image.
    """
    images = chained(0, rho, count=20_000)
    assert correlation(images, 10) == pytest.approx(rho, abs=0.02)
    share = effective_share(images, 10)  # of the worst of ten components, so rather less
    assert share is not None
    assert 0.65 * (1 - rho) / (1 + rho) < share < 1.1 * (1 - rho) / (1 + rho)


def test_a_failed_seed_is_none_everywhere() -> None:
    given = models()
    broken = {**given["adversarial_nets"].images, 2: None}
    given["adversarial_nets"] = ModelSamples(broken, None)
    found = EXPERIMENT.measure(CONFIG, given, SEEDS, SPLITS)
    for checks in found.checks.values():
        for name, values in checks.items():
            assert isinstance(values, list)
            assert (values[2] is None) == (name != "effective_samples_of_directed_models")
    checked_svg(draw({"seeds": list(SEEDS), "series": found.series})["models"].svg)


def test_a_run_without_one_of_the_families_is_not_applicable() -> None:
    given = models()
    del given["vae"]
    with pytest.raises(
        NotApplicable, match=r"no Variational autoencoder on this data set \(directed\)"
    ):
        EXPERIMENT.measure(CONFIG, given, SEEDS, SPLITS)


def test_the_figure_says_what_it_shows() -> None:
    found = EXPERIMENT.measure(CONFIG, models(), SEEDS, SPLITS)
    drawing = draw({"seeds": list(SEEDS), "series": found.series})["models"]
    checked_svg(drawing.svg)
    assert "6 seeds" in drawing.caption


def test_samples_are_read_by_model_and_seed(tmp_path: Path) -> None:
    def file(
        name: str, model: str, seeds: list[int], dataset: str = "digits", chains: int | None = None
    ) -> Path:
        about = {
            "model": model,
            "dataset": dataset,
            "seeds": seeds,
            "failed": {},
            "chains": chains,
            "block": "0",
            "shape": [1, 2, 2],
            "parameters": {},
        }
        images = np.full((len(seeds), 2, 3, 4), float(seeds[0]), dtype=np.float32)
        write_tensors(
            tmp_path / name, {"samples": images}, {"about": json.dumps(about), "code": "x"}
        )
        return tmp_path / name

    one, two, rbm = file("a", "vae", [0, 1]), file("b", "vae", [2]), file("c", "rbm", [0])
    found = read_samples([two, one, rbm], "digits")
    assert {name: tuple(model.images) for name, model in found.items()} == {
        "vae": (0, 1, 2),
        "rbm": (0,),
    }
    assert {name: model.steps for name, model in found.items()} == {"vae": 1, "rbm": 1}
    assert found["vae"].images[2] is not None
    assert found["vae"].images[2].shape == (3, 4)
    with pytest.raises(ReplicateError, match="seed 0, that another file has too"):
        read_samples([one, file("d", "vae", [0])], "digits")
    with pytest.raises(ReplicateError, match="holds samples of mnist, and not of digits"):
        read_samples([file("e", "vae", [5], "mnist")], "digits")
    with pytest.raises(
        ReplicateError, match="does not say how many steps of a chain lie between two of its images"
    ):
        read_samples([file("f", "dbm", [0], chains=3)], "digits")


@pytest.mark.parametrize("chains", [10, 1000])
@pytest.mark.parametrize("steps", [1, 10])
def test_chains_that_stand_still_are_as_dear_as_their_effective_samples(
    chains: int, steps: int
) -> None:
    """Their correlation is 1, or above it by rounding: no number of steps gives another sample."""
    states = np.random.default_rng(0).standard_normal((chains, 16)).astype(np.float32)
    images = torch.from_numpy(np.tile(states, (10, 1)))
    share = effective_share(images, chains)
    bounds = cost(correlation(images, chains), share, steps)
    assert share is not None
    assert bounds == (steps / share, steps / share)
    assert least_steps(np.nextafter(1.0, 0.0), 10) == math.inf
