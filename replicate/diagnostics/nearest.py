"""The nearest training image of each image, to show whether a model copies its training images."""

import numpy as np
from numpy.typing import NDArray

#: Training rows compared at a time: bounds memory.
CHUNK = 4096


def nearest_rows(
    images: NDArray[np.floating], train: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For every image the row of `train` with the smallest L2 distance; the first of equal ones.

    Differences are squared and summed in float64: a matrix product would lose near neighbours to
    rounding.

    Args:
        images: (n, dimension).
        train: (m, dimension).

    Returns:
        Indices of rows (n,) and distances (n,).
    """
    nearest = np.zeros(len(images), dtype=np.int64)
    smallest = np.full(len(images), np.inf)
    exact_images = images.astype(np.float64)
    for start in range(0, len(train), CHUNK):
        block = train[start : start + CHUNK].astype(np.float64)
        for k, image in enumerate(exact_images):
            differences = block - image
            squared_distances = np.square(differences).sum(axis=1)
            row = int(squared_distances.argmin())
            squared_distance = squared_distances[row]
            # Not `<=`: of equal ones the first counts.
            if squared_distance < smallest[k]:
                nearest[k] = start + row
                smallest[k] = squared_distance
    return nearest, np.sqrt(smallest)
