"""Arrays of any usual shape as rows of pixels, and the fixes of an array that a user may ask for.

A fix (`--fix`) is applied only where it is asked for: a sample that is changed in silence would be
scored as what its author never saw.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from replicate.errors import ReplicateError
from replicate.scoring.files import ForeignArray, Numbers

#: (channels, height, width) of an image.
Shape = tuple[int, int, int]
Pixels = NDArray[np.float32]
#: Fix -> what it does; in the order in which they are applied.
FIXES = {
    "axes": "the images lie along the last axis (columns of a MATLAB array): bring it to the front",
    "grey": "average three channels where the data set is grey",
    "crop": "cut off an even border",
    "channels": "flat rows hold height, width, channel: bring the channel to the front",
    "transpose": "swap rows and columns of every image",
    "flip": "turn every image upside down",
    "mirror": "turn every image left to right",
    "range": "bring the pixels to the data set's range",
    "invert": "swap light and dark",
}
LARGEST_BYTE = 255


@dataclass(frozen=True)
class Rows:
    """Images as rows of pixels.

    Attributes:
        pixels: (n, channels * height * width) float32.
        shape: (channels, height, width).
        notes: what was done to the stored numbers, in sentences.
    """

    pixels: Pixels
    shape: Shape
    notes: tuple[str, ...] = ()

    @property
    def images(self) -> Pixels:
        """(n, channels, height, width)."""
        return self.pixels.reshape(-1, *self.shape)


def sizes(shape: Shape) -> str:
    """An image's size in words: 28 x 28, or 3 x 32 x 32."""
    channels = shape[0]
    lengths = shape if channels > 1 else shape[1:]
    return " x ".join(map(str, lengths))


def fits(stored: tuple[int, ...], shape: Shape) -> bool:
    """Whether an array of a shape may hold images of another, in some order of its axes."""
    if len(stored) < 2 or math.prod(stored) == 0:
        return False
    dimension = math.prod(shape)
    # Images along the first axis, or along the last one, as MATLAB has them.
    return dimension in (math.prod(stored[1:]), math.prod(stored[:-1]))


def in_rows(array: ForeignArray, shape: Shape, fixes: Collection[str] = ()) -> Numbers:
    """The images of an array, (n, channels, height, width), of the type that is stored.

    Args:
        array: (n, d), (n, h, w), (n, c, h, w) or (n, h, w, c).
        shape: of an image of the data that they are compared with.
        fixes: of `FIXES`; here those of the axes and of the size count.

    Raises:
        ReplicateError: the images are of another size, or lie along another axis.
    """
    values = array.values
    if "axes" in fixes:
        # First of all: the other fixes look for the images along the first axis.
        values = np.moveaxis(values, -1, 0)
    if array.is_picture and values.ndim == 3 and shape[0] == 3:
        # Pictures whose three channels are equal were read as grey; the data's have all three.
        values = np.repeat(values[..., None], 3, axis=3)
    if values.ndim in (3, 4) and "grey" in fixes:
        values = _grey(values, array)
    if "crop" in fixes:
        values = _cropped(values, shape, array)
    count = len(values) if values.ndim else 0
    ordered = _ordered(values, shape)
    if ordered is None:
        raise ReplicateError(_misfit(array, values, shape))
    if count < 2:
        raise ReplicateError(
            f"{array.path} holds {count} image(s); an estimate needs many, the published ones "
            "10,000."
        )
    return ordered


def _ordered(values: Numbers, shape: Shape) -> Numbers | None:
    """(n, c, h, w), or None where the shape does not fit."""
    channels, height, width = shape
    count = len(values) if values.ndim else 0
    if values.shape[1:] in ((math.prod(shape),), shape):
        return values.reshape(count, *shape)
    if values.shape[1:] == (height, width, channels):
        return np.moveaxis(values, 3, 1)
    # Grey images are often saved without an axis for their one channel.
    if channels == 1 and values.shape[1:] == (height, width):
        return values.reshape(count, *shape)
    # Never guessed by the number of pixels: a wrong order of axes gives noise that still has a
    # score.
    return None


def _misfit(array: ForeignArray, values: Numbers, shape: Shape) -> str:
    """Why an array does not fit, and what to do: a sentence."""
    stored = " x ".join(map(str, array.values.shape))
    expected = f"images of {sizes(shape)} pixels are needed"
    start = f"{array.path} holds an array of {stored}, and {expected}"
    channels, height, width = shape
    if _ordered(np.moveaxis(values, -1, 0), shape) is not None:
        return f"{start}: the images lie along its last axis; `--fix axes` brings it to the front."
    inner = values.shape[1:]
    if channels == 1 and inner in ((3, height, width), (height, width, 3)):
        return f"{start} in one channel; `--fix grey` averages three channels to one."
    if channels == 1 and len(inner) == 2 and inner[0] > height and inner[1] > width:
        return (
            f"{start}: generate at that size, or `--fix crop` cuts off the border, if it is even "
            "(resizing would change the estimate)."
        )
    # Files of the kind of "mnist_train.csv" have the label in the first column.
    if len(inner) == 1 and inner[0] == math.prod(shape) + 1:
        return f"{start}: a column is too many; leave the column of labels out."
    return f"{start}; generate samples of that size (resizing would change the estimate)."


