"""The Toronto Face Database's layout: what is read, which faults are named, and the stand-in for
real.
"""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from replicate.datasets import faces, tfd
from replicate.datasets.base import Splits
from replicate.datasets.tfd import TfdConfig
from replicate.errors import ReplicateError
from tests.datasets.data_helpers import faces_arrays, write_faces

FILE = "TFD_48x48.mat"


def prepared(path: Path) -> Splits:
    return tfd.DATASET.prepare({FILE: path}, TfdConfig())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tfd" / FILE


@pytest.mark.parametrize("compress", [True, False])
def test_images_go_where_the_folds_say(path: Path, compress: bool) -> None:
    """Against a plain reading of the layout, row by row."""
    arrays = write_faces(path, compress=compress)
    splits = prepared(path)
    rows = range(len(arrays["images"]))
    unlabelled = [row for row in rows if set(arrays["folds"][row]) == {0}]
    assert len(unlabelled) == 7
    assert splits.images["train"].dtype == np.uint8
    assert np.array_equal(splits.images["train"][:, 0], arrays["images"][unlabelled])
    assert np.array_equal(
        splits.flat("train", 4), arrays["images"][unlabelled].reshape(7, -1) / np.float32(255)
    )
    assert splits.fold_count == 5
    for fold in range(5):
        for code, split in ((1, "train"), (2, "valid"), (3, "test")):
            chosen = [k for k in rows if arrays["folds"][k, fold] == code]
            images = splits.images["labelled"][splits.folds[fold][split], 0]
            assert np.array_equal(images, arrays["images"][chosen])
            assert splits.labels_of(split, fold).tolist() == [
                arrays["labs_ex"][k, 0] - 1 for k in chosen
            ]
    assert [splits.count(split) for split in ("train", "valid", "test")] == [7, 2, 4]


def test_the_whole_validation_set_chooses_the_bandwidth(path: Path) -> None:
    write_faces(path)
    assert len(prepared(path).validation(1, fold=3)) == 2


def test_an_image_that_any_fold_labels_is_never_trained_on(path: Path) -> None:
    arrays = faces_arrays()
    (row, fold), *_ = np.argwhere(arrays["folds"] == 3)
    arrays["folds"][row] = 0
    arrays["folds"][row, fold] = 3
    write_faces(path, arrays)
    splits = prepared(path)
    assert len(splits.images["train"]) == 7
    assert len(splits.images["labelled"]) == 20


def test_values_that_matlab_saved_as_doubles_are_read_alike(path: Path) -> None:
    arrays = write_faces(path)
    one = prepared(path)
    write_faces(path, {name: array.astype(np.float64) for name, array in arrays.items()})
    two = prepared(path)
    assert two.images["labelled"].dtype == np.uint8
    assert all(np.array_equal(one.images[name], two.images[name]) for name in one.images)
    assert np.array_equal(one.labels["labelled"], two.labels["labelled"])


def test_the_extent_is_that_of_the_prepared_images(path: Path) -> None:
    write_faces(path)
    splits = prepared(path)
    assert tfd.DATASET.extent(path.parent, TfdConfig()) == (
        splits.shape,
        len(splits.images["train"]),
    )


