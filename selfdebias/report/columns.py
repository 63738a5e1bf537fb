"""The columns of the table of a finished job, by section: which numbers it shows, each arm's beside its floor."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from selfdebias.report.measures import (
    Measure,
    arms_of,
    attributes_of,
    class_shares,
    images_of,
    measure,
    time_ratio,
)
from selfdebias.report.wording import Notes, number, plain, written

Results = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column: a title, one cell for each arm, and the floor that its numbers are to be held against."""

    title: str
    cells: dict[str, str]
    floor: str = ""


def sections(results: Results, notes: Notes) -> list[tuple[str, list[Column]]]:
    """All columns of the table, by section.

    Args:
        results: The contents of `results.json`.
        notes: Takes the reasons of the numbers that are null.

    Returns:
        Pairs of a section's title and its columns.
    """
    fairness = [*_distances(results, notes), *_shares(results, notes)]
    found = [
        ("FAIRNESS", fairness),
        ("QUALITY", _quality(results, notes)),
        ("PRESERVATION AND COST", [*_preservation(results, notes), *_cost(results, notes)]),
    ]
    shown = [(title, [column for column in columns if not _left_out(column, notes)]) for title, columns in found]
    return [(title, columns) for title, columns in shown if columns]


def _left_out(column: Column, notes: Notes) -> bool:
    """Whether no arm has a number of the column; its title then goes to the footnote of the reason."""
    cells = list(column.cells.values())
    if any(not re.fullmatch(r"n/a \[\d+\]", cell) for cell in cells):
        return False
    notes.leave_out(column.title, cells[-1].removeprefix("n/a "))
    return True


def _column(title: str, results: Results, read: Callable[[str], str], floor: str = "") -> Column:
    return Column(plain(title), {arm: read(arm) for arm in arms_of(results)}, floor)


def _read(results: Results, notes: Notes, *path: str, style: str = ".3f", floor: bool = False) -> Callable[[str], str]:
    return lambda arm: written(measure(results["arms"][arm], *path), notes, style, floor)


def _floor(results: Results, *path: str, style: str = ".3f") -> str:
    """The floor of a column; a range where arms differ in it (they may differ in classified images)."""
    entries = [measure(arm, *path).floor for arm in results["arms"].values()]
    floors = sorted({number(entry, style) for entry in entries if entry is not None})
    return floors[0] if len(floors) == 1 else f"{floors[0]} to {floors[-1]}" if floors else ""


def _distances(results: Results, notes: Notes) -> list[Column]:
    names = attributes_of(results)
    paths: list[tuple[tuple[str, ...], str]] = [((name, "fd_hard"), f"{name} fd_hard") for name in names]
    paths.append((("mode_fd",), "mode_fd"))
    return [_column(title, results, _read(results, notes, *path), _floor(results, *path)) for path, title in paths]


def _shares(results: Results, notes: Notes) -> list[Column]:
    first = arms_of(results)[0]
    columns = [_column("N", results, lambda arm: str(images_of(results, arm) or "?"))]
    for attribute in attributes_of(results):
        classes = list(class_shares(results, first, attribute))
        if len(classes) == 2:
            columns.append(_column(" / ".join(classes), results, _pairs(results, attribute, notes)))
            columns += _corrected(results, attribute, classes[0], notes)
    columns.append(_column("unclassified", results, lambda arm: _unclassified(results, arm, notes)))
    columns.append(_column("blanked", results, lambda arm: _bare(measure(results["arms"][arm], "blanked"), notes)))
    return columns


def _corrected(results: Results, attribute: str, name: str, notes: Notes) -> list[Column]:
    """The share of one class, corrected by the judge's error; no column where that is not known."""
    read = _read(results, notes, "corrected", attribute, name, style=".2f")
    known = any(measure(arm, "corrected", attribute, name).value is not None for arm in results["arms"].values())
    return [_column(f"{name}, corrected", results, read)] if known else []


def _pairs(results: Results, attribute: str, notes: Notes) -> Callable[[str], str]:
    return lambda arm: " / ".join(
        _bare(entry, notes, ".2f") for entry in class_shares(results, arm, attribute).values()
    )


def _unclassified(results: Results, arm: str, notes: Notes) -> str:
    rates = [measure(results["arms"][arm], "unclassified", name) for name in attributes_of(results)]
    return " / ".join(_bare(entry, notes) for entry in rates)


def _bare(entry: Measure, notes: Notes, style: str = ".3f") -> str:
    """A measure without its interval, for narrow columns."""
    return written(Measure(entry.value, reason=entry.reason), notes, style)


def _quality(results: Results, notes: Notes) -> list[Column]:
    names = {"fid": "FID", "kid": "KID", "cmmd": "CMMD", "precision": "precision", "recall": "recall"}
    paths: list[tuple[tuple[str, ...], str]] = [((key,), title) for key, title in names.items()]
    paths += [(("within_modes", "kid"), "KID within modes"), (("within_modes", "precision"), "precision within modes")]
    columns = [_column(title, results, _read(results, notes, *path, style=".3g", floor=True)) for path, title in paths]
    scored = any(measure(arm, "clip_score").value is not None for arm in results["arms"].values())
    return columns + (
        [_column("CLIP score", results, _read(results, notes, "clip_score", style=".2f"))] if scored else []
    )


def _preservation(results: Results, notes: Notes) -> list[Column]:
    return [
        _column("kept cosine", results, _read(results, notes, "kept_cosine")),
        _column("PSNR, dB", results, _read(results, notes, "psnr", style=".1f")),
        _column("turned", results, _read(results, notes, "turned", "share")),
        _column("turned precision ratio", results, _read(results, notes, "turned", "precision_ratio")),
    ]


def _cost(results: Results, notes: Notes) -> list[Column]:
    def seconds(arm: str) -> str:
        return written(measure(results, "cost", "seconds_per_image", arm), notes, ".3g")

    return [
        _column("s an image", results, seconds),
        _column("ratio", results, lambda arm: written(time_ratio(results, arm), notes, ".2f")),
    ]
