"""Samples of the run: memory against a memoriser, correlation and effective samples of known chains, verdicts."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.claims import judged_statement
from replicate.codedigest import package_root
from replicate.errors import ReplicateError
from replicate.experiments.base import ModelSamples, NotApplicable
from replicate.experiments.sampling import (
    EXPERIMENT,
    Sampling,
    SamplingConfig,
    effective_share,
)
from replicate.figures.experiments.sampling import draw
from replicate.figures.theme import checked_svg
from replicate.files import write_tensors
from replicate.protocol import read_protocol
from replicate.samples import correlation, memorisation
from replicate.stages.experiment import read_samples
from tests.experiments.small_digits import small_digits

SEEDS = tuple(range(6))
CONFIG = SamplingConfig(compared=200)
SPLITS = small_digits(held_out=200)


def drawn(seed: int, count: int = 3000) -> Tensor:
    """New images of digits' size, alike no training image more than any other: noisy mixtures of the data."""
    generator = np.random.default_rng(seed)
    data = np.concatenate([SPLITS.flat(part) for part in ("train", "valid", "test")])
    pairs = data[generator.integers(len(data), size=(2, count))]
    return torch.from_numpy((pairs.mean(0) + 0.1 * generator.standard_normal((count, 64))).astype(np.float32))


def chained(seed: int, rho: float, chains: int = 10, count: int = 3000) -> Tensor:
    """Chains x_{t+1} = rho x_t + sqrt(1 - rho^2) e of standard normal images; image i is of chain i % chains."""
    noise = np.random.default_rng(100 + seed).standard_normal((count // chains, chains, 64))
    state = [noise[0]]
    for step in noise[1:]:
        state.append(rho * state[-1] + math.sqrt(1 - rho**2) * step)
    return torch.from_numpy(np.concatenate(state).astype(np.float32))


def models(rho: float = 0.8) -> dict[str, ModelSamples]:
    independent = {name: ModelSamples({s: drawn(s + 50 * k) for s in SEEDS}, None) for k, name in
                   enumerate(("adversarial_nets", "vae"))}  # fmt: skip
    chains = {name: ModelSamples({s: chained(s, rho) for s in SEEDS}, 10) for name in ("rbm", "deep_gsn")}
    return independent | chains


def verdicts(study: Sampling) -> dict[str, str]:
    protocol = read_protocol(package_root() / "protocol.yaml")
    found = study.judge(CONFIG, models(), SEEDS, SPLITS)
    content = {
        "experiment": "sampling",
        "not_applicable": None,
        "changed": [],
        "parameters": {"config": {}},
        "checks": found.checks,
    }
    return {
        claim: judged_statement(claim, protocol, {claim: ("test.json", content)})["state"] for claim in study.claims
    }


def test_independent_draws_beside_chains_are_replicated() -> None:
    assert set(verdicts(EXPERIMENT).values()) == {"replicated"}


def test_a_memoriser_is_found_out() -> None:
    def copies(samples: Tensor, train: Tensor) -> Tensor:
        return train[torch.arange(len(samples)) * 7 % len(train)]

    assert verdicts(Sampling(copies))["F2"] == "not replicated"


def test_a_sticky_chain_is_found_out() -> None:
    """Every image stays for 30 draws: correlated, and worth a thirtieth of its number."""
    found = verdicts(Sampling(lambda samples, train: samples[::30].repeat_interleave(30, 0)[: len(samples)]))
    assert set(found.values()) == {"not replicated"}


def test_memorisation_of_copies_and_of_held_out_images() -> None:
    train, held_out = (torch.from_numpy(SPLITS.flat(part)) for part in ("train", "test"))
    assert memorisation(train[:50], train, held_out) == 1
    by_chance = len(train) / (len(train) + len(held_out))
    assert memorisation(held_out[:50], train, held_out) == pytest.approx(-by_chance / (1 - by_chance))


def test_memorisation_is_that_of_a_loop() -> None:
    train, held_out, samples = (torch.rand(n, 5, generator=torch.Generator().manual_seed(n)) for n in (30, 11, 8))
    data = np.concatenate([train, held_out])
    nearest = [min(range(41), key=lambda row: float(((data[row] - sample) ** 2).sum())) for sample in samples.numpy()]
    share = np.mean([row < 30 for row in nearest])
    assert memorisation(samples, train, held_out) == pytest.approx((share - 30 / 41) / (1 - 30 / 41))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_correlation_of_a_known_chain_and_its_effective_share(rho: float) -> None:
    """An autoregressive chain has correlation rho, and is worth (1 - rho) / (1 + rho) draws an image."""
    images = chained(0, rho, count=20_000)
    assert correlation(images, 10) == pytest.approx(rho, abs=0.02)
    share = effective_share(images, 10)  # of the worst of ten components, so rather less
    assert share is not None
    assert 0.65 * (1 - rho) / (1 + rho) < share < 1.1 * (1 - rho) / (1 + rho)


def test_a_failed_seed_is_none_everywhere() -> None:
    given = models()
    broken = {**given["adversarial_nets"].images, 2: None}
    given["adversarial_nets"] = ModelSamples(broken, None)
    found = EXPERIMENT.judge(CONFIG, given, SEEDS, SPLITS)
    for checks in found.checks.values():
        for name, values in checks.items():
            assert isinstance(values, list)
            assert (values[2] is None) == (name != "effective_samples_of_directed_models")
    checked_svg(draw({"seeds": list(SEEDS), "series": found.series})["models"].svg)


def test_a_run_without_one_of_the_families_is_not_applicable() -> None:
    given = models()
    del given["vae"]
    with pytest.raises(NotApplicable, match=r"no Variational autoencoder on this data set \(directed\)"):
        EXPERIMENT.judge(CONFIG, given, SEEDS, SPLITS)


def test_the_figure_says_what_it_shows() -> None:
    found = EXPERIMENT.judge(CONFIG, models(), SEEDS, SPLITS)
    drawing = draw({"seeds": list(SEEDS), "series": found.series})["models"]
    checked_svg(drawing.svg)
    assert "6 seeds" in drawing.caption


def test_samples_are_read_by_model_and_seed(tmp_path: Path) -> None:
    def file(name: str, model: str, seeds: list[int], dataset: str = "digits") -> Path:
        about = {
            "model": model,
            "dataset": dataset,
            "seeds": seeds,
            "failed": {},
            "chains": None,
            "block": "0",
            "shape": [1, 2, 2],
            "parameters": {},
        }
        images = np.full((len(seeds), 2, 3, 4), float(seeds[0]), dtype=np.float32)
        write_tensors(tmp_path / name, {"samples": images}, {"about": json.dumps(about), "code": "x"})
        return tmp_path / name

    one, two, rbm = file("a", "vae", [0, 1]), file("b", "vae", [2]), file("c", "rbm", [0])
    found = read_samples([two, one, rbm], "digits")
    assert {name: tuple(model.images) for name, model in found.items()} == {"vae": (0, 1, 2), "rbm": (0,)}
    assert found["vae"].images[2] is not None
    assert found["vae"].images[2].shape == (3, 4)
    with pytest.raises(ReplicateError, match="seed 0, that another file has too"):
        read_samples([one, file("d", "vae", [0])], "digits")
    with pytest.raises(ReplicateError, match="holds samples of mnist, and not of digits"):
        read_samples([file("e", "vae", [5], "mnist")], "digits")
