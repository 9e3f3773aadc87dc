"""What the pipeline relies on, for every model: seeds that never meet, runs that resume, random
numbers by key.
"""

from pathlib import Path
from typing import Any, get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from replicate.errors import ReplicateError
from replicate.models import REGISTRY, load_model
from replicate.models.base import GenerativeModel
from replicate.models.parts.classes import with_classes
from replicate.models.parts.export import read_in_sampling
from replicate.models.parts.weights_file import sampling
from replicate.training.streams import Streams

SHAPE, IMAGES, BATCH = (1, 6, 6), 20, 5
STEPS_PER_EPOCH = IMAGES // BATCH
MACHINE = {"particles": 7, "chains": 6, "burn_in": 4, "thinning": 2, "weight_scale": 0.5}
CHAIN = {"chains": 6, "burn_in": 3, "thinning": 2}
GAME = {"noise_dimension": 4, "pieces": 2, "discriminator_range": 0.3}
DENSE = {"generator_hidden": (7, 6), "discriminator_hidden": (5, 4), **GAME}
PAIRED = {
    "generator_units": (4, 3, 5),
    "discriminator_units": (4, 2, 3),
    "joint_pieces": 2,
    **GAME,
}
MATCHING = {"hidden": (5, 4), "noise_dimension": 3, "drop_update": 6}
CONV = {
    "generator_hidden": 6,
    "generator_maps": (3, 2, 2),
    "generator_kernel": 4,
    "generator_stride": 2,
    "convolutions": ({"channels": 3, "kernel": 3, "pad": 1, "pool": 2, "pool_stride": 2},),
    "discriminator_hidden": (4,),
    **GAME,
}
#: Model -> settings at the size of a test. Greedy models learn each layer for two of the four
#: epochs.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "dbn": [
        {"hidden": (4, 3), **MACHINE},
        {
            "hidden": (4, 3),
            "pass_up": "samples",
            "top_negative": "data",
            "visible": "means",
            **MACHINE,
        },
        {"hidden": (4, 3, 3), "pass_up": "samples", **MACHINE, "thinning": 1},
    ],
    "stacked_cae": [
        {
            "hidden": (6, 5),
            "penalty": (0.1, 0.2),
            "learning_rate": (0.1, 0.2),
            "walk_noise": 0.3,
            **CHAIN,
        },
    ],
    "deep_gsn": [{"hidden": (6, 5), **CHAIN}, {"hidden": (5, 4, 4), "hidden_noise": 0.5, **CHAIN}],
    "adversarial_nets": [
        DENSE,
        {**DENSE, "schedule": "alternating", "discriminator_steps": 2},
        {**DENSE, "noise": "gaussian", "max_norm": 1.0, "learning_rate_decay": 1.1},
        {
            "pretrain_epochs": 2,
            "prepended_layers": 2,
            "noise": "gaussian",
            "generator_hidden": (7, 4, 6, 6),
            "generator_sigmoid": (1, 3),
            "discriminator_hidden": (5, 4),
            **GAME,
        },
    ],
    "adversarial_nets_conv": [CONV, {**CONV, "schedule": "alternating", "discriminator_steps": 2}],
    "conditional_adversarial_nets": [
        PAIRED,
        {**PAIRED, "schedule": "alternating", "discriminator_steps": 2, "noise": "gaussian"},
    ],
    "rbm": [
        {"hidden": 4, "negative": negative, "visible": visible, **MACHINE}
        for negative in ("data", "persistent")
        for visible in ("means", "samples")
    ],
    "dbm": [
        {"hidden": 4, "top": 3, "pretraining_epochs": 1, "visible": visible, **MACHINE}
        for visible in ("means", "samples")
    ],
    "denoising_autoencoder": [
        {"hidden": (6,), **CHAIN},
        {"hidden": (6,), "momentum": 0.3, **CHAIN},
    ],
    "autoencoder": [{"hidden": (6,), "code_dimension": 3, "components": 2, "rounds": 5}],
    "vae": [
        {"hidden": (6,), "code_dimension": 3},
        {"hidden": (6,), "code_dimension": 3, "pixels": "gaussian"},
    ],
    "gmmn": [MATCHING],
    "gmmn_autoencoder": [
        {
            **MATCHING,
            "encoder": (4, 3),
            "layer_epochs": 1,
            "joint_epochs": 1,
            "autoencoder_batch": 2,
        }
    ],
    "true_distribution": [{"epochs": 1}],
    "k_means": [{"centroids": 4}],
    "k_means_weighted": [{"centroids": 4}],
}
CASES = [
    pytest.param(name, changes, id=f"{name}-{k}")
    for name in VARIANTS
    for k, changes in enumerate(VARIANTS[name])
]


