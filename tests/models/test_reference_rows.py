"""Training images and centroids as samples: Lloyd's iterations against scikit-learn's, and what a
draw holds.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans as TheirKMeans

from replicate.models.k_means import KMeans
from replicate.models.k_means_weighted import WeightedKMeans
from replicate.models.true_distribution import TrueDistribution, even_choice
from replicate.training.streams import Streams

CPU = torch.device("cpu")


def data(count: int = 120) -> torch.Tensor:
    """Three clouds in the unit cube of 6 dimensions."""
    rng = np.random.default_rng(1)
    return torch.from_numpy(0.2 * rng.random((count, 6)) + 0.3 * rng.integers(0, 3, (count, 1)))


def build(
    kind: type[KMeans] = KMeans,
    seeds: tuple[int, ...] = (0,),
    train: torch.Tensor | None = None,
    **changes: Any,
) -> KMeans:
    config = kind.Config(**{"batch_size": 24, "centroids": 7, **changes})
    model = kind(config, (1, 2, 3), Streams(seeds, CPU, torch.float64))
    model.initialise(data() if train is None else train)
    return model


def train(model: KMeans, images: torch.Tensor, steps: range) -> None:
    """The steps of that range, as the sweep makes them: each seed in its own order, settled at an
    epoch's end.
    """
    size = model.config.batch_size
    per_epoch = len(images) // size
    for step in steps:
        epoch, place = divmod(step, per_epoch)
        order = model.streams.order(epoch, len(images))[:, place * size : (place + 1) * size]
        model.train_step(images[order], epoch, step)


@pytest.mark.parametrize("batch_size", [24, 40, 120])
@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_an_epoch_is_an_iteration_of_scikit_learns_lloyd(batch_size: int, iterations: int) -> None:
    model = build(seeds=(0, 1), batch_size=batch_size)
    starts = model.parameters["centroids.position"].clone()
    train(model, data(), range(iterations * 120 // batch_size))
    model.fit_statistics(data())
    for place, start in enumerate(starts):
        theirs = TheirKMeans(
            7, init=start.numpy(), n_init=1, max_iter=iterations, tol=0, algorithm="lloyd"
        )
        theirs.fit(data().numpy())
        found = model.parameters["centroids.position"][place].numpy()
        assert np.abs(start.numpy() - found).max() > 0.01
        np.testing.assert_allclose(found, theirs.cluster_centers_, rtol=0, atol=1e-6)


def test_sizes_are_the_counts_of_the_clusters_whose_means_the_centroids_are() -> None:
    model = build()
    places, distances = model.nearest(data()[None])
    brute = ((data()[:, None] - model.parameters["centroids.position"][0]) ** 2).sum(2)
    assert torch.equal(places[0], brute.argmin(1))
    torch.testing.assert_close(distances[0], brute.min(1).values, rtol=0, atol=1e-13)
    train(model, data(), range(5))
    model.fit_statistics(data())
    assert torch.equal(model.parameters["centroids.size"][0], places[0].bincount(minlength=7))
    for cluster, position in enumerate(model.parameters["centroids.position"][0]):
        torch.testing.assert_close(
            position, data()[places[0] == cluster].mean(0), rtol=0, atol=1e-13
        )


def test_a_cluster_without_images_keeps_its_centroid() -> None:
    model = build()
    far = torch.full((6,), 50.0, dtype=torch.float64)
    model.parameters["centroids.position"][0, 3] = far
    train(model, data(), range(5))
    model.fit_statistics(data())
    assert torch.equal(model.parameters["centroids.position"][0, 3], far)
    assert model.parameters["centroids.size"][0, 3] == 0
    assert model.parameters["centroids.size"].sum() == 120
    assert model.parameters["centroids.position"].isfinite().all()


def test_settling_again_or_between_epochs_changes_nothing() -> None:
    looked, unwatched = build(), build()
    looked.fit_statistics(data())
    for epoch in range(3):
        train(looked, data(), range(5 * epoch, 5 * epoch + 5))
        looked.fit_statistics(data())
        looked.fit_statistics(data())
    train(unwatched, data(), range(15))
    unwatched.fit_statistics(data())
    for name, value in looked.parameters.items():
        assert torch.equal(value, unwatched.parameters[name]), name


def test_the_loss_is_the_mean_squared_distance_and_falls() -> None:
    model = build(batch_size=120)
    losses = [
        float(model.train_step(data()[None], epoch, epoch)["squared_distance"])
        for epoch in range(6)
    ]
    start = build().parameters["centroids.position"][0]
    first = ((data()[:, None] - start) ** 2).sum(2).min(1).values.mean()
    assert losses[0] == pytest.approx(float(first), abs=1e-13)
    assert all(later <= earlier + 1e-14 for earlier, later in pairwise(losses))
    assert losses[-1] < losses[0]


def test_of_centroids_at_the_same_image_all_but_one_are_empty() -> None:
    model = build(train=data(5), batch_size=5)
    train(model, data(5), range(3))
    model.fit_statistics(data(5))
    position, size = (
        model.parameters["centroids.position"][0],
        model.parameters["centroids.size"][0],
    )
    assert sorted(size.tolist()) == [0, 0, 1, 1, 1, 1, 1]
    assert sorted(position[size == 1].tolist()) == sorted(data(5).tolist())


@settings(max_examples=40, deadline=None)
@given(population=st.integers(1, 30), count=st.integers(1, 100), draw=st.integers(0, 2**33))
def test_even_choice_takes_each_member_equally_often_up_to_one(
    population: int, count: int, draw: int
) -> None:
    chosen = even_choice(Streams((0, 1), CPU), draw, population, count)
    assert chosen.shape == (2, count)
    for row in chosen:
        times = row.bincount(minlength=population)
        assert len(times) == population
        assert times.max() - times.min() <= 1


def test_each_centroid_is_a_sample_once() -> None:
    model = build()
    drawn = model.sample(7, 0)[0]
    assert sorted(drawn.tolist()) == sorted(model.parameters["centroids.position"][0].tolist())
    assert not torch.equal(model.sample(3, 0), model.sample(3, 1))
    assert torch.equal(model.sample(3, 1), model.sample(3, 1))


def test_weighted_draws_hold_a_centroid_as_often_as_its_cluster_is_large() -> None:
    model = build(WeightedKMeans)
    train(model, data(), range(10))
    model.fit_statistics(data())
    model.parameters["centroids.size"][0] = torch.tensor([0, 50, 1, 0, 69, 0, 0])
    drawn = model.sample(60_000, 2)[0]
    shares = [
        float((drawn == position).all(1).double().mean())
        for position in model.parameters["centroids.position"][0]
    ]
    expected = np.array([0, 50, 1, 0, 69, 0, 0]) / 120
    error = np.sqrt(expected * (1 - expected) / 60_000)
    assert np.all(
        np.abs(np.array(shares) - expected) <= 4.5 * error
    )  # so a share of 0 is met exactly
    assert torch.equal(model.sample(9, 2), model.sample(9, 2))


def true_distribution(seeds: tuple[int, ...] = (0,)) -> TrueDistribution:
    model = TrueDistribution(
        TrueDistribution.Config(), (1, 2, 3), Streams(seeds, CPU, torch.float64)
    )
    model.train = data()
    model.initialise(data())
    return model


def test_the_true_distribution_draws_training_images_without_replacement() -> None:
    drawn = true_distribution((0, 1)).sample(50, 0)
    assert drawn.shape == (2, 50, 6)
    known = {tuple(row) for row in data().tolist()}
    for rows in drawn.tolist():
        assert len({tuple(row) for row in rows} & known) == 50
    assert not torch.equal(drawn[0], drawn[1])


def test_the_true_distribution_is_a_function_of_seed_and_draw_and_nothing_trains_it() -> None:
    model = true_distribution((3, 8))
    before = model.sample(200, 5)
    assert model.train_step(data()[:4][None].expand(2, -1, -1), 0, 0)[
        "nothing_trained"
    ].tolist() == [0, 0]
    assert torch.equal(model.sample(200, 5), before)
    assert torch.equal(true_distribution((8,)).sample(200, 5)[0], before[1])
    assert not torch.equal(model.sample(200, 6), before)
    assert model.parameters == {}
    assert model.parameter_count() == {}
