"""Every kind of file is read as its own library wrote it; what cannot be used is refused in one
sentence.
"""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import save_file
from scipy.io import savemat

from replicate.errors import ReplicateError
from replicate.scoring.files import ForeignArray, read_array
from replicate.scoring.rows import Shape, as_pixels, fits, in_rows

GENERATOR = np.random.default_rng(0)
FLOATS = GENERATOR.random((6, 12)).astype(np.float32)
BYTES = GENERATOR.integers(0, 256, (12, 4, 3), dtype=np.uint8)

#: Titles of the columns of `FLOATS` that count from 1, in quotes.
NUMBERED = ",".join(f'"{number}"' for number in range(1, 13))


def write_images(folder: Path, images: np.ndarray, suffix: str = ".png") -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"sample-{number}{suffix}")
    return folder


def write_zip(path: Path, images: np.ndarray) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for number, image in enumerate(images):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            archive.writestr(f"all/{number}.png", buffer.getvalue())
    return path


def text_of(values: np.ndarray, separator: str, titles: str = "") -> str:
    lines = [separator.join(map(repr, map(float, row))) for row in values]
    return titles + "\n".join(lines) + "\n"


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.npy": lambda path: np.save(path, FLOATS),
    "a.npz": lambda path: np.savez(path, samples=FLOATS),
    "b.npz": lambda path: np.savez_compressed(path, FLOATS),
    "a.safetensors": lambda path: save_file({"x": FLOATS}, path),
    "a.pt": lambda path: torch.save(torch.from_numpy(FLOATS), path),
    "a.pth": lambda path: torch.save({"samples": torch.from_numpy(FLOATS), "epoch": 3}, path),
    "b.pt": lambda path: torch.save([torch.from_numpy(FLOATS)], path),
    "a.mat": lambda path: savemat(path, {"samples": FLOATS}),
    "a.csv": lambda path: path.write_text(text_of(FLOATS, ",")),
    "b.csv": lambda path: path.write_text(text_of(FLOATS, ";", "a;b\n")),
    "c.csv": lambda path: path.write_text("\ufeff" + text_of(FLOATS, ","), encoding="utf-8"),
    # As pandas and R write an array without names of its columns.
    "d.csv": lambda path: pd.DataFrame(FLOATS.astype(float)).to_csv(path, index=False),
    "e.csv": lambda path: path.write_text(text_of(FLOATS, ",", NUMBERED + "\n")),
    "a.txt": lambda path: path.write_text(text_of(FLOATS, " ")),
    "b.txt": lambda path: path.write_text(text_of(FLOATS, "\t")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_an_array_comes_back(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](path)
    before = path.read_bytes()
    array = read_array(path)
    np.testing.assert_array_equal(array.values, FLOATS)
    assert len(array.digest) == 64
    assert path.read_bytes() == before


def test_a_first_line_of_pixels_is_no_line_of_titles(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("0,1\n1,0\n")
    np.testing.assert_array_equal(read_array(path).values, [[0, 1], [1, 0]])
    path.write_text("0,1,2,4\n1,0,0,0\n")
    np.testing.assert_array_equal(read_array(path).values, [[0, 1, 2, 4], [1, 0, 0, 0]])


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float16", "float64", "bool"])
def test_types(dtype: str, tmp_path: Path) -> None:
    values = (255 * FLOATS).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    array = read_array(tmp_path / "a.npy")
    assert array.values.dtype == dtype
    np.testing.assert_array_equal(array.values, values)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_bfloat16(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file as save_torch

    tensor = torch.from_numpy(FLOATS).bfloat16()
    path = tmp_path / f"a{suffix}"
    if suffix == ".pt":
        torch.save(tensor, path)
    else:
        save_torch({"x": tensor}, path)
    np.testing.assert_array_equal(read_array(path).values, tensor.float().numpy())


def test_a_folder_and_an_archive_of_images_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    colours = GENERATOR.integers(0, 256, (12, 4, 3, 3), dtype=np.uint8)
    for images in (BYTES, colours):
        name = f"{images.ndim}"
        folder = read_array(write_images(tmp_path / name, images))
        archive = read_array(write_zip(tmp_path / f"{name}.zip", images))
        np.testing.assert_array_equal(folder.values, images)
        np.testing.assert_array_equal(archive.values, images)


def test_grey_images_that_were_saved_in_colour_are_grey_again(tmp_path: Path) -> None:
    """As torchvision's save_image writes them."""
    folder = write_images(tmp_path / "i", np.repeat(BYTES[..., None], 3, axis=3))
    np.testing.assert_array_equal(read_array(folder).values, BYTES)


def test_pictures_without_colour_beside_data_in_colour(tmp_path: Path) -> None:
    """As a generator of coloured images makes them that has collapsed."""
    grey = np.repeat(BYTES[..., None], 3, 3)
    folder = read_array(write_images(tmp_path / "samples", grey))
    rows = in_rows(folder, (3, *BYTES.shape[1:]))
    np.testing.assert_array_equal(np.moveaxis(rows, 1, 3), grey)
    # In an array it is not guessed what three equal channels would be.
    np.save(tmp_path / "a.npy", BYTES)
    with pytest.raises(ReplicateError, match="images of 3 x 4 x 3 pixels are needed"):
        in_rows(read_array(tmp_path / "a.npy"), (3, *BYTES.shape[1:]))


def test_jpeg_is_read_with_a_note(tmp_path: Path) -> None:
    array = read_array(write_images(tmp_path / "i", BYTES, ".jpg"))
    assert array.values.shape == BYTES.shape
    assert any("JPEG" in note for note in array.notes)


def test_the_array_that_fits_is_taken_or_one_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    labels = np.arange(6)
    np.savez(path, labels=labels, images=FLOATS, other=2 * FLOATS)
    with pytest.raises(ReplicateError, match=r"several arrays \(labels \(6,\)"):
        read_array(path)
    np.testing.assert_array_equal(read_array(path, "other").values, 2 * FLOATS)
    np.savez(path, labels=labels, images=FLOATS)
    array = read_array(path)
    np.testing.assert_array_equal(array.values, FLOATS)
    assert "'images' fits" in array.notes[0]
    with pytest.raises(ReplicateError, match="holds no array 'x'"):
        read_array(path, "x")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def objects(path: Path) -> None:
    np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)


class Evil:
    """What unpickling would run."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('it ran')",)


REFUSED: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "missing": ("a.npy", lambda path: None, "does not exist"),
    "of no kind": ("a.xyz", lambda path: path.write_text("1"), "files that end in '.xyz'"),
    "without an ending": ("samples", lambda path: path.write_text("1"), "'nothing'"),
    "cut": ("a.npy", lambda path: (np.save(path, FLOATS), cut(path)), "not a whole NumPy array"),
    "no array": ("a.npy", lambda path: path.write_text("hello"), "Python objects|not a whole"),
    "objects": ("a.npy", objects, "Python objects, which are never loaded"),
    "complex": ("a.npy", lambda path: np.save(path, FLOATS * 1j), "not of real numbers"),
    "text": ("a.npy", lambda path: np.save(path, np.array(["a", "b"])), "not of real numbers"),
    "cut archive": (
        "a.npz",
        lambda path: (np.savez(path, a=FLOATS), cut(path)),
        "not a whole NumPy archive",
    ),
    "an archive named .npy": (
        "a.npy",
        lambda path: path.write_bytes(archive_bytes()),
        "the ending .npz",
    ),
    "no safetensors": ("a.safetensors", lambda path: path.write_bytes(b"1234"), "not a whole"),
    "evil": ("a.pt", lambda path: torch.save(Evil(), path), "holds more than tensors"),
    "evil pickle": ("a.pt", lambda path: path.write_bytes(pickle.dumps(Evil())), "never loaded"),
    "no tensor": ("a.pt", lambda path: torch.save({"epoch": 3}, path), "holds no array"),
    "no pytorch": ("a.pt", lambda path: path.write_bytes(b"x" * 100), "a.pt"),
    "empty file": ("a.pt", lambda path: path.write_bytes(b""), "a.pt"),
    "words": ("a.csv", lambda path: path.write_text("1,2\nthree,4\n"), "no table of numbers"),
    "ragged": ("a.csv", lambda path: path.write_text("1,2\n3\n"), "no table of numbers"),
    "empty table": ("a.csv", lambda path: path.write_text(""), "holds no numbers"),
    "no matlab": ("a.mat", lambda path: path.write_bytes(b"x" * 200), "MATLAB"),
    "HDF5": ("a.mat", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" * 90), "-v7"),
    "no archive": ("a.zip", lambda path: path.write_text("x"), "not a whole zip archive"),
    "empty folder": ("folder", lambda path: path.mkdir(), "no PNG or JPEG"),
}


def archive_bytes() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, a=FLOATS)
    return buffer.getvalue()


@pytest.mark.parametrize("title", REFUSED)
def test_what_cannot_be_used_is_refused(title: str, tmp_path: Path) -> None:
    name, write, words = REFUSED[title]
    path = tmp_path / name
    write(path)
    with pytest.raises(ReplicateError, match=words) as error:
        read_array(path)
    message = str(error.value)
    assert message.endswith(".")
    assert "delete" not in message
    assert "\n" not in message


def test_images_of_two_sizes_damaged_deep_and_transparent_ones(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "i", BYTES)
    Image.new("L", (9, 9)).save(folder / "z.png")
    with pytest.raises(ReplicateError, match="several sizes"):
        read_array(folder)
    Image.new("I;16", (3, 4)).save(folder / "z.png")
    with pytest.raises(ReplicateError, match=r"z.png has more than 8 bits"):
        read_array(folder)
    Image.new("RGBA", (3, 4), (0, 0, 0, 100)).save(folder / "z.png")
    with pytest.raises(ReplicateError, match=r"z.png is partly transparent"):
        read_array(folder)
    (folder / "z.png").write_bytes(b"nothing")
    with pytest.raises(ReplicateError, match=r"1 of 13 images .* z.png is no PNG"):
        read_array(folder)
    Image.new("RGBA", (3, 4), (0, 0, 0, 255)).save(folder / "z.png")
    assert read_array(folder).values.shape == (13, 4, 3)


def foreign(values: np.ndarray) -> ForeignArray:
    return ForeignArray(values, Path("a.npy"), "NumPy array", "0" * 64)


@given(st.integers(2, 5), st.sampled_from([1, 3]), st.integers(2, 4), st.integers(5, 7))
@settings(max_examples=25, deadline=None)
def test_every_order_of_the_axes_gives_the_same_images(
    count: int, channels: int, height: int, width: int
) -> None:
    shape: Shape = (channels, height, width)
    images = np.arange(count * channels * height * width, dtype=np.float32)
    images = images.reshape(count, *shape)
    orders = [images, images.reshape(count, -1), np.moveaxis(images, 1, 3)]
    if channels == 1:
        orders.append(images[:, 0])
    for values in orders:
        array = foreign(values)
        assert fits(values.shape, shape)
        np.testing.assert_array_equal(in_rows(array, shape), images)
    last = np.moveaxis(images.reshape(count, -1), 0, 1)
    if last.shape[0] != count:
        np.testing.assert_array_equal(in_rows(foreign(last), shape, {"axes"}), images)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((784, 10), "`--fix axes`"),
        ((28, 28, 10), "`--fix axes`"),
        ((10, 3, 28, 28), "`--fix grey`"),
        ((10, 28, 28, 3), "`--fix grey`"),
        ((10, 32, 32), "`--fix crop`"),
        ((10, 785), "column of labels"),
        ((10, 14, 14), "generate samples of that size"),
        ((10, 1024), "generate samples of that size"),
        ((7840,), "generate samples of that size"),
        ((1, 784), "holds 1 image"),
        ((2, 2, 10, 784), "generate samples of that size"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused_with_what_to_do(
    shape: tuple[int, ...], words: str
) -> None:
    with pytest.raises(ReplicateError, match=words):
        in_rows(foreign(np.zeros(shape, np.float32)), (1, 28, 28))


def test_the_fixes_of_a_shape() -> None:
    images = GENERATOR.random((5, 28, 28)).astype(np.float32)
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    shape = (1, 28, 28)
    np.testing.assert_array_equal(in_rows(foreign(padded), shape, {"crop"})[:, 0], images)
    with pytest.raises(ReplicateError, match="is not even"):
        in_rows(
            foreign(padded + padded[:, ::-1, :] + GENERATOR.random(padded.shape)), shape, {"crop"}
        )
    colours = np.repeat(images[:, None], 3, 1)
    np.testing.assert_array_equal(in_rows(foreign(colours), shape, {"grey"})[:, 0], images)
    mixed = GENERATOR.random((5, 28, 28, 3)).astype(np.float32)
    np.testing.assert_allclose(
        in_rows(foreign(mixed), shape, {"grey"})[:, 0], mixed.mean(3), rtol=1e-6
    )
    with pytest.raises(ReplicateError, match="leave `--fix grey` out"):
        in_rows(foreign(images), shape, {"grey"})[:, 0]
    columns = images.reshape(5, -1).T
    np.testing.assert_array_equal(in_rows(foreign(columns), shape, {"axes"})[:, 0], images)


@pytest.mark.parametrize(
    ("stored", "divisor", "pixels"),
    [
        ([[0, 255]], 255.0, [[0, 1]]),
        ([[0, 16]], 16.0, [[0, 1]]),
        ([[0, 17]], 16.0, [[0, 17 / 255]]),
        ([[0, 1]], 255.0, [[0, 1]]),
        ([[False, True]], 255.0, [[0, 1]]),
        ([[0, 51]], 1.0, [[0, 0.2]]),
        ([[0.0, 255.0]], 255.0, [[0, 255]]),
        ([[-1.0, 0.5]], 255.0, [[-1, 0.5]]),
    ],
)
def test_whole_numbers_are_bytes_and_real_numbers_stay(
    stored: list[list[float]], divisor: float, pixels: list[list[float]]
) -> None:
    values = np.array(stored)
    found, notes = as_pixels(values, divisor, foreign(values))
    np.testing.assert_allclose(found, pixels, rtol=1e-6)
    assert found.dtype == np.float32
    assert bool(notes) == (values.dtype.kind == "i" and values.max() > 1)


def test_the_mean_of_three_channels_of_bytes_is_one_of_bytes() -> None:
    colours = GENERATOR.integers(0, 256, (5, 4, 4, 3), dtype=np.uint8)
    array = foreign(colours)
    found, notes = as_pixels(in_rows(array, (1, 4, 4), {"grey"}), 1.0, array)
    means = colours.astype(np.float64).mean(3) / 255
    np.testing.assert_allclose(found, means.reshape(5, 16), rtol=1e-6)
    assert len(notes) == 1
    bits = foreign(GENERATOR.integers(0, 2, (5, 4, 4, 3)))
    found, _ = as_pixels(in_rows(bits, (1, 4, 4), {"grey"}), 1.0, bits)
    np.testing.assert_allclose(found, bits.values.mean(3).reshape(5, 16), rtol=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (5, 0), (5, 0, 3)])
def test_an_array_without_pixels_is_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(shape))
    with pytest.raises(ReplicateError, match="holds no images"):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ([[0.0, np.nan], [1, 2]], "1 NaN pixel values, first in image 0"),
        ([[0.0, 1], [np.inf, -np.inf]], "2 infinite pixel values, first in image 1"),
        ([[0.0, np.inf], [np.nan, 1]], "1 NaN and 1 infinite"),
        ([[0.0, 1e300]], "1 infinite"),
        ([[-1, 0]], "whole numbers from -1 to 0"),
        ([[0, 65535]], "whole numbers from 0 to 65535"),
    ],
)
def test_numbers_that_are_no_pixels_are_refused(stored: list[list[float]], words: str) -> None:
    values = np.array(stored)
    with pytest.raises(ReplicateError, match=words):
        as_pixels(values, 255.0, foreign(values))
