"""The samplers by name: what each is for every model, and that the protocol says the same."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from replicate.__main__ import main
from replicate.datasets.base import Splits
from replicate.diagnostics.sampler_draws import Images, log_likelihood
from replicate.diagnostics.samples import Samples
from replicate.errors import ReplicateError
from replicate.jobs.precheck import checked_plan
from replicate.models import CHAINS, REGISTRY, load_model
from replicate.models.parts.chains import ChainModel
from replicate.models.parts.samplers import LONGER, SAMPLERS, Sampler
from replicate.params import Likelihood
from replicate.storage.files import read_json
from replicate.storage.paths import package_root
from replicate.verdicts.protocol import read_protocol
from replicate.verdicts.samplers import comparison
from tests.models.test_contracts import VARIANTS, build, images, trained

PROTOCOL = read_protocol(package_root() / "protocol.yaml")


def test_the_models_that_chains_sample_are_those_that_are_named() -> None:
    assert {name for name in REGISTRY if issubclass(load_model(name), ChainModel)} == CHAINS
    assert set(PROTOCOL.samplers.rows) == CHAINS


def sampler(model: str, name: Any) -> Sampler:
    kind: Any = load_model(model)
    found: Sampler = kind.sampler_named(name, kind.config_for("mnist", {}))
    return found


@pytest.mark.parametrize("model", sorted(CHAINS))
def test_the_protocol_fixes_the_samplers_that_a_run_on_mnist_has(model: str) -> None:
    for name, fixed in PROTOCOL.samplers.rows[model].items():
        assert sampler(model, name) == fixed
    mixed, longer = sampler(model, "mixed"), sampler(model, "longer")
    assert longer == mixed.model_copy(update={"burn_in": LONGER * mixed.burn_in})
    assert sampler(model, "bits") == mixed.model_copy(update={"pixels": "bits"})
    assert sampler(model, "from_images").start == "images"


def small(model: str, name: Any, seeds: tuple[int, ...] = (4, 5), **changes: Any) -> ChainModel:
    """A small trained model, to be sampled by the sampler of that name with changes."""
    kind = load_model(model)
    assert issubclass(kind, ChainModel)
    built = trained(build(model, VARIANTS[model][0], seeds, torch.float64))
    assert isinstance(built, ChainModel)
    built.train = images()
    built.sampler = built.sampler_named(name, built.config).model_copy(update=changes)
    return built


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("model", sorted(CHAINS))
def test_every_sampler_draws_the_same_for_a_seed_alone_and_in_company(
    model: str, name: str
) -> None:
    changes = {"burn_in": 3, "thinning": 2, "chains": 4}
    company, alone = small(model, name, **changes), small(model, name, (5,), **changes)
    drawn = company.sample(9, 0)
    assert drawn.shape == (2, 9, 36)
    torch.testing.assert_close(alone.sample(9, 0)[0], drawn[1], rtol=0, atol=1e-10)
    assert company.chains == 4


@pytest.mark.parametrize("model", sorted(CHAINS))
def test_bits_are_drawn_from_the_means_of_the_same_chains(model: str) -> None:
    """Chains that start alike go the same way: the mean of many bits is that of the means."""
    changes = {"chains": 5000, "burn_in": 1, "thinning": 1}
    means, bits = (
        small(model, "bits", (0,), **changes, pixels=pixels).sample(5000, 0)
        for pixels in ("means", "bits")
    )
    assert set(bits.unique().tolist()) <= {0.0, 1.0}
    assert bool(((means > 0) & (means < 1)).any())
    torch.testing.assert_close(bits.mean(1), means.mean(1), rtol=0, atol=0.03)


@pytest.mark.parametrize("model", ["rbm", "dbn", "dbm"])
def test_chains_of_layers_can_start_at_training_images(model: str) -> None:
    """One training image alone: the first image kept is drawn from hidden units given it, so it
    resembles it most.
    """
    built = small(model, "from_images", (0,), chains=2000)
    image = (torch.arange(36) % 3 == 0).double()
    built.train = image.expand(4, -1)
    state = built.starting_states(0)
    built.train = 1 - built.train
    other = built.starting_states(0)
    assert state.shape == other.shape
    assert not torch.equal(state.mean(1), other.mean(1))
    assert torch.equal(built.chain_start(0), built.chain_start(0))


def test_a_machine_starts_at_its_hidden_units_given_the_image() -> None:
    """The share of hidden units that are on is the mean of p(h | x), in closed form."""
    built = small("rbm", "from_images", (0,), chains=40_000)
    image = torch.linspace(0, 1, 36, dtype=torch.float64)
    built.train = image.expand(3, -1)
    p = built.parameters
    field = image @ p["machine.0.weight"][0] + p["machine.0.hidden"][0, 0]
    torch.testing.assert_close(
        built.starting_states(0)[0].mean(0), field.sigmoid(), rtol=0, atol=0.01
    )


PARAMS = (
    '{"seeds": ["0-1"], "likelihood": {"samples": 60}, "selection": {"every": 1, "samples": 50}, '
    '"datasets": {"digits": {}}, '
    '"models": {"rbm": {"digits": {"epochs": 1, "hidden": 5, "sampler": "published"}}, '
    '"k_means": {"digits": {}}}, "samplers": {"rbm": {"digits": {"draws": 2}}}}'
)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared digits."""
    folder = tmp_path_factory.mktemp("digits")
    manifest, data = folder / "digits.sources.json", folder / "digits.safetensors"
    assert main(["fetch", "--dataset", "digits", "--out", str(manifest)]) == 0
    assert (
        main(["prepare", "--dataset", "digits", "--manifest", str(manifest), "--out", str(data)])
        == 0
    )
    return data


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, digits: Path) -> Path:
    """A trained machine, whose epoch was chosen by one chain."""
    path = tmp_path_factory.mktemp("samplers") / "rbm.safetensors"
    words = ["train", "--params", PARAMS, "--dataset", "digits", "--model", "rbm", "--block", "0-1"]
    words += ["--data", str(digits), "--out", str(path), "--state", str(path.parent / ".state")]
    assert main(words) == 0
    return path


