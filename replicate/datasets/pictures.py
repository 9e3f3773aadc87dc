"""PNG and JPEG files as arrays of one shape."""

import io
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FORMATS = ("PNG", "JPEG")
#: Pixels of one image; a file that says it has more is refused before they are unpacked.
MAX_PIXELS = 50_000_000

Crop = Literal["centre", "none"]


class UnreadableError(Exception):
    """Why a file gives no image: words that fit after its name."""


def _opaque(image: Any) -> Any:
    """The upright image in mode L or RGB: transparency over white, 16-bit grey by its high byte."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
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
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableError(f"has {image.width} x {image.height} pixels, more than {MAX_PIXELS}")
            square = _square(_opaque(image), size, crop).convert("L" if grayscale else "RGB")
    except UnreadableError:
        raise
    except Image.DecompressionBombError:
        raise UnreadableError(f"has more than {MAX_PIXELS} pixels") from None
    except UnidentifiedImageError:
        raise UnreadableError("is no PNG or JPEG image") from None
    except Exception as error:  # a damaged file makes its decoder raise anything
        raise UnreadableError(f"is damaged ({' '.join(str(error).split()) or type(error).__name__})") from None
    return np.asarray(square, dtype=np.uint8).reshape(size, size, -1).transpose(2, 0, 1)
