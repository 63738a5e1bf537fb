"""Charts of shares: of each class and of each mode, by arm and against their target; and of one class over prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selfdebias.metrics.number import Number, number_at
from selfdebias.report.figures import LIGHT, MARKERS, Theme, finished, panel
from selfdebias.report.measures import Results, arms_of, class_shares, level_in_words
from selfdebias.report.verdict import arms_in
from selfdebias.report.wording import clip, plain

HATCHES = ("", "///", "...", "xxx", "\\\\\\", "---")


def shares_figure(results: Results, attribute: str, theme: Theme = LIGHT) -> Figure:
    """Share of each class of one attribute by arm, with intervals, the uniform target and the floor.

    The band around the target is the floor in units of a share: a fair independent sampler with N images misses the
    target by `floor / sqrt(C)` (root mean square over the C classes), since `fd_hard` is the norm of the C misses.

    Args:
        results: The contents of `results.json`.
        attribute: Name of a judged attribute of at least one arm.
        theme: Colours.
    """
    shares = {arm: class_shares(results, arm, attribute) for arm in arms_of(results)}
    classes = list(next(iter(shares.values())))
    figure, axes = panel(f"{attribute}: share of each class", theme)
    _bars_by_arm(axes, {arm: [it.get(name) for name in classes] for arm, it in shares.items()}, theme)
    target = 1 / max(1, len(classes))
    axes.axhline(target, color=theme.ink, linestyle="--", linewidth=1.2, label=f"target {target:.2f}")
    floors = [number_at(arm, attribute, "fd_hard").floor for arm in results["arms"].values()]
    floor = max((entry for entry in floors if entry is not None), default=None)
    if floor is not None:
        miss = floor / math.sqrt(len(classes))
        axes.axhspan(target - miss, target + miss, color=theme.ink, alpha=0.15, linewidth=0, label="sampling floor")
    return _of_shares(figure, axes, classes, "share of classified images", results, theme)


def modes_figure(results: Results, theme: Theme = LIGHT) -> Figure:
    """Share of each mode, of axes that of side 1 of each, by arm, with intervals and the target of each.

    Args:
        results: The contents of `results.json`, in which modes are known.
        theme: Colours.
    """
    axes_of_modes, target = "axes" in results["modes"], results["modes"]["target"]
    modes = range(len(target))[1::2] if axes_of_modes else range(len(target))
    figure, axes = panel("share of side 1 of each axis" if axes_of_modes else "share of each mode", theme)
    entries = {
        arm: [number_at(results["arms"][arm], "mode_shares", str(mode)) for mode in modes] for arm in arms_of(results)
    }
    _bars_by_arm(axes, entries, theme)
    for place, mode in enumerate(modes):
        label = "target" if place == 0 else "_"  # named once
        axes.hlines(
            target[mode], place - 0.46, place + 0.46, color=theme.ink, linestyle="--", linewidth=1.2, label=label
        )
    names = [f"axis {mode // 2}" if axes_of_modes else f"mode {mode}" for mode in modes]
    return _of_shares(figure, axes, names, "share of images", results, theme)


def prompts_figure(results: Results, attribute: str, theme: Theme = LIGHT) -> Figure:
    """A line for each prompt: the share of the first of two classes in each arm; of more classes their largest deviation.

    Args:
        results: The contents of `results.json` of a job with a list of prompts.
        attribute: Name of a judged attribute.
        theme: Colours.
    """
    rows = {name: results["rows"][name] for name in results.get("row_names", results["rows"])}
    path, title, target = drawn_of_prompts(results, attribute)
    figure, axes = panel(title, theme, height=1.6 + 0.26 * len(rows))
    arms = arms_in(results)
    for place, arm in enumerate(arms):
        shift = 0.5 * (place / max(1, len(arms) - 1) - 0.5) if len(arms) > 1 else 0.0
        found = [(y + shift, number_at(row["arms"].get(arm), *path)) for y, row in enumerate(rows.values())]
        known = [(it.value, y) for y, it in found if it.value is not None]
        colour, marker, label = theme.mark(place), MARKERS[place % len(MARKERS)], clip(plain(arm), 16)
        axes.plot([x for x, _ in known], [y for _, y in known], marker, color=colour, ms=5, label=label)
        for y, it in found:
            if it.low is not None and it.high is not None:
                axes.plot([it.low, it.high], [y, y], color=colour, linewidth=1.2)
    axes.axvline(target, color=theme.ink, linestyle="--", linewidth=1.2, label="target")
    axes.set_yticks(range(len(rows)), [clip(plain(name), 22) for name in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel(clip(f"lines: {level_in_words(results)} intervals over batches", 60), fontsize=7.5)
    return finished(figure, axes, theme)


def drawn_of_prompts(results: Results, attribute: str) -> tuple[tuple[str, ...], str, float]:
    """What is drawn of each prompt: the path of its number in an arm, its title, and its target."""
    first = next(iter(results["rows"].values()))
    classes = list(class_shares(first, next(iter(first["arms"])), attribute))
    if len(classes) == 2:
        return ("shares", attribute, classes[0]), f"{attribute}: share of {classes[0]}", 0.5
    return (attribute, "deviation_ratio"), f"{attribute}: deviation from equal shares", 0.0


def _bars_by_arm(axes: Axes, entries: Mapping[str, Sequence[Number | None]], theme: Theme) -> None:
    for place, (arm, own) in enumerate(entries.items()):
        _bars(axes, place, len(entries), arm, own, theme)


def _bars(axes: Axes, place: int, arms: int, name: str, entries: Sequence[Any], theme: Theme) -> None:
    """Bars of one arm; a share that is null has no bar."""
    width = 0.8 / arms
    for index, entry in enumerate(entries):
        if entry is None or entry.value is None:
            continue
        x = index + (place - (arms - 1) / 2) * width
        axes.bar(
            x,
            entry.value,
            width * 0.92,
            color=theme.mark(place),
            hatch=HATCHES[place % len(HATCHES)],
            edgecolor=theme.paper,
            label=clip(plain(name), 16) if index == 0 else None,
        )
        if entry.low is not None and entry.high is not None:
            miss = [[max(0.0, entry.value - entry.low)], [max(0.0, entry.high - entry.value)]]
            axes.errorbar(x, entry.value, yerr=miss, color=theme.ink, capsize=3, linewidth=1.2)


def _of_shares(figure: Figure, axes: Axes, names: Sequence[str], label: str, results: Results, theme: Theme) -> Figure:
    axes.set_xticks(range(len(names)), [clip(plain(name), 14) for name in names])
    if len(names) > 5:
        axes.tick_params(axis="x", labelrotation=60)
    axes.set_ylim(0, 1)
    axes.set_ylabel(label)
    axes.set_xlabel(clip(f"bars: {level_in_words(results)} intervals over batches", 60), fontsize=7.5)
    return finished(figure, axes, theme)
