"""Image grids: every pixel where it belongs, the same bytes for the same pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from replicate.figures.grids import BORDER, GAP, GREYS, grid, png, to_bytes


def decoded(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_pixel_is_where_it_belongs(channels: int) -> None:
    images = np.random.default_rng(0).random((3, 4, channels, 5, 7))
    pixels = decoded(png(grid(images, marked=[3])))
    assert pixels.shape == (3 * (5 + GAP) + GAP, 4 * (7 + GAP) + GAP, 4)
    covered = np.zeros(pixels.shape[:2], dtype=bool)
    for row in range(3):
        for column in range(4):
            top, left = GAP + row * (5 + GAP), GAP + column * (7 + GAP)
            shown = pixels[top : top + 5, left : left + 7]
            steps = 255 if channels == 3 else GREYS - 1
            expected = (
                np.rint(np.rint(images[row, column] * steps) * (255 / steps))
                .astype(np.uint8)
                .transpose(1, 2, 0)
            )
            np.testing.assert_array_equal(shown[..., :3], np.broadcast_to(expected, (5, 7, 3)))
            assert (shown[..., 3] == 255).all()
            covered[top : top + 5, left : left + 7] = True
    rest = pixels[~covered]
    border = (rest == BORDER).all(axis=1)
    assert border.sum() > 0
    assert (rest[~border][:, 3] == 0).all()
    edge = 4 * (7 + GAP)  # the border lies around the last column only
    assert not (pixels[:, : edge - 7 - 1] == BORDER).all(axis=2).any()


def test_values_are_mapped_and_cut_off() -> None:
    assert to_bytes(np.array([-3.0, -1.0, 0.0, 1.0, 9.0]), (-1.0, 1.0)).tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]


def test_a_grid_of_all_greys_needs_one_byte_a_pixel() -> None:
    """With a gap and a border, and nothing lost by the palette."""
    images = np.linspace(0, 1, 64 * 64).reshape(1, 1, 1, 64, 64)
    canvas = grid(images, marked=[0])
    opened = Image.open(io.BytesIO(png(canvas)))
    assert opened.mode == "P"
    assert len(np.unique(canvas.reshape(-1, 4), axis=0)) == GREYS + 1  # the border covers the gap
    np.testing.assert_array_equal(decoded(png(canvas)), canvas)
    assert np.abs(canvas[1:-1, 1:-1, 0] - images[0, 0, 0] * 255).max() < 1.01


def test_the_same_pixels_give_the_same_bytes() -> None:
    images = np.random.default_rng(1).random((2, 2, 1, 8, 8))
    assert png(grid(images)) == png(grid(images.copy()))


@pytest.mark.parametrize("images", [np.zeros((1, 1, 2, 3, 3)), np.full((1, 1, 1, 3, 3), np.nan)])
def test_what_is_no_image_is_refused(images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image"):
        grid(images)
