"""The table of a finished job: for the terminal and its logs, and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from selfdebias.report.columns import Column, Results, sections, titles_of
from selfdebias.report.explanations import explanations
from selfdebias.report.given import folders_in_words
from selfdebias.report.grids import Grid, grids
from selfdebias.report.measures import arms_of, images_of
from selfdebias.report.packing import packed
from selfdebias.report.skipped import skipped_in_words
from selfdebias.report.wording import Notes, clip, escaped, plain, prompt_of, wrapped

LONGEST_NAME = 24  # terminal columns of what names a row


def render_table(results: Results, width: int = 80) -> str:
    """Writes the final table as plain ASCII-framed text, readable in a terminal and in a log.

    Args:
        results: The contents of `results.json`.
        width: Terminal columns, at least 40; no line is longer and the rules are exactly as long.

    Returns:
        The table, without a newline at its end.

    Raises:
        ValueError: If `width` is below 40.
    """
    if width < 40:
        raise ValueError(f"`width` must be at least 40, got {width}.")
    notes = Notes()
    lines = ["=" * width, *wrapped(headline(results), width)]
    found = sections(results, notes)
    for title, columns in found:
        lines += ["-" * width, title]
        lines += _blocks(columns, arms_of(results), width)
    extra = grids(results, notes)
    for grid in extra:
        lines += ["-" * width, *wrapped(grid.title.upper(), width), *_grid_blocks(grid, width)]
    lines.append("-" * width)
    for note in [*explanations(results, _shown(found, extra)), *notes.lines()]:
        lines += wrapped(note, width)
    return "\n".join([*lines, "=" * width])


def markdown_table(results: Results) -> str:
    """Writes the same numbers as one Markdown table for each section, with the footnotes under them."""
    notes = Notes()
    parts = [f"**{escaped(headline(results))}**"]
    found = sections(results, notes)
    for title, columns in found:
        parts.append(f"### {title.capitalize()}\n\n{_markdown_section(columns, arms_of(results))}")
    extra = grids(results, notes)
    parts += [f"### {grid.title}\n\n{_markdown([grid.titles, *grid.rows])}" for grid in extra]
    skipped = (line.strip() for line in skipped_in_words(results))
    below = [*explanations(results, _shown(found, extra)), *notes.lines(), *skipped]
    parts.append("\n".join(f"- {escaped(note)}" for note in below))
    return "\n\n".join(parts) + "\n"


def headline(results: Results) -> str:
    """What was asked, in one line: prompt, images, seeds, modes; or which folders were evaluated."""
    if "sources" in results:
        return folders_in_words(results)
    counts = {images_of(results, arm) for arm in arms_of(results)} - {None}
    images = "/".join(str(count) for count in sorted(counts, key=str)) or "an unknown number of"
    seeds, modes = results.get("seeds", {}), results.get("modes", {})
    return (
        f"SelfDebias: {prompt_of(results)}, N = {images} images an arm "
        f"(generate seed {seeds.get('generate', '?')}), {_found(modes)} found on "
        f"{_collected(modes)} other images (collect seed {seeds.get('collect', '?')})"
    )


def _found(modes: Mapping[str, Any]) -> str:
    axes = len(modes.get("axes", []))
    if axes:
        return f"{axes} {'axis' if axes == 1 else 'axes'}"
    return f"{modes.get('k', '?')} mode{'' if modes.get('k') == 1 else 's'}"


def _collected(modes: Mapping[str, Any]) -> int:
    """The collected images; each is on one side of every axis."""
    return sum(modes.get("sizes", [])) // max(1, len(modes.get("axes", [])))


def _blocks(columns: list[Column], arms: list[str], width: int) -> list[str]:
    head = ["arm", *(clip(plain(arm), 16) for arm in arms), "floor"]
    return packed(
        [head], [[column.title, *(column.cells[arm] for arm in arms), column.floor] for column in columns], width
    )


def _markdown_section(columns: list[Column], arms: list[str]) -> str:
    rows = [["arm", *(column.title for column in columns)]]
    rows += [[plain(arm), *(column.cells[arm] for column in columns)] for arm in arms]
    if any(column.floor for column in columns):
        rows.append(["floor", *(column.floor for column in columns)])
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, the first row being its head."""
    lines = ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])


def _grid_blocks(grid: Grid, width: int) -> list[str]:
    head, *columns = zip(grid.titles, *grid.rows, strict=True)
    return packed([[clip(cell, LONGEST_NAME) for cell in head]], columns, width)


def _shown(found: Sequence[tuple[str, Sequence[Column]]], extra: Sequence[Grid]) -> set[str]:
    return titles_of(found) | {grid.title for grid in extra}
