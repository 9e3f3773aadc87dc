"""The measures together: the registry, samples of anyone, models, and controls."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from torch import Tensor

from replicate import measures
from replicate.datasets.base import Splits
from replicate.likelihood.parzen import choose_bandwidth, log_density
from replicate.measures import REGISTRY, goodness
from replicate.measures.controls import NOISE_SHARE, Controls, above_truth
from replicate.measures.controls_list import CONTROLS, TRUTH
from replicate.measures.model_set import ModelSet
from replicate.measures.parzen_many import measure as parzen_many
from replicate.measures.ranking import label
from replicate.measures.resampling import Estimate
from replicate.measures.run_measures import FUNCTIONS, measure_model, measure_samples, measured
from replicate.models import REGISTRY as MODELS
from replicate.models import load_model
from replicate.models.base import GenerativeModel
from replicate.models.parts.classes import with_classes
from replicate.params import Likelihood, MeasureSettings
from replicate.records.schema import Measured
from replicate.training.streams import Streams
from tests.measures.digits import SMALL, small_classifier, splits
from tests.models.enumeration import log_joint, log_joint_deep

LIKELIHOOD = Likelihood(samples=500)


def untrained(name: str, seeds: int = 2, **changes: object) -> GenerativeModel:
    """A model of digits as it starts, with the codes' density where it has one."""
    kind = load_model(name)
    config = kind.config_for("digits", changes)
    model = kind(config, splits().shape, Streams(range(seeds), torch.device("cpu")))
    train = torch.from_numpy(splits().flat("train"))
    if model.conditional:
        train = with_classes(train, torch.from_numpy(splits().labels_of("train")))
    model.initialise(train)
    model.fit_statistics(train)
    return model


def model_set(model: GenerativeModel, settings: MeasureSettings = SMALL) -> ModelSet:
    return ModelSet(model, splits(), settings, LIKELIHOOD)


def of(entries: list[Measured], name: str) -> Measured:
    (entry,) = [entry for entry in entries if label(entry) == name]
    return entry


def test_every_measure_has_a_file_and_every_file_a_measure() -> None:
    folder = Path(measures.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "def measure(" in path.read_text()}
    of_functions = {function.__module__.rsplit(".", 1)[1] for function in FUNCTIONS.values()}
    assert files == of_functions
    # `parzen.py` is the name of the estimator itself, in likelihood/.
    assert files - {"parzen_measure"} | {"parzen"} == set(REGISTRY) == set(FUNCTIONS)


def test_the_registry_loads_no_torch() -> None:
    code = "import sys, replicate.measures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_true_images_are_better_than_noise_by_every_ranked_measure() -> None:
    """All but recall, which Kynkäänniemi et al. know to be raised by samples far out."""
    true_images = torch.from_numpy(splits().flat("train"))[:500]
    noise = torch.rand(500, 64, generator=torch.Generator().manual_seed(1))
    settings = MeasureSettings(resamples=20, classifier_updates=100)
    good = measure_samples(true_images, splits(), small_classifier(), settings, LIKELIHOOD)
    bad = measure_samples(noise, splits(), small_classifier(), settings, LIKELIHOOD)
    for first, second in zip(good, bad, strict=True):
        assert first["value"] is not None
        assert second["value"] is not None
        assert first["interval"] is not None
        assert first["interval"][0] <= first["value"] <= first["interval"][1]
        name = first["measure"]
        if REGISTRY[name].ranked and name != "recall":
            assert goodness(name, first["value"]) > goodness(name, second["value"]), label(first)


def test_the_parzen_measure_is_the_paper_s_estimate() -> None:
    samples = torch.rand(500, 64, generator=torch.Generator().manual_seed(2))
    entries = measure_samples(samples, splits(), None, SMALL, LIKELIHOOD)
    valid, test = (torch.from_numpy(splits().flat(name)) for name in ("valid", "test"))
    choice = choose_bandwidth(samples, valid[:1000], LIKELIHOOD.sigmas)
    expected = float(log_density(samples, test, choice.sigma).mean())
    parzen = of(entries, "parzen")
    assert parzen["value"] == expected
    assert parzen["details"]["sigma"] == choice.sigma
    assert of(entries, "precision/features")["reason"] == "the data set has no classifier"
    assert of(entries, "class_shares")["value"] is None


