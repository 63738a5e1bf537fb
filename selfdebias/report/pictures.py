"""Pictures of a finished job: twins from one seed, one above the other, and sheets of them, within a size limit."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image
from torch import Tensor

from selfdebias.storage.images import GAP_GREY, contact_sheet

FRAME = (213, 94, 0)  # Okabe and Ito's vermilion: told from grey by every kind of sight
BUDGET = 6_500_000  # bytes of all pictures of a page; base64 makes a third more of it


def png_of(picture: Image.Image) -> bytes:
    """The PNG file of a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def pair_picture(vanilla: Tensor, guided: Tensor, changed: bool) -> Image.Image:
    """One image above its twin from the same seed.

    Args:
        vanilla: (3, H, W) float in [0, 1].
        guided: (3, H, W) float in [0, 1].
        changed: Whether the two belong to different modes: then a frame is drawn around them.

    Returns:
        A picture of W + 2b by 2H + 3b pixels, with a border b of 1/16 of W, at least 3.
    """
    height, width = vanilla.shape[-2:]
    border = max(3, width // 16)
    size = (width + 2 * border, 2 * height + 3 * border)
    tile = Image.new("RGB", size, FRAME if changed else GAP_GREY)
    for place, image in enumerate((vanilla, guided)):
        tile.paste(contact_sheet(image[None], 1, gap=0), (border, border + place * (height + border)))
    return tile


def pair_sheet(tiles: Sequence[Image.Image], columns: int, gap: int = 4) -> Image.Image:
    """Lays tiles of one size out row by row.

    Raises:
        ValueError: If there is no tile or no column.
    """
    if not tiles or columns < 1:
        raise ValueError(f"`tiles` and `columns` must be at least 1, got {len(tiles)} and {columns}.")
    width, height = tiles[0].size
    rows = -(-len(tiles) // columns)
    size = (gap + min(columns, len(tiles)) * (width + gap), gap + rows * (height + gap))
    sheet = Image.new("RGB", size, GAP_GREY)
    for place, tile in enumerate(tiles):
        left, top = place % columns, place // columns
        sheet.paste(tile, (gap + left * (width + gap), gap + top * (height + gap)))
    return sheet


def within_budget(pictures: Mapping[str, Image.Image], budget: int = BUDGET) -> dict[str, bytes]:
    """PNG files of all pictures; where they are too large together, all of them are made smaller alike.

    Args:
        pictures: Pictures by name.
        budget: Largest sum of the files, in bytes.

    Returns:
        PNG files under the same names, in the same order.
    """
    scale = 1.0
    while True:
        files = {name: png_of(_scaled(picture, scale)) for name, picture in pictures.items()}
        total = sum(map(len, files.values()))
        if total <= budget or scale < 0.02:
            return files
        scale *= 0.95 * (budget / total) ** 0.5


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    if scale >= 1:
        return picture
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)