def changed(name: str, change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    arrays = faces_arrays()
    return arrays | {name: change(arrays[name])}


def put(value: Any, *place: Any) -> Callable[[np.ndarray], Any]:
    """A change of one entry; a float makes all of them floats."""

    def change(array: np.ndarray) -> np.ndarray:
        array = array.astype(np.float64) if isinstance(value, float) else array.copy()
        array[place] = value
        return array

    return change


def label_of_a_labelled_image(value: int) -> dict[str, Any]:
    arrays = faces_arrays()
    arrays["labs_ex"][arrays["folds"][:, 0] != 0] = value
    return arrays


WRONG: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "no images": (
        lambda: {k: v for k, v in faces_arrays().items() if k != "images"},
        "the variable 'images' is missing (there: labs_ex, labs_id, folds)",
    ),
    "no folds": (
        lambda: {k: v for k, v in faces_arrays().items() if k != "folds"},
        "the variable 'folds' is missing",
    ),
    "no variable": (dict, "the variable 'images' is missing (there: none)"),
    "larger images": (
        lambda: changed("images", lambda a: np.repeat(np.repeat(a, 2, 1), 2, 2)),
        "'images' has the shape (27, 96, 96) instead of (27, 48, 48)",
    ),
    "flat images": (
        lambda: changed("images", lambda a: a.reshape(27, -1)),
        "'images' has the shape (27, 2304) instead of (27, 48, 48)",
    ),
    "four folds": (
        lambda: changed("folds", lambda a: a[:, :4]),
        "'folds' has the shape (27, 4) instead of (27, 5)",
    ),
    "other number of labels": (
        lambda: changed("labs_ex", lambda a: a[1:]),
        "'labs_ex' has the shape (26, 1) instead of (27, 1)",
    ),
    "no image at all": (
        lambda: {name: array[:0] for name, array in faces_arrays().items()},
        "no image is unlabelled (0) in all folds",
    ),
    "a code of 4": (
        lambda: changed("folds", put(4, 0, 0)),
        "'folds' has values from 0 to 4 instead of 0 to 3",
    ),
    "half a code": (
        lambda: changed("folds", put(0.5, 0, 0)),
        "'folds' has values that are not whole numbers",
    ),
    "nothing unlabelled": (
        lambda: changed("folds", lambda a: np.where(a == 0, 1, a)),
        "no image is unlabelled (0) in all folds",
    ),
    "an empty validation set": (
        lambda: changed("folds", lambda a: np.where((a == 2) & (np.arange(5) == 3), 1, a)),
        "fold 3 has no image for valid",
    ),
    "a pixel that is no number": (
        lambda: changed("images", put(np.nan, 3, 4, 5)),
        "'images' has values that are not finite",
    ),
    "an infinite pixel": (
        lambda: changed("images", put(np.inf, 3, 4, 5)),
        "'images' has values that are not finite",
    ),
    "pixels in [0, 1]": (
        lambda: changed("images", lambda a: a / 255.0),
        "'images' has values that are not whole numbers",
    ),
    "a pixel of 256": (lambda: changed("images", put(256.0, 0, 0, 0)), "instead of 0 to 255"),
    "a negative pixel": (
        lambda: changed("images", put(-1.0, 0, 0, 0)),
        "'images' has values from -1.0 to",
    ),
    "an expression of 8": (lambda: changed("labs_ex", put(8, 0, 0)), "instead of -1 to 7"),
    "a labelled image without an expression": (
        lambda: label_of_a_labelled_image(-1),
        "some images that a fold labels have no expression",
    ),
    "the expression 0": (
        lambda: label_of_a_labelled_image(0),
        "some images that a fold labels have no expression",
    ),
    "text for images": (lambda: faces_arrays() | {"images": "faces"}, "'images' has the shape"),
    "text for folds": (
        lambda: faces_arrays() | {"folds": np.array([["abcde"]] * 27)},
        "'folds' has the shape",
    ),
    "cells for folds": (
        lambda: faces_arrays() | {"folds": np.full((27, 5), "x", dtype=object)},
        "the variable 'folds' is missing or is no array of real numbers",
    ),
    "complex folds": (
        lambda: changed("folds", lambda a: a + 1j),
        "the variable 'folds' is missing or is no array of real numbers",
    ),
}


def refusal(path: Path) -> str:
    """The sentence with which a file is refused."""
    with pytest.raises(ReplicateError) as caught:
        prepared(path)
    message = str(caught.value)
    assert str(path) in message
    assert len(message.splitlines()) == 1
    return message


@pytest.mark.parametrize("name", WRONG)
def test_another_layout_is_refused_with_what_is_wrong_and_what_to_do(path: Path, name: str) -> None:
    make, words = WRONG[name]
    write_faces(path, make())
    message = refusal(path)
    assert words in message
    assert "get the original file" in message or "is no array of real numbers" in message


def mat73(content: bytes) -> bytes:
    return b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(512, b"\0") + content


