"""TFD's two stages: a pre-trained G takes the place of the upper layers of a deeper one, and D
starts anew.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from replicate.models.adversarial_nets import AdversarialConfig, AdversarialNets
from replicate.params import Likelihood, Selection
from replicate.progress.reporting import Progress
from replicate.training.checkpoint import CheckpointFolder
from replicate.training.momentum import decayed, ramped
from replicate.training.streams import Streams
from replicate.training.sweep import Sweep

#: 4 steps an epoch, 3 epochs and then 2; G is 3-6-3-7-5-8, of which 3-7-5-8 is pre-trained.
SETTINGS = {
    "epochs": 5,
    "pretrain_epochs": 3,
    "prepended_layers": 2,
    "batch_size": 10,
    "noise": "gaussian",
    "noise_dimension": 3,
    "generator_hidden": (6, 3, 7, 5),
    "generator_sigmoid": (1, 3),
    "generator_sigmoid_bias": -2.0,
    "generator_output_weights": 3,
    "generator_range": 0.5,
    "discriminator_hidden": (4, 4),
    "pieces": 2,
    "discriminator_range": 0.3,
    "learning_rate": 0.2,
    "learning_rate_decay": 1.01,
    "momentum_epochs": 4,
}
BOUNDARY, END = 12, 20
PRETRAINED = [f"generator.{layer}.{part}" for layer in (2, 3, 4) for part in ("weight", "bias")]
PREPENDED = [f"generator.{layer}.{part}" for layer in (0, 1) for part in ("weight", "bias")]
TRAIN = torch.from_numpy(np.random.default_rng(3).random((40, 8)))


def build(
    seeds: tuple[int, ...] = (0,), dtype: torch.dtype = torch.float64, **changes: Any
) -> AdversarialNets:
    model = AdversarialNets(
        AdversarialConfig(**{**SETTINGS, **changes}),
        (1, 2, 4),
        Streams(seeds, torch.device("cpu"), dtype),
    )
    model.initialise(TRAIN.to(dtype))
    return model


def batch(model: AdversarialNets, step: int) -> Tensor:
    order = model.streams.order(step, len(TRAIN))[:, :10]
    return TRAIN[order].to(model.streams.dtype)


def advance(model: AdversarialNets, start: int, stop: int) -> AdversarialNets:
    for step in range(start, stop):
        model.train_step(batch(model, step), step // 4, step)
    return model


def copies(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in tensors.items()}


@pytest.mark.parametrize("schedule", ["simultaneous", "alternating"])
def test_the_first_stage_is_the_training_of_a_net_without_the_lowest_layers(schedule: str) -> None:
    model = build(schedule=schedule)
    plain = AdversarialNets(
        AdversarialConfig(
            **{
                **SETTINGS,
                "pretrain_epochs": 0,
                "prepended_layers": 0,
                "generator_hidden": (7, 5),
                "generator_sigmoid": (1,),
                "schedule": schedule,
            }
        ),
        (1, 2, 4),
        model.streams,
    )
    plain.initialise(TRAIN)
    for name in plain.parameters:
        network, layer, part = name.split(".")
        twin = f"generator.{int(layer) + 2}.{part}" if network == "generator" else name
        plain.parameters[name] = model.parameters[twin].clone()
    before = copies(model.parameters)
    advance(model, 0, BOUNDARY)
    advance(plain, 0, BOUNDARY)
    for name in PREPENDED:
        assert torch.equal(model.parameters[name], before[name]), name
    for name in plain.parameters:
        network, layer, part = name.split(".")
        twin = f"generator.{int(layer) + 2}.{part}" if network == "generator" else name
        assert torch.equal(model.parameters[twin], plain.parameters[name]), name
        assert not torch.equal(model.parameters[twin], before[twin]), name


def test_the_second_stage_keeps_the_pretrained_layers_and_starts_all_else_anew() -> None:
    model = build()
    start = copies(model.parameters)
    advance(model, 0, BOUNDARY)
    trained = copies(model.parameters)
    model._begin_second_stage()
    for name in PRETRAINED + PREPENDED:
        assert torch.equal(model.parameters[name], trained[name]), name
    for name, value in model.parameters.items():
        if name.startswith("discriminator"):
            if name.endswith("weight"):
                assert not torch.equal(value, start[name]), (
                    name
                )  # other numbers than the first stage started with
                assert float(value.abs().max()) <= 0.3
            else:
                assert not value.any(), name
        assert not model.slots[name].any(), name


def test_the_first_joint_step_moves_all_of_g_at_the_initial_rate() -> None:
    model, twin = build(), build()
    advance(model, 0, BOUNDARY)
    advance(twin, 0, BOUNDARY)
    twin._begin_second_stage()
    before = copies(twin.parameters)
    noise, masks = twin._noise("noise", BOUNDARY, 10, 0), twin._masks(20, BOUNDARY, 0)
    _, gradients = twin.gradients(
        batch(twin, BOUNDARY), noise, masks, ("discriminator", "generator")
    )
    assert gradients.keys() == before.keys()
    advance(model, BOUNDARY, BOUNDARY + 1)
    for name, gradient in gradients.items():
        torch.testing.assert_close(
            model.parameters[name], before[name] - 0.2 * gradient, rtol=0, atol=1e-14
        )
        assert float(gradient.abs().max()) > 0, name


def test_rate_and_momentum_count_from_the_second_stage() -> None:
    """Classical momentum by its definition, v <- m v - rate g, over the second stage."""
    model = advance(build(), 0, BOUNDARY)
    model._begin_second_stage()
    weights, velocity = (
        copies(model.parameters),
        {name: 0 * value for name, value in model.parameters.items()},
    )
    for step in range(BOUNDARY, END):
        noise, masks = model._noise("noise", step, 10, 0), model._masks(20, step, 0)
        _, gradients = model.gradients(
            batch(model, step), noise, masks, ("discriminator", "generator")
        )
        rate, momentum = (
            decayed(0.2, 1.01, 1e-6, step - BOUNDARY),
            ramped(0.5, 0.7, 4, step // 4 - 3),
        )
        for name, gradient in gradients.items():
            velocity[name] = momentum * velocity[name] - rate * gradient
            weights[name] = weights[name] + velocity[name]
        advance(
            model, step, step + 1
        )  # its first step begins the stage once more: nothing has moved yet
        for name, value in model.parameters.items():
            torch.testing.assert_close(value, weights[name], rtol=0, atol=1e-12)


def test_epochs_of_the_first_stage_are_never_chosen(tmp_path: Path) -> None:
    model = build(dtype=torch.float32)
    train = TRAIN.float()
    sweep = Sweep(
        model,
        train,
        train[:20],
        Selection(every=1, samples=50),
        Likelihood(sigmas=(0.2, 0.4)),
        CheckpointFolder(tmp_path),
    )
    assert sweep.run(Progress(tmp_path / "progress.json", "test", 5))
    assert model.first_complete_epoch == 4
    assert sweep.history.epochs == [4, 5]