@pytest.mark.slow
def test_the_stage_compares_the_samplers_that_the_parameters_name(
    weights: Path, digits: Path, tmp_path: Path
) -> None:
    out = tmp_path / "samplers.json"
    given = ["--weights", str(weights), "--data", str(digits), "--state", str(tmp_path)]
    assert main(["samplers", "--params", PARAMS, *given, "--out", str(out)]) == 0
    found = read_json(out)
    assert list(found["samplers"]) == ["longer", "mixed", "published"]
    assert found["samplers"]["published"]["settings"]["chains"] == 1
    shown = comparison([("samplers.json", found)])
    assert shown is not None
    assert shown["samplers"]["mixed"]["draws"] == 4
    # The sampler that decides measures the same here as in the run itself.
    samples = tmp_path / "samples.safetensors"
    given = ["--params", PARAMS, "--weights", str(weights), "--data", str(digits)]
    assert main(["sample", *given, "--out", str(samples), "--state", str(tmp_path)]) == 0
    drawn = Samples.read(samples)
    assert drawn.about["sampler"] == found["samplers"]["published"]["settings"]
    splits = Splits.read(digits)
    valid, test = (
        torch.from_numpy(rows) for rows in (splits.validation(1000), splits.flat("test"))
    )
    of = Images(train=valid, held_out=valid, valid=[valid], test=[test])
    value = log_likelihood(drawn.images[0, 1], of, Likelihood().sigmas)
    assert found["samplers"]["published"]["per_seed"][0][1]["log_likelihood"] == pytest.approx(
        value, abs=1e-9
    )


def test_unknown_samplers_and_models_without_chains_are_refused(
    weights: Path, digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "samplers.json"
    given = [
        "samplers",
        "--weights",
        str(weights),
        "--data",
        str(digits),
        "--out",
        str(out),
        "--state",
        str(tmp_path),
    ]
    assert main([*given, "--names", "gibbs"]) == 2
    assert "samplers.rbm.digits.names" in capsys.readouterr().err
    assert main([*given, "--draws", "0"]) == 2
    raw = json.loads(PARAMS)
    for samplers, sentence in (
        ({"k_means": {"digits": {}}}, "samplers.k_means: its images are drawn independently"),
        ({"rbm": {"mnist": {}}}, "samplers.rbm.mnist: the run trains no 'rbm' on 'mnist'"),
        ({"rbm": {"digits": {"names": []}}}, "samplers.rbm.digits.names"),
    ):
        with pytest.raises(ReplicateError, match=re.escape(sentence)):
            checked_plan(raw | {"samplers": samplers}, "params.yaml")
    assert not out.exists()
