"""Small images in results: what is stored is read again, to half a level of 255."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from replicate.records.packed_images import MAX_PIXELS, packed, unpacked


@given(arrays(np.float64, (2, 3, 8), elements=st.floats(0, 1)))
def test_stored_images_are_read_again(images: np.ndarray) -> None:
    stored = packed(images, (1, 4, 2))
    assert stored is not None
    assert stored["shape"] == [2, 3, 4, 2]
    restored = unpacked(stored)
    assert restored.shape == (2, 3, 4, 2)
    error = np.abs(restored - images.reshape(2, 3, 4, 2))
    assert error.max() <= 0.5 / 255 + 1e-12


def test_every_level_is_stored_as_it_is() -> None:
    levels = np.arange(256)
    stored = packed((levels / 255).reshape(1, 4, 64), (1, 8, 8))
    assert stored is not None
    assert list(base64.b64decode(stored["pixels"])) == levels.tolist()
    assert np.array_equal(unpacked(stored).ravel() * 255, levels)


def test_what_is_no_number_is_black() -> None:
    stored = packed(np.array([[[np.nan, 1.0]]]), (1, 1, 2))
    assert stored is not None
    assert unpacked(stored).ravel().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("shape", "is_stored"),
    [((1, 28, 28), True), ((1, 5, 157), False), ((3, 2, 2), False), ((1, 1, MAX_PIXELS), True)],
)
def test_large_and_coloured_images_are_not_stored(
    shape: tuple[int, int, int], is_stored: bool
) -> None:
    images = np.zeros((1, 1, int(np.prod(shape))))
    assert (packed(images, shape) is not None) == is_stored
