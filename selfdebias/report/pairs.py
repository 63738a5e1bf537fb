"""Images above their paired samples of one seed, for the page and for sheets of their own."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

from selfdebias.report.material import Images, Material
from selfdebias.report.verdict import chose_seeds
from selfdebias.report.wording import plain
from selfdebias.storage.images import GAP_GREY, contact_sheet

FRAME = (213, 94, 0)  # Okabe and Ito's vermilion: told from grey by every kind of sight
BUDGET = 6_500_000  # bytes of all pictures of a page; base64 makes a third more of it


@dataclass(frozen=True)
class Pair:
    """An image of the baseline above its paired sample.

    Attributes:
        id: Of the lower image.
        name: What it is called.
        before: Mode of the upper one.
        after: Mode of the lower one.
        same_seed: Whether the two are of one seed; an arm that chooses its seeds has others.
        picture: Both, framed where the lower one changed.
    """

    id: int
    name: str
    before: int
    after: int
    same_seed: bool
    picture: Image.Image

    @property
    def changed(self) -> bool:
        """Whether the two are of one seed, and of different modes."""
        return self.same_seed and self.before != self.after


def paired_ids(material: Material, name: str) -> list[tuple[int, int]]:
    """Ids of a baseline image and of the arm's image from the same seed; in the same place, if the arm chose its seeds."""
    first, arm = material.arms[material.baseline], material.arms[name]
    if chose_seeds(material.results, name):
        return [(i, i) for i in sorted(set(first.modes) & set(arm.modes))]
    places = {seed: i for i, seed in first.seeds.items()}
    return sorted((places[seed], i) for i, seed in arm.seeds.items() if seed in places)


def pairs_of(material: Material, name: str, images: int) -> list[Pair]:
    """The first `images` of an arm, each below the image of the baseline that `paired_ids` names.

    First by id, not chosen by looks.

    Args:
        material: What the stages left.
        name: An arm other than the baseline.
        images: Largest number of pairs.
    """
    first, arm = material.arms[material.baseline], material.arms[name]
    ids = paired_ids(material, name)[:images]
    if not ids:
        return []
    above, below = first.folder.images([it for it, _ in ids]), arm.folder.images([it for _, it in ids])
    pairs = []
    for row, (i, j) in enumerate(ids):
        modes, same = (first.modes[i], arm.modes[j]), first.seeds[i] == arm.seeds[j]
        changed = same and modes[0] != modes[1]
        pairs.append(
            Pair(j, plain(arm.names.get(j, f"#{j}")), *modes, same, pair_picture(above[row], below[row], changed))
        )
    return pairs


def of_other_seeds(material: Material, name: str) -> tuple[int, int]:
    """How many images of an arm are of another seed than the one above them, and of how many."""
    first, arm, ids = material.arms[material.baseline], material.arms[name], paired_ids(material, name)
    return sum(first.seeds[i] != arm.seeds[j] for i, j in ids), len(ids)


def first_row(material: Material, images: int = 8, width: int = 800) -> Image.Image:
    """The first vanilla images, above those of the guided arm from the same seeds where there is one, in one row.

    Args:
        material: What the stages left.
        images: Largest number of pairs.
        width: Largest width of the picture, in px.
    """
    tiles = [pair.picture for pair in pairs_of(material, "guided", images)] if "guided" in material.arms else []
    if not tiles:
        first = material.arms[material.baseline]
        return _narrow(contact_sheet(first.folder.images([*first.modes][:images]), images), width)
    return _narrow(pair_sheet(tiles, len(tiles)), width)


def first_look(vanilla: Images, guided: Images, images: int = 8, width: int = 800) -> Image.Image:
    """The first vanilla images above the guided ones in their places, before modes are known: without frames.

    Args:
        vanilla: Images of the vanilla arm.
        guided: Images of the guided arm.
        images: Largest number of pairs.
        width: Largest width of the picture, in px.
    """
    ids = sorted({*vanilla.ids()} & {*guided.ids()})[:images]
    above, below = vanilla.images(ids), guided.images(ids)
    return _narrow(pair_sheet([pair_picture(*pair, False) for pair in zip(above, below, strict=True)], len(ids)), width)


def _narrow(picture: Image.Image, width: int) -> Image.Image:
    """The picture, made smaller where it is wider or higher than `width`."""
    picture.thumbnail((width, width))
    return picture


def pair_picture(vanilla: Tensor, guided: Tensor, changed: bool) -> Image.Image:
    """One image above its paired sample from the same seed.

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
        files = {name: _png(picture, scale) for name, picture in pictures.items()}
        total = sum(map(len, files.values()))
        if total <= budget or scale < 0.02:
            return files
        scale *= 0.95 * (budget / total) ** 0.5


def _png(picture: Image.Image, scale: float) -> bytes:
    """The PNG file of a picture, `scale` times as large where that is below 1."""
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
