"""The columns of the table of a finished job, by section: which numbers it shows, each arm's beside its floor."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from selfdebias.report.feature_words import frechet_key, frechet_title, kid_title
from selfdebias.report.measures import (
    Measure,
    arms_of,
    attributes_of,
    class_shares,
    clip_score,
    images_of,
    measure,
    time_ratio,
)
from selfdebias.report.wording import Notes, number, plain, written

Results = Mapping[str, Any]
Read = Callable[[str, Notes], str]  # the cell of an arm


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
    found = [
        ("FAIRNESS", [*_distances(results, notes), *_shares(results, notes)]),
        ("QUALITY", _quality(results, notes)),
        ("PRESERVATION AND COST", [*_preservation(results, notes), *_cost(results, notes)]),
    ]
    return [(title, columns) for title, columns in found if columns]


def titles_of(found: Sequence[tuple[str, Sequence[Column]]]) -> set[str]:
    """Titles of all columns that are shown."""
    return {column.title for _, columns in found for column in columns}


def _column(title: str, results: Results, notes: Notes, read: Read, floor: str = "") -> list[Column]:
    """One column; none where no arm has a number of it: its title then goes to the footnote of the last arm's reason."""
    arms, trial = arms_of(results), Notes()
    cells = [read(arm, trial) for arm in arms]
    if all(re.fullmatch(r"n/a \[\d+\]", cell) for cell in cells):
        notes.leave_out(plain(title), trial.reasons[int(cells[-1].strip("n/a []")) - 1])
        return []
    return [Column(plain(title), {arm: read(arm, notes) for arm in arms}, floor)]


def _read(results: Results, *path: str, style: str = ".3f", floor: bool = False) -> Read:
    return lambda arm, notes: written(measure(results["arms"][arm], *path), notes, style, floor)


def _floor(results: Results, *path: str, style: str = ".3f") -> str:
    """The floor of a column; a range where arms differ in it (they may differ in classified images)."""
    entries = [measure(arm, *path).floor for arm in results["arms"].values()]
    floors = sorted({number(entry, style) for entry in entries if entry is not None})
    return floors[0] if len(floors) == 1 else f"{floors[0]} to {floors[-1]}" if floors else ""


def _distances(results: Results, notes: Notes) -> list[Column]:
    paths: list[tuple[tuple[str, ...], str]] = [
        ((name, "fd_hard"), f"{name} fd_hard") for name in attributes_of(results)
    ]
    columns = []
    for path, title in [*paths, (("mode_fd",), "mode_fd")]:
        columns += _column(title, results, notes, _read(results, *path), _floor(results, *path))
    return columns


def _shares(results: Results, notes: Notes) -> list[Column]:
    first = arms_of(results)[0]
    columns = _column("N", results, notes, lambda arm, _: str(images_of(results, arm) or "?"))
    for attribute in attributes_of(results):
        classes = list(class_shares(results, first, attribute))
        if len(classes) == 2:
            columns += _column(" / ".join(classes), results, notes, _pairs(results, attribute))
            columns += _corrected(results, attribute, classes[0], notes)
    columns += _column("unclassified", results, notes, lambda arm, own: _unclassified(results, arm, own))
    return columns + _column(
        "blanked", results, notes, lambda arm, own: _bare(measure(results["arms"][arm], "blanked"), own)
    )


def _corrected(results: Results, attribute: str, name: str, notes: Notes) -> list[Column]:
    """The share of one class, corrected by the judge's error; no column where that is not known."""
    read = _read(results, "corrected", attribute, name, style=".2f")
    known = any(measure(arm, "corrected", attribute, name).value is not None for arm in results["arms"].values())
    return _column(f"{name}, corrected", results, notes, read) if known else []


def _pairs(results: Results, attribute: str) -> Read:
    return lambda arm, notes: " / ".join(
        _bare(entry, notes, ".2f") for entry in class_shares(results, arm, attribute).values()
    )


def _unclassified(results: Results, arm: str, notes: Notes) -> str:
    rates = [measure(results["arms"][arm], "unclassified", name) for name in attributes_of(results)]
    return " / ".join(_bare(entry, notes) for entry in rates)


def _bare(entry: Measure, notes: Notes, style: str = ".3f") -> str:
    """A measure without its interval, for narrow columns."""
    return written(Measure(entry.value, reason=entry.reason), notes, style)


def _quality(results: Results, notes: Notes) -> list[Column]:
    frechet = frechet_key(next(iter(results["arms"].values())))
    names = {frechet: frechet_title(results), "kid": kid_title(results)}
    names |= {"cmmd": "CMMD", "precision": "precision", "recall": "recall"}
    paths: list[tuple[tuple[str, ...], str]] = [((key,), title) for key, title in names.items()]
    paths += [(("within_modes", "kid"), "KID within modes"), (("within_modes", "precision"), "precision within modes")]
    columns = []
    for path, title in paths:
        columns += _column(title, results, notes, _read(results, *path, style=".3g", floor=True))
    if any(clip_score(arm).value is not None for arm in results["arms"].values()):
        cells = {arm: written(clip_score(results["arms"][arm]), notes, ".2f") for arm in arms_of(results)}
        columns.append(Column("CLIP score", cells))
    return columns


def _preservation(results: Results, notes: Notes) -> list[Column]:
    def ratio(arm: str, own: Notes) -> str:
        entry = measure(results["arms"][arm], "turned", "precision_ratio")
        return written(entry, own) + ("" if entry.value is None else f" (N = {entry.n})")

    return [
        *_column("kept cosine", results, notes, _read(results, "kept_cosine")),
        *_column("PSNR, dB", results, notes, _read(results, "psnr", style=".1f")),
        *_column("turned", results, notes, _read(results, "turned", "share")),
        *_column("turned precision ratio", results, notes, ratio),
    ]


def _cost(results: Results, notes: Notes) -> list[Column]:
    def seconds(arm: str, own: Notes) -> str:
        return written(measure(results, "cost", "seconds_per_image", arm), own, ".3g")

    def ratio(arm: str, own: Notes) -> str:
        return written(time_ratio(results, arm), own, ".2f")

    return [*_column("s an image", results, notes, seconds), *_column("ratio", results, notes, ratio)]
