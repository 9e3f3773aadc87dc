"""One PNG or JPEG file as an array: orientation, colour, transparency, size, and files that are
none.
"""

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from replicate.datasets.readers import pictures
from replicate.datasets.readers.pictures import Crop, UnreadableError, pixels

GENERATOR = np.random.default_rng(2)
COLOUR = GENERATOR.integers(0, 256, (6, 6, 3), dtype=np.uint8)


def encoded(image: Any, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        stream, kind, **options
    )
    return stream.getvalue()


def read(
    content: bytes, size: int = 6, grayscale: bool = False, crop: Crop = "centre"
) -> np.ndarray:
    return pixels(content, size, grayscale, crop)


def test_an_image_of_the_right_size_keeps_every_pixel() -> None:
    assert np.array_equal(read(encoded(COLOUR)), COLOUR.transpose(2, 0, 1))
    assert read(encoded(COLOUR)).dtype == np.uint8


#: EXIF orientation -> how the stored array becomes the upright one (EXIF 2.3, table of tag 0x0112).
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_an_image_is_turned_as_its_tag_says(orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    upright = UPRIGHT[orientation](COLOUR)
    assert np.array_equal(read(encoded(COLOUR, exif=tags)), upright.transpose(2, 0, 1))


def test_grey_and_colour() -> None:
    grey = COLOUR[..., 0]
    assert np.array_equal(read(encoded(grey)), np.stack([grey] * 3))
    assert np.array_equal(read(encoded(grey), grayscale=True), grey[None])
    luma = COLOUR @ np.array([0.299, 0.587, 0.114])  # ITU-R 601-2
    assert np.abs(read(encoded(COLOUR), grayscale=True)[0] - luma).max() <= 1


def test_one_bit_palette_and_16_bit_images() -> None:
    bits = COLOUR[..., 0] > 127
    assert np.array_equal(
        read(encoded(Image.fromarray(bits)), grayscale=True)[0], np.where(bits, 255, 0)
    )
    palette = Image.fromarray(COLOUR).convert("P", palette=Image.Palette.ADAPTIVE, colors=64)
    assert np.array_equal(
        read(encoded(palette)), np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    )
    deep = GENERATOR.integers(0, 65536, (6, 6)).astype(np.uint16)
    assert np.array_equal(read(encoded(deep), grayscale=True)[0], deep >> 8)


def test_what_is_transparent_is_laid_over_white() -> None:
    alpha = np.full((6, 6), 255, np.uint8)
    alpha[0, 0], alpha[1, 1] = 0, 128
    found = read(encoded(np.dstack([COLOUR, alpha])))
    assert (found[:, 0, 0] == 255).all()
    assert np.abs(found[:, 1, 1] - (COLOUR[1, 1] * (128 / 255) + 255 * (127 / 255))).max() <= 1
    assert np.array_equal(found[:, 2:], COLOUR.transpose(2, 0, 1)[:, 2:])
    grey = Image.merge("LA", (Image.fromarray(COLOUR[..., 0]), Image.fromarray(alpha)))
    assert read(encoded(grey), grayscale=True)[0, 0, 0] == 255
    palette = Image.fromarray(np.zeros((6, 6), np.uint8), "P")
    palette.putpalette([9, 9, 9])
    assert (read(encoded(palette, transparency=0)) == 255).all()
    assert (read(encoded(palette)) == 9).all()


def test_jpeg_in_colour_grey_and_cmyk() -> None:
    flat = np.full((16, 16, 3), (200, 30, 90), np.uint8)
    found = read(encoded(flat, "JPEG", quality=95), size=16)
    assert np.abs(found.astype(int) - np.array([200, 30, 90])[:, None, None]).max() <= 3
    assert read(encoded(flat[..., 0], "JPEG"), size=16).shape == (3, 16, 16)
    assert read(encoded(Image.fromarray(flat).convert("CMYK"), "JPEG"), size=16).shape == (
        3,
        16,
        16,
    )


def test_the_crop_takes_the_middle_and_none_takes_all() -> None:
    wide = GENERATOR.integers(0, 256, (6, 11, 3), dtype=np.uint8)
    assert np.array_equal(read(encoded(wide)), wide[:, 2:8].transpose(2, 0, 1))
    tall = wide.swapaxes(0, 1)
    assert np.array_equal(read(encoded(tall)), tall[2:8].transpose(2, 0, 1))
    halves = np.zeros((8, 16, 3), np.uint8)
    halves[:, 8:] = 255
    squeezed = read(encoded(halves), size=4, crop="none")
    assert (squeezed[:, :, 0] < 20).all()
    assert (squeezed[:, :, 3] > 235).all()
    assert (read(encoded(np.full((9, 31, 3), 77, np.uint8)), size=5, crop="none") == 77).all()


def png(width: int, height: int) -> bytes:
    """A PNG file whose header says so many pixels, and that has none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


SIX = encoded(COLOUR)
WHOLE = encoded(GENERATOR.integers(0, 256, (64, 64, 3), dtype=np.uint8))
PHOTO = encoded(GENERATOR.integers(0, 256, (64, 64, 3), dtype=np.uint8), "JPEG")
UNREADABLE = {
    "empty": (b"", "is no PNG or JPEG image"),
    "text": (b"<html>404</html>", "is no PNG or JPEG image"),
    "a GIF": (encoded(COLOUR[..., 0], "GIF"), "is no PNG or JPEG image"),
    "a BMP": (encoded(COLOUR, "BMP"), "is no PNG or JPEG image"),
    "a PNG cut short": (WHOLE[: len(WHOLE) // 2], "is damaged"),
    "a JPEG cut short": (PHOTO[: len(PHOTO) // 2], "is damaged"),
    "a PNG of no bytes": (png(8, 8), "is damaged"),
    "too many pixels": (png(10_000, 10_000), "has 10000 x 10000 pixels, more than 50000000"),
    "a bomb": (png(60_000, 60_000), "has more than 50000000 pixels"),
    "no width": (png(0, 8), ""),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_gives_no_image_is_said_in_words(name: str) -> None:
    content, words = UNREADABLE[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UnreadableError) as caught:
            read(content)
    assert words in str(caught.value)
    assert "0x" not in str(caught.value), "no address of an object"


@pytest.mark.parametrize("content", [WHOLE, PHOTO], ids=["png", "jpeg"])
def test_damage_anywhere_is_said_or_harmless_but_never_a_traceback(content: bytes) -> None:
    refused = 0
    for _ in range(120):
        damaged = bytearray(content)
        for place in GENERATOR.integers(0, len(content) if GENERATOR.random() < 0.5 else 60, 3):
            damaged[place] ^= 1 << int(GENERATOR.integers(8))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert read(bytes(damaged), size=8).shape == (3, 8, 8)
            except UnreadableError:
                refused += 1
    assert refused > 20


def test_the_limit_of_pixels_is_looked_at_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("unpacked"))
    monkeypatch.setattr(pictures, "MAX_PIXELS", 35)
    with pytest.raises(UnreadableError, match="has 6 x 6 pixels, more than 35"):
        read(SIX)


def chunk(kind: bytes, content: bytes, whole: bool = True) -> bytes:
    """A PNG chunk; with a wrong checksum if it is not to be whole."""
    check = zlib.crc32(kind + content) ^ (0 if whole else 1)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def exif(orientation: int) -> bytes:
    """EXIF with an orientation and, as some cameras write it, text of a numeric type (Software as
    two rationals).
    """
    entries = struct.pack("<HHIHH", 0x112, 3, 1, orientation, 0) + struct.pack(
        "<HHII", 0x131, 5, 1, 38
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 2) + entries + bytes(4) + struct.pack("<II", 7, 2)


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


PNG_METADATA = {
    "a text with a wrong checksum": chunk(b"tEXt", b"Title\0x", whole=False),
    "a text that unpacks to 100 MB": chunk(
        b"zTXt", b"Comment\0\0" + zlib.compress(bytes(100_000_000))
    ),
    "a text that is not packed": chunk(b"zTXt", b"Comment\0\0xyz"),
    "a profile that is none": chunk(b"iCCP", b"x\0\0xyz"),
    "a profile of another method": chunk(b"iCCP", b"x\0\7xyz"),
    "EXIF that is none": chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
    "no resolution": chunk(b"pHYs", b""),
    "no gamma": chunk(b"gAMA", b""),
    "no white point": chunk(b"cHRM", b"xyz"),
    "no intent": chunk(b"sRGB", b""),
    "frames without an end": chunk(b"acTL", b"\0"),
    "its own": chunk(b"prVt", b"xyz", whole=False),
}
JPEG_METADATA = {
    "EXIF that is none": segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "EXIF cut short": segment(0xE1, b"Exif\0\0II"),
    "XMP that is none": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x tiff:Orientation='"),
    "a profile of no parts": segment(0xE2, b"ICC_PROFILE\0\0\0"),
    "pictures that are not there": segment(0xE2, b"MPF\0II*\0\xff\xff\0\0"),
    "resources that are none": segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0"),
    "a comment": segment(0xFE, b"\xff\xd8\xff"),
    "EXIF with text of a numeric type": segment(0xE1, b"Exif\0\0" + exif(1)),
}


@pytest.mark.parametrize("name", PNG_METADATA)
def test_metadata_never_decide_whether_the_pixels_of_a_png_are_read(name: str) -> None:
    content = SIX[:33] + PNG_METADATA[name] + SIX[33:]
    assert np.array_equal(read(content), COLOUR.transpose(2, 0, 1))
    turned = SIX[:33] + PNG_METADATA[name] + chunk(b"eXIf", exif(6)) + SIX[33:]
    if name != "EXIF that is none":
        assert np.array_equal(read(turned), np.rot90(COLOUR, -1).transpose(2, 0, 1))


@pytest.mark.parametrize("name", JPEG_METADATA)
def test_metadata_never_decide_whether_the_pixels_of_a_jpeg_are_read(name: str) -> None:
    plain = read(PHOTO, size=64)
    assert np.array_equal(read(PHOTO[:2] + JPEG_METADATA[name] + PHOTO[2:], size=64), plain)
    turned = PHOTO[:2] + segment(0xE1, b"Exif\0\0" + exif(6)) + PHOTO[2:]
    assert np.array_equal(read(turned, size=64), np.rot90(plain, -1, (1, 2)))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L", "RGB"])
def test_the_channels_of_a_jpeg_are_those_that_its_segments_say(mode: str) -> None:
    """What Pillow itself reads of the whole file, which has JFIF's or Adobe's segment."""
    content = encoded(Image.fromarray(COLOUR).convert(mode), "JPEG", icc_profile=b"x" * 200)
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(read(content), np.asarray(image.convert("RGB")).transpose(2, 0, 1))
