"""Images between tensors, PNG files and contact sheets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

GAP_GREY = (236, 236, 236)
LABEL_GREY = (70, 70, 70)
LABEL_HEIGHT = 14


def to_uint8(images: Tensor) -> Tensor:
    """Rounds images (..., H, W) from floats in [0, 1] to uint8 in [0, 255].

    Raises:
        ValueError: If a value is not finite or lies outside [0, 1] by more than 1e-3.

    Example:
        >>> to_uint8(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [0, 128, 255]
    """
    images = images.detach().cpu().float()
    outside = ~((images >= -1e-3) & (images <= 1 + 1e-3))  # also true for NaN
    if outside.any():
        raise ValueError(f"`images` must lie in [0, 1], got {images[outside][0].item()}.")
    return (images * 255).round().clamp(0, 255).to(torch.uint8)


def encode_png(image: Tensor) -> bytes:
    """The PNG file of one image (3, H, W), float in [0, 1]; the same pixels give the same bytes."""
    buffer = io.BytesIO()
    _to_pil(image).save(buffer, format="PNG")
    return buffer.getvalue()


def decode_png(data: bytes) -> Tensor:
    """One image (3, H, W) float32 in [0, 1] from the bytes of an image file.

    Example:
        >>> decode_png(encode_png(torch.zeros(3, 2, 2))).shape
        torch.Size([3, 2, 2])
    """
    with Image.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255


def read_png(path: Path) -> Tensor:
    """One image file as (3, H, W) float32 in [0, 1]."""
    return decode_png(Path(path).read_bytes())


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
        >>> contact_sheet(torch.zeros(5, 3, 8, 8), columns=3).size
        (32, 22)
    """
    _check_sheet(images, columns, labels)
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


def _check_sheet(images: Tensor, columns: int, labels: Sequence[str] | None) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or len(images) == 0:
        raise ValueError(f"`images` must be (N, 3, H, W) with N of at least 1, got shape {tuple(images.shape)}.")
    if columns < 1:
        raise ValueError(f"`columns` must be at least 1, got {columns}.")
    if labels and len(labels) != len(images):
        raise ValueError(f"`labels` must have one text for each of {len(images)} images, got {len(labels)}.")


def _to_pil(image: Tensor) -> Image.Image:
    return Image.fromarray(to_uint8(image).permute(1, 2, 0).numpy())
