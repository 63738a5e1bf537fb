"""Reads an image file of any origin as plain RGB, and says why where it cannot be read. Torch is not needed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # no other decoder of Pillow sees a file, whatever its name says
# What Pillow raises for damaged files, by trying (`tests/storage/test_pictures.py`): AssertionError where a palette is gone.
ERRORS = (
    OSError, SyntaxError, ValueError, EOFError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
MOST_PIXELS = 2**26  # of a picture: larger ones take gigabytes as numbers, though their files may be a few kilobytes
ORIENTATION = 0x0112  # tag of EXIF
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableError(ValueError):
    """Why an image file cannot be read, in a few words."""


def read_picture(data: bytes) -> NDArray[np.uint8]:
    """Decodes an image file; the first picture of an animated one.

    Grey values become RGB (16-bit ones divided by 257 and rounded), transparent pixels are laid on white, and the
    orientation that a camera noted is applied.

    Args:
        data: Bytes of a PNG, JPEG, WebP or BMP file.

    Returns:
        (H, W, 3) uint8.

    Raises:
        UnreadableError: If the file is empty, damaged, larger than `MOST_PIXELS`, or no such image.

    Example:
        >>> file = io.BytesIO()
        >>> Image.new("LA", (2, 1), (0, 0)).save(file, "PNG")  # black, and fully transparent
        >>> read_picture(file.getvalue()).tolist()
        [[[255, 255, 255], [255, 255, 255]]]
    """
    if not data:
        raise UnreadableError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise UnreadableError(f"{picture.width} x {picture.height} pixels, more than {MOST_PIXELS}")
            picture.load()
            return _rgb(_upright(picture))
    except UnidentifiedImageError:  # its own message holds an address in memory
        raise UnreadableError(f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} image") from None
    except ERRORS as error:
        raise UnreadableError(" ".join(str(error).split()) or type(error).__name__) from error


def read_picture_file(path: Path) -> NDArray[np.uint8]:
    """Reads an image file as `read_picture` does.

    Raises:
        UnreadableError: Also if it is no regular file: a link to nowhere, or a pipe, at which a reader would wait for ever.
    """
    try:
        if path.is_symlink() and not path.exists():
            raise UnreadableError("a link to nowhere")
        if path.exists() and not path.is_file():
            raise UnreadableError("no regular file")
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or type(error).__name__) from error
    return read_picture(data)


def _upright(picture: Image.Image) -> Image.Image:
    """Turns a picture as its EXIF says; EXIF that cannot be read turns nothing, since the pixels are whole."""
    try:
        turn = TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except (*ERRORS, TypeError):
        return picture
    return picture if turn is None else picture.transpose(turn)


def _rgb(picture: Image.Image) -> NDArray[np.uint8]:
    if picture.mode.startswith("I"):  # 16 bits of grey, for which Pillow's own conversions clip
        grey = np.asarray(picture).astype(np.float64).clip(0, 65535)
        return np.repeat(np.rint(grey / 257).astype(np.uint8)[:, :, None], 3, axis=2)
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    return np.array(picture.convert("RGB"))
