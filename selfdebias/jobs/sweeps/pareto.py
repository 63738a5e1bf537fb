"""Fairness against quality: a point for each row of a sweep, and the front of those that none beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

from selfdebias.jobs.sweeps.columns import Row, short_names
from selfdebias.jobs.sweeps.objectives import direction, is_judged
from selfdebias.metrics.distances import KID
from selfdebias.metrics.number import Number
from selfdebias.metrics.preservation import KEPT_COSINE, PRECISION_OF_SWITCHED
from selfdebias.metrics.quality import CLIP_SCORE
from selfdebias.report.figures import LIGHT, MARKERS, to_png
from selfdebias.report.wording import clip, plain

WORDS = {
    "kept_cosine": f"{KEPT_COSINE.title} to the vanilla twin",
    "precision_ratio": PRECISION_OF_SWITCHED.title,
    "kid": f"{KID.title}, of the features that images are compared by",
    "clip_score": CLIP_SCORE.title,
}
MOST_NAMED = 16  # points that are all named; of more, the front alone
SIZE, DPI = (7.2, 5.0), 111  # inches, and pixels an inch: 800 pixels across
PLACES = tuple(
    (side * (9 + abs(up) // 2), up) for up in (0, 14, -14, 28, -28, 42, -42, 56, -56, 70, -70) for side in (1, -1)
)
OF_VANILLA = {"kept_cosine": 1.0, "precision_ratio": 1.0}  # what vanilla has by definition


@dataclass(frozen=True)
class Point:
    """One row in the plot.

    Attributes:
        label: its swept values; "vanilla" for the arm without guidance.
        quality: x.
        fairness: y, smaller is better.
        vanilla: whether it is the arm without guidance.
    """

    label: str
    quality: Number
    fairness: Number
    vanilla: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it has both numbers."""
        return self.quality.value is not None and self.fairness.value is not None

    @property
    def xy(self) -> tuple[float, float]:
        """Where it is in the plot, if it is whole."""
        assert self.quality.value is not None and self.fairness.value is not None
        return self.quality.value, self.fairness.value


@dataclass(frozen=True)
class Plot:
    """The picture of the trade-off.

    Attributes:
        png: the file.
        points: what it shows.
        front: those that no other one beats in both.
        quality: name of x.
        fairness: name of y.
    """

    png: bytes
    points: list[Point]
    front: list[Point]
    quality: str
    fairness: str

    @classmethod
    def of(cls, points: list[Point], quality: str, fairness: str) -> Plot:
        """Draws what `points_of` returned."""
        png = to_png(tradeoff_figure(points, quality, fairness), DPI)
        return cls(png, points, front_of(points, direction(quality) == "maximize"), quality, fairness)


def points_of(rows: Sequence[Row], quality: str, fairness: str) -> list[Point]:
    """The points of all rows that have both numbers, and their vanilla arms; none where no guided arm has both."""

    def of_vanilla(label: str, x: Number, y: Number) -> Point:
        return Point(label, Number(OF_VANILLA[quality]) if quality in OF_VANILLA else x, y, True)

    known = [row for row in rows if row.group.results is not None]
    points = [Point(_label(row), row.measure(quality), row.measure(fairness)) for row in known if not row.is_baseline]
    vanilla = [of_vanilla("vanilla", row.measure(quality), row.measure(fairness)) for row in known if row.is_baseline]
    if not vanilla:  # each job has one of its own, too many to be named
        vanilla = list(dict.fromkeys(of_vanilla("", row.vanilla(quality), row.vanilla(fairness)) for row in known))
    whole = [point for point in points if point.is_whole]
    return [*(point for point in vanilla if point.is_whole), *whole] if whole else []


