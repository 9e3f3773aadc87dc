"""PNG and JPEG files as arrays of one shape."""

import io
import re
from collections.abc import Collection
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG")
#: Pixels of one image; a file that says it has more is refused before they are unpacked.
MAX_PIXELS = 50_000_000

Crop = Literal["centre", "none"]


class UnreadableError(Exception):
    """Why a file gives no image: words that fit after its name."""


#: Where metadata may say how an image is turned; without these bytes there is no need to look.
TURNED = re.compile(rb"[eE][xX][iI][fF]|tiff:Orientation|adobe.xmp")
#: The EXIF tag of the orientation, and what Pillow calls the turn that makes an image upright (EXIF 2.3, tag 0x0112).
ORIENTATION = 0x0112
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE",
    8: "ROTATE_90",
}  # fmt: skip
#: The chunks of a PNG file that its pixels hang on (ISO/IEC 15948, 11.2 and 11.3.2).
PNG_START, PNG_CHUNKS = b"\x89PNG\r\n\x1a\n", frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
#: Markers of a JPEG file: start, start of the scan, comment, and the applications' segments; the pixels hang on those
#: of JFIF and of Adobe, which say what the channels are (ITU-T T.81, B.1; T.871; Adobe 5116).
JPEG_START, JPEG_SCAN, JPEG_COMMENT = b"\xff\xd8", 0xDA, 0xFE
JPEG_APPLICATIONS, JPEG_COLOURS = range(0xE0, 0xF0), frozenset({0xE0, 0xEE})


def _png_pixels(content: bytes, kept: Collection[bytes]) -> bytes:
    """The PNG file with the chunks `kept` alone; from where it breaks off, as it is."""
    parts, place = [PNG_START], len(PNG_START)
    while place + 12 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        if content[place + 4 : place + 8] in kept:
            parts.append(content[place : place + 12 + size])
        place += 12 + size
    return b"".join([*parts, content[place:]])


def _jpeg_pixels(content: bytes) -> bytes:
    """The JPEG file without comments and metadata before its scan; from where it breaks off, as it is."""
    parts, place = [JPEG_START], len(JPEG_START)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == JPEG_SCAN or not 0xC0 <= marker <= 0xFE:
            break
        size = int.from_bytes(content[place + 2 : place + 4], "big")
        told = marker == JPEG_COMMENT or (marker in JPEG_APPLICATIONS and marker not in JPEG_COLOURS)
        if not told:
            parts.append(content[place : place + 2 + size])
        place += 2 + size
    return b"".join([*parts, content[place:]])


def _without_metadata(content: bytes) -> bytes:
    """The file with nothing but what its pixels hang on, so that nothing else decides whether they are read."""
    if content.startswith(PNG_START):
        return _png_pixels(content, PNG_CHUNKS)
    return _jpeg_pixels(content) if content.startswith(JPEG_START) else content


def _turn(content: bytes) -> str | None:
    """How the image is turned to stand upright, by its metadata where they can be read; None: not at all."""
    from PIL import Image

    if TURNED.search(content) is None:
        return None
    candidates = [content]
    if content.startswith(PNG_START):  # another chunk may be what cannot be read
        candidates.append(_png_pixels(content, PNG_CHUNKS | {b"eXIf"}))
    for candidate in candidates:
        try:
            with Image.open(io.BytesIO(candidate), formats=FORMATS) as image:
                return TURNS.get(image.getexif().get(ORIENTATION, 1))
        except Exception:  # what is odd about metadata makes their reader raise anything
            continue
    return None


def _opaque(image: Any) -> Any:
    """The image in mode L or RGB: transparency over white, 16-bit grey by its high byte."""
    from PIL import Image

    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _square(image: Any, size: int, crop: Crop) -> Any:
    """The image as a square: its middle or all of it, then bicubic with anti-aliasing if it has another size."""
    from PIL import Image

    if crop == "centre":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return image if image.size == (size, size) else image.resize((size, size), Image.Resampling.BICUBIC)


def pixels(content: bytes, size: int, grayscale: bool, crop: Crop) -> NDArray[np.uint8]:
    """One image, (3, size, size), or (1, size, size) in grey (ITU-R 601-2 luma), 0..255.

    Raises:
        UnreadableError: the content is no whole PNG or JPEG image, or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(_without_metadata(content)), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableError(f"has {image.width} x {image.height} pixels, more than {MAX_PIXELS}")
            turn, upright = _turn(content), _opaque(image)
            if turn is not None:
                upright = upright.transpose(Image.Transpose[turn])
            square = _square(upright, size, crop).convert("L" if grayscale else "RGB")
    except UnreadableError:
        raise
    except Image.DecompressionBombError:
        raise UnreadableError(f"has more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableError("is no PNG or JPEG image") from None
    except Exception as error:  # a damaged file makes its decoder raise anything
        raise UnreadableError(f"is damaged ({' '.join(str(error).split()) or type(error).__name__})") from None
    return np.asarray(square, dtype=np.uint8).reshape(size, size, -1).transpose(2, 0, 1)
