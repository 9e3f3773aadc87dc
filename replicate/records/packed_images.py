"""Small grey images as results store them for their figures."""

import base64
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

#: Images with more pixels than this are not stored in results.
MAX_PIXELS = 784


class Packed(TypedDict):
    """Images as they stand in a result.

    Attributes:
        pixels: 8-bit values in base64.
        shape: (rows, columns, height, width).
    """

    pixels: str
    shape: list[int]


def packed(images: NDArray[np.floating], shape: tuple[int, int, int]) -> Packed | None:
    """Images to store in a result; None where they are large or have colours.

    Args:
        images: (rows, columns, dimension) in [0, 1]; what is no number becomes 0.
        shape: (channels, height, width) of an image.
    """
    channels, height, width = shape
    # Larger ones would make a result of megabytes, for a figure that only shows a few of them.
    if channels != 1 or height * width > MAX_PIXELS:
        return None
    # Samples of a seed that diverged, which have no shade.
    finite = np.nan_to_num(images)
    # 8 bits are as much as a screen shows.
    levels = np.rint(finite * 255)
    content = levels.astype(np.uint8).tobytes()
    rows, columns, _ = images.shape
    return {
        "pixels": base64.b64encode(content).decode(),
        "shape": [rows, columns, height, width],
    }


def unpacked(images: Packed) -> NDArray[np.float64]:
    """The images of a result, (rows, columns, height, width) in [0, 1]."""
    content = base64.b64decode(images["pixels"])
    levels = np.frombuffer(content, np.uint8)
    shape = images["shape"]
    return levels.reshape(shape) / 255