def front_of(points: Sequence[Point], higher: bool) -> list[Point]:
    """The points that no other one beats in both numbers, by quality.

    Args:
        points: All of them.
        higher: Whether a higher quality is better.

    Example:
        >>> def point(label, x, y):
        ...     return Point(label, Number(x), Number(y))
        >>> [p.label for p in front_of([point("a", 1.0, 0.3), point("b", 0.9, 0.1), point("c", 0.8, 0.2)], True)]
        ['a', 'b']
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (-point.xy[0] if higher else point.xy[0], point.xy[1])):
        if not front or point.xy[1] < front[-1].xy[1]:
            front.append(point)
    return front


def tradeoff_figure(points: Sequence[Point], quality: str, fairness: str) -> Figure:
    """The plot: bars are intervals, where a number has one.

    Args:
        points: What `points_of` returned.
        quality: Name of x.
        fairness: Name of y.
    """
    higher = direction(quality) == "maximize"
    figure = Figure(figsize=SIZE, dpi=DPI, facecolor=LIGHT.paper, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=LIGHT.paper)
    front = front_of(points, higher)
    axes.plot(
        *zip(*(point.xy for point in front), strict=True), color=LIGHT.faint, linewidth=3, zorder=1, label="front"
    )
    for place, point in enumerate(point for point in points if not point.vanilla):
        _draw(axes, point, LIGHT.mark(place), MARKERS[place % 7])  # the eighth is vanilla's
    for point in (point for point in points if point.vanilla):
        _draw(axes, point, LIGHT.ink, "*")
    across = WORDS.get(quality, plain(quality.replace(".", " ")))
    axes.set_xlabel(f"{across} ({'higher is better: right' if higher else 'lower is better: left'})")
    fairer = "fairer" if fairness == "mode_fd" or is_judged(fairness) else "better"
    axes.set_ylabel(f"{plain(fairness.replace('.', ' '))} (lower is {fairer}: down)")
    _style(axes, any(point.quality.low is not None or point.fairness.low is not None for point in points))
    named = [point for point in points if point.vanilla or point in front or len(points) <= MOST_NAMED]
    _name(figure, axes, points, named)
    return figure


def _label(row: Row) -> str:
    """The swept keys of a row with their values, and its arm where that is not the guided one."""
    names = short_names(list(row.group.values))
    values = [f"{plain(names[key])}={plain(value)}" for key, value in row.group.values.items() if value]
    return ", ".join([*values, *([] if row.arm == "guided" else [plain(row.arm)])]) or row.group.jobs[0].name


def _draw(axes: Axes, point: Point, colour: str, marker: str) -> None:
    """A mark, with a bar for each interval that is known."""
    miss = [_miss(point.quality), _miss(point.fairness)]
    axes.errorbar(*point.xy, xerr=miss[0], yerr=miss[1], color=colour, elinewidth=1, capsize=3, alpha=0.55, zorder=2)
    size = 14 if point.vanilla else 8
    axes.plot(*point.xy, marker, ms=size, color=colour, markeredgecolor=LIGHT.paper, zorder=3)


def _miss(found: Number) -> list[list[float]] | None:
    """How far the interval reaches below and above the number; None where it has no interval."""
    if found.value is None or found.low is None or found.high is None:
        return None
    return [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]


def _style(axes: Axes, bars: bool) -> None:
    axes.margins(x=0.1, y=0.12)
    low, high = axes.get_ylim()
    if axes.dataLim.y0 >= 0:  # an estimate of KID may lie below 0, other distances do not
        axes.set_ylim(bottom=max(low, -0.03 * high))
    axes.tick_params(colors=LIGHT.ink, labelsize=10)
    axes.grid(color=LIGHT.faint, linewidth=0.5)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=LIGHT.ink, fontsize=11)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(LIGHT.faint)
    said = "grey line: jobs that none beats in both" + ("; bars: intervals over batches" if bars else "")
    axes.set_title(said, color=LIGHT.ink, fontsize=10)


def _name(figure: Figure, axes: Axes, points: Sequence[Point], named: Sequence[Point]) -> None:
    """Writes each label near its mark, at the first place where it covers no other label and no mark."""
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    marks = [axes.transData.transform(point.xy) for point in points]
    taken: list[Bbox] = [Bbox.from_extents(x - 6, y - 6, x + 6, y + 6) for x, y in marks]
    inside = axes.get_window_extent()
    for point in named:
        text = _write(axes, point)
        for across, up in PLACES:
            text.set(position=(across, up), ha="left" if across > 0 else "right")
            text.update_positions(renderer)
            box = Text.get_window_extent(text)  # without its line
            free = not any(box.overlaps(other) for other in taken)
            if free and inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1:
                break
        taken.append(Text.get_window_extent(text))


def _write(axes: Axes, point: Point) -> Annotation:
    """A label, with a line to its mark where it stands away from it."""
    line = {"arrowstyle": "-", "color": LIGHT.ink, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 0, "shrinkB": 4}
    return axes.annotate(
        clip(point.label, 48), point.xy, xytext=(0, 0), textcoords="offset points", fontsize=10,
        color=LIGHT.ink, va="center", zorder=4, arrowprops=line if point.label else None,
        bbox={"facecolor": LIGHT.paper, "edgecolor": "none", "alpha": 0.92, "pad": 0.5},
    )  # fmt: skip
