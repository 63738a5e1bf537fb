"""Images: the seed of each, tensors, image files of any origin, and contact sheets. Reading a file does not need torch."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, UnidentifiedImageError

if TYPE_CHECKING:
    from torch import Generator, Tensor

GAP_GREY = (236, 236, 236)
LABEL_GREY = (70, 70, 70)
LABEL_HEIGHT = 14
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")  # no other decoder of Pillow sees a file, whatever its name says
# What Pillow raises for damaged files, by trying (`tests/storage/test_images.py`): AssertionError where a palette is gone.
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


def image_seeds(stage: str, seed: int, ids: Iterable[int]) -> list[int]:
    """Return the seed of each image, from ``SeedSequence(stage, seed, id)``.

    Args:
        stage: name of the stage that samples the images, such as ``collect``.
        seed: the seed of the run, at least 0.
        ids: image ids, at least 0.

    Returns:
        Integers in [0, 2^63), one for each id; they depend on nothing else.

    Raises:
        ValueError: if `seed` is negative.

    Example:
        >>> image_seeds("collect", 0, [3, 4]) == image_seeds("collect", 0, range(5))[3:]
        True
        >>> set(image_seeds("collect", 0, range(9))) & set(image_seeds("generate", 0, range(9)))
        set()
    """
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0, got {seed}.")
    code = zlib.crc32(stage.encode())
    return [int(np.random.SeedSequence((code, seed, k)).generate_state(1, np.uint64)[0] >> 1) for k in ids]


def generators(seeds: Iterable[int]) -> list[Generator]:
    """Return one CPU generator for each image: noise made on the CPU is the same on every device."""
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


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


def to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Images (..., H, W, 3) uint8 as (..., 3, H, W) float32 in [0, 1], laid out in this order in memory.

    Example:
        >>> to_tensor(np.full((4, 5, 3), 255, np.uint8)).shape
        torch.Size([3, 4, 5])
    """
    import torch  # takes seconds, and files are looked at before it is there

    return torch.from_numpy(pixels).movedim(-1, -3).contiguous().float() / 255


def to_uint8(images: Tensor) -> Tensor:
    """Rounds images (..., H, W) from floats in [0, 1] to uint8 in [0, 255].

    Raises:
        ValueError: If a value is not finite or lies outside [0, 1] by more than 1e-3.

    Example:
        >>> import torch
        >>> to_uint8(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    images = images.detach().cpu().float()
    outside = ~((images >= -1e-3) & (images <= 1 + 1e-3))  # also true for NaN
    if outside.any():
        raise ValueError(f"`images` must lie in [0, 1], got {images[outside][0].item()}.")
    return (images * 255).round().clamp(0, 255).byte()


def encode_png(image: Tensor) -> bytes:
    """The PNG file of one image (3, H, W), float in [0, 1]; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    _to_pil(image).save(buffer, format="PNG")
    return buffer.getvalue()


def read_sheet(path: Path) -> Image.Image:
    """Reads a contact sheet that a stage wrote, as RGB and of any size; files of other origins go through `read_picture_file`."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def contact_sheet(images: Tensor, columns: int, gap: int = 2, labels: Sequence[str] | None = None) -> Image.Image:
    """Lays images out row by row on pale grey.

    Args:
        images: (N, 3, H, W) float in [0, 1], N at least 1.
        columns: Images in a row, at least 1.
        gap: Pixels between images and around the sheet.
        labels: One short text under each image; None for no text.

    Raises:
        ValueError: If there is no image, no column, or another number of labels than of images.

    Example:
        >>> import torch
        >>> contact_sheet(torch.zeros(5, 3, 8, 8), columns=3).size
        (32, 22)
    """
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"`images` must be (N, 3, H, W) with N of at least 1, got shape {tuple(images.shape)}.")
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1, got {columns}.")
    if labels and len(labels) != len(images):
        raise ValueError(f"`labels` must have one text for each of {len(images)} images, got {len(labels)}.")
    height, width = images.shape[-2:]
    step_x, step_y = width + gap, height + gap + (LABEL_HEIGHT if labels else 0)
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (gap + step_x * columns, gap + step_y * rows), GAP_GREY)
    pen = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        left, top = gap + step_x * (index % columns), gap + step_y * (index // columns)
        sheet.paste(_to_pil(image), (left, top))
        if labels:
            pen.text((left + 1, top + height + 1), labels[index], fill=LABEL_GREY)
    return sheet


def _to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(image).permute(1, 2, 0).numpy())