FOREIGN = {
    "MATLAB 7.3": (mat73(b"\x89HDF\r\n\x1a\n" + bytes(100)), "is a MATLAB 7.3 (HDF5) file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(1000), "is a MATLAB 7.3 (HDF5) file"),
    "empty": (b"", "is not a whole MATLAB file"),
    "text": (b"<html>404 Not Found</html>" * 30, "is not a whole MATLAB file"),
    "zeros": (bytes(5000), "is not a whole MATLAB file"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_file_of_another_kind_is_refused(path: Path, name: str) -> None:
    content, words = FOREIGN[name]
    path.parent.mkdir()
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_folder_in_the_place_of_the_file_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    assert "is a folder" in refusal(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(path: Path) -> None:
    write_faces(path)
    path.chmod(0)
    assert "cannot read" in refusal(path)


class _Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.write_text, (self.mark, "sprung"))


def test_nothing_is_unpickled(path: Path, tmp_path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(pickle.dumps(_Trap(tmp_path / "mark")))
    refusal(path)
    assert not (tmp_path / "mark").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "mark").exists(), "the trap itself works"


@pytest.mark.parametrize("compress", [True, False])
def test_a_file_cut_short_anywhere_is_refused(path: Path, compress: bool) -> None:
    write_faces(path, compress=compress)
    content = path.read_bytes()
    end = len(content) - 2  # the very last byte only fills up a word
    for length in [*range(0, 400, 37), *np.linspace(400, end, 40).astype(int)]:
        path.write_bytes(content[:length])
        with pytest.raises(ReplicateError, match=r"TFD_48x48\.mat"):
            prepared(path)


@pytest.mark.parametrize("compress", [True, False])
def test_a_copy_that_was_broken_off_is_called_so(path: Path, compress: bool) -> None:
    """A cut inside the first variable was called another layout, with the advice to get another
    file.
    """
    write_faces(path, compress=compress)
    content = path.read_bytes()
    path.write_bytes(content[:200])
    with pytest.raises(ReplicateError, match="not a whole MATLAB file .at least .* are missing"):
        prepared(path)


@pytest.mark.parametrize("compress", [True, False])
def test_flipped_bits_never_end_in_a_traceback(path: Path, compress: bool) -> None:
    """A file without a pinned digest may be anything: it is read, or refused with a sentence."""
    write_faces(path, compress=compress)
    content, generator, refused = path.read_bytes(), np.random.default_rng(1), 0
    for _ in range(150):
        place = int(generator.integers(128 if generator.random() < 0.5 else 0, 400))
        path.write_bytes(
            content[:place]
            + bytes([content[place] ^ (1 << generator.integers(8))])
            + content[place + 1 :]
        )
        try:
            prepared(path)
        except ReplicateError:
            refused += 1
    assert refused > 20


def test_the_stand_in_has_a_name_a_title_and_a_file_of_its_own(tmp_path: Path) -> None:
    assert (faces.DATASET.name, faces.DATASET.title) == ("faces", "FER-2013 stand-in")
    assert (tfd.DATASET.name, tfd.DATASET.title) == ("tfd", "Toronto Face Database")
    path = tmp_path / "FER2013_in_TFD_format_48x48.mat"
    write_faces(path)
    assert faces.DATASET.data_path(tmp_path, TfdConfig()) == path
    assert faces.DATASET.missing(path) is None
    assert len(faces.DATASET.prepare({path.name: path}, TfdConfig()).folds) == 5
    missing = tfd.DATASET.missing(tfd.DATASET.data_path(tmp_path, TfdConfig()))
    assert missing is not None, "the stand-in's file never stands in for the other's"
    assert str(tmp_path / FILE) in missing


@pytest.fixture(scope="session")
def stand_in() -> Path:
    folder = os.environ.get("REPLICATE_TEST_FACES")
    path = Path(folder or ".", faces.DATASET.file)
    if not folder or not path.is_file():
        pytest.skip(f"needs {faces.DATASET.file}: set REPLICATE_TEST_FACES to its folder")
    return path


def test_the_real_stand_in(stand_in: Path) -> None:
    """Counts as its description gives them, and every labelled image in the test part of one
    fold.
    """
    from scipy.io import loadmat

    splits = faces.DATASET.prepare({stand_in.name: stand_in}, TfdConfig())
    assert splits.shape == (1, 48, 48)
    assert [len(splits.images[name]) for name in ("train", "labelled")] == [12_000, 4_178]
    counts = [[len(rows) for rows in fold.values()] for fold in splits.folds]
    assert counts == [[2924, 418, 836]] * 3 + [[2925, 417, 836], [2926, 418, 834]]
    tested = np.concatenate([fold["test"] for fold in splits.folds])
    assert np.array_equal(np.sort(tested), np.arange(4178))
    raw = loadmat(stand_in)
    first = np.flatnonzero(raw["folds"][:, 2] == 3)[0]
    assert np.array_equal(
        splits.flat("test", 2)[0], raw["images"][first].reshape(-1) / np.float32(255)
    )
    assert splits.labels_of("test", 2)[0] == raw["labs_ex"][first, 0] - 1
    assert faces.DATASET.extent(stand_in.parent, TfdConfig()) == ((1, 48, 48), 12_000)
