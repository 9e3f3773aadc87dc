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
#: Levels of a grey image: with the gap and the border they fill a palette, so that a pixel takes
#: one byte and not four.
GREYS = 254


def to_bytes(
    images: NDArray[np.floating], value_range: tuple[float, float], levels: int = 256
) -> NDArray[np.uint8]:
    """Pixel values as `levels` even steps of 0..255, of the same shape.

    Args:
        images: pixel values.
        value_range: mapped onto 0..255; values outside are cut.
        levels: how many different bytes there are.
    """
    low, high = value_range
    steps = levels - 1
    exact = np.asarray(images, dtype=np.float64)
    steps_a_unit = steps / (high - low)
    # In float64 and rounded to even: the same bytes on every machine.
    scaled = (exact - low) * steps_a_unit
    level_of = np.rint(np.clip(scaled, 0, steps))
    bytes_a_step = 255 / steps
    values = np.rint(level_of * bytes_a_step)
    return values.astype(np.uint8)


def grid(
    images: NDArray[np.floating],
    value_range: tuple[float, float] = (0.0, 1.0),
    marked: Collection[int] = (),
) -> NDArray[np.uint8]:
    """Images in rows and columns, with gaps between and around them.

    Args:
        images: (rows, columns, channels, height, width); 1 channel is grey, 3 are red, green, blue.
        value_range: pixel values shown as black and as white.
        marked: columns whose images get a border, drawn in the gap so that no pixel is lost.

    Returns:
        (rows * (height + GAP) + GAP, columns * (width + GAP) + GAP, 4) uint8: red, green, blue,
        alpha.

    Raises:
        ValueError: not finite, or neither 1 nor 3 channels.
    """
    rows, columns, channels, height, width = images.shape
    if channels not in (1, 3):
        raise ValueError(f"an image has 1 or 3 channels, not {channels}")
    # What byte NaN becomes is left to the processor.
    if not np.isfinite(images).all():
        raise ValueError("an image has pixels that are not finite")
    levels = 256
    if channels == 1:
        levels = GREYS
    values = to_bytes(images, value_range, levels)
    pixels = np.broadcast_to(values, (rows, columns, 3, height, width))
    full_height = rows * (height + GAP) + GAP
    full_width = columns * (width + GAP) + GAP
    # All transparent, and so are the gaps that no image fills.
    canvas = np.zeros((full_height, full_width, 4), dtype=np.uint8)
    for row in range(rows):
        top = row * (height + GAP) + GAP
        bottom = top + height
        for column in range(columns):
            left = column * (width + GAP) + GAP
            right = left + width
            if column in marked:
                canvas[top - 1 : bottom + 1, left - 1 : right + 1] = BORDER
            # An image has its channels first, a PNG file last.
            colours = pixels[row, column].transpose(1, 2, 0)
            canvas[top:bottom, left:right, :3] = colours
            canvas[top:bottom, left:right, 3] = 255
    return canvas


def png(canvas: NDArray[np.uint8]) -> bytes:
    """The (height, width, 4) pixels as a PNG file, with a palette where 256 colours are enough.

    Equal pixels give equal bytes.
    """
    pixels = canvas.reshape(-1, 4)
    # Sorted, so that the palette does not depend on the order of the pixels.
    colours, indices = np.unique(pixels, axis=0, return_inverse=True)
    buffer = io.BytesIO()
    # A palette's indices are bytes.
    if len(colours) > 256:
        image = Image.fromarray(canvas, "RGBA")
        image.save(buffer, format="PNG", compress_level=9)
        return buffer.getvalue()
    palette = colours[:, :3].tobytes()
    alpha = colours[:, 3].tobytes()
    height, width, _ = canvas.shape
    palette_indices = indices.reshape(height, width).astype(np.uint8)
    image = Image.fromarray(palette_indices, "P")
    image.putpalette(palette)
    image.save(buffer, format="PNG", compress_level=9, transparency=alpha)
    return buffer.getvalue()
