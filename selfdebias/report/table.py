"""The table of a finished job: for the terminal and its logs, and as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

from selfdebias.report.columns import Column, Results, sections
from selfdebias.report.given import batches_in_words, folders_in_words, reference_in_words, twins_in_words
from selfdebias.report.measures import (
    INTERVAL,
    arms_of,
    attributes_of,
    batches_of,
    images_of,
)
from selfdebias.report.wording import Notes, clip, columns_of, plain, prompt_of

FEW_BATCHES = 10  # four batches cover about 0.8 in place of 0.95


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
    lines = ["=" * width, *_wrapped(headline(results), width)]
    for title, columns in sections(results, notes):
        lines += ["-" * width, title]
        lines += _blocks(columns, arms_of(results), width)
    lines.append("-" * width)
    for note in [*explanations(results), *notes.lines()]:
        lines += _wrapped(note, width)
    return "\n".join([*lines, "=" * width])


def markdown_table(results: Results) -> str:
    """Writes the same numbers as one Markdown table for each section, with the footnotes under them."""
    notes = Notes()
    parts = [f"**{_markdown(headline(results))}**"]
    for title, columns in sections(results, notes):
        parts.append(f"### {title.capitalize()}\n\n{_markdown_section(columns, arms_of(results))}")
    parts.append("\n".join(f"- {_markdown(note)}" for note in [*explanations(results), *notes.lines()]))
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
        f"(generate seed {seeds.get('generate', '?')}), {modes.get('k', '?')} modes found on "
        f"{sum(modes.get('sizes', []))} other images (collect seed {seeds.get('collect', '?')})"
    )


def explanations(results: Results) -> list[str]:
    """What a reader has to know about the numbers: intervals, floors, references."""
    arms = results["arms"]
    lines = [
        interval_in_words(results),
        f"unclassified: share of images that the judge is not sure of, for {' / '.join(attributes_of(results))}.",
        "fd_hard: distance of the judged class shares from equal ones; mode_fd: of the shares of the modes from the target, "
        f"{target_in_words(results)}; 0 is best. Only the modes are balanced: other attributes may move.",
        "floor of fd_*: expected value of a perfectly fair independent sampler at this N; batches that are balanced as a whole "
        "can be below it.",
    ]
    if "sources" in results:
        lines += batches_in_words(results) + twins_in_words(results)
        return lines + (distances_in_words(results) if "reference" in results else [])
    lines += distances_in_words(results)
    if len(arms) > 1:
        lines.append(
            "kept cosine, turned: each image against its vanilla twin from the same seed; turned precision ratio: how well "
            "images that changed their mode fit among vanilla images of that mode, 1: as well as those do themselves."
        )
        lines.append("ratio: of this one run's seconds, where an arm may have been drawn at another time than vanilla.")
    return lines


def target_in_words(results: Results) -> str:
    """The shares by mode that were asked for."""
    target = results.get("modes", {}).get("target") or []
    return " / ".join(f"{float(share):.2f}" for share in target) or "equal ones"


def distances_in_words(results: Results) -> list[str]:
    """What FID and KID are taken against, what their floors are, and what the evaluation warns of."""
    arms = results["arms"]
    entries = {arm: arms[arm]["fid"] for arm in arms_of(results) if isinstance(arms[arm].get("fid"), Mapping)}
    floors: dict[str, list[str]] = {}
    for arm, entry in entries.items():
        floors.setdefault(plain(entry.get("floor_of", "vanilla against vanilla")), []).append(plain(arm))
    lines = [f"floor of FID and KID for {', '.join(names)}: {text}." for text, names in floors.items()]
    if lines:
        lines.insert(0, f"FID, KID: against {reference_in_words(results)}, on the encoder's embeddings.")
    warned = {plain(entry["warning"]) for entry in entries.values() if entry.get("warning")}
    return lines + [f"FID: {text}" for text in sorted(warned)]


def interval_in_words(results: Results) -> str:
    """What the brackets are, and a warning where so few batches stand behind them that they are too narrow."""
    text = f"[low, high]: {plain(results.get('interval') or INTERVAL)} (images of one batch depend on each other)"
    counts = [count for count in (batches_of(results, arm) for arm in results["arms"]) if count is not None]
    if counts and min(counts) == 1:
        return "No intervals: they need more than one batch, since images of one batch depend on each other."
    if counts and min(counts) < FEW_BATCHES:
        text += f"; with only {min(counts)} batches an arm they are too narrow"
    return text + "."


def _blocks(columns: list[Column], arms: list[str], width: int) -> list[str]:
    """Packs columns side by side, as many as fit, and starts a new block of rows for the rest."""
    names = {arm: clip(plain(arm), 16) for arm in arms}
    first = max(len("floor"), *(columns_of(name) for name in names.values()))
    lines: list[str] = []
    block: list[list[str]] = []
    for column in columns:
        cells = [clip(text, width - first - 2) for text in (column.title, *column.cells.values(), column.floor)]
        if block and _width(first, [*block, cells]) > width:
            lines += _rows(block, list(names.values()), first)
            block = []
        block.append(cells)
    return lines + _rows(block, list(names.values()), first)


def _width(first: int, block: list[list[str]]) -> int:
    return first + sum(2 + max(columns_of(cell) for cell in cells) for cells in block)


def _rows(block: list[list[str]], arms: list[str], first: int) -> list[str]:
    labels = ["arm", *arms, "floor"]
    widths = [max(columns_of(cell) for cell in cells) for cells in block]
    rows = []
    for place, label in enumerate(labels):
        cells = [_padded(cells[place], size) for cells, size in zip(block, widths, strict=True)]
        if label != "floor" or place < len(labels) - 1 or any(cell.strip() for cell in cells):
            rows.append("  ".join([_padded(label, first), *cells]).rstrip())
    return rows


def _padded(text: str, size: int) -> str:
    return text + " " * (size - columns_of(text))


def _wrapped(text: str, width: int) -> list[str]:
    """Wraps a text by terminal columns: wide signs count twice."""
    lines = textwrap.wrap(text, width, subsequent_indent="  ")
    if all(columns_of(line) <= width for line in lines):
        return lines
    return textwrap.wrap(text, width // 2, subsequent_indent="  ")


def _markdown(text: str) -> str:
    for sign in "\\`*_|<>":
        text = text.replace(sign, "\\" + sign)
    return text


def _markdown_section(columns: list[Column], arms: list[str]) -> str:
    rows = [["arm", *(column.title for column in columns)]]
    rows += [[plain(arm), *(column.cells[arm] for column in columns)] for arm in arms]
    if any(column.floor for column in columns):
        rows.append(["floor", *(column.floor for column in columns)])
    lines = ["| " + " | ".join(_markdown(cell) for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]])