def _grey(values: Numbers, array: ForeignArray) -> Numbers:
    """(n, h, w) from (n, 3, h, w) or (n, h, w, 3)."""
    # Axis 1 or the last one: the two usual places of colours.
    axis = next((axis for axis in (1, values.ndim - 1) if values.shape[axis] == 3), None)
    if values.ndim != 4 or axis is None:
        raise ReplicateError(
            f"{array.path} has no three channels to average; leave `--fix grey` out."
        )
    first = np.take(values, [0], axis=axis)
    if bool((values == first).all()):
        return np.squeeze(first, axis)  # whole numbers stay whole
    averaged: Pixels = values.astype(np.float32).mean(axis)
    return averaged


def _cropped(values: Numbers, shape: Shape, array: ForeignArray) -> Numbers:
    """(n, h, w) from the middle of (n, H, W), whose border has one value."""
    _, height, width = shape
    if values.ndim != 3 or values.shape[1] < height or values.shape[2] < width:
        raise ReplicateError(
            f"{array.path}: `--fix crop` takes grey images (n, height, width) that are larger than "
            f"{sizes(shape)}; leave it out."
        )
    top = (values.shape[1] - height) // 2
    left = (values.shape[2] - width) // 2
    rows, columns = slice(top, top + height), slice(left, left + width)
    # A border that varies belongs to the image: without it other samples would be scored.
    border = np.ones(values.shape[1:], bool)
    border[rows, columns] = False
    outside = values[:, border]
    if outside.size and bool((outside != outside.flat[0]).any()):
        raise ReplicateError(
            f"{array.path}: the border that `--fix crop` would cut off is not even; "
            f"generate samples of {sizes(shape)}."
        )
    return values[:, rows, columns]


def as_pixels(images: Numbers, divisor: float, array: ForeignArray) -> tuple[Pixels, list[str]]:
    """Stored numbers as pixel values (n, d) float32, and notes.

    Whole numbers are bytes, as image files have them: 0..255 is brought to 0..1, and so is 0..16
    for a data set whose own files count to 16. Those of 0 and 1 alone stay. Real numbers stay what
    they are, unless they are means of whole numbers (`--fix grey`).

    Args:
        images: (n, c, h, w).
        divisor: of the data set: pixel = stored / divisor; 1 where it stores pixels themselves.
        array: where they come from: what is stored, and for messages.

    Raises:
        ReplicateError: not finite, or whole numbers that are no bytes.
    """
    flat = images.reshape(len(images), -1)
    if array.values.dtype.kind == "f":
        # float64 beyond float32's range becomes infinite, which the check below reports in plain
        # words.
        with np.errstate(over="ignore"):
            pixels = np.ascontiguousarray(flat, dtype=np.float32)
        _check_finite(pixels, array)
        return pixels, []
    low, high = math.floor(flat.min()), math.ceil(flat.max())
    if low < 0 or high > LARGEST_BYTE:
        raise ReplicateError(
            f"{array.path} holds whole numbers from {low} to {high}, which are no bytes of an "
            "image; save pixel values as float32."
        )
    # Bits, whatever the divisor: 1 of 255 would be nearly black.
    if high <= 1:
        return flat.astype(np.float32), []
    # A data set that counts to 16 has samples that do so too, unless one of them exceeds 16.
    largest = divisor if divisor > 1 and high <= divisor else LARGEST_BYTE
    note = f"whole numbers from {low} to {high} were divided by {largest:g}"
    return np.divide(flat, np.float32(largest), dtype=np.float32), [note]


def _check_finite(pixels: Pixels, array: ForeignArray) -> None:
    """Refuses numbers that are NaN or infinite."""
    with np.errstate(invalid="ignore"):
        # One sum an image first: a mask of every pixel is made only where something is wrong.
        sums = pixels.sum(1, dtype=np.float64)
    if bool(np.isfinite(sums).all()):
        return
    # Now pixel by pixel, to say how many are wrong and where the first one is.
    is_faulty = ~np.isfinite(pixels)
    images = np.flatnonzero(is_faulty.any(1))
    if len(images) == 0:
        return
    nan = int(np.isnan(pixels).sum())
    infinite = int(is_faulty.sum()) - nan
    counts = [f"{nan} NaN"] * (nan > 0) + [f"{infinite} infinite"] * (infinite > 0)
    raise ReplicateError(
        f"{array.path} holds {' and '.join(counts)} pixel values, first in image {images[0]} "
        f"(of {len(images)} such images); a density has no value there: find out why the "
        "generator makes them, since leaving those images out would flatter it."
    )


def _interleaved(images: Pixels) -> Pixels:
    """Flat rows that were read as channel, height, width and are height, width, channel."""
    count, channels, height, width = images.shape
    stored = images.reshape(count, height, width, channels)
    return np.ascontiguousarray(np.moveaxis(stored, 3, 1))


def _transposed(images: Pixels) -> Pixels:
    return images.swapaxes(2, 3)


#: Fix -> what it does to images (n, c, h, w).
TURNS: dict[str, Callable[[Pixels], Pixels]] = {
    "channels": _interleaved,
    "transpose": _transposed,
    "flip": lambda images: images[:, :, ::-1],
    "mirror": lambda images: images[:, :, :, ::-1],
}


def turned(rows: Rows, names: Collection[str]) -> Rows:
    """Images after some of `TURNS`, in the order of `FIXES`.

    Raises:
        ReplicateError: images that are not square cannot be transposed.
    """
    images = rows.images
    # Turns do not commute, so their order is the table's and not the command line's.
    for name, turn in TURNS.items():
        if name not in names:
            continue
        if name == "transpose" and rows.shape[1] != rows.shape[2]:
            raise ReplicateError("images that are not square cannot be transposed; save them anew.")
        images = turn(images)
    return replace(rows, pixels=np.ascontiguousarray(images).reshape(len(images), -1))
