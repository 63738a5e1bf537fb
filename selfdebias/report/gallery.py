"""All pictures and charts of one report, each with its alternative text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from selfdebias.report.figures import (
    DARK,
    LIGHT,
    Theme,
    curve_figure,
    map_figure,
    p_hat_figure,
    principal_axes,
    shares_figure,
    to_png,
)
from selfdebias.report.material import ArmMaterial, Material
from selfdebias.report.measures import attributes_of, class_shares
from selfdebias.report.pictures import pair_picture, pair_sheet
from selfdebias.report.wording import number, plain
from selfdebias.storage.images import contact_sheet

MAX_CURVES = 4


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
    """An image above its twin from the same seed; `before` and `after` are the modes of the two."""

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
    charts = []
    for attribute in attributes_of(material.results):
        if class_shares(material.results, "vanilla", attribute):
            alt = f"Share of each class of {attribute}. {_shares_in_words(material, attribute)}"
            charts.append(
                _chart(f"shares-{attribute}", alt, lambda theme, a=attribute: shares_figure(material.results, a, theme))
            )
    return charts


def p_hat_charts(material: Material) -> list[Chart]:
    """Projected mode shares over the guided steps, one chart for each guided arm that recorded them."""
    charts = []
    for name, arm in material.arms.items():
        if arm.p_hat.size:
            first, last = (arm.p_hat[:, step].mean(axis=0) for step in (0, -1))
            alt = f"Projected mode shares of arm {name} over {arm.p_hat.shape[1]} guided steps: {_list(first)} at the "
            alt += f"first, {_list(last)} at the last; target {_list(material.found['target'])}."
            draw = _p_hat_drawing(arm, material.found["target"], f"{name}: projected share of each mode")
            charts.append(_chart(f"p_hat-{name}", alt, draw))
    return charts


def curve_charts(material: Material) -> list[Chart]:
    """Training curves of the projector, the first few of those that have at least two points."""
    curves = [(name, points) for name, points in material.curves.items() if len(points) > 1][:MAX_CURVES]
    return [
        _chart(
            f"curve-{place}",
            f"Projector, {plain(name)}: from {points[0][1]:.3g} to {points[-1][1]:.3g} over {len(points)} points.",
            lambda theme, n=name, p=points: curve_figure(n, p, theme),
        )
        for place, (name, points) in enumerate(curves)
    ]


def map_charts(material: Material) -> list[Chart]:
    """Embeddings of each arm on the principal axes of the vanilla arm, all on the same scale."""
    arms = material.arms
    mean, axes = principal_axes(arms["vanilla"].e)
    points = {name: (arm.e - mean) @ axes.T for name, arm in arms.items()}
    together = np.concatenate(list(points.values()))
    limits = np.stack([together.min(axis=0), together.max(axis=0)])
    charts = []
    for name, arm in arms.items():
        modes = np.array(list(arm.modes.values()))
        alt = f"Map of the {len(modes)} embeddings of arm {name} by mode; images in each mode: "
        alt += ", ".join(str(count) for count in np.bincount(modes, minlength=len(material.found["sizes"]))) + "."
        draw = _map_drawing(points[name], modes, limits, f"{name}: embeddings by mode")
        charts.append(_chart(f"map-{name}", alt, draw))
    return charts


def pairs_of(material: Material, name: str, images: int) -> list[Pair]:
    """The first `images` seeds of an arm, each above its vanilla twin: first by id, not chosen by looks.

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
    return [
        Pair(
            i,
            vanilla.modes[i],
            arm.modes[i],
            pair_picture(above[row], below[row], vanilla.modes[i] != arm.modes[i]),
        )
        for row, i in enumerate(ids)
    ]


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


def turned_in_all(material: Material, name: str) -> tuple[int, int]:
    """Number of all images of an arm whose mode is not their vanilla twin's, and number of all twins."""
    vanilla, arm = material.arms["vanilla"].modes, material.arms[name].modes
    twins = [i for i in vanilla if i in arm]
    return sum(vanilla[i] != arm[i] for i in twins), len(twins)


def _chart(name: str, alt: str, draw) -> Chart:
    light, dark = (to_png(draw(theme)) for theme in (LIGHT, DARK))
    return Chart(name, alt, light, dark)


def _p_hat_drawing(arm: ArmMaterial, target: Sequence[float], title: str):
    def draw(theme: Theme) -> Figure:
        return p_hat_figure(arm.p_hat, target, title, theme)

    return draw


def _map_drawing(points: np.ndarray, modes: np.ndarray, limits: np.ndarray, title: str):
    def draw(theme: Theme) -> Figure:
        return map_figure(points, modes, limits, title, theme)

    return draw


def _list(shares: Sequence[float]) -> str:
    return ", ".join(number(float(share), ".2f") for share in shares)


def _shares_in_words(material: Material, attribute: str) -> str:
    sentences = []
    for arm in material.arms:
        entries = class_shares(material.results, arm, attribute).items()
        known = [f"{plain(name)} {number(entry.value, '.2f')}" for name, entry in entries if entry.value is not None]
        sentences.append(f"{arm}: {', '.join(known) or 'not computed'}.")
    return " ".join(sentences)
