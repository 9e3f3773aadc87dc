"""Arrays in files that the project did not write: never unpickled, never changed.

One reader a kind of file, chosen by the name's ending. What a reader cannot use is refused in one
sentence that says what to do with it; no such file is ever to be deleted.
"""

import io
import math
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from replicate.datasets.readers import matlab
from replicate.datasets.readers.pictures import FORMATS, MAX_PIXELS
from replicate.datasets.sources.store import opened, some_of
from replicate.errors import ReplicateError
from replicate.storage.files import sha256_file

if TYPE_CHECKING:
    from PIL import Image

#: Ending -> how the kind of file is called.
KINDS = {
    ".npy": "NumPy array",
    ".npz": "NumPy archive",
    ".safetensors": "safetensors file",
    ".pt": "PyTorch file",
    ".pth": "PyTorch file",
    ".csv": "table",
    ".txt": "table",
    ".mat": "MATLAB file",
    ".zip": "archive of images",
}
#: Kinds of files with pictures in them.
PICTURE_KINDS = ("folder of images", "archive of images")
#: Characters that may stand between the numbers of a table; white space is tried last.
SEPARATORS = (",", ";", "\t")
#: Numbers of columns from which on a first line 0, 1, 2, ... or 1, 2, 3, ... is one of titles.
FEWEST_NUMBERED = 4
#: Arrays that a message names.
MAX_NAMED = 8

Numbers = NDArray[np.generic]
#: Whether an array of some shape may be the one that is looked for.
Fits = Callable[[tuple[int, ...]], bool]


@dataclass(frozen=True)
class ForeignArray:
    """The numbers of a file as they are stored.

    Attributes:
        values: any shape; whole or real numbers.
        path: of the file or folder.
        kind: what it is called, as in `KINDS`, or `folder of images`.
        digest: SHA-256 of the file; of a folder or archive of images that of `Store.digest`.
        notes: what was done to read it, in sentences.
    """

    values: Numbers
    path: Path
    kind: str
    digest: str
    notes: tuple[str, ...] = ()

    @property
    def is_picture(self) -> bool:
        """Whether the images come from picture files: (n, h, w) of them is grey, and no row."""
        return self.kind in PICTURE_KINDS


def any_shape(shape: tuple[int, ...]) -> bool:
    """Whether an array may hold images at all: it has two axes or more, and something in it."""
    return len(shape) >= 2 and math.prod(shape) > 0


def read_array(path: Path, name: str | None = None, fits: Fits = any_shape) -> ForeignArray:
    """The array in a file, or the images of a folder or archive.

    Args:
        path: of the file or folder.
        name: of the array, where the file may hold several.
        fits: which of several arrays may be meant where no name is given.

    Raises:
        ReplicateError: there is no such file, its kind is not known, it is damaged, or it holds no
            array of numbers or several that may be meant.
    """
    if path.is_dir():
        return _of_images(path, "folder of images")
    if not path.is_file():
        raise ReplicateError(f"{path} does not exist; name the file that holds the samples.")
    kind = KINDS.get(path.suffix.lower())
    if kind is None:
        raise ReplicateError(
            f"{path}: files that end in {path.suffix or 'nothing'!r} are not read here; save the "
            f"array as one of {', '.join(KINDS)}, or name a folder of PNG or JPEG images."
        )
    if kind == "archive of images":
        return _of_images(path, kind)
    try:
        arrays = _READERS[kind](path, name)
    except OSError as error:
        raise ReplicateError(f"cannot read {path}: {error.strerror or error}.") from None
    # The ending says how a file is read, and the reader's failure whether it is that kind.
    values, notes = _chosen(arrays, path, name, fits)
    return ForeignArray(values, path, kind, sha256_file(path), notes)


#: Name -> shape, and how the array of a name is read.
Arrays = tuple[Mapping[str, tuple[int, ...]], Callable[[str], Numbers]]


def _chosen(
    arrays: Arrays, path: Path, name: str | None, fits: Fits
) -> tuple[Numbers, tuple[str, ...]]:
    """The array that is meant, and a note where it was chosen among several."""
    shapes, read = arrays
    names = [f"{key} {shape}" for key, shape in shapes.items()]
    listed = some_of(names[:MAX_NAMED])
    if not shapes:
        raise ReplicateError(f"{path} holds no array of numbers; save the samples as one.")
    if name is not None:
        if name not in shapes:
            raise ReplicateError(f"{path} holds no array {name!r}, but {listed}; name one of them.")
        return _checked(read(name), path), ()
    if len(shapes) == 1:
        (only,) = shapes
        return _checked(read(only), path), ()
    # A file of samples often has labels or noise beside them, which have other shapes.
    candidates = [key for key, shape in shapes.items() if fits(shape)]
    if len(candidates) != 1:
        raise ReplicateError(
            f"{path} holds several arrays ({listed}); say which one is meant by `--name`."
        )
    (chosen,) = candidates
    note = f"of the {len(shapes)} arrays in {path.name} the one named {chosen!r} fits"
    return _checked(read(chosen), path), (note,)


