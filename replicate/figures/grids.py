"""Grids of images as PNG files at native pixels: one pixel of an image is one pixel of the file."""

import io
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Transparent pixels between images, so that a grid sits on light and on dark paper.
GAP = 1
#: Red, green, blue, alpha of the border that marks an image (the paper's yellow box).
BORDER = (230, 159, 0, 255)


def to_bytes(images: NDArray[np.floating], value_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Pixel values as 0..255; `value_range` is mapped onto the whole scale, values outside are cut off."""
    low, high = value_range
    scaled = (np.asarray(images, dtype=np.float64) - low) * (255 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def grid(
    images: NDArray[np.floating], value_range: tuple[float, float] = (0.0, 1.0), marked: Collection[int] = ()
) -> NDArray[np.uint8]:
    """Images in rows and columns, with gaps between and around them.

    Args:
        images: (rows, columns, channels, height, width); 1 channel is grey, 3 are red, green, blue.
        value_range: pixel values shown as black and as white.
        marked: columns whose images get a border, drawn in the gap so that no pixel is lost.

    Returns:
        (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 4) uint8: red, green, blue, alpha.

    Raises:
        ValueError: not finite, or neither 1 nor 3 channels.
    """
    rows, columns, channels, height, width = images.shape
    if channels not in (1, 3):
        raise ValueError(f"an image has 1 or 3 channels, not {channels}")
    if not np.isfinite(images).all():
        raise ValueError("an image has pixels that are not finite")
    pixels = np.broadcast_to(to_bytes(images, value_range), (rows, columns, 3, height, width))
    canvas = np.zeros((rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 4), dtype=np.uint8)
    for row in range(rows):
        for column in range(columns):
            top, left = row * (height + GAP) + GAP, column * (width + GAP) + GAP
            if column in marked:
                canvas[top - 1 : top + height + 1, left - 1 : left + width + 1] = BORDER
            canvas[top : top + height, left : left + width, :3] = pixels[row, column].transpose(1, 2, 0)
            canvas[top : top + height, left : left + width, 3] = 255
    return canvas


def png(canvas: NDArray[np.uint8]) -> bytes:
    """The (height, width, 4) pixels as a PNG file; equal pixels give equal bytes."""
    buffer = io.BytesIO()
    Image.fromarray(canvas, "RGBA").save(buffer, format="PNG", optimize=False, compress_level=9)
    return buffer.getvalue()