def images() -> Tensor:
    return torch.from_numpy(np.random.default_rng(3).random((IMAGES, 36)))


def rows_of(model: GenerativeModel) -> Tensor:
    """What a model is trained on: images, with their classes where it is given them."""
    rows = images().to(model.streams.dtype)
    return with_classes(rows, torch.arange(IMAGES) % 3) if model.conditional else rows


def build(
    name: str, changes: dict[str, Any], seeds: tuple[int, ...], dtype: torch.dtype
) -> GenerativeModel:
    """A model as the sweep has it before its first step."""
    kind = load_model(name)
    config = kind.Config(**{"epochs": 4, "batch_size": BATCH, **changes})
    model = kind(config, SHAPE, Streams(seeds, torch.device("cpu"), dtype))
    train = rows_of(model)
    if model.samples_from_train:
        model.train = train
    model.initialise(train)
    model.fit_statistics(train)
    return model


def trained(model: GenerativeModel, start: int = 0, stop: int | None = None) -> GenerativeModel:
    """Makes the steps from `start` up to `stop`, then fits statistics; each seed has its order."""
    train = rows_of(model)
    rows = BATCH * model.batches_per_step
    per_epoch = IMAGES // rows
    for step in range(start, model.config.epochs * per_epoch if stop is None else stop):
        epoch, place = divmod(step, per_epoch)
        order = model.streams.order(epoch, IMAGES)[:, place * rows : (place + 1) * rows]
        model.train_step(train[order], epoch, step)
    if stop is None:
        model.fit_statistics(train)
    return model


def test_every_registered_model_is_here() -> None:
    assert VARIANTS.keys() == REGISTRY.keys()


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_a_seed_alone_agrees_with_itself_in_company(name: str, changes: dict[str, Any]) -> None:
    """Contract 4, in float64: weights and samples."""
    company = trained(build(name, changes, (4, 5, 6), torch.float64))
    drawn = company.sample(9, 1)
    for place, seed in enumerate((4, 5, 6)):
        alone = trained(build(name, changes, (seed,), torch.float64))
        for key, value in alone.parameters.items():
            torch.testing.assert_close(value[0], company.parameters[key][place], rtol=0, atol=1e-10)
        torch.testing.assert_close(alone.sample(9, 1)[0], drawn[place], rtol=0, atol=1e-10)
    assert not torch.equal(drawn[0], drawn[1])


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_a_model_says_whether_its_first_epochs_depend_on_how_many_follow(
    name: str, changes: dict[str, Any]
) -> None:
    """The weights after all epochs of a run are compared with those of a run that is two epochs
    longer.
    """
    if name == "true_distribution":
        pytest.skip("learns nothing, in exactly one epoch")
    short = build(name, changes, (0,), torch.float32)
    longer = build(name, {**changes, "epochs": short.config.epochs + 2}, (0,), torch.float32)
    stop = short.config.epochs * STEPS_PER_EPOCH // short.batches_per_step
    for model in (short, longer):
        trained(model, 0, stop)
    same = [torch.equal(value, longer.parameters[key]) for key, value in short.parameters.items()]
    assert all(same) == short.extends


