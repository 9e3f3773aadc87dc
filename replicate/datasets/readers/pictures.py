"""PNG and JPEG files as arrays of one shape."""

import io
import re
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # Here and below, not above: a plan loads every data set's module, and needs no Pillow.
    from PIL import Image

FORMATS = ("PNG", "JPEG")
#: Pixels of one image; a file that says it has more is refused before they are unpacked.
MAX_PIXELS = 50_000_000

Crop = Literal["centre", "none"]


class UnreadableError(Exception):
    """Why a file holds no image: words that fit after its name."""


#: Where metadata may say how an image is turned; without these bytes there is no need to look.
TURNED = re.compile(rb"[eE][xX][iI][fF]|tiff:Orientation|adobe.xmp")
#: The EXIF tag of the orientation, and what Pillow calls the turn that makes an image upright (EXIF
#: 2.3, tag 0x0112).
ORIENTATION = 0x0112
TURNS = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
#: The chunks of a PNG file that its pixels hang on (ISO/IEC 15948, 11.2 and 11.3.2).
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
#: Markers of a JPEG file: start, start of the scan, comment, and the applications' segments; the
#: pixels hang on those of JFIF and of Adobe, which say what the channels are (ITU-T T.81, B.1;
#: T.871; Adobe 5116).
JPEG_START, JPEG_SCAN, JPEG_COMMENT = b"\xff\xd8", 0xDA, 0xFE
JPEG_APPLICATIONS, JPEG_COLOURS = range(0xE0, 0xF0), frozenset({0xE0, 0xEE})


def _png_pixels(content: bytes, chunks: Collection[bytes]) -> bytes:
    """The PNG file with these chunks alone; from where it breaks off, as it is."""
    pieces = [PNG_START]
    start = len(PNG_START)
    # A chunk is its length, its kind, its data and a checksum.
    while start + 12 <= len(content):
        kind_start = start + 4
        length = int.from_bytes(content[start:kind_start], "big")
        kind = content[kind_start : start + 8]
        stop = start + 12 + length
        if kind in chunks:
            chunk = content[start:stop]
            pieces.append(chunk)
        start = stop
    # What breaks off is left for the decoder, which says what is wrong with it.
    rest = content[start:]
    pieces.append(rest)
    return b"".join(pieces)


def _jpeg_pixels(content: bytes) -> bytes:
    """The JPEG file without comments and metadata before its scan; from where it breaks off, as it
    is.
    """
    pieces = [JPEG_START]
    start = len(JPEG_START)
    while start + 4 <= len(content) and content[start] == 0xFF:
        marker = content[start + 1]
        is_segment = 0xC0 <= marker <= 0xFE
        if marker == JPEG_SCAN or not is_segment:
            break
        # The length counts its own two bytes, and not those of the marker.
        length = int.from_bytes(content[start + 2 : start + 4], "big")
        stop = start + 2 + length
        is_application_data = marker in JPEG_APPLICATIONS and marker not in JPEG_COLOURS
        if marker != JPEG_COMMENT and not is_application_data:
            pieces.append(content[start:stop])
        start = stop
    pieces.append(content[start:])
    return b"".join(pieces)


def _without_metadata(content: bytes) -> bytes:
    """The file with nothing but what its pixels hang on, so that metadata cannot spoil them."""
    if content.startswith(PNG_START):
        return _png_pixels(content, PNG_CHUNKS)
    if content.startswith(JPEG_START):
        return _jpeg_pixels(content)
    return content


def _turn(content: bytes) -> str | None:
    """How the image is turned to stand upright, by its metadata; None if it is not, or if they
    cannot be read.
    """
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


def _opaque(image: "Image.Image") -> "Image.Image":
    """The image in mode L or RGB: transparency over white, 16-bit grey by its high byte."""
    from PIL import Image

    if image.mode.startswith("I"):
        # Pillow's own conversion would clip 16 bits at 255.
        high_bytes = np.asarray(image).astype(np.int64) >> 8
        grey = high_bytes.clip(0, 255).astype(np.uint8)
        return Image.fromarray(grey)
    has_alpha = image.mode in ("RGBA", "LA", "PA")
    if has_alpha or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        composite = Image.alpha_composite(white, image)
        return composite.convert("RGB")
    is_grey = image.mode in ("1", "L")
    return image.convert("L" if is_grey else "RGB")


def _square(image: "Image.Image", size: int, crop: Crop) -> "Image.Image":
    """The image as a square: its middle or all of it, resized (bicubic, with anti-aliasing) if it
    has another size.
    """
    from PIL import Image

    if crop == "centre":
        side = min(image.size)
        left = (image.width - side) // 2
        top = (image.height - side) // 2
        right = left + side
        bottom = top + side
        image = image.crop((left, top, right, bottom))
    target = (size, size)
    if image.size == target:
        return image
    return image.resize(target, Image.Resampling.BICUBIC)


def pixels(content: bytes, size: int, grayscale: bool, crop: Crop) -> NDArray[np.uint8]:
    """One image, (3, size, size), or (1, size, size) in grey (ITU-R 601-2 luma), 0..255.

    Raises:
        UnreadableError: the content is no whole PNG or JPEG image, or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        # Pillow refuses a picture for one odd tag of its EXIF (python-pillow/Pillow#8363).
        with Image.open(io.BytesIO(_without_metadata(content)), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableError(
                    f"has {image.width} x {image.height} pixels, more than {MAX_PIXELS}"
                )
            turn = _turn(content)
            upright = _opaque(image)
            if turn is not None:
                upright = upright.transpose(Image.Transpose[turn])
            square = _square(upright, size, crop)
            square = square.convert("L" if grayscale else "RGB")
    # Before the last clause, which would call it damage.
    except UnreadableError:
        raise
    except Image.DecompressionBombError:
        raise UnreadableError(f"has more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableError("is no PNG or JPEG image") from None
    except Exception as error:  # a damaged file makes its decoder raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UnreadableError(f"is damaged ({reason})") from None
    rows = np.asarray(square, dtype=np.uint8)
    by_channel = rows.reshape(size, size, -1)
    return by_channel.transpose(2, 0, 1)