def test_five_samples_have_no_neighbours_to_compare() -> None:
    samples = torch.rand(5, 64, generator=torch.Generator().manual_seed(3))
    entries = measure_samples(samples, splits(), None, SMALL, LIKELIHOOD)
    assert of(entries, "precision/pixels")["reason"] == "too few images"
    assert of(entries, "parzen")["value"] is not None


def test_samples_are_taken_from_everywhere_in_a_file_sorted_by_class() -> None:
    """The first 60 of sorted training images are of one class; those compared are of most."""
    order = np.argsort(splits().labels_of("train"), kind="stable")
    samples = torch.from_numpy(splits().flat("train")[order])
    entries = measure_samples(samples, splits(), None, SMALL, LIKELIHOOD)
    coverage = of(entries, "coverage/pixels")["value"]
    assert coverage is not None
    assert coverage > 0.8


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_measured_as_far_as_it_goes(name: str) -> None:
    model = untrained(name)
    model.train = torch.from_numpy(splits().flat("train"))
    per_seed = measure_model(model_set(model))
    assert len(per_seed) == 2
    has_partition = name in ("rbm", "dbm")
    for entries in per_seed:
        assert [entry["measure"] for entry in entries] == [
            "parzen_many",
            "annealed_likelihood",
            "boltzmann_likelihood",
        ]
        many, annealed, bits = entries
        assert (many["value"] is not None) == model.has_latent
        assert (annealed["value"] is not None) == model.has_latent
        assert (bits["value"] is not None) == has_partition
        for entry in entries:
            assert (entry["value"] is None) == (entry["reason"] is not None)


def test_measures_of_models_can_be_left_out() -> None:
    off = SMALL.model_copy(
        update={"many_samples": 0, "annealing": None, "partition_temperatures": 0}
    )
    for name in ("vae", "rbm"):
        (entries, _) = measure_model(model_set(untrained(name), off))
        assert all(entry["value"] is None for entry in entries)


def test_a_few_images_are_no_first_ones_and_the_same_for_every_model() -> None:
    """Files may be sorted: MNIST's test images are by two groups of writers, one after another."""
    data = splits()
    values = np.linspace(0, 1, 1000, dtype=np.float32)
    images = np.tile(values[:, None, None, None], (1, 1, 8, 8))
    ordered = type(data)(dict.fromkeys(("train", "valid", "test"), images))
    chosen = []
    for name in ("vae", "rbm"):
        models = ModelSet(untrained(name), ordered, SMALL, LIKELIHOOD)
        assert len(models.images("test")) == 1000
        chosen.append(models.images("test", 100))
        assert not models.images("valid", 100).equal(chosen[-1])
    assert chosen[0].equal(chosen[1])
    # Of values that rise evenly from 0 to 1: a fair choice has their mean, within four errors.
    assert float(chosen[0].mean()) == pytest.approx(0.5, abs=4 * 12**-0.5 / 10)
    # Without replacement.
    assert len(chosen[0][:, 0].unique()) == 100


def test_many_samples_are_summed_as_if_they_were_there_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("replicate.measures.parzen_many.CHUNK", 2048)
    model = untrained("vae", seeds=1)
    drawn: list[Tensor] = []
    sample = model.sample

    def remembered(count: int, draw: int) -> Tensor:
        drawn.append(sample(count, draw))
        return drawn[-1]

    monkeypatch.setattr(model, "sample", remembered)
    (estimate,) = parzen_many(model_set(model))
    samples = torch.cat(drawn, 1)[0]
    assert len(samples) == 2500
    assert len(samples.unique(dim=0)) == 2500
    valid, test = (torch.from_numpy(splits().flat(name)) for name in ("valid", "test"))
    choice = choose_bandwidth(samples, valid[:1000], LIKELIHOOD.sigmas)
    expected = float(log_density(samples, test, choice.sigma).mean())
    assert estimate.value == pytest.approx(expected, abs=1e-4)
    assert estimate.details["sigma"] == choice.sigma


