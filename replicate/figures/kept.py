"""Small grey images as a result keeps them for its figures."""

import base64
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

#: Images with more pixels than this are not kept in results.
KEPT_PIXELS = 784


class Packed(TypedDict):
    """Images as they stand in a result: 8-bit pixels in base64, and (rows, columns, height, width)."""

    pixels: str
    shape: list[int]


def packed(images: NDArray[np.floating], shape: tuple[int, int, int]) -> Packed | None:
    """Images to keep in a result; None where they are large or have colours.

    Args:
        images: (rows, columns, dimension) in [0, 1]; what is no number becomes 0.
        shape: (channels, height, width) of an image.
    """
    channels, height, width = shape
    if channels != 1 or height * width > KEPT_PIXELS:
        return None
    levels = np.rint(np.nan_to_num(images) * 255).astype(np.uint8)
    return {"pixels": base64.b64encode(levels.tobytes()).decode(), "shape": [*images.shape[:2], height, width]}


def unpacked(kept: Packed) -> NDArray[np.float64]:
    """The images of a result, (rows, columns, height, width) in [0, 1]."""
    return np.frombuffer(base64.b64decode(kept["pixels"]), np.uint8).reshape(kept["shape"]) / 255
