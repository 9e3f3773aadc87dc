"""The training image nearest to an image: a first look at whether a model repeats what it was shown."""

import numpy as np
from numpy.typing import NDArray

#: Training rows compared at a time: bounds memory.
CHUNK = 4096


def nearest_rows(
    images: NDArray[np.floating], train: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For every image the row of `train` with the smallest L2 distance; the first of equally near ones.

    Differences are squared and summed in float64, not through a matrix product, which loses near neighbours
    to rounding.

    Args:
        images: (n, dimension). train: (m, dimension).

    Returns:
        Rows (n,) and distances (n,).
    """
    rows, squares = np.zeros(len(images), dtype=np.int64), np.full(len(images), np.inf)
    for start in range(0, len(train), CHUNK):
        block = train[start : start + CHUNK].astype(np.float64)
        for k, image in enumerate(images.astype(np.float64)):
            distances = np.square(block - image).sum(axis=1)
            best = int(distances.argmin())
            if distances[best] < squares[k]:
                rows[k], squares[k] = start + best, distances[best]
    return rows, np.sqrt(squares)