def _of_four_pixels(name: str, **changes: object) -> GenerativeModel:
    """A machine of 2x2 pixels with weights that matter."""
    kind = load_model(name)
    config = kind.config_for("", {"epochs": 9, **changes})
    streams = Streams((0,), torch.device("cpu"), torch.float64)
    model = kind(config, (1, 2, 2), streams)
    model.initialise(torch.full((100, 4), 0.5, dtype=torch.float64))
    for part, name_of_tensor in enumerate(model.parameters):
        tensor = model.parameters[name_of_tensor]
        tensor += streams.normal("init", 5, *tensor.shape[1:], part=part)
    return model


def _four_pixels() -> object:
    images = np.random.default_rng(1).integers(0, 2, (40, 1, 2, 2)).astype(np.uint8)
    return type(splits())({"train": images, "valid": images, "test": images})


@pytest.mark.parametrize("name", ["rbm", "dbm"])
def test_the_likelihood_of_bits_is_that_of_enumeration(name: str) -> None:
    """Black and white pixels, so that bits are the pixels: exact, and for a DBM a lower bound."""
    changes: dict[str, object] = {"hidden": 3}
    if name == "dbm":
        changes |= {"top": 2, "pretraining_epochs": 2}
    model = _of_four_pixels(name, **changes)
    data = _four_pixels()
    settings = SMALL.model_copy(update={"partition_chains": 2000, "partition_temperatures": 100})
    (estimate,) = FUNCTIONS["boltzmann_likelihood"](
        ModelSet(model, data, settings, LIKELIHOOD)  # type: ignore[arg-type]
    )
    test = torch.from_numpy(data.flat("test")).long()  # type: ignore[attr-defined]
    numbers = (test * torch.tensor([8, 4, 2, 1])).sum(1)
    if name == "rbm":
        joint = log_joint(model.partition_layer)  # type: ignore[attr-defined]
        by_image = joint.logsumexp(1) - joint.logsumexp((0, 1))
    else:
        joint = log_joint_deep(model.deep)  # type: ignore[attr-defined]
        by_image = joint.logsumexp((1, 2)) - joint.logsumexp((0, 1, 2))
    exact = float(by_image[numbers].mean())
    if name == "rbm":
        assert estimate.value == pytest.approx(exact, abs=0.05)
    else:
        assert exact - 1 < estimate.value < exact + 0.05
    assert (
        estimate.details["log_z_low"] < estimate.details["log_z"] < estimate.details["log_z_high"]
    )


def test_controls_have_the_flaw_that_they_are_named_for() -> None:
    controls = Controls(splits(), 1000, torch.device("cpu"))
    drawn = {name: controls.samples(name) for name in CONTROLS}
    train, valid = (torch.from_numpy(splits().flat(name)) for name in ("train", "valid"))
    samples = {name: images for name, images in drawn.items() if images is not None}
    assert set(samples) == set(CONTROLS)
    for images in samples.values():
        assert images.dtype == torch.float32
        assert float(images.min()) >= 0
        assert float(images.max()) <= 1
    assert torch.cdist(samples["held_out"], valid).amin(1).max() == 0
    assert len(samples["held_out"].unique(dim=0)) == len(samples["held_out"])
    choosing = torch.from_numpy(controls.judged_by("held_out").flat("valid"))
    assert len(choosing) + len(samples["held_out"]) == len(valid)
    assert torch.cdist(samples["held_out"], choosing).amin() > 0
    assert torch.cdist(samples["copies"], train).amin(1).max() < 1e-3
    distances = torch.cdist(samples["noisy_copies"].double(), train.double()).amin(1)
    # Noise of 0.02 in 64 pixels, half of it cut off at the ends of the range.
    assert 0.05 < float(distances.median()) < 0.02 * math.sqrt(64)
    is_image = torch.cdist(samples["noise_mixture"], train).amin(1) < 1e-3
    assert float(is_image.double().mean()) == pytest.approx(1 - NOISE_SHARE, abs=0.01)
    labels = torch.from_numpy(splits().labels_of("train"))
    nearest = torch.cdist(samples["one_class"], train).argmin(1)
    assert set(labels[nearest].tolist()) == {0}
    shuffled, copies = samples["shuffled_pixels"], samples["copies"]
    assert torch.equal(shuffled.sort(1).values, copies.sort(1).values)
    assert not torch.equal(shuffled, copies)


