"""The game that experiments on images share, against plain autograd, and its seeds alone against in
company.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from replicate.datasets.base import Splits
from replicate.experiments.base import NotApplicable, per_seed
from replicate.experiments.games.image_game import (
    Condition,
    GameConfig,
    generate,
    gradients,
    initial,
    labelled,
    minibatches,
    pixels,
    play,
)
from replicate.training.streams import Streams
from tests.experiments.small_digits import small_digits

CPU = torch.device("cpu")
SMALL = GameConfig(updates=6, batch_size=5, code_dimension=3, hidden=(7, 6))


def plain(parameters: dict[str, Tensor], network: str, seed: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in range(SMALL.layers):
        weight = parameters[f"{network}.{layer}.weight"][seed]
        linear = nn.Linear(*weight.shape, dtype=torch.float64)
        linear.weight.data, linear.bias.data = (
            weight.T.clone(),
            parameters[f"{network}.{layer}.bias"][seed, 0].clone(),
        )
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_gradients_are_those_of_equation_1_and_of_log_d_for_each_seed() -> None:
    streams = Streams((3, 8), CPU, torch.float64)
    images = streams.uniform("evaluation", 0, 5, 4)
    parameters = initial(SMALL, streams, images[0], generator_width=2, discriminator_width=1)
    asked, shown, code = (streams.normal("noise", 0, 5, width, part=width) for width in (2, 1, 3))
    known = (streams.uniform("noise", 1, 5, 4) < 0.5).double()
    blur = [0.3 * streams.normal("noise", 2, 5, 4, part=part) for part in (0, 1)]
    found = gradients(SMALL, parameters, images, code, Condition(asked, shown, known), blur)
    for seed in range(2):
        g, d = plain(parameters, "generator", seed), plain(parameters, "discriminator", seed)
        made = torch.sigmoid(g(torch.cat([code[seed], asked[seed]], 1)))
        fake = torch.where(known[seed] > 0, images[seed], made)
        on_data, on_made = (
            torch.sigmoid(d(torch.cat([one + noise[seed], shown[seed]], 1)))
            for one, noise in ((images[seed], blur[0]), (fake, blur[1]))
        )
        (-on_data.log().mean() - (1 - on_made).log().mean()).backward(retain_graph=True)
        expected = [layer.weight.grad.T.clone() for layer in d[::2]]
        g.zero_grad()
        (-on_made.log().mean()).backward()
        for network, slopes in (
            ("discriminator", expected),
            ("generator", [layer.weight.grad.T for layer in g[::2]]),
        ):
            for layer, slope in enumerate(slopes):
                torch.testing.assert_close(
                    found[f"{network}.{layer}.weight"][seed], slope, rtol=1e-9, atol=1e-12
                )
        torch.testing.assert_close(
            found["generator.2.bias"][seed, 0], g[-1].bias.grad, rtol=1e-9, atol=1e-12
        )


def test_seeds_alone_equal_seeds_in_company_and_twice_is_the_same() -> None:
    images = pixels(small_digits(), "train", CPU, torch.float64)
    together = play(SMALL, Streams((4, 5, 9), CPU, torch.float64), images)
    again = play(SMALL, Streams((4, 5, 9), CPU, torch.float64), images)
    alone = play(SMALL, Streams((5,), CPU, torch.float64), images)
    for name, value in together.items():
        assert torch.equal(value, again[name])
        torch.testing.assert_close(value[1:2], alone[name], rtol=0, atol=1e-10)
        if name.endswith("weight"):
            assert not torch.allclose(value[0], value[1])


def test_at_the_start_g_makes_the_mean_image_on_average() -> None:
    images = pixels(small_digits(), "train", CPU)
    parameters = initial(SMALL, Streams((0,), CPU), images)
    made = generate(SMALL, parameters, torch.zeros(1, 1, 3))[0, 0]
    torch.testing.assert_close(made, images.mean(0).clamp(0.001, 0.999), rtol=1e-4, atol=1e-5)


def test_an_epoch_takes_every_image_at_most_once_and_seeds_have_their_own_order() -> None:
    drawn = list(itertools.islice(minibatches(Streams((0, 1), CPU), 23, 5), 8))
    epoch = torch.cat(drawn[:4], 1)
    assert all(len(set(row.tolist())) == 20 for row in epoch)
    assert not torch.equal(epoch[0], epoch[1])
    assert not torch.equal(epoch, torch.cat(drawn[4:], 1))
    assert next(minibatches(Streams((0,), CPU), 3, 64)).shape == (1, 3)


def test_labels_of_a_fold_belong_to_the_labelled_images() -> None:
    pool = np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1) / 6
    folds = ({"train": np.array([4, 1]), "valid": np.array([0]), "test": np.array([2])},)
    splits = Splits(
        {"train": pool[:1], "labelled": pool}, {"labelled": np.arange(6) % 3}, folds=folds
    )
    images, labels = labelled(splits, "train", CPU)
    assert (images[:, 0] * 6).tolist() == pytest.approx([4, 1])
    assert labels.tolist() == [1, 1]


def test_what_cannot_be_answered_says_why() -> None:
    splits = small_digits()
    with pytest.raises(NotApplicable, match="no labels"):
        labelled(Splits(splits.images, {}, 16.0), "train", CPU)
    with pytest.raises(NotApplicable, match="between 0 and 1"):
        pixels(Splits(splits.images, value_range=(-3.0, 3.0)), "train", CPU)


def test_a_number_that_is_not_finite_is_a_failed_seed() -> None:
    assert per_seed(torch.tensor([0.5, math.nan, math.inf])) == [0.5, None, None]
