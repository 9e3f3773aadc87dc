"""The Toronto Face Database, read from the user's own copy; it may not be shipped or downloaded.

J. Susskind, A. Anderson and G. Hinton, "The Toronto Face Database", University of Toronto, 2010.
The file `TFD_48x48.mat` has images (n, 48, 48), expressions `labs_ex` (n, 1) with 1..7, -1 where
there is none, and `folds` (n, 5) with 0 unlabelled, 1 train, 2 valid, 3 test (lisa-lab/pylearn2,
pylearn2/datasets/tfd.py).
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.base import Extent, Splits, UserDataset
from replicate.datasets.readers.matlab import read_arrays, shapes
from replicate.errors import ReplicateError
from replicate.params import Section, Settings

SIDE, FOLDS, EXPRESSIONS = 48, 5, 7
#: What a number in `folds` means.
UNLABELLED, CODES = 0, {1: "train", 2: "valid", 3: "test"}
#: Values of a MATLAB file, of any number type.
Numbers = NDArray[np.number]
VARIABLES = ("images", "labs_ex", "folds")


class TfdConfig(Settings):
    """Nothing to choose: the folds are the file's."""


class Tfd(UserDataset):
    """Unlabelled faces to train on, and five cuts of the labelled ones; pixel = stored / 255.

    Models train on the images that no fold labels, choose the bandwidth on a fold's whole
    validation set and are evaluated on its test set (goodfeli/adversarial@1720041,
    tfd_pretrain/train.yaml and parzen_ll.py). The released code trains on what fold 0 leaves
    unlabelled; the folds of the original agree on that, and an image that some other fold labels
    would be a test image there. Classes are 0..6.
    """

    name = "tfd"
    title = "Toronto Face Database"
    Config = TfdConfig
    #: The user's file in the data set's folder.
    file = "TFD_48x48.mat"
    needs = "needs TFD_48x48.mat (licensed; ask the owners)"
    remedy = (
        "the Toronto Face Database is given for research only, and by its owners (J. Susskind, "
        "A. Anderson and G. Hinton, University of Toronto): ask them, and copy or link their file "
        "to this path"
    )

    def data_path(self, folder: Path, config: Section) -> Path:
        """The file in the data set's folder."""
        return folder / self.file

    def extent(self, folder: Path, config: Section) -> Extent:
        """From the folds in the file; the images are not read."""
        path = self.data_path(folder, config)
        codes = _checked_folds(path)
        train = _unlabelled(codes).sum()
        return Extent((1, SIDE, SIDE), int(train))

    def prepare(self, files: Mapping[str, Path], config: Section) -> Splits:
        """Images (n, 1, 48, 48) uint8: `train` without labels, and `labelled` with the rows of
        every fold.
        """
        path = files[self.file]
        codes = _checked_folds(path)
        arrays = read_arrays(path, ("images", "labs_ex"))
        values = _whole_numbers(path, "images", arrays["images"], 0, 255)
        images = values.astype(np.uint8)[:, None]
        unlabelled = _unlabelled(codes)
        labelled = ~unlabelled
        labels = arrays["labs_ex"].reshape(-1)
        expressions = _whole_numbers(path, "labs_ex", labels, -1, EXPRESSIONS)
        # Images without a label may have -1 there, which is no fault.
        expressions = expressions[labelled]
        if len(expressions) and expressions.min() < 1:
            raise _fault(
                path, "some images that a fold labels have no expression in `labs_ex` (1 to 7)"
            )
        # In the file classes count from 1.
        classes = expressions.astype(np.int64) - 1
        codes_by_fold = codes[labelled].T
        return Splits(
            images={"train": images[unlabelled], "labelled": images[labelled]},
            labels={"labelled": classes},
            divisor=255.0,
            folds=[_rows_of_splits(codes_of_fold) for codes_of_fold in codes_by_fold],
            whole_validation=True,
        )


def _rows_of_splits(codes: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Split -> its rows among the labelled images, by their codes (n,) in one fold."""
    rows = {}
    for code, split in CODES.items():
        rows[split] = np.flatnonzero(codes == code)
    return rows


def _fault(path: Path, reason: str) -> ReplicateError:
    return ReplicateError(
        f"{path}: {reason}; it is not in the layout of TFD_48x48.mat, so get the original file."
    )


def _checked_folds(path: Path) -> NDArray[np.int64]:
    """The codes (n, 5) of a file whose variables have the right shapes; no split of a fold is
    empty.
    """
    shape_of = shapes(path)
    missing = [name for name in VARIABLES if name not in shape_of]
    if missing:
        names = ", ".join(shape_of) or "none"
        raise _fault(path, f"the variable {missing[0]!r} is missing (there: {names})")
    # The number of images is the file's own; the other variables have to agree with it.
    n = shape_of["images"][0]
    for name, shape in (("images", (n, SIDE, SIDE)), ("labs_ex", (n, 1)), ("folds", (n, FOLDS))):
        if shape_of[name] != shape:
            raise _fault(path, f"{name!r} has the shape {shape_of[name]} instead of {shape}")
    values = read_arrays(path, ["folds"])["folds"]
    folds = _whole_numbers(path, "folds", values, UNLABELLED, max(CODES))
    if not _unlabelled(folds).any():
        raise _fault(
            path, "no image is unlabelled (0) in all folds, so there is nothing to train on"
        )
    # A split without images would give a mean over nothing, which is NaN.
    for fold in range(FOLDS):
        empty = [split for code, split in CODES.items() if not (folds[:, fold] == code).any()]
        if empty:
            raise _fault(path, f"fold {fold} has no image for {empty[0]}")
    return folds.astype(np.int64)


def _unlabelled(folds: Numbers) -> NDArray[np.bool_]:
    """The images that no fold labels, (n,)."""
    has_no_split = folds == UNLABELLED
    unlabelled: NDArray[np.bool_] = has_no_split.all(axis=1)
    return unlabelled


def _whole_numbers(path: Path, name: str, values: Numbers, low: int, high: int) -> Numbers:
    """The same values, all whole and between `low` and `high`; MATLAB may have saved doubles."""
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise _fault(path, f"{name!r} has values that are not finite")
        if not np.array_equal(values, np.rint(values)):
            raise _fault(path, f"{name!r} has values that are not whole numbers")
    # An empty array has no smallest value; its shape is refused elsewhere.
    if not values.size:
        return values
    least = values.min()
    most = values.max()
    if least < low or most > high:
        raise _fault(path, f"{name!r} has values from {least} to {most} instead of {low} to {high}")
    return values


DATASET = Tfd()
