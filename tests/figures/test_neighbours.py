"""Nearest training images, against the plainest possible search."""

import math

import numpy as np
import pytest

from replicate.diagnostics import nearest as neighbours
from replicate.diagnostics.nearest import nearest_rows


def test_against_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0)
    train, images = noise.random((50, 9), dtype=np.float32), noise.random((6, 9), dtype=np.float32)
    monkeypatch.setattr(neighbours, "CHUNK", 7)
    rows, distances = nearest_rows(images, train)
    for image, row, distance in zip(images, rows, distances, strict=True):
        distances_to = [math.dist(image.tolist(), train_image.tolist()) for train_image in train]
        assert row == int(np.argmin(distances_to))
        assert distance == pytest.approx(distances_to[row], rel=1e-12)


def test_the_first_of_equally_near_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "CHUNK", 2)
    rows, distances = nearest_rows(
        np.zeros((1, 2)), np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])
    )
    assert rows.tolist() == [0]
    assert distances.tolist() == [1.0]


def test_near_copies_are_told_apart() -> None:
    """A matrix product in float32 loses differences this small beside values this large."""
    train = np.full((3, 784), 1000.0)
    train[0, 0] += 2e-3
    train[1, 0] += 1e-3
    train[2, 0] += 3e-3
    rows, distances = nearest_rows(np.full((1, 784), 1000.0), train)
    assert rows.tolist() == [1]
    assert distances[0] == pytest.approx(1e-3, rel=1e-6)
