"""The tables of a finished job: fairness, quality, preservation and cost of each arm, for the terminal and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from selfdebias.metrics import quality
from selfdebias.metrics.number import number_at
from selfdebias.report.explanations import explanations
from selfdebias.report.feature_words import key_of, title_of
from selfdebias.report.given import folders_in_words, skipped_in_words
from selfdebias.report.grids import grids
from selfdebias.report.measures import arms_of, attributes_of, class_shares, clip_score, images_of, time_ratio
from selfdebias.report.table import Column, Table, to_markdown, to_text
from selfdebias.report.wording import Notes, bare, counted, plain, prompt_of, span, written

Results = Mapping[str, Any]
Read = Callable[[str, Notes], str]  # the cell of an arm


def render_table(results: Results, width: int = 80) -> str:
    """Writes the final tables as plain text, readable in a terminal and in a log.

    Args:
        results: The contents of `results.json`.
        width: Terminal columns, at least 40; no line is longer and the rules are exactly as long.

    Returns:
        The tables, without a newline at their end.

    Raises:
        ValueError: If `width` is below 40.
    """
    tables, notes = tables_of(results)
    return to_text(headline(results), tables, notes, width)


def markdown_table(results: Results) -> str:
    """Writes the same tables as Markdown, with the footnotes under them."""
    tables, notes = tables_of(results)
    return to_markdown(headline(results), tables, [*notes, *map(str.strip, skipped_in_words(results))])


def tables_of(results: Results) -> tuple[list[Table], list[str]]:
    """All tables of a job, and what a reader has to know about them.

    Args:
        results: The contents of `results.json`.
    """
    notes = Notes()
    tables, extra = sections(results, notes), grids(results, notes)
    return [*tables, *extra], [*explanations(results, shown_in(tables, extra)), *notes.lines()]


def shown_in(tables: Sequence[Table], extra: Sequence[Table]) -> set[str]:
    """Titles of all columns of the sections, and of the tables beside them."""
    return {title for table in tables for title in table.columns} | {table.title for table in extra}


def headline(results: Results) -> str:
    """What was asked, in one line: prompt, images, seeds, modes; or which folders were evaluated."""
    if "sources" in results:
        return folders_in_words(results)
    counts = {images_of(results, arm) for arm in arms_of(results)} - {None}
    images = "/".join(str(count) for count in sorted(counts, key=str)) or "an unknown number of"
    seeds, modes = results.get("seeds", {}), results.get("modes", {})
    axes, k = len(modes.get("axes", [])), modes.get("k", "?")
    found = f"{axes} {'axis' if axes == 1 else 'axes'}" if axes else f"{k} mode{'' if k == 1 else 's'}"
    collected = sum(modes.get("sizes", [])) // max(1, axes)  # each image is on one side of every axis
    return (
        f"SelfDebias: {prompt_of(results)}, N = {images} images per arm "
        f"(generate seed {seeds.get('generate', '?')}), {found} found on "
        f"{collected} other images (collect seed {seeds.get('collect', '?')})"
    )


def sections(results: Results, notes: Notes) -> list[Table]:
    """The tables with a row for each arm: fairness, quality, preservation and cost.

    Args:
        results: The contents of `results.json`.
        notes: Takes the reasons of the numbers that are null, and the titles of the columns that no arm has a number of.
    """
    found = {
        "Fairness": [*_distances(results, notes), *_shares(results, notes)],
        "Quality": _quality(results, notes),
        "Preservation and cost": [*_preservation(results, notes), *_cost(results, notes)],
    }
    arms = Column("arm", [plain(arm) for arm in arms_of(results)], ["floor"])
    return [
        Table.of_columns([arms, *columns], title=title, name_width=16) for title, columns in found.items() if columns
    ]


def _column(title: str, results: Results, notes: Notes, read: Read, floor: str = "") -> list[Column]:
    """One column; none where no arm has a number of it: its title then goes to the footnote of the last arm's reason."""
    arms, trial = arms_of(results), Notes()
    cells = [read(arm, trial) for arm in arms]
    if all(re.fullmatch(r"n/a \[\d+\]", cell) for cell in cells):
        notes.leave_out(plain(title), trial.reasons[int(cells[-1].strip("n/a []")) - 1])
        return []
    return [Column(plain(title), [read(arm, notes) for arm in arms], [floor])]


