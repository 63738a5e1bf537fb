"""All charts of one report, for light and for dark paper, with their alternative texts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from matplotlib.figure import Figure

from selfdebias.metrics.number import Number, number_at
from selfdebias.modes.placement import sides_of
from selfdebias.report import figures
from selfdebias.report.figures import DARK, LIGHT, Theme
from selfdebias.report.material import Material
from selfdebias.report.measures import Results, arms_of, attributes_of, class_shares
from selfdebias.report.share_figures import drawn_of_prompts, modes_figure, prompts_figure, shares_figure
from selfdebias.report.verdict import arms_in
from selfdebias.report.wording import number, plain

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

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the page: half of the pixels, as of the PNG file's first chunk."""
        width, height = struct.unpack(">II", self.light[16:24])
        return width // 2, height // 2


def share_charts(results: Results) -> list[Chart]:
    """Class shares of each judged attribute, and shares of the modes where they are known, by arm."""
    charts, arms = [], arms_of(results)
    for attribute in attributes_of(results):
        if class_shares(results, arms[0], attribute):
            said = _in_words({arm: class_shares(results, arm, attribute) for arm in arms})
            draw = partial(shares_figure, results, attribute)
            charts.append(_chart(f"shares-{attribute}", f"Share of each class of {attribute}. {said}", draw))
    shares = {arm: {} if "reason" in (it := results["arms"][arm].get("mode_shares", {})) else it for arm in arms}
    if shares[arms[0]] and results["modes"].get("target"):
        said = _in_words({arm: {name: number_at(tree, name) for name in tree} for arm, tree in shares.items()})
        charts.append(_chart("shares-of-modes", f"Share of each mode. {said}", partial(modes_figure, results)))
    return charts


def prompt_chart(results: Results) -> Chart:
    """What became of the first attribute in each prompt; arguments as of `prompts_figure`."""
    attribute = results["prompts"]["attributes"][0]
    path, title, _ = drawn_of_prompts(results, attribute)
    by_arm = {
        arm: {name: number_at(row["arms"].get(arm), *path) for name, row in results["rows"].items()}
        for arm in arms_in(results)
    }
    draw = partial(prompts_figure, results, attribute)
    return _chart("prompts", f"{plain(title)}, of each prompt. {_in_words(by_arm)}", draw)


def p_hat_charts(material: Material) -> list[Chart]:
    """Projected mode shares over the guided steps, one chart for each guided arm that recorded them."""
    of_axes, charts = "axes" in material.found, []
    each = 2 if of_axes else 1  # of an axis the first side, which says the other
    target = material.found.get("target", [])[::each]
    for name, arm in material.arms.items():
        if arm.p_hat.size:
            p_hat = arm.p_hat[:, :, ::each]
            names = [f"axis {it}, side 0" if of_axes else f"mode {it}" for it in range(p_hat.shape[2])]
            first, last = (p_hat[:, step].mean(axis=0) for step in (0, -1))
            what = "side 0 of each axis" if of_axes else "each mode"
            alt = f"Projected share of {what}, arm {name}, over {p_hat.shape[1]} guided steps: {_list(first)} at the "
            alt += f"first, {_list(last)} at the last; target {_list(target)}."
            draw = partial(figures.p_hat_figure, p_hat, target, names, f"{name}: projected share of {what}")
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
    """Embeddings of each arm on the principal axes of the first arm, all on the same scale; by mode, or by the least even axis."""
    arms, found = material.arms, material.found
    sizes = np.array(found.get("sizes", []))
    least = int(np.abs(sizes[::2] - sizes[1::2]).argmax()) if "axes" in found else None
    mean, axes = figures.principal_axes(arms[material.baseline].e)
    points = {name: (arm.e - mean) @ axes.T for name, arm in arms.items()}
    together = np.concatenate(list(points.values()))
    limits = np.stack([together.min(axis=0), together.max(axis=0)])
    charts = []
    for name, arm in arms.items():
        modes = np.array(list(arm.modes.values()))
        alt, title, kind = f"Map of the {len(modes)} embeddings of arm {name}", f"{name}: embeddings", "mode"
        if least is not None:
            modes, kind = sides_of(modes, len(sizes) // 2)[:, least], f"axis {least}, side"
        if found:
            counts = np.bincount(modes, minlength=2 if least is not None else len(sizes))
            by = "mode" if least is None else f"the sides of axis {least}"
            alt, title = f"{alt} by {by}; images: {', '.join(map(str, counts))}", f"{title} by {by}"
        draw = partial(figures.map_figure, points[name], modes, limits, title, kind)
        charts.append(_chart(f"map-{name}", f"{alt}.", draw))
    return charts


def _chart(name: str, alt: str, draw: Callable[[Theme], Figure]) -> Chart:
    return Chart(name, alt, figures.to_png(draw(LIGHT)), figures.to_png(draw(DARK)))


def _list(shares: Sequence[float]) -> str:
    return ", ".join(number(float(share), ".2f") for share in shares)


def _in_words(by_arm: Mapping[str, Mapping[str, Number]]) -> str:
    sentences = []
    for arm, entries in by_arm.items():
        known = [f"{plain(name)} {number(it.value, '.2f')}" for name, it in entries.items() if it.value is not None]
        sentences.append(f"{plain(arm)}: {', '.join(known) or 'not computed'}.")
    return " ".join(sentences)