def test_controls_of_few_images_are_no_more_than_there_are() -> None:
    controls = Controls(splits(), 10_000, torch.device("cpu"))
    held_out = controls.samples("held_out")
    assert held_out is not None
    assert len(held_out) == (splits().count("valid") + 1) // 2
    with pytest.raises(KeyError):
        controls.samples("no_such_control")


def test_the_parzen_estimate_puts_k_means_above_the_truth_and_memorisation_sees_copies() -> None:
    """Theis et al. 2016, through the same code that measures models."""
    controls = Controls(splits(), 1000, torch.device("cpu"))
    settings = MeasureSettings(resamples=50, classifier_updates=20)
    entries = {}
    for name in (TRUTH, "k_means", "copies", "one_class"):
        samples = controls.samples(name)
        assert samples is not None
        judged_by = controls.judged_by(name)
        entries[name] = measure_samples(samples, judged_by, None, settings, LIKELIHOOD)
    truth = entries[TRUTH]
    # Images that are as new as the held-out ones: neither copies nor among what they are held to.
    low, high = of(truth, "memorisation")["interval"]
    assert low < 0.15
    assert high > -0.15
    assert above_truth(truth, truth) == []
    assert "parzen" in above_truth(truth, entries["k_means"])
    assert "memorisation" not in above_truth(truth, entries["copies"])
    assert of(entries["copies"], "memorisation")["value"] == 1
    assert "recall/pixels" not in above_truth(truth, entries["one_class"])


def test_the_bandwidth_of_held_out_images_is_not_chosen_on_themselves() -> None:
    """Against a direct sum in float64: the grid's best sigma for the other half of validation."""
    controls = Controls(splits(), 1000, torch.device("cpu"))
    samples = controls.samples(TRUTH)
    assert samples is not None
    measured_truth = measure_samples(samples, controls.judged_by(TRUTH), None, None, LIKELIHOOD)
    kernels = samples.double().numpy()
    choosing = controls.judged_by(TRUTH).flat("valid").astype(np.float64)

    def mean(images: np.ndarray, sigma: float) -> float:
        distances = ((images[:, None] - kernels[None]) ** 2).sum(2)
        exponents = -distances / (2 * sigma**2)
        norm = math.log(len(kernels)) + 64 * math.log(sigma * math.sqrt(2 * math.pi))
        return float((logsumexp(exponents, axis=1) - norm).mean())

    sigma = max(LIKELIHOOD.sigmas, key=lambda each: mean(choosing, each))
    test = splits().flat("test").astype(np.float64)
    assert of(measured_truth, "parzen")["details"]["sigma"] == sigma
    assert of(measured_truth, "parzen")["value"] == pytest.approx(mean(test, sigma), abs=1e-3)


def _entry(name: str, value: float, low: float, high: float) -> Measured:
    return measured(name, Estimate(value, (low, high), 10), "pixels")