def _checked(values: Numbers, path: Path) -> Numbers:
    """The array, if it is one of real numbers that may be pixels."""
    if values.dtype.kind not in "buif":
        raise ReplicateError(
            f"{path}: the array is of type {values.dtype}, not of real numbers; "
            "save it as float32 or uint8."
        )
    # A single number has no axis of images, and images without pixels have no size.
    if values.ndim == 0 or 0 in values.shape[1:]:
        raise ReplicateError(
            f"{path}: the array has the shape {values.shape}, which holds no images; save the "
            "samples once more, as (n, pixels)."
        )
    return values


def _damaged(path: Path, kind: str, error: Exception) -> ReplicateError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return ReplicateError(
        f"{path} is not a whole {kind} ({reason}); copy it again from where it came, "
        "or save the samples once more."
    )


def _npy(path: Path, name: str | None) -> Arrays:
    try:
        with path.open("rb") as stream:
            values = np.load(stream, allow_pickle=False)
    except (ValueError, EOFError, SyntaxError, zipfile.BadZipFile) as error:
        raise _unreadable_by_numpy(path, "NumPy array", error) from None
    if not isinstance(values, np.ndarray):
        # `numpy.load` goes by the content: an .npz under the name .npy is an open archive.
        values.close()
        raise ReplicateError(f"{path} is an archive of arrays; give its name the ending .npz.")
    # An .npy file has one array and no name for it; any word serves.
    return {"array": values.shape}, lambda _: values


def _unreadable_by_numpy(path: Path, kind: str, error: Exception) -> ReplicateError:
    if "allow_pickle" in str(error) or "pickle" in str(error).lower():
        return ReplicateError(
            f"{path} holds Python objects, which are never loaded, for they may run code; "
            "save an array of numbers (`numpy.save` of a float32 or uint8 array)."
        )
    return _damaged(path, kind, error)


def _npz(path: Path, name: str | None) -> Arrays:
    arrays: dict[str, Numbers] = {}
    try:
        # numpy itself leaves a damaged archive open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if isinstance(archive, np.ndarray):
                raise ReplicateError(f"{path} is one array; give its name the ending .npy.")
            names = [name] if name is not None and name in archive.files else archive.files
            # Only what was asked for is unpacked: an archive may hold gigabytes beside it.
            for key in names:
                arrays[key] = archive[key]
    except (ValueError, EOFError, SyntaxError, KeyError, zipfile.BadZipFile) as error:
        raise _unreadable_by_numpy(path, "NumPy archive", error) from None
    return _shapes(arrays), arrays.__getitem__


def _shapes(arrays: Mapping[str, Numbers]) -> dict[str, tuple[int, ...]]:
    return {key: values.shape for key, values in arrays.items()}


def _safetensors(path: Path, name: str | None) -> Arrays:
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    try:
        with safe_open(path, framework="np") as stored:
            metadata = stored.metadata() or {}
            for key in stored.keys():  # noqa: SIM118 (it is no mapping)
                shapes[key] = tuple(stored.get_slice(key).get_shape())
    except SafetensorError as error:
        raise _damaged(path, "safetensors file", error) from None
    # The tool knows one set of samples, and a block has seeds and draws.
    if "about" in metadata and len(shapes.get("samples", ())) == 4:
        raise ReplicateError(
            f"{path} is a block of seeds that `python -m replicate sample` wrote; "
            "`bandwidth` and `evaluate` score it as it is."
        )

    def read(key: str) -> Numbers:
        with safe_open(path, framework="pt") as tensors:  # also types that numpy lacks
            return _of_torch(tensors.get_tensor(key))

    return shapes, read


def _of_torch(tensor: object) -> Numbers:
    """A tensor as an array; of types that numpy lacks, such as bfloat16, as float32."""
    import torch

    assert isinstance(tensor, torch.Tensor)
    plain = tensor.detach().cpu()
    if plain.is_floating_point() and plain.dtype not in (torch.float32, torch.float64):
        plain = plain.float()
    values: Numbers = plain.resolve_conj().resolve_neg().numpy()
    return values


def _pytorch(path: Path, name: str | None) -> Arrays:
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that are refused anyway
            # weights_only: an unpickler that builds tensors and plain containers, and runs nothing.
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ReplicateError(
            f"{path} holds more than tensors, or is damaged; anything else is never loaded, for it "
            "may run code: save the samples alone (`torch.save(samples, FILE)`)."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _damaged(path, "PyTorch file", error) from None
    tensors: dict[str, torch.Tensor] = {}
    if isinstance(content, torch.Tensor):
        tensors["tensor"] = content
    elif isinstance(content, Mapping):
        tensors = {
            str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)
        }
    elif isinstance(content, list | tuple):
        tensors = {
            str(key): value for key, value in enumerate(content) if isinstance(value, torch.Tensor)
        }
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    return shapes, lambda key: _of_torch(tensors[key])