@pytest.mark.parametrize("at", [1, 4, 7, 8, 13])
@pytest.mark.parametrize(("name", "changes"), CASES)
def test_parameters_and_slots_are_all_that_a_resumed_run_needs(
    name: str, changes: dict[str, Any], at: int
) -> None:
    """Within an epoch, and between epochs where a greedy model goes to its next layer; bit for bit
    in float32.
    """
    whole, first, second = (build(name, changes, (0, 1), torch.float32) for _ in range(3))
    at = min(at, whole.config.epochs * STEPS_PER_EPOCH // whole.batches_per_step)
    trained(whole)
    trained(first, stop=at)
    for group in ("parameters", "slots"):
        for key, value in getattr(first, group).items():
            getattr(second, group)[key].copy_(value)
    trained(second, start=at)
    for group in ("parameters", "slots"):
        for key, value in getattr(whole, group).items():
            assert torch.equal(getattr(second, group)[key], value), key


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_samples_are_a_function_of_weights_and_draw(name: str, changes: dict[str, Any]) -> None:
    model, reader = (
        trained(build(name, changes, (0, 1), torch.float32)),
        build(name, changes, (0, 1), torch.float32),
    )
    reader.parameters = dict(model.parameters)
    found = model.sample(12, 3)
    assert found.shape == (2, 12, 36)
    assert torch.equal(model.sample(12, 3), found)
    assert not torch.equal(model.sample(12, 4), found)
    assert torch.equal(reader.sample(12, 3), found)


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_what_sampling_reads_is_all_that_it_needs(name: str, changes: dict[str, Any]) -> None:
    """Another model with only these parameters gives the same images; of games these are the
    generator's.
    """
    model, reader = (
        trained(build(name, changes, (0, 1), torch.float32)),
        build(name, changes, (0, 1), torch.float32),
    )
    whole = dict(model.parameters)
    reader.parameters = read_in_sampling(model)
    assert model.parameters == whole
    assert torch.equal(reader.sample(1200, 3), model.sample(1200, 3))
    if "adversarial" in name:
        assert (
            reader.parameters.keys()
            == {key for key in whole if key.startswith("generator.")}
            < whole.keys()
        )


def test_a_model_that_iterates_over_its_parameters_is_refused() -> None:
    class Sums(load_model("vae")):  # type: ignore[misc]
        def sample(self, count: int, draw: int) -> Tensor:
            total = sum(value.sum() for value in self.parameters.values())
            return torch.full((1, count, 36), float(total))

    model = Sums(
        Sums.Config(hidden=(6,), code_dimension=3), SHAPE, Streams((0,), torch.device("cpu"))
    )
    model.initialise(images().float())
    with pytest.raises(ReplicateError, match="does not read its parameters by name"):
        read_in_sampling(model)


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_no_random_number_is_used_twice(
    monkeypatch: pytest.MonkeyPatch, name: str, changes: dict[str, Any]
) -> None:
    """Every key (purpose, step, part) once, over a whole training and a draw."""
    keys = []
    numpy = Streams._numpy_generator

    def recorded(
        self: Streams, seed: int, purpose: Any, step: int, part: int
    ) -> np.random.Generator:
        keys.append((purpose, step, part))
        return numpy(self, seed, purpose, step, part)

    model = build(name, changes, (0,), torch.float32)
    monkeypatch.setattr(Streams, "_numpy_generator", recorded)
    trained(model)
    model.sample(20, 0)
    noise = [key for key in keys if key[0] != "order"]  # drawn anew at every step here
    assert len(noise) == len(set(noise)) > 0


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_a_list_without_entries_is_refused_or_trains_every_parameter(
    name: str, changes: dict[str, Any]
) -> None:
    """Networks without hidden layers are legitimate, but not a loss without kernels."""
    kind = load_model(name).Config
    lists = [key for key, field in kind.model_fields.items() if is_list(field.annotation)]
    for key in lists:
        emptied = {**changes, key: ()}
        try:
            kind(**{"epochs": 4, "batch_size": BATCH, **emptied})
        except ValidationError:
            continue
        start, model = (build(name, emptied, (0,), torch.float32) for _ in range(2))
        trained(model)
        for parameter, value in start.parameters.items():
            assert not torch.equal(model.parameters[parameter], value), (key, parameter)
        assert model.sample(4, 0).isfinite().all(), key


def is_list(annotation: Any) -> bool:
    """Whether a setting takes any number of entries."""
    return get_origin(annotation) is tuple and get_args(annotation)[-1] is Ellipsis


@pytest.mark.parametrize(("name", "changes"), CASES)
def test_a_fault_of_sampling_is_not_blamed_on_sound_weights(
    name: str, changes: dict[str, Any]
) -> None:
    """A fault from outside, such as too little memory, passes through `sampling` as it is; with
    parameters of another shape it is explained by them.
    """
    model = build(name, changes, (0, 1), torch.float32)
    with (
        pytest.raises(RuntimeError, match="^no memory left$"),
        sampling(model, Path("weights.safetensors")),
    ):
        raise RuntimeError("no memory left")
    if not model.parameters or name == "autoencoder":
        return  # nothing to spoil; or the last ones are fitted and have no fixed shape
    spoilt = list(model.parameters)[-1]
    model.parameters[spoilt] = model.parameters[spoilt][..., None]
    with (
        pytest.raises(ReplicateError, match=f"{spoilt} has the shape"),
        sampling(model, Path("weights.safetensors")),
    ):
        raise RuntimeError("shapes do not fit")