def _read(results: Results, *path: str, style: str = ".3f", floor: bool = False) -> Read:
    return lambda arm, notes: written(number_at(results["arms"][arm], *path), notes, style, floor)


def _distances(results: Results, notes: Notes) -> list[Column]:
    """Distances of shares, each with its floor; a range where arms differ in it (they may differ in classified images)."""
    paths = {f"{name} fd_hard": (name, "fd_hard") for name in attributes_of(results)} | {"mode_fd": ("mode_fd",)}
    columns = []
    for title, path in paths.items():
        floor = span(number_at(arm, *path).floor for arm in results["arms"].values())
        columns += _column(title, results, notes, _read(results, *path), floor)
    return columns


def _shares(results: Results, notes: Notes) -> list[Column]:
    arms = results["arms"]

    def pair(attribute: str) -> Read:
        return lambda arm, own: " / ".join(
            bare(it, own, ".2f") for it in class_shares(results, arm, attribute).values()
        )

    def unclassified(arm: str, own: Notes) -> str:
        return " / ".join(bare(number_at(arms[arm], "unclassified", name), own) for name in attributes_of(results))

    columns = _column("N", results, notes, lambda arm, _: str(images_of(results, arm) or "?"))
    for attribute in attributes_of(results):
        classes = list(class_shares(results, arms_of(results)[0], attribute))
        if len(classes) == 2:
            columns += _column(" / ".join(classes), results, notes, pair(attribute))
            path = ("corrected", attribute, classes[0])  # by the judge's error, where that is known
            if any(number_at(arm, *path).value is not None for arm in arms.values()):
                read = _read(results, *path, style=".2f")
                columns += _column(f"{classes[0]}, corrected", results, notes, read)
    columns += _column("unclassified", results, notes, unclassified)
    return columns + _column(
        "safety-flagged", results, notes, lambda arm, own: bare(number_at(arms[arm], "blanked"), own)
    )


def _quality(results: Results, notes: Notes) -> list[Column]:
    first = next(iter(results["arms"].values()))
    paths: dict[str, tuple[str, ...]] = {
        **{title_of(metric, results): (key_of(metric, first),) for metric in quality.METRICS},
        "KID within modes": ("within_modes", "kid"),
        "precision within modes": ("within_modes", "precision"),
    }
    columns = []
    for title, path in paths.items():
        columns += _column(title, results, notes, _read(results, *path, style=".3g", floor=True))
    scores = [clip_score(results["arms"][arm]) for arm in arms_of(results)]
    if any(score.value is not None for score in scores):
        columns.append(Column("CLIP score", [written(score, notes, ".2f") for score in scores]))
    return columns


def _preservation(results: Results, notes: Notes) -> list[Column]:
    def ratio(arm: str, own: Notes) -> str:
        return counted(number_at(results["arms"][arm], "turned", "precision_ratio"), own)

    return [
        *_column("kept cosine", results, notes, _read(results, "kept_cosine")),
        *_column("PSNR, dB", results, notes, _read(results, "psnr", style=".1f")),
        *_column("switched", results, notes, _read(results, "turned", "share")),
        *_column("precision of switched", results, notes, ratio),
    ]


def _cost(results: Results, notes: Notes) -> list[Column]:
    def seconds(arm: str, own: Notes) -> str:
        return written(number_at(results, "cost", "seconds_per_image", arm), own, ".3g")

    def ratio(arm: str, own: Notes) -> str:
        return written(time_ratio(results, arm), own, ".2f")

    return [*_column("s / image", results, notes, seconds), *_column("ratio", results, notes, ratio)]
