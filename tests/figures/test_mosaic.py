"""Mosaics: what the lines of the SVG paint are the images, and files stay small."""

import re

import numpy as np
import pytest
from lxml import etree
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

from replicate.figures.mosaic import gap_of, mosaic, quantised, runs
from replicate.figures.theme import canvas, checked_svg, svg
from replicate.records.packed_images import MAX_PIXELS, packed, unpacked

PATH = "{http://www.w3.org/2000/svg}path"


def drawn(images: np.ndarray, **options: object) -> bytes:
    with canvas() as (figure, (axes,)):
        axes.set_xlabel("a label")
        mosaic(axes, images, **options)  # type: ignore[arg-type]
        return svg(figure, "test/mosaic", "Title", "Description.")


def painted(content: bytes, shape: tuple[int, int, int, int], shades: int) -> np.ndarray:
    """The shade of every pixel, from the thick lines of an SVG alone; a pixel that is painted twice
    shows.
    """
    rows, columns, height, width = shape
    gap = gap_of(height)
    page = np.zeros((rows * (height + gap), columns * (width + gap)))
    paths = [
        path
        for path in etree.fromstring(content).iter(PATH)
        if path.get("stroke") == "currentColor"
    ]
    lines = [
        np.array(re.findall(r"[\d.]+", path.get("d")), dtype=float).reshape(-1, 2, 2)
        for path in paths
    ]
    (size,) = {float(path.get("stroke-width", "1")) for path in paths}
    corner = np.concatenate(lines).min((0, 1)) - [
        0,
        size / 2,
    ]  # images have ink in the first corner, see `inked`
    for path, ends in zip(paths, lines, strict=True):
        for (left, y), (right, also) in (ends - corner) / size:
            assert y == also
            assert {left % 1, right % 1, y % 1} == {0.0, 0.5}
            page[int(y), int(left) : int(right)] += float(path.get("stroke-opacity", "1"))
    page = page.reshape(rows, height + gap, columns, width + gap)
    assert not page[:, height:].any()
    assert not page[..., width:].any()
    return np.rint(page[:, :height, :, :width].transpose(0, 2, 1, 3) * (shades - 1)).astype(int)


def inked(images: np.ndarray) -> np.ndarray:
    images[0, 0, 0, 0] = 1
    return images


def digits(rows: int, columns: int, side: int) -> np.ndarray:
    """Digits as in scikit-learn, drawn larger where `side` asks for it."""
    images = load_digits().images[: rows * columns] / 16
    images = np.clip(zoom(images, (1, side / 8, side / 8), order=1), 0, 1)
    return inked(images.reshape(rows, columns, side, side))


@pytest.mark.parametrize(("side", "shades", "limit"), [(8, 8, 40_000), (28, 4, 250_000)])
def test_lines_paint_the_quantised_images_and_the_file_is_small(
    side: int, shades: int, limit: int
) -> None:
    images = digits(5, 9, side)
    content = drawn(images, row_names=list("abcde"), column_names=list("123456789"), marked=[0, 8])
    checked_svg(content)
    levels, count = quantised(images)
    assert count == shades
    np.testing.assert_array_equal(painted(content, images.shape, shades), levels)  # type: ignore[arg-type]
    assert len(content) < limit


def test_noise_of_any_shape_is_painted_exactly() -> None:
    images = inked(np.random.default_rng(0).random((3, 2, 5, 7)))
    levels, shades = quantised(images)
    np.testing.assert_array_equal(painted(drawn(images), images.shape, shades), levels)  # type: ignore[arg-type]


def test_equal_pixels_side_by_side_are_one_run() -> None:
    found = {
        shade: rows.tolist()
        for shade, rows in runs(np.array([[2, 2, 0, 1], [2, 0, 0, 1], [2, 1, 1, 2]]))
    }
    assert found == {
        1: [[3, 4, 0], [3, 4, 1], [1, 3, 2]],
        2: [[0, 2, 0], [0, 1, 1], [0, 1, 2], [3, 4, 2]],
    }


def test_labels_and_frames_are_there_and_empty_images_can_be_drawn() -> None:
    plain, framed = (
        drawn(np.zeros((2, 3, 8, 8)), row_names=["one", "two"], marked=mark) for mark in ([], [1])
    )
    assert b">two<" in plain
    assert b"a label" in plain
    assert b"stroke-series-1" not in plain
    paths = [
        path
        for path in etree.fromstring(framed).iter(PATH)
        if path.get("class") == "stroke-series-1"
    ]
    assert [path.get("d").count("M") for path in paths] == [2]


def test_the_same_bytes_again() -> None:
    assert drawn(digits(2, 3, 8)) == drawn(digits(2, 3, 8))


def test_kept_images_come_back_to_eight_bits_and_large_ones_are_not_kept() -> None:
    images = np.random.default_rng(0).random((2, 3, 40)).astype(np.float32)
    images[0, 0, 0] = np.nan
    kept = packed(images, (1, 5, 8))
    assert kept is not None
    back = unpacked(kept)
    assert back[0, 0, 0, 0] == 0
    np.testing.assert_allclose(back.reshape(2, 3, 40), np.nan_to_num(images), atol=0.5 / 255 + 1e-7)
    assert packed(np.zeros((1, 1, MAX_PIXELS + 1)), (1, 1, MAX_PIXELS + 1)) is None
    assert packed(np.zeros((1, 1, 12)), (3, 2, 2)) is None
