"""All pictures and charts of one report: charts with their alternative texts, and images above their paired samples of one seed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from selfdebias.report import figures
from selfdebias.report.figures import DARK, LIGHT, Theme
from selfdebias.report.material import Material
from selfdebias.report.measures import attributes_of, class_shares
from selfdebias.report.wording import number, plain
from selfdebias.storage.images import GAP_GREY, contact_sheet

MAX_CURVES = 4
FRAME = (213, 94, 0)  # Okabe and Ito's vermilion: told from grey by every kind of sight
BUDGET = 6_500_000  # bytes of all pictures of a page; base64 makes a third more of it


@dataclass(frozen=True)
class Chart:
    """One chart for light and for dark paper.

    Attributes:
        name: File name without its ending, unique in a report.
        alt: What the chart shows, for who cannot see it.
        light: PNG file.
        dark: PNG file.
    """

    name: str
    alt: str
    light: bytes
    dark: bytes


@dataclass(frozen=True)
class Pair:
    """An image above its paired sample from the same seed; `before` and `after` are the modes of the two."""

    id: int
    before: int
    after: int
    picture: Image.Image

    @property
    def changed(self) -> bool:
        """Whether the two belong to different modes."""
        return self.before != self.after


def share_charts(material: Material) -> list[Chart]:
    """Class shares of each judged attribute, by arm."""
    results, charts = material.results, []
    for attribute in attributes_of(results):
        if class_shares(results, "vanilla", attribute):
            alt = f"Share of each class of {attribute}. {_shares_in_words(material, attribute)}"
            charts.append(_chart(f"shares-{attribute}", alt, partial(figures.shares_figure, results, attribute)))
    return charts


def p_hat_charts(material: Material) -> list[Chart]:
    """Projected mode shares over the guided steps, one chart for each guided arm that recorded them."""
    target, charts = material.found["target"], []
    for name, arm in material.arms.items():
        if arm.p_hat.size:
            first, last = (arm.p_hat[:, step].mean(axis=0) for step in (0, -1))
            alt = f"Projected mode shares of arm {name} over {arm.p_hat.shape[1]} guided steps: {_list(first)} at the "
            alt += f"first, {_list(last)} at the last; target {_list(target)}."
            draw = partial(figures.p_hat_figure, arm.p_hat, target, f"{name}: projected share of each mode")
            charts.append(_chart(f"p_hat-{name}", alt, draw))
    return charts


def curve_charts(material: Material) -> list[Chart]:
    """Training curves of the projector, the first few of those that have at least two points."""
    curves = [(name, points) for name, points in material.curves.items() if len(points) > 1][:MAX_CURVES]
    charts = []
    for place, (name, points) in enumerate(curves):
        alt = f"Projector, {plain(name)}: from {points[0][1]:.3g} to {points[-1][1]:.3g} over {len(points)} points."
        charts.append(_chart(f"curve-{place}", alt, partial(figures.curve_figure, name, points)))
    return charts


def map_charts(material: Material) -> list[Chart]:
    """Embeddings of each arm on the principal axes of the vanilla arm, all on the same scale."""
    arms = material.arms
    mean, axes = figures.principal_axes(arms["vanilla"].e)
    points = {name: (arm.e - mean) @ axes.T for name, arm in arms.items()}
    together = np.concatenate(list(points.values()))
    limits = np.stack([together.min(axis=0), together.max(axis=0)])
    charts = []
    for name, arm in arms.items():
        modes = np.array(list(arm.modes.values()))
        alt = f"Map of the {len(modes)} embeddings of arm {name} by mode; images in each mode: "
        alt += ", ".join(str(count) for count in np.bincount(modes, minlength=len(material.found["sizes"]))) + "."
        draw = partial(figures.map_figure, points[name], modes, limits, f"{name}: embeddings by mode")
        charts.append(_chart(f"map-{name}", alt, draw))
    return charts


def _chart(name: str, alt: str, draw: Callable[[Theme], Figure]) -> Chart:
    return Chart(name, alt, figures.to_png(draw(LIGHT)), figures.to_png(draw(DARK)))


def _list(shares: Sequence[float]) -> str:
    return ", ".join(number(float(share), ".2f") for share in shares)


def _shares_in_words(material: Material, attribute: str) -> str:
    sentences = []
    for arm in material.arms:
        entries = class_shares(material.results, arm, attribute).items()
        known = [f"{plain(name)} {number(entry.value, '.2f')}" for name, entry in entries if entry.value is not None]
        sentences.append(f"{arm}: {', '.join(known) or 'not computed'}.")
    return " ".join(sentences)


def pairs_of(material: Material, name: str, images: int) -> list[Pair]:
    """The first `images` of an arm, each below the vanilla image in its place: of the same seed, unless the arm chose others.

    First by id, not chosen by looks.

    Args:
        material: What the stages left.
        name: An arm other than vanilla.
        images: Largest number of pairs.
    """
    vanilla, arm = material.arms["vanilla"], material.arms[name]
    ids = sorted(set(vanilla.modes) & set(arm.modes))[:images]
    if not ids:
        return []
    above, below = vanilla.folder.images(ids), arm.folder.images(ids)
    pairs = []
    for row, i in enumerate(ids):
        before, after = vanilla.modes[i], arm.modes[i]
        pairs.append(Pair(i, before, after, pair_picture(above[row], below[row], before != after)))
    return pairs


def first_row(material: Material, images: int = 8, width: int = 800) -> Image.Image:
    """The first vanilla images, above those of the guided arm from the same seeds where there is one, in one row.

    Args:
        material: What the stages left.
        images: Largest number of pairs.
        width: Largest width of the picture, in px.
    """
    if "guided" in material.arms:
        tiles = [pair.picture for pair in pairs_of(material, "guided", images)]
        row = pair_sheet(tiles, len(tiles))
    else:
        folder = material.arms["vanilla"].folder
        row = contact_sheet(folder.images(folder.ids()[:images]), images)
    row.thumbnail((width, width))
    return row


def turned_in_all(material: Material, name: str) -> tuple[int, int, int]:
    """Numbers of images of an arm whose mode is not that of the vanilla image in their place, of all pairs, and of other seeds."""
    vanilla, arm = material.arms["vanilla"], material.arms[name]
    twins = [i for i in vanilla.modes if i in arm.modes]
    seeds, others = ({record["id"]: record["seed"] for record in it.folder.records()} for it in (vanilla, arm))
    return sum(vanilla.modes[i] != arm.modes[i] for i in twins), len(twins), sum(seeds[i] != others[i] for i in twins)


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