def _table(path: Path, name: str | None) -> Arrays:
    """A text file of one image a line, with or without a line of titles."""
    try:
        # -sig: spreadsheets begin a file by a mark of three bytes, which is no number.
        with path.open(encoding="utf-8-sig") as stream:
            first = stream.readline()
        separator = next((mark for mark in SEPARATORS if mark in first), None)
        has_titles = _are_titles(first.split(separator))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an empty table is refused below
            values = np.loadtxt(
                path,
                dtype=np.float64,
                delimiter=separator,
                skiprows=int(has_titles),
                ndmin=2,
                encoding="utf-8-sig",
            )
    except (ValueError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ReplicateError(
            f"{path} is no table of numbers with one image a line ({reason}); correct that line, "
            "or save the samples as .npy."
        ) from None
    is_whole = values.size > 0 and bool(np.all(values == np.rint(values)))
    if is_whole and values.min() >= 0 and values.max() <= 255:
        # As image files have them; `rows.as_pixels` then takes them for bytes.
        values = values.astype(np.uint8)
    if values.size == 0:
        raise ReplicateError(f"{path} holds no numbers; save the samples once more.")
    return {"table": values.shape}, lambda _: values


def _are_titles(words: list[str]) -> bool:
    """Whether a first line names columns: not all of it are numbers, or it numbers them."""
    if not _are_numbers(words):
        return True
    if len(words) < FEWEST_NUMBERED:
        return False
    # pandas names the columns of an array 0, 1, 2, ...: no image has such pixels.
    names = [word.strip().strip('"') for word in words]
    from_0 = [str(number) for number in range(len(names))]
    from_1 = [str(number + 1) for number in range(len(names))]
    return names in (from_0, from_1)


def _are_numbers(words: list[str]) -> bool:
    try:
        for word in words:
            float(word)
    except ValueError:
        return False
    return True


def _matlab(path: Path, name: str | None) -> Arrays:
    shapes = matlab.shapes(path)
    return shapes, lambda key: matlab.read_arrays(path, [key])[key]


_READERS: dict[str, Callable[[Path, str | None], Arrays]] = {
    "NumPy array": _npy,
    "NumPy archive": _npz,
    "safetensors file": _safetensors,
    "PyTorch file": _pytorch,
    "table": _table,
    "MATLAB file": _matlab,
}


def _natural(name: str) -> list[tuple[int, int, str]]:
    """A key by which `sample-10` follows `sample-9`."""
    key = []
    for word in re.split(r"(\d+)", name):
        if word.isdecimal():
            key.append((0, int(word), ""))
        else:
            # A number before a word, and never compared with one: both are at the same place of a
            # key.
            key.append((1, 0, word))
    return key


def _of_images(path: Path, kind: str) -> ForeignArray:
    """Images of one size, (n, h, w) where all are grey, else (n, h, w, 3), in the names' order."""
    images: list[NDArray[np.uint8]] = []
    faults: list[str] = []
    with opened(path, lambda _: False) as store, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities in files that it reads anyway
        names = sorted(store.sizes, key=_natural)
        for name in names:
            try:
                images.append(_pixels(store.read(name)))
            except _UnreadableError as error:
                faults.append(f"{name} {error}")
        digest = store.digest()
        ignored = store.ignored
        hidden = store.hidden
    if faults:
        raise ReplicateError(
            f"{len(faults)} of {len(names)} images in {path} cannot be used: {some_of(faults)}; "
            "repair them or take them out."
        )
    sizes = {image.shape for image in images}
    if len(sizes) > 1:
        first, second = sorted(sizes)[:2]
        raise ReplicateError(
            f"{path} holds images of several sizes ({first[1]} x {first[0]} and "
            f"{second[1]} x {second[0]}); samples have one size."
        )
    values = np.stack(images)
    notes = []
    # `save_image` of torchvision writes grey images with three equal channels.
    if bool((values == values[..., :1]).all()):
        values = values[..., 0]
    if not all(name.lower().endswith(".png") for name in names):
        notes.append("JPEG is not exact: its blocks change the estimate; PNG is")
    if ignored:
        notes.append(f"{ignored} files in {path.name} are no PNG or JPEG by name: left out")
    if hidden:
        notes.append(f"{hidden} images in {path.name} have hidden names: left out")
    return ForeignArray(values, path, kind, digest, tuple(notes))


class _UnreadableError(Exception):
    """Why a file holds no image: words that fit after its name."""


def _pixels(content: bytes) -> NDArray[np.uint8]:
    """An image as it is stored, (h, w, 3), without a turn, a crop or another size."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _UnreadableError(f"has more than {MAX_PIXELS} pixels")
            return np.asarray(_eight_bits(image).convert("RGB"))
    except _UnreadableError:
        raise
    except (Image.DecompressionBombError, UnidentifiedImageError):
        raise _UnreadableError("is no PNG or JPEG image") from None
    except Exception as error:  # a damaged file makes its decoder raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _UnreadableError(f"is damaged ({reason})") from None


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """The image, if it has 8 bits a colour and nothing shines through."""
    if image.mode.startswith(("I", "F")):
        raise _UnreadableError("has more than 8 bits a pixel; save the samples as .npy")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise _UnreadableError("is partly transparent; save it without an alpha channel")
    return image
