"""Charts of how a job went, and the paper of all charts: one panel each, told apart by colour (Okabe and Ito's) *and* by shape."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from selfdebias.report.wording import clip, plain

Array = NDArray[np.floating]
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)))


@dataclass(frozen=True)
class Theme:
    """Colours of a chart's paper, ink, grid lines and marks."""

    name: str
    paper: str
    ink: str
    faint: str
    marks: tuple[str, ...]

    def mark(self, place: int) -> str:
        """Colour of the series at `place`; after the last one they begin again."""
        return self.marks[place % len(self.marks)]


_LIGHT_MARKS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C", "#B8A800")
_DARK_MARKS = ("#56B4E9", "#E69F00", "#2BC79A", "#E48FC0", "#5B8DEF", "#FF7A33", "#A8A8A8", "#F0E442")
LIGHT = Theme("light", "#ffffff", "#1f2328", "#d0d7de", _LIGHT_MARKS)
DARK = Theme("dark", "#161b22", "#e6edf3", "#3d444d", _DARK_MARKS)


def to_png(figure: Figure, dpi: int = 180) -> bytes:
    """The PNG file of a figure, `dpi` pixels an inch."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # names of any script: the page's text has them
        figure.savefig(buffer, format="png", dpi=dpi, facecolor=figure.get_facecolor(), metadata={"Software": None})
    return buffer.getvalue()


def p_hat_figure(
    p_hat: Array, target: Sequence[float], names: Sequence[str], title: str, theme: Theme = LIGHT
) -> Figure:
    """Projected share of each mode over the guided steps.

    Args:
        p_hat: (B, S, K) shares in [0, 1], for B batches, S guided steps and K modes.
        target: (K,) the wanted shares `pi`.
        names: K names for the legend.
        title: Title of the chart.
        theme: Colours.
    """
    figure, axes = panel(title, theme)
    steps, several = np.arange(1, p_hat.shape[1] + 1), len(p_hat) > 1
    for mode in range(p_hat.shape[2]):
        colour, dash = theme.mark(mode), DASHES[mode % len(DASHES)]
        if several:
            low, high = p_hat[:, :, mode].min(axis=0), p_hat[:, :, mode].max(axis=0)
            axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        mean = p_hat[:, :, mode].mean(axis=0)
        axes.plot(steps, mean, color=colour, linestyle=dash, label=names[mode], marker=MARKERS[mode % 8], ms=3)
    for share in sorted(set(map(float, target))):
        axes.axhline(share, color=theme.ink, linestyle=":", linewidth=1.2)
    axes.plot([], [], color=theme.ink, linestyle=":", label="target")
    axes.set_ylim(0, 1)
    axes.set_xlabel("guided step")
    axes.set_ylabel(f"projected share{' (band: all batches)' if several else ''}")
    return finished(figure, axes, theme)


def curve_figure(name: str, points: Sequence[tuple[float, float]], theme: Theme = LIGHT) -> Figure:
    """One training curve of the projector.

    Args:
        name: What was measured.
        points: Pairs of step and value; values that are not finite are left out.
        theme: Colours.
    """
    figure, axes = panel(f"projector: {name}", theme)
    kept = [(step, value) for step, value in points if math.isfinite(value)]
    marker = "o" if len(kept) < 30 else ""
    axes.plot([step for step, _ in kept], [value for _, value in kept], color=theme.mark(0), marker=marker, ms=3)
    axes.set_xlabel("training step")
    axes.set_ylabel(clip(plain(name), 30))
    return finished(figure, axes, theme, legend=False)


def map_figure(
    points: Array, modes: Array, limits: Array, title: str, kind: str = "mode", theme: Theme = LIGHT
) -> Figure:
    """Embeddings on two principal axes, by mode.

    Args:
        points: (N, 2) coordinates.
        modes: (N,) index of each image's mode; -1 where none is known.
        limits: (2, 2) lowest and highest coordinates of all maps, so that two maps can be compared.
        title: Title of the chart.
        kind: What stands before the index in the legend.
        theme: Colours.
    """
    figure, axes = panel(title, theme)
    for mode in np.unique(modes).astype(int):
        chosen = points[modes == mode]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=14,
            color=theme.mark(mode),
            marker=MARKERS[mode % len(MARKERS)],
            label=f"{kind} {mode}: {len(chosen)}" if mode >= 0 else f"{len(chosen)} images",
            alpha=0.75,
            linewidths=0,
        )
    margin = 0.05 * np.maximum(limits[1] - limits[0], 1e-6)
    axes.set_xlim(limits[0, 0] - margin[0], limits[1, 0] + margin[0])
    axes.set_ylim(limits[0, 1] - margin[1], limits[1, 1] + margin[1])
    axes.set_xlabel("first principal axis")
    axes.set_ylabel("second principal axis")
    return finished(figure, axes, theme)


def principal_axes(e: Array) -> tuple[Array, Array]:
    """Mean and the two principal axes of embeddings; each axis points to where its largest entry is positive.

    Args:
        e: (N, d) embeddings, N at least 1, d at least 2.

    Returns:
        Mean (d,) and axes (2, d), orthonormal rows, so that `(e - mean) @ axes.T` are coordinates (N, 2).

    >>> mean, axes = principal_axes(np.array([[0.0, 3.0, 0.0], [0.0, -3.0, 0.0], [1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]]))
    >>> np.abs(axes.round(6)).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]
    """
    e = np.asarray(e, dtype=np.float64)
    mean = e.mean(axis=0)
    _, axes = np.linalg.eigh((e - mean).T @ (e - mean))
    axes = axes.T[::-1][:2]
    return mean, axes * np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])[:, None]


def panel(title: str, theme: Theme, height: float = 3.1) -> tuple[Figure, Axes]:
    """An empty figure of one panel, `height` inches high."""
    figure = Figure(figsize=(3.9, height), layout="constrained", facecolor=theme.paper)
    axes = figure.add_subplot()
    axes.set_facecolor(theme.paper)
    axes.set_title(clip(plain(title), 46), color=theme.ink, fontsize=9.5)
    return figure, axes


def finished(figure: Figure, axes: Axes, theme: Theme, legend: bool = True) -> Figure:
    """The figure with its colours, grid and legend."""
    axes.tick_params(colors=theme.ink, labelsize=8)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set(color=theme.ink, fontsize=min(8.5, axis.label.get_fontsize()))
    axes.grid(axis="y", color=theme.faint, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(theme.faint)
    if legend and axes.get_legend_handles_labels()[1]:
        figure.legend(loc="outside lower center", ncols=3, fontsize=8, frameon=False, labelcolor=theme.ink)
    return figure