@pytest.mark.parametrize(
    ("name", "truth", "control", "is_above"),
    [
        ("precision", (0.8, 0.7, 0.9), (0.95, 0.92, 0.97), True),
        ("precision", (0.8, 0.7, 0.9), (0.95, 0.89, 0.97), False),
        ("frechet_distance", (8, 7, 9), (5, 4, 6), True),
        ("frechet_distance", (8, 7, 9), (12, 11, 13), False),
        ("classifier_test", (0.7, 0.6, 0.8), (0.52, 0.48, 0.55), True),
        ("classifier_test", (0.7, 0.6, 0.8), (0.2, 0.1, 0.3), False),
        ("classifier_test", (0.52, 0.45, 0.6), (0.5, 0.49, 0.51), False),
    ],
)
def test_a_control_is_above_the_truth_where_intervals_do_not_meet(
    name: str, truth: tuple[float, ...], control: tuple[float, ...], is_above: bool
) -> None:
    surpassed = above_truth([_entry(name, *truth)], [_entry(name, *control)])
    assert surpassed == ([f"{name}/pixels"] if is_above else [])


def test_an_interval_across_one_half_is_no_better_than_its_worse_end() -> None:
    """Control from 0.1 to 0.55: one half lies in it, and so does 0.1."""
    assert (
        above_truth(
            [_entry("classifier_test", 0.7, 0.6, 0.8)], [_entry("classifier_test", 0.5, 0.1, 0.55)]
        )
        == []
    )


def test_without_training_images_memorisation_alone_says_nothing() -> None:
    """As `score` has images of one's own, where no training images were named."""
    whole = splits()
    held_out = {name: whole.images[name] for name in ("valid", "test")}
    data = Splits(images={"train": whole.images["train"][:0], **held_out}, divisor=whole.divisor)
    samples = torch.from_numpy(whole.flat("train")[:50])
    settings = MeasureSettings(resamples=20, classifier_updates=5)
    entries = measure_samples(samples, data, None, settings, LIKELIHOOD)
    memorisation = of(entries, "memorisation")
    assert memorisation["value"] is None
    assert memorisation["reason"] == "there are no training images"
    for name in ("parzen", "precision/pixels", "frechet_distance/pixels"):
        assert of(entries, name)["value"] is not None


def test_the_truth_is_a_fair_half_of_a_file_that_alternates() -> None:
    """As MNIST's validation images do: even ones black, odd ones white."""
    images = np.zeros((400, 1, 2, 2), np.float32)
    images[1::2] = 1
    data = Splits(images={"train": images, "valid": images, "test": images})
    controls = Controls(data, 1000, torch.device("cpu"))
    truth = controls.samples(TRUTH)
    assert truth is not None
    # 200 draws of 400 without replacement: a standard deviation of 0.025.
    assert float(truth.mean()) == pytest.approx(0.5, abs=0.1)
    choosing = controls.judged_by(TRUTH).flat("valid")
    assert float(truth.sum() + choosing.sum()) == 4 * 200


def test_copies_are_no_nearer_to_the_data_than_the_truth_by_their_number_alone() -> None:
    """By the Fréchet distance, which has a bias of about 1 / n: copies are other true images."""
    generator = np.random.default_rng(0)
    drawn = {name: generator.random((300, 1, 4, 4)) for name in ("train", "valid", "test")}
    data = Splits(images={name: images.astype(np.float32) for name, images in drawn.items()})
    controls = Controls(data, 1000, torch.device("cpu"))
    settings = MeasureSettings(resamples=20, classifier_updates=5)
    entries = {}
    for name in (TRUTH, "copies"):
        samples = controls.samples(name)
        assert samples is not None
        entries[name] = measure_samples(
            samples, controls.judged_by(name), None, settings, LIKELIHOOD, controls.compared(name)
        )
    of_truth, of_copies = (of(entries[name], "frechet_distance/pixels") for name in entries)
    assert of_truth["images"] == of_copies["images"] == 600
    assert of_truth["value"] == pytest.approx(of_copies["value"], rel=0.3)
    assert "frechet_distance/pixels" not in above_truth(entries[TRUTH], entries["copies"])
